package protocol

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// long is more than one frame of DATA holds.
var long = strings.Repeat("x", 40_000)

var http2Conversations = []struct {
	name string
	say  func(client, server *speaker, turn func())
	want map[string]int
}{
	{"request", func(c, s *speaker, turn func()) {
		c.get(1, "/users/42?token=mark")
		turn()
		s.ok(1, false).data(1, true, "hello")
	}, map[string]int{"GET /users/{id}: 200": 1}},
	{"the same again, from the tables", func(c, s *speaker, turn func()) {
		for i := range uint32(3) {
			c.get(2*i+1, "/users/42")
			turn()
			s.ok(2*i+1, true)
			turn()
		}
	}, map[string]int{"GET /users/{id}: 200": 3}},
	{"answers in another order, data between", func(c, s *speaker, turn func()) {
		c.get(1, "/a").get(3, "/b").get(5, "/c")
		turn()
		s.ok(5, false).ok(1, false).data(5, false, "x").data(1, false, long).data(5, true, "y").headers(3, true, ":status", "404").data(1, true, "")
	}, map[string]int{"GET /a: 200": 1, "GET /b: 404": 1, "GET /c: 200": 1}},
	{"body, padding and priority", func(c, s *speaker, turn func()) {
		c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, PadLength: 200, Priority: http2.PriorityParam{StreamDep: 0, Weight: 7, Exclusive: true},
			BlockFragment: c.fields(":method", "POST", ":path", "/upload", ":scheme", "http", "content-type", "application/json")})
		c.WriteDataPadded(1, true, []byte(long[:500]), make([]byte, 255))
		c.WritePriority(1, http2.PriorityParam{Weight: 3})
		turn()
		s.headers(1, true, ":status", "503")
	}, map[string]int{"POST /upload: 503!": 1}},
	{"a list in many frames", func(c, s *speaker, turn func()) {
		list := c.fields(":method", "GET", ":path", "/long", ":scheme", "http", "x-mark", long)
		c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: list[:3]})
		c.WriteContinuation(1, false, nil)
		c.WriteContinuation(1, false, list[3:16000])
		c.WriteContinuation(1, true, list[16000:])
		c.get(3, "/next")
		turn()
		s.ok(3, true).ok(1, true)
	}, map[string]int{"GET /long: 200": 1, "GET /next: 200": 1}},
	{"interim answers and trailers", func(c, s *speaker, turn func()) {
		c.headers(1, false, ":method", "PUT", ":path", "/x", ":scheme", "http").data(1, false, "part").headers(1, true, "x-checksum", "mark")
		s.headers(1, false, ":status", "100").headers(1, false, ":status", "103", "link", "mark").headers(1, false, ":status", "201").data(1, false, "x").headers(1, true, "server-timing", "mark")
	}, map[string]int{"PUT /x: 201": 1}},
	{"an answer before the end of the question", func(c, s *speaker, turn func()) {
		c.headers(1, false, ":method", "POST", ":path", "/big", ":scheme", "http").data(1, false, "part")
		turn()
		s.headers(1, true, ":status", "413").WriteRSTStream(1, http2.ErrCodeNo)
		turn()
		c.data(1, true, "rest").get(3, "/next")
		turn()
		s.ok(3, true)
	}, map[string]int{"POST /big: 413": 1, "GET /next: 200": 1}},
	{"an answer whose question is seen later", func(c, s *speaker, turn func()) {
		s.ok(1, false).data(1, true, "fast").WriteRSTStream(3, http2.ErrCodeRefusedStream)
		turn()
		turn()
		c.get(1, "/fast").get(3, "/refused").get(5, "/slow")
		turn()
		s.ok(5, true)
	}, map[string]int{"GET /fast: 200": 1, "GET /refused: REFUSED_STREAM!": 1, "GET /slow: 200": 1}},
	{"cancelled, reset and cut", func(c, s *speaker, turn func()) {
		c.get(1, "/cancel").get(3, "/reset").get(5, "/wait").get(7, "/bad").get(9, "/odd")
		turn()
		s.ok(1, false).data(1, false, "part")
		s.WriteRSTStream(3, http2.ErrCodeInternal)
		s.WriteRSTStream(9, 77)
		turn()
		c.WriteRSTStream(1, http2.ErrCodeCancel)
		c.WriteRSTStream(7, http2.ErrCodeProtocol)
		turn()
		s.data(1, true, "too late")
	}, map[string]int{"GET /cancel: cancelled": 1, "GET /reset: INTERNAL_ERROR!": 1, "GET /wait: !cut": 1, "GET /bad: PROTOCOL_ERROR!": 1, "GET /odd: ~other!": 1}},
	{"going away", func(c, s *speaker, turn func()) {
		s.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
		c.get(1, "/a").get(3, "/b")
		turn()
		s.WriteGoAway(1, http2.ErrCodeNo, []byte("mark"))
		turn()
		c.get(5, "/c")
		s.ok(1, true)
	}, map[string]int{"GET /a: 200": 1, "GET /b: REFUSED_STREAM!": 1, "GET /c: REFUSED_STREAM!": 1}},
	{"push is passed over", func(c, s *speaker, turn func()) {
		c.get(1, "/page")
		turn()
		s.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true, BlockFragment: s.fields(":method", "GET", ":path", "/pushed", "x-kept", "mark")})
		s.headers(2, false, ":status", "200", "x-kept", "mark").data(2, true, "pushed").headers(1, true, ":status", "201", "x-kept", "mark")
	}, map[string]int{"GET /page: 201": 1}},
	{"unknown frames, ping", func(c, s *speaker, turn func()) {
		c.WriteRawFrame(0xa, 0, 0, []byte("ALTSVC"))
		c.WriteRawFrame(0xf7, 0xff, 1, []byte("grease"))
		c.WritePing(false, [8]byte{1})
		s.WritePing(true, [8]byte{1})
		c.get(1, "/a")
		turn()
		s.ok(1, true)
	}, map[string]int{"GET /a: 200": 1}},
	{"other methods and targets", func(c, s *speaker, turn func()) {
		c.headers(1, true, ":method", "CONNECT", ":authority", "db:5432").headers(3, true, ":method", "PROPFIND", ":path", "/dav").headers(5, true, ":method", "OPTIONS", ":path", "*").headers(7, true, ":method", "GET")
		turn()
		s.ok(1, true).headers(3, true, ":status", "207").headers(5, true, ":status", "204").headers(7, true, ":status", "mark")
	}, map[string]int{"CONNECT db:{id}: 200": 1, "~other /dav: 207": 1, "OPTIONS *: 204": 1, "GET ~unknown: ~unknown": 1}},
	{"tables that shrink and grow", func(c, s *speaker, turn func()) {
		for i, size := range []uint32{4096, 0, 100, 4096, 64, 0, 1000} {
			c.encoder.SetMaxDynamicTableSize(size)
			id := uint32(4*i + 1)
			c.get(id, fmt.Sprintf("/way%c", 'a'+i)).get(id+2, fmt.Sprintf("/way%c", 'a'+i))
			turn()
			s.ok(id+2, true).ok(id, true)
			turn()
		}
	}, map[string]int{"GET /waya: 200": 2, "GET /wayb: 200": 2, "GET /wayc: 200": 2, "GET /wayd: 200": 2, "GET /waye: 200": 2, "GET /wayf: 200": 2, "GET /wayg: 200": 2}},
}

