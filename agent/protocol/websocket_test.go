package protocol

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wsFrame is a frame as one side writes it.
func wsFrame(d Direction, head byte, payload string) string {
	b := []byte{head}
	mask := byte(0)
	if d == FromClient {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = append(b, mask|126, byte(n>>8), byte(n))
	default:
		b = append(b, mask|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	if d == FromServer {
		return string(b) + payload
	}
	key := [4]byte{0xa1, 0xb2, 0xc3, 0xd4}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return string(b)
}

func wsClose(d Direction, code int) string {
	return wsFrame(d, 0x88, string([]byte{byte(code >> 8), byte(code)})+"because of hunter2")
}

// chat is a WebSocket at "GET /chat".
func chat() Protocol {
	p := WebSocket()
	p.New = func() Conn { return newWebSocket("GET", "/chat", 0) }
	return p
}

// messagesOf sums what exchanges tell.
func messagesOf(exchanges []Exchange) (sum [2]int64) {
	for _, e := range exchanges {
		for d, n := range e.Messages {
			sum[d] += n
		}
	}
	return sum
}

func TestWebSocketExchanges(t *testing.T) {
	const c, s = FromClient, FromServer
	for _, tc := range []struct {
		name     string
		texts    []string // by client and server in turn
		want     []string
		messages [2]int64
	}{
		{"closed by the client", []string{wsFrame(c, 0x81, "hello") + wsFrame(c, 0x82, "x"), wsFrame(s, 0x81, "hi"), wsClose(c, 1000), wsClose(s, 1000)}, []string{"/chat: 1000"}, [2]int64{2, 1}},
		{"closed by the server", []string{"", wsClose(s, 1001), wsClose(c, 1001)}, []string{"/chat: 1001"}, [2]int64{}},
		{"closed without a code", []string{wsFrame(c, 0x88, "")}, []string{"/chat: 1005"}, [2]int64{}},
		{"refused", []string{wsFrame(c, 0x81, strings.Repeat("x", 70000)), wsClose(s, 1009)}, []string{"/chat: 1009!"}, [2]int64{1, 0}},
		{"code of an application", []string{"", wsClose(s, 4401)}, []string{"/chat: 4401!"}, [2]int64{}},
		{"code that cannot be", []string{"", wsClose(s, 7)}, []string{"/chat: ~other!"}, [2]int64{}},
		{"cut", []string{wsFrame(c, 0x81, "a"), wsFrame(s, 0x81, "b")}, []string{"/chat: !cut"}, [2]int64{1, 1}},
		{"nothing said", nil, []string{"/chat: !cut"}, [2]int64{}},
		{"control frames between fragments", []string{wsFrame(c, 0x01, "a") + wsFrame(c, 0x89, "ping") + wsFrame(c, 0x00, "b") + wsFrame(c, 0x8a, "") + wsFrame(c, 0x80, "c"),
			wsFrame(s, 0x8a, "ping") + wsFrame(s, 0x02, "") + wsFrame(s, 0x80, ""), wsClose(c, 1000)}, []string{"/chat: 1000"}, [2]int64{1, 1}},
		{"close between fragments", []string{wsFrame(c, 0x01, "a") + wsClose(c, 1001)}, []string{"/chat: 1001"}, [2]int64{}},
		{"compressed", []string{wsFrame(c, 0xc1, "zip") + wsFrame(c, 0x41, "z") + wsFrame(c, 0x80, "ip"), wsFrame(s, 0xc2, "zip"), wsClose(c, 1000)}, []string{"/chat: 1000"}, [2]int64{2, 1}},
		{"lengths", []string{wsFrame(c, 0x82, strings.Repeat("x", 125)) + wsFrame(c, 0x82, strings.Repeat("x", 126)) + wsFrame(c, 0x82, strings.Repeat("x", 65535)) + wsFrame(c, 0x82, strings.Repeat("x", 200000)),
			wsFrame(s, 0x82, strings.Repeat("y", 65536)), wsClose(c, 1000)}, []string{"/chat: 1000"}, [2]int64{4, 1}},
		{"messages behind the first close", []string{wsClose(c, 1000), wsFrame(s, 0x81, "late") + wsClose(s, 1000)}, []string{"/chat: 1000", "/chat: "}, [2]int64{0, 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chunks := turns(tc.texts...)
			for _, n := range []int{1 << 20, 1, 2, 3, 5, 50} {
				f := talkThrough(t, chat(), talkPieces(chunks, n))
				require.Empty(t, f.errors)
				assert.Equal(t, tc.want, f.outcomes(), "in pieces of %d", n)
				assert.Equal(t, tc.messages, messagesOf(f.exchanges), "in pieces of %d", n)
				sizes := [2]int64{}
				for i, text := range tc.texts {
					sizes[i%2] += int64(len(text))
				}
				if e := f.exchanges[0]; e.Cut {
					assert.Equal(t, sizes, [2]int64{e.RequestBytes, e.ResponseBytes}, "in pieces of %d", n)
				}
			}
		})
	}
}

func TestWebSocketHostile(t *testing.T) {
	for _, text := range []string{
		"\x91\x80abcd",                 // reserved bit
		"\x83\x80abcd", "\x8b\x80abcd", // opcodes that nobody has
		"\x81\x05hello",                            // a client that does not mask
		"\x09\x80abcd",                             // a ping in parts
		"\x89\xfe\x01\x00abcd",                     // a long ping
		"\x80\x80abcd",                             // goes on with nothing
		"\x01\x80abcd\x81\x80abcd",                 // begins in the middle
		"\xc9\x80abcd", "\x01\x80abcd\x40\x80abcd", // compressed where nothing can be
		"\x82\xfe\x00\x10", "\x82\xff\x00\x00\x00\x00\x00\x00\x10\x00", // lengths longer than need be
		"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", // lengths that nobody has
		"\x88\x81abcdx", // half a code
		"GET /no HTTP/1.1\r\n",
	} {
		f := talkThrough(t, chat(), turns(text))
		require.NotEmpty(t, f.errors, "%q", text)
		require.Len(t, f.exchanges, 1, "%q", text)
	}
	require.NotEmpty(t, talkThrough(t, chat(), turns("", wsFrame(FromClient, 0x81, "x"))).errors, "a server that masks")
}

// After a loss it goes on with a call that is made of whole frames, also in the middle of a message.
func TestWebSocketResync(t *testing.T) {
	p := chat()
	for _, tc := range []struct {
		d    Direction
		text string
		want bool
	}{
		{FromClient, wsFrame(FromClient, 0x81, "hello"), true},
		{FromClient, wsFrame(FromClient, 0x80, "hello") + wsFrame(FromClient, 0x89, ""), true},
		{FromServer, wsFrame(FromServer, 0x00, strings.Repeat("x", 300)), true},
		{FromServer, wsClose(FromServer, 1000), true},
		{FromServer, wsFrame(FromClient, 0x81, "hello"), false},
		{FromClient, wsFrame(FromClient, 0x81, "hello")[:8], false},
		{FromClient, wsFrame(FromClient, 0x81, "hello") + "x", false},
		{FromServer, "\x81\x05hell", false},
	} {
		assert.Equal(t, tc.want, p.New().Resync(tc.d, []byte(tc.text)), "%q", tc.text)
	}
	conn := newWebSocket("GET", "/chat", 0)
	require.True(t, conn.Resync(FromServer, []byte(wsFrame(FromServer, 0x80, "end"))))
	n, _, err := conn.Feed(FromServer, []byte(wsFrame(FromServer, 0x80, "end")+wsFrame(FromServer, 0x81, "next")), 1, nil)
	require.NoError(t, err)
	require.Equal(t, 11, n)
	require.Equal(t, [2]int64{0, 2}, conn.exchange.Messages)
}

// The stream begins where the upgrade says, whatever of the HTTP/1 before it was shipped, and is told from then on.
func TestStreamsUpgrade(t *testing.T) {
	s := NewStreams(Table())
	id := StreamID{1, 2}
	head := "HTTP/1.1 101 Switching Protocols\r\n\r\n"
	take := func(p Piece) {
		p.Stream, p.Pair, p.At = id, 7, int64(time.Second)
		require.Equal(t, Keep, s.Take(&p))
	}
	take(Piece{Upgrade: &Upgrade{Method: "GET", Route: "/chat", Next: [2]uint32{500, uint32(100 + len(head))}}})
	take(Piece{Seq: 100, Direction: FromServer, Data: []byte(head + wsFrame(FromServer, 0x81, "hi"))})
	take(Piece{Seq: 500, Direction: FromClient, Data: []byte(wsFrame(FromClient, 0x81, "ho"))})
	got := map[string][3]uint64{}
	drain := func() map[string][3]uint64 {
		clear(got)
		s.Drain(int64(time.Second), func(t *Tally) {
			got[fmt.Sprint(t.Protocol, " ", t.Method, " ", t.Operation, " ", t.Status)] = [3]uint64{t.Count, t.Messages[0], t.Messages[1]}
		})
		return got
	}
	require.Equal(t, map[string][3]uint64{"websocket GET /chat ": {0, 1, 1}}, drain())
	take(Piece{Seq: 508, Direction: FromClient, Data: []byte(wsClose(FromClient, 1000))})
	require.Equal(t, map[string][3]uint64{"websocket GET /chat 1000": {1, 0, 0}}, drain())
	s.Take(&Piece{Stream: id, Closed: true})
	require.Empty(t, drain())
	require.Zero(t, s.Stats.Streams.Load())
	require.Zero(t, s.Stats.Desynced.Load())
}

// upgraded is a WebSocket behind the HTTP/1 that it begins with, as the kernel program cuts it off.
type upgraded struct {
	*webSocketConn
	open [2]bool
}

func (u *upgraded) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	if u.open[d] {
		return u.webSocketConn.Feed(d, b, at, emit)
	}
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		return 0, 0, nil
	}
	u.open[d] = true
	if len(b) == i+4 {
		return len(b), 0, nil
	}
	n, skip, err := u.webSocketConn.Feed(d, b[i+4:], at, emit)
	return i + 4 + n, skip, err
}

