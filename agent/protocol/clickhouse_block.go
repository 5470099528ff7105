package protocol

import "encoding/binary"

const (
	chMaxColumns = 1 << 20
	chMaxRows    = 1 << 40 // of a column, with those inside of arrays
	chFullFrame  = 1 << 20 // bytes of a compressed frame that another follows: ClickHouse fills them
	chFrameHead  = 25      // checksum, method, and both sizes
)

// chBlock walks over a block of columns in the format Native, without keeping any of it.
type chBlock struct {
	revision   int
	compressed bool
	begun      bool
	columns    uint64 // still to come
	rows       uint64
	todo       []chValues
}

// chValues are values of a type that are still to come.
type chValues struct {
	of *chType
	n  uint64
}

// walk returns how many bytes it passed, which may be more than there are, and whether the block ends there. 0 is to wait for more.
func (w *chBlock) walk(b []byte) (used int64, done bool, err error) {
	if w.compressed {
		return walkCHFrame(b)
	}
	for {
		if w.begun && len(w.todo) == 0 && w.columns == 0 {
			return used, true, nil
		}
		if used >= int64(len(b)) {
			return used, false, nil
		}
		rest := b[used:]
		var n int64
		switch {
		case len(w.todo) > 0:
			n, err = w.values(rest)
		case !w.begun:
			n, err = w.begin(rest)
		default:
			n, err = w.column(rest)
		}
		if n == 0 || err != nil {
			return used, false, err
		}
		used += n
	}
}

// walkCHFrame passes one compressed frame. A block ends with one that is not full.
func walkCHFrame(b []byte) (used int64, done bool, err error) {
	if len(b) < chFrameHead {
		return 0, false, nil
	}
	size, plain := binary.LittleEndian.Uint32(b[17:]), binary.LittleEndian.Uint32(b[21:])
	if b[16] != 0x82 && b[16] != 0x90 && b[16] != 0x02 && b[16]&0xf0 != 0x90 || size < 9 || size > 1<<30 {
		return 0, false, errCHUnknown
	}
	return 16 + int64(size), plain != chFullFrame, nil
}

// begin reads what is said of the block, and how large it is.
func (w *chBlock) begin(b []byte) (int64, error) {
	r := chReader{b: b}
	for field := r.number(); field != 0; field = r.number() {
		switch field {
		case 1: // overflows
			r.bytes(1)
		case 2: // bucket
			r.bytes(4)
		case 3: // buckets out of order
			r.bytes(4 * min(r.number(), chMaxRows))
		default:
			return 0, errCHUnknown
		}
	}
	columns, rows := r.number(), r.number()
	if r.short {
		return 0, nil
	}
	if columns > chMaxColumns || rows > chMaxRows {
		return 0, errCHUnknown
	}
	w.begun, w.columns, w.rows = true, columns, rows
	return int64(r.at), nil
}

// column reads the name and the type of a column.
func (w *chBlock) column(b []byte) (int64, error) {
	r := chReader{b: b[:min(len(b), chLook)]}
	r.text()
	name := r.text()
	custom := false
	kind := uint64(0)
	if w.revision >= chWithSerialization {
		if custom = r.fixed(1) != 0; custom {
			kind = r.fixed(1)
		}
	}
	if r.short {
		return 0, nil
	}
	w.columns--
	if w.rows == 0 && !custom {
		return int64(r.at), nil
	}
	t := parseCHType(name, 0)
	if t == nil || kind > 1 || custom && (t.kind == chTuple || t.lows > 0) {
		return 0, errCHUnknown
	}
	if kind == 1 {
		t = &chType{kind: chSparse, of: []*chType{t}}
	}
	if w.rows > 0 {
		w.push(t, w.rows)
		if t.lows > 0 {
			w.push(chByte, 8*t.lows)
		}
	}
	return int64(r.at), nil
}

func (w *chBlock) push(t *chType, n uint64) {
	if n > 0 {
		w.todo = append(w.todo, chValues{t, n})
	}
}

// values passes the values at hand, or some of them.
func (w *chBlock) values(b []byte) (int64, error) {
	top := &w.todo[len(w.todo)-1]
	t, n := top.of, top.n
	if n > chMaxRows {
		return 0, errCHUnknown
	}
	switch t.kind {
	case chString:
		return w.strings(top, b)
	case chSparse:
		return w.sparse(b)
	case chLow:
		return w.low(b)
	case chArray: // only the end of the last one is needed
		over := 8 * (n - 1)
		if over > 0 && top.of.size == 0 {
			w.todo[len(w.todo)-1] = chValues{&chType{kind: chArray, of: t.of, size: 1}, 1}
			return int64(over), nil
		}
		if len(b) < 8 {
			return 0, nil
		}
		w.pop()
		w.push(t.of[0], binary.LittleEndian.Uint64(b))
		return 8, nil
	}
	w.pop()
	switch t.kind {
	case chNullable:
		w.push(t.of[0], n)
		w.push(chByte, n)
	case chTuple:
		for i := len(t.of) - 1; i >= 0; i-- {
			w.push(t.of[i], n)
		}
	default:
		return int64(t.size * n), nil
	}
	if len(w.todo) == 0 {
		return 0, errCHUnknown // a tuple of nothing
	}
	return w.values(b)
}

func (w *chBlock) pop() { w.todo = w.todo[:len(w.todo)-1] }

// strings passes those that begin in b.
func (w *chBlock) strings(top *chValues, b []byte) (used int64, err error) {
	for top.n > 0 && used < int64(len(b)) {
		n, size := binary.Uvarint(b[used:])
		if size < 0 || n > 1<<40 {
			return 0, errCHUnknown
		}
		if size == 0 {
			return used, nil
		}
		used += int64(size) + int64(n)
		top.n--
	}
	if top.n == 0 {
		w.pop()
	}
	return used, nil
}

// low reads the head of a LowCardinality: what its positions are wide, and its dictionary.
func (w *chBlock) low(b []byte) (int64, error) {
	if len(b) < 16 {
		return 0, nil
	}
	top := w.todo[len(w.todo)-1]
	flags, keys := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	if flags&0xff > 3 || flags&(1<<8) != 0 || flags&(1<<9) == 0 {
		return 0, errCHUnknown
	}
	w.pop()
	w.push(&chType{kind: chFixed, size: 1 << (flags & 0xff)}, top.n)
	w.push(chByte, 8) // how many positions there are
	w.push(top.of.of[0], keys)
	return 16, nil
}

// sparse reads the distances between values that are not the default; the last one has bit 62.
func (w *chBlock) sparse(b []byte) (used int64, err error) {
	top := &w.todo[len(w.todo)-1]
	r := chReader{b: b}
	for !r.short {
		n := r.number()
		if r.short {
			break
		}
		used = int64(r.at)
		if n&(1<<62) == 0 {
			if top.of.size++; top.of.size > chMaxRows {
				return 0, errCHUnknown
			}
			continue
		}
		t := top.of
		w.pop()
		w.push(t.of[0], t.size)
		break
	}
	return used, nil
}

var chByte = &chType{kind: chFixed, size: 1}
