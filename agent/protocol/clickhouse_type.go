package protocol

import (
	"bytes"
	"strconv"
)

const (
	chMaxDepth = 16       // types inside types
	chMaxType  = 16 << 10 // bytes of the name of one
)

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
