package protocol

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// The bounds of a Datagrams, and its times.
const (
	MaxQuestions     = 16384 // that wait for an answer
	maxSettling      = 65536 // questions answered, whose other end is looked for
	MaxDatagramPairs = 8192
	maxDatagramKinds = 8192 // kinds of exchange of all pairs between two Drains; those beyond are ~other
	maxEarly         = 1024 // answers that came before their question
	maxServers       = 1024 // sockets that are asked

	answerLimit  = 5 * time.Second // what is not answered by then is not
	earlyLimit   = time.Second
	settleAfter  = 200 * time.Millisecond
	lingerFor    = 2 * time.Second
	idleDatagram = 5 * time.Minute
)

// Datagram is a message that a UDP socket sent or received.
type Datagram struct {
	Socket        uint64 // address of its struct sock
	Owner         uint64 // see probe.OwnerID
	NetNS         uint32
	Local, Remote netip.AddrPort // Local may be unspecified; Remote is the zero value where the kernel does not say, when something is received
	At            int64          // ns of the monotonic clock
	Sent          bool
	Data          []byte
}

// DatagramPair names what one owner exchanges with one peer. It has the meaning of probe.PairKey.
type DatagramPair struct {
	Owner  uint64
	Peer   uint64 // of a client: the owner of the server where that is on this machine
	NetNS  uint32
	Server bool
	Local  netip.AddrPort // of a client: without port
	Remote netip.AddrPort // of a server: the client's address without port, zero where the client is on this machine or not known
	Actual netip.AddrPort // of a client with a Peer: where that received the question
}

// DatagramTraffic is what a pair exchanged since the last Drain, as the owner sees it.
type DatagramTraffic struct {
	Sent, Received uint64         // bytes
	Sample         netip.AddrPort // the owner's end of one exchange
	Gone           bool           // nothing more will come of the pair
}

// Answering is a socket that is asked.
type Answering struct {
	Owner uint64
	NetNS uint32
	Local netip.AddrPort
}

// DatagramStats may be read from any goroutine.
type DatagramStats struct {
	Waiting, Pairs atomic.Int64
	Unreadable     atomic.Uint64 // datagrams that began as DNS but are not
	Unasked        atomic.Uint64 // answers without a question: it was lost, or is older than the agent or the limit
	Refused        atomic.Uint64 // questions over a bound
}

// Datagrams matches the questions that UDP sockets ask with their answers, and the two ends of those on one machine.
//
// Each datagram with a question is one exchange. It waits five seconds for its answer; then, or when the same socket asks the same
// server the same again, its status is "timeout". A server that got the question again answers both.
// It is used by one goroutine; Stats may be read by others.
type Datagrams struct {
	Stats   DatagramStats
	waiting map[questionKey][]*question // the oldest first
	line    questionList                // all that wait, the oldest first
	early   map[questionKey]earlyAnswer
	clients map[joinKey]*question // asked here
	servers map[joinKey]*question // answered here
	settle  questionList          // answered or given up, in that order
	linger  questionList          // counted, but their other ends may still come to look for them
	pairs   map[DatagramPair]*datagramPair
	kinds   int
	asked   map[Answering]int64 // servers and when they were last asked
	answers []FoundAnswer
}

// FoundAnswer is an Answer with whom it was given to: the owner of a socket, or a pair of connections (see Tally.Pair).
type FoundAnswer struct {
	Owner, Pair uint64
	Answer
}

type questionKey struct {
	socket uint64
	port   uint16 // of the socket: another may come to be at the same address
	dnsKey
}

// joinKey is what both ends see of an exchange, also through a translation of the server's address.
type joinKey struct {
	port uint16 // the client's
	dnsKey
}

type question struct {
	key        questionKey
	pair       DatagramPair
	local      netip.AddrPort
	join       joinKey // port 0: not known
	operation  string
	begin, end int64
	bytes      [2]uint64 // question, answer
	status     string
	failed     bool
	done       bool
	quiet      bool // one that was perhaps for many and is not counted where nobody answers
	prev, next *question
}

type earlyAnswer struct {
	at      int64
	bytes   int
	message dnsMessage
}

type datagramPair struct {
	traffic DatagramTraffic
	used    int64
	tallies map[tallyKey]*Tally
}

// NewDatagrams makes an empty Datagrams.
func NewDatagrams() *Datagrams {
	return &Datagrams{
		waiting: map[questionKey][]*question{}, early: map[questionKey]earlyAnswer{}, clients: map[joinKey]*question{}, servers: map[joinKey]*question{},
		pairs: map[DatagramPair]*datagramPair{}, asked: map[Answering]int64{},
	}
}

// Take adds one datagram. Data is only valid during the call.
func (s *Datagrams) Take(d *Datagram) {
	m, ok := readDNS(d.Data)
	if !ok {
		s.Stats.Unreadable.Add(1)
		return
	}
	if d.Remote.Addr().IsMulticast() || !m.response && multicastDNS(&m) {
		return
	}
	key := questionKey{d.Socket, d.Local.Port(), dnsKey{m.id, m.question}}
	if m.response {
		s.answer(d, key, &m)
	} else {
		s.ask(d, key, &m)
	}
}

