package protocol

import (
	"encoding/binary"
	"fmt"
)

// PostgreSQL is the frontend/backend protocol 3.
//
// One Exchange is one simple Query (whatever number of statements it holds; the first names it), one Execute of the extended protocol,
// one function call, or a cancel request (without an answer). Parse, Bind, Describe and Close count only when they fail, and a login
// only when it is refused ("CONNECT"). Statements that the server skips after an error, up to the next Sync, have the status "aborted".
// A connection that changes to TLS goes on where its plain text is seen; cipher text and GSSAPI encryption are given up.
// https://www.postgresql.org/docs/current/protocol-message-formats.html
func PostgreSQL() Protocol {
	return Protocol{Name: "postgres", Detect: detectPostgres, New: func() Conn { return &postgresConn{} }, Framing: FramedPG, Matched: MatchedPostgres}
}

// Codes that stand where a startup message has its version.
const (
	pgVersion3 = 3 << 16
	pgCancel   = 1234<<16 | 5678
	pgSSL      = 1234<<16 | 5679
	pgGSS      = 1234<<16 | 5680
)

const (
	pgMaxStartup = 10000   // PostgreSQL's own MAX_STARTUP_PACKET_LENGTH
	pgMaxMessage = 1 << 30 // and PQ_LARGE_MESSAGE_LIMIT, about
)

// pgMessage is the message at hand: its beginning, as far as it is needed.
type pgMessage struct {
	kind    byte   // 0 for a startup message, 1 for the single byte that answers a request for encryption
	body    []byte // without kind and length; may be cut
	code    uint32 // of a startup message
	name    string // of the statement that Parse prepares
	text    string // operation of Query and Parse
	present bool   // body is whole
}

type postgresConn struct {
	halves     [2]half
	msg        pgMessage
	at         int64
	emit       func(Exchange)
	batches    pgBatches
	statements preparedNames[string]
	portals    preparedNames[string]
	learn      func(key uint64, operation string) // see Preparer
	changes    int                                // of statements that have a name

	typed     bool     // a message other than a startup message has come from the client
	starting  bool     // a startup message has come, the server is not ready yet
	startup   Exchange // told if the server refuses it
	asked     bool     // the client asked for encryption
	changing  bool     // the server agreed to TLS: what comes is cipher text, or the plain text that was in it
	encrypted bool
	lost      [2]bool // bytes of a direction were missed
}

func (c *postgresConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	if c.encrypted {
		return 0, 0, fmt.Errorf("encrypted PostgreSQL: %w", ErrDesync)
	}
	c.at, c.emit = at, emit
	if c.lost[FromClient] || c.lost[FromServer] {
		c.batches.giveUp(emit, at, !c.lost[FromClient])
		c.lost = [2]bool{}
	}
	h := &c.halves[d]
	next, done := c.nextClient, c.client
	if d == FromServer {
		next, done = c.nextServer, c.server
	}
	consumed, skip, err := h.feed(b, at, next, func() { done(h) })
	c.msg, c.emit = pgMessage{}, nil
	if err == nil && c.encrypted {
		err = fmt.Errorf("connection changes to encryption: %w", ErrDesync)
	}
	return consumed, skip, err
}

// Resync wants a message with a content that can be checked, or two plain ones. After missed bytes of the server only the last batch that
// waits is kept.
func (c *postgresConn) Resync(d Direction, b []byte) bool {
	if c.encrypted || checkPostgres(d, b) != Yes {
		return false
	}
	c.halves[d].open = false
	c.lost[d] = true
	return true
}

func (c *postgresConn) Close(at int64, emit func(Exchange)) { c.batches.cut(emit, at) }

// nextClient reads one message of the client. Only the beginning of a statement is waited for.
func (c *postgresConn) nextClient(b []byte) (int64, bool, error) {
	if c.encrypted {
		return 0, false, fmt.Errorf("encrypted PostgreSQL: %w", ErrDesync)
	}
	if c.isCipherText(b) {
		return 0, false, nil
	}
	if b[0] == 0 && !c.typed {
		return c.nextStartup(b)
	}
	size, err := pgHeader(FromClient, b)
	if size == 0 || err != nil {
		return 0, false, err
	}
	m := pgMessage{kind: b[0], body: b[5:min(size, int64(len(b)))], present: int64(len(b)) >= size}
	switch m.kind {
	case 'Q':
		s := pgStatement(m.body, m.present)
		m.text = s.Operation
		if !m.present && !s.Sure {
			return 0, false, nil
		}
		c.learnt(m.body, s)
	case 'P':
		name, rest, ok := pgString(m.body)
		s := pgStatement(rest, m.present)
		m.name, m.text = name, s.Operation
		if !m.present && len(m.body) < 2*maxSQLText && (!ok || !s.Sure) {
			return 0, false, nil
		}
		c.learnt(rest, s)
	case 'B', 'E', 'D', 'C':
		if !m.present && len(m.body) < 2*maxSQLText {
			if _, rest, ok := pgString(m.body); !ok || m.kind == 'B' && len(rest) < maxSQLText && !hasZero(rest) {
				return 0, false, nil
			}
		}
	}
	c.typed = true
	c.msg = m
	return size, true, nil
}

