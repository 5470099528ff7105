package protocol

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	chOld = 54412 // Debian's 18.16
	chNew = 54460 // 23.2
)

func chNumber(n int) string    { return string(binary.AppendUvarint(nil, uint64(n))) }
func chTextOf(s string) string { return chNumber(len(s)) + s }
func chUint64(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }

func chClientHello(revision int) string {
	return "\x00" + chTextOf("client") + chNumber(1) + chNumber(2) + chNumber(revision) + chTextOf("") + chTextOf("user") + chTextOf("mark")
}

func chServerHello(revision int) string {
	return "\x00" + chTextOf("ClickHouse") + chNumber(1) + chNumber(2) + chNumber(revision) + chTextOf("UTC") + chTextOf("mark") + chNumber(3)
}

// chAsk makes a query of a revision, with the block that ends its tables.
func chAsk(revision int, text string, compressed int) string {
	q := "\x01" + chTextOf("") + "\x01" + chTextOf("mark") + chTextOf("") + chTextOf("127.0.0.1:5")
	if revision >= chWithStartTime {
		q += chUint64(0)
	}
	q += "\x01" + chTextOf("mark") + chTextOf("mark") + chTextOf("client") + chNumber(1) + chNumber(2) + chNumber(54470) + chTextOf("")
	if revision >= chWithDepth {
		q += "\x00"
	}
	q += chNumber(9)
	if revision >= chWithOpenTelemetry {
		q += "\x01" + strings.Repeat("i", 24) + chTextOf("mark") + "\x00"
	}
	if revision >= chWithReplicas {
		q += "\x00\x00\x00"
	}
	if revision >= chWithLines {
		q += "\x01\x01"
	}
	if revision >= chWithToken {
		q += "\x01" + chTextOf("mark")
	}
	if revision >= chWithTextSettings {
		q += chTextOf("max_threads") + "\x01" + chTextOf("2")
	} else {
		q += chTextOf("max_threads") + chNumber(7) // in binary
	}
	q += chTextOf("")
	if revision >= chWithRoles {
		q += chTextOf("mark")
	}
	if revision >= chWithSecret {
		q += chTextOf("")
	}
	q += "\x02" + chNumber(compressed) + chTextOf(text)
	if revision >= chWithParameters {
		q += chTextOf("name") + "\x02" + chTextOf("'mark'") + chTextOf("")
	}
	return q + "\x02" + chTextOf("") + "\x01\x00\x02\xff\xff\xff\xff\x00\x00\x00"
}

// chColumn is one column of a block: its type, and its values as they are written.
type chColumn struct{ name, values string }

func chBlockOf(revision, rows int, columns ...chColumn) string {
	b := "\x01\x00\x02\xff\xff\xff\xff\x00" + chNumber(len(columns)) + chNumber(rows)
	for i, c := range columns {
		b += chTextOf(fmt.Sprintf("c%d", i)) + chTextOf(c.name)
		if revision >= chWithSerialization && !strings.HasPrefix(c.values, "\x01sparse") {
			b += "\x00"
		}
		b += strings.TrimPrefix(c.values, "\x01sparse")
	}
	return b
}

func chDataOf(revision, rows int, columns ...chColumn) string {
	return "\x01" + chTextOf("") + chBlockOf(revision, rows, columns...)
}

func chFrame(size, plain int, method byte) string {
	head := strings.Repeat("\x05", 16) + string([]byte{method})
	head += string(binary.LittleEndian.AppendUint32(nil, uint32(size+9)))
	return head + string(binary.LittleEndian.AppendUint32(nil, uint32(plain))) + strings.Repeat("\x05", size)
}

func chRefusal(code int32) string {
	return "\x02" + string(binary.LittleEndian.AppendUint32(nil, uint32(code))) + chTextOf("DB::Exception") + chTextOf("DB::Exception: mark") + chTextOf("") + "\x00"
}

