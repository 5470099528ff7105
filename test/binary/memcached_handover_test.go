package binary

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// readMemcached reads one answer of the text protocol or to a meta command.
func readMemcached(r *bufio.Reader) (unasked bool, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false, err
		}
		words := append(strings.Fields(line), "", "", "", "")
		length := map[string]string{"VALUE": words[3], "VA": words[1]}[words[0]]
		if length != "" {
			var n int64
			if _, err := fmt.Sscan(length, &n); err != nil {
				return false, fmt.Errorf("read %q: %w", line, err)
			}
			if _, err := io.CopyN(io.Discard, r, n+2); err != nil {
				return false, err
			}
		}
		if words[0] != "VALUE" && words[0] != "STAT" {
			return false, nil
		}
	}
}

func memcachedStore(line, value string) string { return fmt.Sprintf("%s\r\n%s\r\n", line, value) }

// memcachedLong is the longest of the keys.
var memcachedLong = strings.Repeat("k", 200)

// memcachedMixed are commands whose answers are the same each time.
var memcachedMixed = []mixSaid{
	{memcachedStore("set text 0 0 7", "get tex"), []string{"set stored"}, 0},
	{memcachedStore("set text 0 0 7 noreply", "get tex"), []string{"set none"}, 1},
	{memcachedStore("set "+memcachedLong+" 0 0 3 noreply", "END"), []string{"set none"}, 1},
	{memcachedStore("add text 0 0 1", "x"), []string{"add not_stored"}, 0},
	{memcachedStore("cas text 0 0 1 999999999999", "x"), []string{"cas exists"}, 0},
	{"get text\r\n", []string{"get hit"}, 0},
	{"get nothing\r\n", []string{"get miss"}, 0},
	{"gets text nothing " + memcachedLong + "\r\n", []string{"gets partial"}, 0},
	{"gat 0 text\r\n", []string{"gat hit"}, 0},
	{"incr text 1\r\n", []string{"incr client_error"}, 0},
	{"incr nothing 1\r\n", []string{"incr not_found"}, 0},
	{"touch text 0\r\n", []string{"touch touched"}, 0},
	{"delete nothing\r\n", []string{"delete not_found"}, 0},
	{"delete nothing noreply\r\n", []string{"delete none"}, 1},
	{"delete noreply\r\n", []string{"delete not_found"}, 0},
	{"version\r\n", []string{"version ok"}, 0},
	{"mg text v t\r\n", []string{"mg hit"}, 0},
	{"mg nothing v\r\n", []string{"mg miss"}, 0},
	{memcachedStore("ms text 7", "get tex"), []string{"ms stored"}, 0},
	{"mn\r\n", []string{"mn ok"}, 0},
}

var memcachedLarge = mixSaid{memcachedStore("set large 0 0 20000", strings.Repeat("get ", 5000)) + "get large\r\n", []string{"set stored", "get hit"}, 0}

// TestMemcachedHandover mixes what the kernel matches with statistics, commands that do not exist and quiet meta commands.
func TestMemcachedHandover(t *testing.T) {
	s := memcachedService(t).await(t)
	var talks []mixTalk
	for i := range uint64(4) {
		talks = append(talks, func(enough *atomic.Bool) (map[string]int, error) {
			m, err := openMix(t, s, readMemcached)
			if err != nil {
				return nil, err
			}
			begin := []mixSaid{memcachedMixed[0], {memcachedStore("set "+memcachedLong+" 0 0 3", "END"), []string{"set stored"}, 0}}
			if err := m.ask(rand.New(rand.NewPCG(0, 0)), 1000, begin...); err != nil {
				return nil, err
			}
			return m.said, m.talk(i, enough, memcachedMixed, 16, func(rng *rand.Rand, round int, last bool) (mixSaid, bool) {
				switch {
				case last:
					return mixSaid{memcachedStore("ms text 7 q", "get tex") + "mn\r\n", []string{"ms stored", "mn ok"}, 1}, true
				case round%50 == 30:
					return mixSaid{"stats\r\n" + secret + " x\r\nGET x\r\n\r\n", []string{"stats ok", "~other error", "~other error", "~other error"}, 0}, true
				}
				return memcachedLarge, round%20 == 10
			})
		})
	}
	testHandover(t, s, "memcached", talks)
}

// TestMemcachedManyKeys asks for many keys at once on a connection that stays in user space, for it says a quiet command first. The server answers
// with some hundred buffers in one call.
func TestMemcachedManyKeys(t *testing.T) {
	const keys, asked = 100, 30
	s := memcachedService(t).await(t)
	m, err := openMix(t, s, readMemcached)
	require.NoError(t, err)
	once := rand.New(rand.NewPCG(0, 0))
	ask := func(said ...mixSaid) {
		t.Helper()
		require.NoError(t, m.ask(once, 20_000, said...))
	}
	ask(mixSaid{"mg nothing q\r\nmn\r\n", []string{"mg miss", "mn ok"}, 1})
	line := "get"
	for i := range keys {
		key := fmt.Sprintf("key%d", i)
		line += " " + key
		ask(mixSaid{memcachedStore("set "+key+" 0 0 50", strings.Repeat("END\r\n", 10)), []string{"set stored"}, 0})
	}
	one, all := mixSaid{"get key0\r\n", []string{"get hit"}, 0}, mixSaid{line + "\r\n", []string{"get hit"}, 0}
	for range asked {
		ask(all, mixSaid{"stats\r\n", []string{"stats ok"}, 0}, one, all)
	}
	checkExchanged(t, built.watchers, exchanged{protocol: "memcached", by: "any", server: s.workload, port: s.port(), want: m.said, calls: true})
}

// TestMemcachedExtraAnswer has a server answer what it was not asked: the value behind a line that it refuses is a command to it. Neither end takes
// that for the answer to the next command.
func TestMemcachedExtraAnswer(t *testing.T) {
	s := memcachedService(t).await(t)
	conn, err := net.Dial("tcp", s.address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(2*patience)))
	answers := bufio.NewReader(conn)
	say := func(said string, lines ...string) {
		t.Helper()
		_, err := io.WriteString(conn, said)
		require.NoError(t, err)
		for _, line := range lines {
			got, err := answers.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, line+"\r\n", got)
		}
	}
	gets := 0
	get := func() {
		t.Helper()
		say("get nothing\r\n", "END")
		gets++
	}
	before := handovers(t)
	require.NoError(t, poll(t.Context(), func() error { // taken at both ends
		get()
		return before.and(t, map[string]float64{"taken": 2})
	}))
	say("set text x 0 5\r\nhello\r\n", "CLIENT_ERROR bad command line format", "ERROR")
	for range 100 {
		get()
	}
	require.NoError(t, poll(t.Context(), func() error { return before.and(t, map[string]float64{"torn": 2}) })) // found at both ends
	checkExchanged(t, built.watchers, exchanged{
		protocol: "memcached", by: "a client that says it wrongly", server: s.workload, port: s.port(), want: map[string]int{"get miss": gets, "set client_error": 1}, calls: true,
	})
}
