package protocol

import (
	"encoding/binary"
	"fmt"
)

// got handles the packet that has just been read from d.
func (c *mqttConn) got(d Direction, emit func(Exchange)) {
	p, h := c.packet, &c.halves[d]
	other := FromServer - d
	switch p.kind {
	case mqttConnect:
		c.wait(mqttKey{kind: mqttConnect}, h.asked("connect"), 1, emit)
	case mqttConnack:
		c.answer(mqttKey{kind: mqttConnect}, h, p.codes, mqttConnectReason, emit)
	case mqttSubscribe:
		c.wait(mqttKey{mqttSubscribe, d, p.id}, h.asked("subscribe "+p.name), p.asks, emit)
	case mqttUnsubscribe:
		c.wait(mqttKey{mqttUnsubscribe, d, p.id}, h.asked("unsubscribe "+p.name), p.asks, emit)
	case mqttSuback:
		c.answer(mqttKey{mqttSubscribe, other, p.id}, h, p.codes, mqttReason, emit)
	case mqttUnsuback:
		if c.version != 5 && len(p.codes) == 0 {
			p.codes = []byte{0}
		}
		c.answer(mqttKey{mqttUnsubscribe, other, p.id}, h, p.codes, mqttReason, emit)
	case mqttPublish:
		c.published(d, p, emit)
	case mqttPubrec:
		if len(p.codes) > 0 && p.codes[0] >= 0x80 { // refused: nothing more follows
			c.answer(mqttKey{mqttPublish, other, p.id}, h, p.codes[:1], mqttReason, emit)
		}
	case mqttPuback, mqttPubcomp:
		c.answer(mqttKey{mqttPublish, other, p.id}, h, p.codes[:min(len(p.codes), 1)], mqttReason, emit)
	case mqttDisconnect:
		if len(p.codes) > 0 && p.codes[0] >= 0x80 {
			e := h.asked("disconnect")
			e.Status, e.Failed = mqttReason(p.codes[0]), true
			emit(oneWay(e))
		}
	}
	c.packet.codes = nil
}

func (c *mqttConn) published(d Direction, p mqttPacket, emit func(Exchange)) {
	operation := "publish "
	if d == FromServer {
		operation = "deliver "
	}
	e := c.halves[d].asked(operation + p.name)
	if p.qos == 0 {
		e.Status = "ok"
		emit(oneWay(e))
		return
	}
	c.wait(mqttKey{mqttPublish, d, p.id}, e, 1, emit)
}

func (c *mqttConn) wait(key mqttKey, e Exchange, codes int, emit func(Exchange)) {
	if again, there := c.waiting.take(key); there { // sent again after a loss, or the identifier is free again: the first is counted too
		emit(oneWay(again.exchange))
	}
	if forgotten, full := c.waiting.put(key, mqttAsked{e, codes}); full {
		emit(oneWay(forgotten.exchange))
	}
}

// answer completes what waits under key with the worst of the reason codes; in version 5 they stand behind the properties.
func (c *mqttConn) answer(key mqttKey, h *half, codes []byte, reason func(byte) string, emit func(Exchange)) {
	w, ok := c.waiting.take(key)
	if !ok {
		return
	}
	worst := byte(0)
	for _, code := range codes[max(len(codes)-w.codes, 0):] {
		worst = max(worst, code)
	}
	if worst < 0x80 && key.kind != mqttConnect {
		worst = 0 // granted QoS, "no matching subscribers" and the like
	}
	status := reason(worst)
	emit(h.answered(w.exchange, status, status != "ok"))
}

// mqttConnectReason names the return codes of version 3.1.1 too, which are below 0x80.
func mqttConnectReason(code byte) string {
	names := [...]string{"ok", "unsupported_protocol_version", "client_identifier_not_valid", "server_unavailable", "bad_user_name_or_password", "not_authorized"}
	if int(code) < len(names) {
		return names[code]
	}
	return mqttReason(code)
}

