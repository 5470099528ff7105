package protocol

import (
	"encoding/binary"
	"fmt"
	"math"
)

// HTTP2 speaks HTTP/2 (RFC 9113) and, inside of it, gRPC (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). An exchange is one
// stream: a request and its response, or a call with all its messages. The operation of HTTP is the route, made as for HTTP/1, and that of
// gRPC its path, "/package.Service/Method". A method that gRPC has in every call, POST, is left out.
func HTTP2() Protocol {
	return Protocol{Name: "http2", Detect: detectHTTP2, New: func() Conn { return newHTTP2Conn() }}
}

const http2Unknown = "~unknown" // in place of a route or code that refers to what was sent before the connection was followed

// http2Stream is a stream that is open, or whose other end has not ended yet.
type http2Stream struct {
	method, route string
	status        string
	code          string    // of gRPC
	types         [2]string // content types: "grpc", "other", http2Unknown or ""
	begin         int64     // ns
	ended         [2]int64  // ns, when the last byte of each direction came; 0 before
	bytes         [2]int64
	messages      [2]grpcMessages
	asked         bool // the request was seen; an answer may be faster than the hook of its question
	answered      bool // and counted
	trailed       bool // the response ended with trailers
	unsure        bool // the response may have passed unseen
	among         bool // calls: the connection has carried some
	reset         bool
	resetBy       Direction
	resetCode     uint32
}

// http2Side is one direction of a connection.
type http2Side struct {
	half
	hpack   *hpackDecoder
	frame   http2Frame // at hand
	left    int64      // bytes of messages in the DATA frame at hand that are to be passed over
	padding int64      // bytes behind them
	last    uint32     // of the GOAWAY or RST_STREAM at hand: its stream or code

	list  headerList // that the frame at hand completed
	whole bool       // it did
	since int64      // ns, first byte of the list
	open  http2Frame // a list goes on in CONTINUATION after this frame; stream 0: none does
	parts []byte     // of that list
	lost  bool       // it is too long
}

type http2Conn struct {
	sides   [2]http2Side
	streams table[uint32, *http2Stream]
	top     uint32 // the last stream that the client has opened
	limit   uint32 // the last stream that the server will answer
	early   int    // streams in the table whose request was not seen yet
	moved   bool   // messages were counted since the last Report
	calls   bool   // there were calls of gRPC
}

func newHTTP2Conn() *http2Conn {
	c := &http2Conn{limit: math.MaxUint32}
	c.sides[FromClient].hpack, c.sides[FromServer].hpack = newHPACKDecoder(), newHPACKDecoder()
	return c
}

func (c *http2Conn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	read := func(b []byte) (int64, bool, error) { return c.read(d, b) }
	return c.sides[d].feed(b, at, read, func() { c.got(d, emit) })
}

func (c *http2Conn) Resync(d Direction, b []byte) bool {
	if detectHTTP2(d, b) != Yes {
		return false
	}
	s := &c.sides[d]
	s.hpack.forget()
	*s = http2Side{hpack: s.hpack}
	for _, st := range c.streams.values {
		st.messages[d].broken = true
		st.unsure = st.unsure || d == FromServer
	}
	return true
}

func (c *http2Conn) Close(at int64, emit func(Exchange)) {
	for _, st := range c.streams.values {
		if !st.asked || st.answered || st.unsure {
			st.report(emit)
			continue
		}
		e := st.exchange()
		e.Messages = st.news()
		emit(cut(e, at))
	}
	c.streams, c.early = table[uint32, *http2Stream]{}, 0
}

// Report tells the messages of calls that go on.
func (c *http2Conn) Report(emit func(Exchange)) {
	if !c.moved {
		return
	}
	c.moved = false
	for _, st := range c.streams.values {
		st.report(emit)
	}
}

