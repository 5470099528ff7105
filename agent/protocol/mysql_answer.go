package protocol

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// mysqlState is what the server's next packet may be.
type mysqlState uint8

const (
	mysqlFirst   mysqlState = iota // the first of an answer or of one more result
	mysqlColumns                   // a column of a result
	mysqlBetween                   // the end of the columns, or the first row where that end is not sent
	mysqlRows                      // a row or the end
	mysqlDefs                      // a parameter or column of a prepared statement
	mysqlFile                      // the end of LOAD DATA LOCAL
)

// Status flags.
const (
	mysqlMoreResults  = 1 << 3
	mysqlCursorExists = 1 << 6
)

// mysqlAnswer is how far the answer to the oldest command has come.
type mysqlAnswer struct {
	state mysqlState
	left  int   // columns that are still to come
	bytes int64 //
	seq   byte  // of the last packet
	known bool  // seq is to be trusted
	later bool  // not the first result
	long  bool  // the last packet goes on in the next one
}

// resume goes on after missed bytes, at the first packet of an answer or of one more result, or at one of the last.
func (a *mysqlAnswer) resume(p mysqlPacket) {
	switch {
	case p.seq == 1:
		*a = mysqlAnswer{}
	case p.n <= 4:
		*a = mysqlAnswer{state: mysqlFirst, later: true, bytes: a.bytes}
	default:
		*a = mysqlAnswer{state: mysqlRows, bytes: a.bytes}
	}
}

// nextServer reads the beginning of one packet of the server.
func (c *mysqlConn) nextServer(b []byte) (int64, bool, error) {
	if len(b) < 4 {
		return 0, false, nil
	}
	p := readPacket(b)
	want := min(p.n, 40)
	if p.seq == 0 && !c.login {
		want = min(p.n, 256) // a greeting
	}
	if len(p.body) < want {
		return 0, false, nil
	}
	a := &c.answer
	if c.requests.head() != nil && !a.long && a.state != mysqlFirst && a.state != mysqlFile && a.known && p.seq != a.seq+1 {
		return 0, false, fmt.Errorf("packet %d after %d: %w", p.seq, a.seq, ErrDesync)
	}
	if a.state == mysqlColumns && !a.long && !isColumn(p) && (p.n == 0 || p.body[0] != 0xff) {
		return 0, false, fmt.Errorf("no column where one must be: %w", ErrDesync)
	}
	c.packet = p
	return int64(p.n) + 4, true, nil
}

// server takes the packet that was read from the server.
func (c *mysqlConn) server(h *half) {
	p := c.packet
	if c.login || p.seq == 0 && c.requests.idle() {
		c.serverLogin(h, p)
		return
	}
	a, r := &c.answer, c.requests.head()
	if r == nil || a.state == mysqlFirst && !a.later && p.seq != r.seq+1 && a.bytes == 0 {
		return // the rest of an answer that was given up, or the end of columns that nobody needs
	}
	a.bytes += h.bytes
	a.seq, a.known = p.seq, true
	goesOn := a.long
	a.long = p.n == mysqlLong
	if goesOn || p.n == 0 {
		return
	}
	if p.body[0] == 0xff && p.n >= 3 && p.n < mysqlLong && !(a.state == mysqlFirst && r.command == comStatistics) {
		if code := binary.LittleEndian.Uint16(p.body[1:]); code != 0xffff { // else MariaDB reports its progress
			c.finish(h, strconv.Itoa(int(code)), true)
		}
		return
	}
	c.part(h, r, p)
}

// part takes a packet that is no error.
func (c *mysqlConn) part(h *half, r *mysqlRequest, p mysqlPacket) {
	a := &c.answer
	switch a.state {
	case mysqlFirst:
		c.first(h, r, p)
	case mysqlColumns:
		if a.left--; a.left <= 0 {
			a.state = mysqlBetween
		}
	case mysqlBetween:
		a.state = mysqlRows
		if p.body[0] == 0xfe && p.n == 5 {
			if binary.LittleEndian.Uint16(p.body[3:])&mysqlCursorExists != 0 {
				c.finish(h, "ok", false)
			}
			return
		}
		c.row(h, p)
	case mysqlRows:
		c.row(h, p)
	case mysqlDefs:
		if !(p.body[0] == 0xfe && p.n == 5) {
			a.left--
		}
		if a.left <= 0 {
			c.finish(h, "ok", false)
		}
	case mysqlFile:
		c.ok(h, p)
	}
}

