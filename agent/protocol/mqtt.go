package protocol

import (
	"encoding/binary"
	"fmt"
)

// Control packet types of MQTT (section 2.1.2 of both versions).
const (
	mqttConnect = iota + 1
	mqttConnack
	mqttPublish
	mqttPuback
	mqttPubrec
	mqttPubrel
	mqttPubcomp
	mqttSubscribe
	mqttSuback
	mqttUnsubscribe
	mqttUnsuback
	mqttPingreq
	mqttPingresp
	mqttDisconnect
	mqttAuth
)

const (
	mqttMaxTopic   = 4096 // bytes of a topic that is looked at
	mqttMaxAliases = 256  // topic aliases of one direction that are remembered
	mqttMaxSmall   = 8192 // bytes of a packet that is waited for whole, other than PUBLISH
)

// MQTT speaks versions 3.1, 3.1.1 and 5 (https://docs.oasis-open.org/mqtt/). "publish" is what the client sends, "deliver" what
// the server sends: with QoS 0 nothing answers, with QoS 1 PUBACK does, with QoS 2 PUBCOMP.
func MQTT() Protocol {
	return Protocol{Name: "mqtt", Detect: detectMQTT, New: func() Conn { return &mqttConn{} }}
}

var errMQTTType = fmt.Errorf("packet type or flags: %w", ErrDesync)

// mqttKey finds what waits: identifiers of both directions are told apart.
type mqttKey struct {
	kind byte // the packet that was sent: mqttConnect, mqttPublish, mqttSubscribe, mqttUnsubscribe
	from Direction
	id   uint16
}

// mqttAsked is a packet that waits for its acknowledgement.
type mqttAsked struct {
	exchange Exchange
	codes    int // reason codes that answer it
}

type mqttConn struct {
	halves  [2]half
	waiting table[mqttKey, mqttAsked]
	aliases [2]map[uint16]string
	version byte       // 0 if the connection is older than we
	packet  mqttPacket // at hand
}

// mqttPacket is what the packet at hand says.
type mqttPacket struct {
	kind  byte
	qos   byte
	id    uint16
	name  string
	codes []byte // the reason codes at its end; only valid until done
	asks  int    // topic filters
}

func (c *mqttConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	read := func(b []byte) (int64, bool, error) { return c.read(d, b) }
	return c.halves[d].feed(b, at, read, func() { c.got(d, emit) })
}

func (c *mqttConn) Resync(d Direction, b []byte) bool {
	if mqttFits(d, b) != Yes && !c.awaited(d, b) {
		return false
	}
	c.halves[d] = half{}
	return true
}

// awaited says whether b is an acknowledgement of something that waits. Of such packets alone consists what a broker says to those who only publish.
func (c *mqttConn) awaited(d Direction, b []byte) bool {
	if mqttFits(d, b) == No || len(b) < 4 || b[1] < 2 || b[1] >= 0x80 {
		return false
	}
	key := mqttKey{from: FromServer - d, id: binary.BigEndian.Uint16(b[2:])}
	switch b[0] >> 4 {
	case mqttPuback, mqttPubrec, mqttPubcomp:
		key.kind = mqttPublish
	case mqttSuback:
		key.kind = mqttSubscribe
	case mqttUnsuback:
		key.kind = mqttUnsubscribe
	}
	_, waits := c.waiting.values[key]
	return waits
}

func (c *mqttConn) Close(at int64, emit func(Exchange)) {
	for _, w := range c.waiting.values {
		emit(cut(w.exchange, at))
	}
	c.waiting = table[mqttKey, mqttAsked]{}
}

// mqttHeader reads type, flags and remaining length; size is 0 if more bytes are needed.
func mqttHeader(b []byte) (kind, flags byte, body int64, size int, err error) {
	kind, flags = b[0]>>4, b[0]&15
	switch {
	case kind == 0:
		err = errMQTTType
	case kind == mqttPublish:
		if flags&6 == 6 {
			err = errMQTTType
		}
	case kind == mqttPubrel || kind == mqttSubscribe || kind == mqttUnsubscribe:
		if flags != 2 {
			err = errMQTTType
		}
	case flags != 0:
		err = errMQTTType
	}
	if err != nil {
		return 0, 0, 0, 0, errMQTTType
	}
	body, n, err := mqttInteger(b[1:])
	if n == 0 || err != nil {
		return 0, 0, 0, 0, err
	}
	return kind, flags, body, 1 + n, nil
}