const (
	chEnd         = "\x05"
	chProgressOld = "\x03\x05\x05\x05"
	chProgressNew = "\x03\x05\x05\x05\x05\x05\x05"
	chProfileOf   = "\x06\x05\x05\x05\x00\x05\x01"
)

func TestClickHouseExchanges(t *testing.T) {
	one := chColumn{"UInt8", "\x05"}
	login := func(revision int) []string { return []string{chClientHello(54470), chServerHello(revision)} }
	state := chDataOf(chOld, 1, chColumn{"AggregateFunction(sum, UInt64)", "\x05\x05\x05\x05"})
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"old", append(login(chOld), chAsk(chOld, "SELECT a FROM db.hits WHERE b = 'mark'", 0), chDataOf(chOld, 0, one)[:len(chDataOf(chOld, 0, one))-1]+chDataOf(chOld, 1, one)+chProgressOld+chProfileOf+"\x07"+chDataOf(chOld, 1, one)[1:]+chEnd,
			"\x04", "\x04", chAsk(chOld, "DROP TABLE hits", 0), chRefusal(60)), []string{"SELECT hits: ok", "PING: ok", "DROP TABLE hits: 60!"}},
		{"new", append(login(chNew), "\x00"+chAsk(chNew, "SELECT a FROM db.hits WHERE b = {name:String}", 0), chProgressNew+chDataOf(chNew, 1, one)+"\x0e"+chDataOf(chNew, 1, one)[1:]+chProfileOf+"\x11"+chTextOf("UTC")+chEnd,
			chAsk(chNew, "TRUNCATE hits", 0), chEnd), []string{"SELECT hits: ok", "TRUNCATE hits: ok"}},
		{"newer than is known", []string{chClientHello(54480), chServerHello(54477) + "more of it", chTextOf("") + chTextOf("notchunked") + chTextOf("notchunked") + "\x01" + chAsk(54477, "SELECT a FROM hits", 1),
			"\x03\x05\x05\x05\x05\x05\x05\x05" + "\x01\x00" + chFrame(100, 1<<20, 0x82) + chFrame(100, 200, 0x90) + chProfileOf + "\x01\x05" + chEnd}, []string{"SELECT hits: ok"}},
		{"insert", append(login(chNew), "\x00"+chAsk(chNew, "INSERT INTO hits (a) VALUES", 0), "\x0b"+chTextOf("hits")+chTextOf("columns format version: 1")+chDataOf(chNew, 0, chColumn{"UInt8", ""}),
			"\x02\x00"+chBlockOf(chNew, 5, chColumn{"UInt8", "\x01\x04\x00\x01\x05"})+"\x02\x00"+chBlockOf(chNew, 0), chEnd), []string{"INSERT hits: ok"}},
		{"insert fails in the middle", append(login(chOld), chAsk(chOld, "INSERT INTO hits VALUES", 0), chDataOf(chOld, 0, chColumn{"UInt8", ""}), strings.Repeat("x", 1000), chRefusal(27), strings.Repeat("x", 1000), "",
			chAsk(chOld, "SELECT 1 FROM t", 0), chEnd), []string{"INSERT hits: 27!", "SELECT t: ok"}},
		{"refused", []string{chClientHello(54470), chRefusal(516)}, []string{"CONNECT: 516!"}},
		{"tables of a cluster, cancel", append(login(chOld), "\x05\x01\x01d\x01t", "\x09\x01\x01d\x01t\x00", "\x03", "", chAsk(chOld, "SYSTEM RELOAD CONFIG", 0), chEnd), []string{"TABLES_STATUS: ok", "SYSTEM: ok"}},
		{"cannot be walked over", append(login(chOld), chAsk(chOld, "SELECT s FROM a", 0), state, "", "\x05", chAsk(chOld, "SELECT s FROM b", 0), state+chProfileOf+chProgressOld+chEnd, chAsk(chOld, "SELECT s FROM c", 0), state+"mark"+chRefusal(241),
			chAsk(chOld, "SELECT s FROM d", 0), state, chAsk(chOld, "SELECT s FROM e", 0), state), []string{"SELECT a: ok", "SELECT b: ok", "SELECT c: 241!", "SELECT d: ", "SELECT e: "}},
		{"joined in the middle", []string{chAsk(chNew, "SELECT a FROM x", 0), chDataOf(chNew, 1, one) + chProfileOf + chEnd, chAsk(54476, "SELECT a FROM y", 1), "\x01\x00" + chFrame(100, 100, 0x82), "", chEnd, chAsk(chOld, "SELECT a FROM z", 0), chRefusal(47)},
			[]string{"SELECT x: ok", "SELECT y: ok", "SELECT z: 47!"}},
		{"cut", append(login(chOld), chAsk(chOld, "SELECT a FROM t", 0), chDataOf(chOld, 2, one)), []string{"SELECT t: !cut"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, n := range []int{1 << 20, 1, 5, 50} {
				if n < 50 && (strings.HasPrefix(tc.name, "cannot") || strings.HasPrefix(tc.name, "joined")) {
					continue // its end must be seen in one piece
				}
				if n < 1<<20 && strings.HasPrefix(tc.name, "insert fails") {
					continue
				}
				f := talkThrough(t, ClickHouse(), talkPieces(turns(tc.texts...), n))
				require.Empty(t, f.errors, "in pieces of %d", n)
				assert.Equal(t, tc.want, f.outcomes(), "in pieces of %d", n)
				assert.NotContains(t, fmt.Sprint(f.outcomes()), "mark")
			}
		})
	}
}

