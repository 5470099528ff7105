package protocol

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// memcachedPacket makes a binary message.
func memcachedPacket(magic, opcode byte, status uint16, opaque uint32, extras, key, value string) string {
	b := make([]byte, memcachedHead)
	b[0], b[1], b[4] = magic, opcode, byte(len(extras))
	binary.BigEndian.PutUint16(b[2:], uint16(len(key)))
	binary.BigEndian.PutUint16(b[6:], status)
	binary.BigEndian.PutUint32(b[8:], uint32(len(extras)+len(key)+len(value)))
	binary.BigEndian.PutUint32(b[12:], opaque)
	return string(b) + extras + key + value
}

func TestMemcachedExchanges(t *testing.T) {
	ask := func(opcode byte, opaque uint32, extras, key, value string) string {
		return memcachedPacket(0x80, opcode, 0, opaque, extras, key, value)
	}
	answer := func(opcode byte, status uint16, opaque uint32, extras, key, value string) string {
		return memcachedPacket(0x81, opcode, status, opaque, extras, key, value)
	}
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"hit", []string{"get a\r\n", "VALUE a 0 5\r\nEND\r\n\r\nEND\r\n"}, []string{"get: hit"}},
		{"miss", []string{"get a\r\n", "END\r\n"}, []string{"get: miss"}},
		{"some of many", []string{"gets a b c\r\n", "VALUE a 0 1 7\r\nx\r\nVALUE c 0 0 8\r\n\r\nEND\r\n"}, []string{"gets: partial"}},
		{"get and touch", []string{"gat 10 a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n"}, []string{"gat: hit"}},
		{"stored", []string{"set a 0 0 9\r\nget mark\n\r\n", "STORED\r\n"}, []string{"set: stored"}},
		{"not stored, exists", []string{"add a 0 0 1\r\nx\r\ncas a 0 0 1 99\r\nx\r\n", "NOT_STORED\r\nEXISTS\r\n"}, []string{"add: not_stored", "cas: exists"}},
		{"noreply", []string{"set a 0 0 1 noreply\r\nx\r\ndelete a noreply\r\nflush_all noreply\r\nget a\r\n", "END\r\n"}, []string{"set: ~", "delete: ~", "flush_all: ~", "get: miss"}},
		{"a key of that name", []string{"delete noreply\r\nget noreply\r\nversion noreply\r\nincr noreply 1 noreply\r\n", "NOT_FOUND\r\nEND\r\nVERSION 1\r\n"},
			[]string{"incr: ~", "delete: not_found", "get: miss", "version: ok"}},
		{"words end at spaces", []string{"get a\tb\r\ndelete  a  noreply \r\ndelete a noreplies\r\n", "VALUE a\tb 0 1\r\nx\r\nEND\r\nDELETED\r\n"}, []string{"delete: ~", "get: hit", "delete: deleted"}},
		{"numbers", []string{"incr n 5\r\ndecr n 1\r\nincr x 1\r\nincr s 1\r\n", "10\r\n9\r\nNOT_FOUND\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n"}, []string{"incr: ok", "decr: ok", "incr: not_found", "incr: client_error!"}},
		{"rest", []string{"touch a 1\r\ndelete a\r\nversion\r\nstats\r\nstats reset\r\n", "TOUCHED\r\nDELETED\r\nVERSION 1.6\r\nSTAT pid 1\r\nSTAT x y\r\nEND\r\nRESET\r\n"}, []string{"touch: touched", "delete: deleted", "version: ok", "stats: ok", "stats: ok"}},
		{"too large", []string{"set a 0 0 2000000\r\n" + strings.Repeat("x", 2000000) + "\r\nget a\r\n", "SERVER_ERROR object too large for cache\r\nEND\r\n"}, []string{"set: server_error!", "get: miss"}},
		{"value as command", []string{"hunter2 x\r\n", "ERROR\r\n"}, []string{"~other: error!"}},
		{"meta", []string{"mg a v\r\nms a 2\r\nhi\r\nmd a\r\nma n\r\nmn\r\nme a\r\nmg b\r\nmg c v\r\nma x\r\nms a 1 Madd\r\nx\r\nms a 1 C5\r\nx\r\n",
			"VA 5\r\nEND\r\n\r\nHD\r\nHD\r\nHD\r\nMN\r\nME a exp=-1\r\nHD\r\nEN\r\nNF\r\nNS\r\nEX\r\n"},
			[]string{"mg: hit", "ms: stored", "md: deleted", "ma: ok", "mn: ok", "me: ok", "mg: hit", "mg: miss", "ma: not_found", "ms: not_stored", "ms: exists"}},
		{"quiet meta", []string{"mg a v q O1\r\nmg b v q O2\r\nms c 1 q\r\nx\r\nmn\r\n", "VA 1 O2\r\nx\r\nMN\r\n"}, []string{"mg: miss", "mg: hit", "ms: stored", "mn: ok"}},
		{"binary", []string{ask(0x00, 1, "", "a", "") + ask(0x01, 2, "\x00\x00\x00\x00\x00\x00\x00\x00", "a", "v") + ask(0x00, 3, "", "b", "") + ask(0x04, 4, "", "b", "") + ask(0x99, 5, "", "", ""),
			answer(0, 0, 1, "\x00\x00\x00\x00", "", "v") + answer(1, 0, 2, "", "", "") + answer(0, 1, 3, "", "", "Not found") + answer(4, 1, 4, "", "", "Not found") + answer(0x99, 0x81, 5, "", "", "Unknown command")},
			[]string{"get: hit", "set: stored", "get: miss", "delete: not_found", "~other: unknown_command!"}},
		{"quiet binary", []string{ask(0x09, 1, "", "a", "") + ask(0x09, 2, "", "b", "") + ask(0x11, 3, "\x00\x00\x00\x00\x00\x00\x00\x00", "c", "v") + ask(0x0a, 4, "", "", ""),
			answer(9, 0, 2, "\x00\x00\x00\x00", "", "v") + answer(0x0a, 0, 4, "", "", "")}, []string{"get: miss", "get: hit", "set: stored", "noop: ok"}},
		{"binary statistics", []string{ask(0x10, 1, "", "", ""), answer(0x10, 0, 1, "", "pid", "1") + answer(0x10, 0, 1, "", "up", "2") + answer(0x10, 0, 1, "", "", "")}, []string{"stats: ok"}},
		{"cut", []string{"get a\r\n", ""}, []string{"get: !cut"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chunks := turns(tc.texts...)
			f := talkThrough(t, Memcached(), chunks)
			require.Empty(t, f.errors)
			assert.Equal(t, tc.want, f.outcomes())
			for _, n := range []int{1, 5, 50} {
				if len(chunks[0].data) > 1<<20 && n < 50 {
					continue
				}
				again := talkThrough(t, Memcached(), talkPieces(chunks, n))
				require.Empty(t, again.errors)
				assert.Equal(t, tc.want, again.outcomes(), "in pieces of %d", n)
			}
		})
	}
}

