package tracer

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/agent/digest"
	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

// newDigest is an agent's, on a machine with one address.
func newDigest(t *testing.T) *digest.Digest {
	t.Helper()
	book, err := process.New(process.Options{Root: t.TempDir(), Hostname: "box", Addresses: func(_, netns uint32) ([]netip.Addr, error) {
		if netns != 0 {
			return nil, os.ErrNotExist
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.5")}, nil
	}})
	require.NoError(t, err)
	d, err := digest.New(digest.Options{Book: book, Machine: process.Machine{Hostname: "box"}})
	require.NoError(t, err)
	return d
}

// edges are the bytes and retransmits of all edges, a line each.
func edges(d *digest.Digest) string {
	d.Flush(time.Now().Add(time.Minute))
	var out []string
	d.Gather(func(s model.Sample) {
		if s.Family.Name == "vetch_edge_bytes_total" || s.Family.Name == "vetch_edge_retransmits_total" {
			l := s.Labels
			out = append(out, fmt.Sprintf("%s/%s -> %s/%s:%s %s %v", l.Get("client_kind"), l.Get("client"), l.Get("server_kind"), l.Get("server"), l.Get("port"),
				l.Get("direction"), s.Value))
		}
	})
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// town is a machine whose traffic both of two agents are to see.
type town struct {
	*machine
	owners               []probe.Owner
	curl, nginx          probe.PairKey // over loopback
	shop, postgres       probe.PairKey // two pods, through the address of a service
	visitor, outside, v6 probe.PairKey
}

func newTown(t *testing.T) *town {
	m := newMachine(t)
	host, shop, db := m.space("host", "00000000:0050"), m.space("shop"), m.space("db", "00000000000000000000000000000000:1538")
	w := &town{machine: m}
	for i, p := range []struct {
		exe, space string
		netns      uint32
	}{{"curl", "host", host}, {"nginx", "host", host}, {"shop", "shop", shop}, {"postgres", "db", db}} {
		m.process(101+i, p.exe, p.space, "5")
		w.owners = append(w.owners, probe.Owner{ID: probe.OwnerID(1 + i), PID: uint32(101 + i), Exe: p.exe, Comm: p.exe, NetNS: p.netns, PathV1: "/app", PathV2: "/"})
	}
	key := func(owner probe.OwnerID, role probe.Role, netns uint32, local, remote string, peer probe.OwnerID) probe.PairKey {
		return probe.PairKey{Owner: owner, Role: role, NetNS: netns, Local: addr(local), Remote: addr(remote), Peer: peer}
	}
	w.curl = key(1, probe.RoleClient, host, "127.0.0.1:0", "127.0.0.1:80", 2)
	w.curl.Actual = w.curl.Remote
	w.nginx = key(2, probe.RoleServer, host, "127.0.0.1:80", "127.0.0.1:0", 1)
	w.shop = key(3, probe.RoleClient, shop, "10.1.0.1:0", "10.96.0.9:5432", 4)
	w.shop.Actual = addr("10.1.0.2:5432")
	w.postgres = key(4, probe.RoleServer, db, "10.1.0.2:5432", "10.1.0.1:0", 3)
	w.visitor = key(2, probe.RoleServer, host, "10.0.0.5:80", "192.0.2.50:0", 0)
	w.outside = key(3, probe.RoleClient, shop, "10.1.0.1:0", "192.0.2.9:443", 0)
	w.v6 = key(3, probe.RoleClient, shop, "[2001:db8::1]:0", "[2001:db8::9]:443", 0)
	return w
}

// busy is a snapshot in which everybody exchanged something.
func (w *town) busy(now time.Time, n uint64) *probe.Snapshot {
	s := &probe.Snapshot{Time: now, Owners: w.owners}
	s.Listeners = []probe.Listener{{Owner: 2, NetNS: w.nginx.NetNS, Addr: addr("0.0.0.0:80")}, {Owner: 4, NetNS: w.postgres.NetNS, Addr: addr("[::]:5432")}}
	for i, ends := range [][2]probe.PairKey{{w.curl, w.nginx}, {w.shop, w.postgres}, {w.visitor}, {w.outside}, {w.v6}} {
		for _, k := range ends {
			if k.Owner == 0 {
				continue
			}
			d := probe.PairDelta{Key: k, BytesSent: n * uint64(100+i), BytesReceived: n * uint64(1000+i), Retransmits: n, SampleLocal: k.Local}
			if k.Role == probe.RoleServer {
				d.BytesSent, d.BytesReceived = d.BytesReceived, d.BytesSent
			} else {
				d.SampleLocal = netip.AddrPortFrom(k.Local.Addr(), uint16(40_000+i))
			}
			s.Pairs = append(s.Pairs, d)
		}
	}
	return s
}

// TestBothSides has our source read our server: two agents, one of which has no kernel programs, show the same edges. The server begins anew on the way.
func TestBothSides(t *testing.T) {
	w := newTown(t)
	path := filepath.Join(t.TempDir(), "tracer.sock")
	source, err := NewSource(SourceOptions{Path: path, PollInterval: 5 * time.Millisecond})
	require.NoError(t, err)
	source.book.proc, source.book.owners = procfs{w.root}, newOwners(procfs{w.root})

	first, second := newDigest(t), newDigest(t)
	var mu sync.Mutex
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- source.Run(ctx, func(s probe.Snapshot) {
			mu.Lock()
			defer mu.Unlock()
			second.Apply(s)
		})
	}()
	polled := func(result string, more uint64) {
		t.Helper()
		source.mu.Lock()
		from := source.polls[result]
		source.mu.Unlock()
		require.Eventually(t, func() bool {
			source.mu.Lock()
			defer source.mu.Unlock()
			return source.polls[result] >= from+more
		}, time.Minute, time.Millisecond)
	}
	polled(pollUnreachable, 2)
	require.Equal(t, map[string]bool{"tracer": false}, source.Stats().Hooks)
	for round := range uint64(3) {
		server, end := listen(t, path)
		polled(pollDone, 1) // what a tracer has before it is first read does not count
		for i := range uint64(4) {
			s := w.busy(time.Now(), 1+round+i)
			server.Apply(s, nil)
			mu.Lock()
			first.Apply(*s)
			mu.Unlock()
			polled(pollDone, 2)
		}
		polled(pollDone, keepWaiting)
		require.True(t, source.Stats().Hooks["tracer"])
		end()
		polled(pollUnreachable, 1)
	}
	stop()
	require.NoError(t, <-done)
	want := edges(first)
	require.Equal(t, want, edges(second))
	for _, line := range []string{
		"Process/curl -> Process/nginx:80 sent 4200", "Process/shop -> Process/postgres:5432 received 42042", "External/192.0.2.50 -> Process/nginx:80 sent 4284",
		"Process/shop -> External/2001:db8::9:443 received 42168", "Process/shop -> External/192.0.2.9:443  42",
	} {
		require.Contains(t, want, line)
	}
	for reason, n := range source.Stats().Lost {
		require.Zero(t, n, reason)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	require.Equal(t, []time.Duration{2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 20 * time.Second, maxBackOff, maxBackOff},
		[]time.Duration{backOff(5e9, 1), backOff(5e9, 2), backOff(5e9, 3), backOff(5e9, 4), backOff(5e9, 5), backOff(5e9, 1<<40)})
	require.Equal(t, time.Minute, backOff(time.Minute, 9))
	_, err := Check(t.Context(), filepath.Join(t.TempDir(), "none.sock"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

const benchPairs = 20_000

// crowd is a snapshot of as many pairs, half of them servers of the other half.
func crowd() *probe.Snapshot {
	s := &probe.Snapshot{Time: time.Now()}
	for i := range benchPairs / 2 {
		from, to := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 2, 0, byte(i)}), 80)
		client, server := probe.OwnerID(1+i%100), probe.OwnerID(1000+i%256)
		s.Pairs = append(s.Pairs,
			delta(probe.PairKey{Owner: client, Role: probe.RoleClient, NetNS: 1, Local: netip.AddrPortFrom(from, 0), Remote: to, Actual: to, Peer: server}, 1e6, 1e9),
			delta(probe.PairKey{Owner: server, Role: probe.RoleServer, NetNS: 2, Local: to, Remote: netip.AddrPortFrom(from, 0), Peer: client}, 1e9, 1e6))
		s.Owners = append(s.Owners, probe.Owner{ID: client, PID: uint32(client)}, probe.Owner{ID: server, PID: uint32(server)})
	}
	return s
}

func BenchmarkApply(b *testing.B) {
	s, t := crowd(), newTable()
	b.ReportAllocs()
	for b.Loop() {
		t.apply(s, nil, func(*row) {})
	}
}

func BenchmarkAnswer(b *testing.B) {
	s := unserved()
	s.Apply(crowd(), nil)
	var size int
	b.ReportAllocs()
	for b.Loop() {
		rows, _ := s.answer("a", time.Now())
		var out bytes.Buffer
		require.NoError(b, writeConnections(bufio.NewWriter(&out), rows))
		size = out.Len()
	}
	b.ReportMetric(float64(size), "bytes/answer")
}

func BenchmarkRead(b *testing.B) {
	s := unserved()
	s.Apply(crowd(), nil)
	rows, _ := s.answer("a", time.Now())
	require.Len(b, rows, benchPairs)
	m := newMachine(b)
	ns := m.space("host")
	for pid := range 1300 {
		m.process(pid+1, "program", "host", "5")
	}
	for i := range rows {
		rows[i].NetNS = ns
	}
	var text bytes.Buffer
	require.NoError(b, writeConnections(bufio.NewWriter(&text), rows))
	book := newBook(procfs{m.root})
	b.ReportAllocs()
	for b.Loop() {
		got, err := decode(bytes.NewReader(text.Bytes()))
		require.NoError(b, err)
		book.read(got.rows, false, true, at(0))
		book.take(at(0))
	}
}
