package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Cassandra speaks the native protocol of CQL, versions 3 to 5, compressed or not.
//
// One Exchange is one request: QUERY and EXECUTE are the kind of statement and its table ("SELECT users"), "PREPARE SELECT users" the preparation,
// "BATCH users" a batch by its first statement, and all others go by their opcodes ("OPTIONS", "REGISTER"). A prepared statement that nobody has seen
// prepared is "EXECUTE". The status is "ok" or the name of the error code ("unprepared"), in hexadecimal if it has none. Events are not answers.
// https://github.com/apache/cassandra/blob/trunk/doc/native_protocol_v5.spec
func Cassandra() Protocol {
	shared := &table[string, string]{}
	return Protocol{Name: "cassandra", Detect: detectCassandra, New: func() Conn { return &cassandraConn{shared: shared} }}
}

// Opcodes.
const (
	cqlError         = 0x00
	cqlStartup       = 0x01
	cqlReady         = 0x02
	cqlAuthenticate  = 0x03
	cqlOptions       = 0x05
	cqlSupported     = 0x06
	cqlQuery         = 0x07
	cqlResult        = 0x08
	cqlPrepare       = 0x09
	cqlExecute       = 0x0a
	cqlRegister      = 0x0b
	cqlEvent         = 0x0c
	cqlBatch         = 0x0d
	cqlAuthChallenge = 0x0e
	cqlAuthResponse  = 0x0f
	cqlAuthSuccess   = 0x10
)

// cqlRequests and cqlResponses are the opcodes that each side may send.
var (
	cqlRequests = map[byte]string{cqlStartup: "STARTUP", cqlOptions: "OPTIONS", cqlQuery: "QUERY", cqlPrepare: "PREPARE", cqlExecute: "EXECUTE",
		cqlRegister: "REGISTER", cqlBatch: "BATCH", cqlAuthResponse: "AUTH_RESPONSE"}
	cqlResponses = map[byte]string{cqlError: "ERROR", cqlReady: "READY", cqlAuthenticate: "AUTHENTICATE", cqlSupported: "SUPPORTED", cqlResult: "RESULT",
		cqlEvent: "EVENT", cqlAuthChallenge: "AUTH_CHALLENGE", cqlAuthSuccess: "AUTH_SUCCESS"}
)

// Flags of an envelope.
const (
	cqlCompressed    = 0x01
	cqlTracing       = 0x02
	cqlCustomPayload = 0x04
	cqlWarning       = 0x08
	cqlFlags         = 0x1f // all that there are
)

const (
	cqlHeader  = 9
	cqlMaxBody = 256 << 20
	cqlLook    = 8 << 10 // bytes of a body, decompressed, that are looked at for its name
	cqlLookRaw = 8 << 10 // bytes of it as it came
	cqlSharing = 16      // bytes of an identifier that is a digest of the statement, so the same on all connections
)

// cqlCompression is what STARTUP asks for.
type cqlCompression uint8

const (
	cqlUnknown cqlCompression = iota
	cqlLZ4
	cqlSnappy
)

// cqlEnvelope is a message of the protocol; version 5 puts it into segments.
type cqlEnvelope struct {
	version, flags, opcode byte
	stream                 int16
	size                   int // of the body
	operation, status      string
	prepares               string // operation of the statement that a PREPARE prepares
	prepared               []byte // identifier that an answer gives to one
}

// cqlAsked is a request that waits.
type cqlAsked struct {
	exchange Exchange
	prepares string
}

// cqlSide is one direction.
type cqlSide struct {
	half
	envelope cqlEnvelope
	segments cqlSegments
}

type cassandraConn struct {
	sides       [2]cqlSide
	version     byte
	started     bool // STARTUP was seen, so compression is known
	compression cqlCompression
	waiting     table[int16, cqlAsked]
	statements  preparedNames[string]
	shared      *table[string, string] // operations of statements that other connections prepared, by identifier
}

// errCQLSegment says that segments begin here.
var errCQLSegment = errors.New("segment")

func (c *cassandraConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	s := &c.sides[d]
	next := func(b []byte) (int64, bool, error) { return c.read(d, b) }
	done := func() { c.got(d, emit) }
	consumed := 0
	if !s.segments.on {
		n, skip, err := s.feed(b, at, next, done)
		if !errors.Is(err, errCQLSegment) {
			return n, skip, err
		}
		consumed = n
	}
	n, skip, err := s.segments.feed(b[consumed:], func(plain []byte) (int, int64, error) { return s.feed(plain, at, next, done) })
	return consumed + n, skip, err
}

// Resync begins at an envelope or, in version 5, at a segment that begins with one: envelopes of that version are in segments wherever something was before them.
func (c *cassandraConn) Resync(d Direction, b []byte) bool {
	s := &c.sides[d]
	if c.version == 0 || c.version == 5 {
		if header, ok := checkCQLSegment(d, b, c.started, c.compression == cqlLZ4); ok {
			*s = cqlSide{segments: cqlSegments{on: true, compressed: header.compressed}}
			c.version = 5
			return true
		}
	}
	if s.segments.on || checkCQLEnvelope(d, b) != Yes || b[0]&0x7f == 5 {
		return false
	}
	*s = cqlSide{}
	return true
}

func (c *cassandraConn) Close(at int64, emit func(Exchange)) {
	for _, stream := range c.waiting.order {
		if w, ok := c.waiting.take(stream); ok {
			emit(cut(w.exchange, at))
		}
	}
	c.waiting = table[int16, cqlAsked]{}
}