// mqttInteger reads a variable byte integer (section 1.5.5 of version 5).
func mqttInteger(b []byte) (value int64, size int, err error) {
	for i := 0; i < 4; i++ {
		if i >= len(b) {
			return 0, 0, nil
		}
		value |= int64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return value, i + 1, nil
		}
	}
	return 0, 0, fmt.Errorf("length of more than four bytes: %w", ErrDesync)
}

func (c *mqttConn) read(d Direction, b []byte) (int64, bool, error) {
	kind, flags, body, size, err := mqttHeader(b)
	if size == 0 || err != nil {
		return 0, false, err
	}
	if !mqttAllowed(d, kind, body) {
		return 0, false, fmt.Errorf("packet type %d of %d bytes: %w", kind, body, ErrDesync)
	}
	end := int64(size) + body
	c.packet = mqttPacket{kind: kind, qos: flags >> 1 & 3}
	if kind == mqttPublish {
		whole, err := c.readPublish(d, b[size:min(end, int64(len(b)))], body)
		if !whole || err != nil {
			return 0, false, err
		}
		return end, true, nil
	}
	if body > mqttMaxSmall {
		c.packet.kind = 0 // seen, but not looked into
		return end, true, nil
	}
	if int64(len(b)) < end {
		return 0, false, nil
	}
	c.readSmall(kind, b[size:end])
	return end, true, nil
}

// mqttAllowed checks who may send a packet and how long it is.
func mqttAllowed(d Direction, kind byte, body int64) bool {
	switch kind {
	case mqttConnect:
		return d == FromClient && body >= 10
	case mqttSubscribe, mqttUnsubscribe:
		return d == FromClient && body >= 5
	case mqttPingreq:
		return d == FromClient && body == 0
	case mqttPingresp:
		return d == FromServer && body == 0
	case mqttConnack:
		return d == FromServer && body >= 2
	case mqttSuback:
		return d == FromServer && body >= 3
	case mqttUnsuback:
		return d == FromServer && body >= 2
	case mqttPublish:
		return body >= 2
	case mqttPuback, mqttPubrec, mqttPubrel, mqttPubcomp:
		return body >= 2 && body <= mqttMaxSmall
	case mqttDisconnect, mqttAuth:
		return body <= mqttMaxSmall
	}
	return false
}

// readPublish reads topic, packet identifier and, for version 5, a topic alias. It says no if more bytes are needed.
func (c *mqttConn) readPublish(d Direction, b []byte, body int64) (bool, error) {
	if len(b) < 2 {
		return false, nil
	}
	n := int(binary.BigEndian.Uint16(b))
	need := 2 + n
	if c.packet.qos > 0 {
		need += 2
	}
	if int64(need) > body {
		return false, fmt.Errorf("topic of %d bytes in a packet of %d: %w", n, body, ErrDesync)
	}
	if n > mqttMaxTopic {
		c.packet.name, c.packet.qos = "~other", 0
		return true, nil
	}
	if len(b) < need {
		return false, nil
	}
	topic := b[2 : 2+n]
	if !mqttTopic(topic) {
		return false, fmt.Errorf("topic with a byte that none may have: %w", ErrDesync)
	}
	if c.packet.qos > 0 {
		c.packet.id = binary.BigEndian.Uint16(b[need-2:])
	}
	c.packet.name = foldName(topic, '/')
	if c.version == 5 || c.version == 0 && n == 0 {
		return c.readAlias(d, b[need:], body-int64(need), n), nil
	}
	return true, nil
}

