package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cql makes an envelope; versions above 0x80 are of the server.
func cql(version, flags byte, stream int16, opcode byte, body string) string {
	b := []byte{version, flags, byte(uint16(stream) >> 8), byte(stream), opcode}
	return string(binary.BigEndian.AppendUint32(b, uint32(len(body)))) + body
}

func cqlInt(n int) string     { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
func cqlShort(n int) string   { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }
func cqlText(s string) string { return cqlShort(len(s)) + s }
func cqlLong(s string) string { return cqlInt(len(s)) + s }

const (
	cqlID      = "0123456789abcdef"
	cqlOptionB = "\x00\x01\x00" // consistency ONE, no flags
)

func cqlAsk(stream int16, text string) string {
	return cql(4, 0, stream, cqlQuery, cqlLong(text)+cqlOptionB)
}

func cqlVoidTo(stream int16) string { return cql(0x84, 0, stream, cqlResult, cqlInt(cqlVoid)) }

func cqlPreparedTo(version byte, stream int16, id string) string {
	return cql(0x80|version, 0, stream, cqlResult, cqlInt(cqlPrepared)+cqlText(id)+cqlInt(0))
}

func cqlStart(version byte, options ...string) string {
	body := cqlShort(len(options)/2 + 1)
	for _, o := range append([]string{"CQL_VERSION", "3.0.0"}, options...) {
		body += cqlText(o)
	}
	return cql(version, 0, 0, cqlStartup, body)
}

func cqlFailure(stream int16, code int) string {
	return cql(0x84, 0, stream, cqlError, cqlInt(code)+cqlText("no mark"))
}

// cqlInSegments wraps envelopes; plain is how many bytes a compressed payload has without compression, 0 for one that is not.
func cqlInSegment(payload string, wide, selfContained bool, plain int) string {
	bits := uint64(len(payload))
	size, at := 3, 17
	if wide {
		bits |= uint64(plain) << 17
		size, at = 5, 34
	}
	if selfContained {
		bits |= 1 << at
	}
	head := binary.LittleEndian.AppendUint64(nil, bits)[:size]
	sum := crc24(head)
	return string(head) + string([]byte{byte(sum), byte(sum >> 8), byte(sum >> 16)}) + payload + "\x00\x00\x00\x00"
}

// lz4Plain writes a block of literals only, but for the last ones, which repeat what is before them.
func lz4Plain(text string) string {
	var out bytes.Buffer
	n := len(text)
	if n < 15 {
		out.WriteByte(byte(n) << 4)
	} else {
		out.WriteByte(0xf0)
		rest := n - 15
		for ; rest >= 255; rest -= 255 {
			out.WriteByte(255)
		}
		out.WriteByte(byte(rest))
	}
	out.WriteString(text)
	return out.String()
}

func TestCassandraExchanges(t *testing.T) {
	execute := func(stream int16, id string) string { return cql(4, 0, stream, cqlExecute, cqlText(id)+cqlOptionB) }
	batch := func(kind byte, first string) string {
		return cql(4, 0, 1, cqlBatch, "\x00\x00\x01"+string(kind)+first+cqlShort(0)+cqlOptionB)
	}
	prepare := cql(4, 0, 1, cqlPrepare, cqlLong("SELECT a FROM shop.users WHERE a = 'mark'"))
	snappied := string(snappy.Encode(nil, []byte(cqlLong("INSERT INTO users (a) VALUES ('mark')")+cqlOptionB)))
	lz4ed := func(body string) string { return cqlInt(len(body)) + lz4Plain(body) }
	long := "SELECT " + strings.Repeat("a, ", 30_000) + "b FROM users"
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"handshake", []string{cql(4, 0, 0, cqlOptions, ""), cql(0x84, 0, 0, cqlSupported, cqlShort(0)), cqlStart(4), cql(0x84, 0, 0, cqlReady, ""),
			cql(4, 0, 1, cqlRegister, cqlShort(1)+cqlText("STATUS_CHANGE")), cql(0x84, 0, 1, cqlReady, "")}, []string{"OPTIONS: ok", "STARTUP: ok", "REGISTER: ok"}},
		{"login", []string{cqlStart(4), cql(0x84, 0, 0, cqlAuthenticate, cqlText("org.x.Y")), cql(4, 0, 0, cqlAuthResponse, cqlLong("\x00mark\x00mark")), cqlFailure(0, 0x100)},
			[]string{"STARTUP: ok", "AUTH_RESPONSE: bad_credentials!"}},
		{"in any order", []string{cqlAsk(1, "SELECT a FROM t1 WHERE b = 'mark'") + cqlAsk(2, "UPDATE ks.t2 SET a = 1") + cqlAsk(300, "TRUNCATE t3"), cqlVoidTo(300) + cqlVoidTo(1) + cqlVoidTo(2)},
			[]string{"TRUNCATE t3: ok", "SELECT t1: ok", "UPDATE t2: ok"}},
		{"errors", []string{cqlAsk(1, "SELECT a FROM t") + cqlAsk(2, "SELECT a FROM t"), cqlFailure(1, 0x1200) + cqlFailure(2, 0x1a2b)}, []string{"SELECT t: read_timeout!", "SELECT t: 0x1a2b!"}},
		{"prepared", []string{prepare, cqlPreparedTo(4, 1, cqlID), execute(1, cqlID) + execute(2, "fedcba9876543210"), cqlVoidTo(1) + cqlFailure(2, 0x2500)},
			[]string{"PREPARE SELECT users: ok", "SELECT users: ok", "EXECUTE: unprepared!"}},
		{"not prepared", []string{prepare, cqlFailure(1, 0x2200), execute(1, "fedcba9876543211"), cqlVoidTo(1)}, []string{"PREPARE SELECT users: invalid!", "EXECUTE: ok"}},
		{"batches", []string{batch(0, cqlLong("INSERT INTO shop.orders (a) VALUES ('mark')")), cqlVoidTo(1), batch(1, cqlText("fedcba9876543212")), cqlVoidTo(1),
			cqlAsk(1, "BEGIN UNLOGGED BATCH USING TIMESTAMP 5 DELETE a FROM orders WHERE b = 'mark'; APPLY BATCH"), cqlVoidTo(1)}, []string{"BATCH orders: ok", "BATCH: ok", "BATCH orders: ok"}},
		{"events", []string{cqlAsk(1, "SELECT a FROM t"), cql(0x84, 0, -1, cqlEvent, cqlText("STATUS_CHANGE")+cqlText("UP")) + cqlVoidTo(1)}, []string{"SELECT t: ok"}},
		{"flags", []string{cql(4, cqlTracing|cqlCustomPayload, 1, cqlQuery, cqlShort(1)+cqlText("mark")+cqlLong("mark")+cqlLong("SELECT a FROM t")+cqlOptionB),
			cql(0x84, cqlTracing|cqlWarning|cqlCustomPayload, 1, cqlError, cqlID+cqlShort(1)+cqlText("mark")+cqlShort(1)+cqlText("mark")+cqlInt(-1)+cqlInt(0x1000)+cqlText("mark"))}, []string{"SELECT t: unavailable!"}},
		{"snappy", []string{cqlStart(4, "COMPRESSION", "snappy"), cql(0x84, 0, 0, cqlReady, ""), cql(4, 1, 1, cqlQuery, snappied), cql(0x84, 1, 1, cqlResult, string(snappy.Encode(nil, []byte(cqlInt(1)))))},
			[]string{"STARTUP: ok", "INSERT users: ok"}},
		{"LZ4", []string{cqlStart(3, "COMPRESSION", "lz4"), cql(0x83, 0, 0, cqlReady, ""), cql(3, 1, 1, cqlQuery, lz4ed(cqlLong("INSERT INTO users (a) VALUES ('mark')")+cqlOptionB)), cql(0x83, 1, 1, cqlError, lz4ed(cqlInt(0x1001)+cqlText("mark")))},
			[]string{"STARTUP: ok", "INSERT users: overloaded!"}},
		{"compressed before vetch came", []string{cql(4, 1, 1, cqlQuery, snappied) + cql(4, 1, 2, cqlQuery, lz4ed(cqlLong("DELETE FROM users WHERE a = 1")+cqlOptionB)), cqlVoidTo(1) + cqlVoidTo(2)}, []string{"INSERT users: ok", "DELETE users: ok"}},
		{"long text, large answer", []string{cqlAsk(1, long) + cqlAsk(2, "TRUNCATE t"), cql(0x84, 0, 1, cqlResult, cqlInt(cqlRows)+strings.Repeat("x", 400_000)) + cqlVoidTo(2)}, []string{"SELECT: ok", "TRUNCATE t: ok"}},
		{"old version is told so", []string{cqlStart(5), cql(0x84, 0, 0, cqlError, cqlInt(0x0a)+cqlText("no"))}, []string{"STARTUP: protocol_error!"}},
		{"told so without a stream", []string{cql(4, 0, 7, cqlOptions, ""), cql(0x84, 0, -1, cqlError, cqlInt(0x0a)+cqlText("no"))}, []string{"OPTIONS: protocol_error!"}},
		{"stream used again", []string{cqlAsk(1, "SELECT a FROM t1") + cqlAsk(1, "SELECT a FROM t2"), cqlVoidTo(1)}, []string{"SELECT t1: ~", "SELECT t2: ok"}},
		{"cut", []string{cqlAsk(1, "SELECT a FROM t1"), ""}, []string{"SELECT t1: !cut"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			requireCQL(t, turns(tc.texts...), tc.want)
		})
	}
}

