package probe

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
)

// my is a packet of MySQL.
func my(number int, content ...string) string {
	body := strings.Join(content, "")
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)|number<<24))) + body
}

func myQuery(text string) string { return my(0, "\x03", text) }

func myPrepare(text string) string { return my(0, "\x16", text) }

// myExecute executes a statement with one string.
func myExecute(id uint32, value string) string {
	return my(0, "\x17", myNumber(id), "\x00\x01\x00\x00\x00\x00\x01\xfe\x00", myText(value))
}

func myNumber(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }

// myAnswer numbers the packets of an answer.
func myAnswer(contents ...string) string {
	var out strings.Builder
	for i, content := range contents {
		out.WriteString(my((i+1)&0xff, content))
	}
	return out.String()
}

// myLength is a number of any length.
func myLength(n int) string {
	b := binary.LittleEndian.AppendUint64(nil, uint64(n))
	switch {
	case n < 251:
		return string(b[:1])
	case n < 1<<16:
		return "\xfc" + string(b[:2])
	case n < 1<<24:
		return "\xfd" + string(b[:3])
	}
	return "\xfe" + string(b)
}

func myText(s string) string { return myLength(len(s)) + s }

// The server's status.
const (
	myIdle   = 2
	myMore   = 8
	myCursor = 64
)

func myStatus(status int) string { return string([]byte{byte(status), 0, 0, 0}) }

func myOK(rows, id, status int, info string) string {
	return "\x00" + myLength(rows) + myLength(id) + myStatus(status) + info
}

func myEOF(status int) string { return "\xfe\x00\x00" + string([]byte{byte(status), 0}) }

// myEnd is an OK packet in place of an EOF packet.
func myEnd(status int) string { return "\xfe\x00\x00" + myStatus(status) }

func myError(number uint16) string {
	return "\xff" + string(binary.LittleEndian.AppendUint16(nil, number)) + "#42S02Table does not exist"
}

const myProgress = "\xff\xff\xff\x01\x01\x02\x00\x10\x00\x03abc"

func myColumn(name string) string {
	return "\x03def\x04shop\x01t\x01t" + myText(name) + myText(name) + "\x0c\x21\x00\xfd\x02\x00\x00\xfd\x00\x00\x00\x00\x00"
}

func myColumns(n int) (out []string) {
	out = append(out, myLength(n))
	for i := range n {
		out = append(out, myColumn(fmt.Sprint("c", i)))
	}
	return out
}

// myNull is the value that is none, in a row of text.
const myNull = "\xfb"

func myRow(values ...string) string {
	var out strings.Builder
	for _, v := range values {
		if v != myNull {
			v = myText(v)
		}
		out.WriteString(v)
	}
	return out.String()
}

// myBinary is a row of a prepared statement.
func myBinary(value string) string { return "\x00\x00" + myText(value) }

// myResult is a result of n columns: with the end of those, or without as newer clients have it.
func myResult(n int, between bool, status int, rows ...string) []string {
	out := myColumns(n)
	if between {
		return append(append(append(out, myEOF(status)), rows...), myEOF(status))
	}
	return append(append(out, rows...), myEnd(status))
}

// myFirst prepares what is asked for later.
var myFirst = turn{
	myPrepare("UPDATE branches SET bbalance = ?") + myPrepare("SELECT * FROM `Other`"),
	myAnswer("\x00"+myNumber(1)+"\x00\x00\x01\x00\x00\x00\x00", myColumn("?"), myEOF(myIdle)) +
		myAnswer("\x00"+myNumber(2)+"\x01\x00\x00\x00\x00\x00\x00", myColumn("a")),
	"PREPARE UPDATE branches ok; PREPARE SELECT Other ok",
}

// myLast are what the kernel leaves to user space.
var myLast = []turn{
	{my(0, "\x09"), my(1, "Uptime: 10"), "COM_STATISTICS ok"},
	{my(0, "\x1c", myNumber(2), "\x10\x00\x00\x00"), myAnswer(myBinary("a"), myEOF(myIdle)), "FETCH SELECT Other ok"},
	{my(0, "\x04", "t\x00"), myAnswer(myColumn("a"), myEOF(myIdle)), "COM_FIELD_LIST ok"},
	{myExecute(77, "a"), myAnswer(myOK(1, 0, myIdle, "")), "EXECUTE ok"},
	{myExecute(77, "a"), myAnswer(myOK(1, 0, myIdle, "")), "EXECUTE ok"},
}