// isCipherText reports whether the TLS that was agreed to is not looked into. No message of the protocol begins as a TLS record does.
func (c *postgresConn) isCipherText(b []byte) bool {
	if c.changing && b[0] >= 0x14 && b[0] <= 0x17 {
		c.encrypted = true
	}
	return c.encrypted
}

// nextStartup reads a message without a type: the first of a connection, or a request for encryption before it.
func (c *postgresConn) nextStartup(b []byte) (int64, bool, error) {
	if len(b) < 8 {
		return 0, false, nil
	}
	size, code := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if !pgStartup(size, code) {
		return 0, false, fmt.Errorf("startup message: %w", ErrDesync)
	}
	c.msg = pgMessage{code: code}
	return int64(size), true, nil
}

// pgStartup checks length and code of a startup message against each other.
func pgStartup(size, code uint32) bool {
	switch code {
	case pgSSL, pgGSS:
		return size == 8
	case pgCancel:
		return size >= 16 && size <= 268
	}
	return code>>16 == 3 && code&0xffff < 10 && size > 8 && size <= pgMaxStartup
}

// nextServer reads one message of the server.
func (c *postgresConn) nextServer(b []byte) (int64, bool, error) {
	if c.isCipherText(b) {
		return 0, false, nil
	}
	if c.asked && (b[0] == 'S' || b[0] == 'N' || b[0] == 'G') {
		c.msg = pgMessage{kind: 1, body: b[:1]}
		return 1, true, nil
	}
	size, err := pgHeader(FromServer, b)
	if size == 0 || err != nil {
		return 0, false, err
	}
	var want int64
	switch b[0] {
	case 'C':
		want = min(size, 64)
	case 'E':
		want = min(size, 1024)
	default:
		want = 5
	}
	if int64(len(b)) < want {
		return 0, false, nil
	}
	c.msg = pgMessage{kind: b[0], body: b[5:min(size, int64(len(b)))]}
	return size, true, nil
}

// client takes the message that was read from the client.
func (c *postgresConn) client(h *half) {
	m := c.msg
	switch m.kind {
	case 0:
		c.startupMessage(h)
	case 'Q':
		c.unit(h, pgUnit{Exchange: h.asked(m.text), exec: true, simple: true, sync: true})
	case 'F':
		c.unit(h, pgUnit{Exchange: h.asked("FUNCTION"), exec: true, simple: true, sync: true})
	case 'P':
		if len(m.name) <= maxPreparedName {
			c.statements.put(m.name, m.text)
			if m.name != "" {
				c.changes++
			}
		}
		c.batches.parse(c, h, m.text)
	case 'B':
		portal, rest, _ := pgString(m.body)
		statement, _, _ := pgString(rest)
		op := c.statements.get(statement)
		if len(portal) <= maxPreparedName {
			c.portals.put(portal, op)
		}
		c.batches.step(c, h, op, true)
	case 'D', 'C':
		c.describeOrClose(h)
	case 'E':
		portal, _, _ := pgString(m.body)
		c.batches.execute(c, h, c.portals.get(portal))
	case 'S':
		c.batches.sync(c, h)
	case 'd', 'c', 'f':
		c.batches.copyData(h, m.kind != 'd')
	}
}

func (c *postgresConn) unit(h *half, u pgUnit) {
	c.batches.push(u, c.emit, h.end)
}

func (c *postgresConn) describeOrClose(h *half) {
	op := ""
	if len(c.msg.body) > 1 {
		name, _, _ := pgString(c.msg.body[1:])
		names := &c.statements
		if c.msg.body[0] == 'P' {
			names = &c.portals
		}
		op = names.get(name)
		if c.msg.kind == 'C' {
			names.drop(name)
		}
	}
	c.batches.step(c, h, op, false)
}

func (c *postgresConn) startupMessage(h *half) {
	switch c.msg.code {
	case pgSSL, pgGSS:
		c.asked = true
	case pgCancel:
		c.emit(oneWay(h.asked("CANCEL")))
	default:
		c.starting, c.startup = true, h.asked("CONNECT")
		c.asked, c.changing = false, false
	}
}

// server takes the message that was read from the server.
func (c *postgresConn) server(h *half) {
	m := c.msg
	switch m.kind {
	case 1:
		c.asked = false
		c.encrypted = m.body[0] == 'G'
		c.changing = m.body[0] == 'S'
	case 'N', 'S', 'A', 'K', 'R', 'v': // notices, parameters, notifications and the login come at any time
	case 'Z':
		if c.starting {
			c.starting = false
			return
		}
		c.batches.ready(h, c.emit)
	case 'E':
		c.failure(h)
	case '1':
		c.batches.parsed()
		c.batches.more(h)
	case 'C', 'I', 's':
		c.batches.complete(h, pgTagKind(m))
	case 'G':
		c.batches.copyIn(h)
	default:
		c.batches.more(h)
	}
}

// failure takes an ErrorResponse. Before the server is ready it refuses the login; without anything that waits it tells why
// the connection ends.
func (c *postgresConn) failure(h *half) {
	state := pgState(c.msg.body)
	if c.starting {
		c.emit(h.answered(c.startup, state, true))
		c.starting = false
		return
	}
	c.batches.fail(h, state)
}