func TestMemcachedHostile(t *testing.T) {
	early := talkThrough(t, Memcached(), []talkChunk{{FromServer, 10, []byte("M")}, {FromClient, 20, []byte("mg a v q\r\nmn\r\n")}, {FromServer, 30, []byte("N\r\n")}})
	require.Equal(t, []string{"mg: miss", "mn: ok"}, early.outcomes()) // an answer that began before the question does not end before it (the fuzzer's)
	for _, text := range []string{strings.Repeat("x", MaxBuffer), "\x80\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01" + strings.Repeat("\x00", 12), "\x80\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff" + strings.Repeat("\x00", 12), "\x16\x03\x01"} {
		require.NotEmpty(t, talkThrough(t, Memcached(), turns(text)).errors, "%.40q", text)
	}
	f := talkThrough(t, Memcached(), turns("set a 0 0 99999999999999999999\r\nset a 0 0 -1\r\nset a\r\nget a\r\n", "ERROR\r\nERROR\r\nERROR\r\nEND\r\n"))
	require.Empty(t, f.errors)
	require.Equal(t, map[string]int{"set: error!": 3, "get: miss": 1}, countOutcomes(f.exchanges))
}

func TestMemcachedDetect(t *testing.T) {
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromClient, "get a\r\n", Yes}, {FromClient, "set a 0 0 5\r\nhello\r\n", Yes}, {FromClient, "mg a v\r\n", Yes}, {FromClient, "se", Maybe},
		{FromClient, "GET / HTTP/1.1\r\n", No}, {FromClient, "set a b\r\n", No}, {FromClient, memcachedPacket(0x80, 0, 0, 0, "", "k", ""), Yes},
		{FromServer, "VALUE a 0 5\r\nhello\r\n", Yes}, {FromServer, "STORED\r\n", Yes}, {FromServer, "+OK\r\n", No}, {FromServer, "HTTP/1.1 200 OK\r\n", No},
		{FromServer, "\x81\x05hello", No}, {FromClient, "quit\r\n", Maybe}, {FromClient, "stats\r\n", Yes}, {FromServer, "", Maybe},
	} {
		assert.Equal(t, tc.want, Memcached().Detect(tc.d, []byte(tc.text)), "%q", tc.text)
	}
}

