package protocol

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

const (
	chMaxColumns = 1 << 20
	chMaxRows    = 1 << 40 // of a column, with those inside of arrays
	chMaxDepth   = 16      // types inside types
	chMaxType    = 16 << 10
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

// chKind is how a type is laid out.
type chKind uint8

const (
	chFixed    chKind = iota // size bytes each
	chString                 // each with its length before it
	chNullable               // a byte each, then the values
	chArray                  // where each ends, then the values
	chTuple                  // column by column
	chLow                    // LowCardinality: a dictionary and positions in it
	chSparse                 // where the values are that are not the default, then those
	chRaw                    // n bytes
)

type chType struct {
	kind chKind
	size uint64
	of   []*chType
	lows uint64 // LowCardinality in it, each of which has 8 bytes before all values
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

// chSimple are types without arguments.
var chSimple = func() map[string]*chType {
	types := map[string]*chType{"String": {kind: chString}}
	for size, names := range map[uint64]string{
		1: "UInt8 Int8 Bool Nothing", 2: "UInt16 Int16 Date BFloat16", 4: "UInt32 Int32 Float32 Date32 DateTime IPv4 Time",
		8: `UInt64 Int64 Float64 IntervalNanosecond IntervalMicrosecond IntervalMillisecond IntervalSecond IntervalMinute IntervalHour IntervalDay
			IntervalWeek IntervalMonth IntervalQuarter IntervalYear`, 16: "UInt128 Int128 UUID IPv6 Point", 32: "UInt256 Int256"} {
		for name := range bytes.FieldsSeq([]byte(names)) {
			types[string(name)] = &chType{kind: chFixed, size: size}
		}
	}
	of := func(name string) *chType { return &chType{kind: chArray, of: []*chType{types[name]}} }
	types["Ring"], types["LineString"] = of("Point"), of("Point")
	types["Polygon"], types["MultiLineString"] = of("Ring"), of("Ring")
	types["MultiPolygon"] = of("Polygon")
	return types
}()

// parseCHType reads a type; nil for one that cannot be walked over.
func parseCHType(b []byte, depth int) *chType {
	if t := chSimple[string(b)]; t != nil {
		return t
	}
	open := bytes.IndexByte(b, '(')
	if open < 0 || b[len(b)-1] != ')' || depth > chMaxDepth || len(b) > chMaxType {
		return nil
	}
	args := splitCHTypes(b[open+1 : len(b)-1])
	if len(args) == 0 {
		return nil
	}
	switch string(b[:open]) {
	case "FixedString":
		n, err := strconv.ParseUint(string(args[0]), 10, 24)
		if err != nil || n == 0 {
			return nil
		}
		return &chType{kind: chFixed, size: n}
	case "DateTime":
		return chSimple["DateTime"]
	case "DateTime64", "Time64":
		return chSimple["Int64"]
	case "Enum8":
		return chSimple["UInt8"]
	case "Enum16":
		return chSimple["UInt16"]
	case "Decimal":
		return chDecimal(args[0])
	case "Decimal32":
		return chSimple["Int32"]
	case "Decimal64":
		return chSimple["Int64"]
	case "Decimal128":
		return chSimple["Int128"]
	case "Decimal256":
		return chSimple["Int256"]
	case "SimpleAggregateFunction":
		return parseCHType(args[len(args)-1], depth+1)
	case "Nullable":
		return chOf(chNullable, args, depth)
	case "Array":
		return chOf(chArray, args, depth)
	case "Tuple":
		return chOf(chTuple, args, depth)
	case "Map", "Nested":
		if pairs := chOf(chTuple, args, depth); pairs != nil {
			return &chType{kind: chArray, of: []*chType{pairs}, lows: pairs.lows}
		}
	case "LowCardinality":
		t := chOf(chLow, args, depth)
		if t != nil && t.of[0].kind == chNullable {
			t.of[0] = t.of[0].of[0]
		}
		return t
	}
	return nil
}

// chOf makes a type of others.
func chOf(kind chKind, args [][]byte, depth int) *chType {
	t := &chType{kind: kind}
	if kind == chLow {
		t.lows = 1
	}
	if kind != chTuple && len(args) != 1 {
		return nil
	}
	for _, arg := range args {
		if kind == chTuple { // its elements may have names
			if i := lastCHSpace(arg); i >= 0 {
				arg = arg[i+1:]
			}
		}
		element := parseCHType(arg, depth+1)
		if element == nil {
			return nil
		}
		t.of = append(t.of, element)
		t.lows += element.lows
	}
	return t
}

func chDecimal(precision []byte) *chType {
	n, _ := strconv.Atoi(string(precision))
	switch {
	case n < 1 || n > 76:
		return nil
	case n <= 9:
		return chSimple["Int32"]
	case n <= 18:
		return chSimple["Int64"]
	case n <= 38:
		return chSimple["Int128"]
	}
	return chSimple["Int256"]
}

// splitCHTypes cuts arguments at their commas, minding parentheses and quotes.
func splitCHTypes(b []byte) (args [][]byte) {
	begin := 0
	scanCHType(b, func(i int) {
		if b[i] == ',' {
			args = append(args, bytes.TrimSpace(b[begin:i]))
			begin = i + 1
		}
	})
	return append(args, bytes.TrimSpace(b[begin:]))
}

// lastCHSpace is where the name of an element ends, -1 if it has none.
func lastCHSpace(b []byte) int {
	last := -1
	scanCHType(b, func(i int) {
		if b[i] == ' ' {
			last = i
		}
	})
	return last
}

// scanCHType calls each for every byte that is neither in parentheses nor in quotes.
func scanCHType(b []byte, each func(i int)) {
	depth, quote := 0, byte(0)
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quote != 0:
			switch c {
			case '\\':
				i++
			case quote:
				quote = 0
			}
		case c == '\'' || c == '`' || c == '"':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		case depth == 0:
			each(i)
		}
	}
}
