package probe

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
)

// pg is a message of PostgreSQL: its type and its content.
func pg(kind string, content ...string) string {
	body := strings.Join(content, "")
	return kind + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

const (
	pgReady  = "Z\x00\x00\x00\x05I"
	pgSync   = "S\x00\x00\x00\x04"
	pgParsed = "1\x00\x00\x00\x04"
	pgBound  = "2\x00\x00\x00\x04"
)

func pgQuery(text string) string { return pg("Q", text, "\x00") }

func pgParse(name, text string) string { return pg("P", name, "\x00", text, "\x00", "\x00\x00") }

// pgBind binds values to an unnamed portal.
func pgBind(statement string, values ...string) string {
	out := "\x00" + statement + "\x00\x00\x00" + string(binary.BigEndian.AppendUint16(nil, uint16(len(values))))
	for _, v := range values {
		out += string(binary.BigEndian.AppendUint32(nil, uint32(len(v)))) + v
	}
	return pg("B", out, "\x00\x00")
}

func pgExecute() string { return pg("E", "\x00\x00\x00\x00\x00") }

func pgDescribe() string { return pg("D", "P\x00") }

func pgDone(tag string) string { return pg("C", tag, "\x00") }

func pgRow(values ...string) string {
	out := string(binary.BigEndian.AppendUint16(nil, uint16(len(values))))
	for _, v := range values {
		out += string(binary.BigEndian.AppendUint32(nil, uint32(len(v)))) + v
	}
	return pg("D", out)
}

func pgError(state string) string {
	return pg("E", "SERROR\x00VERROR\x00C", state, "\x00Mrelation does not exist\x00Fparse.c\x00L1\x00Rx\x00\x00")
}

func pgColumns(names ...string) string {
	out := string(binary.BigEndian.AppendUint16(nil, uint16(len(names))))
	for _, name := range names {
		out += name + "\x00" + strings.Repeat("\x00", 18)
	}
	return pg("T", out)
}

// pgFirst prepares what is asked for later.
var pgFirst = turn{
	pgParse("named", "UPDATE branches SET bbalance = $1") + pgParse("other", "SELECT * FROM other") + pgSync, pgParsed + pgParsed + pgReady, "",
}

// pgLast are what the kernel leaves to user space.
var pgLast = []turn{
	{pgQuery("COPY t FROM STDIN") + pg("d", "1\n") + pg("c"), pg("G", "\x00\x00\x00") + pgDone("COPY 1") + pgReady, "COPY t ok"},
	{pgBind("named") + pgExecute() + pgBind("other") + pgExecute() + pgSync, pgBound + pgDone("UPDATE 1") + pgBound + pgDone("SELECT 0") + pgReady, "UPDATE branches ok; SELECT other ok"},
	{pg("C", "Snamed\x00") + pgParse("named", "UPDATE branches SET bbalance = $2") + pgSync, "3\x00\x00\x00\x04" + pgParsed + pgReady, ""},
	{pgParse("", "SELECT 1 FROM twice") + pgDescribe() + pgSync, pgParsed + "n\x00\x00\x00\x04" + pgReady, ""},
	{pgBind("") + pgExecute() + pgSync, pgBound + pgDone("SELECT 0") + pgReady, "SELECT twice ok"},
}

func pgTurn(rng *rand.Rand, large bool) turn {
	value := strings.Repeat("Z\x00\x00\x00\x05I", rng.IntN(10))
	if large && rng.IntN(10) == 0 {
		value = strings.Repeat(value, 50)
	}
	n := rng.IntN(1000)
	rows := pgColumns("abalance") + strings.Repeat(pgRow(value, "2"), rng.IntN(10)) + pgDone("SELECT 1") + pgReady
	notice := pg("N", "SNOTICE\x00VNOTICE\x00C00000\x00Mx\x00\x00") + pg("S", "application_name\x00x\x00") + pg("A", "\x00\x00\x00\x01chan\x00x\x00")
	unnamed := pgParse("", "SELECT abalance, $1::text FROM pgbench_accounts WHERE aid = $2") + pgBind("", value, "2") + pgDescribe() + pgExecute() + pgSync
	turns := []turn{
		{pgQuery(fmt.Sprintf("SELECT abalance FROM pgbench_accounts WHERE aid = %d;", n)), rows, "SELECT pgbench_accounts ok"},
		{pgQuery(fmt.Sprintf("UPDATE pgbench_tellers SET tbalance = tbalance + -%d WHERE tid = 1", n)), pgDone("UPDATE 1") + pgReady, "UPDATE pgbench_tellers ok"},
		{pgQuery("BEGIN;"), pgDone("BEGIN") + "Z\x00\x00\x00\x05T", "BEGIN ok"},
		{pgQuery("END;"), pgDone("COMMIT") + pgReady, "END ok"},
		{pgQuery("INSERT INTO pgbench_history (tid, filler) VALUES (1, '" + strings.ReplaceAll(value, "\x00", "") + "')"), pgDone("INSERT 0 1") + pgReady, "INSERT pgbench_history ok"},
		{pgQuery("INSERT INTO " + `"Public" . "Orders"` + " SELECT 1"), pgDone("INSERT 0 1") + pgReady, "INSERT Orders ok"},
		{pgQuery("/* a comment */ select 'it''s', 1.5e3 from ONLY public.Users where x"), rows, "SELECT users ok"},
		{pgQuery("SELECT 1; SELECT 2"), pgColumns("a") + pgRow("1") + pgDone("SELECT 1") + pgColumns("a") + pgRow("2") + pgDone("SELECT 1") + pgReady, "SELECT ok"},
		{pgQuery("SELECT 1; SELECT 1/0"), pgColumns("a") + pgRow("1") + pgDone("SELECT 1") + pgError("22012") + pgReady, "SELECT 22012"},
		{pgQuery("SELECT * FROM nothing"), pgError("42P01") + pgReady, "SELECT nothing 42P01"},
		{pgQuery("WITH x AS (SELECT 1 FROM deep) SELECT * FROM x"), rows, "SELECT deep ok"},
		{pgQuery(";"), "I\x00\x00\x00\x04" + pgReady, "EMPTY ok"},
		{pgQuery("DELETE FROM t"), notice + pgDone("DELETE 0") + notice + pgReady, "DELETE t ok"},
		{unnamed, pgParsed + pgBound + rows, "SELECT pgbench_accounts ok"},
		{unnamed, pgParsed + pgError("22P02") + pgReady, "SELECT pgbench_accounts 22P02"},
		{unnamed, pgError("42601") + pgReady, "SELECT pgbench_accounts 42601"},
		{unnamed, pgParsed + pgBound + pgColumns("a") + pgRow(value) + pgDone("SELECT 1") + pgError("40001") + pgReady, "SELECT pgbench_accounts 40001"},
		{pgBind("named", value) + pgExecute() + pgSync, pgBound + pgDone("UPDATE 1") + pgReady, "UPDATE branches ok"},
		{pgBind("named") + pgDescribe() + pgExecute() + pgSync, pgBound + "n\x00\x00\x00\x04" + pgDone("UPDATE 1") + pgReady, "UPDATE branches ok"},
		{pgBind("named") + pgExecute() + pgSync, pgError("08P01") + pgReady, "UPDATE branches 08P01"},
		{pgBind("other") + pgExecute() + pgSync, pgBound + strings.Repeat(pgRow(value), 20) + pg("s") + pgReady, "SELECT other ok"},
	}
	switch rng.IntN(1500) {
	case 0:
		return turn{pgQuery("SELECT " + strings.Repeat("a, ", 300) + "b FROM wide"), rows, "SELECT wide ok"}
	case 1:
		return turn{pgQuery("SELECT $tag$FROM x$tag$ FROM dollars"), rows, "SELECT dollars ok"}
	case 2:
		return turn{pgParse("late", "SELECT 1 FROM late") + pgSync, pgParsed + pgReady, ""}
	case 3:
		return turn{pgQuery(`SELECT E'it\'s' FROM escaped`), rows, "SELECT escaped ok"}
	}
	return turns[rng.IntN(len(turns))]
}
