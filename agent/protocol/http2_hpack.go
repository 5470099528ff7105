package protocol

import (
	"bytes"
	"fmt"

	"golang.org/x/net/http2/hpack"
)

const (
	hpackTableSize    = 4096     // bytes of the dynamic table until the sender says otherwise (RFC 9113, section 6.5.2)
	hpackMaxTableSize = 64 << 10 // that is followed; what a sender keeps beyond it is not known here
	hpackEntrySize    = 32       // bytes that an entry counts beside its name and value (RFC 7541, section 4.1)
)

var errHPACK = fmt.Errorf("header list: %w", ErrDesync)

// headerKind is a header field that matters, or the lack of one.
type headerKind uint8

const (
	headerNone    headerKind = iota
	headerUnknown            // it may be any: it was named before the connection was followed
	headerMethod
	headerPath
	headerAuthority
	headerStatus
	headerContentType
	headerGRPCStatus
	headerKinds // their number
)

var headerNames = map[string]headerKind{
	":method": headerMethod, ":path": headerPath, ":authority": headerAuthority, ":status": headerStatus,
	"content-type": headerContentType, "grpc-status": headerGRPCStatus,
}

// headerList is what is known of a list of header fields: the values that matter, as hpackDecoder.value makes them. "" is not there.
type headerList struct {
	values  [headerKinds]string
	unknown bool // there are fields that may be any
}

func (l *headerList) add(kind headerKind, value string) {
	switch {
	case kind == headerUnknown:
		l.unknown = true
	case kind != headerNone && l.values[kind] == "":
		l.values[kind] = value
	}
}

// hpackEntry is a line of a table. Values that do not matter are not kept, so that no cookie or token is in memory.
type hpackEntry struct {
	kind     headerKind
	value    string
	nameSize int32
	size     int32 // as RFC 7541 counts
}

// hpackDecoder reads the header lists of one direction (RFC 7541). It may begin anywhere: lines of the dynamic table from before are not
// known, and those made since have their right places, for they are counted from the newest.
type hpackDecoder struct {
	table  []hpackEntry // oldest first
	size   int          // of all lines
	limit  int          // of size
	routes routeFolder
	text   bytes.Buffer // scratch for what Huffman's code unfolds to
}

func newHPACKDecoder() *hpackDecoder { return &hpackDecoder{limit: hpackTableSize} }

// hpackStatic is the static table. The library is asked for it, so that it is not written down here again.
var hpackStatic = staticTable()

func staticTable() []hpackEntry {
	const entries = 61
	var table []hpackEntry
	h := newHPACKDecoder()
	decoder := hpack.NewDecoder(0, func(f hpack.HeaderField) {
		kind := headerNames[f.Name]
		table = append(table, hpackEntry{kind: kind, value: h.value(kind, []byte(f.Value)), nameSize: int32(len(f.Name))})
	})
	for i := range entries {
		if _, err := decoder.Write([]byte{byte(0x80 | i + 1)}); err != nil {
			panic(err) // these lines are in the standard
		}
	}
	return table
}

// forget is called when header lists were missed: the places of all lines are not sure any more.
func (h *hpackDecoder) forget() {
	clear(h.table)
	h.table, h.size = h.table[:0], 0
}

// read reads a header list, which must be whole.
func (h *hpackDecoder) read(b []byte) (list headerList, err error) {
	for len(b) > 0 && err == nil {
		switch c := b[0]; {
		case c&0x80 != 0: // a line of a table (section 6.1)
			var index int
			if index, b, err = hpackInt(b, 7); err == nil && index == 0 {
				err = errHPACK
			}
			e := h.line(index)
			list.add(e.kind, e.value)
		case c&0xc0 == 0x40: // a field that becomes a line (6.2.1)
			b, err = h.readLiteral(b, 6, true, &list)
		case c&0xe0 == 0x20: // the size of the dynamic table (6.3)
			var size int
			if size, b, err = hpackInt(b, 5); err == nil {
				h.limit = min(size, hpackMaxTableSize)
				h.evict(h.limit)
			}
		default: // a field that does not (6.2.2, 6.2.3)
			b, err = h.readLiteral(b, 4, false, &list)
		}
	}
	return list, err
}

