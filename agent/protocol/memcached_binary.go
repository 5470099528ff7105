package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
)

// First bytes of binary messages, and the length of their heads.
const (
	memcachedRequest  = 0x80
	memcachedResponse = 0x81
	memcachedHead     = 24
)

// memcachedOpcodes are the operations of the binary protocol, with the status that silence means for the quiet ones.
var memcachedOpcodes = map[byte]struct{ name, quiet string }{
	0x00: {"get", ""}, 0x01: {"set", ""}, 0x02: {"add", ""}, 0x03: {"replace", ""}, 0x04: {"delete", ""}, 0x05: {"incr", ""},
	0x06: {"decr", ""}, 0x07: {"quit", ""}, 0x08: {"flush_all", ""}, 0x09: {"get", "miss"}, 0x0a: {"noop", ""}, 0x0b: {"version", ""},
	0x0c: {"get", ""}, 0x0d: {"get", "miss"}, 0x0e: {"append", ""}, 0x0f: {"prepend", ""}, 0x10: {"stats", ""}, 0x11: {"set", "stored"},
	0x12: {"add", "stored"}, 0x13: {"replace", "stored"}, 0x14: {"delete", "deleted"}, 0x15: {"incr", "ok"}, 0x16: {"decr", "ok"},
	0x17: {"quit", "ok"}, 0x18: {"flush_all", "ok"}, 0x19: {"append", "stored"}, 0x1a: {"prepend", "stored"}, 0x1b: {"verbosity", ""},
	0x1c: {"touch", ""}, 0x1d: {"gat", ""}, 0x1e: {"gat", "miss"}, 0x20: {"sasl_list", ""}, 0x21: {"sasl_auth", ""},
	0x22: {"sasl_step", ""}, 0x23: {"gat", ""}, 0x24: {"gat", "miss"},
}

// memcachedHeader checks the head at the front of b; body is 0 bytes or more, size 0 if the head is not whole.
func memcachedHeader(b []byte, magic byte) (body int64, size int, err error) {
	if b[0] != magic || len(b) > 5 && b[5] != 0 {
		return 0, 0, fmt.Errorf("no binary head: %w", ErrDesync)
	}
	if len(b) < memcachedHead {
		return 0, 0, nil
	}
	body = int64(binary.BigEndian.Uint32(b[8:]))
	if body < int64(binary.BigEndian.Uint16(b[2:]))+int64(b[4]) || body > memcachedMaxItem {
		return 0, 0, fmt.Errorf("body of %d bytes: %w", body, ErrDesync)
	}
	return body, memcachedHead, nil
}

func (c *memcachedConn) readBinaryRequest(b []byte) (int64, bool, error) {
	c.special = true
	body, size, err := memcachedHeader(b, memcachedRequest)
	if size == 0 || err != nil {
		return 0, false, err
	}
	operation, ok := memcachedOpcodes[b[1]]
	if !ok {
		operation.name = "~other"
	}
	c.request = memcachedAsked{quiet: operation.quiet, opcode: b[1], opaque: uint64(binary.BigEndian.Uint32(b[12:]))}
	c.request.exchange.Operation = operation.name
	return int64(size) + body, true, nil
}

// readBinaryAnswer reads one message. The answers to a stat follow each other until one without a key.
func (c *memcachedConn) readBinaryAnswer(b []byte) (int64, bool, error) {
	body, size, err := memcachedHeader(b, memcachedResponse)
	if size == 0 || err != nil {
		return 0, false, err
	}
	c.binary, c.opcode, c.code = true, b[1], binary.BigEndian.Uint16(b[6:])
	c.opaque = uint64(binary.BigEndian.Uint32(b[12:]))
	more := b[1] == 0x10 && c.code == 0 && binary.BigEndian.Uint16(b[2:]) > 0
	return int64(size) + body, !more, nil
}