// readAlias follows topic aliases (section 3.3.2.3.4 of version 5). It says no if more bytes are needed.
func (c *mqttConn) readAlias(d Direction, b []byte, body int64, topic int) bool {
	n, size, err := mqttInteger(b)
	if err != nil || size > 0 && (int64(size)+n > body || n > mqttMaxTopic) {
		return true // no alias to be had
	}
	if size == 0 || int64(len(b)) < int64(size)+n {
		return false
	}
	alias := mqttAlias(b[size : int64(size)+n])
	switch {
	case topic == 0 && c.aliases[d][alias] != "":
		c.packet.name = c.aliases[d][alias]
	case topic == 0:
		c.packet.name = "~other"
	case alias != 0 && (len(c.aliases[d]) < mqttMaxAliases || c.aliases[d][alias] != ""):
		if c.aliases[d] == nil {
			c.aliases[d] = map[uint16]string{}
		}
		c.aliases[d][alias] = c.packet.name
	}
	return true
}

// readSmall reads a packet that is there whole, b being what follows its header.
func (c *mqttConn) readSmall(kind byte, b []byte) {
	p := &c.packet
	switch kind {
	case mqttConnect:
		if n := int(binary.BigEndian.Uint16(b)); n <= 6 && len(b) > 2+n {
			c.version = b[2+n] & 0x7f // bridges set the highest bit
		}
	case mqttConnack:
		p.codes = b[1:2]
	case mqttSubscribe, mqttUnsubscribe:
		p.id = binary.BigEndian.Uint16(b)
		p.name, p.asks = c.filters(kind, b[2:])
	case mqttSuback, mqttUnsuback, mqttPuback, mqttPubrec, mqttPubrel, mqttPubcomp:
		p.id = binary.BigEndian.Uint16(b)
		p.codes = b[2:]
	case mqttDisconnect:
		p.codes = b[:min(len(b), 1)]
	}
}

// filters returns the first topic filter of a SUBSCRIBE or UNSUBSCRIBE and how many there are.
func (c *mqttConn) filters(kind byte, b []byte) (string, int) {
	if c.version != 5 {
		if name, n := mqttFilters(kind, b); n > 0 || c.version != 0 {
			return name, n
		}
	}
	n, size, err := mqttInteger(b)
	if err != nil || size == 0 || int64(size)+n > int64(len(b)) {
		return "~other", 1
	}
	name, count := mqttFilters(kind, b[int64(size)+n:])
	return name, max(count, 1)
}

// mqttFilters returns no count if the filters do not fill b.
func mqttFilters(kind byte, b []byte) (name string, count int) {
	name = "~other"
	for len(b) > 0 {
		if len(b) < 2 {
			return "~other", 0
		}
		end := 2 + int(binary.BigEndian.Uint16(b))
		if kind == mqttSubscribe {
			end++ // options
		}
		if len(b) < end || end < 4 {
			return "~other", 0
		}
		if count++; count == 1 {
			filter := b[2:end]
			if kind == mqttSubscribe {
				filter = b[2 : end-1]
			}
			name = foldName(filter, '/')
		}
		b = b[end:]
	}
	return name, count
}

// mqttTopic refuses what a topic to publish to must not hold (section 4.7), as far as a byte alone tells.
func mqttTopic(topic []byte) bool {
	for _, x := range topic {
		if x < ' ' || x == 0x7f || x == '+' || x == '#' {
			return false
		}
	}
	return true
}

// mqttAlias looks for property 0x23 among those of a PUBLISH; 0 for none.
func mqttAlias(b []byte) uint16 {
	for len(b) > 0 {
		var n int
		switch b[0] {
		case 0x23:
			if len(b) < 3 {
				return 0
			}
			return binary.BigEndian.Uint16(b[1:])
		case 0x01: // payload format
			n = 2
		case 0x02: // message expiry
			n = 5
		case 0x0b: // subscription identifier
			_, size, err := mqttInteger(b[1:])
			if size == 0 || err != nil {
				return 0
			}
			n = 1 + size
		case 0x03, 0x08, 0x09: // content type, response topic, correlation data
			n = mqttString(b, 1)
		case 0x26: // user property
			n = mqttString(b, mqttString(b, 1))
		default:
			return 0
		}
		if n > len(b) {
			return 0
		}
		b = b[n:]
	}
	return 0
}

// mqttString is where the string that begins at i ends, beyond b if it is not there.
func mqttString(b []byte, i int) int {
	if i+2 > len(b) {
		return len(b) + 1
	}
	return i + 2 + int(binary.BigEndian.Uint16(b[i:]))
}