func (h *hpackDecoder) line(index int) hpackEntry {
	if index >= 1 && index <= len(hpackStatic) {
		return hpackStatic[index-1]
	}
	if i := len(h.table) + len(hpackStatic) - index; i >= 0 && i < len(h.table) {
		return h.table[i]
	}
	return hpackEntry{kind: headerUnknown}
}

// readLiteral reads a field whose value, and maybe name, is written out.
func (h *hpackDecoder) readLiteral(b []byte, bits int, keep bool, list *headerList) ([]byte, error) {
	index, b, err := hpackInt(b, bits)
	if err != nil {
		return nil, err
	}
	e := h.line(index)
	if index == 0 {
		var name []byte
		if name, b, err = h.readText(b, true); err != nil {
			return nil, err
		}
		e.kind, e.nameSize = headerNames[string(name)], int32(len(name))
	}
	matters := e.kind != headerNone && e.kind != headerUnknown
	value, b, err := h.readText(b, matters || keep)
	if err != nil {
		return nil, err
	}
	e.value = ""
	if matters {
		e.value = h.value(e.kind, value)
	}
	list.add(e.kind, e.value)
	if keep {
		e.size = e.nameSize + int32(len(value)) + hpackEntrySize
		h.keep(e)
	}
	return b, nil
}

// keep adds a line and makes room for it (section 4.4).
func (h *hpackDecoder) keep(e hpackEntry) {
	if int(e.size) > h.limit {
		h.forget()
		return
	}
	h.evict(h.limit - int(e.size))
	h.table = append(h.table, e)
	h.size += int(e.size)
}

// evict drops the oldest lines until the others have at most that size.
func (h *hpackDecoder) evict(size int) {
	n := 0
	for ; h.size > size; n++ {
		h.size -= int(h.table[n].size)
	}
	clear(h.table[:n])
	h.table = h.table[n:]
}

// value is what is kept of a field's value: nothing in it is a secret, and it is short.
func (h *hpackDecoder) value(kind headerKind, b []byte) string {
	switch kind {
	case headerMethod:
		return httpMethod(b)
	case headerPath:
		return h.routes.fold(b)
	case headerAuthority:
		return foldRoute(b)
	case headerStatus:
		if n, ok := digits(b); ok && len(b) == 3 && n >= 100 {
			return string(b)
		}
		return "~unknown"
	case headerContentType:
		if isGRPC(b) {
			return "grpc"
		}
		return "other"
	case headerGRPCStatus:
		return grpcCode(b)
	}
	return ""
}

// httpMethod is the method's name, or what the kernel programs call those that they have no name for.
func httpMethod(b []byte) string {
	for _, m := range [...]string{"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "CONNECT", "TRACE"} {
		if string(b) == m {
			return m
		}
	}
	return "~other"
}

// hpackInt reads an integer whose first bits are the low ones of b[0] (section 5.1).
func hpackInt(b []byte, bits int) (n int, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, errHPACK
	}
	most := 1<<bits - 1
	if n = int(b[0]) & most; n < most {
		return n, b[1:], nil
	}
	for i := 1; i < len(b) && i <= 4; i++ {
		n += int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return n, b[i+1:], nil
		}
	}
	return 0, nil, errHPACK
}

// readText reads a string (section 5.2). It is unfolded only where it is wanted, and valid until the next one is read.
func (h *hpackDecoder) readText(b []byte, wanted bool) (text, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errHPACK
	}
	folded := b[0]&0x80 != 0
	n, b, err := hpackInt(b, 7)
	if err != nil || n > len(b) {
		return nil, nil, errHPACK
	}
	text, rest = b[:n], b[n:]
	if !wanted || !folded {
		return text, rest, nil
	}
	h.text.Reset()
	if _, err := hpack.HuffmanDecode(&h.text, text); err != nil {
		return nil, nil, errHPACK
	}
	return h.text.Bytes(), rest, nil
}
