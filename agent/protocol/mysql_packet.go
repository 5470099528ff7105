package protocol

import (
	"bytes"
	"encoding/binary"
)

// readPacket reads the header of a packet; b has at least 4 bytes.
func readPacket(b []byte) mysqlPacket {
	p := mysqlPacket{n: int(b[0]) | int(b[1])<<8 | int(b[2])<<16, seq: b[3]}
	p.body = b[4:min(4+p.n, len(b))]
	return p
}

// lengthEncoded reads an integer of 1 to 9 bytes.
func lengthEncoded(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	var size int
	switch b[0] {
	case 0xfb, 0xff:
		return 0, nil, false
	case 0xfc:
		size = 2
	case 0xfd:
		size = 3
	case 0xfe:
		size = 8
	default:
		return uint64(b[0]), b[1:], true
	}
	if len(b) < 1+size {
		return 0, nil, false
	}
	for i := size; i > 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n, b[1+size:], true
}

// okStatus returns the status flags of an OK packet.
func okStatus(b []byte) (status uint16, ok bool) {
	if len(b) < 1 {
		return 0, false
	}
	b = b[1:]
	for range 2 {
		if _, b, ok = lengthEncoded(b); !ok {
			return 0, false
		}
	}
	if len(b) < 4 {
		return 0, false
	}
	return binary.LittleEndian.Uint16(b), true
}

// isColumn says whether a packet defines a column: its catalog is always "def".
func isColumn(p mysqlPacket) bool { return bytes.HasPrefix(p.body, []byte("\x03def")) }

// greeting reads the server's capabilities from its first packet.
func greeting(b []byte) (offers uint32, ok bool) {
	if len(b) < 1 || b[0] != 10 {
		return 0, false
	}
	end := bytes.IndexByte(b, 0)
	if end < 2 || end > 64 || len(b) < end+21 || b[end+13] != 0 {
		return 0, false
	}
	for _, c := range b[1:end] {
		if c < ' ' || c > '~' {
			return 0, false
		}
	}
	rest := b[end+14:]
	return uint32(binary.LittleEndian.Uint16(rest)) | uint32(binary.LittleEndian.Uint16(rest[5:]))<<16, true
}

// mysqlFixed is how many bytes a value of a type has in the binary protocol; types that are not here have a length before them.
var mysqlFixed = map[byte]int{1: 1, 2: 2, 13: 2, 3: 4, 9: 4, 4: 4, 5: 8, 8: 8, 6: 0}

// withoutAttributes returns the text of a COM_QUERY. Clients of MySQL 8.0.23 and later put attributes before it: their count, the number 1,
// and if there are any a null bitmap, a 1, types and names, and values.
func withoutAttributes(b []byte) (text []byte, ok bool) {
	if len(b) < 2 || b[0] >= 0x20 || b[1] != 1 {
		return b, true
	}
	n := int(b[0])
	if b = b[2:]; n == 0 {
		return b, true
	}
	nulls := b
	if b, ok = drop(b, uint64(n+7)/8+1); !ok || nulls[(n+7)/8] != 1 {
		return nil, false
	}
	types := make([]byte, n) // n is below 32
	for i := range types {
		if len(b) < 2 {
			return nil, false
		}
		types[i] = b[0]
		length, rest, good := lengthEncoded(b[2:])
		if b, ok = drop(rest, length); !good || !ok {
			return nil, false
		}
	}
	for i, kind := range types {
		if nulls[i/8]&(1<<(i%8)) != 0 {
			continue
		}
		length, rest := uint64(mysqlFixed[kind]), b
		if _, fixed := mysqlFixed[kind]; !fixed {
			if length, rest, ok = lengthEncoded(b); !ok {
				return nil, false
			}
		}
		if b, ok = drop(rest, length); !ok {
			return nil, false
		}
	}
	return b, true
}

// drop returns b without its first n bytes.
func drop(b []byte, n uint64) ([]byte, bool) {
	if n > uint64(len(b)) {
		return nil, false
	}
	return b[n:], true
}

func detectMySQL(d Direction, b []byte) Verdict {
	if len(b) < 5 {
		return Maybe
	}
	return checkMySQL(d, b)
}

// checkMySQL looks at the packet at the front of b.
func checkMySQL(d Direction, b []byte) Verdict {
	if len(b) < 5 {
		return Maybe
	}
	p := readPacket(b)
	if p.n == 0 {
		return No
	}
	if d == FromServer {
		return checkMySQLServer(b, p)
	}
	if p.seq == 1 {
		return checkMySQLLogin(p)
	}
	if p.seq != 0 || mysqlCommands[p.body[0]] == "" {
		return No
	}
	exact := len(b) == p.n+4
	switch p.body[0] {
	case comQuery, comPrepare:
		text, ok := withoutAttributes(p.body[1:])
		if !ok || len(b) < min(p.n+4, 20) {
			return Maybe
		}
		if !looksLikeSQL(text, mysqlSQL) {
			return No
		}
		return Yes
	case comExecute:
		if len(p.body) < 10 {
			return Maybe
		}
		return either(exact && p.body[5] < 16 && binary.LittleEndian.Uint32(p.body[6:]) == 1)
	case comCloseStmt:
		if p.n != 5 {
			return No
		}
		if len(b) > 9 {
			return checkMySQL(d, b[9:])
		}
		return Maybe
	}
	if p.n > 1024 || len(b) > p.n+4 {
		return No
	}
	return Maybe
}

func either(yes bool) Verdict {
	if yes {
		return Yes
	}
	return No
}

// checkMySQLLogin knows the client's answer to the greeting by its capabilities and 23 zero bytes (MariaDB uses the last four).
func checkMySQLLogin(p mysqlPacket) Verdict {
	if p.n < 32 || p.n > 1<<16 {
		return No
	}
	if len(p.body) < 32 {
		return Maybe
	}
	wants := binary.LittleEndian.Uint32(p.body)
	return either(wants&mysqlProto41 != 0 && bytes.Equal(p.body[9:28], make([]byte, 19)))
}

// checkMySQLServer knows a greeting, an error, a result and a plain OK or end.
func checkMySQLServer(b []byte, p mysqlPacket) Verdict {
	exact := len(b) == p.n+4
	kind := p.body[0]
	switch {
	case p.seq == 0 && kind == 10:
		if len(p.body) < min(p.n, 256) {
			return Maybe
		}
		_, ok := greeting(p.body)
		return either(ok && p.n < 1024)
	case kind == 0xff && p.n >= 3:
		if len(p.body) < min(p.n, 9) {
			return Maybe
		}
		code := binary.LittleEndian.Uint16(p.body[1:])
		return either(code >= 1000 && code < 6000 && (p.n < 9 || p.seq == 0 || p.body[3] == '#' && isState(p.body[4:9])))
	case p.seq == 0:
		return No
	case kind == 0xfe && p.n == 5:
		return sure(exact && len(p.body) == 5)
	case (p.n <= 4 || p.n == 12 && p.seq == 1 && kind == 0) && len(b) >= p.n+12: // columns of a result or of a prepared statement
		next := readPacket(b[p.n+4:])
		return either(next.seq == p.seq+1 && isColumn(next))
	case kind == 0 && p.n == 12 && p.seq == 1 && exact && string(p.body[5:12]) == "\x00\x00\x00\x00\x00\x00\x00": // prepared, without any
		return Yes
	case (kind == 0 || kind == 0xfe) && p.n >= 7:
		status, ok := okStatus(p.body)
		return sure(exact && ok && p.n < 1024 && status&3 != 0 && status < 1<<15)
	case p.seq == 1 && p.n <= 4:
		return Maybe
	}
	return No
}