// requireCQL plays a conversation in pieces of several sizes.
func requireCQL(t *testing.T, chunks []talkChunk, want []string) {
	for _, n := range []int{1 << 20, 1, 5, 50, 4096} {
		f := talkThrough(t, Cassandra(), talkPieces(chunks, n))
		require.Empty(t, f.errors, "in pieces of %d", n)
		assert.Equal(t, want, f.outcomes(), "in pieces of %d", n)
		assert.NotContains(t, fmt.Sprint(f.outcomes()), "mark")
	}
}

func TestCassandraSegments(t *testing.T) {
	query := func(stream int16, text string) string { return cql(5, 0, stream, cqlQuery, cqlLong(text)+cqlOptionB) }
	execute := cql(5, 0, 3, cqlExecute, cqlText(cqlID)+cqlText(cqlID)+cqlOptionB)
	void := func(stream int16) string { return cql(0x85, 0, stream, cqlResult, cqlInt(cqlVoid)) }
	rows := cql(0x85, 0, 1, cqlResult, cqlInt(cqlRows)+strings.Repeat("mark", 60_000))
	several := query(1, "SELECT a FROM t1") + query(2, "INSERT INTO t2 (a) VALUES (1)") + execute
	ready := cql(0x85, 0, 0, cqlReady, "")
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"plain", []string{cql(5, 0, 9, cqlOptions, "") + cqlStart(5), cql(0x85, 0, 9, cqlSupported, cqlShort(0)) + ready, cqlInSegment(several, false, true, 0), cqlInSegment(void(2)+void(1)+void(3), false, true, 0)},
			[]string{"OPTIONS: ok", "STARTUP: ok", "INSERT t2: ok", "SELECT t1: ok", "EXECUTE: ok"}},
		{"answer in parts", []string{cqlStart(5), ready, cqlInSegment(query(1, "SELECT a FROM t1"), false, true, 0),
			cqlInSegment(rows[:131071], false, false, 0) + cqlInSegment(rows[131071:], false, false, 0), cqlInSegment(query(2, "SELECT a FROM t2"), false, true, 0), cqlInSegment(void(2), false, true, 0)},
			[]string{"STARTUP: ok", "SELECT t1: ok", "SELECT t2: ok"}},
		{"LZ4", []string{cqlStart(5, "COMPRESSION", "lz4"), ready, cqlInSegment(lz4Plain(several), true, true, len(several)), cqlInSegment(void(1), true, true, 0) + cqlInSegment(lz4Plain(void(2)+void(3)), true, true, len(void(2)+void(3)))},
			[]string{"STARTUP: ok", "SELECT t1: ok", "INSERT t2: ok", "EXECUTE: ok"}},
		{"LZ4, answer in parts", []string{cqlStart(5, "COMPRESSION", "lz4"), ready, cqlInSegment(lz4Plain(several), true, true, len(several)),
			cqlInSegment(lz4Plain(rows[:100_000]), true, false, 100_000) + cqlInSegment(lz4Plain(rows[100_000:200_000]), true, false, 100_000) + cqlInSegment(lz4Plain(rows[200_000:]), true, false, len(rows)-200_000) + cqlInSegment(void(2)+void(3), true, true, 0)},
			[]string{"STARTUP: ok", "SELECT t1: ok", "INSERT t2: ok", "EXECUTE: ok"}},
		{"joined in the middle", []string{cqlInSegment(several, false, true, 0), cqlInSegment(void(2)+void(1)+void(3), false, true, 0)}, []string{"INSERT t2: ok", "SELECT t1: ok", "EXECUTE: ok"}},
		{"joined in the middle, LZ4", []string{cqlInSegment(lz4Plain(several), true, true, len(several)), cqlInSegment(lz4Plain(void(1)), true, true, len(void(1)))}, []string{"SELECT t1: ok", "INSERT t2: !cut", "EXECUTE: !cut"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, n := range []int{1 << 20, 1, 50, 4096} {
				if strings.HasPrefix(tc.name, "joined") && n < 50 {
					continue // what begins a message must show it
				}
				f := talkThrough(t, Cassandra(), talkPieces(turns(tc.texts...), n))
				require.Empty(t, f.errors, "in pieces of %d", n)
				assert.Equal(t, tc.want, f.outcomes(), "in pieces of %d", n)
			}
		})
	}
}

