package protocol

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

const (
	webSocketMaxControl = 125     // bytes of a control frame
	webSocketMaxAhead   = 32      // frames that are looked at to find where to go on
	webSocketMaxFrame   = 1 << 40 // bytes; the RFC allows more, nobody sends it
)

// The opcodes of RFC 6455, section 5.2.
const (
	webSocketContinuation = 0x0
	webSocketBinary       = 0x2
	webSocketClose        = 0x8
	webSocketPong         = 0xa
)

// WebSocket follows a connection that an HTTP/1 request has upgraded (https://www.rfc-editor.org/rfc/rfc6455). Streams makes it where the kernel
// says so; one that is older than the agent is found by its frames alone, see webSocketSearch, and goes by "~unknown" without a duration.
// One connection is one exchange: method and operation are those of the request ("GET", "/chat"), it lasts from the upgrade to the first close frame, whose
// code is the status: "1000" and "1001" are fine, "1005" stands for a close without a code (section 7.4.1), all others are failures. A connection
// that ends without a close frame is cut. Data messages are counted while it is open; compression changes only what is in them.
func WebSocket() Protocol {
	return Protocol{Name: "websocket", Detect: func(Direction, []byte) Verdict { return No }, New: func() Conn { return newWebSocket("", "~unknown", 0) }}
}

type webSocketConn struct {
	exchange Exchange // of the connection; its Messages are those not told yet
	done     bool     // it was emitted
	halves   [2]webSocketHalf
}

type webSocketHalf struct {
	half
	total   int64 // bytes of all frames
	partial bool  // a message has begun whose last frame is still to come
	joined  bool  // whether one has is not known, after a loss
	frame   webSocketFrame
}

// webSocketFrame is the frame at hand.
type webSocketFrame struct {
	final  bool
	opcode byte
	code   int // of a close frame; 0: it has none
}

func newWebSocket(method, route string, at int64) *webSocketConn {
	if len(route) > MaxOperation {
		route = route[:MaxOperation-len("…")] + "…"
	}
	return &webSocketConn{exchange: Exchange{Method: method, Operation: route, Begin: at}}
}

func (c *webSocketConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	h := &c.halves[d]
	return h.feed(b, at, func(b []byte) (int64, bool, error) { return h.read(d, b) }, func() { c.framed(d, emit) })
}

// Resync says yes to frames that fill b to its end, or are many.
func (c *webSocketConn) Resync(d Direction, b []byte) bool {
	scratch := webSocketHalf{joined: true}
	for i := 0; len(b) > 0 && i < webSocketMaxAhead; i++ {
		n, _, err := scratch.read(d, b)
		if err != nil || n == 0 || n > int64(len(b)) {
			return false
		}
		b = b[n:]
	}
	c.halves[d] = webSocketHalf{total: c.halves[d].total, joined: true}
	return true
}

func (c *webSocketConn) Close(at int64, emit func(Exchange)) {
	if c.done {
		c.Report(emit)
		return
	}
	c.finish()
	emit(cut(c.exchange, at))
}

// Report tells the messages of a connection that is open, or that were said behind the first close frame.
func (c *webSocketConn) Report(emit func(Exchange)) {
	if c.exchange.Messages == [2]int64{} {
		return
	}
	e := c.exchange
	emit(Exchange{Method: e.Method, Operation: e.Operation, Begin: e.Begin, End: e.Begin, Messages: e.Messages, Open: true})
	c.exchange.Messages = [2]int64{}
}

// read reads one frame.
func (h *webSocketHalf) read(d Direction, b []byte) (int64, bool, error) {
	if len(b) < 2 {
		return 0, false, nil
	}
	f, err := h.readHead(d, b)
	if err != nil {
		return 0, false, err
	}
	length, size := int64(b[1]&0x7f), 2
	switch length {
	case 126:
		if size = 4; len(b) < size {
			return 0, false, nil
		}
		length = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if size = 10; len(b) < size {
			return 0, false, nil
		}
		length = int64(binary.BigEndian.Uint64(b[2:]))
	}
	if length < 0 || length > webSocketMaxFrame || size == 4 && length < 126 || size == 10 && length>>16 == 0 {
		return 0, false, fmt.Errorf("length %d in %d bytes: %w", length, size, ErrDesync)
	}
	if d == FromClient {
		size += 4 // the mask
	}
	if f.opcode == webSocketClose && length > 0 {
		if len(b) < size+2 {
			return 0, false, nil
		}
		f.code = int(binary.BigEndian.Uint16(b[size:]))
		if d == FromClient {
			f.code ^= int(binary.BigEndian.Uint16(b[size-4:]))
		}
	}
	h.frame = f
	return int64(size) + length, true, nil
}

// readHead checks the first two bytes of a frame. Clients mask, servers do not (section 5.1); control frames are whole and short (5.5), and
// only the first frame of a message says that it is compressed (RFC 7692, section 6).
func (h *webSocketHalf) readHead(d Direction, b []byte) (webSocketFrame, error) {
	f := webSocketFrame{final: b[0]&0x80 != 0, opcode: b[0] & 0x0f}
	control, length := f.opcode >= webSocketClose, b[1]&0x7f
	switch {
	case b[0]&0x30 != 0 || f.opcode > webSocketBinary && !control || f.opcode > webSocketPong:
		return f, fmt.Errorf("frame begins with %#x: %w", b[0], ErrDesync)
	case b[0]&0x40 != 0 && (control || f.opcode == webSocketContinuation):
		return f, fmt.Errorf("compressed frame with opcode %d: %w", f.opcode, ErrDesync)
	case (b[1]&0x80 != 0) != (d == FromClient):
		return f, fmt.Errorf("mask of the wrong side: %w", ErrDesync)
	case control && (!f.final || length > webSocketMaxControl):
		return f, fmt.Errorf("control frame in parts: %w", ErrDesync)
	case f.opcode == webSocketClose && length == 1:
		return f, fmt.Errorf("half a close code: %w", ErrDesync)
	case !control && !h.joined && (f.opcode == webSocketContinuation) != h.partial:
		return f, fmt.Errorf("opcode %d out of turn: %w", f.opcode, ErrDesync)
	}
	return f, nil
}

// framed takes the frame that was just read.
func (c *webSocketConn) framed(d Direction, emit func(Exchange)) {
	h := &c.halves[d]
	h.total += h.bytes
	switch f := h.frame; {
	case f.opcode == webSocketClose:
		if !c.done {
			c.finish()
			emit(h.closed(c.exchange, f.code))
			c.exchange.Messages = [2]int64{}
		}
	case f.opcode > webSocketClose:
	case f.final:
		h.partial, h.joined = false, false
		c.exchange.Messages[d]++
	default:
		h.partial, h.joined = true, false
	}
}

func (c *webSocketConn) finish() {
	c.done = true
	c.exchange.RequestBytes, c.exchange.ResponseBytes = c.halves[FromClient].total, c.halves[FromServer].total
}

// closed completes the exchange with the code of a close frame.
func (h *webSocketHalf) closed(e Exchange, code int) Exchange {
	switch {
	case code == 0:
		code, e.Status = 1005, "1005"
	case code < 1000 || code > 4999:
		e.Status = "~other"
	default:
		e.Status = strconv.Itoa(code)
	}
	e.Failed = code != 1000 && code != 1001 && code != 1005
	e.End = max(h.end, e.Begin)
	return e
}
