package protocol

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// cqlReader reads the fields of a body. What is not there is empty, and ok says no from then on.
type cqlReader struct {
	b       []byte
	missing bool
}

func (r *cqlReader) text(n int) []byte {
	if n < 0 {
		return nil
	}
	if n > len(r.b) {
		r.missing, r.b = true, nil
		return nil
	}
	text := r.b[:n]
	r.b = r.b[n:]
	return text
}

func (r *cqlReader) byte() int {
	if b := r.text(1); len(b) == 1 {
		return int(b[0])
	}
	return 0
}

func (r *cqlReader) short() int {
	if b := r.text(2); len(b) == 2 {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *cqlReader) int() int {
	if b := r.text(4); len(b) == 4 {
		return int(int32(binary.BigEndian.Uint32(b)))
	}
	return 0
}

// preface skips what flags put before the body itself.
func (r *cqlReader) preface(d Direction, flags byte) {
	if d == FromServer {
		if flags&cqlTracing != 0 {
			r.text(16)
		}
		if flags&cqlWarning != 0 {
			for n := r.short(); n > 0 && !r.missing; n-- {
				r.text(r.short())
			}
		}
	}
	if flags&cqlCustomPayload != 0 {
		for n := r.short(); n > 0 && !r.missing; n-- {
			r.text(r.short())
			r.text(r.int())
		}
	}
}

// nameRequest finds the operation of a request. It says no when more of the body is needed.
func (c *cassandraConn) nameRequest(e *cqlEnvelope, body []byte, whole bool) (sure bool) {
	r := cqlReader{b: body}
	switch e.opcode {
	case cqlStartup:
		return whole
	case cqlQuery, cqlPrepare:
		r.preface(FromClient, e.flags)
		if e.operation, sure = r.statement(r.int()); e.opcode == cqlPrepare && e.operation != "" {
			e.prepares = e.operation
			e.operation = clip(join("PREPARE", e.operation), MaxOperation)
		}
	case cqlExecute:
		r.preface(FromClient, e.flags)
		e.operation = c.statement(r.text(r.short()))
		sure = !r.missing
	case cqlBatch:
		r.preface(FromClient, e.flags)
		if _, n := r.byte(), r.short(); n > 0 {
			var first string
			if r.byte() == 0 {
				first, sure = r.statement(r.int())
			} else {
				first, sure = c.statement(r.text(r.short())), !r.missing
			}
			e.operation = clip(join("BATCH", cqlTable(first)), MaxOperation)
		} else {
			sure = !r.missing
		}
	default:
		sure = true
	}
	return sure
}

// statement names a text of n bytes, of which only the first may be there.
func (r *cqlReader) statement(n int) (operation string, sure bool) {
	if r.missing || n < 0 {
		return "", !r.missing
	}
	text := r.b[:min(n, len(r.b))]
	whole := len(text) == n
	s := parseSQL(text, cqlSQL, whole)
	if s.Operation != "BEGIN" {
		return s.Operation, s.Sure
	}
	first, sure := cqlFirstOfBatch(text, whole)
	return clip(join("BATCH", cqlTable(first)), MaxOperation), sure
}

// cqlFirstOfBatch names the first statement between BEGIN BATCH and APPLY BATCH.
func cqlFirstOfBatch(text []byte, whole bool) (operation string, sure bool) {
	if len(text) > maxSQLText {
		text, whole = text[:maxSQLText], false
	}
	scan := sqlScanner{b: text, dialect: cqlSQL, whole: whole}
	for t := scan.next(); t.kind != sqlEnd; t = scan.next() {
		switch t.upper() {
		case "INSERT", "UPDATE", "DELETE":
			s := parseSQL(text[scan.i-len(t.text):], cqlSQL, whole)
			return s.Operation, s.Sure || len(text) == maxSQLText
		}
	}
	return "", whole || len(text) == maxSQLText
}

// cqlTable is the table of a statement that may be in a batch.
func cqlTable(operation string) string {
	kind, table, _ := strings.Cut(operation, " ")
	switch kind {
	case "INSERT", "UPDATE", "DELETE", "BATCH":
		return table
	}
	return ""
}

// cqlErrors are the error codes (section 8 of the specification).
var cqlErrors = map[int]string{
	0x0000: "server_error", 0x000a: "protocol_error", 0x0100: "bad_credentials", 0x1000: "unavailable", 0x1001: "overloaded", 0x1002: "is_bootstrapping",
	0x1003: "truncate_error", 0x1100: "write_timeout", 0x1200: "read_timeout", 0x1300: "read_failure", 0x1400: "function_failure", 0x1500: "write_failure",
	0x1600: "cdc_write_failure", 0x1700: "cas_write_unknown", 0x2000: "syntax_error", 0x2100: "unauthorized", 0x2200: "invalid", 0x2300: "config_error",
	0x2400: "already_exists", 0x2500: "unprepared",
}

// Kinds of a result.
const (
	cqlVoid         = 1
	cqlRows         = 2
	cqlSetKeyspace  = 3
	cqlPrepared     = 4
	cqlSchemaChange = 5
)

// readCQLAnswer finds the status of an answer. It says no when more of the body is needed.
func readCQLAnswer(e *cqlEnvelope, body []byte) (sure bool) {
	e.status = "ok"
	if e.opcode != cqlError && e.opcode != cqlResult {
		return true
	}
	r := cqlReader{b: body}
	r.preface(FromServer, e.flags)
	code := r.int()
	if e.opcode == cqlResult {
		if code == cqlPrepared {
			e.prepared = r.text(r.short())
		}
		return !r.missing
	}
	if e.status = cqlErrors[code]; e.status == "" {
		e.status = fmt.Sprintf("0x%04x", uint32(code))
	}
	if r.missing { // it may stay so
		e.status = "error"
	}
	return !r.missing
}

// cqlGuess tells LZ4, which has the length in 4 bytes before it, from Snappy, whose length is never a zero byte with something behind it.
func cqlGuess(raw []byte) cqlCompression {
	if len(raw) > 0 && raw[0] != 0 {
		return cqlSnappy
	}
	return cqlLZ4
}

// cqlDecompress returns the beginning of a compressed body and says whether it is all of it.
func cqlDecompress(compression cqlCompression, raw []byte) (body []byte, whole bool) {
	if compression == cqlSnappy {
		body, size := snappyPrefix(raw, cqlLook)
		return body, len(raw) > 0 && uint64(len(body)) == size
	}
	if len(raw) < 4 {
		return nil, false
	}
	size := binary.BigEndian.Uint32(raw)
	body = lz4Prefix(raw[4:], cqlLook)
	return body, uint64(len(body)) == uint64(size)
}