// Statements go by their digests on the connections of one table, but by other identifiers only on that where they were prepared.
func TestCassandraSharesStatements(t *testing.T) {
	p := Cassandra()
	for _, id := range []string{cqlID, "7"} {
		talkThrough(t, p, turns(cql(4, 0, 1, cqlPrepare, cqlLong("SELECT a FROM users")), cqlPreparedTo(4, 1, id)))
	}
	f := talkThrough(t, p, turns(cql(4, 0, 1, cqlExecute, cqlText(cqlID)+cqlOptionB)+cql(4, 0, 2, cqlExecute, cqlText("7")+cqlOptionB), cqlVoidTo(1)+cqlVoidTo(2)))
	require.Equal(t, []string{"SELECT users: ok", "EXECUTE: ok"}, f.outcomes())
}

func TestCassandraHostile(t *testing.T) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\n\r\n", cql(4, 0x20, 1, cqlQuery, ""), cql(6, 0, 1, cqlQuery, ""), cql(4, 0, 1, cqlResult, ""), cql(4, 0, -2, cqlQuery, ""), "\x04\x00\x00\x01\x07\xff\xff\xff\xff",
		cqlStart(5) + cqlInSegment("0123456789", false, true, 0), cqlStart(5, "COMPRESSION", "lz4") + cqlInSegment("\x10", true, true, 100), cqlStart(5, "COMPRESSION", "lz4") + cqlInSegment("\x14a\xff\xff", true, true, 100),
		cqlStart(5, "COMPRESSION", "lz4") + cqlInSegment("\xf0"+strings.Repeat("\xff", 9000), true, true, 100_000),
		cqlStart(5) + cqlInSegment(cql(5, 0, 1, cqlOptions, ""), false, true, 0) + "\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		require.NotEmpty(t, talkThrough(t, Cassandra(), turns(text)).errors, "%.60q", text)
	}
	for _, text := range []string{cql(4, 0, 1, cqlQuery, ""), cql(4, 0, 1, cqlExecute, "\xff\xff"), cql(4, 0, 1, cqlBatch, "\x00\xff\xff"), cql(4, 4, 1, cqlQuery, "\xff\xff"), cql(4, 0, 1, cqlQuery, cqlInt(-5)), cql(4, 1, 1, cqlQuery, "\xff\xff\xff\xff\xff\xff"), cql(4, 0, 1, cqlStartup, "\xff\xff\x00")} {
		f := talkThrough(t, Cassandra(), turns(text, cql(0x84, 8, 1, cqlError, "\xff\xff")))
		require.Empty(t, f.errors, "%q", text)
		require.Len(t, f.exchanges, 1)
		require.Equal(t, "error", f.exchanges[0].Status)
	}
	f := newTalk(t, Cassandra())
	for i := range 3 * MaxWaiting {
		f.feed(FromClient, []byte(cqlAsk(int16(i), "SELECT a FROM t")), int64(i))
	}
	require.Len(t, f.conn.(*cassandraConn).waiting.values, MaxWaiting)
	for i := range 3 * MaxWaiting { // statements that are prepared for ever
		f.feed(FromClient, []byte(cql(4, 0, 1, cqlPrepare, cqlLong("SELECT a FROM t"))), 1)
		f.feed(FromServer, []byte(cqlPreparedTo(4, 1, fmt.Sprintf("%016d", i))), 1)
	}
	require.LessOrEqual(t, len(f.conn.(*cassandraConn).shared.values), MaxWaiting)
	f.close(1e9)
}

