package agent

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/agent/clock"
	"github.com/vetch-dev/vetch/agent/names"
	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/protocol"
)

// takeDatagram gives a datagram to what matches questions with answers.
func (s *streams) takeDatagram(r *probe.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := r.Datagram
	s.datagrams.Take(&protocol.Datagram{
		Socket: r.Socket, Owner: uint64(d.Owner), NetNS: d.NetNS, Local: d.Local, Remote: d.Remote, At: r.At, Sent: r.Sent, Data: r.Data,
	})
}

// advance settles what is settled by time, and learns the names that were found.
func (s *streams) advance() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.datagrams.Advance(int64(clock.Monotonic()))
	found := s.datagrams.Answers()
	if len(found) == 0 {
		return
	}
	now := time.Now()
	for i := range found {
		s.learn(now, found[i].Owner, &found[i].Answer)
	}
}

// learn puts the addresses that a client found into the book of names.
func (s *streams) learn(now time.Time, client uint64, a *protocol.Answer) {
	for _, addr := range a.Addrs {
		s.names.Add(now, names.Sighting{Client: client, Addr: addr, Name: a.Name, Source: names.DNS, TTL: a.TTL})
	}
}

// addDatagrams appends what datagrams said since the last snapshot to this one: pairs that the kernel does not keep, and their requests.
func (s *streams) addDatagrams(snapshot *probe.Snapshot, owner func(*probe.Snapshot, probe.OwnerID)) {
	now := int64(clock.Monotonic())
	s.datagrams.Drain(now, func(pair protocol.DatagramPair, tallies []*protocol.Tally, t protocol.DatagramTraffic) {
		key := probe.PairKey{
			Owner: probe.OwnerID(pair.Owner), Role: probe.RoleClient, NetNS: pair.NetNS, Local: pair.Local, Remote: pair.Remote,
			Actual: pair.Actual, Peer: probe.OwnerID(pair.Peer), Datagrams: true,
		}
		if pair.Server {
			key.Role = probe.RoleServer
		}
		owner(snapshot, key.Owner)
		owner(snapshot, key.Peer)
		delta := probe.PairDelta{Key: key, BytesSent: t.Sent, BytesReceived: t.Received, Gone: t.Gone}
		if !pair.Server {
			delta.SampleLocal = t.Sample
		}
		snapshot.Pairs = append(snapshot.Pairs, delta)
		for _, t := range tallies {
			addRequests(snapshot, key, t)
		}
	})
	s.datagrams.Servers(now, func(a protocol.Answering) {
		owner(snapshot, probe.OwnerID(a.Owner))
		local := netip.AddrPortFrom(a.Local.Addr().Unmap(), a.Local.Port())
		snapshot.Answering = append(snapshot.Answering, probe.Listener{Owner: probe.OwnerID(a.Owner), NetNS: a.NetNS, Addr: local})
	})
}

// registerDatagrams exports how near the bounds are and what was lost.
func (s *streams) registerDatagrams(to prometheus.Registerer) error {
	stats := &s.datagrams.Stats
	for _, g := range []struct {
		name, help string
		value      func() int64
	}{
		{"vetch_protocol_questions", "Questions by UDP that wait for their answer.", stats.Waiting.Load},
		{"vetch_protocol_max_questions", "Limit of vetch_protocol_questions.", func() int64 { return protocol.MaxQuestions }},
		{"vetch_protocol_datagram_pairs", "Pairs of a client and a server that exchange datagrams.", stats.Pairs.Load},
		{"vetch_protocol_max_datagram_pairs", "Limit of vetch_protocol_datagram_pairs.", func() int64 { return protocol.MaxDatagramPairs }},
	} {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 { return float64(g.value()) })
		if err := to.Register(gauge); err != nil {
			return fmt.Errorf("register %s: %w", g.name, err)
		}
	}
	return nil
}
