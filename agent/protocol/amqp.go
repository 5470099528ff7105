package protocol

import (
	"encoding/binary"
	"fmt"
)

const (
	amqpMethod    = 1
	amqpHeader    = 2
	amqpBody      = 3
	amqpHeartbeat = 8

	amqpEnd         = 0xce
	amqpMaxFrame    = 1 << 27 // bytes of a frame, far above the 128 KiB that brokers negotiate
	amqpMaxMethod   = 16 << 10
	amqpMaxChannels = 2048 // channels of one connection that are followed
	amqpMaxNames    = 256  // consumers of one connection whose queue is remembered
)

// AMQP speaks 0-9-1 as RabbitMQ does (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, with basic.nack and confirm.select of
// https://www.rabbitmq.com/docs/specification). "publish" has an answer on a channel with confirms; "deliver" is each message to a
// consumer, and "ack" the time from there to what the consumer says of it: ok, rejected or nacked.
func AMQP() Protocol {
	return Protocol{Name: "amqp", Detect: detectAMQP, New: func() Conn { return &amqpConn{} }}
}

var errAMQPType = fmt.Errorf("frame type: %w", ErrDesync)

// amqpAsked is what waits for an answer.
type amqpAsked struct {
	exchange Exchange
	channel  uint16
	id       uint32 // class and method that were sent, 0 for a message
	tag      uint64 // delivery tag of a message
	name     string // queue of a consumer or get
	consumer string
	noAck    bool
}

// amqpChannel is what is remembered of a channel.
type amqpChannel struct {
	content  [2]amqpContent
	confirms bool
	next     uint64 // delivery tag of the last publish
}

// amqpContent is a message whose frames are coming.
type amqpContent struct {
	open     bool
	exchange Exchange
	left     int64 // bytes of its body to come, -1 before its header
	waits    bool
	again    amqpAsked // waits after the message is whole
}

type amqpConsumer struct {
	queue string
	noAck bool
}

type amqpConn struct {
	halves    [2]half
	channels  map[uint16]*amqpChannel
	calls     []amqpAsked // synchronous methods
	published []amqpAsked // wait for a confirm
	delivered []amqpAsked // wait for an acknowledgement
	consumers map[string]amqpConsumer
	frame     amqpFrame // at hand
}

// amqpFrame is the frame at hand; args is only valid until it is done.
type amqpFrame struct {
	kind    byte
	channel uint16
	id      uint32 // class and method
	args    []byte
	size    int64 // of a body: of this frame; of a header: of the whole body
}

func (c *amqpConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	return c.halves[d].feed(b, at, c.read, func() { c.got(d, emit) })
}

func (c *amqpConn) Resync(d Direction, b []byte) bool {
	if amqpFits(b) != Yes {
		return false
	}
	c.halves[d] = half{}
	c.published = nil // which tag a publish has is not sure any more
	for _, ch := range c.channels {
		ch.content[d], ch.confirms = amqpContent{}, false
	}
	return true
}

func (c *amqpConn) Close(at int64, emit func(Exchange)) {
	for _, w := range c.calls {
		emit(cut(w.exchange, at))
	}
	for _, w := range c.published {
		emit(cut(w.exchange, at))
	}
	*c = amqpConn{}
}

// read reads one frame (section 2.3.5): type, channel, size, payload, end.
func (c *amqpConn) read(b []byte) (int64, bool, error) {
	if b[0] == 'A' {
		return readAMQPGreeting(b)
	}
	f, size, err := amqpFrameHead(b)
	if size < 0 || err != nil {
		return 0, false, err
	}
	end := 7 + size + 1
	if int64(len(b)) >= end && b[end-1] != amqpEnd {
		return 0, false, fmt.Errorf("frame without end: %w", ErrDesync)
	}
	c.frame = f
	switch f.kind {
	case amqpBody:
		c.frame.size = size
		return end, true, nil
	case amqpHeartbeat:
		return end, true, nil
	case amqpHeader:
		if size < 14 {
			return 0, false, fmt.Errorf("header of %d bytes: %w", size, ErrDesync)
		}
		if len(b) < 7+12 {
			return 0, false, nil
		}
		c.frame.size = int64(min(binary.BigEndian.Uint64(b[7+4:]), 1<<62))
		return end, true, nil
	}
	if size < 4 {
		return 0, false, fmt.Errorf("method of %d bytes: %w", size, ErrDesync)
	}
	if want := min(end, amqpMaxMethod); int64(len(b)) < want {
		return 0, false, nil
	}
	c.frame.id = binary.BigEndian.Uint32(b[7:])
	c.frame.args = b[11:min(end-1, int64(len(b)))]
	return end, true, nil
}

