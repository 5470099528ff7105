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
	"golang.org/x/sync/errgroup"
)

// mix is a connection that says all kinds of commands, in calls of any size, while their answers come.
type mix struct {
	conn  net.Conn
	said  map[string]int
	whole bool     // calls seldom end inside of a command
	wait  chan int // answers to come
	heard chan error
}

// openMix connects. read reads one answer; unasked says that nobody asked for it.
func openMix(t *testing.T, s service, read func(r *bufio.Reader) (unasked bool, err error)) (*mix, error) {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return nil, err
	}
	return mixOn(t, conn, read), nil
}

// mixOn is openMix on a connection that is there.
func mixOn(t *testing.T, conn net.Conn, read func(r *bufio.Reader) (unasked bool, err error)) *mix {
	m := &mix{conn: conn, said: map[string]int{}, wait: make(chan int), heard: make(chan error, 1)}
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
func (m *mix) ask(rng *rand.Rand, size int, all ...mixSaid) error {
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
	if err := m.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	m.wait <- n
	for rest := out.String(); len(rest) > 0; {
		k := min(1+rng.IntN(size), len(rest))
		if _, err := io.WriteString(m.conn, rest[:k]); err != nil {
			return err
		}
		rest = rest[k:]
	}
	return <-m.heard
}

// talk goes on until there is enough, with up to some commands at once. place says what else to say in a round, between what is the same each time; last is once, near the end.
func (m *mix) talk(seed uint64, enough *atomic.Bool, same []mixSaid, most int, place func(rng *rand.Rand, round int, last bool) (mixSaid, bool)) error {
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
		odds := 40
		if m.whole {
			odds = 1000
		}
		size := []int{1, 30, 300, 20_000}[min(rng.IntN(odds), 3)]
		if round%20 == 10 {
			size = 20_000
		}
		if err := m.ask(rng, size, all...); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	return nil
}

// mixTalk speaks on a connection of its own until there is enough, and returns what it said. It runs in a goroutine of its own.
type mixTalk func(enough *atomic.Bool) (map[string]int, error)

// testHandover has connections say what is matched in the kernel and, in between, what is not: those change hands in the middle of pipelines, in
// both directions. Each command counts once.
func testHandover(t *testing.T, s service, protocol string, talks []mixTalk) {
	var group errgroup.Group
	var enough atomic.Bool
	defer func() {
		enough.Store(true)
		group.Wait() //nolint:errcheck // asked for below
	}()
	before := handovers(t)
	said := make([]map[string]int, len(talks))
	for i, talk := range talks {
		group.Go(func() (err error) {
			said[i], err = talk(&enough)
			return err
		})
	}
	require.NoError(t, poll(t.Context(), func() error { return before.and(t, map[string]float64{"taken": 12, "back": 8}) }))
	enough.Store(true)
	require.NoError(t, group.Wait())
	want := map[string]int{}
	for _, one := range said {
		for as, n := range one {
			want[as] += n
		}
	}
	checkExchanged(t, built.watchers, exchanged{protocol: protocol, by: "any", server: s.workload, port: s.port(), want: want, calls: true})
	for _, v := range built.watchers {
		requireNoSecret(t, v)
	}
}

// handoverCounts are what each vetch has counted, by event.
type handoverCounts map[*vetch]map[string]float64

func handovers(t *testing.T) handoverCounts {
	counts := handoverCounts{}
	for _, v := range built.watchers {
		counts[v] = v.mustRead(t).by("vetch_protocol_handovers_total", nil, "event")
	}
	return counts
}

// and holds that each vetch has counted so many more since.
func (before handoverCounts) and(t *testing.T, more map[string]float64) error {
	for v, now := range handovers(t) {
		for event, n := range more {
			if now[event] < before[v][event]+n {
				return fmt.Errorf("%s hook: not %v more %q: %v, before %v", v.hook, n, event, now, before[v])
			}
		}
	}
	return nil
}
