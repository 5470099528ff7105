package protocol

import (
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// exchangeOfDatagrams is a machine with a client (owner 1, socket 11) and a server (owner 2, socket 22).
type exchangeOfDatagrams struct {
	t   *testing.T
	s   *Datagrams
	now int64
}

var (
	clientAt = netip.MustParseAddrPort("127.0.0.1:40000")
	serverAt = netip.MustParseAddrPort("127.0.0.1:53")
	anywhere = netip.MustParseAddrPort("0.0.0.0:53")
)

func newExchange(t *testing.T) *exchangeOfDatagrams {
	return &exchangeOfDatagrams{t: t, s: NewDatagrams(), now: int64(time.Hour)}
}

func (x *exchangeOfDatagrams) pass(d time.Duration) { x.now += int64(d); x.s.Advance(x.now) }

// client is what its socket sent or received.
func (x *exchangeOfDatagrams) client(sent bool, b []byte) {
	x.now += 1e6
	x.s.Take(&Datagram{Socket: 11, Owner: 1, NetNS: 7, Local: clientAt, Remote: serverAt, At: x.now, Sent: sent, Data: b})
}

// server is what its socket sent or received; where something came from is not known.
func (x *exchangeOfDatagrams) server(sent bool, b []byte) {
	x.now += 1e6
	d := &Datagram{Socket: 22, Owner: 2, NetNS: 7, Local: anywhere, At: x.now, Sent: sent, Data: b}
	if sent {
		d.Remote = clientAt
	}
	x.s.Take(d)
}

// counted settles everything and lists what was counted: "pair: operation: status count", with the pair as it is told.
func (x *exchangeOfDatagrams) counted() []string {
	x.pass(6 * time.Second)
	x.pass(time.Second)
	var out []string
	x.s.Drain(x.now, func(p DatagramPair, tallies []*Tally, _ DatagramTraffic) {
		side := fmt.Sprintf("client %d -> %s (%d at %s)", p.Owner, p.Remote, p.Peer, p.Actual)
		if p.Server {
			side = fmt.Sprintf("server %d <- %s", p.Owner, p.Remote)
		}
		for _, t := range tallies {
			var n uint64
			for _, b := range t.Buckets {
				n += uint64(b)
			}
			require.Equal(x.t, t.Count, n)
			out = append(out, fmt.Sprintf("%s: %s: %s %d", side, t.Operation, t.Status, t.Count))
		}
	})
	slices.Sort(out)
	require.Zero(x.t, x.s.line.n)
	require.Zero(x.t, len(x.s.waiting)+len(x.s.early)+x.s.settle.n)
	x.pass(10 * time.Second)
	require.Zero(x.t, len(x.s.clients)+len(x.s.servers)+x.s.linger.n)
	return out
}

const (
	joinedClient = "client 1 -> 127.0.0.1:53 (2 at 127.0.0.1:53): "
	aloneClient  = "client 1 -> 127.0.0.1:53 (0 at invalid AddrPort): "
	joinedServer = "server 2 <- invalid AddrPort: "
)

func TestDatagramsMatchQuestionsWithAnswers(t *testing.T) {
	ask := dnsAsk(1, "www.example.com.", dnsmessage.TypeA)
	say := dnsSay(1, "www.example.com.", dnsmessage.TypeA, 0, nil)
	upper := dnsSay(1, "WWW.example.com.", dnsmessage.TypeA, 0, nil)
	none := dnsSay(1, "www.example.com.", dnsmessage.TypeA, 3, nil)
	short := slices.Clone(say)
	short[2] |= 2 // TC
	bare := []byte{0, 1, 0x81, 0x84, 0, 0, 0, 0, 0, 0, 0, 0}
	const a = "A www.example.com: "
	for _, tc := range []struct {
		name string
		play func(x *exchangeOfDatagrams)
		want []string
	}{
		{"both ends", func(x *exchangeOfDatagrams) {
			x.client(true, ask)
			x.server(false, ask)
			x.server(true, say)
			x.client(false, say)
		}, []string{joinedClient + a + "ok 1", joinedServer + a + "ok 1"}},
		{"records that overtake each other", func(x *exchangeOfDatagrams) {
			x.server(false, ask)
			x.client(false, upper)
			x.client(true, ask)
			x.server(true, say)
		}, []string{joinedClient + a + "ok 1", joinedServer + a + "ok 1"}},
		{"asked again after a loss", func(x *exchangeOfDatagrams) {
			x.client(true, ask)
			x.pass(time.Second)
			x.client(true, ask)
			x.server(false, ask)
			x.server(true, none)
			x.client(false, none)
		}, []string{joinedClient + a + "nxdomain 1", joinedClient + a + "timeout 1", joinedServer + a + "nxdomain 1"}},
		{"asked again too soon", func(x *exchangeOfDatagrams) {
			x.client(true, ask)
			x.server(false, ask)
			x.client(true, ask)
			x.server(false, ask)
			x.server(true, say)
			x.server(true, say)
			x.client(false, say)
			x.client(false, say)
		}, []string{joinedClient + a + "ok 1", joinedClient + a + "timeout 1", joinedServer + a + "ok 2"}},
		{"nobody answers", func(x *exchangeOfDatagrams) { x.client(true, ask); x.server(false, ask) },
			[]string{aloneClient + a + "timeout 1", joinedServer + a + "timeout 1"}},
		{"too late", func(x *exchangeOfDatagrams) {
			x.client(true, ask)
			x.pass(7 * time.Second)
			x.client(false, say)
		}, []string{aloneClient + a + "timeout 1"}},
		{"it does not fit", func(x *exchangeOfDatagrams) { x.client(true, ask); x.client(false, short) }, []string{aloneClient + a + "truncated 1"}},
		{"a refusal without question", func(x *exchangeOfDatagrams) { x.client(true, ask); x.client(false, bare) }, []string{aloneClient + a + "not_implemented 1"}},
		{"an answer to nothing", func(x *exchangeOfDatagrams) { x.client(false, say); x.server(true, say) }, nil},
		{"nonsense", func(x *exchangeOfDatagrams) { x.client(true, []byte("nonsense that is longer")); x.client(true, nil) }, nil},
		{"multicast", func(x *exchangeOfDatagrams) {
			x.s.Take(&Datagram{Socket: 11, Local: clientAt, Remote: netip.MustParseAddrPort("224.0.0.251:5353"), At: x.now, Sent: true, Data: dnsAsk(0, "printer.local.", dnsmessage.TypeA)})
			x.server(false, dnsBuild(dnsmessage.Header{}, "printer.local.", dnsmessage.TypeA, nil))
			x.server(false, dnsBuild(dnsmessage.Header{ID: 5}, "printer.", dnsmessage.TypeA, nil)) // LLMNR
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := newExchange(t)
			tc.play(x)
			require.Equal(t, tc.want, x.counted())
		})
	}
}

// A server elsewhere has an address; a client elsewhere has one as soon as it is answered.
func TestDatagramsOfOtherMachines(t *testing.T) {
	x := newExchange(t)
	ask, say := dnsAsk(1, "example.com.", dnsmessage.TypeA), dnsSay(1, "example.com.", dnsmessage.TypeA, 0, nil)
	x.server(false, ask)
	x.server(true, say)
	require.Equal(t, []string{"server 2 <- 127.0.0.1:0: A example.com: ok 1"}, x.counted())
	var servers []Answering
	x.s.Servers(x.now, func(a Answering) { servers = append(servers, a) })
	require.Equal(t, []Answering{{Owner: 2, NetNS: 7, Local: anywhere}}, servers)
	x.s.Servers(x.now+int64(time.Hour), func(Answering) { t.Error("it was not asked for long") })
}

func TestDatagramsFindAddresses(t *testing.T) {
	x := newExchange(t)
	say := dnsSay(1, "www.example.com.", dnsmessage.TypeA, 0, func(b *dnsmessage.Builder) {
		require.NoError(t, b.AResource(answerHeader("www.example.com.", 60), dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}))
	})
	x.client(false, say) // not asked for: nobody's
	x.pass(2 * time.Second)
	require.Empty(t, x.s.Answers())
	x.client(true, dnsAsk(1, "www.example.com.", dnsmessage.TypeA))
	x.server(false, dnsAsk(1, "www.example.com.", dnsmessage.TypeA))
	x.server(true, say)
	x.client(false, say)
	require.Equal(t, []FoundAnswer{{Owner: 1, Answer: Answer{"www.example.com", []netip.Addr{netip.MustParseAddr("192.0.2.1")}, time.Minute}}}, x.s.Answers())
	require.Empty(t, x.s.Answers())
}

