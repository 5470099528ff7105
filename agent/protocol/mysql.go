package protocol

import (
	"encoding/binary"
	"fmt"
)

// MySQL is the client/server protocol of MySQL and MariaDB.
//
// One Exchange is one command: a COM_QUERY with all its statements and results (the first statement names it), an execution of a prepared
// statement under the name of its text, "PREPARE SELECT users" for the preparation, and the other commands by their own names ("COM_PING").
// A login counts only when it is refused ("CONNECT"). A connection that changes to TLS goes on where its plain text is seen; cipher text and
// compressed packets are given up.
// https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html, https://mariadb.com/kb/en/clientserver-protocol/
func MySQL() Protocol {
	return Protocol{Name: "mysql", Detect: detectMySQL, New: func() Conn { return &mysqlConn{} }, Framing: FramedMySQL, Matched: MatchedMySQL}
}

// Commands that are not only counted.
const (
	comQuit         = 0x01
	comQuery        = 0x03
	comFieldList    = 0x04
	comStatistics   = 0x09
	comChangeUser   = 0x11
	comBinlogDump   = 0x12
	comPrepare      = 0x16
	comExecute      = 0x17
	comSendLongData = 0x18
	comCloseStmt    = 0x19
	comFetch        = 0x1c
	comBinlogGTID   = 0x1e
	comBulkExecute  = 0xfa
)

var mysqlCommands = map[byte]string{
	0x00: "COM_SLEEP", comQuit: "COM_QUIT", 0x02: "COM_INIT_DB", comQuery: "COM_QUERY", comFieldList: "COM_FIELD_LIST", 0x05: "COM_CREATE_DB",
	0x06: "COM_DROP_DB", 0x07: "COM_REFRESH", 0x08: "COM_SHUTDOWN", comStatistics: "COM_STATISTICS", 0x0a: "COM_PROCESS_INFO", 0x0c: "COM_PROCESS_KILL",
	0x0d: "COM_DEBUG", 0x0e: "COM_PING", comChangeUser: "COM_CHANGE_USER", comBinlogDump: "COM_BINLOG_DUMP", 0x13: "COM_TABLE_DUMP",
	0x15: "COM_REGISTER_SLAVE", comPrepare: "COM_STMT_PREPARE", comExecute: "COM_STMT_EXECUTE", comSendLongData: "COM_STMT_SEND_LONG_DATA",
	comCloseStmt: "COM_STMT_CLOSE", 0x1a: "COM_STMT_RESET", 0x1b: "COM_SET_OPTION", comFetch: "COM_STMT_FETCH", comBinlogGTID: "COM_BINLOG_DUMP_GTID",
	0x1f: "COM_RESET_CONNECTION", comBulkExecute: "COM_STMT_BULK_EXECUTE",
}

const (
	mysqlLong     = 0xffffff // a packet of this length goes on in the next one
	mysqlLastStmt = 0xffffffff
)

// Capabilities.
const (
	mysqlCompress = 1 << 5
	mysqlProto41  = 1 << 9
	mysqlTLS      = 1 << 11
	mysqlZstd     = 1 << 26
)

// mysqlPacket is the packet at hand.
type mysqlPacket struct {
	n    int    // bytes of its content
	seq  byte   //
	body []byte // its beginning
	op   string // what a command that was read asks for
}

// mysqlRequest is a command that waits.
type mysqlRequest struct {
	Exchange
	command byte
	prepare string // operation of the statement that a COM_STMT_PREPARE prepares
	seq     byte   // of its last packet
}