func TestCassandraDetect(t *testing.T) {
	zip := func(body string) string { return string(snappy.Encode(nil, []byte(body))) }
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromClient, "", Maybe}, {FromClient, "\x04", Maybe}, {FromClient, "\x05\x01\x00", Maybe}, {FromClient, "\x04\xff", No}, {FromClient, "GET", No}, {FromServer, "\x84\x00", Maybe}, {FromServer, "\x04", No},
		{FromClient, cql(4, 0, 0, cqlOptions, ""), Yes}, {FromClient, cqlStart(4), Yes}, {FromClient, cqlStart(4)[:20], Maybe}, {FromClient, cql(4, 0, 0, cqlStartup, cqlShort(1)+cqlText("A")+cqlText("B")), No},
		{FromClient, cqlAsk(1, "SELECT a FROM t"), Yes}, {FromClient, cqlAsk(1, "SELECT a FROM t")[:12], Maybe}, {FromClient, cqlAsk(1, "rubbish and more"), No}, {FromClient, cql(4, 0, 1, cqlQuery, cqlInt(100)), No},
		{FromClient, cql(4, 1, 1, cqlQuery, zip(cqlLong("SELECT a FROM t"))), Yes}, {FromClient, cql(4, 0, 1, cqlExecute, cqlText(cqlID)+cqlOptionB), Yes}, {FromClient, cql(5, 0, 1, cqlExecute, cqlText(cqlID)+cqlText(cqlID)+cqlOptionB), Yes},
		{FromClient, cql(4, 0, 1, cqlExecute, cqlText(cqlID)+"\xff\xff"), No}, {FromClient, cql(4, 0, 1, cqlBatch, "\x00\x00\x01\x00"+cqlLong("DELETE FROM t WHERE a = 1")), Yes}, {FromClient, cql(4, 0, 1, cqlBatch, "\x09\x00\x01\x00"), No},
		{FromClient, cql(4, 0, 1, cqlRegister, cqlShort(1)+cqlText("STATUS_CHANGE")), Yes}, {FromClient, cql(4, 0, 1, cqlRegister, cqlShort(1)+cqlText("X")), No}, {FromClient, cql(4, 0, 1, cqlAuthResponse, "mark"), No},
		{FromServer, cql(0x84, 0, 0, cqlReady, ""), Yes}, {FromServer, cqlFailure(0, 0x100), Yes}, {FromServer, cqlFailure(0, 0x1234), No}, {FromServer, cqlVoidTo(1), Yes}, {FromServer, cqlPreparedTo(4, 1, cqlID), Yes},
		{FromServer, cql(0x84, 0, -1, cqlEvent, cqlText("STATUS_CHANGE")), Yes}, {FromServer, cql(0x84, 0, 1, cqlEvent, cqlText("STATUS_CHANGE")), No}, {FromServer, cql(0x84, 0, 1, cqlResult, cqlInt(9)), No},
		{FromServer, cql(0x84, 0, 1, cqlResult, cqlInt(3)+cqlText("ks")), Yes}, {FromServer, cql(0x84, 0, 1, cqlResult, cqlInt(5)+cqlText("CREATED")), Yes}, {FromServer, cql(0x84, 0, 1, cqlResult, cqlInt(2)+cqlInt(1)+cqlInt(1)), Yes},
		{FromServer, cql(0x84, 0, 0, cqlAuthenticate, cqlText("org.x.Y")), Yes}, {FromServer, cql(0x84, 0, 0, cqlAuthSuccess, "    "), No}, {FromServer, cql(0x84, 2, 1, cqlResult, cqlID+cqlInt(1)), Yes},
		{FromClient, cqlInSegment(cql(5, 0, 1, cqlOptions, ""), false, true, 0), Yes}, {FromServer, cqlInSegment(cql(0x85, 0, 1, cqlReady, ""), true, true, 0), Yes}, {FromClient, cqlInSegment("x", false, true, 0), No},
		{FromClient, cqlInSegment(cql(5, 0, 1, cqlOptions, ""), false, true, 0)[:6], Yes}, {FromServer, cqlInSegment(lz4Plain(cql(0x85, 0, 1, cqlReady, "")), true, true, 9), Yes}, {FromServer, cqlInSegment(lz4Plain(cql(0x85, 0, 1, cqlReady, "")), true, false, 9), No},
		{FromClient, "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00", No}, // RDP
		{FromClient, "\x05\x00\x00\x00\x03SELECT 1", No},                 // MySQL
		{FromClient, my(0, "\x16SELECT 1"), No}, {FromClient, pgStart(), No},
	} {
		assert.Equal(t, tc.want, Cassandra().Detect(tc.d, []byte(tc.text)), "%q", tc.text)
	}
}

