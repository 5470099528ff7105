package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Opcodes of the MongoDB wire protocol. Those of 2010 and 2011, which servers of version 3.2 to 4.0 spoke among themselves, are not read.
const (
	mongoReply       = 1
	mongoUpdate      = 2001
	mongoInsert      = 2002
	mongoQuery       = 2004
	mongoGetMore     = 2005
	mongoDelete      = 2006
	mongoKillCursors = 2007
	mongoCompressed  = 2012
	mongoMsg         = 2013
)

const (
	mongoMaxSize    = 48e6 // bytes of a message that servers take
	mongoHeaderSize = 16
	mongoMaxName    = 1024 // bytes of a field's name or a namespace
	mongoMaxWindow  = 1024 // bytes of an array of errors that are looked at

	mongoChecksum      = 1 << 0 // flags of OP_MSG
	mongoMoreToCome    = 1 << 1
	mongoExhaust       = 1 << 16
	mongoKnownFlags    = mongoChecksum | mongoMoreToCome | mongoExhaust
	mongoOptionalFlags = 0xffff0000 // those that a reader may pass over

	mongoCursorNotFound = 1 << 0 // flags of OP_REPLY
	mongoQueryFailure   = 1 << 1
)

// MongoDB speaks OP_MSG, OP_COMPRESSED and the older opcodes (https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/).
// An operation is the command and its collection without the database, "find users". What a client sends with moreToCome set, and the older
// OP_INSERT, OP_UPDATE and OP_DELETE, has no answer. Each answer of an exhaust cursor beyond the first counts as the server counts it:
// as one more command, without a duration.
func MongoDB() Protocol {
	unpackers := newMongoUnpackers()
	return Protocol{Name: "mongodb", Detect: detectMongo, New: func() Conn { return &mongoConn{unpackers: unpackers} }, Framing: FramedMongo}
}

// mongoAsked is a command that waits for its answer.
type mongoAsked struct {
	exchange Exchange
	plain    bool // the answer holds documents of the database, and no "ok"
	pushed   bool // an answer of an exhaust cursor that nobody asks for
}

type mongoConn struct {
	unpackers *mongoUnpackers
	halves    [2]half
	messages  [2]mongoMessage
	waiting   table[int32, mongoAsked] // by requestID
}

func (c *mongoConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	read := func(b []byte) (int64, bool, error) { return c.read(d, b) }
	return c.halves[d].feed(b, at, read, func() { c.got(d, emit) })
}

func (c *mongoConn) Resync(d Direction, b []byte) bool {
	if detectMongo(d, b) != Yes {
		return false
	}
	c.halves[d], c.messages[d] = half{}, mongoMessage{}
	return true
}

func (c *mongoConn) Close(at int64, emit func(Exchange)) {
	for _, w := range c.waiting.values {
		if !w.pushed {
			emit(cut(w.exchange, at))
		}
	}
	c.waiting = table[int32, mongoAsked]{}
}

// Pass ends the message at hand, of which nothing more is read.
func (c *mongoConn) Pass(d Direction, b []byte, n int64, at int64, emit func(Exchange)) (int64, bool) {
	m, h := &c.messages[d], &c.halves[d]
	if n += int64(len(b)); !h.open || h.bytes == 0 || n > m.left {
		return 0, false
	}
	if m.op == mongoCompressed && (len(b) < mongoPackedHead || c.unpackers.read(m, b) != nil) {
		return 0, false
	}
	return h.pass(n, m.left-n, at, func() { c.got(d, emit) }), true
}

// read reads the header of a message or the next part of its body.
func (c *mongoConn) read(d Direction, b []byte) (int64, bool, error) {
	m := &c.messages[d]
	if c.halves[d].bytes == 0 {
		size, err := m.header(d, b)
		return size, false, err
	}
	if m.op == mongoCompressed {
		want, err := m.packed(b)
		if want == 0 || err != nil {
			return 0, false, err
		}
		return m.left, true, c.unpackers.read(m, b[:want])
	}
	size, done, err := m.part(b)
	if err != nil || size == 0 && !done {
		return 0, false, err
	}
	if size > m.left {
		return 0, false, fmt.Errorf("section of %d bytes in a message with %d: %w", size, m.left, ErrDesync)
	}
	if done {
		return m.left, true, nil
	}
	m.left -= size
	return size, m.left == 0, nil
}

// header reads length, requestID, responseTo and opcode.
func (m *mongoMessage) header(d Direction, b []byte) (int64, error) {
	if len(b) < mongoHeaderSize {
		return 0, nil
	}
	size := int64(int32(binary.LittleEndian.Uint32(b)))
	*m = mongoMessage{
		answer: d == FromServer, left: size - mongoHeaderSize,
		id: int32(binary.LittleEndian.Uint32(b[4:])), to: int32(binary.LittleEndian.Uint32(b[8:])), op: int32(binary.LittleEndian.Uint32(b[12:])),
	}
	if size > mongoMaxSize || m.left < mongoLeast(m.op, d) {
		return 0, fmt.Errorf("message of %d bytes with opcode %d: %w", size, m.op, ErrDesync)
	}
	return mongoHeaderSize, nil
}

// mongoLeast is how many bytes the body of an opcode has at least; more than any has if d never sends it.
func mongoLeast(op int32, d Direction) int64 {
	switch {
	case op == mongoMsg:
		return 4 + 1 + 5
	case op == mongoCompressed:
		return 4 + 4 + 1 + 1
	case op == mongoReply && d == FromServer:
		return 20
	case d == FromServer:
	case op == mongoQuery:
		return 4 + 1 + 8 + 5
	case op == mongoGetMore:
		return 4 + 1 + 4 + 8
	case op == mongoInsert, op == mongoUpdate, op == mongoDelete:
		return 4 + 1 + 4 + 5
	case op == mongoKillCursors:
		return 8
	}
	return mongoMaxSize
}