type mysqlConn struct {
	halves     [2]half
	packet     mysqlPacket
	emit       func(Exchange)
	requests   fifo[mysqlRequest]
	answer     mysqlAnswer
	statements preparedNames[uint32]
	last       string                             // operation of the statement that was prepared last
	learn      func(key uint64, operation string) // see Preparer
	changes    int                                // of statements

	login      bool     // the greeting has come, the server has not said OK yet
	changing   bool     // the client asked for TLS: what comes is cipher text, or the plain text that was in it
	connect    Exchange // told if the server refuses
	offers     uint32   // capabilities of the server
	compressed bool     // packets are compressed after the login
	givenUp    string   // why nothing more can be read
	long       bool     // the client's packet before goes on in the next one
	infile     bool     // the client sends a file
	lost       [2]bool  // bytes of a direction were missed
}

func (c *mysqlConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	if c.givenUp != "" {
		return 0, 0, fmt.Errorf("%s MySQL: %w", c.givenUp, ErrDesync)
	}
	c.emit = emit
	if c.lost[FromClient] {
		c.giveUp(at, 0)
		c.answer = mysqlAnswer{}
	} else if c.lost[FromServer] {
		c.giveUp(at, 1)
	}
	c.lost = [2]bool{}
	h := &c.halves[d]
	next, done := c.nextClient, c.client
	if d == FromServer {
		next, done = c.nextServer, c.server
	}
	consumed, skip, err := h.feed(b, at, next, func() { done(h) })
	c.packet, c.emit = mysqlPacket{}, nil
	if err == nil && c.givenUp != "" {
		err = fmt.Errorf("%s MySQL: %w", c.givenUp, ErrDesync)
	}
	return consumed, skip, err
}

// Resync wants a packet whose content proves it. After missed bytes of the server only the last command is kept: clients seldom send one
// before the one before it is answered.
func (c *mysqlConn) Resync(d Direction, b []byte) bool {
	if c.givenUp != "" || checkMySQL(d, b) != Yes {
		return false
	}
	c.halves[d].open = false
	c.lost[d] = true
	if d == FromServer {
		c.answer.resume(readPacket(b))
	} else {
		c.infile, c.long = false, false
	}
	return true
}

func (c *mysqlConn) Close(at int64, emit func(Exchange)) {
	for _, r := range c.requests.items {
		emit(cut(r.Exchange, at))
	}
	c.requests = fifo[mysqlRequest]{}
}

// Pass lets rows go by, or the packets of a file.
func (c *mysqlConn) Pass(d Direction, b []byte, n int64, at int64, emit func(Exchange)) (int64, bool) {
	if len(b) > 0 || c.givenUp != "" {
		return 0, false
	}
	if d == FromServer {
		c.answer.known, c.answer.long = false, false
		c.answer.bytes += n
		if c.answer.state == mysqlBetween {
			c.answer.state = mysqlRows
		}
	}
	return 0, true
}

// giveUp tells the commands that wait, without a status, but for the last ones.
func (c *mysqlConn) giveUp(at int64, keep int) {
	for len(c.requests.items) > keep {
		r, _ := c.requests.pop()
		r.End = at
		c.emit(r.Exchange)
	}
}

// nextClient reads one packet of the client; of a long one only the beginning.
func (c *mysqlConn) nextClient(b []byte) (int64, bool, error) {
	if len(b) < 4 {
		return 0, false, nil
	}
	if c.changing && b[0] == 0x16 && b[1] == 3 {
		c.givenUp = "encrypted"
		return 0, false, nil
	}
	p := readPacket(b)
	size := int64(p.n) + 4
	if c.login || c.infile || c.long {
		if c.login && len(b) < min(int(size), 40) {
			return 0, false, nil
		}
		c.packet = p
		return size, true, nil
	}
	if r := c.requests.head(); p.seq != 0 && r != nil && r.command == comChangeUser {
		c.packet = p
		return size, true, nil
	}
	if p.seq != 0 || p.n == 0 {
		return 0, false, fmt.Errorf("packet %d where a command begins: %w", p.seq, ErrDesync)
	}
	if len(p.body) == 0 {
		return 0, false, nil
	}
	if mysqlCommands[p.body[0]] == "" {
		return 0, false, fmt.Errorf("unknown command: %w", ErrDesync)
	}
	if !c.nameCommand(&p) {
		return 0, false, nil
	}
	c.packet = p
	return size, true, nil
}

