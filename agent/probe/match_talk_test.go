package probe

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// turn is a command, its answer, and how it counts; of several commands, or none, likewise.
type turn struct{ ask, tell, name string }

func redisTurn(rng *rand.Rand, large bool) turn {
	value := strings.Repeat("*1\r\n$4\r\nPING\r\n-ERR x\r\n", rng.IntN(10))
	if large && rng.IntN(10) == 0 {
		value = strings.Repeat(value, 300)
	}
	turns := []turn{
		{resp("GET", "key"), bulk(value), "GET ok"},
		{resp("get", "key"), "$-1\r\n", "GET ok"},
		{resp("GET", "key"), "_\r\n", "GET ok"},
		{resp("SET", "key", value), "+OK\r\n", "SET ok"},
		{resp("SeT", "", ""), "+OK\r\n", "SET ok"},
		{resp("INCR", "key"), ":12\r\n", "INCR ok"},
		{resp("INCR", "key"), "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", "INCR WRONGTYPE"},
		{resp("LPUSH", "key"), "-ERR wrong number\r\n", "LPUSH ERR"},
		{resp("EVAL", value, "0"), "-MYERROR of a script\r\n", "EVAL ~other"},
		{resp("EVAL", value, "0"), "-LOADING\r\n", "EVAL LOADING"},
		{resp("EVAL", value, "0"), "!21\r\nSYNTAX invalid syntax\r\n", "EVAL SYNTAX"},
		{resp("EVAL", value, "0"), "!4\r\nBUSY\r\n", "EVAL BUSY"},
		{resp("PING"), "+PONG\r\n", "PING ok"},
		{resp("CONFIG", "get", "maxmemory"), "%1\r\n" + bulk("maxmemory") + bulk("0"), "CONFIG GET ok"},
		{resp("CONFIG", "secret", "x"), "-ERR unknown subcommand\r\n", "CONFIG ~other ERR"},
		{resp("CONFIG", strings.Repeat("x", 60), "x"), "-ERR unknown subcommand\r\n", "CONFIG ~other ERR"},
		{resp("CLIENT"), "-ERR wrong number\r\n", "CLIENT ERR"},
		{resp("CLIENT", "SETNAME", "x"), "+OK\r\n", "CLIENT SETNAME ok"},
		{resp("hunter2", "x"), "-ERR unknown command\r\n", "~other ERR"},
		{resp(strings.Repeat("y", 60)), "-ERR unknown command\r\n", "~other ERR"},
		{resp("HELLO", "3"), "%3\r\n" + bulk("server") + bulk("redis") + bulk("proto") + ":3\r\n" + bulk("modules") + "*0\r\n", "HELLO ok"},
		{resp("MULTI"), "+OK\r\n", "MULTI ok"},
		{resp("SET", "a", "b"), "+QUEUED\r\n", "SET ok"},
		{resp("EXEC"), "*3\r\n+OK\r\n-WRONGTYPE x\r\n*2\r\n:1\r\n" + bulk(value), "EXEC WRONGTYPE"},
		{resp("EXEC"), "*-1\r\n", "EXEC ok"},
		{resp("MGET", "a", "b"), "*2\r\n" + bulk(value) + "$-1\r\n", "MGET ok"},
		{resp("HGETALL", "a"), "|1\r\n+ttl\r\n:3\r\n%2\r\n" + bulk("a") + ",1.5\r\n" + bulk("b") + "#t\r\n", "HGETALL ok"},
		{resp("SMEMBERS", "a"), "~2\r\n" + bulk("a") + "=7\r\ntxt:abc\r\n", "SMEMBERS ok"},
		{resp("LRANGE", "a", "0", "-1"), ">2\r\n" + bulk("invalidate") + "*1\r\n" + bulk("key") + "*30\r\n" + strings.Repeat(":1\r\n", 30), "LRANGE ok"},
	}
	switch rng.IntN(400) {
	case 0:
		return turn{"PING\r\n", "+PONG\r\n", "PING ok"}
	case 1:
		return turn{"set a  b\r\n", "+OK\r\n", "SET ok"}
	}
	return turns[rng.IntN(len(turns))]
}

