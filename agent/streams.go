package agent

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/agent/clock"
	"github.com/vetch-dev/vetch/agent/names"
	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/protocol"
)

// keepUnpaired is how many snapshots a tally waits for its pair to be read.
const keepUnpaired = 3

// streams joins the records of the probe with the protocols: what connections say becomes requests of their pairs.
type streams struct {
	mu        sync.Mutex // records come on one goroutine, snapshots on another
	streams   *protocol.Streams
	hellos    *protocol.Hellos
	unpaired  []unpaired
	lost      atomic.Uint64 // exchanges and TLS connections whose pair was never read
	names     *names.Book   // of addresses outside, as far as connections tell
	datagrams *protocol.Datagrams
	panics    atomic.Uint64
	log       *slog.Logger
}

// unpaired is what connections of a pair did that was not read yet.
type unpaired struct {
	pair, count uint64
	give        func(*probe.Snapshot, probe.PairKey)
	turns       int
}

// matchedWords are what the kernel has to know to match the requests of the protocols that it can.
func matchedWords(operations *protocol.Operations) []probe.Words {
	return []probe.Words{
		probe.WordsOf(protocol.Redis(), protocol.RedisWords()),
		probe.WordsOf(protocol.Memcached(), protocol.MemcachedWords()),
		probe.WordsOf(protocol.PostgreSQL(), protocol.PostgresWords(operations)),
		probe.WordsOf(protocol.MySQL(), protocol.MySQLWords(operations)),
	}
}

func newStreams(log *slog.Logger, outside *names.Book) *streams {
	return &streams{log: log, streams: protocol.NewStreams(protocol.Table()), hellos: protocol.NewHellos(), names: outside, datagrams: protocol.NewDatagrams()}
}

// register exports how near the bounds are and what was lost.
func (s *streams) register(to prometheus.Registerer) error {
	stats := &s.streams.Stats
	for _, g := range []struct {
		name, help string
		value      func() int64
	}{
		{"vetch_protocol_streams", "Connections whose bytes are read in user space.", stats.Streams.Load},
		{"vetch_protocol_max_streams", "Limit of vetch_protocol_streams.", func() int64 { return stats.MaxStreams }},
		{"vetch_protocol_stream_bytes", "Bytes of connections that wait for the rest of a message.", stats.Bytes.Load},
		{"vetch_protocol_operations", "Operations of statements that the kernel can count.", func() int64 { n, _ := s.streams.Operations.Len(); return int64(n) }},
		{"vetch_protocol_max_operations", "Limit of vetch_protocol_operations.", func() int64 { _, most := s.streams.Operations.Len(); return int64(most) }},
		{"vetch_protocol_stream_limit_bytes", "Limit of vetch_protocol_stream_bytes.", func() int64 { return stats.MaxMemory }},
	} {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 { return float64(g.value()) })
		if err := to.Register(gauge); err != nil {
			return fmt.Errorf("register %s: %w", g.name, err)
		}
	}
	for event, of := range map[string]protocol.MatchEvent{"refused": protocol.MatchNone, "marked": protocol.MatchMark, "taken": protocol.MatchTaken, "back": protocol.MatchBack, "torn": protocol.MatchTorn} {
		counter := prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "vetch_protocol_handovers_total", Help: "Connections whose requests were to be matched in the kernel from there on, or no longer, by event.", ConstLabels: prometheus.Labels{"event": event},
		}, func() float64 { return float64(stats.Matches[of].Load()) })
		if err := to.Register(counter); err != nil {
			return fmt.Errorf("register vetch_protocol_handovers_total: %w", err)
		}
	}
	if err := s.registerDatagrams(to); err != nil {
		return err
	}
	datagrams := &s.datagrams.Stats
	hellos := &s.hellos.Stats
	for reason, counts := range map[string][]*atomic.Uint64{
		"desynced": {&stats.Desynced}, "missed": {&stats.Missed}, "refused": {&stats.Refused, &hellos.Refused}, "unrecognised": {&stats.Unrecognised},
		"held": {&stats.Held, &hellos.Held}, "unpaired": {&s.lost},
		"unreadable": {&datagrams.Unreadable}, "unasked": {&datagrams.Unasked}, "questions_full": {&datagrams.Refused},
		"places": {&stats.Places}, "panic": {&s.panics},
	} {
		counter := prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "vetch_protocol_events_lost_total", Help: "What the protocols could not count, by reason.", ConstLabels: prometheus.Labels{"reason": reason},
		}, func() (sum float64) {
			for _, count := range counts {
				sum += float64(count.Load())
			}
			return sum
		})
		if err := to.Register(counter); err != nil {
			return fmt.Errorf("register the losses of streams: %w", err)
		}
	}
	return nil
}