// multicastDNS says whether a question is of those that go to all neighbours (RFC 6762), of which many get no answer.
func multicastDNS(m *dnsMessage) bool { return m.id == 0 && !m.desired && localName(m.question.name) }

// localName says whether a name may be asked of all neighbours: by multicast DNS or LLMNR (RFC 4795).
func localName(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return name != "" && (last == name || last == "local" || last == "arpa")
}

func (s *Datagrams) ask(d *Datagram, key questionKey, m *dnsMessage) {
	q := &question{key: key, local: d.Local, operation: m.question.operation(), begin: d.At, bytes: [2]uint64{uint64(len(d.Data))}}
	q.pair = DatagramPair{Owner: d.Owner, NetNS: d.NetNS, Server: !d.Sent, Local: d.Local}
	if d.Sent {
		q.pair.Local, q.pair.Remote = netip.AddrPortFrom(d.Local.Addr(), 0), d.Remote
		for _, again := range s.waiting[key] {
			if again.pair.Remote == d.Remote {
				s.giveUp(again, d.At)
				break
			}
		}
	} else {
		q.quiet = !m.desired && localName(m.question.name)
		s.heardAt(Answering{d.Owner, d.NetNS, d.Local}, d.At)
	}
	if s.line.n >= MaxQuestions {
		s.Stats.Refused.Add(1)
		return
	}
	s.waiting[key] = append(s.waiting[key], q)
	s.line.push(q)
	s.Stats.Waiting.Store(int64(s.line.n))
	if !d.Sent {
		return
	}
	q.join = joinKey{d.Local.Port(), key.dnsKey}
	s.clients[q.join] = q
	if e, ok := s.early[key]; ok {
		delete(s.early, key)
		s.finish(q, max(e.at, q.begin), e.bytes, &e.message)
	}
}

// answer finds the question of a response: the oldest of the same that waits. Where an answer that refuses does not say what it answers, its id does.
func (s *Datagrams) answer(d *Datagram, key questionKey, m *dnsMessage) {
	if !m.asks {
		for q := s.line.first; q != nil; q = q.next {
			if q.key.socket == key.socket && q.key.port == key.port && q.key.id == key.id {
				key = q.key
				break
			}
		}
	}
	waiting := s.waiting[key]
	if len(waiting) == 0 {
		if d.Sent || len(s.early) >= maxEarly {
			s.Stats.Unasked.Add(1)
		} else if _, again := s.early[key]; !again {
			s.early[key] = earlyAnswer{d.At, len(d.Data), *m} // its question is still to come, from another CPU
		}
		return
	}
	q := waiting[0]
	if d.Sent && d.Remote.Port() != 0 {
		q.join = joinKey{d.Remote.Port(), q.key.dnsKey}
		s.servers[q.join] = q
		q.pair.Remote = netip.AddrPortFrom(d.Remote.Addr(), 0)
	}
	s.finish(q, d.At, len(d.Data), m)
}

func (s *Datagrams) finish(q *question, at int64, bytes int, m *dnsMessage) {
	q.status, q.failed = m.status()
	q.bytes[1] = uint64(bytes)
	if m.answer != nil && !q.pair.Server && len(s.answers) < maxFound {
		s.answers = append(s.answers, FoundAnswer{Owner: q.pair.Owner, Answer: *m.answer})
	}
	s.end(q, at)
}

func (s *Datagrams) giveUp(q *question, at int64) {
	q.status, q.failed = dnsTimeout, true
	s.end(q, at)
}

// end takes a question out of those that wait.
func (s *Datagrams) end(q *question, at int64) {
	q.end, q.done = max(at, q.begin), true
	s.line.remove(q)
	s.Stats.Waiting.Store(int64(s.line.n))
	waiting := s.waiting[q.key]
	for i := range waiting {
		if waiting[i] == q {
			waiting = append(waiting[:i], waiting[i+1:]...)
			break
		}
	}
	if len(waiting) == 0 {
		delete(s.waiting, q.key)
	} else {
		s.waiting[q.key] = waiting
	}
	s.settle.push(q)
}

// heardAt notes that a socket is asked.
func (s *Datagrams) heardAt(a Answering, at int64) {
	if _, known := s.asked[a]; known || len(s.asked) < maxServers {
		s.asked[a] = at
	}
}

// questionList is a list that anything can be taken out of.
type questionList struct {
	first, last *question
	n           int
}

func (l *questionList) push(q *question) {
	q.prev, q.next = l.last, nil
	if l.last != nil {
		l.last.next = q
	} else {
		l.first = q
	}
	l.last = q
	l.n++
}

func (l *questionList) remove(q *question) {
	if q.prev != nil {
		q.prev.next = q.next
	} else {
		l.first = q.next
	}
	if q.next != nil {
		q.next.prev = q.prev
	} else {
		l.last = q.prev
	}
	q.prev, q.next = nil, nil
	l.n--
}
