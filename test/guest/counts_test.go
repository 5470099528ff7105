// Package guest tests the probe alone, with both ends of every conversation in its own process; test/kernel runs it on other kernels.
package guest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/test/conversation"
)

// counts is the sum of all snapshots: what each end of each server port was counted to have done.
type counts struct {
	mu       sync.Mutex
	requests map[end]map[string]uint64 // "GET /route 200" or "GET /route 200 cut"
	sent     map[end]uint64
	received map[end]uint64
	opened   map[end]uint64
	own      map[probe.OwnerID]bool // this process: the traffic of others may reuse a port
	ports    map[uint16]bool        // used by this test
	stats    func() probe.Stats
}

// end is one side of all connections to one server port. All tests here use a port of their own.
type end struct {
	role probe.Role
	port uint16
}

func endOf(k probe.PairKey) end {
	if k.Role == probe.RoleClient {
		return end{k.Role, k.Remote.Port()}
	}
	return end{k.Role, k.Local.Port()}
}

func (c *counts) add(s probe.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range s.Owners {
		if int(o.PID) == os.Getpid() {
			c.own[o.ID] = true
		}
	}
	for _, p := range s.Pairs {
		if !c.own[p.Key.Owner] {
			continue
		}
		e := endOf(p.Key)
		c.sent[e] += p.BytesSent
		c.received[e] += p.BytesReceived
		c.opened[e] += p.Opened
	}
	for _, r := range s.Requests {
		if !c.own[r.Pair.Owner] {
			continue
		}
		e := endOf(r.Pair)
		if c.requests[e] == nil {
			c.requests[e] = map[string]uint64{}
		}
		c.requests[e][name(r.Method, r.Route, cmp.Or(r.Code, "0"), r.Cut)] += r.Count
	}
}

func name(method, route, code string, cut bool) string {
	text := fmt.Sprintf("%s %s %s", method, route, code)
	if cut {
		text += " cut"
	}
	return text
}

// probing runs a probe until the test ends. Kernels before 6.3 have no socket hook.
func probing(t *testing.T, hook string) *counts {
	t.Helper()
	p, err := probe.New(probe.Options{Hook: hook, PollInterval: 200 * time.Millisecond})
	if errors.Is(err, probe.ErrUnsupported) && hook == probe.HookSocket && !atLeast(6, 3) {
		t.Skipf("this kernel has no such hook: %v", err)
	}
	require.NoError(t, err)
	c := &counts{requests: map[end]map[string]uint64{}, sent: map[end]uint64{}, received: map[end]uint64{}, opened: map[end]uint64{},
		own: map[probe.OwnerID]bool{}, ports: map[uint16]bool{}, stats: p.Stats}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, c.add) }()
	t.Cleanup(func() {
		t.Log("lost in all:", c.lost(nil))
		cancel()
		require.NoError(t, errors.Join(<-done, p.Close()))
	})
	return c
}

// lost is what the probe says it could not see since before, without zeroes.
func (c *counts) lost(before map[string]uint64) map[string]uint64 {
	now := c.stats().Lost
	maps.DeleteFunc(now, func(reason string, n uint64) bool { return n == before[reason] })
	return now
}

func atLeast(major, minor int) bool {
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return false
	}
	var a, b int
	fmt.Sscanf(unix.ByteSliceToString(uname.Release[:]), "%d.%d", &a, &b)
	return a > major || a == major && b >= minor
}

// TestScripts plays all conversations at both ends and compares what each end was counted to have done.
func TestScripts(t *testing.T) {
	for _, hook := range []string{probe.HookSocket, probe.HookSyscall} {
		t.Run(hook, func(t *testing.T) {
			c := probing(t, hook)
			for i, script := range conversation.Scripts() {
				host := [...]string{"127.0.0.1", "::1"}[i%2]
				t.Run(script.Name, func(t *testing.T) { playAndCompare(t, c, script, host) })
			}
		})
	}
}