func memcachedBinaryStatus(operation string, code uint16) (string, bool) {
	switch code {
	case 0:
		return memcachedDone(operation), false
	case 1:
		if operation == "get" || operation == "gat" {
			return "miss", false
		}
		return "not_found", false
	case 2:
		return "exists", false
	case 5:
		return "not_stored", false
	case 0x20:
		return "auth_error", true
	case 0x21:
		return "auth_continue", false
	}
	names := map[uint16]string{3: "too_large", 4: "invalid_arguments", 6: "not_a_number", 7: "wrong_server", 0x81: "unknown_command",
		0x82: "out_of_memory", 0x83: "not_supported", 0x84: "internal_error", 0x85: "busy", 0x86: "temporary_failure"}
	if name, ok := names[code]; ok {
		return name, true
	}
	return "error", true
}

func memcachedDone(operation string) string {
	switch operation {
	case "get", "gat":
		return "hit"
	case "set", "add", "replace", "append", "prepend":
		return "stored"
	case "delete":
		return "deleted"
	case "touch":
		return "touched"
	}
	return "ok"
}

// hashBytes stands for a value that is only compared.
func hashBytes(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

func detectMemcached(d Direction, b []byte) Verdict {
	if len(b) == 0 {
		return Maybe
	}
	if b[0] == memcachedRequest || b[0] == memcachedResponse {
		return detectMemcachedBinary(d, b)
	}
	if word, _, _ := bytes.Cut(b[:min(len(b), maxFoldToken)], []byte{' '}); len(word) == maxFoldToken && bytes.IndexByte(word, '\n') < 0 {
		return No
	}
	line, size := cutLine(b[:min(len(b), memcachedMaxLine)])
	if size == 0 {
		line = b[:min(len(b), memcachedMaxLine)]
	}
	word, rest, space := bytes.Cut(line, []byte{' '})
	if d == FromServer {
		return detectMemcachedAnswer(string(word[:min(len(word), maxFoldToken)]), rest, size)
	}
	for _, x := range word {
		if (x < 'a' || x > 'z') && x != '_' {
			return No
		}
	}
	if size == 0 && !space && len(word) < len("cache_memlimit") {
		return Maybe
	}
	kind := memcachedCommands[string(word)]
	if kind == 0 {
		return No
	}
	if size == 0 {
		return Maybe
	}
	fields := memcachedFields(rest)
	switch {
	case b[size-1] != '\n' || size < 2 || b[size-2] != '\r':
		return No
	case kind == memcachedStore && (len(fields) < 4 || memcachedBody(fields, 3) == 0), kind == memcachedRead && len(fields) == 0:
		return No
	case string(word) == "quit", string(word) == "shutdown": // other text protocols have them too
		return Maybe
	case kind == memcachedPlain && len(fields) == 0 && string(word) != "version" && string(word) != "flush_all":
		return No
	}
	return Yes
}

func detectMemcachedAnswer(word string, rest []byte, size int) Verdict {
	switch word {
	case "VALUE", "VA":
		if size == 0 {
			return Maybe
		}
		if fields := memcachedFields(rest); memcachedBody(fields, 2) > 0 || word == "VA" && memcachedBody(fields, 0) > 0 {
			return Yes
		}
	case "STORED", "NOT_STORED", "DELETED", "NOT_FOUND", "TOUCHED", "CLIENT_ERROR", "SERVER_ERROR", "VERSION", "STAT", "END", "EXISTS", "HD", "EN":
		if size > 0 {
			return Yes
		}
		return Maybe
	}
	if size == 0 && len(word) < 12 && len(rest) == 0 {
		return Maybe
	}
	return No
}

func detectMemcachedBinary(d Direction, b []byte) Verdict {
	magic := byte(memcachedRequest)
	if d == FromServer {
		magic = memcachedResponse
	}
	body, size, err := memcachedHeader(b, magic)
	if err != nil {
		return No
	}
	if size == 0 {
		return Maybe
	}
	if _, known := memcachedOpcodes[b[1]]; !known || d == FromServer && binary.BigEndian.Uint16(b[6:]) > 0x86 {
		return No
	}
	if next := int64(size) + body; next < int64(len(b)) && b[next] != magic {
		return No
	}
	return Yes
}
