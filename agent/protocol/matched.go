package protocol

import "maps"

// Matcher is a Conn of a protocol whose requests the kernel can match by itself.
type Matcher interface {
	// Plain says whether each request that is to come has one response, as far as was seen.
	Plain() bool
	// Idle says whether nothing is under way: no message has begun, and no request waits.
	Idle() bool
}

// Words are the names that the kernel needs for matching the requests of a protocol.
type Words struct {
	Operations []string          // by number; 0 stands for what is none of the others
	Statuses   []string          // by number; 0: no response, 1: ok, 2: an error that is none of the others
	Commands   map[string]uint16 // in capitals, "GET", "CONFIG", "CONFIG GET" -> number of the operation
	// Containers are the Commands whose second word belongs to the name. The number behind that of one stands for it with any other second word.
	Containers map[string]bool
	// Special are the Commands after which a connection is not Plain.
	Special map[string]bool
	Errors  map[string]uint16 // -> number of the status
}

// RedisWords are the names for Redis, the same as its Conn gives.
func RedisWords() Words {
	w := Words{
		Operations: []string{"~other"}, Statuses: []string{"", "ok", "~other"},
		Commands: map[string]uint16{}, Containers: map[string]bool{}, Special: map[string]bool{}, Errors: map[string]uint16{},
	}
	add := func(operation string) {
		w.Commands[operation] = uint16(len(w.Operations))
		w.Operations = append(w.Operations, operation)
		w.Special[operation] = redisSpecial(operation)
	}
	for operation := range redisCommands {
		if redisContainers[operation] == nil {
			add(operation)
		}
	}
	for container, subs := range redisContainers {
		add(container)
		w.Containers[container] = true
		w.Operations = append(w.Operations, container+" ~other")
		for second, operation := range subs {
			if second != "" {
				add(operation)
			}
		}
	}
	for prefix := range redisErrors {
		w.Errors[prefix] = uint16(len(w.Statuses))
		w.Statuses = append(w.Statuses, prefix)
	}
	maps.DeleteFunc(w.Special, func(_ string, special bool) bool { return !special })
	return w
}

// MatchEvent says who matches the requests of a connection from some place on.
type MatchEvent uint8

// The events, in the order of enum record_kind in bpf/include/types.h.
const (
	MatchNone  MatchEvent = iota
	MatchMark             // the kernel begins to walk at Seq of the client and Other of the server: is nothing under way there?
	MatchTaken            // the kernel matches from here on, what waits too
	MatchBack             // no longer what the Piece's direction says from Seq on
	MatchTorn             // no longer, and what waits is lost
)

// matching is who matches the requests of a connection.
type matching uint8

const (
	matchedHere matching = iota
	matchOffered
	matchConfirmed
	matchedInKernel
	matchReturning // requests are here again, responses not yet
)

const (
	matchAfter   = 32          // pieces of a connection: shorter ones are not worth it
	matchPatient = int64(1e9)  // ns that the kernel has to take up what was offered
	matchPause   = int64(10e6) // ns between two offers, doubled with each that came to nothing
	matchPauses  = 10          // times at most
)

// offer decides whether the kernel is to match what a connection says.
func (s *Streams) offer(st *stream, p *Piece) Decision {
	m, ok := st.conn.(Matcher)
	if !s.Match || !ok || st.pieces < matchAfter || st.pair == 0 || st.unfit || !m.Plain() {
		return Keep
	}
	switch st.matching {
	case matchOffered, matchConfirmed:
		if p.At-st.offered > matchPatient {
			st.refuse(p.At)
		}
	case matchedHere:
		if p.At-st.offered > matchPause<<min(st.refused, matchPauses) {
			st.matching, st.offered, st.told = matchOffered, p.At, true
			return Offer
		}
	}
	return Keep
}

// refuse has the connection matched here for a while.
func (st *stream) refuse(at int64) {
	st.matching, st.offered = matchedHere, at
	st.refused++
}

// match takes an event. It answers a mark.
func (s *Streams) match(st *stream, p *Piece) Decision {
	if st.conn == nil { // it was forgotten since
		for _, protocol := range s.table {
			if _, ok := protocol.New().(Matcher); ok {
				st.conn, st.protocol, st.framing = protocol.New(), protocol.Name, protocol.Framing
			}
		}
		s.regain(st, FromClient, p, true)
		s.regain(st, FromServer, p, true)
	}
	if p.Match != MatchBack || p.Direction == FromServer { // both directions come back
		s.Stats.Matches[p.Match].Add(1)
	}
	switch p.Match {
	case MatchMark:
		if st.matching != matchOffered || !st.idle(p) {
			s.Stats.Matches[MatchNone].Add(1)
			st.refuse(p.At)
			return Keep
		}
		st.matching = matchConfirmed
		return Confirm
	case MatchTaken:
		s.letGo(st, p)
		st.matching = matchedInKernel
	case MatchTorn:
		s.letGo(st, p)
		st.holes = true
		st.refuse(p.At)
	case MatchBack:
		if p.Direction == FromClient {
			s.letGo(st, p)
			st.matching = matchReturning
		} else {
			st.refuse(p.At)
		}
		s.regain(st, p.Direction, p, false)
		s.append(st, p)
		s.feed(st, p.Direction, p.At)
	}
	return Keep
}

// idle says whether nothing is under way at a mark.
func (st *stream) idle(p *Piece) bool {
	client, server := &st.halves[FromClient], &st.halves[FromServer]
	m, ok := st.conn.(Matcher)
	return ok && m.Plain() && m.Idle() && p.Direction == FromClient && client.quiet(p.Seq) && server.quiet(p.Other)
}

// quiet says whether all up to a sequence number was taken, and that ended with a message.
func (h *direction) quiet(seq uint32) bool {
	return h.started && !h.lost && h.next+uint32(h.skip) == seq && len(h.buf) == 0 // the end of a value may not have been shown
}

// letGo forgets what was seen of a connection; what it says is not expected here.
func (s *Streams) letGo(st *stream, p *Piece) {
	for _, protocol := range s.table {
		if protocol.Name == st.protocol {
			st.conn = protocol.New()
		}
	}
	s.regain(st, FromClient, p, true)
	s.regain(st, FromServer, p, true)
}

// regain goes on with a direction at the place of a piece, or where a message is found.
func (s *Streams) regain(st *stream, d Direction, p *Piece, lost bool) {
	h := &st.halves[d]
	s.drop(h, len(h.buf))
	*h = direction{started: !lost, next: p.Seq, lost: lost}
}

// stray says whether a piece is of a connection that the kernel matches, so that it counts there. It was shipped while the kernel took over;
// what the server says is not, but when an event was lost.
func (s *Streams) stray(st *stream, p *Piece) bool {
	if st.matching != matchedInKernel {
		return false
	}
	if p.Direction == FromClient {
		return true
	}
	st.refuse(p.At)
	st.holes = true
	s.Stats.Missed.Add(1)
	return false
}
