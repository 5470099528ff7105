package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// pgKinds are the messages of each direction; those of the second list have no content.
var (
	pgKinds = [2]string{FromClient: "QPBEDCSHXFpdcf", FromServer: "RSKZTDCIEN123tnsAGHWdcvV"}
	pgPlain = [2]string{FromClient: "SHXc", FromServer: "I123nsc"}
)

// pgHeader returns how long a message is with its header, 0 if more bytes are needed.
func pgHeader(d Direction, b []byte) (int64, error) {
	if strings.IndexByte(pgKinds[d], b[0]) < 0 {
		return 0, fmt.Errorf("message of an unknown type: %w", ErrDesync)
	}
	if len(b) < 5 {
		return 0, nil
	}
	n := binary.BigEndian.Uint32(b[1:])
	plain := strings.IndexByte(pgPlain[d], b[0]) >= 0
	if n < 4 || n > pgMaxMessage || plain && n != 4 || d == FromServer && b[0] == 'Z' && n != 5 {
		return 0, fmt.Errorf("message of a wrong length: %w", ErrDesync)
	}
	return int64(n) + 1, nil
}

// pgString reads a string that ends with a zero byte. ok says that the end is there.
func pgString(b []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", nil, false
	}
	return string(b[:min(i, maxPreparedName+1)]), b[i+1:], true
}

func hasZero(b []byte) bool { return bytes.IndexByte(b, 0) >= 0 }

// pgStatement names the statement that ends with a zero byte, or with b if b is the whole message.
func pgStatement(b []byte, whole bool) sqlStatement {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return parseSQL(b[:i], postgresSQL, true)
	}
	return parseSQL(b, postgresSQL, whole)
}

// pgCut returns what stands before the first zero byte.
func pgCut(b []byte) []byte {
	text, _, _ := bytes.Cut(b, []byte{0})
	return text
}

// pgTagKind returns the kind of statement that CommandComplete tells, if it is a known one.
func pgTagKind(m pgMessage) string {
	if m.kind != 'C' {
		return ""
	}
	end := bytes.IndexAny(m.body, " \x00")
	if end < 0 || end > 24 || sqlKinds[string(m.body[:end])] == 0 {
		return ""
	}
	return string(m.body[:end])
}

// pgState returns the SQLSTATE of an ErrorResponse.
func pgState(fields []byte) string {
	for len(fields) > 1 && fields[0] != 0 {
		value, rest, ok := bytes.Cut(fields[1:], []byte{0})
		if !ok {
			break
		}
		if fields[0] == 'C' && isState(value) {
			return string(value)
		}
		fields = rest
	}
	return "error"
}

// isState says whether b is five digits and capital letters.
func isState(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(b) == 5
}

// detectPostgres knows a startup message, and messages in the middle of a connection by their content.
func detectPostgres(d Direction, b []byte) Verdict {
	if len(b) == 0 {
		return Maybe
	}
	if d == FromClient && b[0] == 0 {
		if len(b) < 8 {
			return Maybe
		}
		size, code := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		if !pgStartup(size, code) || uint64(len(b)) > uint64(size) && code != pgSSL && code != pgGSS {
			return No
		}
		if code>>16 == 3 && len(b) > 8 && (b[8] < 'a' || b[8] > 'z') {
			return No
		}
		return Yes
	}
	return checkPostgres(d, b)
}

// checkPostgres reads the messages at the front of b: Yes for one whose content proves it or two plain ones.
func checkPostgres(d Direction, b []byte) Verdict {
	plain := 0
	for n := 0; n < 16 && len(b) > 0; n++ {
		size, err := pgHeader(d, b)
		if err != nil {
			return No
		}
		if size == 0 {
			break
		}
		whole := int64(len(b)) >= size
		body := b[5:min(size, int64(len(b)))]
		switch pgCheck(d, b[0], body, whole) {
		case No:
			return No
		case Yes:
			return Yes
		}
		if plain++; plain >= 2 && whole && size > 5 || plain >= 3 {
			return Yes
		}
		if !whole {
			break
		}
		b = b[size:]
	}
	return Maybe
}

// pgCheck looks at the content of one message.
func pgCheck(d Direction, kind byte, body []byte, whole bool) Verdict {
	if d == FromClient {
		return pgCheckClient(kind, body, whole)
	}
	switch {
	case kind == 'Z':
		if whole && strings.IndexByte("ITE", body[0]) < 0 {
			return No
		}
		return sure(whole)
	case kind == 'C':
		if whole && (len(body) == 0 || body[len(body)-1] != 0) {
			return No
		}
		return sure(pgTagKind(pgMessage{kind: kind, body: body}) != "")
	case kind == 'E' || kind == 'N':
		if len(body) > 0 && strings.IndexByte("SVCM", body[0]) < 0 {
			return No
		}
		return sure(pgState(body) != "error")
	case kind == 'T':
		return pgCheckColumns(body, whole)
	case kind == 'R' && whole:
		return sure(len(body) >= 4 && binary.BigEndian.Uint32(body) <= 12 && len(body) < 2048)
	}
	return Maybe
}

func sure(yes bool) Verdict {
	if yes {
		return Yes
	}
	return Maybe
}

func pgCheckClient(kind byte, body []byte, whole bool) Verdict {
	switch kind {
	case 'P':
		_, rest, ok := pgString(body)
		if !ok {
			return Maybe
		}
		body = rest
		fallthrough
	case 'Q':
		if whole && !hasZero(body) || kind == 'Q' && whole && bytes.IndexByte(body, 0) != len(body)-1 {
			return No
		}
		return sure((whole || len(body) > 16) && looksLikeSQL(pgCut(body), postgresSQL))
	case 'E':
		if i := bytes.IndexByte(body, 0); whole && i != len(body)-5 {
			return No
		}
	case 'D', 'C':
		if whole && (len(body) < 2 || body[0] != 'S' && body[0] != 'P' || bytes.IndexByte(body, 0) != len(body)-1) {
			return No
		}
	case 'B':
		if whole {
			return pgCheckBind(body)
		}
	}
	return Maybe
}

// pgCheckColumns checks a RowDescription: each column is a name and 18 bytes.
func pgCheckColumns(body []byte, whole bool) Verdict {
	if !whole {
		return Maybe
	}
	if len(body) < 2 {
		return No
	}
	n := int(binary.BigEndian.Uint16(body))
	for body = body[2:]; n > 0; n-- {
		i := bytes.IndexByte(body, 0)
		if i < 0 || len(body) < i+19 {
			return No
		}
		body = body[i+19:]
	}
	if len(body) > 0 {
		return No
	}
	return Yes
}

// pgCheckBind checks that the counts and lengths of a Bind fill it exactly.
func pgCheckBind(body []byte) Verdict {
	for range 2 {
		i := bytes.IndexByte(body, 0)
		if i < 0 {
			return No
		}
		body = body[i+1:]
	}
	ok := true
	count := func() int {
		if len(body) < 2 {
			ok = false
			return 0
		}
		n := int(binary.BigEndian.Uint16(body))
		body = body[2:]
		return n
	}
	skip := func(n int) {
		if n > len(body) {
			ok = false
			n = len(body)
		}
		body = body[n:]
	}
	skip(2 * count())
	for n := count(); n > 0 && ok; n-- {
		if len(body) < 4 {
			return No
		}
		length := int32(binary.BigEndian.Uint32(body))
		body = body[4:]
		skip(int(max(length, 0)))
	}
	skip(2 * count())
	if !ok || len(body) > 0 {
		return No
	}
	return Yes
}
