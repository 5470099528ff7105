package protocol

import (
	"fmt"
	"strconv"
)

// ClickHouse speaks the native protocol of ClickHouse; its HTTP interface is HTTP.
//
// One Exchange is one query, named by its kind and first table ("SELECT hits"), until the end of the stream or an exception; the blocks of an INSERT
// belong to it. "PING" and "TABLES_STATUS" count too, a login only when it is refused ("CONNECT"). The status is "ok" or the code of the exception.
//
// Where an answer ends is found by walking over its packets and the columns of its blocks. From what cannot be walked over on (types such as JSON and
// AggregateFunction, a revision that was not seen), its end is looked for in each piece, and at last the next query ends it, without a status.
// Connections with chunked packets are given up.
// https://clickhouse.com/docs/native-protocol/basics
func ClickHouse() Protocol {
	return Protocol{Name: "clickhouse", Detect: detectClickHouse, New: func() Conn { return &clickhouseConn{} }}
}

// Packets of the client.
const (
	chHello        = 0
	chQuery        = 1
	chCancel       = 3
	chPing         = 4
	chTablesStatus = 5
)

// Packets of the server; its Hello is 0 too.
const (
	chData           = 1
	chException      = 2
	chProgress       = 3
	chPong           = 4
	chEndOfStream    = 5
	chProfileInfo    = 6
	chTotals         = 7
	chExtremes       = 8
	chTablesAnswer   = 9
	chLog            = 10
	chTableColumns   = 11
	chPartUUIDs      = 12
	chReadTask       = 13
	chProfileEvents  = 14
	chTimezoneUpdate = 17
)

const chLook = 32 << 10 // bytes in which all that is read of one packet must lie

// Revisions of the protocol from which on packets have more in them (src/Core/ProtocolDefines.h of ClickHouse).
const (
	chWithClientInfo     = 54032
	chWithQuotaKey       = 54060
	chWithPatch          = 54401
	chWithWriteInfo      = 54420
	chWithTextSettings   = 54429
	chWithSecret         = 54441
	chWithOpenTelemetry  = 54442
	chWithForwardedFor   = 54443
	chWithReferer        = 54447
	chWithDepth          = 54448
	chWithStartTime      = 54449
	chWithReplicas       = 54453
	chWithSerialization  = 54454
	chWithAddendum       = 54458
	chWithParameters     = 54459
	chWithElapsed        = 54460
	chWithTotalBytes     = 54463
	chWithAggregation    = 54469
	chWithChunks         = 54470
	chWithReplicaVersion = 54471
	chWithRoles          = 54472
	chWithLines          = 54475
	chWithToken          = 54476
	chWithZippedEvents   = 54481
)

// chState is what the client is about.
type chState uint8

const (
	chIdle    chState = iota
	chLogin           // Hello was sent
	chWelcome         // and answered: what the client adds to it may come
	chBusy            // an exchange waits, and all that the client sends belongs to it
	chRefused         // it ended with an exception, and what the client still sends for it may come
)

// chAnswer is how far the answer to what waits is read.
type chAnswer struct {
	revision   int
	compressed bool // blocks of data are
	blind      bool // it cannot be walked over any more
	block      *chBlock
	bytes      int64
	heard      int64 // ns, its last byte
	packet     byte  // at hand
	code       int32 // of an exception
}

type clickhouseConn struct {
	halves   [2]half
	state    chState
	asked    Exchange
	login    int // revision of the client
	revision int // that both know, 0 if the handshake was not seen
	next     chRequest
	answer   chAnswer
	chunked  bool
}

func (c *clickhouseConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	if c.chunked {
		return 0, 0, fmt.Errorf("chunked packets of ClickHouse: %w", ErrDesync)
	}
	if d == FromServer {
		return c.halves[d].feed(b, at, c.readServer, func() { c.answered(emit) })
	}
	if c.state == chBusy && len(b) > 0 && b[0] == chQuery { // its end may have been missed
		switch _, verdict := readCHQuery(b, c.revision); {
		case verdict == Yes:
			c.settle(emit)
		case verdict == Maybe && c.answer.blind && len(b) < chLook:
			return 0, 0, nil
		}
	}
	return c.halves[d].feed(b, at, c.readClient, func() { c.ask() })
}

// Resync begins at a query or at a Hello. What the server says can only be walked over from the next answer on.
func (c *clickhouseConn) Resync(d Direction, b []byte) bool {
	if c.chunked || d == FromClient && detectClickHouse(d, b) != Yes {
		return false
	}
	c.halves[d] = half{}
	if d == FromServer {
		c.answer.blind, c.answer.block = true, nil
	} else if c.state != chBusy {
		c.state = chIdle
	}
	return true
}

func (c *clickhouseConn) Close(at int64, emit func(Exchange)) {
	switch {
	case c.state == chBusy && c.answer.blind && c.answer.bytes > 0:
		c.settle(emit)
	case c.state == chBusy:
		emit(cut(c.asked, at))
	}
	c.state = chIdle
}