// amqpFrameHead returns the size of the payload, -1 if more bytes are needed.
func amqpFrameHead(b []byte) (amqpFrame, int64, error) {
	if b[0] != amqpMethod && b[0] != amqpHeader && b[0] != amqpBody && b[0] != amqpHeartbeat {
		return amqpFrame{}, 0, errAMQPType
	}
	if len(b) < 8 {
		return amqpFrame{}, -1, nil
	}
	f := amqpFrame{kind: b[0], channel: binary.BigEndian.Uint16(b[1:])}
	size := int64(binary.BigEndian.Uint32(b[3:]))
	if size > amqpMaxFrame || f.kind == amqpHeartbeat && (size != 0 || f.channel != 0) || size == 0 && f.kind != amqpHeartbeat && f.kind != amqpBody {
		return amqpFrame{}, 0, fmt.Errorf("frame of %d bytes: %w", size, ErrDesync)
	}
	return f, size, nil
}

// readAMQPGreeting reads the eight bytes with which a client begins, or a server refuses.
func readAMQPGreeting(b []byte) (int64, bool, error) {
	const greeting = "AMQP\x00\x00\x09\x01"
	n := min(len(b), len(greeting))
	if string(b[:min(n, 4)]) != greeting[:min(n, 4)] {
		return 0, false, fmt.Errorf("no greeting: %w", ErrDesync)
	}
	if n < len(greeting) {
		return 0, false, nil
	}
	if string(b[:n]) != greeting {
		return 0, false, fmt.Errorf("another version of AMQP: %w", ErrDesync)
	}
	return int64(n), true, nil
}

func (c *amqpConn) channel(n uint16) *amqpChannel {
	ch := c.channels[n]
	if ch == nil && len(c.channels) < amqpMaxChannels {
		if c.channels == nil {
			c.channels = map[uint16]*amqpChannel{}
		}
		ch = &amqpChannel{}
		c.channels[n] = ch
	}
	return ch
}

// keep appends to a list that is bounded as all waiting requests are.
func (c *amqpConn) keep(list *[]amqpAsked, w amqpAsked) bool {
	if len(*list) >= MaxWaiting {
		return false
	}
	*list = append(*list, w)
	return true
}

// amqpTake removes and returns the first of list that fits.
func amqpTake(list *[]amqpAsked, fits func(amqpAsked) bool) (amqpAsked, bool) {
	for i, w := range *list {
		if fits(w) {
			*list = append((*list)[:i], (*list)[i+1:]...)
			return w, true
		}
	}
	return amqpAsked{}, false
}

func detectAMQP(d Direction, b []byte) Verdict {
	if len(b) == 0 {
		return Maybe
	}
	if b[0] != 'A' {
		return amqpFits(b)
	}
	n, _, err := readAMQPGreeting(b)
	switch {
	case err != nil:
		return No
	case n == 0:
		return Maybe
	}
	return Yes
}

// amqpFits walks over the frames in b: one that is whole and has a method or header that exists is sure.
func amqpFits(b []byte) Verdict {
	verdict := Maybe
	for frames := 0; len(b) > 0 && frames < 16; frames++ {
		scratch := amqpConn{}
		n, _, err := scratch.read(b)
		if err != nil {
			return No
		}
		if n == 0 || n > int64(len(b)) {
			return verdict
		}
		switch f := scratch.frame; f.kind {
		case amqpMethod:
			if _, known := amqpMethods[f.id]; !known {
				return No
			}
			verdict = Yes
		case amqpHeader:
			if binary.BigEndian.Uint32(b[7:]) != 60<<16 {
				return No
			}
			verdict = Yes
		}
		b = b[n:]
	}
	return verdict
}