// A real client and a real server: as many messages as they say, of all sizes, compressed or not, in fragments.
func TestWebSocketServer(t *testing.T) {
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprintf("compression %v", compress), func(t *testing.T) {
			up := websocket.Upgrader{EnableCompression: compress}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, err := up.Upgrade(w, r, nil)
				if err != nil {
					return
				}
				defer conn.Close()
				for {
					kind, data, err := conn.ReadMessage()
					if err != nil || conn.WriteMessage(kind, data) != nil {
						return
					}
				}
			}))
			defer server.Close()
			p := WebSocket()
			p.New = func() Conn { return &upgraded{webSocketConn: newWebSocket("GET", "/chat", 0)} }
			x := startTalkProxy(t, server.Listener.Addr().String(), p)
			dialer := websocket.Dialer{EnableCompression: compress}
			conn, response, err := dialer.Dial("ws://"+x.addr()+"/chat", nil)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			const n = 200
			random := rand.New(rand.NewPCG(1, 2))
			for i := range n {
				size := []int{0, 10, 125, 126, 5000, 65535, 65536, 100000}[i%8]
				data := bytes.Repeat([]byte("mark"), size/4+1)[:size]
				w, err := conn.NextWriter(1 + i%2)
				require.NoError(t, err)
				for len(data) > 0 { // flushed in fragments as the writer's buffer fills
					part := min(1+random.IntN(9000), len(data))
					_, err := w.Write(data[:part])
					require.NoError(t, err)
					data = data[part:]
				}
				if i%3 == 0 {
					require.NoError(t, conn.WriteControl(websocket.PingMessage, []byte("mark"), time.Now().Add(time.Second)))
				}
				require.NoError(t, w.Close())
				_, got, err := conn.ReadMessage()
				require.NoError(t, err)
				require.Len(t, got, size)
			}
			require.NoError(t, conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, "mark"), time.Now().Add(time.Second)))
			_, _, err = conn.ReadMessage()
			require.True(t, websocket.IsCloseError(err, 1001), err)
			conn.Close()
			all := x.finish()
			require.Equal(t, map[string]int{"/chat: 1001": 1}, countOutcomes(all))
			require.Equal(t, [2]int64{n, n}, messagesOf(all))
		})
	}
}

func FuzzWebSocket(f *testing.F) {
	f.Add([]byte(wsFrame(FromClient, 0x01, "a")+wsFrame(FromClient, 0x80, "b")+wsClose(FromClient, 1000)), []byte(wsFrame(FromServer, 0x82, strings.Repeat("x", 300))+wsClose(FromServer, 1000)), []byte{5, 200, 17})
	f.Add([]byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"), []byte("\x88\x02\x03\xe8"), []byte{1, 2})
	fuzzConn(f, chat())
}