// nameCommand finds the operation of a command. It says no when more bytes are needed.
func (c *mysqlConn) nameCommand(p *mysqlPacket) bool {
	whole := len(p.body) == p.n
	switch p.body[0] {
	case comQuery, comPrepare:
		text := p.body[1:]
		if p.body[0] == comQuery {
			var ok bool
			if text, ok = withoutAttributes(text); !ok {
				p.op = "OTHER"
				return whole || len(p.body) >= maxSQLText
			}
		}
		all := whole && p.n < mysqlLong
		s := parseSQL(text, mysqlSQL, all)
		p.op = s.Operation
		if !whole && !s.Sure {
			return false
		}
		if p.body[0] == comQuery {
			c.learnt(text, all, s)
		}
	case comExecute, comFetch, comBulkExecute, comCloseStmt:
		if len(p.body) < 5 {
			return whole
		}
		id := binary.LittleEndian.Uint32(p.body[1:])
		p.op = c.statements.get(id)
		if id == mysqlLastStmt {
			p.op = c.last
		} else if _, known := c.statements.operations[id]; !known && p.body[0] == comExecute {
			c.prepared(id, "")
		}
		if p.body[0] == comCloseStmt {
			c.statements.drop(id)
		}
	}
	return true
}

// prepared remembers a statement. It may be one whose preparation was not seen.
func (c *mysqlConn) prepared(id uint32, operation string) {
	c.statements.put(id, operation)
	c.changes++
}

// executed names the execution of a statement.
func executed(operation string) string {
	if operation == "" {
		return "EXECUTE"
	}
	return operation
}

// client takes the packet that was read from the client.
func (c *mysqlConn) client(h *half) {
	p := c.packet
	switch {
	case c.login:
		c.loginPacket(h, p)
	case c.infile:
		if r := c.requests.head(); r != nil {
			r.RequestBytes += h.bytes
		}
		c.infile = p.n > 0
	case c.long || p.seq != 0:
		c.long = p.n == mysqlLong
		if n := len(c.requests.items); n > 0 {
			c.requests.items[n-1].RequestBytes += h.bytes
			c.requests.items[n-1].seq = p.seq
		}
	default:
		c.long = p.n == mysqlLong
		c.command(h, p)
	}
}

// command begins an exchange.
func (c *mysqlConn) command(h *half, p mysqlPacket) {
	r := mysqlRequest{command: p.body[0]}
	op := mysqlCommands[r.command]
	switch r.command {
	case comQuit:
		return
	case comCloseStmt, comSendLongData:
		c.emit(oneWay(h.asked(op)))
		return
	case comQuery:
		op = p.op
	case comPrepare:
		r.prepare, c.last = p.op, p.op
		op = join("PREPARE", p.op)
	case comExecute, comBulkExecute:
		op = executed(p.op)
	case comFetch:
		op = join("FETCH", p.op)
	}
	r.Exchange = h.asked(clip(op, MaxOperation))
	if !c.requests.push(r) {
		c.requests.over = 0
		c.giveUp(h.end, 0)
		c.answer = mysqlAnswer{}
		c.requests.push(r)
	}
}

// loginPacket looks at the client's capabilities.
func (c *mysqlConn) loginPacket(h *half, p mysqlPacket) {
	if c.connect.Begin == 0 {
		c.connect = h.asked("CONNECT")
	}
	first := byte(1)
	if c.changing { // the request is repeated inside
		first = 2
	}
	if p.seq != first || len(p.body) < 4 {
		return
	}
	wants := binary.LittleEndian.Uint32(p.body)
	c.changing = !c.changing && wants&mysqlTLS != 0 && p.n == 32
	c.compressed = wants&c.offers&(mysqlCompress|mysqlZstd) != 0
}
