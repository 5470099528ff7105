package binary

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
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

// redisMix is a connection that says all kinds of commands, in calls of any size, while their answers come.
type redisMix struct {
	conn  net.Conn
	said  map[string]int
	wait  chan int // answers to come
	heard chan error
}

func openMix(t *testing.T, s service, version string) *redisMix {
	conn, err := net.Dial("tcp", s.address)
	require.NoError(t, err)
	m := &redisMix{conn: conn, said: map[string]int{}, wait: make(chan int), heard: make(chan error)}
	t.Cleanup(func() { conn.Close(); close(m.wait) })
	go func() {
		r := bufio.NewReader(conn)
		for n := range m.wait {
			var err error
			for n > 0 && err == nil {
				var push bool
				if push, err = readRESP(r); !push {
					n--
				}
			}
			m.heard <- err
		}
	}()
	m.ask(t, rand.New(rand.NewPCG(0, 0)), 1000, []redisSaid{{redisCommand("AUTH", secret), []string{"AUTH ok"}, 0}, {redisCommand("HELLO", version), []string{"HELLO ok"}, 0}, redisMixed[0]})
	return m
}

// redisSaid are bytes, and the commands in them.
type redisSaid struct {
	bytes  string
	as     []string
	pushed int // how many of them have nothing but pushes for an answer
}

// ask says commands in calls of up to size bytes, and returns when they are answered.
func (m *redisMix) ask(t *testing.T, rng *rand.Rand, size int, all []redisSaid) {
	t.Helper()
	var out strings.Builder
	n := 0
	for _, one := range all {
		out.WriteString(one.bytes)
		for _, as := range one.as {
			m.said[as]++
			n++
		}
		n -= one.pushed
	}
	m.wait <- n
	for rest := out.String(); len(rest) > 0; {
		k := min(1+rng.IntN(size), len(rest))
		_, err := io.WriteString(m.conn, rest[:k])
		require.NoError(t, err)
		rest = rest[k:]
	}
	require.NoError(t, <-m.heard)
}

var redisLarge = redisSaid{redisCommand("SET", "large", strings.Repeat(redisCommand("GET", secret), 3000)) + redisCommand("GET", "large"), []string{"SET ok", "GET ok"}, 0}

// redisMixed are commands whose answers are the same each time.
var redisMixed = []redisSaid{
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

// TestRedisHandover has connections say what is matched in the kernel and, in between, what is not: those change hands in the middle of
// pipelines, in both directions. Each command counts once.
func TestRedisHandover(t *testing.T) {
	s := redisService(t).await(t)
	var mixes []*redisMix
	var group sync.WaitGroup
	var enough atomic.Bool
	before := map[*vetch]map[string]float64{}
	for _, v := range built.watchers {
		before[v] = handovers(t, v)
	}
	for i, version := range []string{"2", "3", "2", "3"} {
		m := openMix(t, s, version)
		mixes = append(mixes, m)
		group.Go(func() { m.talk(t, uint64(i), version == "3", &enough) })
	}
	for _, v := range built.watchers {
		err := poll(t.Context(), func() error {
			now := handovers(t, v)
			if now["taken"]-before[v]["taken"] < 12 || now["back"]-before[v]["back"] < 8 {
				return fmt.Errorf("%v, before %v", now, before[v])
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s hook: %v", v.hook, err)
		}
	}
	enough.Store(true)
	group.Wait()
	want := map[string]int{}
	for _, m := range mixes {
		for as, n := range m.said {
			want[as] += n
		}
	}
	if t.Failed() {
		return
	}
	checkExchanged(t, built.watchers, exchanged{protocol: "redis", by: "any", server: s.workload, port: s.port(), want: maps.Clone(want), calls: true})
	for _, v := range built.watchers {
		requireNoSecret(t, v)
	}
}

func handovers(t *testing.T, v *vetch) map[string]float64 {
	return v.mustRead(t).by("vetch_protocol_handovers_total", nil, "event")
}

// talk goes on until there is enough. It ends with a subscription where one may go on behind it.
func (m *redisMix) talk(t *testing.T, seed uint64, subscribe bool, enough *atomic.Bool) {
	rng := rand.New(rand.NewPCG(7, seed))
	last := -1
	for round := 0; round != last; round++ {
		if last < 0 && enough.Load() {
			last = round + 20
		}
		var all []redisSaid
		for range 1 + rng.IntN(100) {
			all = append(all, redisMixed[rng.IntN(len(redisMixed))])
		}
		place := rng.IntN(len(all))
		switch {
		case last == round+10 && subscribe:
			all[place] = redisSaid{redisCommand("SUBSCRIBE", "a", "b") + redisCommand("PUBLISH", "other", secret), []string{"SUBSCRIBE ok", "PUBLISH ok"}, 1}
		case round%50 == 30:
			all[place] = redisSaid{"PING\r\n", []string{"PING ok"}, 0}
		case round%20 == 10:
			all[place] = redisLarge
		}
		size := []int{1, 30, 300, 20_000}[min(rng.IntN(40), 3)]
		if round%20 == 10 {
			size = 20_000
		}
		m.ask(t, rng, size, all)
	}
}