func TestHTTP2Conversations(t *testing.T) {
	for _, tc := range http2Conversations {
		t.Run(tc.name, func(t *testing.T) { requireHTTP2(t, talkHTTP2(tc.say), tc.want) })
	}
}

// requireHTTP2 holds that a conversation gives the same in any split, and that no marker comes out.
func requireHTTP2(t *testing.T, chunks []talkChunk, want map[string]int) {
	t.Helper()
	for _, n := range []int{1 << 20, 1, 2, 3, 9, 100} {
		f := talkThrough(t, HTTP2(), talkPieces(chunks, n))
		require.Empty(t, f.errors, "in pieces of %d", n)
		require.Equal(t, want, http2Lines(f.exchanges), "in pieces of %d", n)
		for _, e := range f.exchanges {
			require.NotContains(t, e.Operation+e.Status+e.Method+e.Protocol, "mark")
		}
	}
}

func TestGRPCConversations(t *testing.T) {
	for _, tc := range []struct {
		name string
		say  func(client, server *speaker, turn func())
		want map[string]int
	}{
		{"unary", func(c, s *speaker, turn func()) {
			c.call(1, "/shop.Cart/Add").data(1, true, message("mark-question"))
			turn()
			s.accept(1).data(1, false, message("mark-answer")).trailers(1, "0")
		}, map[string]int{"grpc /shop.Cart/Add: ok[1 1]": 1}},
		{"codes", func(c, s *speaker, turn func()) {
			for i, code := range []string{"0", "1", "2", "4", "5", "8", "13", "14", "16", "17", "mark"} {
				id := uint32(2*i + 1)
				c.call(id, "/shop.Cart/Add").data(id, true, message(""))
				turn()
				s.headers(id, true, ":status", "200", "content-type", "application/grpc", "grpc-status", code)
				turn()
			}
		}, map[string]int{
			"grpc /shop.Cart/Add: ok[1 0]": 1, "grpc /shop.Cart/Add: CANCELLED[1 0]": 1, "grpc /shop.Cart/Add: UNKNOWN![1 0]": 3,
			"grpc /shop.Cart/Add: DEADLINE_EXCEEDED![1 0]": 1, "grpc /shop.Cart/Add: NOT_FOUND[1 0]": 1, "grpc /shop.Cart/Add: RESOURCE_EXHAUSTED[1 0]": 1,
			"grpc /shop.Cart/Add: INTERNAL![1 0]": 1, "grpc /shop.Cart/Add: UNAVAILABLE![1 0]": 1, "grpc /shop.Cart/Add: UNAUTHENTICATED[1 0]": 1,
		}},
		{"what is no gRPC answers", func(c, s *speaker, turn func()) {
			for i, status := range []string{"502", "404", "200", "401"} {
				id := uint32(2*i + 1)
				c.call(id, "/a.B/C").data(id, true, message("x"))
				turn()
				s.headers(id, false, ":status", status, "content-type", "text/html").data(id, true, "<mark>")
				turn()
			}
		}, map[string]int{"grpc /a.B/C: UNAVAILABLE![1 0]": 1, "grpc /a.B/C: UNIMPLEMENTED![1 0]": 1, "grpc /a.B/C: UNKNOWN![1 0]": 1, "grpc /a.B/C: UNAUTHENTICATED[1 0]": 1}},
		{"streams of messages, cut anywhere", func(c, s *speaker, turn func()) {
			up, down := strings.Repeat(message("abc")+message(""), 20), strings.Repeat(message(strings.Repeat("d", 300)), 7)
			c.call(1, "/a.B/Chat").call(3, "/a.B/Chat")
			s.accept(3).accept(1)
			for i := 0; i < len(up); i += 11 {
				c.data(1, false, up[i:min(i+11, len(up))]).data(3, false, up[i:min(i+11, len(up))])
			}
			for i := 0; i < len(down); i += 1000 {
				s.WriteDataPadded(1, false, []byte(down[i:min(i+1000, len(down))]), make([]byte, 10))
			}
			c.data(1, true, "")
			s.data(3, false, message("one"))
			turn()
			s.trailers(1, "0").trailers(3, "0")
		}, map[string]int{"grpc /a.B/Chat: ok[40 7]": 1, "grpc /a.B/Chat: ok[40 1]": 1}},
		{"cancelled and reset", func(c, s *speaker, turn func()) {
			c.call(1, "/a.B/C").call(3, "/a.B/C").call(5, "/a.B/C").call(7, "/a.B/C").data(1, false, message("x"))
			turn()
			c.WriteRSTStream(1, http2.ErrCodeCancel)
			s.WriteRSTStream(3, http2.ErrCodeRefusedStream)
			s.WriteRSTStream(5, http2.ErrCodeEnhanceYourCalm)
			s.WriteRSTStream(7, http2.ErrCodeNo)
		}, map[string]int{"grpc /a.B/C: CANCELLED[1 0]": 1, "grpc /a.B/C: UNAVAILABLE!": 1, "grpc /a.B/C: RESOURCE_EXHAUSTED": 1, "grpc /a.B/C: INTERNAL!": 1}},
		{"gRPC-Web and others are HTTP", func(c, s *speaker, turn func()) {
			c.headers(1, false, ":method", "POST", ":path", "/a.B/C", "content-type", "application/grpc-web+proto").data(1, true, message("x"))
			turn()
			s.headers(1, false, ":status", "200", "content-type", "application/grpc-web+proto").data(1, true, message("x"))
		}, map[string]int{"POST /a.B/C: 200": 1}},
		{"what is no message is not counted as one", func(c, s *speaker, turn func()) {
			c.call(1, "/a.B/C").data(1, true, "\x07garbage that goes on")
			turn()
			s.trailers(1, "0")
		}, map[string]int{"grpc /a.B/C: ok": 1}},
		{"identifiers in the path", func(c, s *speaker, turn func()) {
			c.call(1, "/tenant-123456/Get").data(1, true, message("x"))
			turn()
			s.trailers(1, "12")
		}, map[string]int{"grpc /tenant-{id}/Get: UNIMPLEMENTED![1 0]": 1}},
	} {
		t.Run(tc.name, func(t *testing.T) { requireHTTP2(t, talkHTTP2(tc.say), tc.want) })
	}
}

