package protocol

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// line is a protocol for the tests of Streams: a request is "?name\n", a response "!status\n", and "#n\n" says that n bytes follow that need not be shown.
func line() Protocol {
	return Protocol{
		Name: "line",
		Detect: func(_ Direction, b []byte) Verdict {
			if b[0] == '?' {
				return Yes
			}
			return No
		},
		New: func() Conn { return &lineConn{} },
	}
}

type lineConn struct{ waiting []Exchange }

func (l *lineConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	for i, c := range b {
		if c != '\n' {
			continue
		}
		text := string(b[1:i])
		switch {
		case b[0] == '#':
			var n int64
			if _, err := fmt.Sscan(text, &n); err != nil {
				return 0, 0, ErrDesync
			}
			rest := int64(len(b) - i - 1)
			if n >= rest {
				return len(b), n - rest, nil
			}
			return i + 1 + int(n), 0, nil
		case b[0] == '?' && d == FromClient:
			l.waiting = append(l.waiting, Exchange{Operation: text, Begin: at})
		case b[0] == '!' && d == FromServer && len(l.waiting) > 0:
			e := l.waiting[0]
			l.waiting = l.waiting[1:]
			e.Status, e.End = text, at
			emit(e)
		default:
			return 0, 0, ErrDesync
		}
		return i + 1, 0, nil
	}
	return 0, 0, nil
}

func (l *lineConn) Resync(_ Direction, b []byte) bool {
	if b[0] != '?' {
		return false
	}
	l.waiting = nil
	return true
}

func (l *lineConn) Close(at int64, emit func(Exchange)) {
	for _, e := range l.waiting {
		e.End, e.Cut = at, true
		emit(e)
	}
}

// wire sends pieces of one connection to a Streams, keeping the sequence numbers.
type wire struct {
	t    *testing.T
	s    *Streams
	id   StreamID
	pair uint64
	seq  [2]uint32
	at   int64
	old  bool
}

func (w *wire) say(d Direction, data string) Decision {
	w.at += int64(time.Millisecond)
	p := Piece{Stream: w.id, Pair: w.pair, At: w.at, Seq: w.seq[d], Direction: d, Adopted: w.old, Data: []byte(data)}
	w.seq[d] += uint32(len(data))
	return w.s.Take(&p)
}

func (w *wire) hide(d Direction, n int) { w.seq[d] += uint32(n) }

func (w *wire) close() { w.s.Take(&Piece{Stream: w.id, At: w.at, Closed: true}) }

func (w *wire) tallies() map[string]uint64 {
	out := map[string]uint64{}
	w.s.Drain(w.at, func(t *Tally) {
		out[fmt.Sprintf("%d %s %s %s %v", t.Pair, t.Protocol, t.Operation, t.Status, t.Cut)] += t.Count
	})
	return out
}

// pass has n bytes left out before data.
func (w *wire) pass(d Direction, n int, data string) Decision {
	w.at += int64(time.Millisecond)
	w.seq[d] += uint32(n)
	p := Piece{Stream: w.id, Pair: w.pair, At: w.at, Seq: w.seq[d], Direction: d, Passed: uint32(n), Data: []byte(data)}
	w.seq[d] += uint32(len(data))
	return w.s.Take(&p)
}

// What the kernel leaves out costs nothing where nobody needs it. Where it is needed it is a loss, and the kernel is told to stop that.
func TestStreamsPass(t *testing.T) {
	w := newWire(t)
	w.say(FromClient, "?a\n#10000\nxxx")
	if d := w.pass(FromClient, 9997, "?b\n"); d != Keep {
		t.Errorf("decision %d", d)
	}
	w.say(FromServer, "!ok\n!ok\n")
	wantTallies(t, w.tallies(), map[string]uint64{"7 line a ok false": 1, "7 line b ok false": 1})
	w.say(FromClient, "#10000\n")
	w.hide(FromClient, 5000) // and lost bytes beside those left out
	if d := w.pass(FromClient, 5000, "?c\n"); d != Keep || w.s.Stats.Missed.Load() != 0 {
		t.Errorf("decision %d, missed %d", d, w.s.Stats.Missed.Load())
	}
	w.say(FromClient, "#100\n")
	if d := w.pass(FromClient, 101, "?d\n"); d != Whole || w.s.Stats.Missed.Load() != 1 {
		t.Errorf("decision %d, missed %d", d, w.s.Stats.Missed.Load())
	}
	w.say(FromServer, "!ok\n")
	wantTallies(t, w.tallies(), map[string]uint64{"7 line d ok false": 1})
}