// got handles the message that has just been read from d.
func (c *mongoConn) got(d Direction, emit func(Exchange)) {
	m, h := &c.messages[d], &c.halves[d]
	if d == FromServer {
		c.answered(m, h, emit)
		return
	}
	e := h.asked(m.operation())
	if m.oneWay() {
		e.Status = "ok"
		emit(oneWay(e))
		return
	}
	c.wait(m.id, mongoAsked{exchange: e, plain: m.plain}, emit)
}

func (c *mongoConn) wait(id int32, w mongoAsked, emit func(Exchange)) {
	if again, there := c.waiting.take(id); there && !again.pushed {
		emit(oneWay(again.exchange))
	}
	if forgotten, full := c.waiting.put(id, w); full && !forgotten.pushed {
		emit(oneWay(forgotten.exchange))
	}
}

// answered completes the command that m answers. Of an exhaust cursor the next answer refers to this one.
func (c *mongoConn) answered(m *mongoMessage, h *half, emit func(Exchange)) {
	w, ok := c.waiting.take(m.to)
	if !ok {
		return
	}
	status, failed := m.status(w.plain)
	if w.pushed {
		e := h.answered(Exchange{Operation: w.exchange.Operation, Begin: h.begin}, status, failed)
		emit(oneWay(e))
	} else {
		emit(h.answered(w.exchange, status, failed))
	}
	if m.flags&mongoMoreToCome != 0 && m.first == mongoMsg {
		c.wait(m.id, mongoAsked{exchange: Exchange{Operation: w.exchange.Operation}, pushed: true}, emit)
	}
}

// detectMongo says yes to a header whose length and opcode fit the beginning of the body.
func detectMongo(d Direction, b []byte) Verdict {
	if len(b) < mongoHeaderSize {
		if len(b) >= 4 && (mongoInt(b, 0) < mongoHeaderSize || mongoInt(b, 0) > mongoMaxSize) {
			return No
		}
		return Maybe
	}
	var m mongoMessage
	if _, err := m.header(d, b); err != nil || (m.to == 0) != (d == FromClient) {
		return No
	}
	body := b[mongoHeaderSize:min(int64(len(b)), mongoHeaderSize+m.left)]
	switch m.op {
	case mongoCompressed:
		return m.fitsPacked(body)
	case mongoKillCursors:
		return fitsIf(len(body) >= 8, len(body) >= 8 && m.left == 8+8*int64(mongoInt(body, 4)))
	case mongoReply:
		return m.fitsReply(body)
	case mongoMsg:
		return m.fitsMsg(body)
	}
	end := bytes.IndexByte(body[min(4, len(body)):], 0)
	if end < 0 {
		return fitsIf(len(body) > mongoMaxName, false)
	}
	name := body[4 : 4+end]
	return fitsIf(true, bytes.IndexByte(name, '.') > 0 && printable(name))
}

// fitsIf is Maybe until there is enough to tell, and then what was told.
func fitsIf(enough, fits bool) Verdict {
	switch {
	case !enough:
		return Maybe
	case fits:
		return Yes
	}
	return No
}

func (m *mongoMessage) fitsPacked(b []byte) Verdict {
	if len(b) < 9 {
		return Maybe
	}
	op, size := mongoInt(b, 0), int64(mongoInt(b, 4))
	return fitsIf(true, op != mongoCompressed && size >= mongoLeast(op, Direction(b2i(m.answer))) && size <= mongoMaxSize && b[8] <= mongoZstd)
}

func (m *mongoMessage) fitsReply(b []byte) Verdict {
	if len(b) < 20 {
		return Maybe
	}
	flags, returned := mongoInt(b, 0), int64(mongoInt(b, 16))
	if flags&^15 != 0 || returned < 0 || returned*5 > m.left-20 {
		return No
	}
	if returned == 0 {
		return fitsIf(true, m.left == 20)
	}
	return fitsDocument(b[20:], m.left-20)
}

func (m *mongoMessage) fitsMsg(b []byte) Verdict {
	if len(b) < 9 {
		return Maybe
	}
	flags, kind, size := uint32(mongoInt(b, 0)), b[4], int64(mongoInt(b, 5))
	left := m.left - 5
	if flags&^(mongoKnownFlags|mongoOptionalFlags) != 0 || kind > 1 || size < 5 || size > left {
		return No
	}
	if flags&mongoChecksum != 0 {
		left -= 4
	}
	if kind == 0 {
		return fitsDocument(b[5:], left)
	}
	end := bytes.IndexByte(b[9:min(len(b), 9+mongoMaxName)], 0)
	if end < 0 {
		return fitsIf(len(b) >= 9+mongoMaxName, false)
	}
	return fitsIf(true, end > 0 && printable(b[9:9+end]))
}

// fitsDocument says whether a document that begins at b, with most left bytes, has a length and a first field.
func fitsDocument(b []byte, left int64) Verdict {
	if len(b) < 5 {
		return Maybe
	}
	size := int64(mongoInt(b, 0))
	if size < 5 || size > left {
		return No
	}
	e, err := bsonElement(b[4:])
	if err != nil || e.head > 0 && e.kind != 0 && (int64(e.head)+e.size > size-5 || !printable(e.name)) {
		return No
	}
	return fitsIf(e.head > 0, e.kind != 0)
}

// printable says whether b holds no control character.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// mongoInt reads a little-endian int32 at an offset that is there.
func mongoInt(b []byte, at int) int32 { return int32(binary.LittleEndian.Uint32(b[at:])) }
