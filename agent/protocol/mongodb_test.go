package protocol

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// mongoMessageOf makes a message with a header.
func mongoMessageOf(id, to, op int32, body string) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(16+len(body)))
	for _, n := range []int32{id, to, op} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return string(b) + body
}

func mongoInts(numbers ...int32) string {
	var b []byte
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return string(b)
}

// bsonOf makes a document of names and values in turn.
func bsonOf(fields ...any) string {
	d := bson.D{}
	for i := 0; i < len(fields); i += 2 {
		d = append(d, bson.E{Key: fields[i].(string), Value: fields[i+1]})
	}
	b, err := bson.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// mongoAsk makes an OP_MSG with one document.
func mongoAsk(id int32, fields ...any) string {
	return mongoMessageOf(id, 0, mongoMsg, mongoInts(0)+"\x00"+bsonOf(append(fields, "$db", "shop")...))
}

func mongoAnswer(to int32, fields ...any) string {
	return mongoMessageOf(1000+to, to, mongoMsg, mongoInts(0)+"\x00"+bsonOf(fields...))
}

// mongoSequence makes a section of documents.
func mongoSequence(name string, documents ...string) string {
	all := name + "\x00" + strings.Join(documents, "")
	return "\x01" + mongoInts(int32(4+len(all))) + all
}

// mongoPack compresses a message.
func mongoPack(t testing.TB, compressor byte, message string) string {
	var packed []byte
	body := []byte(message[16:])
	switch compressor {
	case mongoPlain:
		packed = body
	case mongoSnappy:
		packed = snappy.Encode(nil, body)
	case mongoZlib:
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		w.Write(body)
		w.Close()
		packed = b.Bytes()
	case mongoZstd:
		w, err := zstd.NewWriter(nil)
		require.NoError(t, err)
		packed = w.EncodeAll(body, nil)
	}
	m := []byte(message)
	return mongoMessageOf(mongoInt(m, 4), mongoInt(m, 8), mongoCompressed, mongoInts(mongoInt(m, 12), int32(len(body)))+string(compressor)+string(packed))
}

var mongoDuplicate = bson.A{bson.D{{Key: "index", Value: 0}, {Key: "code", Value: 11000}, {Key: "errmsg", Value: "mark: duplicate key"}}}

// mongoConversations are what client and server say in turn, and what is made of it.
var mongoConversations = []struct {
	name  string
	texts []string
	want  []string
}{
	{"find", []string{mongoAsk(1, "find", "users", "filter", bson.D{{Key: "mark", Value: "mark"}}),
		mongoAnswer(1, "cursor", bson.D{{Key: "firstBatch", Value: bson.A{bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: 77}}}}, {Key: "ns", Value: "shop.users"}}, "ok", 1.0)}, []string{"find users: ok"}},
	{"answers in another order", []string{mongoAsk(1, "find", "users") + mongoAsk(2, "count", "orders"), mongoAnswer(2, "n", 3, "ok", 1) + mongoAnswer(1, "ok", true)}, []string{"count orders: ok", "find users: ok"}},
	{"the name of a collection is folded", []string{mongoAsk(1, "aggregate", "orders.20240517", "pipeline", bson.A{"mark"}), mongoAnswer(1, "ok", 1)}, []string{"aggregate orders.*: ok"}},
	{"of the whole database", []string{mongoAsk(1, "aggregate", 1, "pipeline", bson.A{}), mongoAnswer(1, "ok", int64(1))}, []string{"aggregate: ok"}},
	{"getMore", []string{mongoAsk(1, "getMore", int64(99), "batchSize", 3, "collection", "users"), mongoAnswer(1, "ok", 0, "errmsg", "mark", "code", 43, "codeName", "CursorNotFound")}, []string{"getMore users: 43!"}},
	{"explain", []string{mongoAsk(1, "explain", bson.D{{Key: "find", Value: "users"}}), mongoAnswer(1, "ok", 1)}, []string{"explain find users: ok"}},
	{"explain of nothing", []string{mongoAsk(1, "explain", bson.D{}), mongoAnswer(1, "ok", 1)}, []string{"explain ~other: ok"}},
	{"what is no command", []string{mongoAsk(1, "markmark", "users"), mongoAnswer(1, "ok", 0, "code", 59)}, []string{"~other: 59!"}},
	{"names that are secret", []string{mongoAsk(1, "createUser", "mark", "pwd", "mark"), mongoAnswer(1, "ok", 1)}, []string{"createUser: ok"}},
	{"another spelling", []string{mongoAsk(1, "findandmodify", "users"), mongoAnswer(1, "ok", 1)}, []string{"findAndModify users: ok"}},
	{"an error without a code", []string{mongoAsk(1, "ping", 1), mongoAnswer(1, "ok", 0, "errmsg", "mark")}, []string{"ping: error!"}},
	{"insert, the documents in front", []string{mongoMessageOf(1, 0, mongoMsg, mongoInts(0)+mongoSequence("documents", bsonOf("mark", strings.Repeat("mark", 30000)))+"\x00"+bsonOf("insert", "users", "$db", "shop")),
		mongoAnswer(1, "n", 1, "ok", 1.0)}, []string{"insert users: ok"}},
	{"insert, the documents behind, with a checksum", []string{mongoMessageOf(1, 0, mongoMsg, mongoInts(mongoChecksum)+"\x00"+bsonOf("insert", "users")+mongoSequence("documents", bsonOf("mark", strings.Repeat("mark", 30000)))+"abcd"),
		mongoMessageOf(7, 1, mongoMsg, mongoInts(mongoChecksum)+"\x00"+bsonOf("n", 0, "writeErrors", mongoDuplicate, "ok", 1.0)+"abcd")}, []string{"insert users: 11000!"}},
	{"only documents", []string{mongoMessageOf(1, 0, mongoMsg, mongoInts(mongoChecksum)+mongoSequence("documents", bsonOf("mark", "mark"))+"abcd"), mongoAnswer(1, "ok", 0)}, []string{"~other: error!"}},
	{"write concern", []string{mongoAsk(1, "update", "users"), mongoAnswer(1, "n", 1, "writeErrors", bson.A{}, "writeConcernError", bson.D{{Key: "code", Value: 64}, {Key: "errmsg", Value: "mark"}}, "ok", 1)}, []string{"update users: 64!"}},
	{"bulkWrite", []string{mongoAsk(1, "bulkWrite", 1, "ops", bson.A{}) + mongoAsk(2, "bulkWrite", 1),
		mongoAnswer(1, "cursor", bson.D{{Key: "id", Value: int64(0)}, {Key: "firstBatch", Value: bson.A{bson.D{{Key: "ok", Value: 0.0}, {Key: "idx", Value: 0}, {Key: "code", Value: 11000}}}}}, "nErrors", 1, "ok", 1) + mongoAnswer(2, "nErrors", 0, "ok", 1)},
		[]string{"bulkWrite: 11000!", "bulkWrite: ok"}},
	{"no answer is wanted", []string{mongoMessageOf(1, 0, mongoMsg, mongoInts(mongoMoreToCome)+"\x00"+bsonOf("insert", "users")) + mongoAsk(2, "ping", 1), mongoAnswer(2, "ok", 1)}, []string{"insert users: ok~", "ping: ok"}},
	{"exhaust", []string{mongoMessageOf(1, 0, mongoMsg, mongoInts(mongoExhaust)+"\x00"+bsonOf("getMore", int64(5), "collection", "users")),
		mongoMessageOf(11, 1, mongoMsg, mongoInts(mongoMoreToCome)+"\x00"+bsonOf("ok", 1)) + mongoMessageOf(12, 11, mongoMsg, mongoInts(mongoMoreToCome)+"\x00"+bsonOf("ok", 1)) + mongoMessageOf(13, 12, mongoMsg, mongoInts(0)+"\x00"+bsonOf("ok", 0, "code", 43)), mongoAsk(2, "ping", 1)},
		[]string{"getMore users: ok", "getMore users: ok~", "getMore users: 43!~", "ping: !cut"}},
	{"a cursor that is never exhausted", []string{mongoMessageOf(1, 0, mongoMsg, mongoInts(mongoExhaust)+"\x00"+bsonOf("hello", 1)), mongoMessageOf(11, 1, mongoMsg, mongoInts(mongoMoreToCome)+"\x00"+bsonOf("ok", 1))}, []string{"hello: ok"}},
	{"the first hello", []string{mongoMessageOf(1, 0, mongoQuery, mongoInts(4)+"admin.$cmd\x00"+mongoInts(0, -1)+bsonOf("isMaster", 1, "client", bson.D{{Key: "mark", Value: "mark"}})),
		mongoMessageOf(9, 1, mongoReply, mongoInts(8, 0, 0, 0, 1)+bsonOf("ismaster", true, "ok", 1.0))}, []string{"isMaster: ok"}},
	{"a wrapped command", []string{mongoMessageOf(1, 0, mongoQuery, mongoInts(4)+"admin.$cmd\x00"+mongoInts(0, -1)+bsonOf("$query", bson.D{{Key: "count", Value: "users"}}, "$readPreference", bson.D{})),
		mongoMessageOf(9, 1, mongoReply, mongoInts(8, 0, 0, 0, 1)+bsonOf("ok", 0, "code", 13))}, []string{"count users: 13!"}},
	{"a query before there were commands", []string{mongoMessageOf(1, 0, mongoQuery, mongoInts(4)+"shop.users\x00"+mongoInts(0, 10)+bsonOf("mark", "mark")) + mongoMessageOf(2, 0, mongoGetMore, mongoInts(0)+"shop.users\x00"+mongoInts(10, 5, 6)) + mongoMessageOf(3, 0, mongoQuery, mongoInts(4)+"shop.fs.files\x00"+mongoInts(0, 10)+bsonOf("mark", "mark")),
		mongoMessageOf(9, 1, mongoReply, mongoInts(8, 5, 6, 0, 2)+bsonOf("ok", 0)+bsonOf("code", 5)) + mongoMessageOf(10, 2, mongoReply, mongoInts(1, 0, 0, 0, 0)) + mongoMessageOf(11, 3, mongoReply, mongoInts(2, 0, 0, 0, 1)+bsonOf("$err", "mark", "code", 10068))},
		[]string{"find users: ok", "getMore users: 43!", "find fs.files: 10068!"}},
	{"writes before there were commands", []string{mongoMessageOf(1, 0, mongoInsert, mongoInts(0)+"shop.users\x00"+bsonOf("mark", "mark")) + mongoMessageOf(2, 0, mongoUpdate, mongoInts(0)+"shop.users\x00"+mongoInts(0)+bsonOf()+bsonOf("mark", 1)) +
		mongoMessageOf(3, 0, mongoDelete, mongoInts(0)+"shop.users\x00"+mongoInts(0)+bsonOf("mark", 1)) + mongoMessageOf(4, 0, mongoKillCursors, mongoInts(0, 1, 7, 8))},
		[]string{"insert users: ok~", "update users: ok~", "delete users: ok~", "killCursors: ok~"}},
	{"cut", []string{mongoAsk(1, "find", "users"), ""}, []string{"find users: !cut"}},
}