// Blocks of every kind of type are walked over to their ends, whatever the pieces. The values are fives where they can be, which is also how an answer ends.
func TestClickHouseBlocks(t *testing.T) {
	five := func(n int) string { return strings.Repeat("\x05", n) }
	texts := func(n int) string { return strings.Repeat("\x05\x05\x05\x05\x05\x05", n) }
	offsets := func(ends ...uint64) (out string) {
		for _, n := range ends {
			out += chUint64(n)
		}
		return out
	}
	low := func(rows int) string {
		return chUint64(1<<9|1<<10) + chUint64(2) + texts(2) + chUint64(uint64(rows)) + five(rows)
	}
	for _, tc := range []chColumn{
		{"UInt8", five(3)}, {"Int256", five(96)}, {"DateTime('UTC')", five(12)}, {"DateTime64(3, 'UTC')", five(24)}, {"Enum8('a' = 1, 'b,)\\'(' = 2)", five(3)}, {"Enum16('a' = 1)", five(6)}, {"FixedString(7)", five(21)},
		{"Decimal(9, 2)", five(12)}, {"Decimal(18, 2)", five(24)}, {"Decimal(38, 2)", five(48)}, {"Decimal(76, 2)", five(96)}, {"Decimal32(2)", five(12)}, {"UUID", five(48)}, {"IPv4", five(12)}, {"Nothing", five(3)}, {"IntervalDay", five(24)},
		{"String", texts(3)}, {"Nullable(String)", five(3) + texts(3)}, {"Array(String)", offsets(1, 1, 4) + texts(4)}, {"Array(Array(UInt8))", offsets(1, 1, 2) + offsets(2, 5) + five(5)}, {"Array(UInt8)", offsets(0, 0, 0)},
		{"Tuple(UInt8, String)", five(3) + texts(3)}, {"Tuple(a UInt8, `b c` Tuple(d String))", five(3) + texts(3)}, {"Map(String, UInt8)", offsets(1, 2, 2) + texts(2) + five(2)}, {"Nested(a UInt8, b String)", offsets(1, 2, 2) + five(2) + texts(2)},
		{"LowCardinality(String)", chUint64(1) + low(3)}, {"LowCardinality(Nullable(String))", chUint64(1) + low(3)}, {"Array(LowCardinality(String))", chUint64(1) + offsets(1, 2, 4) + low(4)}, {"Array(LowCardinality(String))", chUint64(1) + offsets(0, 0, 0)},
		{"Tuple(LowCardinality(String), LowCardinality(String))", chUint64(1) + chUint64(1) + low(3) + low(3)}, {"SimpleAggregateFunction(sum, UInt64)", five(24)}, {"Point", five(48)}, {"Ring", offsets(0, 1, 2) + five(32)}, {"MultiPolygon", offsets(0, 0, 1) + offsets(1) + offsets(1) + five(16)},
		{"UInt64", "\x01sparse\x01\x01" + "\x02" + string(binary.AppendUvarint(nil, 1<<62)) + five(8)}, {"String", "\x01sparse\x01\x01" + string(binary.AppendUvarint(nil, 1<<62|3))}, {"UInt64", "\x01sparse\x01\x00" + five(24)},
	} {
		for _, n := range []int{1 << 20, 1, 3, 7, 64} {
			chunks := turns(chClientHello(chNew), chServerHello(chNew), "\x00"+chAsk(chNew, "SELECT a FROM t", 0), chDataOf(chNew, 3, tc, chColumn{"UInt16", five(6)})+chProgressNew+chEnd, "\x04", "\x04")
			f := talkThrough(t, ClickHouse(), talkPieces(chunks, n))
			require.Empty(t, f.errors, tc.name)
			require.Equal(t, []string{"SELECT t: ok", "PING: ok"}, f.outcomes(), "%s in pieces of %d", tc.name, n)
			require.False(t, f.conn.(*clickhouseConn).answer.blind)
			require.Equal(t, chunks[3].at, f.exchanges[0].End)
			require.EqualValues(t, len(chunks[3].data), f.exchanges[0].ResponseBytes, "%s in pieces of %d", tc.name, n)
		}
	}
	for _, name := range []string{"", "JSON", "Dynamic", "Variant(String, UInt8)", "AggregateFunction(sum, UInt8)", "Array(JSON)", "Array()", "Array(UInt8", "FixedString(0)", "FixedString(x)", "Decimal(0, 0)", "Decimal(77, 0)", "Nullable(String, String)", strings.Repeat("Array(", 50) + "UInt8" + strings.Repeat(")", 50), "Tuple()", "Array(UInt8)x"} {
		require.Nil(t, parseCHType([]byte(name), 0), name)
	}
}