// readCQLHeader reads the head of an envelope. It says no to what none can have.
func readCQLHeader(d Direction, b []byte) (e cqlEnvelope, ok bool) {
	e = cqlEnvelope{version: b[0] & 0x7f, flags: b[1], opcode: b[4], stream: int16(binary.BigEndian.Uint16(b[2:]))}
	size := binary.BigEndian.Uint32(b[5:])
	e.size = int(min(size, cqlMaxBody+1))
	known := cqlRequests
	if d == FromServer {
		known = cqlResponses
	}
	return e, b[0]>>7 == byte(d) && e.version >= 3 && e.version <= 5 && e.flags&^cqlFlags == 0 && known[e.opcode] != "" && size <= cqlMaxBody &&
		(e.stream >= 0 || d == FromServer && (e.opcode == cqlEvent || e.opcode == cqlError))
}

// read reads the head of an envelope and as much of its body as names it.
func (c *cassandraConn) read(d Direction, b []byte) (int64, bool, error) {
	if len(b) < cqlHeader {
		return 0, false, nil
	}
	if s := &c.sides[d]; !s.segments.on && c.beginsSegments(d, b, &s.segments) {
		c.version = 5
		return 0, false, errCQLSegment
	}
	e, ok := readCQLHeader(d, b)
	if !ok {
		return 0, false, fmt.Errorf("no header of CQL: %w", ErrDesync)
	}
	raw := b[cqlHeader:min(len(b), cqlHeader+e.size)]
	body, whole := c.open(&e, raw)
	final := whole || len(raw) == e.size || len(raw) >= cqlLookRaw || len(body) >= cqlLook
	var sure bool
	if d == FromClient {
		sure = c.nameRequest(&e, body, whole)
	} else {
		sure = readCQLAnswer(&e, body)
	}
	if !sure && !final {
		return 0, false, nil
	}
	if c.version == 0 {
		c.version = e.version
	}
	if d == FromClient && e.opcode == cqlStartup {
		c.started, c.version = true, e.version
		c.compression = cqlStartupCompression(body)
	}
	if e.operation == "" {
		e.operation = cqlRequests[e.opcode]
	}
	c.sides[d].envelope = e
	return cqlHeader + int64(e.size), true, nil
}

// beginsSegments says whether what comes is in segments from here on. After STARTUP of version 5 the checksum of a head is enough.
func (c *cassandraConn) beginsSegments(d Direction, b []byte, s *cqlSegments) bool {
	var head cqlSegment
	ok := false
	switch {
	case c.started && c.version == 5:
		head, ok = readCQLSegment(b, c.compression == cqlLZ4)
	case c.version == 5 || c.version == 0:
		head, ok = checkCQLSegment(d, b, false, false)
	}
	if ok {
		*s = cqlSegments{on: true, compressed: head.compressed}
	}
	return ok
}

// open returns the beginning of a body without compression and says whether it is all of it.
func (c *cassandraConn) open(e *cqlEnvelope, raw []byte) (body []byte, whole bool) {
	if e.flags&cqlCompressed == 0 || e.version == 5 {
		return raw, len(raw) == e.size
	}
	compression := c.compression
	if compression == cqlUnknown {
		compression = cqlGuess(raw)
	}
	return cqlDecompress(compression, raw)
}

// got takes the envelope that has just been read.
func (c *cassandraConn) got(d Direction, emit func(Exchange)) {
	s := &c.sides[d]
	e := &s.envelope
	if d == FromClient {
		c.ask(e.stream, cqlAsked{s.asked(e.operation), e.prepares}, emit)
		return
	}
	if e.opcode == cqlEvent {
		return
	}
	w, ok := c.waiting.take(e.stream)
	if !ok && e.status == "protocol_error" && len(c.waiting.values) == 1 { // the server may not have understood whose it is
		for stream := range c.waiting.values {
			w, ok = c.waiting.take(stream)
		}
	}
	if !ok {
		return
	}
	if w.prepares != "" && len(e.prepared) > 0 && len(e.prepared) <= maxPreparedName {
		id := string(e.prepared)
		c.statements.put(id, w.prepares)
		if len(id) == cqlSharing {
			c.shared.put(id, w.prepares)
		}
	}
	emit(s.answered(w.exchange, e.status, e.status != "ok"))
}

func (c *cassandraConn) ask(stream int16, w cqlAsked, emit func(Exchange)) {
	if again, there := c.waiting.take(stream); there { // its answer was missed
		emit(oneWay(again.exchange))
	}
	if forgotten, full := c.waiting.put(stream, w); full {
		emit(oneWay(forgotten.exchange))
	}
}

// statement is the operation of a prepared one.
func (c *cassandraConn) statement(id []byte) string {
	if operation := c.statements.get(string(id)); operation != "" || len(id) != cqlSharing {
		return operation
	}
	return c.shared.values[string(id)]
}

// cqlStartupCompression reads the options of STARTUP, a map of strings.
func cqlStartupCompression(b []byte) cqlCompression {
	r := cqlReader{b: b}
	for range min(r.short(), 64) {
		key, value := r.text(r.short()), r.text(r.short())
		if string(key) == "COMPRESSION" {
			switch strings.ToLower(string(value)) {
			case "lz4":
				return cqlLZ4
			case "snappy":
				return cqlSnappy
			}
		}
	}
	return cqlUnknown
}