// gocql asks a server of go-cassandra-native-protocol in all versions, and in those whose compression that library can do, with each.
func TestCassandraServer(t *testing.T) {
	program := buildModule(t, "cassandra")
	for _, how := range [][]string{{"3", "none"}, {"4", "none"}, {"4", "lz4"}, {"4", "snappy"}, {"5", "none"}} {
		t.Run(strings.Join(how, " "), func(t *testing.T) {
			address := "127.0.0.1:" + loopbackPort(t)
			startProgram(t, address, program, "serve", address)
			x := startTalkProxy(t, address, Cassandra())
			a := startAsker(t, exec.Command(program, append([]string{"ask", x.addr(), "plain", "mark"}, how...)...))
			const n = 20
			for range n {
				a.ask("1")
			}
			a.end()
			exchanges := x.finish()
			got := countOutcomes(exchanges)
			for outcome, want := range map[string]int{"SELECT users: ok": 3 * n, "INSERT carts: unavailable!": n, "PREPARE UPDATE nothing: invalid!": n, "BATCH users: ok": n, "BATCH orders: ok": n, "TRUNCATE users: ok": n, "SELECT blobs: ok": n} {
				assert.Equal(t, want, got[outcome], outcome)
			}
			for _, e := range exchanges {
				assert.NotContains(t, e.Operation+e.Status, "mark")
				assert.False(t, e.Cut, e.Operation)
			}
			if t.Failed() {
				t.Log(got)
			}
		})
	}
}