func TestClickHouseHostile(t *testing.T) {
	for _, text := range []string{"GET / HTTP/1.1\r\n", "\x07", "\x00\x00\x00\x00", chClientHello(5), "\x01\x00\x07"} {
		require.NotEmpty(t, talkThrough(t, ClickHouse(), turns(text)).errors, "%q", text)
	}
	for _, answer := range []string{"\xff", "\x01\x00\x09", chDataOf(chNew, 1<<45, chColumn{"UInt8", "x"}), "\x01\x00\x01\x00\x02\xff\xff\xff\xff\x00" + chNumber(1<<40) + "\x01", chDataOf(chNew, 3, chColumn{"Array(String)", chUint64(0) + chUint64(0) + chUint64(1<<63)}),
		chDataOf(chNew, 3, chColumn{"LowCardinality(String)", chUint64(1) + chUint64(0xff) + chUint64(1)}), chDataOf(chNew, 3, chColumn{"Tuple(Tuple(JSON))", ""}), chDataOf(chNew, 1, chColumn{"String", strings.Repeat("\xff", 20)}), "\x0c" + chNumber(1<<40),
		"\x02" + strings.Repeat("\xff", 100), "\x01\x00\x03" + strings.Repeat("\xff", 20), "\x0b" + strings.Repeat("\xff", 40_000)} {
		for _, n := range []int{1 << 20, 1} {
			f := talkThrough(t, ClickHouse(), talkPieces(turns(chClientHello(chNew), chServerHello(chNew), "\x00"+chAsk(chNew, "SELECT a FROM t", 0), answer, "", chRefusal(1), chAsk(chNew, "SELECT a FROM u", 0), chEnd), n))
			require.Empty(t, f.errors)
			require.GreaterOrEqual(t, len(f.exchanges), min(2, n), "%.40q in pieces of %d", answer, n)
		}
	}
	chunked := talkThrough(t, ClickHouse(), turns(chClientHello(54471), chServerHello(54471), chTextOf("")+chTextOf("chunked")+chTextOf("chunked")+"\x01", "", chAsk(chNew, "SELECT 1 FROM t", 0)))
	require.NotEmpty(t, chunked.errors)
	require.Empty(t, chunked.exchanges)
}