// A call that goes on tells its messages when it is asked, and the rest at its end.
func TestGRPCReportsOpenCalls(t *testing.T) {
	client, server := newSpeaker(), newSpeaker()
	f := newTalk(t, HTTP2())
	reported := func() map[string]int {
		f.exchanges = nil
		f.conn.(Reporter).Report(f.emit)
		return http2Lines(f.exchanges)
	}
	f.feed(FromClient, []byte(http2Preface+client.call(1, "/a.B/Watch").call(3, "/a.B/Other").data(1, false, message("x")).said()), 1)
	require.Equal(t, map[string]int{"grpc /a.B/Watch open[1 0]": 1}, reported())
	f.feed(FromServer, []byte(server.accept(1).data(1, false, strings.Repeat(message("y"), 5)).said()), 2)
	require.Equal(t, map[string]int{"grpc /a.B/Watch open[0 5]": 1}, reported())
	require.Empty(t, reported())
	f.feed(FromServer, []byte(server.data(1, false, message("y")).trailers(1, "0").said()), 3)
	require.Equal(t, map[string]int{"grpc /a.B/Watch: ok[0 1]": 1}, http2Lines(f.exchanges))
	// What the client still sends after the answer counts too.
	f.feed(FromClient, []byte(client.data(1, false, message("x")+message("x")).said()), 4)
	require.Equal(t, map[string]int{"grpc /a.B/Watch open[2 0]": 1}, reported())
	f.exchanges = nil
	f.feed(FromClient, []byte(client.data(1, true, message("x")).said()), 5)
	require.Equal(t, map[string]int{"grpc /a.B/Watch open[1 0]": 1}, http2Lines(f.exchanges))
	f.exchanges = nil
	f.close(9)
	require.Equal(t, map[string]int{"grpc /a.B/Other: !cut": 1}, http2Lines(f.exchanges))
}

