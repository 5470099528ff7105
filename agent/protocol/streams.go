package protocol

import (
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// NumBuckets are the buckets of a Tally's durations: native-histogram schema 3 from 2^-20 s to 2^6 s, as in the kernel.
const NumBuckets = 209

// The bounds of a Streams.
const (
	maxStreams     = 8192
	maxStreamBytes = 32 << 20 // of all streams together
	maxFound       = 4096     // answers of DNS between two Drains; those beyond name nothing
	maxHeld        = 256      // kinds of exchange of one connection that wait for its pair
	detectBytes    = 4096     // of one direction, after which nothing is recognised any more
	detectCalls    = 16       // shipped pieces, likewise
	olderCalls     = 64       // the same of a connection that was met in the middle, maybe of a message that is read byte by byte
	maxHead        = 64       // bytes of calls that may be the head of a message, which many programs read by itself
	maxHeadCalls   = 8        // that such a head may be read by, some byte by byte
	staleAfter     = 30 * time.Minute
)

// StreamID names a connection for as long as the kernel knows it.
type StreamID struct {
	Socket uint64 // address of its struct sock
	Opened uint64 // ns of the monotonic clock
}

// Piece is what one system call, or a part of it, said on a connection.
type Piece struct {
	Stream    StreamID
	Pair      uint64 // the kernel's id of the pair that it belongs to; 0 while that is not known
	At        int64  // ns of the monotonic clock
	Seq       uint32 // TCP sequence number of the first byte
	Direction Direction
	Adopted   bool // the connection is older than the agent
	Closed    bool // the connection ended; Data is empty
	Data      []byte
	Upgrade   *Upgrade // it became a WebSocket
	Passed    uint32   // bytes in front of Data that were left out, as the connection's Framing allows
	Match     MatchEvent
	Other     uint32 // of a MatchMark, where the other direction is; of another Match a Matched, and 16 bits up the number of PostgreSQL's unnamed statement
}

// Upgrade says that a connection became a WebSocket by an HTTP/1 request. The Piece has no Data.
type Upgrade struct {
	Method string    // of the request: "GET"
	Route  string    // of the request, folded: "/chat"
	Next   [2]uint32 // by Direction: TCP sequence number that it goes on at
	Torn   [2]bool   // by Direction: it goes on in the middle of something
}

// Decision is what is to become of a connection that the kernel ships.
type Decision uint8

// The decisions.
const (
	Keep    Decision = iota // go on
	Ignore                  // nobody knows what it speaks
	HTTP1                   // it is HTTP/1, met in the middle: the kernel counts that itself
	Frame                   // go on, and leave out what the Framing of its protocol allows
	Whole                   // go on, and leave out nothing: it is not framed as it was taken for
	Offer                   // go on, and the kernel may match it
	Confirm                 // go on, and at the mark nothing was under way
)

// Tally is what one kind of exchange of one pair and protocol did since the last Drain.
type Tally struct {
	Pair      uint64
	Protocol  string
	Method    string
	Operation string
	Status    string
	Failed    bool
	Cut       bool
	Count     uint64
	Timed     uint64        // those of Count that have a duration
	Sum       time.Duration // of the durations
	Buckets   [NumBuckets]uint32
	Messages  [2]uint64 // by Direction; a Tally may have these alone
}

// StreamStats say how near the bounds are and what was lost. They may be read from any goroutine.
type StreamStats struct {
	Streams, Bytes        atomic.Int64                 // now
	Desynced              atomic.Uint64                // times a stream was lost: bytes that did not fit
	Missed                atomic.Uint64                // times bytes were missing where they mattered
	Refused               atomic.Uint64                // connections over the limit
	Unrecognised          atomic.Uint64                // connections that nobody knew
	Held                  atomic.Uint64                // exchanges dropped because their pair stayed unknown
	Places                atomic.Uint64                // times the place of a consumer could not be followed
	Matches               [MatchTorn + 1]atomic.Uint64 // by MatchEvent: what was heard of the kernel; MatchNone: marks that something was under way at
	MaxStreams, MaxMemory int64
}

// Streams puts the shipped pieces of all connections together, finds out what they speak, and adds up their exchanges.
// It is used by one goroutine; Stats may be read by others.
type Streams struct {
	Stats StreamStats
	Match bool // whether the kernel can match requests; set before the first piece
	// Operations are the names that the kernel counts statements under.
	Operations *Operations
	statements toldStatements
	table      []Protocol
	streams    map[StreamID]*stream
	unknown    finished // connections that nobody knows
	tallies    map[tallyKey]*Tally
	answers    []FoundAnswer
	swept      int64
	drains     uint64
}

type tallyKey struct {
	pair                                uint64
	protocol, method, operation, status string
	failed, cut                         bool
}

// stream is one connection.
type stream struct {
	conn     Conn
	protocol string
	pair     uint64
	adopted  bool
	holes    bool // bytes were missed: what still waits at the end may have been answered
	greeted  bool // nobody knows it, but it may change to TLS
	search   webSocketSearch
	pieces   int
	last     int64
	halves   [2]direction
	held     []Exchange
	framing  Framing
	shown    int64 // bytes, until the kernel was told the framing
	told     bool  // it was, or knows
	unfit    bool  // something was left out that was needed
	matched  Matched
	matching matching
	offered  int64 // ns: when the kernel was last asked to match it, and
	refused  int   // how often that came to nothing, or little
	taken    int64 // ns: when the kernel began to match it
	prepared int   // Preparations of a Preparer that the kernel was told of
	unknown  bool  // the kernel gave it back, because of a statement that it does not know
	emit     func(Exchange)
	kind     tallyKey // of the exchange before, and
	tally    *Tally   // where it was added, if nothing was drained since
	drains   uint64
}

// NewStreams makes an empty Streams over a table of protocols.
func NewStreams(table []Protocol) *Streams {
	s := &Streams{table: table, streams: map[StreamID]*stream{}, tallies: map[tallyKey]*Tally{}, Operations: NewOperations()}
	s.statements.texts = map[uint64]struct{}{}
	s.Stats.MaxStreams, s.Stats.MaxMemory = maxStreams, maxStreamBytes
	return s
}

// Take adds one piece. Data is only valid during the call.
func (s *Streams) Take(p *Piece) Decision {
	st := s.streams[p.Stream]
	if p.Closed {
		if st != nil {
			s.end(p.Stream, st, p)
		}
		s.unknown.remove(p.Stream)
		return Keep
	}
	if st == nil {
		if p.Upgrade == nil && s.unknown.has(p.Stream) {
			return Ignore
		}
		if len(s.streams) >= maxStreams || s.Stats.Bytes.Load() > maxStreamBytes {
			s.Stats.Refused.Add(1)
			return Ignore
		}
		st = &stream{adopted: p.Adopted}
		st.emit = func(e Exchange) {
			if st.matching != matchedInKernel || e.OneWay {
				s.emit(st, e)
			}
		}
		s.streams[p.Stream] = st
		s.Stats.Streams.Store(int64(len(s.streams)))
	}
	if p.Upgrade != nil {
		s.upgrade(st, p)
		return Keep
	}
	st.last, st.pieces = p.At, st.pieces+1
	if p.Pair != 0 {
		s.bind(st, p.Pair)
	}
	if p.Match != MatchNone {
		return s.match(st, p)
	}
	if s.stray(st, p) {
		return Keep
	}
	s.append(st, p)
	if st.conn == nil {
		if d := s.detect(st, p); d != Keep {
			s.give(p.Stream, st)
			if d == Ignore {
				s.unknown.add(p.Stream)
			}
			return d
		}
		if st.conn == nil {
			return Keep
		}
		// The server may have spoken first, so both directions are offered; the client's go first.
		s.feed(st, FromClient, p.At)
		s.feed(st, FromServer, p.At)
		return Keep
	}
	s.feed(st, p.Direction, p.At)
	if d := st.framed(p); d != Keep {
		return d
	}
	return s.offer(st, p)
}

// Abandon lets go of a connection, whatever state it is in, and reads nothing of it any more.
func (s *Streams) Abandon(id StreamID) {
	if st := s.streams[id]; st != nil {
		s.give(id, st)
	}
	s.unknown.add(id)
}

// Framing is how the messages of a connection are framed, for the Decision Frame.
func (s *Streams) Framing(id StreamID) Framing {
	if st := s.streams[id]; st != nil {
		return st.framing
	}
	return Unframed
}

// upgrade begins a WebSocket on a connection, whatever was thought of it before.
func (s *Streams) upgrade(st *stream, p *Piece) {
	s.unknown.remove(p.Stream)
	s.empty(st)
	*st = stream{conn: newWebSocket(p.Upgrade.Method, p.Upgrade.Route, p.At), protocol: WebSocket().Name, pair: st.pair, last: p.At, emit: st.emit}
	for d := range st.halves {
		st.halves[d] = direction{started: true, next: p.Upgrade.Next[d], lost: p.Upgrade.Torn[d]}
	}
	if p.Pair != 0 {
		s.bind(st, p.Pair)
	}
}

// detect asks the table, after a piece. A connection that was met in the middle is asked about at the start of every call.
func (s *Streams) detect(st *stream, last *Piece) Decision {
	maybe := false
	for d := range st.halves {
		h := &st.halves[d]
		if len(h.buf) == 0 {
			continue
		}
		for _, start := range h.starts() {
			if start == len(h.buf) {
				continue
			}
			if st.adopted && beginsHTTP1(h.buf[start:]) {
				return HTTP1
			}
			for i := range s.table {
				p := &s.table[i]
				switch p.Detect(Direction(d), h.buf[start:]) {
				case Yes:
					s.speak(st, p, p.New())
					h.found(s, start)
					return Keep
				case Maybe:
					maybe = true
				}
			}
		}
	}
	if st.adopted && s.searchWebSocket(st, last) {
		return Keep
	}
	most := max(st.halves[0].spoken(), st.halves[1].spoken())
	st.greeted = st.greeted || !st.adopted && greets(st.halves[FromServer].buf)
	if st.pieces > detectCalls && (!st.adopted || st.pieces > olderCalls) || (!st.adopted && !maybe && !st.greeted) || most > detectBytes {
		s.Stats.Unrecognised.Add(1)
		return Ignore
	}
	return Keep
}

func beginsHTTP1(b []byte) bool {
	for _, prefix := range []string{"HTTP/1.", "GET /", "POST /", "PUT /", "HEAD /", "DELETE /", "PATCH /", "OPTIONS "} {
		if len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

// greets says whether a server begins as one does that may be asked to go on in TLS: SMTP and FTP, IMAP, POP3, XMPP (RFC 3207, 4217, 2595,
// 6120). The kernel looks for that change in what it ships.
func greets(b []byte) bool {
	for _, greeting := range []string{"220 ", "220-", "* OK", "+OK ", "<?xml"} {
		if strings.HasPrefix(string(b[:min(len(b), len(greeting))]), greeting) {
			return true
		}
	}
	return false
}

// give lets go of a connection.
func (s *Streams) give(id StreamID, st *stream) {
	delete(s.streams, id)
	s.Stats.Streams.Store(int64(len(s.streams)))
	s.empty(st)
}

func (s *Streams) empty(st *stream) {
	for d := range st.halves {
		s.drop(&st.halves[d], len(st.halves[d].buf))
	}
}

// feed offers a direction's bytes to the protocol until it wants more.
func (s *Streams) feed(st *stream, d Direction, at int64) {
	h := &st.halves[d]
	if h.lost {
		start := slices.IndexFunc(h.starts(), func(start int) bool { return start < len(h.buf) && st.conn.Resync(d, h.buf[start:]) })
		if start < 0 {
			return
		}
		h.found(s, h.starts()[start])
	}
	for len(h.buf) > 0 {
		consumed, skip, err := st.conn.Feed(d, h.buf, at, st.emit)
		if err != nil || consumed < 0 || consumed > len(h.buf) {
			s.Stats.Desynced.Add(1)
			h.lose(s)
			return
		}
		s.drop(h, consumed)
		if skip > 0 && len(h.buf) == 0 {
			h.skip = skip
			return
		}
		if consumed == 0 {
			break
		}
	}
	if len(h.buf) > MaxBuffer {
		s.Stats.Desynced.Add(1)
		h.lose(s)
	}
}

// emit counts an exchange for its pair, or holds it until that is known.
func (s *Streams) emit(st *stream, e Exchange) {
	if st.pair == 0 {
		if i := len(st.held) - 1; e.Open && i >= 0 && st.held[i].Open && st.held[i].Operation == e.Operation && st.held[i].Protocol == e.Protocol {
			for d, n := range e.Messages {
				st.held[i].Messages[d] += n
			}
			return
		}
		if len(st.held) >= maxHeld {
			s.Stats.Held.Add(1)
			return
		}
		st.held = append(st.held, e)
		return
	}
	if e.Protocol == "" {
		e.Protocol = st.protocol
	}
	if e.Answer != nil && len(s.answers) < maxFound {
		s.answers = append(s.answers, FoundAnswer{Pair: st.pair, Answer: *e.Answer})
	}
	key := tallyKey{st.pair, e.Protocol, e.Method, e.Operation, e.Status, e.Failed, e.Cut}
	if st.tally == nil || st.drains != s.drains || st.kind != key {
		st.tally, st.drains, st.kind = s.tallyOf(key), s.drains, key
	}
	t := st.tally
	for d, n := range e.Messages {
		t.Messages[d] += uint64(n)
	}
	if e.Open {
		return
	}
	t.Count++
	if e.OneWay {
		return
	}
	took := max(e.End-e.Begin, 0)
	t.Timed++
	t.Sum += time.Duration(took)
	t.Buckets[bucketOf(took)]++
}

func (s *Streams) tallyOf(key tallyKey) *Tally {
	t := s.tallies[key]
	if t == nil {
		t = &Tally{Pair: key.pair, Protocol: key.protocol, Method: key.method, Operation: key.operation, Status: key.status, Failed: key.failed, Cut: key.cut}
		s.tallies[key] = t
	}
	return t
}

// bucketOf finds a duration's bucket, as the kernel programs do: upper bounds are 2^((i-160)/8) seconds.
func bucketOf(ns int64) int {
	if ns <= 0 {
		return 0
	}
	i := int(math.Ceil(math.Log2(float64(ns)/1e9)*8)) + 160
	return min(max(i, 0), NumBuckets-1)
}

func (s *Streams) bind(st *stream, pair uint64) {
	st.pair = pair
	for _, h := range st.held {
		s.emit(st, h)
	}
	st.held = nil
}

func (s *Streams) end(id StreamID, st *stream, p *Piece) {
	if p.Pair != 0 {
		s.bind(st, p.Pair)
	}
	if st.conn != nil {
		s.close(st, p.At)
	}
	s.Stats.Held.Add(uint64(len(st.held)))
	s.give(id, st)
}

// close lets the protocol tell what still waits.
func (s *Streams) close(st *stream, at int64) {
	st.conn.Close(at, func(e Exchange) {
		if e.Cut && st.holes {
			s.Stats.Missed.Add(1) // nobody knows whether it was answered
			if e.Messages == [2]int64{} {
				return
			}
			e.Open, e.Status, e.Failed, e.Cut = true, "", false, false
		}
		s.emit(st, e)
	})
}

// Answers gives out the addresses that DNS found since the last call.
func (s *Streams) Answers() []FoundAnswer {
	found := s.answers
	s.answers = nil
	return found
}

// Drain gives out all tallies and begins anew; now is ns of the monotonic clock. Connections whose end was missed are forgotten after a while.
func (s *Streams) Drain(now int64, each func(*Tally)) {
	for _, st := range s.streams {
		if r, ok := st.conn.(Reporter); ok {
			r.Report(st.emit)
		}
	}
	for _, t := range s.tallies {
		each(t)
	}
	clear(s.tallies)
	s.drains++
	if now-s.swept < int64(time.Minute) {
		return
	}
	s.swept = now
	for id, st := range s.streams {
		if now-st.last > int64(staleAfter) {
			s.end(id, st, &Piece{At: now})
		}
	}
}

// Lags gives what the clients of all connections have not read yet, by pair and topic; now is ns of the monotonic clock.
func (s *Streams) Lags(now int64, each func(pair uint64, topic string, records int64)) {
	for _, st := range s.streams {
		if l, ok := st.conn.(Lagger); ok && st.pair != 0 {
			s.Stats.Places.Add(l.Lags(now, func(topic string, records int64) { each(st.pair, topic, records) }))
		}
	}
}