func TestDatagramsAreBounded(t *testing.T) {
	s := NewDatagrams()
	take := func(i int, sent bool, socket uint64, remote netip.AddrPort, b []byte) {
		s.Take(&Datagram{Socket: socket, Owner: 1, Local: serverAt, Remote: remote, At: int64(i), Sent: sent, Data: b})
	}
	name := func(i int) string {
		return strings.Map(func(r rune) rune { return 'a' + r - '0' }, fmt.Sprint(i)) + ".example.com."
	}
	const many = 3 * MaxQuestions
	for i := range many { // nobody answers
		take(i, true, uint64(i), serverAt, dnsAsk(uint16(i), name(i), dnsmessage.TypeA))
		take(i, false, uint64(many+i), netip.AddrPort{}, dnsSay(uint16(i), name(i), dnsmessage.TypeA, 0, nil))
	}
	require.Equal(t, MaxQuestions, s.line.n)
	require.LessOrEqual(t, len(s.early), maxEarly)
	require.Equal(t, uint64(many-MaxQuestions), s.Stats.Refused.Load())
	s.Advance(int64(time.Minute))
	require.Zero(t, s.line.n+s.settle.n+s.linger.n+len(s.early)+len(s.waiting)+len(s.clients))
	require.LessOrEqual(t, s.kinds, maxDatagramKinds+10)
	counted, unknown := uint64(0), uint64(0)
	s.Drain(int64(time.Minute), func(_ DatagramPair, tallies []*Tally, _ DatagramTraffic) {
		for _, tally := range tallies {
			if counted += tally.Count; tally.Operation == "~other" {
				unknown += tally.Count
			}
		}
	})
	require.Equal(t, uint64(MaxQuestions), counted)
	require.Equal(t, uint64(MaxQuestions-maxDatagramKinds), unknown)
	for i := range 3 * MaxDatagramPairs { // clients from everywhere
		at := int64(2*time.Minute) + int64(i)
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, byte(i >> 16), byte(i >> 8), byte(i)}), 999)
		s.Take(&Datagram{Socket: 5, Owner: 2, Local: anywhere, At: at, Data: dnsAsk(uint16(i), "example.com.", dnsmessage.TypeA)})
		s.Take(&Datagram{Socket: 5, Owner: 2, Local: anywhere, Remote: from, At: at, Sent: true, Data: dnsSay(uint16(i), "example.com.", dnsmessage.TypeA, 0, nil)})
	}
	counted = 0
	each := func(_ DatagramPair, tallies []*Tally, _ DatagramTraffic) {
		for _, tally := range tallies {
			counted += tally.Count
		}
	}
	s.Drain(int64(3*time.Minute), each)
	require.Equal(t, uint64(3*MaxDatagramPairs), counted, "the clients over the bound are not told apart, but counted")
	require.LessOrEqual(t, len(s.pairs), MaxDatagramPairs)
	gone := 0
	s.Drain(int64(time.Hour), func(_ DatagramPair, _ []*Tally, traffic DatagramTraffic) {
		if traffic.Gone {
			gone++
		}
	})
	require.NotZero(t, gone)
	require.Empty(t, s.pairs)
}

// Any order of any messages keeps the lists whole.
func TestDatagramsInAnyOrder(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 50 {
		x := newExchange(t)
		for range 500 {
			id := uint16(random.Intn(4))
			ask, say := dnsAsk(id, "example.com.", dnsmessage.TypeA), dnsSay(id, "example.com.", dnsmessage.TypeA, 0, nil)
			switch random.Intn(5) {
			case 0:
				x.client(true, ask)
			case 1:
				x.client(false, say)
			case 2:
				x.server(false, ask)
			case 3:
				x.server(true, say)
			case 4:
				x.pass(time.Duration(random.Intn(3000)) * time.Millisecond)
			}
		}
		x.counted()
	}
}
