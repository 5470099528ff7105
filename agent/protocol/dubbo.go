package protocol

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// Dubbo speaks version 2 of the protocol of Apache Dubbo (https://dubbo.apache.org/en/overview/reference/protocols/tcp/).
//
// One Exchange is one call: "service.method", from the beginning of a body in Hessian 2 or Fastjson 2; with other serializations it is "~other".
// Heartbeats are "heartbeat", other events "event". What the server asks of the client (heartbeats, callbacks) has "callback " before it.
// The status is "ok", "exception" where the method threw one, or the name of the status byte.
func Dubbo() Protocol {
	return Protocol{Name: "dubbo", Detect: detectDubbo, New: func() Conn { return &dubboConn{} }}
}

const (
	dubboHeader  = 16
	dubboMaxBody = 256 << 20 // bytes; servers take 8 MiB unless they are told otherwise
	dubboNames   = 1024      // bytes of a body in which the names must end
)

// Flags of the third byte; the rest of it is the serialization.
const (
	dubboRequest = 0x80
	dubboTwoWay  = 0x40
	dubboEvent   = 0x20
	dubboSerial  = 0x1f
)

// Serializations whose beginning is read.
const (
	dubboHessian2  = 2
	dubboFastjson2 = 23
)

const dubboOK = 20

var dubboStatus = map[byte]string{
	dubboOK: "ok", 25: "serialization_error", 30: "client_timeout", 31: "server_timeout", 35: "channel_inactive", 40: "bad_request", 50: "bad_response",
	60: "service_not_found", 70: "service_error", 80: "server_error", 90: "client_error", 100: "threadpool_exhausted", 105: "resource_exhausted",
}

// dubboKey finds a request: either end counts its own.
type dubboKey struct {
	from Direction
	id   uint64
}

// dubboMessage is the message at hand.
type dubboMessage struct {
	flags, status byte
	id            uint64
	operation     string // of a request
	threw         bool   // a response that holds an exception
}

type dubboConn struct {
	halves  [2]half
	message dubboMessage
	waiting table[dubboKey, Exchange]
}

func (c *dubboConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	return c.halves[d].feed(b, at, func(b []byte) (int64, bool, error) { return c.read(b) }, func() { c.got(d, emit) })
}

func (c *dubboConn) Resync(d Direction, b []byte) bool {
	if detectDubbo(d, b) != Yes {
		return false
	}
	c.halves[d] = half{}
	return true
}

func (c *dubboConn) Close(at int64, emit func(Exchange)) {
	for _, key := range c.waiting.order {
		if e, ok := c.waiting.take(key); ok {
			emit(cut(e, at))
		}
	}
	c.waiting = table[dubboKey, Exchange]{}
}

// read reads the head of a message and as much of its body as names it.
func (c *dubboConn) read(b []byte) (int64, bool, error) {
	if b[0] != 0xda || len(b) > 1 && b[1] != 0xbb {
		return 0, false, fmt.Errorf("no magic number: %w", ErrDesync)
	}
	if len(b) < dubboHeader {
		return 0, false, nil
	}
	n := binary.BigEndian.Uint32(b[12:])
	if n > dubboMaxBody {
		return 0, false, fmt.Errorf("body of %d bytes: %w", n, ErrDesync)
	}
	m := dubboMessage{flags: b[2], status: b[3], id: binary.BigEndian.Uint64(b[4:])}
	body := b[dubboHeader:min(len(b), dubboHeader+int(n))]
	whole := len(body) == int(n) || len(body) >= dubboNames
	switch {
	case m.flags&dubboEvent != 0:
		if m.operation = "event"; n <= 5 { // null: "N" in Hessian 2, five bytes in Fastjson 2; events have a name
			if len(body) < int(n) {
				return 0, false, nil
			}
			if dubboNull(m.flags&dubboSerial, body) {
				m.operation = "heartbeat"
			}
		}
	case m.flags&dubboRequest != 0:
		names, ok := dubboStrings(m.flags&dubboSerial, body, 4)
		if !ok && !whole {
			return 0, false, nil
		}
		m.operation = dubboOperation(names)
	case m.status == dubboOK:
		kind, ok := dubboByte(m.flags&dubboSerial, body)
		if !ok && !whole {
			return 0, false, nil
		}
		m.threw = ok && (kind == 0 || kind == 3)
	}
	c.message = m
	return dubboHeader + int64(n), true, nil
}

// got takes the message that has just been read from d.
func (c *dubboConn) got(d Direction, emit func(Exchange)) {
	m, h := c.message, &c.halves[d]
	if m.flags&dubboRequest == 0 {
		e, ok := c.waiting.take(dubboKey{FromServer - d, m.id})
		if !ok {
			return
		}
		status := dubboStatusName(m.status)
		if m.threw {
			status = "exception"
		}
		emit(h.answered(e, status, status != "ok"))
		return
	}
	if d == FromServer {
		m.operation = clip("callback "+m.operation, MaxOperation)
	}
	e := h.asked(m.operation)
	if m.flags&dubboTwoWay == 0 {
		e.Status = "ok"
		emit(oneWay(e))
		return
	}
	key := dubboKey{d, m.id}
	if again, there := c.waiting.take(key); there { // its answer was missed
		emit(oneWay(again))
	}
	if forgotten, full := c.waiting.put(key, e); full {
		emit(oneWay(forgotten))
	}
}

func dubboStatusName(status byte) string {
	if name := dubboStatus[status]; name != "" {
		return name
	}
	return strconv.Itoa(int(status))
}

// detectDubbo checks every field of the header, and of a body that can be read its beginning.
func detectDubbo(_ Direction, b []byte) Verdict {
	magic := [2]byte{0xda, 0xbb}
	for i := range min(len(b), 2) {
		if b[i] != magic[i] {
			return No
		}
	}
	if len(b) < dubboHeader {
		return Maybe
	}
	flags, n := b[2], binary.BigEndian.Uint32(b[12:])
	if flags&dubboSerial == 0 || n > dubboMaxBody {
		return No
	}
	if flags&dubboRequest == 0 {
		return either(flags&dubboTwoWay == 0 && dubboStatus[b[3]] != "" && n > 0)
	}
	if b[3] != 0 && flags&dubboEvent == 0 {
		return No
	}
	body := b[dubboHeader:min(len(b), dubboHeader+int(n))]
	if flags&dubboEvent != 0 || flags&dubboSerial != dubboHessian2 && flags&dubboSerial != dubboFastjson2 {
		return Yes
	}
	names, ok := dubboStrings(flags&dubboSerial, body, 1)
	if !ok {
		if len(body) < min(int(n), dubboNames) {
			return Maybe
		}
		return No
	}
	return either(len(names[0]) > 0 && len(names[0]) < 64)
}
