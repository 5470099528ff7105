package probe

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/vetch-dev/vetch/agent/protocol"
	"github.com/vetch-dev/vetch/bpf"
)

// matched is a kernel that matches, and the user space that it shares connections with.
type matched struct {
	*kernelParts
	ring       *ringbuf.Reader
	words      map[uint8]Words
	operations *protocol.Operations
}

func loadMatched(t testing.TB) *matched {
	operations := protocol.NewOperations()
	m := &matched{words: map[uint8]Words{
		uint8(protocol.MatchedRedis):     WordsOf(protocol.Redis(), protocol.RedisWords()),
		uint8(protocol.MatchedMemcached): WordsOf(protocol.Memcached(), protocol.MemcachedWords()),
		uint8(protocol.MatchedPostgres):  WordsOf(protocol.PostgreSQL(), protocol.PostgresWords(operations)),
		uint8(protocol.MatchedMySQL):     WordsOf(protocol.MySQL(), protocol.MySQLWords(operations)),
	}, operations: operations}
	m.kernelParts = loadPartsWith(t, func(spec *ebpf.CollectionSpec) {
		spec.Maps["records"].MaxEntries = 4 << 20
		for name, value := range map[string]any{"ship_streams": uint8(1), "ring_bytes": uint32(4 << 20)} {
			if err := spec.Variables[name].Set(value); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, words := range m.words {
		if err := words.enter(m.coll.Maps["words"]); err != nil {
			t.Fatal(err)
		}
	}
	ring, err := ringbuf.NewReader(m.coll.Maps["records"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	m.ring = ring
	return m
}

// A machine with little memory has smaller maps, but not too small a one for the words.
func TestWordsFit(t *testing.T) {
	spec, err := bpf.LoadVetch()
	if err != nil {
		t.Fatal(err)
	}
	setLimits(spec, kernel{dynamicMaps: true}, 2, 1<<30)
	need := 0
	var all []Words
	for _, w := range []protocol.Words{protocol.RedisWords(), protocol.MemcachedWords(), protocol.MySQLWords(protocol.NewOperations())} {
		all = append(all, Words{Words: w})
		need += len(w.Commands) + len(w.Answers)
	}
	fitWords(spec.Maps["words"], all)
	if room := int(spec.Maps["words"].MaxEntries); room < need {
		t.Errorf("room for %d words of %d", room, need)
	}
	t.Logf("%d words", need)
}

// shared is a connection whose requests both of them may count.
type shared struct {
	*conversation
	m       *matched
	role    Role
	streams *protocol.Streams
	events  [protocol.MatchTorn + 1]int
	whole   bool // the kernel is not told how messages begin and end
}

func (m *matched) open(t testing.TB, sk uint64, role Role) *shared {
	s := &shared{conversation: m.converse(t, sk, role), m: m, role: role, streams: protocol.NewStreams(protocol.Table())}
	s.streams.Match, s.streams.Operations = true, m.operations
	return s
}

// tell lets one side say something, in one call.
func (s *shared) tell(d protocol.Direction, data string) { s.say(s.wire(d), data) }

func (s *shared) wire(d protocol.Direction) uint32 {
	if (d == protocol.FromClient) == (s.role == RoleClient) {
		return sent
	}
	return received
}

// read empties the ring and tells the kernel what is made of it, as Probe.decide does.
func (s *shared) read() {
	s.t.Helper()
	for {
		s.m.ring.SetDeadline(time.Now())
		raw, err := s.m.ring.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		r, ok := decodeRecord(raw.RawSample)
		if err != nil || !ok {
			s.t.Fatal(err, ok)
		}
		d := protocol.FromServer
		if r.Sent == (s.role == RoleClient) {
			d = protocol.FromClient
		}
		s.events[r.Match]++
		id := protocol.StreamID{Socket: r.Socket, Opened: r.Opened}
		decision := s.streams.Take(&protocol.Piece{
			Stream: id, Pair: r.Pair, At: r.At, Seq: r.Seq, Direction: d, Data: r.Data, Passed: r.Passed, Match: protocol.MatchEvent(r.Match), Other: r.Other,
		})
		s.streams.Statements(func(st protocol.Statement) {
			if err := enter(s.m.coll.Maps["statements"], st); err != nil {
				s.t.Fatal(err)
			}
		})
		verdict := bpf.VetchVerdictT{OpenedNs: r.Opened, Protocol: uint32(s.streams.Matched(id)), Framing: uint32(s.streams.Framing(id)), MatchAt: r.Seq}
		if s.whole {
			verdict.Framing = 0
		}
		switch decision {
		case protocol.Frame:
			verdict.Protocol, verdict.MatchAt = protocolStream, 0
		case protocol.Offer:
			verdict.Match = 1
		case protocol.Confirm:
			verdict.Match = 2
		default:
			continue
		}
		if err := s.m.coll.Maps["verdicts"].Put(r.Socket, &verdict); err != nil {
			s.t.Fatal(err)
		}
	}
}

// tallies are what both counted, and how much of that the kernel did: "GET ok" -> requests.
func (s *shared) tallies() (all map[string]int, kernel int) {
	s.t.Helper()
	all = map[string]int{}
	s.streams.Drain(int64(s.now), func(x *protocol.Tally) { all[x.Operation+" "+x.Status] += int(x.Count) })
	s.takeSeries(func(key bpf.VetchSeriesKeyT, requests int) {
		d := RequestDelta{Cut: key.Cut != 0}
		words := s.m.words[key.Protocol]
		words.name(&d, key.Route, key.Code)
		all[d.Route+" "+d.Code] += requests
		kernel += requests
	})
	return all, kernel
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// play has both sides say their part, requests at most so far ahead of answers, in calls of any size up to one; or most requests whole, or whole but for their head.
func (s *shared) play(rng *rand.Rand, turns []turn, ahead, size int, every int, whole bool, head int) {
	var ask, tell string // what waits to be said
	asked, told, steps, headed := 0, 0, 0, false
	for told < len(turns) || ask != "" || tell != "" {
		if steps++; steps%every == 0 {
			s.read()
		}
		switch {
		case ask == "" && asked < len(turns) && asked-told < ahead && (tell == "" || rng.IntN(3) == 0):
			for n := 1 + rng.IntN(ahead-(asked-told)); n > 0 && asked < len(turns); n-- {
				ask += turns[asked].ask
				asked++
			}
		case ask != "" && (tell == "" || rng.IntN(2) == 0):
			n := min(1+rng.IntN(size), len(ask))
			if whole && rng.IntN(300) > 0 {
				if n = min(len(ask), 60_000); head > 0 && n > head && !headed && rng.IntN(2) == 0 {
					n = head
				}
				headed = n == head
			}
			s.tell(protocol.FromClient, ask[:n])
			ask = ask[n:]
		case tell != "":
			n := min(1+rng.IntN(size), len(tell))
			s.tell(protocol.FromServer, tell[:n])
			tell = tell[n:]
		case ask == "" && told < asked:
			for n := 1 + rng.IntN(asked-told); n > 0; n-- {
				tell += turns[told].tell
				told++
			}
		}
	}
	s.read()
}

// talk is what the two ends of connections of a protocol say.
type talk struct {
	first  turn
	random func(rng *rand.Rand, large bool) turn
	whole  bool   // a request that begins in a call is known in it, mostly
	last   []turn // in some conversations: what the kernel gives back for good
	head   int    // bytes of a request that servers read by themselves: in small calls, what begins one may be taken for them, and what follows for rows
}

var talks = map[string]talk{
	"redis": {turn{resp("GET", "first"), "$-1\r\n", "GET ok"}, redisTurn, false, []turn{{
		resp("SUBSCRIBE", "a", "b"), ">3\r\n" + bulk("subscribe") + bulk("a") + ":1\r\n>3\r\n" + bulk("subscribe") + bulk("b") + ":2\r\n" +
			">3\r\n" + bulk("message") + bulk("a") + bulk("x"), "SUBSCRIBE ok",
	}}, 0},
	"postgres":  {pgFirst, pgTurn, true, pgLast, 0},
	"mysql":     {myFirst, myTurn, true, myLast, 4},
	"memcached": {turn{"get first\r\n", "END\r\n", "get miss"}, memcachedTurn, false, []turn{{"ms a 1 q\r\nx\r\n", "", "ms stored"}, {"mn\r\n", "MN\r\n", "mn ok"}}, 0},
}

// What both count together is what was asked and answered, wherever requests change hands, and however bytes are split into calls.
func TestMatch(t *testing.T) {
	m := loadMatched(t)
	for name, talk := range talks {
		t.Run(name, func(t *testing.T) { talk.test(t, m) })
	}
}

func (k talk) test(t *testing.T, m *matched) {
	var events [protocol.MatchTorn + 1]int
	counted, asked := 0, 0
	for i := range 120 {
		rng := rand.New(rand.NewPCG(3, uint64(i)))
		s := m.open(t, uint64(1<<32+i), RoleClient+Role(i%2))
		turns := []turn{k.first}
		for range 300 {
			turns = append(turns, k.random(rng, i%5 > 2))
		}
		if i%4 == 3 {
			copy(turns[150+rng.IntN(100):], k.last)
		}
		want := map[string]int{}
		for _, turn := range turns {
			for _, name := range strings.Split(turn.name, "; ") {
				if name != "" {
					want[name]++
				}
			}
		}
		s.tell(protocol.FromClient, turns[0].ask)
		s.tell(protocol.FromServer, turns[0].tell)
		ahead := []int{1, 2, 16, 100}[rng.IntN(4)]
		size := []int{1, 7, 50, 1000, 60_000}[i%5]
		s.whole = k.head > 0 && (ahead > 1 || size < 1000)
		s.play(rng, turns[1:], ahead, size, 1+rng.IntN(20), k.whole, k.head)
		got, kernel := s.tallies()
		if !maps.Equal(got, want) {
			t.Errorf("conversation %d, role %d: events %v, match %v", i, s.role, s.events, s.conn().Match)
			for name := range want {
				if got[name] != want[name] {
					t.Errorf("%s: counted %d, want %d", name, got[name], want[name])
				}
			}
			t.Fatalf("counted %v, want %v", got, want)
		}
		if missed, desynced := s.streams.Stats.Missed.Load(), s.streams.Stats.Desynced.Load(); missed+desynced > 0 {
			t.Errorf("conversation %d: bytes were missed %d times, and did not fit %d times", i, missed, desynced)
		}
		for e, n := range s.events {
			events[e] += n
		}
		counted, asked = counted+kernel, asked+len(turns)
		s.forget("conns")
	}
	t.Logf("%d of %d in the kernel, events %v", counted, asked, events)
	if counted < asked/8 || events[protocol.MatchBack] < 40 || events[protocol.MatchTorn] > 0 {
		t.Errorf("%d of %d were counted in the kernel, with events %v", counted, asked, events)
	}
}

// hand goes on until the kernel matches answers, and would match requests with the next one.
func (s *shared) hand() (asked int) {
	for ; s.conn().Match[1] != matchTaken; asked++ {
		if asked > 1000 {
			s.t.Fatalf("not taken: %v", s.conn().Match)
		}
		s.tell(protocol.FromClient, "get a\r\n")
		s.tell(protocol.FromServer, "END\r\n")
		s.read()
	}
	return asked
}

const matchTaken = 4 // MATCH_TAKEN

// What does not fit costs what was under way, which is counted as lost, and nothing else; a command that has no answer counts once in any case.
func TestMatchTears(t *testing.T) {
	m := loadMatched(t)
	long := "mg " + strings.Repeat("k", 200) + " v\r\n"
	tests := []struct {
		name   string
		talk   []said
		want   map[string]int
		reason string // for which the kernel counts one as lost
	}{
		{"no answer in the call that tears", []said{{protocol.FromClient, "set a 0 0 1 noreply\r\nx\r\n\x80"}, {protocol.FromServer, "ERROR\r\n"}}, map[string]int{"set ": 1}, ""},
		{"answered before it is to be given back", []said{{protocol.FromServer, "EN\r\n"}, {protocol.FromClient, long}, {protocol.FromServer, "ERROR\r\n"}}, map[string]int{}, "request_unseen"},
		{"waits when it tears", []said{{protocol.FromClient, "get a\r\n\x80"}, {protocol.FromServer, "END\r\n"}}, map[string]int{}, "response_unseen"},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := m.open(t, uint64(1<<34+i), RoleClient)
			asked := s.hand()
			before := uint64(0)
			if test.reason != "" {
				before = m.lost(t, test.reason)
			}
			for _, one := range test.talk {
				s.tell(one.from, one.data)
			}
			s.read()
			for range 10 {
				s.tell(protocol.FromClient, "get b\r\n")
				s.tell(protocol.FromServer, "END\r\n")
			}
			s.read()
			got, _ := s.tallies()
			test.want["get miss"] = asked + 10
			if !maps.Equal(got, test.want) || s.events[protocol.MatchTorn] != 1 {
				t.Errorf("counted %v, want %v; events %v", got, test.want, s.events)
			}
			if test.reason != "" && m.lost(t, test.reason) != before+1 {
				t.Errorf("%s: %d more, want 1", test.reason, m.lost(t, test.reason)-before)
			}
		})
	}
}

// FuzzMatch feeds a connection that is matched with any bytes: the walk stays within its states, and counts no more than could be there.
func FuzzMatch(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		for _, talk := range talks {
			turn := talk.random(rng, false)
			f.Add(turn.ask+turn.ask, turn.tell+turn.tell, uint16(rng.IntN(100)))
		}
	}
	f.Add("*1\r\n$99999999999\r\n", ">4294967295\r\n", uint16(1))
	f.Add("ms a 99999999999\r\nget "+strings.Repeat("a ", 200)+"\r\n", "VALUE a 0 -1\r\nVA 9 9\r\nEND\r\n", uint16(2))
	f.Add("*2\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n", "*-1\r\n!0\r\n\r\n", uint16(3))
	m := loadMatched(f)
	sk := uint64(1 << 33)
	f.Fuzz(func(t *testing.T, ask, tell string, cut uint16) {
		sk++
		s := m.open(t, sk, RoleClient+Role(sk%2))
		conn := s.conn()
		conn.Match, conn.Matched, conn.Protocol = [2]uint8{4, 4}, uint8(protocol.MatchedRedis)+uint8(cut)%uint8(len(talks)), protocolStream
		if err := m.coll.Maps["conns"].Put(sk, &conn); err != nil {
			t.Fatal(err)
		}
		asks, tells := pieces(ask, 1+int(cut)%50), pieces(tell, 1+int(cut)%30)
		for len(asks)+len(tells) > 0 {
			if len(asks) > 0 {
				s.tell(protocol.FromClient, asks[0])
				asks = asks[1:]
			}
			if len(tells) > 0 {
				s.tell(protocol.FromServer, tells[0])
				tells = tells[1:]
			}
		}
		conn = s.conn()
		for _, stream := range conn.Streams {
			if conn.Match[0] == 4 && (stream.State > 8 || stream.Out > 104) {
				t.Errorf("state %d with %d bytes kept", stream.State, stream.Out)
			}
		}
		s.read()
		all, kernel := s.tallies()
		if kernel > len(ask) {
			t.Errorf("%v counted in %d bytes", all, len(ask))
		}
		for _, name := range []string{"conns", "pending", "partials", "verdicts"} {
			s.forget(name)
		}
	})
}
