package protocol

import (
	"bytes"
	"strings"
)

// Plain says that no login and no encryption is to come.
func (c *postgresConn) Plain() bool { return c.typed && !c.encrypted }

// Idle implements Matcher.
func (c *postgresConn) Idle() bool {
	return !c.halves[FromClient].open && !c.halves[FromServer].open && !c.starting && !c.asked && !c.lost[FromClient] && !c.lost[FromServer] && c.batches.idle()
}

// Taken implements Matcher.
func (c *postgresConn) Taken() { c.batches = pgBatches{} }

// Learn implements Preparer.
func (c *postgresConn) Learn(learn func(key uint64, operation string)) { c.learn = learn }

// Preparations implements Preparer. The unnamed statement is none: the kernel follows it by itself.
func (c *postgresConn) Preparations() int { return c.changes }

// Prepared implements Preparer.
func (c *postgresConn) Prepared(each func(id uint64, operation string)) {
	for name, operation := range c.statements.operations {
		if name != "" && operation != "" {
			each(HashText(postgresName, name), operation)
		}
	}
}

// Resume implements Preparer. It may be called once.
func (c *postgresConn) Resume(unnamed string) Conn {
	c.statements.drop("")
	if unnamed != "" {
		c.statements.put("", unnamed)
	}
	return &postgresConn{typed: true, statements: c.statements, changes: c.changes}
}

// learnt tells of a statement that the kernel may match. COPY and what replicas say is no exchange of one answer.
func (c *postgresConn) learnt(text []byte, s sqlStatement) {
	if c.learn == nil || strings.HasPrefix(s.Operation, "COPY") || strings.HasPrefix(s.Operation, "START_REPLICATION") || strings.HasPrefix(s.Operation, "BASE_BACKUP") {
		return
	}
	text, _, whole := bytes.Cut(text, []byte{0})
	if key, ok := shapeOf(text, whole, s, postgresSQL, postgresShape); ok {
		c.learn(key, s.Operation)
	}
}

// idle says whether nothing waits for an answer.
func (q *pgBatches) idle() bool { return len(q.units) == 0 && q.staleSyncs == 0 && q.staleUnits == 0 }

// PostgresWords are the names for PostgreSQL: those that its Conn gave.
func PostgresWords(operations *Operations) Words {
	return Words{
		Named: func(number uint64) string {
			if number == 0 { // a Sync without a statement
				return "EXECUTE"
			}
			return operations.Name(number)
		},
		Outcome: func(_ string, answer uint32) (string, bool) {
			switch answer {
			case 0:
				return "", true
			case answerOK:
				return "ok", false
			case answerOther:
				return "error", true
			}
			return unpackState(answer), true
		},
	}
}

// unpackState returns the SQLSTATE that the kernel holds in six bits a character: 1 is a zero, 11 an A.
func unpackState(packed uint32) string {
	var state [5]byte
	for i := len(state) - 1; i >= 0; i-- {
		v := byte(packed & 63)
		packed >>= 6
		if v <= 10 {
			state[i] = '0' + v - 1
		} else {
			state[i] = 'A' + v - 11
		}
	}
	return string(state[:])
}