// mqttReasons are the reason codes of failure (section 2.4 of version 5).
var mqttReasons = map[byte]string{0x80: "unspecified_error", 0x81: "malformed_packet", 0x82: "protocol_error", 0x83: "implementation_specific_error",
	0x84: "unsupported_protocol_version", 0x85: "client_identifier_not_valid", 0x86: "bad_user_name_or_password", 0x87: "not_authorized",
	0x88: "server_unavailable", 0x89: "server_busy", 0x8a: "banned", 0x8b: "server_shutting_down", 0x8c: "bad_authentication_method",
	0x8d: "keep_alive_timeout", 0x8e: "session_taken_over", 0x8f: "topic_filter_invalid", 0x90: "topic_name_invalid",
	0x91: "packet_identifier_in_use", 0x92: "packet_identifier_not_found", 0x93: "receive_maximum_exceeded", 0x94: "topic_alias_invalid",
	0x95: "packet_too_large", 0x96: "message_rate_too_high", 0x97: "quota_exceeded", 0x98: "administrative_action",
	0x99: "payload_format_invalid", 0x9a: "retain_not_supported", 0x9b: "qos_not_supported", 0x9c: "use_another_server", 0x9d: "server_moved",
	0x9e: "shared_subscriptions_not_supported", 0x9f: "connection_rate_exceeded", 0xa0: "maximum_connect_time",
	0xa1: "subscription_identifiers_not_supported", 0xa2: "wildcard_subscriptions_not_supported"}

func mqttReason(code byte) string {
	if code < 0x80 {
		return "ok"
	}
	if name, ok := mqttReasons[code]; ok {
		return name
	}
	return fmt.Sprintf("reason_%#x", code)
}

// detectMQTT says yes to a CONNECT with the protocol's name, and else to packets that fill b and name a topic.
func detectMQTT(d Direction, b []byte) Verdict {
	if len(b) == 0 {
		return Maybe
	}
	if b[0] != mqttConnect<<4 {
		return mqttFits(d, b)
	}
	_, _, body, size, err := mqttHeader(b)
	switch {
	case err != nil || d != FromClient || size > 0 && body < 10:
		return No
	case size == 0 || len(b) < size+7:
		return Maybe
	}
	name := string(b[size : size+7])
	if name == "\x00\x04MQTT\x04" || name == "\x00\x04MQTT\x05" || name == "\x00\x04MQTT\x84" || name[:6] == "\x00\x06MQIs" {
		return Yes
	}
	return No
}

// mqttFits walks over the packets in b. Acknowledgements alone are too short to be sure.
func mqttFits(d Direction, b []byte) Verdict {
	verdict := Maybe
	for packets := 0; len(b) > 0 && packets < 16; packets++ {
		kind, _, body, size, err := mqttHeader(b)
		if err != nil || size > 0 && !mqttAllowed(d, kind, body) {
			return No
		}
		if size == 0 {
			return verdict
		}
		end := int64(size) + body
		fits := mqttFit(kind, b[size:min(end, int64(len(b)))], body, end <= int64(len(b)))
		if fits == No {
			return No
		}
		if fits == Yes {
			verdict = Yes
		}
		if end >= int64(len(b)) {
			return verdict
		}
		b = b[end:]
	}
	return verdict
}

// mqttFit checks what follows one header.
func mqttFit(kind byte, b []byte, body int64, whole bool) Verdict {
	switch kind {
	case mqttConnect:
		if len(b) >= 6 && string(b[2:4]) == "MQ" {
			return Yes
		}
		return No
	case mqttPublish:
		if len(b) < 2 {
			return Maybe
		}
		n := int64(binary.BigEndian.Uint16(b))
		if n+2 > body || !mqttTopic(b[2:min(n+2, int64(len(b)))]) {
			return No
		}
		if n >= 3 && int64(len(b)) >= n+2 {
			return Yes
		}
	case mqttSubscribe, mqttUnsubscribe:
		if !whole {
			return Maybe
		}
		if _, n := mqttFilters(kind, b[2:]); n > 0 {
			return Yes
		}
		n, size, err := mqttInteger(b[2:])
		if err != nil || size == 0 || int64(size)+n > int64(len(b)-2) {
			return No
		}
		if _, count := mqttFilters(kind, b[2+int64(size)+n:]); count > 0 {
			return Yes
		}
		return No
	case mqttConnack:
		if len(b) >= 1 && b[0] > 1 {
			return No
		}
	}
	return Maybe
}