func TestMongoDBExchanges(t *testing.T) {
	for _, tc := range mongoConversations {
		t.Run(tc.name, func(t *testing.T) {
			chunks := turns(tc.texts...)
			f := talkThrough(t, MongoDB(), chunks)
			require.Empty(t, f.errors)
			assert.ElementsMatch(t, tc.want, f.outcomes())
			for _, n := range []int{1, 5, 50} {
				again := talkThrough(t, MongoDB(), talkPieces(chunks, n))
				require.Empty(t, again.errors)
				assert.ElementsMatch(t, tc.want, again.outcomes(), "in pieces of %d", n)
			}
		})
	}
}

// The same conversations, each message compressed.
func TestMongoDBCompressed(t *testing.T) {
	for _, compressor := range []byte{mongoPlain, mongoSnappy, mongoZlib, mongoZstd} {
		for _, tc := range mongoConversations {
			var chunks []talkChunk
			for _, c := range turns(tc.texts...) {
				var packed string
				for rest := string(c.data); rest != ""; {
					n := mongoInt([]byte(rest), 0)
					packed += mongoPack(t, compressor, rest[:n])
					rest = rest[n:]
				}
				chunks = append(chunks, talkChunk{c.from, c.at, []byte(packed)})
			}
			want := tc.want
			if strings.HasPrefix(tc.name, "insert, the documents in front") { // more than is looked at stands before the command
				want = []string{"~other: ok"}
			}
			for _, n := range []int{1, 50, 1 << 20} {
				f := talkThrough(t, MongoDB(), talkPieces(chunks, n))
				require.Empty(t, f.errors, "%s by %d", tc.name, compressor)
				assert.ElementsMatch(t, want, f.outcomes(), "%s by %d in pieces of %d", tc.name, compressor, n)
			}
		}
	}
}