// run reads records until ctx ends.
func (s *streams) run(ctx context.Context, p *probe.Probe) error {
	take := func(r *probe.Record) probe.Verdict {
		verdict := s.take(r)
		s.tell(p)
		return verdict
	}
	return p.ReadRecords(ctx, take, s.advance)
}

// tell has the kernel know statements, before a verdict is given that counts on it.
func (s *streams) tell(p *probe.Probe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams.Statements(p.Enter)
}

func (s *streams) take(r *probe.Record) (verdict probe.Verdict) {
	defer s.survive(r, &verdict)
	if r.Datagram != nil {
		s.takeDatagram(r)
		return probe.Ship
	}
	if r.Asked != nil {
		if host := protocol.RequestHost(r.Data); host != "" {
			s.names.Add(time.Now(), names.Sighting{Client: uint64(r.Asked.Owner), Addr: r.Asked.To.Addr(), Port: r.Asked.To.Port(), Name: host, Source: names.Host})
		}
		return probe.Ship
	}
	direction := protocol.FromServer
	if r.Sent == (r.Role == probe.RoleClient) {
		direction = protocol.FromClient
	}
	piece := protocol.Piece{
		Stream: protocol.StreamID{Socket: r.Socket, Opened: r.Opened}, Pair: r.Pair, At: r.At, Seq: r.Seq,
		Direction: direction, Adopted: r.Adopted, Closed: r.Closed, Data: r.Data, Passed: r.Passed,
		Match: protocol.MatchEvent(r.Match), Other: r.Other,
	}
	if u := r.Upgrade; u != nil {
		piece.Upgrade = &protocol.Upgrade{Method: u.Method, Route: u.Route}
		piece.Upgrade.Next[direction], piece.Upgrade.Next[1-direction], piece.Upgrade.Torn[1-direction] = r.Seq, u.Seq, u.Torn
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Hello {
		s.hellos.Take(&piece)
		return probe.Ship
	}
	switch s.streams.Take(&piece) {
	case protocol.Ignore:
		return probe.Ignore
	case protocol.HTTP1:
		return probe.Parse
	case protocol.Frame:
		return probe.ShipFramed(uint8(s.streams.Framing(piece.Stream)))
	case protocol.Whole:
		return probe.ShipFramed(0)
	case protocol.Offer:
		return probe.OfferMatch(uint8(s.streams.Matched(piece.Stream)), uint8(s.streams.Framing(piece.Stream)))
	case protocol.Confirm:
		return probe.ConfirmMatch(uint8(s.streams.Matched(piece.Stream)), uint8(s.streams.Framing(piece.Stream)))
	default:
		return probe.Ship
	}
}

// maxPanicsTold is how many are in the log, with where they were.
const maxPanicsTold = 10

// survive gives up the connection whose bytes a parser panicked on: a mistake of ours must not cost more than that.
func (s *streams) survive(r *probe.Record, verdict *probe.Verdict) {
	reason := recover()
	if reason == nil {
		return
	}
	if s.panics.Add(1) <= maxPanicsTold {
		s.log.Error("a parser failed, please report this; what its connection says is not read any more", "panic", reason, "stack", string(debug.Stack()))
	}
	*verdict = probe.Ignore
	if r.Datagram != nil {
		*verdict = probe.Ship
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams.Abandon(protocol.StreamID{Socket: r.Socket, Opened: r.Opened})
}

// add appends what the streams counted since the last snapshot to this one.
func (s *streams) add(snapshot *probe.Snapshot, pair func(uint64) (probe.PairKey, bool), owner func(*probe.Snapshot, probe.OwnerID)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.unpaired
	s.unpaired = nil
	for _, u := range waiting {
		s.give(snapshot, u, pair)
	}
	now := int64(clock.Monotonic())
	s.streams.Drain(now, func(t *protocol.Tally) {
		s.give(snapshot, unpaired{pair: t.Pair, count: max(t.Count, 1), give: func(to *probe.Snapshot, key probe.PairKey) { addRequests(to, key, t) }}, pair)
	})
	s.hellos.Drain(now, func(t protocol.HandshakeTally) {
		s.give(snapshot, unpaired{pair: t.Pair, count: t.Count, give: func(to *probe.Snapshot, key probe.PairKey) { s.addHandshakes(to, key, t) }}, pair)
	})
	s.addLags(snapshot, now, pair)
	for _, found := range s.streams.Answers() {
		if key, ok := pair(found.Pair); ok && key.Role == probe.RoleClient {
			s.learn(snapshot.Time, uint64(key.Owner), &found.Answer)
		}
	}
	s.addDatagrams(snapshot, owner)
}

// addLags adds up what consumers have not read yet, as of now.
func (s *streams) addLags(snapshot *probe.Snapshot, now int64, pair func(uint64) (probe.PairKey, bool)) {
	type reading struct {
		pair  uint64
		topic string
	}
	records := map[reading]uint64{}
	s.streams.Lags(now, func(pair uint64, topic string, n int64) { records[reading{pair, topic}] += uint64(max(n, 0)) })
	for r, n := range records {
		if key, ok := pair(r.pair); ok { // else with the next snapshot
			snapshot.Lags = append(snapshot.Lags, probe.Lag{Pair: key, Topic: r.topic, Records: n})
		}
	}
}

// give adds to the snapshot what belongs to a pair that was read, and keeps the rest for a while.
func (s *streams) give(snapshot *probe.Snapshot, u unpaired, pair func(uint64) (probe.PairKey, bool)) {
	key, ok := pair(u.pair)
	if ok {
		u.give(snapshot, key)
		return
	}
	if u.turns++; u.turns > keepUnpaired {
		s.lost.Add(u.count)
		return
	}
	s.unpaired = append(s.unpaired, u)
}

func addRequests(to *probe.Snapshot, key probe.PairKey, t *protocol.Tally) {
	to.Requests = append(to.Requests, probe.RequestDelta{
		Pair: key, Protocol: probe.Protocol(t.Protocol), Method: t.Method, Route: t.Operation, Code: t.Status, Failed: t.Failed, Cut: t.Cut,
		Count: t.Count, Sum: t.Sum, Buckets: t.Buckets, Messages: t.Messages,
	})
}

// addHandshakes adds TLS connections; the name that a client asked for is one of the address that it went to.
func (s *streams) addHandshakes(to *probe.Snapshot, key probe.PairKey, t protocol.HandshakeTally) {
	to.TLS = append(to.TLS, probe.HandshakeDelta{Pair: key, Version: t.Version, SNI: t.SNI, ALPN: t.ALPN, Cipher: t.Cipher, Count: t.Count})
	if key.Role == probe.RoleClient && t.SNI != "" {
		s.names.Add(to.Time, names.Sighting{Client: uint64(key.Owner), Addr: key.Remote.Addr(), Port: key.Remote.Port(), Name: t.SNI, Source: names.SNI})
	}
}
