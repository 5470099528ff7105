package binary

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// mix is a connection that says all kinds of commands, in calls of any size, while their answers come.
type mix struct {
	conn  net.Conn
	said  map[string]int
	wait  chan int // answers to come
	heard chan error
}

// openMix connects. read reads one answer; unasked says that nobody asked for it.
func openMix(t *testing.T, s service, read func(r *bufio.Reader) (unasked bool, err error)) *mix {
	conn, err := net.Dial("tcp", s.address)
	require.NoError(t, err)
	m := &mix{conn: conn, said: map[string]int{}, wait: make(chan int), heard: make(chan error)}
	t.Cleanup(func() { conn.Close(); close(m.wait) })
	go func() {
		r := bufio.NewReader(conn)
		for n := range m.wait {
			var err error
			for n > 0 && err == nil {
				var unasked bool
				if unasked, err = read(r); !unasked {
					n--
				}
			}
			m.heard <- err
		}
	}()
	return m
}

// mixSaid are bytes, and the commands in them.
type mixSaid struct {
	bytes  string
	as     []string
	silent int // how many of them are not answered, or by what nobody asked for
}

// ask says commands in calls of up to size bytes, and returns when they are answered.
func (m *mix) ask(t *testing.T, rng *rand.Rand, size int, all []mixSaid) {
	t.Helper()
	var out strings.Builder
	n := 0
	for _, one := range all {
		out.WriteString(one.bytes)
		for _, as := range one.as {
			m.said[as]++
			n++
		}
		n -= one.silent
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

// talk goes on until there is enough, with up to some commands at once. place says what else to say in a round, between what is the same each time; last is once, near the end.
func (m *mix) talk(t *testing.T, seed uint64, enough *atomic.Bool, same []mixSaid, most int, place func(rng *rand.Rand, round int, last bool) (mixSaid, bool)) {
	rng := rand.New(rand.NewPCG(7, seed))
	last := -1
	for round := 0; round != last; round++ {
		if last < 0 && enough.Load() {
			last = round + 20
		}
		var all []mixSaid
		for range 1 + rng.IntN(most) {
			all = append(all, same[rng.IntN(len(same))])
		}
		if one, ok := place(rng, round, last == round+10); ok {
			all[rng.IntN(len(all))] = one
		}
		size := []int{1, 30, 300, 20_000}[min(rng.IntN(40), 3)]
		if round%20 == 10 {
			size = 20_000
		}
		m.ask(t, rng, size, all)
	}
}

// mixTalk speaks on a connection of its own until there is enough, and returns what it said.
type mixTalk func(t *testing.T, enough *atomic.Bool) map[string]int

// testHandover has connections say what is matched in the kernel and, in between, what is not: those change hands in the middle of pipelines, in
// both directions. Each command counts once.
func testHandover(t *testing.T, s service, protocol string, talks []mixTalk) {
	var group sync.WaitGroup
	var enough atomic.Bool
	before := map[*vetch]map[string]float64{}
	for _, v := range built.watchers {
		before[v] = handovers(t, v)
	}
	said := make([]map[string]int, len(talks))
	for i, talk := range talks {
		group.Go(func() { said[i] = talk(t, &enough) })
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
	for _, one := range said {
		for as, n := range one {
			want[as] += n
		}
	}
	if t.Failed() {
		return
	}
	checkExchanged(t, built.watchers, exchanged{protocol: protocol, by: "any", server: s.workload, port: s.port(), want: maps.Clone(want), calls: true})
	for _, v := range built.watchers {
		requireNoSecret(t, v)
	}
}

func handovers(t *testing.T, v *vetch) map[string]float64 {
	return v.mustRead(t).by("vetch_protocol_handovers_total", nil, "event")
}