func TestHTTP2TimesAndSizes(t *testing.T) {
	client, server := newSpeaker(), newSpeaker()
	request := client.headers(1, false, ":method", "POST", ":path", "/a").data(1, true, "body").said()
	response := server.ok(1, false).data(1, true, "content").said()
	f := talkThrough(t, HTTP2(), []talkChunk{
		{FromClient, 5, []byte(http2Preface)}, {FromClient, 10, []byte(request[:4])}, {FromClient, 20, []byte(request[4:])},
		{FromServer, 50, []byte(response[:4])}, {FromServer, 60, []byte(response[4:])},
	})
	require.Equal(t, []Exchange{{Method: "POST", Operation: "/a", Status: "200", Begin: 10, End: 60, RequestBytes: int64(len(request)), ResponseBytes: int64(len(response))}}, f.exchanges)
}

// Many streams at once are told apart; beyond the bound the oldest are counted without their end.
func TestHTTP2ManyStreams(t *testing.T) {
	for _, n := range []int{100, 1000, MaxWaiting + 50} {
		want := map[string]int{}
		chunks := talkHTTP2(func(c, s *speaker, turn func()) {
			for i := range n {
				c.headers(uint32(2*i+1), true, ":method", "GET", ":path", fmt.Sprintf("/way%c", 'g'+i%10))
			}
			turn()
			for i := n - 1; i >= 0; i-- {
				code := fmt.Sprint(200 + i%7)
				s.headers(uint32(2*i+1), true, ":status", code)
				line := fmt.Sprintf("GET /way%c: %s", 'g'+i%10, code)
				if i < n-MaxWaiting {
					line = fmt.Sprintf("GET /way%c: ~unknown~", 'g'+i%10)
				}
				want[line]++
			}
		})
		f := talkThrough(t, HTTP2(), chunks)
		require.Empty(t, f.errors)
		require.Equal(t, want, http2Lines(f.exchanges))
	}
}