// played is one script on one port.
type played struct {
	script  conversation.Script
	port    uint16
	conns   int
	times   int // in all
	problem error
}

func playAndCompare(t *testing.T, c *counts, script conversation.Script, host string) {
	t.Helper()
	listener := c.listen(t, host)
	defer listener.Close()
	before := c.stats().Lost
	p := play(script, listener, 3, 4)
	require.NoError(t, p.problem)
	deadline := time.Now().Add(3 * time.Second)
	if os.Getenv("VETCH_GUEST") != "" {
		deadline = deadline.Add(10 * time.Second)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		d := c.differences(p)
		if len(d) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s\nlost meanwhile: %v", strings.Join(d, "\n"), c.lost(before))
		}
		<-tick.C
	}
}

func (c *counts) differences(p played) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var d []string
	differ := func(what string, want, got any) {
		if fmt.Sprint(want) != fmt.Sprint(got) {
			d = append(d, fmt.Sprintf("%s: want %v, got %v", what, want, got))
		}
	}
	up, down := p.script.Volume()
	for _, side := range []struct {
		what           string
		role           probe.Role
		sent, received int
	}{{"client", probe.RoleClient, up, down}, {"server", probe.RoleServer, down, up}} {
		e := end{side.role, p.port}
		if !p.script.Loose {
			differ(side.what+" requests", p.wanted(c.requests[e]), present(c.requests[e]))
		}
		differ(side.what+" bytes sent", side.sent*p.times, c.sent[e])
		differ(side.what+" bytes received", side.received*p.times, c.received[e])
		differ(side.what+" connections", p.conns, c.opened[e])
	}
	return d
}

func present(m map[string]uint64) map[string]uint64 {
	kept := maps.Clone(m)
	maps.DeleteFunc(kept, func(_ string, n uint64) bool { return n == 0 })
	return kept
}

// wanted is what the script lays down, with open routes filled in from what was counted.
func (p played) wanted(got map[string]uint64) map[string]uint64 {
	want := map[string]uint64{}
	for _, w := range p.script.Want {
		key := name(w.Method, w.Route, strconv.Itoa(w.Code), w.Cut)
		if w.Route == "" {
			for _, k := range slices.Sorted(maps.Keys(got)) {
				if strings.HasPrefix(k, w.Method+" ") && strings.HasSuffix(k, strings.TrimPrefix(key, w.Method+" ")) {
					key = k
				}
			}
		}
		want[key] += uint64(w.Count * p.times)
	}
	return want
}

// listen opens a port that this test has not used before.
func (c *counts) listen(t *testing.T, host string) *net.TCPListener {
	t.Helper()
	for {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(host)})
		require.NoError(t, err)
		if port := uint16(listener.Addr().(*net.TCPAddr).Port); !c.ports[port] {
			c.ports[port] = true
			return listener
		}
		listener.Close()
	}
}

// play plays the script on conns connections, times times on each that lasts.
func play(script conversation.Script, listener *net.TCPListener, conns, times int) (p played) {
	if script.Ends() {
		times = 1
	}
	p = played{script: script, conns: conns, times: conns * times, port: uint16(listener.Addr().(*net.TCPAddr).Port)}
	served := make(chan error, 1)
	go func() { served <- each(conns, times, conversation.Server, script, listener.AcceptTCP) }()
	asked := each(conns, times, conversation.Client, script, func() (*net.TCPConn, error) {
		return net.DialTCP("tcp", nil, listener.Addr().(*net.TCPAddr))
	})
	if asked != nil {
		listener.Close()
	}
	p.problem = errors.Join(asked, <-served)
	return p
}

func each(conns, times int, as conversation.Speaker, script conversation.Script, open func() (*net.TCPConn, error)) error {
	for range conns {
		conn, err := open()
		if err != nil {
			return err
		}
		for range times {
			if _, err := conversation.Play(conn, as, script); err != nil {
				conn.Close()
				return err
			}
		}
		if err := conversation.Finish(conn, as, script); err != nil {
			return err
		}
	}
	return nil
}
