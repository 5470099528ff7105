package protocol

import (
	"sync/atomic"
	"time"
)

// The bounds of a Hellos.
const (
	maxHellos     = 4096             // connections whose handshake is under way
	maxFinished   = 8192             // connections that are done with and remembered, twice
	helloOverdue  = 30 * time.Second // after which nothing more is expected
	maxHelloBytes = 4096             // of one direction: as much as the kernel shows
)

// HandshakeTally is how often one kind of TLS connection of one pair began since the last Drain. Of connections that were met in the middle
// only the pair is known: Count is 0.
type HandshakeTally struct {
	Pair uint64
	Handshake
	Count uint64
}

// HelloStats say what was lost. They may be read from any goroutine.
type HelloStats struct {
	Refused atomic.Uint64 // TLS connections over the limit
	Held    atomic.Uint64 // TLS connections whose pair stayed unknown
}

// Hellos reads the first flights of TLS connections, which are shown beside what is inside. It is used by one goroutine.
type Hellos struct {
	Stats    HelloStats
	waiting  map[StreamID]*hello
	finished finished
	tallies  map[handshakeKey]uint64
}

type handshakeKey struct {
	pair uint64
	Handshake
}

// hello is one connection whose server did not choose yet.
type hello struct {
	helloReader
	pair  uint64
	begun int64
	said  [2][]byte
	next  [2]uint32
}

// NewHellos makes an empty Hellos.
func NewHellos() *Hellos {
	return &Hellos{waiting: map[StreamID]*hello{}, tallies: map[handshakeKey]uint64{}}
}

// Take adds one piece of a handshake, and reports what is known when that is all. Closed: nothing more comes. Data is only valid during the call.
func (s *Hellos) Take(p *Piece) (Handshake, bool) {
	h := s.waiting[p.Stream]
	if h == nil {
		if p.Closed || s.finished.has(p.Stream) {
			return Handshake{}, false
		}
		if p.Adopted {
			s.finished.add(p.Stream)
			s.count(p.Pair, Handshake{}, 0)
			return Handshake{}, false
		}
		if len(s.waiting) >= maxHellos {
			s.Stats.Refused.Add(1)
			return Handshake{}, false
		}
		h = &hello{begun: p.At}
		s.waiting[p.Stream] = h
	}
	if p.Pair != 0 {
		h.pair = p.Pair
	}
	said := h.said[p.Direction]
	missed := len(said) > 0 && p.Seq != h.next[p.Direction]
	if !missed {
		h.said[p.Direction] = append(said, p.Data[:min(len(p.Data), maxHelloBytes-len(said))]...)
		h.next[p.Direction] = p.Seq + uint32(len(p.Data))
	}
	if h.read(h.said[FromClient], h.said[FromServer]) || missed || p.Closed {
		return s.finish(p.Stream, h)
	}
	return Handshake{}, false
}

func (s *Hellos) finish(id StreamID, h *hello) (Handshake, bool) {
	delete(s.waiting, id)
	s.finished.add(id)
	handshake, ok := h.end()
	n := uint64(1)
	if !ok {
		handshake, n = Handshake{}, 0
	}
	s.count(h.pair, handshake, n)
	return handshake, ok
}

func (s *Hellos) count(pair uint64, h Handshake, n uint64) {
	if pair == 0 {
		s.Stats.Held.Add(n)
		return
	}
	s.tallies[handshakeKey{pair, h}] += n
}

// Drain gives out what was counted and begins anew; now is ns of the monotonic clock.
func (s *Hellos) Drain(now int64, each func(HandshakeTally)) {
	for id, h := range s.waiting {
		if now-h.begun > int64(helloOverdue) {
			s.finish(id, h)
		}
	}
	for k, n := range s.tallies {
		each(HandshakeTally{Pair: k.pair, Handshake: k.Handshake, Count: n})
	}
	clear(s.tallies)
}

// finished remembers the connections that are done with, for as long as pieces of them may still come from the ring.
type finished struct{ young, old map[StreamID]struct{} }

func (f *finished) add(id StreamID) {
	if len(f.young) >= maxFinished || f.young == nil {
		f.old, f.young = f.young, make(map[StreamID]struct{})
	}
	f.young[id] = struct{}{}
}

func (f *finished) has(id StreamID) bool {
	_, young := f.young[id]
	_, old := f.old[id]
	return young || old
}

func (f *finished) remove(id StreamID) {
	delete(f.young, id)
	delete(f.old, id)
}