// A connection that is joined in the middle has unknown tables: what refers to them is not guessed.
func TestHTTP2JoinedInTheMiddle(t *testing.T) {
	client, server := newSpeaker(), newSpeaker()
	client.get(1, "/old").call(3, "/old.Service/Call").get(5, "/")
	server.ok(1, true).accept(3).trailers(3, "0").headers(5, true, ":status", "418")
	client.said()
	server.said()
	f := newTalk(t, HTTP2())
	f.lost = [2]bool{true, true}
	say := func(d Direction, s *speaker, at int64) { f.feed(d, []byte(s.said()), at) }
	say(FromServer, server.ok(7, true).ok(9, true), 1) // to requests from before
	say(FromClient, client.get(11, "/old").get(13, "/new").get(15, "/").headers(17, false, ":method", "PUT", ":path", "/old").data(17, true, "x"), 2)
	say(FromServer, server.ok(11, true).ok(13, true).headers(15, true, ":status", "418").headers(17, true, ":status", "206"), 3)
	say(FromClient, client.get(19, "/new").call(21, "/old.Service/Call").data(21, true, message("x")), 4)
	say(FromServer, server.ok(19, true).accept(21).data(21, false, message("x")).trailers(21, "0"), 5)
	say(FromClient, client.call(23, "/new.Service/Call").data(23, true, message("x")), 6)
	say(FromServer, server.accept(23).data(23, false, message("x")).trailers(23, "5"), 7)
	say(FromClient, client.call(25, "/new.Service/Call").data(25, true, message("x")), 8)
	say(FromServer, server.headers(25, true, ":status", "200", "content-type", "application/grpc+proto", "grpc-status", "5"), 8)
	f.close(9)
	require.Empty(t, f.errors)
	require.Equal(t, map[string]int{
		"GET ~unknown: 200": 1, "GET /new: 200": 2, "GET /: ~unknown": 1, "PUT ~unknown: 206": 1,
		"grpc ~unknown: ~unknown": 1, "grpc /new.Service/Call: ~unknown[1 1]": 1, "grpc /new.Service/Call: ~unknown[1 0]": 1,
	}, http2Lines(f.exchanges))
}

