package protocol

import (
	"encoding/binary"
	"strconv"
)

// Methods that need more than their line in the table: class and method.
const (
	amqpConnectionStartOK = 10<<16 | 11
	amqpConnectionClose   = 10<<16 | 50
	amqpChannelClose      = 20<<16 | 40
	amqpChannelCloseOK    = 20<<16 | 41
	amqpBasicConsume      = 60<<16 | 20
	amqpBasicConsumeOK    = 60<<16 | 21
	amqpBasicPublish      = 60<<16 | 40
	amqpBasicReturn       = 60<<16 | 50
	amqpBasicDeliver      = 60<<16 | 60
	amqpBasicGet          = 60<<16 | 70
	amqpBasicGetOK        = 60<<16 | 71
	amqpBasicGetEmpty     = 60<<16 | 72
	amqpBasicAck          = 60<<16 | 80
	amqpBasicReject       = 60<<16 | 90
	amqpBasicNack         = 60<<16 | 120
	amqpConfirmSelect     = 85<<16 | 10
)

// amqpLayout is a method: its name in operations, and where its arguments have a name and the bit that asks for no answer.
type amqpLayout struct {
	name    string // "" for an answer
	skip    int    // bytes in front of the strings
	strings int    // short strings that follow
	named   int    // which of them, from 1, names the operation; 0 for none
	noWait  int    // bit of the byte behind the strings that asks for no answer, -1 for none
}

// amqpMethods are all methods of the client protocol (section 1.7 of the specification's second part).
var amqpMethods = map[uint32]amqpLayout{
	10<<16 | 10: {}, 10<<16 | 11: {}, 10<<16 | 20: {}, 10<<16 | 21: {}, 10<<16 | 30: {}, 10<<16 | 31: {},
	10<<16 | 40: {"connection.open", 0, 0, 0, -1}, 10<<16 | 41: {}, 10<<16 | 50: {"connection.close", 0, 0, 0, -1}, 10<<16 | 51: {},
	10<<16 | 60: {}, 10<<16 | 61: {}, 10<<16 | 70: {"connection.update-secret", 0, 0, 0, -1}, 10<<16 | 71: {},
	20<<16 | 10: {"channel.open", 0, 0, 0, -1}, 20<<16 | 11: {}, 20<<16 | 20: {"channel.flow", 0, 0, 0, -1}, 20<<16 | 21: {},
	20<<16 | 40: {"channel.close", 0, 0, 0, -1}, 20<<16 | 41: {},
	40<<16 | 10: {"exchange.declare", 2, 2, 1, 4}, 40<<16 | 11: {}, 40<<16 | 20: {"exchange.delete", 2, 1, 1, 1}, 40<<16 | 21: {},
	40<<16 | 30: {"exchange.bind", 2, 3, 1, 0}, 40<<16 | 31: {}, 40<<16 | 40: {"exchange.unbind", 2, 3, 1, 0}, 40<<16 | 51: {},
	50<<16 | 10: {"queue.declare", 2, 1, 1, 4}, 50<<16 | 11: {}, 50<<16 | 20: {"queue.bind", 2, 3, 1, 0}, 50<<16 | 21: {},
	50<<16 | 30: {"queue.purge", 2, 1, 1, 0}, 50<<16 | 31: {}, 50<<16 | 40: {"queue.delete", 2, 1, 1, 2}, 50<<16 | 41: {},
	50<<16 | 50: {"queue.unbind", 2, 3, 1, -1}, 50<<16 | 51: {},
	60<<16 | 10: {"basic.qos", 0, 0, 0, -1}, 60<<16 | 11: {}, 60<<16 | 20: {"consume", 2, 2, 1, 3}, 60<<16 | 21: {},
	60<<16 | 30: {"basic.cancel", 0, 1, 0, 0}, 60<<16 | 31: {}, 60<<16 | 40: {"publish", 2, 2, 1, -1}, 60<<16 | 50: {}, 60<<16 | 60: {},
	60<<16 | 70: {"get", 2, 1, 1, -1}, 60<<16 | 71: {}, 60<<16 | 72: {}, 60<<16 | 80: {}, 60<<16 | 90: {}, 60<<16 | 100: {},
	60<<16 | 110: {"basic.recover", 0, 0, 0, -1}, 60<<16 | 111: {}, 60<<16 | 120: {},
	85<<16 | 10: {"confirm.select", 0, 0, 0, 0}, 85<<16 | 11: {},
	90<<16 | 10: {"tx.select", 0, 0, 0, -1}, 90<<16 | 11: {}, 90<<16 | 20: {"tx.commit", 0, 0, 0, -1}, 90<<16 | 21: {},
	90<<16 | 30: {"tx.rollback", 0, 0, 0, -1}, 90<<16 | 31: {},
}