func TestClickHouseDetect(t *testing.T) {
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromClient, chClientHello(chOld), Yes}, {FromClient, chClientHello(chOld)[:1], Maybe}, {FromClient, chClientHello(chOld)[:12], Maybe}, {FromClient, chClientHello(123), No}, {FromServer, chServerHello(chOld), Yes}, {FromServer, chServerHello(chOld)[:3], Maybe},
		{FromClient, chAsk(chOld, "SELECT 1 FROM t", 0), Yes}, {FromClient, chAsk(chNew, "SELECT 1 FROM t", 0), Yes}, {FromClient, chAsk(54477, "SELECT 1 FROM t", 0), Yes}, {FromClient, chAsk(chNew, "SELECT 1 FROM t", 0)[:40], Maybe}, {FromServer, chRefusal(60), Yes},
		{FromServer, chDataOf(chOld, 0), Yes}, {FromServer, chDataOf(chOld, 0)[:5], Maybe}, {FromServer, "\x05", No}, {FromClient, "\x04", No}, {FromClient, "\x00\x00\x00\x08\x04\xd2\x16\x2f", No}, {FromClient, pgStart(), No}, {FromClient, my(0, "\x03SELECT 1"), No},
		{FromClient, "GET / HTTP/1.1", No}, {FromClient, "\x01\x00\x00\x00\x01", No}, {FromServer, "HTTP/1.1 200 OK", No},
	} {
		assert.Equal(t, tc.want, ClickHouse().Detect(tc.d, []byte(tc.text)), "%q", tc.text)
	}
}

func TestClickHouseRecordings(t *testing.T) { requireSteady(t, ClickHouse(), "mark") }

func FuzzClickHouse(f *testing.F) { fuzzConn(f, ClickHouse()) }

// BenchmarkClickHouse is one query and its answer: a number, and 1,000 rows of a number and a string, compressed or not.
func BenchmarkClickHouse(b *testing.B) {
	rows := chDataOf(chNew, 1000, chColumn{"UInt64", strings.Repeat("x", 8000)}, chColumn{"String", strings.Repeat("\x05hello", 1000)})
	for name, texts := range map[string][2]string{
		"number":           {chAsk(chNew, "SELECT count() FROM hits", 0), chDataOf(chNew, 1, chColumn{"UInt64", "12345678"}) + chProgressNew + chProfileOf + chEnd},
		"1000-rows":        {chAsk(chNew, "SELECT a, b FROM hits", 0), rows + chProgressNew + chProfileOf + chEnd},
		"1000-rows-in-lz4": {chAsk(chNew, "SELECT a, b FROM hits", 1), "\x01\x00" + chFrame(5000, 14_000, 0x82) + chProgressNew + chProfileOf + chEnd},
	} {
		b.Run(name, func(b *testing.B) {
			request, answer := []byte(texts[0]), []byte(texts[1])
			f := talkThrough(b, ClickHouse(), nil)
			f.feed(FromClient, []byte(chClientHello(chNew)), 1)
			f.feed(FromServer, []byte(chServerHello(chNew)), 1)
			f.feed(FromClient, []byte("\x00"), 1)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				f.conn.Feed(FromClient, request, 1, func(Exchange) {})
				for rest := answer; len(rest) > 0; {
					consumed, _, _ := f.conn.Feed(FromServer, rest, 2, func(Exchange) { n++ })
					rest = rest[consumed:]
				}
			}
			if n == 0 {
				b.Fatal("no answer was recognised")
			}
		})
	}
}