// After a loss, what waited may have been answered: its end is not known, and no call's messages are counted wrong.
func TestHTTP2AfterALoss(t *testing.T) {
	client, server := newSpeaker(), newSpeaker()
	f := newTalk(t, HTTP2())
	f.feed(FromClient, []byte(http2Preface+client.get(1, "/answered").get(3, "/later").call(5, "/a.B/C").data(5, false, message("x")).said()), 1)
	f.feed(FromServer, []byte(server.accept(5).data(5, false, message("x")).said()), 2)
	server.ok(1, true)
	server.said()
	f.lost[FromServer] = true
	f.feed(FromServer, []byte(server.headers(7, false, ":status", "204").headers(3, true, ":status", "404").data(5, false, message("x")).trailers(5, "0").said()), 3)
	f.close(9)
	require.Empty(t, f.errors)
	require.Equal(t, map[string]int{"GET /later: 404": 1, "grpc /a.B/C: ok[1 1]": 1}, http2Lines(f.exchanges))
}

func TestHTTP2Hostile(t *testing.T) {
	frame := func(kind http2.FrameType, flags http2.Flags, id uint32, payload string) string {
		s := newSpeaker()
		s.WriteRawFrame(kind, flags, id, []byte(payload))
		return s.said()
	}
	for name, text := range map[string]string{
		"preface of another version": "PRI * HTTP/3.0\r\n", "preface again, broken": http2Preface + "PRX",
		"even stream": frame(1, 4, 2, "\x82"), "stream 0": frame(1, 4, 0, "\x82"), "settings on a stream": frame(4, 0, 1, ""), "settings of odd size": frame(4, 0, 0, "1234567"),
		"ping of odd size": frame(6, 0, 0, "x"), "reset of odd size": frame(3, 0, 1, "x"), "push by a client": frame(5, 4, 1, "\x00\x00\x00\x02\x82"),
		"continuation of nothing": frame(9, 4, 1, "\x82"), "a frame inside of a list": frame(1, 0, 1, "\x82") + frame(6, 0, 0, "12345678"),
		"continuation of another stream": frame(1, 0, 1, "\x82") + frame(9, 4, 3, "\x82"),
		"padding longer than the frame":  frame(1, 0xc, 1, "\xff\x82"), "padded, empty": frame(1, 0xc, 1, ""), "priority without room": frame(1, 0x24, 1, "\x82"),
		"index 0": frame(1, 4, 1, "\x80"), "endless integer": frame(1, 4, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "string beyond the list": frame(1, 4, 1, "\x04\x7fabc"),
		"broken Huffman code": frame(1, 4, 1, "\x04\x84\xff\xff\xff\xff"), "literal cut off": frame(1, 4, 1, "\x40"), "unknown frame too long": "\xff\xff\xff\xee\x00\x00\x00\x00\x01",
	} {
		if !strings.HasPrefix(text, "PRI") {
			text = http2Preface + text
		}
		f := talkThrough(t, HTTP2(), turns(text))
		require.NotEmpty(t, f.errors, name)
	}
	// A list that is never finished, and one that is too long, take bounded memory.
	c := newHTTP2Conn()
	parts := frame(1, 0, 1, "\x82"+strings.Repeat("\x00", 10))
	c.Feed(FromClient, []byte(http2Preface+parts), 1, func(Exchange) {})
	for range 100 {
		c.Feed(FromClient, []byte(frame(9, 0, 1, strings.Repeat("\x82", 16000))), 1, func(Exchange) {})
	}
	require.LessOrEqual(t, cap(c.sides[FromClient].parts), 2*MaxBuffer)
	c.Feed(FromClient, []byte(frame(9, 4, 1, "\x82")), 1, func(Exchange) {})
	require.True(t, c.streams.values[1].asked)
	require.Equal(t, http2Unknown, c.streams.values[1].route)
}

// The dynamic table is bounded, whatever size is asked for, and values that nobody needs are not in it.
func TestHPACKTableIsBounded(t *testing.T) {
	h := newHPACKDecoder()
	s := newSpeaker()
	s.encoder.SetMaxDynamicTableSizeLimit(1 << 30)
	s.encoder.SetMaxDynamicTableSize(1 << 24)
	for i := range 5000 {
		list, err := h.read(s.fields(fmt.Sprintf("x-mark-%d", i), strings.Repeat("mark", i%300), ":path", fmt.Sprintf("/mark/%d/mark", i)))
		require.NoError(t, err)
		require.Equal(t, "/mark/{id}/mark", list.values[headerPath])
	}
	assert.LessOrEqual(t, h.size, hpackMaxTableSize)
	assert.LessOrEqual(t, len(h.table), hpackMaxTableSize/hpackEntrySize)
	for _, e := range h.table {
		assert.True(t, e.kind == headerPath && e.value == "/mark/{id}/mark" || e.kind == headerNone && e.value == "", "%+v", e)
	}
}

func TestHTTP2Detect(t *testing.T) {
	c, s := newSpeaker(), newSpeaker()
	settings := "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"
	request, response := c.get(1, "/a").said(), s.ok(1, false).data(1, false, strings.Repeat("x", 5000)).said()
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromClient, http2Preface, Yes}, {FromClient, http2Preface + "\x00\x00", Yes}, {FromClient, http2Preface[:10], Maybe}, {FromClient, "", Maybe},
		{FromServer, http2Preface, No}, {FromClient, "PRIVMSG #x", No}, {FromClient, "GET / HTTP/1.1\r\n\r\n", No}, {FromServer, "HTTP/1.1 200 OK\r\n\r\n", No},
		{FromServer, settings, Yes}, {FromServer, settings[:9], Yes}, {FromServer, settings[:8], Maybe}, {FromServer, settings[:12], Maybe}, {FromServer, settings + settings[:3], Yes},
		{FromServer, settings + "HTTP/1.1 200 OK", No}, {FromServer, settings + "\x00\x00\x00\x99", No},
		{FromClient, request, Yes}, {FromClient, request[:9], Yes}, {FromClient, request[:20], Maybe}, {FromClient, request[9:], No}, {FromServer, response, Yes}, {FromServer, response[:200], Yes},
		{FromServer, "\x00\x00\x00\x04\x01\x00\x00\x00\x00", Yes}, {FromServer, "\x00\x00\x00\x04\x01\x00\x00\x00\x01", No},
		{FromClient, "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00", No},                     // a window of nothing
		{FromClient, "\x00\x00\x05\x00\x00\x00\x00\x00\x01hello", Maybe},                             // DATA alone may be anything
		{FromClient, "\x00\x00\x00\x1a\x00\x03\x00\x0c\x00\x00\x00\x00\x00\x04test", No},             // Kafka
		{FromClient, "\x00\x00\x00\x2c\x00\x00\x00\x00\x00\x00\x00\x00", No},                         // ZooKeeper
		{FromClient, "\x00\x00\x00\x08\xff\xff\xff\xfe\x00\x00\x00\x0b", No},                         // its ping
		{FromClient, "\x00\x00\x00\x08\x04\xd2\x16\x2f", Maybe},                                      // PostgreSQL asks for TLS
		{FromClient, "\x00\x00\x01\x03\x00\x01\x00\x0b\x00\x00\x00\x01\x00\x04test\x00\x00\x00", No}, // Kafka, longer
		{FromClient, strings.Repeat("\x00", 100), No}, {FromServer, strings.Repeat("\x00", 9), No},
	} {
		assert.Equal(t, tc.want, HTTP2().Detect(tc.d, []byte(tc.text)), "%d %q", tc.d, tc.text[:min(len(tc.text), 40)])
	}
}

func FuzzHTTP2(f *testing.F) { fuzzConn(f, HTTP2()) }