func startMemcached(t *testing.T) string {
	port := loopbackPort(t)
	startProgram(t, "127.0.0.1:"+port, "memcached", "-l", "127.0.0.1", "-p", port, "-U", "0", "-u", "nobody", "-m", "16", "-t", "1")
	return "127.0.0.1:" + port
}

func TestMemcachedServer(t *testing.T) {
	x := startTalkProxy(t, startMemcached(t), Memcached())
	client := memcache.New(x.addr())
	client.Timeout = 5 * time.Second
	const n = 50
	for i := range n {
		key := fmt.Sprintf("mark-key%d", i)
		require.NoError(t, client.Set(&memcache.Item{Key: key, Value: []byte("mark-value\r\nget mark")}))
		_, err := client.Get(key)
		require.NoError(t, err)
		_, err = client.Get("mark-missing")
		require.ErrorIs(t, err, memcache.ErrCacheMiss)
		require.ErrorIs(t, client.Add(&memcache.Item{Key: key, Value: []byte("x")}), memcache.ErrNotStored)
		require.ErrorIs(t, client.Delete("mark-missing"), memcache.ErrCacheMiss)
		_, err = client.Increment(key, 1)
		require.Error(t, err)
		require.NoError(t, client.Touch(key, 100))
		_, err = client.GetMulti([]string{key, "mark-missing"})
		require.NoError(t, err)
		require.NoError(t, client.Delete(key))
	}
	client.Close()
	got := countOutcomes(x.finish())
	require.Equal(t, map[string]int{"set: stored": n, "gets: hit": n, "gets: miss": n, "add: not_stored": n, "delete: not_found": n,
		"incr: client_error!": n, "touch: touched": n, "gets: partial": n, "delete: deleted": n}, got)
}

// talkRaw sends text to address and returns all answers until a last one.
func talkRaw(t *testing.T, address, text, last string) string {
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	var got []byte
	buf := make([]byte, 4096)
	for !strings.HasSuffix(string(got), last) {
		n, err := conn.Read(buf)
		require.NoError(t, err, "got %q", got)
		got = append(got, buf[:n]...)
	}
	return string(got)
}

func TestMemcachedServerMeta(t *testing.T) {
	x := startTalkProxy(t, startMemcached(t), Memcached())
	const n = 50
	talkRaw(t, x.addr(), strings.Repeat("ms mark 5\r\nhello\r\nmg mark v\r\nmg mark2 v\r\nmg mark2 v q\r\nmd mark\r\nma mark-n\r\n", n)+"mn\r\n", "MN\r\n")
	require.Equal(t, map[string]int{"ms: stored": n, "mg: hit": n, "mg: miss": 2 * n, "md: deleted": n, "ma: not_found": n, "mn: ok": 1}, countOutcomes(x.finish()))
}

func TestMemcachedServerBinary(t *testing.T) {
	x := startTalkProxy(t, startMemcached(t), Memcached())
	const n = 50
	var text string
	for i := range uint32(n) {
		text += memcachedPacket(0x80, 0x01, 0, i, strings.Repeat("\x00", 8), "mark", "value") + memcachedPacket(0x80, 0x00, 0, i, "", "mark", "") +
			memcachedPacket(0x80, 0x09, 0, i, "", "mark2", "") + memcachedPacket(0x80, 0x0d, 0, i, "", "mark", "") +
			memcachedPacket(0x80, 0x11, 0, i, strings.Repeat("\x00", 8), "mark", "value") + memcachedPacket(0x80, 0x04, 0, i, "", "mark2", "")
	}
	last := memcachedPacket(0x81, 0x0a, 0, 77, "", "", "")
	talkRaw(t, x.addr(), text+memcachedPacket(0x80, 0x0a, 0, 77, "", "", ""), last)
	require.Equal(t, map[string]int{"set: stored": 2 * n, "get: hit": 2 * n, "get: miss": n, "delete: not_found": n, "noop: ok": 1}, countOutcomes(x.finish()))
}

func TestMemcachedRecordings(t *testing.T) { requireSteady(t, Memcached(), "mark") }

func FuzzMemcached(f *testing.F) { fuzzConn(f, Memcached()) }
