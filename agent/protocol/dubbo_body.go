package protocol

import (
	"encoding/binary"
	"strings"
)

// dubboStrings reads n strings from the front of a body; a null is an empty one. It says no if they are not all there.
func dubboStrings(serial byte, b []byte, n int) (texts [][]byte, ok bool) {
	read := hessianString
	switch serial {
	case dubboHessian2:
	case dubboFastjson2:
		read = jsonbString
	default:
		return nil, false
	}
	for range n {
		text, rest, ok := read(b)
		if !ok {
			return texts, false
		}
		texts, b = append(texts, text), rest
	}
	return texts, true
}

// dubboByte reads a small number from the front of a body.
func dubboByte(serial byte, b []byte) (byte, bool) {
	switch serial {
	case dubboHessian2:
		if len(b) > 0 && b[0] >= 0x90 && b[0] <= 0xbf {
			return b[0] - 0x90, true
		}
	case dubboFastjson2:
		item, _, ok := jsonbItem(b)
		switch {
		case !ok || len(item) == 0:
		case item[0] <= 0x2f:
			return item[0], true
		case item[0] == 0xbd && len(item) == 2:
			return item[1], true
		}
	}
	return 0, false
}

// dubboNull says whether a body is nothing but null.
func dubboNull(serial byte, b []byte) bool {
	if serial == dubboFastjson2 {
		return string(b) == "\x00\x00\x00\x01\xaf"
	}
	return string(b) == "N"
}

// hessianString reads a string or null (http://hessian.caucho.com/doc/hessian-serialization.html). Its length counts UTF-16 units, so those of more
// than one byte are walked over.
func hessianString(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 1 {
		return nil, nil, false
	}
	var n int
	switch c := b[0]; {
	case c == 'N':
		return nil, b[1:], true
	case c <= 0x1f:
		n, b = int(c), b[1:]
	case c >= 0x30 && c <= 0x33 && len(b) >= 2:
		n, b = int(c-0x30)<<8|int(b[1]), b[2:]
	case c == 'S' && len(b) >= 3:
		n, b = int(binary.BigEndian.Uint16(b[1:])), b[3:]
	default:
		return nil, nil, false
	}
	i := 0
	for ; n > 0; n-- {
		if i >= len(b) {
			return nil, nil, false
		}
		switch c := b[i]; {
		case c < 0x80:
			i++
		case c < 0xe0:
			i += 2
		case c < 0xf0:
			i += 3
		default: // two units
			i, n = i+4, n-1
		}
	}
	if i > len(b) {
		return nil, nil, false
	}
	return b[:i], b[i:], true
}

// jsonbItem reads what Dubbo's Fastjson 2 output puts behind a length of 4 bytes.
func jsonbItem(b []byte) (item, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// jsonbString reads a string of JSONB or null (https://github.com/alibaba/fastjson2/wiki/jsonb_format_en). Other encodings than ASCII and UTF-8 are empty.
func jsonbString(b []byte) (text, rest []byte, ok bool) {
	item, rest, ok := jsonbItem(b)
	if !ok || len(item) == 0 {
		return nil, rest, ok
	}
	kind, body := item[0], item[1:]
	switch {
	case kind >= 0x49 && kind <= 0x78:
		return body, rest, len(body) == int(kind-0x49)
	case kind != 0x79 && kind != 0x7a || len(body) == 0:
		return nil, rest, true
	}
	switch length := body[0]; { // the item ends where the string does
	case length <= 0x2f:
		body = body[1:]
	case length <= 0x3f:
		body = body[min(2, len(body)):]
	case length <= 0x47:
		body = body[min(3, len(body)):]
	default:
		body = nil
	}
	return body, rest, true
}

// dubboOperation makes "service.method" of the strings at the front of a request: Dubbo's version, service, its version, method.
// Of a service with a long name the end is told.
func dubboOperation(names [][]byte) string {
	if len(names) < 4 {
		return "~other"
	}
	service, method := string(names[1]), string(names[3])
	if !javaName(service, "._$-/:") || !javaName(method, "_$-.") || len(method) > MaxOperation/2 {
		return "~other"
	}
	for len(service)+1+len(method) > MaxOperation-len("callback ") {
		_, rest, found := strings.Cut(service, ".")
		if !found {
			return "~other"
		}
		service = rest
	}
	return service + "." + method
}

// javaName says whether a text is one of letters, digits and the marks, beginning with a letter or a mark.
func javaName(text, marks string) bool {
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte(marks, c) >= 0:
		case c >= '0' && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return text != ""
}