func myTurn(rng *rand.Rand, large bool) turn {
	value := strings.Repeat("\x05\x00\x00\x02\xfe\x00\x00\x02\x00", rng.IntN(20)) // no head of an answer: see may_begin in bpf/include/frame.h
	if large && rng.IntN(10) == 0 {
		value = strings.Repeat(value, 3+297*rng.IntN(2))
	}
	n := rng.IntN(1000)
	var rows, binaries []string
	for range rng.IntN(10) * (1 + len(value)/1000) {
		rows = append(rows, []string{myRow("", value), myRow(myNull, "1"), myRow(value, ""), myRow("a", myNull), myRow(value[:len(value)/10])}[rng.IntN(5)])
		binaries = append(binaries, myBinary(value[:len(value)/(1+rng.IntN(10))]))
	}
	between := rng.IntN(2) == 0
	result := myAnswer(myResult(1+rng.IntN(3), between, myIdle, rows...)...)
	prepared := myAnswer(myResult(1, between, myIdle, binaries...)...)
	several := append(append(myResult(1, between, myIdle|myMore, rows...), myOK(1, 0, myIdle|myMore, "")), myResult(2, between, myIdle, myRow("1", "2"))...)
	failed := append(myColumns(1), myEOF(myIdle), myRow("1"), myError(1242))
	ok := myAnswer(myOK(rng.IntN(70_000), rng.IntN(1<<30), myIdle, ""))
	turns := []turn{
		{myQuery(fmt.Sprintf("SELECT abalance FROM pgbench_accounts WHERE aid = %d;", n)), result, "SELECT pgbench_accounts ok"},
		{myQuery("select \"it's\", 'a''b' from `Shop` . `users` where x"), result, "SELECT users ok"},
		{myQuery("\x00\x01SELECT 1.5e3, -7 FROM attributed"), result, "SELECT attributed ok"},
		{myQuery("\n SELECT 1 FROM spaced"), result, "SELECT spaced ok"},
		{myQuery("/* a comment ** */ SELECT a /b/ c FROM /* here */ commented"), result, "SELECT commented ok"},
		{myQuery("SELECT * FROM wide"), myAnswer(myResult(1+len(value)/10, between, myIdle, rows...)...), "SELECT wide ok"},
		{myQuery("SELECT * FROM cached"), myAnswer(append([]string{"\x02\x00", myEOF(myIdle)}, append(rows, myEOF(myIdle))...)...), "SELECT cached ok"},
		{myQuery("SELECT * FROM cached"), myAnswer(append([]string{"\x01\x01", myColumn("a"), myEOF(myIdle)}, append(rows, myEOF(myIdle))...)...), "SELECT cached ok"},
		{myQuery("SELECT 1; UPDATE t SET a = 2; SELECT 3"), myAnswer(several...), "SELECT ok"},
		{myQuery("SELECT (SELECT 1 FROM many)"), myAnswer(failed...), "SELECT many 1242"},
		{myQuery("SELECT * FROM nothing"), myAnswer(myError(1146)), "SELECT nothing 1146"},
		{myQuery("ALTER TABLE big ADD COLUMN x int"), myAnswer(myProgress, myProgress, myOK(0, 0, myIdle, "")), "ALTER TABLE big ok"},
		{myQuery("UPDATE pgbench_tellers SET tbalance = tbalance + -1"), myAnswer(myOK(1, 0, myIdle, "\x28Rows matched: 1  Changed: 1  Warnings: 0")), "UPDATE pgbench_tellers ok"},
		{myQuery("INSERT INTO pgbench_history (tid, filler) VALUES (1, '" + value + "')"), ok, "INSERT pgbench_history ok"},
		{myQuery("INSERT INTO t VALUES (1), (2)"), myAnswer(myOK(2, 1<<40, myIdle, "")), "INSERT t ok"},
		{myQuery("BEGIN"), ok, "BEGIN ok"},
		{myQuery("COMMIT"), ok, "COMMIT ok"},
		{myQuery("CALL two()"), myAnswer(append(myResult(1, true, myIdle|myMore, rows...), myOK(0, 0, myIdle, ""))...), "CALL two ok"},
		{myExecute(1, value), ok, "UPDATE branches ok"},
		{myExecute(1, value), myAnswer(myError(1205)), "UPDATE branches 1205"},
		{myExecute(2, ""), prepared, "SELECT Other ok"},
		{myExecute(2, ""), myAnswer(append(myColumns(1), myEOF(myIdle|myCursor))...), "SELECT Other ok"},
		{my(0, "\x0e"), ok, "COM_PING ok"},
		{my(0, "\x02shop"), myAnswer(myError(1049)), "COM_INIT_DB 1049"},
		{my(0, "\x1a", myNumber(1)), ok, "COM_STMT_RESET ok"},
		{my(0, "\x1b\x00\x00"), myAnswer(myEOF(myIdle)), "COM_SET_OPTION ok"},
		{my(0, "\x1f"), ok, "COM_RESET_CONNECTION ok"},
		{my(0, "\x0a"), result, "COM_PROCESS_INFO ok"},
		{my(0, "\x18", myNumber(1), "\x00\x00", value), "", "COM_STMT_SEND_LONG_DATA "},
		{my(0, "\x19", myNumber(uint32(100+n))), "", "COM_STMT_CLOSE "},
	}
	switch rng.IntN(700) {
	case 0:
		return turn{myQuery("SELECT " + strings.Repeat("a, ", 300) + "b FROM long_one"), result, "SELECT long_one ok"}
	case 1:
		return turn{myQuery("SELECT 'it\\'s' FROM escaped"), result, "SELECT ok"}
	case 2:
		return turn{myPrepare("SELECT 1 FROM late"), myAnswer("\x00" + myNumber(3) + "\x00\x00\x00\x00\x00\x00\x00"), "PREPARE SELECT late ok"}
	case 3:
		return turn{myQuery("\x01\x01\x00\x01\xfe\x00\x01a\x01xSELECT 1 FROM attributed"), result, "SELECT attributed ok"}
	}
	return turns[rng.IntN(len(turns))]
}