// first takes the packet that tells what sort of answer comes.
func (c *mysqlConn) first(h *half, r *mysqlRequest, p mysqlPacket) {
	a := &c.answer
	switch {
	case r.command == comStatistics:
		c.finish(h, "ok", false)
	case r.command == comPrepare && p.body[0] == 0 && p.n >= 9:
		id := binary.LittleEndian.Uint32(p.body[1:])
		c.prepared(id, r.prepare)
		a.left = int(binary.LittleEndian.Uint16(p.body[5:])) + int(binary.LittleEndian.Uint16(p.body[7:]))
		if a.state = mysqlDefs; a.left == 0 {
			c.finish(h, "ok", false)
		}
	case r.command == comFieldList, r.command == comFetch, r.command == comBinlogDump, r.command == comBinlogGTID:
		a.state = mysqlRows
		c.row(h, p)
	case p.body[0] == 0:
		c.ok(h, p)
	case r.command == comChangeUser: // more of the login
		a.later = true
	case p.body[0] == 0xfe && p.n < 9:
		c.finish(h, "ok", false)
	case p.body[0] == 0xfb && r.command == comQuery:
		a.state, c.infile = mysqlFile, true
	default:
		c.columns(p)
	}
}

// columns takes the number of columns. MariaDB adds a byte that says whether they are sent, if the client can keep them.
func (c *mysqlConn) columns(p mysqlPacket) {
	a := &c.answer
	n, rest, ok := lengthEncoded(p.body)
	a.state, a.left = mysqlColumns, int(min(n, 1<<16))
	if !ok || n == 0 || len(rest) == 1 && rest[0] == 0 {
		a.state = mysqlBetween
	}
}

// row looks for the end of the rows: an EOF packet, or an OK packet that begins like one.
func (c *mysqlConn) row(h *half, p mysqlPacket) {
	if p.body[0] != 0xfe || p.n == mysqlLong {
		return
	}
	if p.n == 5 {
		c.result(h, binary.LittleEndian.Uint16(p.body[3:]))
		return
	}
	c.ok(h, p)
}

// ok takes an OK packet.
func (c *mysqlConn) ok(h *half, p mysqlPacket) {
	status, _ := okStatus(p.body)
	c.result(h, status)
}

// result ends one result; a status may say that another one comes.
func (c *mysqlConn) result(h *half, status uint16) {
	if status&mysqlMoreResults != 0 {
		c.answer.state, c.answer.later = mysqlFirst, true
		return
	}
	c.finish(h, "ok", false)
}

// finish emits the oldest command.
func (c *mysqlConn) finish(h *half, status string, failed bool) {
	r, ok := c.requests.pop()
	if !ok {
		return
	}
	e := h.answered(r.Exchange, status, failed)
	e.ResponseBytes = c.answer.bytes
	c.answer = mysqlAnswer{}
	c.infile = false
	c.emit(e)
}

// serverLogin takes the greeting and what follows up to OK. A refusal counts.
func (c *mysqlConn) serverLogin(h *half, p mysqlPacket) {
	switch {
	case p.n == 0:
	case p.body[0] == 0xff && p.n >= 3:
		if c.connect.Begin == 0 { // too many connections: it comes before the client has said anything
			c.connect = Exchange{Operation: "CONNECT", Begin: h.begin}
		}
		code := strconv.Itoa(int(binary.LittleEndian.Uint16(p.body[1:])))
		c.emit(h.answered(c.connect, code, true))
		c.login, c.connect = false, Exchange{}
	case !c.login:
		if offers, ok := greeting(p.body); ok {
			c.login, c.offers = true, offers
		}
	case p.body[0] == 0:
		c.login = false
		if c.compressed {
			c.givenUp = "compressed"
		}
	}
}