// The kernel is told how a connection is framed, once, when much of it was shown.
func TestStreamsTellTheFraming(t *testing.T) {
	framed := line()
	framed.Framing = FramedRESP
	w := newWire(t)
	w.s = NewStreams([]Protocol{framed})
	w.say(FromClient, "?a\n")
	var told []int
	for i := range 100 {
		if w.say(FromClient, "#1000\n"+strings.Repeat("x", 1000)) == Frame {
			told = append(told, i)
		}
	}
	if len(told) != 1 || told[0] != 32 || w.s.Framing(w.id) != FramedRESP {
		t.Errorf("told at %v, framing %d", told, w.s.Framing(w.id))
	}
}

func newWire(t *testing.T) *wire {
	return &wire{t: t, s: NewStreams([]Protocol{line()}), id: StreamID{1, 2}, pair: 7, seq: [2]uint32{1<<32 - 5, 100}}
}

func wantTallies(t *testing.T, got map[string]uint64, want map[string]uint64) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

func TestStreamsSplitAnywhere(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		w := newWire(t)
		want := map[string]uint64{}
		for range 20 {
			n := 1 + rng.IntN(5)
			requests, responses := "", ""
			for i := range n {
				requests += fmt.Sprintf("?op%d\n", i)
				responses += "!ok\n"
				want[fmt.Sprintf("7 line op%d ok false", i)]++
			}
			for d, text := range []string{requests, responses} {
				for len(text) > 0 {
					k := 1 + rng.IntN(len(text))
					w.say(Direction(d), text[:k])
					text = text[k:]
				}
			}
		}
		wantTallies(t, w.tallies(), want)
	}
}

// Bytes that were not shown cost nothing where nobody needs them, and a new start elsewhere.
func TestStreamsGaps(t *testing.T) {
	w := newWire(t)
	w.say(FromClient, "?a\n#1000\n12345")
	w.hide(FromClient, 995)
	w.say(FromServer, "!ok\n")
	w.say(FromClient, "?b\n")
	w.hide(FromServer, 4)
	w.say(FromClient, "?c\n")
	w.say(FromServer, "!late\n")
	wantTallies(t, w.tallies(), map[string]uint64{"7 line a ok false": 1})
	if n := w.s.Stats.Missed.Load(); n != 1 {
		t.Errorf("missed %d times, want 1", n)
	}
	// What waits when such a connection ends may have been answered: it is a loss, not a failure.
	w.say(FromClient, "?d\n")
	w.close()
	wantTallies(t, w.tallies(), map[string]uint64{})
	if n := w.s.Stats.Missed.Load(); n < 2 {
		t.Errorf("missed %d times, want the waiting request too", n)
	}
}