// amqpStrings reads count short strings behind skip bytes. rest is nil if they are not there.
func amqpStrings(b []byte, skip, count int) (found [3][]byte, rest []byte) {
	if len(b) < skip {
		return found, nil
	}
	b = b[skip:]
	for i := range count {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return found, nil
		}
		found[i], b = b[1:1+int(b[0])], b[1+int(b[0]):]
	}
	return found, b
}

// amqpName bounds the name of an exchange or queue; a server gives names of its own to those that have none.
func amqpName(name []byte) string {
	if len(name) >= 7 && string(name[:7]) == "amq.gen" {
		return "amq.gen"
	}
	return foldName(name, '.')
}

// got handles the frame that has just been read from d.
func (c *amqpConn) got(d Direction, emit func(Exchange)) {
	f, h := c.frame, &c.halves[d]
	c.frame = amqpFrame{}
	switch f.kind {
	case amqpHeader, amqpBody:
		c.content(d, f, emit)
		return
	case amqpMethod:
	default:
		return
	}
	if d == FromClient {
		c.fromClient(f, h, emit)
	} else {
		c.fromServer(f, h, emit)
	}
}

func (c *amqpConn) fromClient(f amqpFrame, h *half, emit func(Exchange)) {
	switch f.id {
	case amqpBasicPublish:
		c.publish(f, h)
	case amqpBasicAck, amqpBasicReject, amqpBasicNack:
		c.settle(&c.delivered, f, h, emit)
	case amqpConnectionStartOK: // the credentials are in it: a refusal is the answer to it
		c.keep(&c.calls, amqpAsked{exchange: h.asked("connection.start-ok"), id: f.id})
	default:
		c.call(f, h, emit)
	}
}

// call queues a method that has an answer.
func (c *amqpConn) call(f amqpFrame, h *half, emit func(Exchange)) {
	layout := amqpMethods[f.id]
	if layout.name == "" {
		return
	}
	names, rest := amqpStrings(f.args, layout.skip, layout.strings)
	w := amqpAsked{channel: f.channel, id: f.id}
	operation := layout.name
	if layout.named > 0 {
		w.name = amqpName(names[layout.named-1])
		if w.name != "" {
			operation += " " + w.name
		}
	}
	w.exchange = h.asked(operation)
	flags := byte(0)
	if len(rest) > 0 {
		flags = rest[0]
	}
	if f.id == amqpConfirmSelect {
		if ch := c.channel(f.channel); ch != nil && !ch.confirms {
			ch.confirms, ch.next = true, 0
		}
	}
	if f.id == amqpBasicConsume {
		w.consumer, w.noAck = string(names[1]), flags&2 != 0
		c.consumes(w.consumer, w)
	}
	if f.id == amqpBasicGet {
		w.noAck = flags&1 != 0
	}
	if layout.noWait >= 0 && flags>>layout.noWait&1 != 0 || !c.keep(&c.calls, w) {
		emit(oneWay(w.exchange))
	}
}