func memcachedTurn(rng *rand.Rand, large bool) turn {
	value := strings.Repeat("END\r\nget a\r\nVALUE a 0 1\r\nERROR\r\n", rng.IntN(10))
	if large && rng.IntN(10) == 0 {
		value = strings.Repeat(value, 300)
	}
	key := strings.Repeat("k", 1+rng.IntN([]int{10, 250}[rng.IntN(2)]))
	item := fmt.Sprintf("VALUE %s 0 %d\r\n%s\r\n", key, len(value), value)
	store := fmt.Sprintf(" %s 0 0 %d\r\n%s\r\n", key, len(value), value)
	silent := fmt.Sprintf(" %s 0 0 %d noreply\r\n%s\r\n", key, len(value), value)
	meta := fmt.Sprintf("VA %d t-1\r\n%s\r\n", len(value), value)
	turns := []turn{
		{"get " + key + "\r\n", item + "END\r\n", "get hit"},
		{"get " + key + "\r\n", "END\r\n", "get miss"},
		{"get a\r\n", "END\r\n", "get miss"},
		{"get  a  noreply \r\n", item + "END\r\n", "get partial"},
		{"gets " + key + " b c\r\n", item + "VALUE c 0 0 8\r\n\r\nEND\r\n", "gets partial"},
		{"gets " + strings.Repeat(key[:min(len(key), 20)]+" ", 60) + "\r\n", strings.Repeat("VALUE k 0 1 7\r\nx\r\n", 60) + "END\r\n", "gets hit"},
		{"get\r\n", "ERROR\r\n", "get error"},
		{"gat 10 " + key + "\r\n", item + "END\r\n", "gat hit"},
		{"gats 10 a " + key + "\r\n", item + "END\r\n", "gats partial"},
		{"get " + key + "\r\n", "SERVER_ERROR out of memory writing get response\r\n", "get server_error"},
		{"set" + store, "STORED\r\n", "set stored"},
		{"set" + store, "SERVER_ERROR object too large for cache\r\n", "set server_error"},
		{"add" + store, "NOT_STORED\r\n", "add not_stored"},
		{"cas " + key + " 0 0 3 99\r\nget\r\n", "EXISTS\r\n", "cas exists"},
		{"set a 0 0 x\r\n", "CLIENT_ERROR bad command line format\r\n", "set client_error"},
		{"set" + silent, "", "set "},
		{"append" + silent, "", "append "},
		{"delete " + key + " noreply\r\n", "", "delete "},
		{"delete " + key + "\r\n", "DELETED\r\n", "delete deleted"},
		{"delete " + key + "\n", "NOT_FOUND\r\n", "delete not_found"},
		{"delete noreply\r\n", "NOT_FOUND\r\n", "delete not_found"},
		{"version noreply\r\n", "VERSION 1.6.18\r\n", "version ok"},
		{"incr " + key + " 5\r\n", "10\r\n", "incr ok"},
		{"decr " + key + " 5 noreply\r\n", "", "decr "},
		{"incr a 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", "incr client_error"},
		{"touch " + key + " 10\r\n", "TOUCHED\r\n", "touch touched"},
		{"version\r\n", "VERSION 1.6.18\r\n", "version ok"},
		{"verbosity 1\r\n", "OK\r\n", "verbosity ok"},
		{"flush_all\r\n", "OK\r\n", "flush_all ok"},
		{"flush_all noreply\r\n", "", "flush_all "},
		{"mg a v t\r\n", meta, "mg hit"},
		{"mg a\r\n", "HD\r\n", "mg hit"},
		{"mg q v\r\n", "EN\r\n", "mg miss"},
		{fmt.Sprintf("ms a %d T0\r\n%s\r\n", len(value), value), "HD\r\n", "ms stored"},
		{"ms a 2 Madd\r\nmg\r\n", "NS\r\n", "ms not_stored"},
		{"ms a 2 C5\r\nmg\r\n", "EX\r\n", "ms exists"},
		{"md a\r\n", "HD\r\n", "md deleted"},
		{"md a\r\n", "NF\r\n", "md not_found"},
		{"ma a v\r\n", meta, "ma ok"},
		{"ma a\r\n", "HD\r\n", "ma ok"},
		{"mn\r\n", "MN\r\n", "mn ok"},
		{"me a\r\n", "ME a exp=-1 la=3\r\n", "me ok"},
	}
	switch rng.IntN(600) {
	case 0:
		return turn{"stats\r\n", "STAT pid 1\r\nSTAT END 1\r\nEND\r\n", "stats ok"}
	case 1:
		return turn{"hunter2 x\r\n", "ERROR\r\n", "~other error"}
	case 2:
		return turn{"mg " + strings.Repeat("k", 200) + " v\r\n", meta, "mg hit"}
	case 3:
		return turn{[]string{"GET a\r\n", "9\r\n", "\r\n", "\n", " \r\n"}[rng.IntN(5)], "ERROR\r\n", "~other error"}
	}
	return turns[rng.IntN(len(turns))]
}