func TestStreamsPairComesLater(t *testing.T) {
	w := newWire(t)
	w.pair = 0
	w.say(FromClient, "?a\n")
	w.say(FromServer, "!ok\n")
	wantTallies(t, w.tallies(), map[string]uint64{})
	w.pair = 9
	w.say(FromClient, "?b\n")
	w.close()
	wantTallies(t, w.tallies(), map[string]uint64{"9 line a ok false": 1, "9 line b  true": 1})
	if n := w.s.Stats.Streams.Load(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
	if n := w.s.Stats.Bytes.Load(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// openConn has one exchange that does not end: every byte of the client is a message inside of it.
type openConn struct{ messages int64 }

func (o *openConn) Feed(_ Direction, b []byte, _ int64, _ func(Exchange)) (int, int64, error) {
	o.messages += int64(len(b))
	return len(b), 0, nil
}

func (o *openConn) Resync(Direction, []byte) bool { return true }

func (o *openConn) Report(emit func(Exchange)) {
	if o.messages > 0 {
		emit(Exchange{Operation: "watch", Method: "GET", Protocol: "inner", Messages: [2]int64{o.messages, 0}, Open: true})
	}
	o.messages = 0
}

func (o *openConn) Close(at int64, emit func(Exchange)) {
	emit(cut(Exchange{Operation: "watch", Method: "GET", Protocol: "inner", Messages: [2]int64{o.messages, 0}}, at))
}

// What happens in an exchange that does not end is seen with every Drain, and its end counts it once.
func TestStreamsReportOpenExchanges(t *testing.T) {
	p := Protocol{Name: "outer", Detect: func(Direction, []byte) Verdict { return Yes }, New: func() Conn { return &openConn{} }}
	w := newWire(t)
	w.s = NewStreams([]Protocol{p})
	drained := func() (all []Tally) {
		w.s.Drain(w.at, func(t *Tally) { all = append(all, *t) })
		return all
	}
	say := func(text string) {
		w.say(FromClient, text)
		if got := drained(); len(got) != 1 || got[0].Count != 0 || got[0].Messages != [2]uint64{uint64(len(text)), 0} || got[0].Protocol != "inner" || got[0].Method != "GET" {
			t.Errorf("after %q: %+v", text, got)
		}
	}
	say("ab")
	say("cde")
	if got := drained(); len(got) != 0 {
		t.Errorf("nothing happened, and yet %+v", got)
	}
	w.say(FromClient, "f")
	w.close()
	if got := drained(); len(got) != 1 || got[0].Count != 1 || !got[0].Cut || got[0].Messages != [2]uint64{1, 0} {
		t.Errorf("at the end: %+v", got)
	}
	// Where bytes were missed nobody knows how it ended, but its messages did pass.
	w.id.Opened++
	w.say(FromClient, "g")
	w.hide(FromClient, 10)
	w.say(FromClient, "h")
	w.close()
	if got := drained(); len(got) != 1 || got[0].Count != 0 || got[0].Messages != [2]uint64{2, 0} {
		t.Errorf("with a hole: %+v", got)
	}
}

func TestStreamsUnknown(t *testing.T) {
	w := newWire(t)
	if d := w.say(FromClient, "\x00\x01"); d != Ignore {
		t.Errorf("decision %d for noise, want Ignore", d)
	}
	old := newWire(t)
	old.old = true
	if d := old.say(FromServer, "middle of something"); d != Keep {
		t.Errorf("decision %d in the middle of an old connection, want Keep", d)
	}
	if d := old.say(FromClient, "GET /x HTTP/1.1\r\n"); d != HTTP1 {
		t.Errorf("decision %d for HTTP, want HTTP1", d)
	}
}

// Memory stays bounded when a peer never ends a message, and when there are too many connections.
func TestStreamsBounds(t *testing.T) {
	s := NewStreams([]Protocol{line()})
	w := &wire{t: t, s: s, id: StreamID{1, 1}, pair: 1}
	chunk := make([]byte, 4096)
	for i := range chunk {
		chunk[i] = 'x'
	}
	w.say(FromClient, "?")
	for range 1000 {
		w.say(FromClient, string(chunk))
	}
	if n := s.Stats.Bytes.Load(); n > MaxBuffer+8192 {
		t.Errorf("%d bytes wait, want at most about %d", n, MaxBuffer)
	}
	for i := range maxStreams + 10 {
		s.Take(&Piece{Stream: StreamID{uint64(i + 10), 1}, Data: []byte("?"), Seq: 1})
	}
	if n := s.Stats.Streams.Load(); n > maxStreams {
		t.Errorf("%d streams, want at most %d", n, maxStreams)
	}
	if s.Stats.Refused.Load() == 0 {
		t.Error("nothing was refused")
	}
}

// Buckets are those of the kernel: TestBucketOf in agent/probe has the same bounds.
func TestBucketOf(t *testing.T) {
	for ns, want := range map[int64]int{-1: 0, 0: 0, 953: 0, 954: 1, 1e9: 160, 1e9 + 1: 161, 64e9: 208, 1e15: 208} {
		if got := bucketOf(ns); got != want {
			t.Errorf("%d ns is in bucket %d, want %d", ns, got, want)
		}
	}
}

// Messages of an operation that goes on are counted before it ends, also while its pair is not known.
func TestStreamsCountMessagesOfOpenOperations(t *testing.T) {
	s := NewStreams(nil)
	st := &stream{protocol: "chat"}
	for range 2 * maxHeld {
		s.emit(st, Exchange{Operation: "GET /", Messages: [2]int64{1, 2}, Open: true})
	}
	s.bind(st, 7)
	s.emit(st, Exchange{Operation: "GET /", Messages: [2]int64{0, 1}, Open: true})
	s.emit(st, Exchange{Operation: "GET /", Status: "1000", Messages: [2]int64{1, 0}})
	got := map[string][3]uint64{}
	s.Drain(1, func(t *Tally) { got[t.Status] = [3]uint64{t.Count, t.Messages[0], t.Messages[1]} })
	want := map[string][3]uint64{"": {0, 2 * maxHeld, 4*maxHeld + 1}, "1000": {1, 1, 0}}
	if fmt.Sprint(got) != fmt.Sprint(want) || s.Stats.Held.Load() != 0 {
		t.Errorf("counted %v, want %v", got, want)
	}
}