// Answers whose end is not looked at are ok unless they begin with a failure.
func TestMongoDBCompressedBeginnings(t *testing.T) {
	random := make([]byte, 3*mongoMaxPacked)
	for i := range random {
		random[i] = byte(i * i >> 7)
	}
	for _, compressor := range []byte{mongoSnappy, mongoZlib, mongoZstd} {
		for _, size := range []int{2000, 60000, 3 * mongoMaxPacked} {
			chunks := turns(
				mongoPack(t, compressor, mongoAsk(1, "insert", "users", "documents", bson.A{bson.D{{Key: "mark", Value: random[:size]}}})), mongoPack(t, compressor, mongoAnswer(1, "cursor", bson.D{{Key: "mark", Value: random[:size]}}, "ok", 1)),
				mongoPack(t, compressor, mongoAsk(2, "find", "users")), mongoPack(t, compressor, mongoAnswer(2, "ok", 0, "code", 7, "mark", random[:size])))
			f := talkThrough(t, MongoDB(), chunks)
			require.Empty(t, f.errors)
			assert.Equal(t, []string{"insert users: ok", "find users: 7!"}, f.outcomes())
			for n := range len(chunks[0].data) { // damaged and cut frames neither panic nor stop what follows
				if n > 200 && n%97 != 0 {
					continue
				}
				broken := bytes.Clone(chunks[0].data)
				if n >= 16+4+4 {
					broken[n] ^= 0x5a
				}
				g := talkThrough(t, MongoDB(), []talkChunk{{FromClient, 1, broken}, {FromClient, 2, []byte(mongoAsk(3, "ping", 1))}, {FromServer, 3, []byte(mongoAnswer(3, "ok", 1))}})
				require.Contains(t, g.outcomes(), "ping: ok", "byte %d", n)
			}
		}
	}
	bomb := mongoPack(t, mongoZlib, mongoAsk(1, "insert", "users", "documents", make([]byte, 40e6)))
	u := newMongoUnpackers()
	x := &mongoUnpacker{}
	require.LessOrEqual(t, len(x.unpack(mongoZlib, []byte(bomb[25:]), mongoMaxUnpack)), mongoMaxUnpack)
	m := mongoMessage{op: mongoCompressed, left: int64(len(bomb) - 16)}
	require.NoError(t, u.read(&m, []byte(bomb[16:])))
	require.Equal(t, "insert users", m.operation())
}

