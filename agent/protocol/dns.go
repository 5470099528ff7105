package protocol

import (
	"encoding/binary"
	"fmt"
)

// dnsRead is how much of a message by TCP is looked at; a zone transfer fills up to 64 KiB.
const dnsRead = 4096

// DNS speaks DNS over TCP, RFC 1035 section 4.2.2 and RFC 7766: each message behind its length. One exchange is a query and its response,
// in any order; its operation is the type and the name that are asked for. What is said in datagrams is read by Datagrams.
func DNS() Protocol {
	return Protocol{Name: "dns", Detect: detectDNS, New: func() Conn { return &dnsConn{} }}
}

// dnsKey tells the questions of one connection apart.
type dnsKey struct {
	id uint16
	dnsQuestion
}

type dnsConn struct {
	halves  [2]half
	message dnsMessage
	waiting table[dnsKey, Exchange]
}

func (c *dnsConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	h := &c.halves[d]
	next := func(b []byte) (int64, bool, error) {
		if len(b) < 2 {
			return 0, false, nil
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		seen := min(n, dnsRead)
		if len(b) < seen {
			return 0, false, nil
		}
		var ok bool
		if c.message, ok = readDNS(b[2:seen]); !ok || c.message.response != (d == FromServer) {
			return 0, false, fmt.Errorf("no DNS message of %d bytes: %w", n, ErrDesync)
		}
		return int64(n), true, nil
	}
	return h.feed(b, at, next, func() {
		key := dnsKey{c.message.id, c.message.question}
		if d == FromServer {
			c.answer(key, h, emit)
			return
		}
		if again, ok := c.waiting.take(key); ok {
			emit(unanswered(again, at))
		}
		if forgotten, full := c.waiting.put(key, h.asked(key.operation())); full {
			emit(unanswered(forgotten, at))
		}
	})
}

// answer completes the exchange that the message at hand responds to. Of a zone transfer the first message does.
func (c *dnsConn) answer(key dnsKey, h *half, emit func(Exchange)) {
	if !c.message.asks {
		for k := range c.waiting.values {
			if k.id == key.id {
				key = k
			}
		}
	}
	e, ok := c.waiting.take(key)
	if !ok {
		return
	}
	status, failed := c.message.status()
	e = h.answered(e, status, failed)
	e.Answer = c.message.answer
	emit(e)
}

// unanswered completes a question that was given up.
func unanswered(e Exchange, at int64) Exchange {
	e.Status, e.Failed, e.End = dnsTimeout, true, max(at, e.Begin)
	return e
}

func (c *dnsConn) Resync(d Direction, b []byte) bool {
	c.halves[d].open = false
	return detectDNS(d, b) == Yes
}

func (c *dnsConn) Close(at int64, emit func(Exchange)) {
	for _, key := range c.waiting.order {
		if e, ok := c.waiting.take(key); ok {
			emit(cut(e, at))
		}
	}
}

// detectDNS knows a message by a header that fits its direction and the length before it, and a question that follows.
func detectDNS(d Direction, b []byte) Verdict {
	const head = 2 + 12
	if len(b) < 2 {
		return Maybe
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < head-2+5 {
		return No
	}
	if len(b) < head {
		if len(b) > 4 && !dnsFlags(d, b[4], 0) || len(b) > 5 && !dnsFlags(d, b[4], b[5]) || len(b) > 7 && (b[6] != 0 || b[7] != 1) {
			return No
		}
		return Maybe
	}
	answers, authorities, additionals := binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:]), binary.BigEndian.Uint16(b[12:])
	if !dnsFlags(d, b[4], b[5]) || b[6] != 0 || b[7] != 1 || authorities > 255 || additionals > 255 ||
		d == FromClient && (answers != 0 || authorities > 1 || additionals > 2) {
		return No
	}
	size, verdict := dnsQuestionSize(b[head:])
	if verdict != Yes {
		return verdict
	}
	end := head - 2 + size
	if n < end || d == FromClient && authorities+additionals == 0 && n != end {
		return No
	}
	return Yes
}

// dnsFlags checks the two bytes of flags of a query or response.
func dnsFlags(d Direction, flags, more byte) bool {
	if flags&0x78 != 0 || more&0x40 != 0 { // opcode, Z
		return false
	}
	if d == FromServer {
		return flags&0x80 != 0
	}
	return flags&0x86 == 0 && more&0x8f == 0 // QR, AA, TC; RA, RCODE
}

// dnsQuestionSize walks over a name, its type and its class.
func dnsQuestionSize(b []byte) (int, Verdict) {
	at := 0
	for {
		if at >= len(b) {
			return 0, Maybe
		}
		n := int(b[at])
		at++
		if n == 0 {
			break
		}
		if n > 63 || at+n > 255 {
			return 0, No
		}
		for _, c := range b[at:min(at+n, len(b))] {
			if c <= ' ' || c > '~' {
				return 0, No
			}
		}
		at += n
	}
	if len(b) < at+4 {
		return 0, Maybe
	}
	kind, class := binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:])
	if kind == 0 || kind > 260 && kind < 32768 || class != 1 && class != 3 && class != 255 {
		return 0, No
	}
	return at + 4, Yes
}
