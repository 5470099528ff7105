package protocol

import "encoding/binary"

// publish begins a message of the client. What goes to the default exchange is named by its routing key, which is a queue.
func (c *amqpConn) publish(f amqpFrame, h *half) {
	ch := c.channel(f.channel)
	if ch == nil {
		return
	}
	names, _ := amqpStrings(f.args, 2, 2)
	name := amqpName(names[0])
	if name == "" {
		name = amqpName(names[1])
	}
	content := amqpContent{open: true, exchange: h.asked("publish " + name), left: -1}
	if ch.confirms {
		ch.next++
		content.waits, content.again = true, amqpAsked{channel: f.channel, tag: ch.next}
	}
	ch.content[FromClient] = content
}

// deliver begins a message to a consumer: consumer tag, delivery tag, redelivered, exchange, routing key.
func (c *amqpConn) deliver(f amqpFrame, h *half) {
	names, rest := amqpStrings(f.args, 0, 1)
	ch := c.channel(f.channel)
	if ch == nil || len(rest) < 9 {
		return
	}
	consumer, known := c.consumers[string(names[0])]
	name := consumer.queue
	if !known {
		where, _ := amqpStrings(rest, 9, 1)
		name = amqpName(where[0])
	}
	e := h.asked("deliver " + name)
	e.Status = "ok"
	content := amqpContent{open: true, exchange: e, left: -1}
	if !consumer.noAck {
		content.waits = true
		content.again = amqpAsked{exchange: h.asked("ack " + name), channel: f.channel, tag: binary.BigEndian.Uint64(rest)}
	}
	ch.content[FromServer] = content
}

// gotten answers a get, at once if the queue is empty and else when the message is whole.
func (c *amqpConn) gotten(f amqpFrame, h *half, emit func(Exchange)) {
	w, ok := amqpTake(&c.calls, func(w amqpAsked) bool { return w.channel == f.channel && w.id == amqpBasicGet })
	if !ok {
		return
	}
	if f.id == amqpBasicGetEmpty {
		emit(h.answered(w.exchange, "empty", false))
		return
	}
	ch := c.channel(f.channel)
	if ch == nil || len(f.args) < 8 {
		emit(h.answered(w.exchange, "ok", false))
		return
	}
	w.exchange.Status, w.exchange.ResponseBytes = "ok", h.bytes
	content := amqpContent{open: true, exchange: w.exchange, left: -1}
	if !w.noAck {
		content.waits = true
		content.again = amqpAsked{exchange: h.asked("ack " + w.name), channel: f.channel, tag: binary.BigEndian.Uint64(f.args)}
	}
	content.again.id = amqpBasicGet
	ch.content[FromServer] = content
}

// content counts the header and the body frames of a message, and completes it.
func (c *amqpConn) content(d Direction, f amqpFrame, emit func(Exchange)) {
	ch := c.channels[f.channel]
	if ch == nil || !ch.content[d].open {
		return
	}
	m, h := &ch.content[d], &c.halves[d]
	get := m.again.id == amqpBasicGet
	if get {
		m.exchange.ResponseBytes += h.bytes
	} else {
		m.exchange.RequestBytes += h.bytes
	}
	if f.kind == amqpHeader {
		m.left = f.size
	} else {
		m.left -= f.size
	}
	if m.left > 0 {
		return
	}
	e, w, waits := m.exchange, m.again, m.waits
	*m = amqpContent{}
	if d == FromClient {
		w.exchange = e
		if !waits || !c.keep(&c.published, w) {
			e.Status = "ok"
			emit(oneWay(e))
		}
		return
	}
	if get {
		e.End = max(h.end, e.Begin)
		emit(e)
	} else {
		emit(oneWay(e))
	}
	if w.id = 0; waits {
		w.exchange.RequestBytes = e.RequestBytes + e.ResponseBytes
		if len(c.delivered) >= MaxWaiting { // a consumer that never acknowledges; the messages were counted
			c.delivered = append(c.delivered[:0], c.delivered[1:]...)
		}
		c.delivered = append(c.delivered, w)
	}
}

// settle takes basic.ack, nack and reject, of one tag or of all up to it.
func (c *amqpConn) settle(list *[]amqpAsked, f amqpFrame, h *half, emit func(Exchange)) {
	if len(f.args) < 9 {
		return
	}
	tag := binary.BigEndian.Uint64(f.args)
	multiple := f.args[8]&1 != 0 && f.id != amqpBasicReject
	status := map[uint32]string{amqpBasicAck: "ok", amqpBasicNack: "nacked", amqpBasicReject: "rejected"}[f.id]
	kept := (*list)[:0]
	for _, w := range *list {
		if w.channel != f.channel || w.tag != tag && (!multiple || w.tag > tag && tag != 0) {
			kept = append(kept, w)
			continue
		}
		emit(h.answered(w.exchange, status, status != "ok"))
	}
	clear((*list)[len(kept):])
	*list = kept
}