func TestUnpackSnappy(t *testing.T) {
	for _, text := range []string{"", "a", strings.Repeat("a", 100), strings.Repeat("abc", 30000), "the quick brown fox jumps over the lazy fox, the quick one", string(make([]byte, 70000)) + strings.Repeat("0123456789abcdef\x00\x01", 9000)} {
		packed := snappy.Encode(nil, []byte(text))
		require.Equal(t, text, string(unpackSnappy(nil, packed, len(text)+10)))
		for n := range packed {
			if n > 300 && n%101 != 0 {
				continue
			}
			require.True(t, strings.HasPrefix(text, string(unpackSnappy(nil, packed[:n], len(text)))), "first %d bytes", n)
		}
		require.True(t, strings.HasPrefix(text, string(unpackSnappy(nil, packed, 50))))
		require.LessOrEqual(t, len(unpackSnappy(nil, packed, 50)), 50)
	}
}

func TestMongoDBHostile(t *testing.T) {
	document := func(size int32, rest string) string { return "\x00" + mongoInts(size) + rest }
	for name, text := range map[string]string{
		"too short":                  mongoMessageOf(1, 0, mongoMsg, ""),
		"too long":                   mongoInts(1<<30, 1, 0, mongoMsg),
		"negative":                   mongoInts(-5, 1, 0, mongoMsg),
		"another opcode":             mongoMessageOf(1, 0, 2010, strings.Repeat("x", 40)),
		"an answer from the client":  mongoMessageOf(1, 0, mongoReply, strings.Repeat("x", 40)),
		"flags":                      mongoMessageOf(1, 0, mongoMsg, mongoInts(4)+document(9, "xxxxx")),
		"section kind":               mongoMessageOf(1, 0, mongoMsg, mongoInts(0)+"\x07"+mongoInts(9)+"xxxxx"),
		"section longer than all":    mongoMessageOf(1, 0, mongoMsg, mongoInts(0)+"\x01"+mongoInts(900)+"xxxxx"),
		"document longer than all":   mongoMessageOf(1, 0, mongoMsg, mongoInts(0)+document(900, "xxxxx")),
		"document of negative size":  mongoMessageOf(1, 0, mongoMsg, mongoInts(0)+document(-9, "xxxxx")),
		"field type":                 mongoMessageOf(1, 0, mongoMsg, mongoInts(0)+document(12, "\x55find\x00\x00\x00")),
		"field longer than document": mongoMessageOf(1, 0, mongoMsg, mongoInts(0)+document(18, "\x02find\x00"+mongoInts(900)+"a\x00\x00")),
		"name without end":           mongoMessageOf(1, 0, mongoMsg, mongoInts(0)+document(3000, "\x02"+strings.Repeat("x", 3000))),
		"regular expression":         mongoMessageOf(1, 0, mongoMsg, mongoInts(0)+document(3000, "\x0bx\x00"+strings.Repeat("x", 3000))),
		"namespace":                  mongoMessageOf(1, 0, mongoQuery, mongoInts(0)+"users\x00"+mongoInts(0, 0)+bsonOf()),
		"namespace without end":      mongoMessageOf(1, 0, mongoQuery, mongoInts(0)+strings.Repeat("x", 3000)),
		"compressed twice":           mongoMessageOf(1, 0, mongoCompressed, mongoInts(mongoCompressed, 100)+"\x00xxxxxx"),
		"compressed to nothing":      mongoMessageOf(1, 0, mongoCompressed, mongoInts(mongoMsg, 0)+"\x01xxxxxx"),
	} {
		require.NotEmpty(t, talkThrough(t, MongoDB(), turns(text+strings.Repeat("x", 16))).errors, name)
	}
	f := newTalk(t, MongoDB())
	for i := range int32(3 * MaxWaiting) { // nothing is ever answered, and every answer wants another
		f.feed(FromClient, []byte(mongoAsk(2*i, "find", "users")), int64(i))
		f.feed(FromServer, []byte(mongoMessageOf(2*i+1, 2*i, mongoMsg, mongoInts(mongoMoreToCome)+"\x00"+bsonOf("ok", 1))), int64(i))
		f.feed(FromClient, []byte(mongoAsk(1e6+i, "find", "users")), int64(i))
	}
	require.LessOrEqual(t, len(f.conn.(*mongoConn).waiting.values), MaxWaiting)
	require.Empty(t, f.errors)
}