// read reads one frame, or a part of one in which messages are counted.
func (c *http2Conn) read(d Direction, b []byte) (int64, bool, error) {
	s := &c.sides[d]
	if s.left > 0 {
		return c.readMessages(d, b), s.left == 0, nil
	}
	if d == FromClient && b[0] == http2Preface[0] {
		return readHTTP2Preface(b)
	}
	if len(b) < http2HeadSize {
		return 0, false, nil
	}
	f := http2Head(b)
	if !f.valid(d) || (s.open.stream != 0) != (f.kind == http2Continuation) || f.kind == http2Continuation && f.stream != s.open.stream {
		return 0, false, fmt.Errorf("frame %d of %d bytes on stream %d: %w", f.kind, f.length, f.stream, ErrDesync)
	}
	size := http2HeadSize + f.length
	s.frame, s.whole = f, false
	switch f.kind {
	case http2Data:
		return c.readData(d, b)
	case http2Reset, http2GoAway:
		if len(b) < http2HeadSize+4 {
			return 0, false, nil
		}
		s.last = binary.BigEndian.Uint32(b[http2HeadSize:])
	case http2Headers, http2PushPromise, http2Continuation:
		if size < MaxBuffer && int64(len(b)) < size {
			return 0, false, nil
		}
		var payload []byte // what is longer is not looked at
		if size < MaxBuffer {
			payload = b[http2HeadSize:size]
		}
		return size, true, s.readList(f, payload)
	}
	return size, true, nil
}

func readHTTP2Preface(b []byte) (int64, bool, error) {
	n := min(len(b), len(http2Preface))
	if string(b[:n]) != http2Preface[:n] {
		return 0, false, fmt.Errorf("no preface: %w", ErrDesync)
	}
	if n < len(http2Preface) {
		return 0, false, nil
	}
	return int64(n), true, nil
}

// readList reads the part of a header list in a frame, and the list when that is its last.
func (s *http2Side) readList(f http2Frame, payload []byte) error {
	if f.kind != http2Continuation {
		s.open, s.parts, s.lost, s.since = f, s.parts[:0], false, s.begin
	}
	s.lost = s.lost || payload == nil && f.length > 0 || len(s.parts)+len(payload) > MaxBuffer
	if !s.lost {
		part, err := f.fragment(payload)
		if err != nil {
			s.open = http2Frame{}
			return err
		}
		if f.is(http2EndHeaders) && f.kind != http2Continuation {
			payload = part
		} else {
			s.parts = append(s.parts, part...)
			payload = s.parts
		}
	}
	if !f.is(http2EndHeaders) {
		return nil
	}
	s.frame, s.open, s.whole = s.open, http2Frame{}, true
	if cap(s.parts) > http2FrameSize {
		s.parts = nil
	}
	if s.lost {
		s.hpack.forget()
		s.list = headerList{unknown: true}
		return nil
	}
	var err error
	s.list, err = s.hpack.read(payload)
	return err
}

// readData reads the head of a DATA frame, and what is there of the messages of a call. Other content is passed over unseen: where it is not
// all there, its end has the time of what is.
func (c *http2Conn) readData(d Direction, b []byte) (int64, bool, error) {
	s := &c.sides[d]
	f, head, padding := s.frame, int64(http2HeadSize), int64(0)
	size := head + f.length
	st := c.streams.values[f.stream]
	if st == nil || f.length == 0 {
		return size, true, nil
	}
	if !st.isGRPC() {
		st.messages[d].broken = true // if it becomes known later, these are missing
	}
	if st.messages[d].broken {
		return size, true, nil
	}
	if f.is(http2Padded) {
		if int64(len(b)) <= head {
			return 0, false, nil
		}
		if padding = int64(b[head]); padding >= f.length {
			return 0, false, errHTTP2Frame
		}
		head++
	}
	if s.left, s.padding = size-head-padding, padding; s.left == 0 {
		return size, true, nil
	}
	return head + c.readMessages(d, b[head:]), s.left == 0, nil
}

// readMessages passes over messages, or parts of them, and over the padding behind the last.
func (c *http2Conn) readMessages(d Direction, b []byte) int64 {
	s := &c.sides[d]
	passed := s.left
	if st := c.streams.values[s.frame.stream]; st != nil {
		m := &st.messages[d]
		before := m.count
		passed = m.take(b[:min(int64(len(b)), s.left)], s.left)
		c.moved = c.moved || m.count != before
	}
	if s.left -= passed; s.left == 0 {
		passed += s.padding
	}
	return passed
}
