package probe

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// twoCPUs are two that this process may run on.
func twoCPUs(t *testing.T) (cpus [2]int) {
	t.Helper()
	var allowed unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &allowed))
	if allowed.Count() < 2 {
		t.Skip("needs two CPUs")
	}
	found := 0
	for cpu := 0; found < 2; cpu++ {
		if allowed.IsSet(cpu) {
			cpus[found] = cpu
			found++
		}
	}
	return cpus
}

// together runs both, each on a CPU of its own, and again: each round begins when both have ended the one before, and each of them a moment of chance later.
func together(t *testing.T, rounds int, both [2]func() error) {
	t.Helper()
	var arrived atomic.Int64
	var stopped atomic.Bool
	var group errgroup.Group
	cpus := twoCPUs(t)
	for i, do := range both {
		group.Go(func() error {
			defer stopped.Store(true)
			runtime.LockOSThread() // for good: the thread ends with the goroutine
			var one unix.CPUSet
			one.Set(cpus[i])
			if err := unix.SchedSetaffinity(0, &one); err != nil {
				return fmt.Errorf("stay on CPU %d: %w", cpus[i], err)
			}
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for round := range rounds {
				arrived.Add(1)
				for arrived.Load() < int64(2*round+2) {
					if stopped.Load() {
						return nil
					}
				}
				for n := rng.IntN(2000); n > 0; n-- { //nolint:revive // it is to take time
				}
				if err := do(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
}

// The hook of a client's writing thread and that of its reading one are at work on one request at the same moment.
func TestResponseBesideItsRequest(t *testing.T) {
	const rounds = 20_000
	for i, tt := range []struct{ name, method, response string }{
		{"HEAD with a length", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"},
		{"HEAD in chunks", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"HEAD without a length", "HEAD", "HTTP/1.1 200 OK\r\n\r\n"},
		{"GET", "GET", ok},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := loadParts(t)
			c := k.converse(t, uint64(1<<43+i), RoleClient)
			writing, reading := *c, *c
			together(t, rounds, [2]func() error{
				func() error { return writing.trySay(sent, tt.method+" /a HTTP/1.1\r\n\r\n") },
				func() error { return reading.trySay(received, tt.response) },
			})
			c.say(sent, "GET /b HTTP/1.1\r\n\r\n")
			c.say(received, ok)
			if got, want := c.counted(), map[string]int{tt.method + " /a 200": rounds, "GET /b 200": 1}; !maps.Equal(got, want) {
				t.Errorf("counted %v, want %v", got, want)
			}
			for _, reason := range []string{"malformed", "request_unseen", "response_unseen"} {
				if n := k.lost(t, reason); n != 0 {
					t.Errorf("%s: %d", reason, n)
				}
			}
		})
	}
}