func TestCassandraRecordings(t *testing.T) { requireSteady(t, Cassandra(), "mark") }

func FuzzCassandra(f *testing.F) { fuzzConn(f, Cassandra()) }

// BenchmarkCassandra is one request and its answer: a statement as text, one that is prepared, and one in a segment.
func BenchmarkCassandra(b *testing.B) {
	query := cql(5, 0, 1, cqlQuery, cqlLong("SELECT a, b, c FROM shop.users WHERE a = ?")+cqlOptionB)
	void := cql(0x85, 0, 1, cqlResult, cqlInt(cqlVoid))
	for name, texts := range map[string][2]string{
		"query":       {cqlAsk(1, "SELECT a, b, c FROM shop.users WHERE a = ?"), cqlVoidTo(1)},
		"execute":     {cql(4, 0, 1, cqlExecute, cqlText(cqlID)+cqlOptionB), cqlVoidTo(1)},
		"segment":     {cqlInSegment(query, false, true, 0), cqlInSegment(void, false, true, 0)},
		"segment-lz4": {cqlInSegment(lz4Plain(query), true, true, len(query)), cqlInSegment(lz4Plain(void), true, true, len(void))},
	} {
		b.Run(name, func(b *testing.B) {
			request, answer := []byte(texts[0]), []byte(texts[1])
			c := Cassandra().New()
			b.ReportAllocs()
			for b.Loop() {
				c.Feed(FromClient, request, 1, func(Exchange) {})
				c.Feed(FromServer, answer, 2, func(Exchange) {})
			}
		})
	}
}
