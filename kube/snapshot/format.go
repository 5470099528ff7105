package snapshot

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// The bounds of what is read. The API itself takes no object of more than 3 MiB.
const (
	maxHeader = 4 << 10
	maxUID    = 256
	maxRecord = 4 << 20
	maxWindow = 8 << 20 // bytes that the decoder may look back, and keeps
)

// magic begins each file; its last byte is the version of the format.
const magic = "VTCHWSN\x01"

// header is what the records of a file are, as JSON.
type header struct {
	Cluster  string `json:"cluster"`
	Resource string `json:"resource"`
	Form     string `json:"form"`
	Version  string `json:"version"` // the resource version up to which the records are
	Written  int64  `json:"written"` // Unix time in milliseconds
}

// check says why a file of this header is not to be used for what another one asks for.
func (h *header) check(want *header) error {
	switch {
	case h.Cluster != want.Cluster:
		return ErrOtherCluster
	case h.Resource != want.Resource || h.Form != want.Form:
		return fmt.Errorf("%w: %.60q in the form %.20q", ErrOtherForm, h.Resource, h.Form)
	case h.Version == "":
		return fmt.Errorf("%w: it has no resource version", ErrCorrupt)
	}
	return nil
}

// encoder writes a file: the magic, and compressed with a checksum the header and the records, each part with its length before it. The uid of no record is
// empty: that ends the file.
type encoder struct {
	z   *zstd.Encoder
	buf []byte
}

func newEncoder(w io.Writer, h *header) (*encoder, error) {
	if _, err := io.WriteString(w, magic); err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	e := &encoder{z: z}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return e, e.part(text)
}

func (e *encoder) part(b []byte) error {
	e.buf = append(binary.AppendUvarint(e.buf[:0], uint64(len(b))), b...)
	_, err := e.z.Write(e.buf)
	return err
}

func (e *encoder) record(uid string, body []byte) error {
	if uid == "" || len(uid) > maxUID || len(body) > maxRecord {
		return fmt.Errorf("%w: an object of %d bytes", errTooLarge, len(body))
	}
	if err := e.part([]byte(uid)); err != nil {
		return err
	}
	return e.part(body)
}

// end writes what is missing of a whole file.
func (e *encoder) end() error { return errors.Join(e.part(nil), e.z.Close()) }

// decoder reads what encoder wrote, and trusts none of it.
type decoder struct {
	header
	z    *zstd.Decoder
	from *bufio.Reader
	body []byte
}

func newDecoder(r io.Reader) (*decoder, error) {
	start := make([]byte, len(magic))
	if _, err := io.ReadFull(r, start); err != nil {
		return nil, corrupt(err)
	}
	last := len(magic) - 1
	if string(start[:last]) != magic[:last] {
		return nil, fmt.Errorf("%w: it begins with %q", ErrCorrupt, start)
	}
	if start[last] != magic[last] {
		return nil, fmt.Errorf("%w: format %d, not %d", ErrOtherForm, start[last], magic[last])
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	d := &decoder{z: z, from: bufio.NewReader(z)}
	text, err := d.part(nil, maxHeader)
	if err == nil {
		err = json.Unmarshal(text, &d.header)
	}
	if err != nil {
		z.Close()
		return nil, corrupt(err)
	}
	return d, nil
}

// next gives one record; body is good until the next call. It is io.EOF after the last, when the checksum is right.
func (d *decoder) next() (uid string, body []byte, err error) {
	text, err := d.part(d.body, maxUID)
	if err != nil {
		return "", nil, corrupt(err)
	}
	if uid = string(text); uid == "" {
		if _, err := d.from.ReadByte(); !errors.Is(err, io.EOF) {
			return "", nil, corrupt(cmp.Or(err, errors.New("there is more behind its end")))
		}
		return "", nil, io.EOF
	}
	if d.body, err = d.part(text, maxRecord); err != nil {
		return "", nil, corrupt(err)
	}
	return uid, d.body, nil
}

// part reads one length and as many bytes, into buf where that is large enough.
func (d *decoder) part(buf []byte, limit uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(d.from)
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("%d bytes, more than %d", n, limit)
	}
	if uint64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	_, err = io.ReadFull(d.from, buf)
	return buf, err
}

func (d *decoder) close() { d.z.Close() }

// corrupt says that a file is not as it was written; its end in the middle is no end.
func corrupt(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