// settle ends an exchange whose end was not recognised.
func (c *clickhouseConn) settle(emit func(Exchange)) {
	c.asked.End, c.asked.ResponseBytes = max(c.answer.heard, c.asked.Begin), c.answer.bytes
	emit(c.asked)
	c.state = chIdle
}

// readClient reads one packet, or whatever belongs to what waits.
func (c *clickhouseConn) readClient(b []byte) (size int64, whole bool, err error) {
	c.next = chRequest{}
	switch c.state {
	case chBusy:
		return int64(len(b)), true, nil
	case chWelcome:
		if c.revision >= chWithAddendum {
			return c.readAddendum(b)
		}
	}
	switch b[0] {
	case chHello:
		revision, n, verdict := readCHHello(b)
		if verdict == Yes {
			c.login, c.next.login = revision, true
			return int64(n), true, nil
		}
		if verdict == Maybe {
			return 0, false, nil
		}
	case chQuery:
		q, verdict := readCHQuery(b, c.revision)
		if verdict == Maybe && len(b) < chLook {
			return 0, false, nil
		}
		if verdict != No || c.revision != 0 && c.state != chRefused { // of a form that is not known, it is one
			c.next = q
			return int64(len(b)), true, nil
		}
	case chPing:
		if c.state != chRefused || len(b) == 1 {
			c.next.operation = "PING"
			return 1, true, nil
		}
	case chTablesStatus:
		if c.state != chRefused {
			c.next.operation = "TABLES_STATUS"
			return int64(len(b)), true, nil
		}
	case chCancel:
		return 1, true, nil
	}
	if c.state == chRefused {
		return int64(len(b)), true, nil
	}
	return 0, false, fmt.Errorf("packet %d of a client: %w", b[0], ErrDesync)
}

// readAddendum reads what a client adds to the handshake; no number stands before it.
func (c *clickhouseConn) readAddendum(b []byte) (int64, bool, error) {
	r := chReader{b: b}
	r.text() // quota key
	if c.revision >= chWithChunks {
		send, receive := string(r.text()), string(r.text())
		c.chunked = send == "chunked" || receive == "chunked"
	}
	if c.revision >= chWithReplicaVersion {
		r.number()
	}
	if r.short {
		return 0, false, nil
	}
	return int64(r.at), true, nil
}

// ask takes what has just been read from the client.
func (c *clickhouseConn) ask() {
	h := &c.halves[FromClient]
	switch {
	case c.state == chBusy:
		c.asked.RequestBytes += h.bytes
	case c.next.login:
		c.state, c.asked = chLogin, h.asked("CONNECT")
	case c.next.operation != "":
		c.state, c.asked = chBusy, h.asked(c.next.operation)
		c.answer = chAnswer{revision: c.next.revision, compressed: c.next.compressed, blind: c.next.guessed}
	case c.state == chWelcome:
		c.state = chIdle
	}
}

// readServer reads one packet or a part of it. What nobody asked for, and all behind a Hello until the client speaks, needs no reading.
func (c *clickhouseConn) readServer(b []byte) (size int64, whole bool, err error) {
	a := &c.answer
	switch {
	case c.state != chBusy && c.state != chLogin:
		a.packet = chHello
		return int64(len(b)), true, nil
	case c.state == chLogin:
		return c.readWelcome(b)
	case !a.blind:
		if size, whole, err = a.read(b); err == nil {
			return size, whole, nil
		}
		a.blind, a.block = true, nil
	}
	a.packet, a.code = a.search(b)
	return int64(len(b)), true, nil
}

// readWelcome reads the answer to a Hello.
func (c *clickhouseConn) readWelcome(b []byte) (int64, bool, error) {
	r := chReader{b: b[1:]}
	switch c.answer.packet = b[0]; b[0] {
	case chHello:
		r.text()
		r.number()
		r.number()
		revision := int(min(r.number(), 1<<20))
		if r.short {
			return 0, false, nil
		}
		c.revision = min(c.login, revision)
		return int64(len(b)), true, nil
	case chException:
		c.answer.code = int32(r.fixed(4))
		if r.short {
			return 0, false, nil
		}
		return int64(len(b)), true, nil
	}
	return 0, false, fmt.Errorf("packet %d of a server at the login: %w", b[0], ErrDesync)
}

// answered takes what has just been read from the server.
func (c *clickhouseConn) answered(emit func(Exchange)) {
	h, a := &c.halves[FromServer], &c.answer
	if c.state == chLogin && a.packet == chHello {
		c.state = chWelcome
		return
	}
	if c.state != chBusy && c.state != chLogin {
		return
	}
	a.bytes += h.bytes
	a.heard = h.end
	status := "ok"
	switch a.packet {
	case chException:
		status = strconv.Itoa(int(a.code))
	case chEndOfStream, chPong, chTablesAnswer:
	default:
		return
	}
	e := h.answered(c.asked, status, status != "ok")
	e.ResponseBytes = a.bytes
	if c.state = chIdle; status != "ok" {
		c.state = chRefused
	}
	emit(e)
}
