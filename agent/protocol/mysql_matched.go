package protocol

import (
	"bytes"
	"strconv"
)

// Plain says that no login, no encryption and no compression is to come.
func (c *mysqlConn) Plain() bool { return !c.login && !c.changing && !c.compressed && c.givenUp == "" }

// Idle implements Matcher.
func (c *mysqlConn) Idle() bool {
	open := c.halves[FromClient].open || c.halves[FromServer].open || c.long || c.infile
	return !open && c.requests.idle() && c.answer == mysqlAnswer{} && c.lost == [2]bool{}
}

// Taken implements Matcher.
func (c *mysqlConn) Taken() { c.requests, c.answer = fifo[mysqlRequest]{}, mysqlAnswer{} }

// Learn implements Preparer.
func (c *mysqlConn) Learn(learn func(key uint64, operation string)) { c.learn = learn }

// Preparations implements Preparer.
func (c *mysqlConn) Preparations() int { return c.changes }

// Prepared implements Preparer.
func (c *mysqlConn) Prepared(each func(id uint64, operation string)) {
	for id, operation := range c.statements.operations {
		each(uint64(id), executed(operation))
	}
}

// Resume implements Preparer. It may be called once.
func (c *mysqlConn) Resume(string) Conn {
	return &mysqlConn{statements: c.statements, changes: c.changes, last: c.last}
}

// learnt tells of a statement that the kernel may match. Where a file is asked for, more than one answer comes.
func (c *mysqlConn) learnt(text []byte, whole bool, s sqlStatement) {
	if c.learn == nil || bytes.Contains(bytes.ToUpper(text[:min(len(text), maxShape)]), []byte("INFILE")) {
		return
	}
	if key, ok := shapeOf(text, whole, s, mysqlSQL, mysqlShape); ok {
		c.learn(key, s.Operation)
	}
}

// mysqlPlain are the commands besides statements that the kernel matches: answered by OK, an end, an error or a result, or not at all.
var mysqlPlain = []byte{
	0x02, 0x05, 0x06, 0x07, 0x08, 0x0a, 0x0c, 0x0d, 0x0e, comSendLongData, comCloseStmt, 0x1a, 0x1b, 0x1f,
}

// mysqlFailed stands in the kernel in front of an error's number.
const mysqlFailed = 1 << 16

// MySQLWords are the names for MySQL: those that its Conn gave, and of commands.
func MySQLWords(operations *Operations) Words {
	w := Words{Named: operations.Name, Commands: map[string]Word{}}
	for _, command := range mysqlPlain {
		w.Commands[string([]byte{command})] = Word{Number: operations.Number(mysqlCommands[command])}
	}
	w.Outcome = func(_ string, answer uint32) (string, bool) {
		switch {
		case answer == 0:
			return "", false
		case answer < mysqlFailed:
			return "ok", false
		}
		return strconv.Itoa(int(answer - mysqlFailed)), true
	}
	return w
}