func TestMongoDBDetect(t *testing.T) {
	find := mongoAsk(1, "find", "users")
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromClient, "", Maybe}, {FromClient, find, Yes}, {FromServer, mongoAnswer(5, "ok", 1), Yes}, {FromServer, find, No}, {FromClient, mongoAnswer(5, "ok", 1), No}, {FromClient, find[:15], Maybe}, {FromClient, find[:24], Maybe},
		{FromClient, find[:31], Maybe}, {FromClient, find[:35], Yes}, {FromClient, mongoPack(t, mongoZstd, find)[:25], Yes}, {FromClient, mongoPack(t, mongoZstd, find)[:20], Maybe},
		{FromClient, strings.Replace(mongoPack(t, mongoZstd, find), "\x03(\xb5", "\x09(\xb5", 1), No},
		{FromServer, mongoMessageOf(9, 1, mongoReply, mongoInts(8, 0, 0, 0, 1)+bsonOf("ok", 1)), Yes}, {FromServer, mongoMessageOf(9, 1, mongoReply, mongoInts(8, 0, 0, 0, 99)+bsonOf("ok", 1)), No},
		{FromServer, mongoMessageOf(9, 1, mongoReply, mongoInts(1, 0, 0, 0, 0)), Yes}, {FromServer, mongoMessageOf(9, 1, mongoReply, mongoInts(99, 0, 0, 0, 0)), No},
		{FromClient, mongoMessageOf(1, 0, mongoInsert, mongoInts(0)+"shop.users\x00"+bsonOf("a", "b")), Yes}, {FromClient, mongoMessageOf(1, 0, mongoInsert, mongoInts(0)+"shopusers\x00"+bsonOf("a", "b")), No},
		{FromClient, mongoMessageOf(4, 0, mongoKillCursors, mongoInts(0, 1, 7, 8)), Yes}, {FromClient, mongoMessageOf(4, 0, mongoKillCursors, mongoInts(0, 3, 7, 8)), No},
		{FromClient, mongoMessageOf(1, 0, mongoMsg, mongoInts(0)+mongoSequence("documents", bsonOf("a", 1))+"\x00"+bsonOf("insert", "a")), Yes}, {FromClient, mongoMessageOf(1, 0, mongoMsg, mongoInts(99)+"\x00"+bsonOf("find", "a")), No},
		{FromClient, "GET / HTTP/1.1\r\n\r\n", No}, {FromClient, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdef", No}, {FromClient, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", No}, {FromServer, strings.Repeat("\x00", 40), No}, {FromClient, strings.Repeat("\x01", 40), No},
		{FromClient, "\x00\x00\x00\x2c\x00\x00\x00\x00\x00\x00\x00\x00", No},                                                                                      // ZooKeeper
		{FromClient, "\x04\x00\x00\x01\x05\x00\x00\x00\x00", Maybe}, {FromClient, "\x04\x00\x00\x01\x05\x00\x00\x00\x00\x04\x00\x00\x02\x07\x00\x00\x00\x09", No}, // Cassandra, whose header is too short to tell
	} {
		assert.Equal(t, tc.want, MongoDB().Detect(tc.d, []byte(tc.text)), "%.60q", tc.text)
	}
}

