package binary

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

func redisCommand(words ...string) string {
	out := fmt.Sprintf("*%d\r\n", len(words))
	for _, w := range words {
		out += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
	}
	return out
}

// readRESP reads one value of RESP. push says that nobody asked for it.
func readRESP(r *bufio.Reader) (push bool, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return false, err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$', '=', '!':
		if n >= 0 {
			_, err = io.CopyN(io.Discard, r, int64(n)+2)
		}
	case '%', '|':
		n *= 2
		fallthrough
	case '*', '~', '>':
		for range n {
			if _, err := readRESP(r); err != nil {
				return false, err
			}
		}
		if line[0] == '|' {
			return readRESP(r)
		}
	}
	return line[0] == '>', err
}

var redisLarge = mixSaid{redisCommand("SET", "large", strings.Repeat(redisCommand("GET", secret), 3000)) + redisCommand("GET", "large"), []string{"SET ok", "GET ok"}, 0}

// redisMixed are commands whose answers are the same each time.
var redisMixed = []mixSaid{
	{redisCommand("SET", "text", secret), []string{"SET ok"}, 0},
	{redisCommand("get", "text"), []string{"GET ok"}, 0},
	{redisCommand("GET", "nothing"), []string{"GET ok"}, 0},
	{redisCommand("INCR", "count"), []string{"INCR ok"}, 0},
	{redisCommand("INCR", "text"), []string{"INCR ERR"}, 0},
	{redisCommand("LPUSH", "text", "x"), []string{"LPUSH WRONGTYPE"}, 0},
	{redisCommand("HSET", "hash", secret, secret, "b", "2"), []string{"HSET ok"}, 0},
	{redisCommand("HGETALL", "hash"), []string{"HGETALL ok"}, 0},
	{redisCommand("MGET", "text", "nothing", "count"), []string{"MGET ok"}, 0},
	{redisCommand(secret, secret), []string{"~other ERR"}, 0},
	{redisCommand("CONFIG", "GET", "maxmemory"), []string{"CONFIG GET ok"}, 0},
	{redisCommand("CONFIG", secret), []string{"CONFIG ~other ERR"}, 0},
	{redisCommand("CLIENT", "SETNAME", "mix"), []string{"CLIENT SETNAME ok"}, 0},
	{redisCommand("MULTI") + redisCommand("SET", "text", "x") + redisCommand("INCR", "text") + redisCommand("EXEC"), []string{"MULTI ok", "SET ok", "INCR ok", "EXEC ERR"}, 0},
	{redisCommand("MULTI") + redisCommand("GET") + redisCommand("EXEC"), []string{"MULTI ok", "GET ERR", "EXEC EXECABORT"}, 0},
	{redisCommand("MULTI") + redisCommand("DISCARD"), []string{"MULTI ok", "DISCARD ok"}, 0},
	{redisCommand("PING"), []string{"PING ok"}, 0},
}

// TestRedisHandover mixes what the kernel matches with transactions, inline commands and subscriptions.
func TestRedisHandover(t *testing.T) {
	s := redisService(t).await(t)
	var talks []mixTalk
	for i, version := range []string{"2", "3", "2", "3"} {
		talks = append(talks, func(enough *atomic.Bool) (map[string]int, error) {
			m, err := openMix(t, s, readRESP)
			if err != nil {
				return nil, err
			}
			begin := []mixSaid{{redisCommand("AUTH", secret), []string{"AUTH ok"}, 0}, {redisCommand("HELLO", version), []string{"HELLO ok"}, 0}, redisMixed[0]}
			if err := m.ask(rand.New(rand.NewPCG(0, 0)), 1000, begin...); err != nil {
				return nil, err
			}
			return m.said, m.talk(uint64(i), enough, redisMixed, 100, func(rng *rand.Rand, round int, last bool) (mixSaid, bool) {
				switch {
				case last && version == "3":
					return mixSaid{redisCommand("SUBSCRIBE", "a", "b") + redisCommand("PUBLISH", "other", secret), []string{"SUBSCRIBE ok", "PUBLISH ok"}, 1}, true
				case round%50 == 30:
					return mixSaid{"PING\r\n", []string{"PING ok"}, 0}, true
				}
				return redisLarge, round%20 == 10
			})
		})
	}
	testHandover(t, s, "redis", talks)
}
