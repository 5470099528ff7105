package protocol

import "slices"

// Matcher is a Conn of a protocol whose requests the kernel can match by itself.
type Matcher interface {
	// Plain says whether each request that is to come has one response or none, as far as was seen.
	Plain() bool
	// Idle says whether nothing is under way: no message has begun, and no request waits.
	Idle() bool
	// Taken has what waits forgotten: it is the kernel's.
	Taken()
}

// Matched is a protocol whose requests the kernel can match, with the number that it has there.
type Matched uint8

// The protocols, as in enum protocol of bpf/include/types.h.
const (
	MatchedRedis     Matched = 3
	MatchedMemcached Matched = 4
	MatchedPostgres  Matched = 5
	MatchedMySQL     Matched = 6
)

// Words are the names that the kernel needs for matching the requests of a protocol.
type Words struct {
	Operations []string                   // by number; 0 stands for what is none of the others
	Named      func(number uint64) string // instead of Operations, where those are named as they are met
	Commands   map[string]Word            // as in the protocol's text; of Redis in capitals and of one or two words: "GET", "CONFIG", "CONFIG GET"
	Answers    map[string]Word            // first words of answers, of Redis of errors. Their numbers begin behind the fixed ones
	// Outcome names the status of an operation by the number of its answer, 0 for none.
	Outcome func(operation string, answer uint32) (status string, failed bool)
}

// Word is what the kernel does where a command or an answer begins with a word.
type Word struct {
	Number uint16
	Kind   WordKind
	Field  uint8 // that the kind speaks of: the number of words before it
}

// WordKind is an enum word of bpf/include/types.h.
type WordKind uint8

// The kinds.
const (
	WordPlain     WordKind = iota // of Memcached `noreply` may follow from a field on, if that is not 0
	WordSecond                    // the second word belongs to the name. The number behind that of this one stands for it with any other second word
	WordBack                      // it is not matched in the kernel, nor what follows it
	WordRead                      // keys follow from a field on
	WordStore                     // a field holds the length of the value behind the line
	WordValue                     // likewise, and more of the answer follows
	WordMeta                      // flags follow from a field on
	WordMetaStore                 // behind a field that holds the length of a value
)

// Answers whose numbers are fixed.
const (
	answerOK      = 1 + iota // or any that is not among the words
	answerOther              // an error that is not
	answerNothing            // of what was asked for was found
	answerSome
	answerAll
)

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
	matchPause   = int64(10e6) // ns between two offers, doubled with each that came to nothing, or to less than that pause in the kernel
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
		if p.At-st.offered > st.pause() {
			s.prepare(p.Stream, st)
			st.matching, st.offered, st.told = matchOffered, p.At, true
			return Offer
		}
	}
	return Keep
}

func (st *stream) pause() int64 { return matchPause << min(st.refused, matchPauses) }

// refuse has the connection matched here for a while.
func (st *stream) refuse(at int64) {
	st.matching, st.offered = matchedHere, at
	st.refused++
}

// match takes an event. It answers a mark.
func (s *Streams) match(st *stream, p *Piece) Decision {
	if st.conn == nil && (p.Match == MatchMark || !s.restart(st, p)) { // it was forgotten since
		return Keep
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
	case MatchTaken: // what the client says and is still shipped goes on to be read, see stray
		if m, ok := st.conn.(Matcher); ok {
			m.Taken()
		}
		s.regain(st, FromServer, p, true)
		st.matching, st.taken = matchedInKernel, p.At
	case MatchTorn:
		st.holes = true
		s.close(st, p.At)
		s.restart(st, p)
		st.refuse(p.At)
	case MatchBack:
		if p.Direction == FromClient {
			if st.matching == matchedInKernel && p.At-st.taken > st.pause() {
				st.refused = 0
			}
			s.restart(st, p)
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
	if pr, ok := m.(Preparer); ok && pr.Preparations() != st.prepared { // the kernel does not know what was prepared since the offer
		return false
	}
	return ok && m.Plain() && m.Idle() && p.Direction == FromClient && client.quiet(p.Seq) && server.quiet(p.Other)
}

// quiet says whether all up to a sequence number was taken, and that ended with a message.
func (h *direction) quiet(seq uint32) bool {
	return h.started && !h.lost && h.next+uint32(h.skip) == seq && len(h.buf) == 0 // the end of a value may not have been shown
}

// restart begins anew with a connection that the kernel matched, and forgets what was seen of it; what it says is not expected here.
func (s *Streams) restart(st *stream, p *Piece) bool {
	i := slices.IndexFunc(s.table, func(known Protocol) bool { return known.Matched != 0 && known.Matched == Matched(p.Other&0xff) })
	if i < 0 {
		return false
	}
	known := &s.table[i]
	s.speak(st, known, s.resume(st, known, uint16(p.Other>>16)))
	s.regain(st, FromClient, p, true)
	s.regain(st, FromServer, p, true)
	return true
}

// regain goes on with a direction at the place of a piece, or where a message is found.
func (s *Streams) regain(st *stream, d Direction, p *Piece, lost bool) {
	h := &st.halves[d]
	s.drop(h, len(h.buf))
	*h = direction{started: !lost, next: p.Seq, lost: lost}
}

// stray says whether a piece is of a connection that the kernel matches, so that what waits for an answer counts there. It was shipped while the
// kernel took over: requests without an answer count here, see emit. What the server says is not shipped, but when an event was lost.
func (s *Streams) stray(st *stream, p *Piece) bool {
	if st.matching != matchedInKernel {
		return false
	}
	if p.Direction == FromClient {
		if h := &st.halves[FromClient]; h.lost || h.started && h.next != p.Seq {
			return true // it does not follow on what was shipped: the kernel counted in between
		}
		s.append(st, p)
		s.feed(st, FromClient, p.At)
		if m, ok := st.conn.(Matcher); ok {
			m.Taken()
		}
		return true
	}
	st.refuse(p.At)
	st.holes = true
	s.Stats.Missed.Add(1)
	return false
}

// Matched is what a connection speaks, for the Decisions Offer and Confirm.
func (s *Streams) Matched(id StreamID) Matched {
	if st := s.streams[id]; st != nil {
		return st.matched
	}
	return 0
}