func FuzzMongoDB(f *testing.F) { fuzzConn(f, MongoDB()) }

// BenchmarkMongoDBFind is a find with an answer of 20 documents, and its parts.
func BenchmarkMongoDBFind(b *testing.B) {
	documents := bson.A{}
	for range 20 {
		documents = append(documents, bson.D{{Key: "_id", Value: bson.NewObjectID()}, {Key: "name", Value: "someone"}, {Key: "mail", Value: "someone@example.com"}})
	}
	request := mongoAsk(1, "find", "users", "filter", bson.D{{Key: "name", Value: "someone"}}, "limit", 20)
	answer := mongoAnswer(1, "cursor", bson.D{{Key: "firstBatch", Value: documents}, {Key: "id", Value: int64(0)}, {Key: "ns", Value: "shop.users"}}, "ok", 1.0)
	for name, pack := range map[string]byte{"plain": 99, "snappy": mongoSnappy, "zlib": mongoZlib, "zstd": mongoZstd} {
		ask, tell := []byte(request), []byte(answer)
		if pack != 99 {
			ask, tell = []byte(mongoPack(b, pack, request)), []byte(mongoPack(b, pack, answer))
		}
		b.Run(name, func(b *testing.B) {
			c := MongoDB().New()
			b.ReportAllocs()
			for b.Loop() {
				c.Feed(FromClient, ask, 1, func(Exchange) {})
				c.Feed(FromServer, tell, 2, func(Exchange) {})
			}
		})
	}
}