// consumes remembers which queue a consumer tag stands for.
func (c *amqpConn) consumes(tag string, w amqpAsked) {
	if tag == "" || len(c.consumers) >= amqpMaxNames && c.consumers[tag].queue == "" {
		return
	}
	if c.consumers == nil {
		c.consumers = map[string]amqpConsumer{}
	}
	c.consumers[tag] = amqpConsumer{w.name, w.noAck}
}

func (c *amqpConn) fromServer(f amqpFrame, h *half, emit func(Exchange)) {
	switch f.id {
	case amqpBasicDeliver:
		c.deliver(f, h)
	case amqpBasicGetOK, amqpBasicGetEmpty:
		c.gotten(f, h, emit)
	case amqpBasicAck, amqpBasicNack:
		c.settle(&c.published, f, h, emit)
	case amqpBasicReturn:
		names, _ := amqpStrings(f.args, 2, 2)
		if ch := c.channel(f.channel); ch != nil && len(f.args) > 2 {
			e := h.asked("return " + amqpName(names[1]))
			e.Status, e.Failed = strconv.Itoa(int(binary.BigEndian.Uint16(f.args))), true
			ch.content[FromServer] = amqpContent{open: true, exchange: e, left: -1}
		}
	case amqpChannelClose, amqpConnectionClose:
		c.closed(f, h, emit)
	default:
		c.returned(f, h, emit)
	}
}

// returned gives an answer to the call that it belongs to.
func (c *amqpConn) returned(f amqpFrame, h *half, emit func(Exchange)) {
	w, ok := amqpTake(&c.calls, func(w amqpAsked) bool {
		return w.channel == f.channel && (w.id == f.id-1 || w.id == 40<<16|40 && f.id == 40<<16|51 || w.id == amqpConnectionStartOK && (f.id == 10<<16|30 || f.id == 10<<16|20))
	})
	if !ok {
		return
	}
	switch f.id {
	case amqpBasicConsumeOK:
		names, _ := amqpStrings(f.args, 0, 1)
		if w.consumer == "" {
			c.consumes(string(names[0]), w)
		}
	case amqpChannelCloseOK:
		c.forget(f.channel, "", emit)
	}
	emit(h.answered(w.exchange, "ok", false))
}

// closed is a server that closes a channel or the connection: it says by which method it was provoked.
func (c *amqpConn) closed(f amqpFrame, h *half, emit func(Exchange)) {
	if len(f.args) < 2 {
		return
	}
	status := strconv.Itoa(int(binary.BigEndian.Uint16(f.args)))
	_, rest := amqpStrings(f.args, 2, 1)
	cause := uint32(0)
	if len(rest) >= 4 {
		cause = binary.BigEndian.Uint32(rest)
	}
	fits := func(w amqpAsked) bool { return w.channel == f.channel && (w.id == cause || cause == 0) }
	w, ok := amqpTake(&c.calls, fits)
	switch {
	case ok:
		emit(h.answered(w.exchange, status, true))
	case f.id == amqpConnectionClose:
		e := h.asked("connection.close")
		e.Status, e.Failed = status, status != "200"
		emit(oneWay(e))
	default:
		e := h.asked("channel.close")
		e.Status, e.Failed = status, status != "200"
		emit(oneWay(e))
	}
	if f.id == amqpChannelClose {
		c.forget(f.channel, status, emit)
	}
}

// forget drops what is known of a channel that closed; what waited for a confirm ends with status, or without one.
func (c *amqpConn) forget(channel uint16, status string, emit func(Exchange)) {
	h := &c.halves[FromServer]
	here := func(w amqpAsked) bool { return w.channel == channel }
	for {
		w, ok := amqpTake(&c.published, here)
		if !ok {
			break
		}
		emit(h.answered(w.exchange, status, status != ""))
	}
	for _, ok := amqpTake(&c.delivered, here); ok; {
		_, ok = amqpTake(&c.delivered, here)
	}
	delete(c.channels, channel)
}
