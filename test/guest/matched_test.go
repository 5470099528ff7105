package guest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/protocol"
)

// matchedCounts is what both ends of a server were counted to have done, by the kernel and in user space: "GET ok" -> requests.
type matchedCounts struct {
	mu      sync.Mutex
	all     map[probe.Role]map[string]uint64
	kernel  uint64 // how many of all the kernel matched
	port    uint16
	streams *protocol.Streams
	unnamed []*protocol.Tally // their pair is not known yet
}

func (c *matchedCounts) count(k probe.PairKey, operation, status string, n uint64) {
	if endOf(k).port != c.port {
		return
	}
	if c.all[k.Role] == nil {
		c.all[k.Role] = map[string]uint64{}
	}
	c.all[k.Role][operation+" "+status] += n
}

// read adds a snapshot, and what user space counted until then.
func (c *matchedCounts) read(p *probe.Probe, s probe.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range s.Requests {
		c.count(r.Pair, r.Route, r.Code, r.Count)
		if endOf(r.Pair).port == c.port {
			c.kernel += r.Count
		}
	}
	c.streams.Drain(0, func(t *protocol.Tally) { c.unnamed = append(c.unnamed, t) })
	waiting := c.unnamed
	c.unnamed = nil
	for _, t := range waiting {
		if key, ok := p.PairKey(t.Pair); ok {
			c.count(key, t.Operation, t.Status, t.Count)
		} else {
			c.unnamed = append(c.unnamed, t)
		}
	}
}

// take reads a record as the agent does.
func (c *matchedCounts) take(r *probe.Record) probe.Verdict {
	if r.Hello || r.Datagram != nil || r.Asked != nil || r.Upgrade != nil {
		return probe.Ship
	}
	direction := protocol.FromServer
	if r.Sent == (r.Role == probe.RoleClient) {
		direction = protocol.FromClient
	}
	piece := protocol.Piece{
		Stream: protocol.StreamID{Socket: r.Socket, Opened: r.Opened}, Pair: r.Pair, At: r.At, Seq: r.Seq, Direction: direction,
		Adopted: r.Adopted, Closed: r.Closed, Data: r.Data, Passed: r.Passed, Match: protocol.MatchEvent(r.Match), Other: r.Other,
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	framing := func() uint8 { return uint8(c.streams.Framing(piece.Stream)) }
	number := func() uint8 { return uint8(c.streams.Matched(piece.Stream)) }
	switch c.streams.Take(&piece) {
	case protocol.Ignore:
		return probe.Ignore
	case protocol.Frame:
		return probe.ShipFramed(framing())
	case protocol.Whole:
		return probe.ShipFramed(0)
	case protocol.Offer:
		return probe.OfferMatch(number(), framing())
	case protocol.Confirm:
		return probe.ConfirmMatch(number(), framing())
	}
	return probe.Ship
}

// said is a command, its answer, and how it counts.
type said struct{ ask, tell, name string }

// matchedTalk is what ends say to each other in a protocol that the kernel can match.
type matchedTalk struct {
	protocol protocol.Protocol
	words    func(*protocol.Operations) protocol.Words
	all      []said
	back     said // the kernel gives it back
	whole    bool // and what goes on in another call, so few do
}

var matchedTalks = []matchedTalk{
	{protocol.Redis(), func(*protocol.Operations) protocol.Words { return protocol.RedisWords() }, []said{
		{"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "$3\r\nabc\r\n", "GET ok"},
		{"*2\r\n$3\r\nget\r\n$1\r\na\r\n", "$-1\r\n", "GET ok"},
		{"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$500\r\n" + strings.Repeat("*1\r\n$", 100) + "\r\n", "+OK\r\n", "SET ok"},
		{"*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$1\r\na\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "CONFIG GET ok"},
		{"*2\r\n$4\r\nINCR\r\n$1\r\na\r\n", "-WRONGTYPE not a number\r\n", "INCR WRONGTYPE"},
		{"*1\r\n$7\r\nunknown\r\n", "-ERR unknown command\r\n", "~other ERR"},
	}, said{"PING\r\n", "+PONG\r\n", "PING ok"}, false},
	{protocol.Memcached(), func(*protocol.Operations) protocol.Words { return protocol.MemcachedWords() }, []said{
		{"get a\r\n", "VALUE a 0 3\r\nabc\r\nEND\r\n", "get hit"},
		{"get " + strings.Repeat("a", 200) + "\r\n", "END\r\n", "get miss"},
		{"gets a b c\r\n", "VALUE b 0 5 7\r\nEND\r\n\r\nEND\r\n", "gets partial"},
		{"set a 0 0 500\r\n" + strings.Repeat("get a", 100) + "\r\n", "STORED\r\n", "set stored"},
		{"set a 0 0 5 noreply\r\nget a\r\n", "", "set "},
		{"incr a 5\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", "incr client_error"},
		{"mg a v\r\n", "VA 3\r\nEN\r\r\n", "mg hit"},
	}, said{"stats\r\n", "STAT pid 1\r\nEND\r\n", "stats ok"}, false},
	{protocol.PostgreSQL(), protocol.PostgresWords, []said{
		{postgresSays('Q', "SELECT 1 FROM things WHERE id = 5\x00"), postgresSays('D', strings.Repeat("Z\x00\x00\x00\x05I", 50)) + postgresSays('C', "SELECT 1\x00") + postgresReady, "SELECT things ok"},
		{postgresSays('Q', "UPDATE \"Things\" SET a = 'it''s'\x00"), postgresSays('E', "SERROR\x00C23505\x00Mx\x00\x00") + postgresReady, "UPDATE Things 23505"},
		{
			postgresSays('P', "\x00INSERT INTO things VALUES ($1)\x00\x00\x00") + postgresSays('B', "\x00\x00\x00\x00\x00\x00\x00\x00") + postgresSays('E', "\x00\x00\x00\x00\x00") + postgresSays('S', ""),
			postgresSays('1', "") + postgresSays('2', "") + postgresSays('C', "INSERT 0 1\x00") + postgresReady, "INSERT things ok",
		},
		{postgresSays('P', "\x00SELECT 1\x00\x00\x00") + postgresSays('S', ""), postgresSays('E', "SERROR\x00C42601\x00\x00") + postgresReady, "SELECT 42601"},
	}, said{postgresSays('Q', "COPY things TO STDOUT\x00"), postgresSays('H', "\x00\x00\x00") + postgresSays('c', "") + postgresSays('C', "COPY 0\x00") + postgresReady, "COPY things ok"}, true},
	{protocol.MySQL(), protocol.MySQLWords, []said{
		{
			mysqlSays(0, "\x03SELECT a FROM `Things` WHERE id = 5"),
			mysqlSays(1, "\x02") + mysqlSays(2, "\x03def") + mysqlSays(3, "\x03def") + mysqlSays(4, mysqlEnd) + mysqlSays(5, "\xfb\x05Hello") + mysqlSays(6, mysqlEnd), "SELECT Things ok",
		},
		{mysqlSays(0, "\x03UPDATE Things SET a = 'it''s'"), mysqlSays(1, "\xff\x26\x04#23000Duplicate entry"), "UPDATE Things 1062"},
		{mysqlSays(0, "\x03INSERT INTO things VALUES ('"+strings.Repeat("Hello", 100)+"')"), mysqlSays(1, mysqlOK), "INSERT things ok"},
		{mysqlSays(0, "\x0e"), mysqlSays(1, mysqlOK), "COM_PING ok"},
		{mysqlSays(0, "\x19\x05\x00\x00\x00"), "", "COM_STMT_CLOSE "},
	}, said{mysqlSays(0, "\x09"), mysqlSays(1, "Uptime: 5"), "COM_STATISTICS ok"}, true},
}

const (
	mysqlOK  = "\x00\x05\x00\x02\x00\x00\x00"
	mysqlEnd = "\xfe\x00\x00\x02\x00"
)

func mysqlSays(number byte, content string) string {
	return string([]byte{byte(len(content)), byte(len(content) >> 8), 0, number}) + content
}

const postgresReady = "Z\x00\x00\x00\x05I"

func postgresSays(kind byte, content string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(content)+4))) + content
}

// TestMatched has connections speak to each other in pipelines until the kernel took over and gave back several times, where it can match
// requests. Each command counts once at each end.
func TestMatched(t *testing.T) {
	for _, k := range matchedTalks {
		for _, hook := range []string{probe.HookSocket, probe.HookSyscall} {
			t.Run(k.protocol.Name+"/"+hook, func(t *testing.T) { k.test(t, hook) })
		}
	}
}

func (k matchedTalk) test(t *testing.T, hook string) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer listener.Close()
	c := k.probing(t, hook, uint16(listener.Addr().(*net.TCPAddr).Port))
	require.Equal(t, atLeast(5, 17), c.streams.Match)
	said := c.talk(t, listener, k)
	want := map[probe.Role]map[string]uint64{probe.RoleClient: said, probe.RoleServer: said}
	assert.EventuallyWithT(t, func(e *assert.CollectT) {
		c.mu.Lock()
		defer c.mu.Unlock()
		assert.Equal(e, want, c.all)
	}, time.Minute, 100*time.Millisecond)
	t.Logf("%d matched in the kernel, %d taken, %d given back, %d torn", c.kernel, c.event(protocol.MatchTaken), c.event(protocol.MatchBack), c.event(protocol.MatchTorn))
}

// probing runs a probe until the test ends, which counts what is said to a port.
func (k matchedTalk) probing(t *testing.T, hook string, port uint16) *matchedCounts {
	t.Helper()
	operations := protocol.NewOperations()
	p, err := probe.New(probe.Options{Hook: hook, PollInterval: 200 * time.Millisecond, Records: true, Words: []probe.Words{probe.WordsOf(k.protocol, k.words(operations))}})
	if errors.Is(err, probe.ErrUnsupported) && hook == probe.HookSocket && !atLeast(6, 3) {
		t.Skipf("this kernel has no such hook: %v", err)
	}
	require.NoError(t, err)
	c := &matchedCounts{all: map[probe.Role]map[string]uint64{}, port: port, streams: protocol.NewStreams(protocol.Table())}
	c.streams.Match, c.streams.Operations = p.Matches(), operations
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- p.Run(ctx, func(s probe.Snapshot) { c.read(p, s) }) }()
	take := func(r *probe.Record) probe.Verdict {
		verdict := c.take(r)
		c.streams.Statements(p.Enter)
		return verdict
	}
	go func() { done <- p.ReadRecords(ctx, take, func() {}) }()
	t.Cleanup(func() {
		t.Log("lost in all:", p.Stats().Lost)
		cancel()
		require.NoError(t, errors.Join(<-done, <-done, p.Close()))
	})
	return c
}

func (c *matchedCounts) event(e protocol.MatchEvent) uint64 { return c.streams.Stats.Matches[e].Load() }

// talk speaks on three connections until they changed hands often enough, and returns what was said on all.
func (c *matchedCounts) talk(t *testing.T, listener *net.TCPListener, k matchedTalk) map[string]uint64 {
	t.Helper()
	said := map[string]uint64{}
	var mu sync.Mutex
	var group sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for i := range uint64(3) {
		client, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		server, err := listener.Accept()
		require.NoError(t, err)
		group.Go(func() {
			defer client.Close()
			defer server.Close()
			rng := rand.New(rand.NewPCG(i, 1))
			for round := 0; round < 100 || !c.changed(); round++ {
				names, err := k.exchange(client, server, rng, round%60 == 59)
				if err = errors.Join(err, ctx.Err()); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, name := range names {
					said[name]++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return said
}

// changed says whether connections changed hands often enough for the test.
func (c *matchedCounts) changed() bool {
	return !c.streams.Match || c.event(protocol.MatchTaken) >= 6 && c.event(protocol.MatchBack) >= 3
}

// exchange sends some commands and then their answers, each in calls of any size, and returns how they count.
func (k matchedTalk) exchange(client, server net.Conn, rng *rand.Rand, odd bool) (names []string, err error) {
	var ask, tell string
	most := 20
	if k.whole {
		most = 4 // of MySQL no more may wait in the kernel
	}
	for i := range 1 + rng.IntN(most) {
		one := k.all[rng.IntN(len(k.all))]
		if odd && i == 0 {
			one = k.back
		}
		ask, tell, names = ask+one.ask, tell+one.tell, append(names, one.name)
	}
	if err := carry(client, server, rng, ask, k.whole); err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	if err := carry(server, client, rng, tell, k.whole); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return names, nil
}

// carry writes text at one end and reads it at the other, meanwhile.
func carry(from, to net.Conn, rng *rand.Rand, text string, whole bool) error {
	size := []int{20, 1000, 100_000}[rng.IntN(3)]
	if whole && rng.IntN(50) > 0 {
		size = 1 << 30
	}
	written := make(chan error, 1)
	cuts := rand.New(rand.NewPCG(rng.Uint64(), 2))
	go func() {
		for rest := text; rest != ""; {
			n := min(1+cuts.IntN(size), len(rest))
			if _, err := io.WriteString(from, rest[:n]); err != nil {
				written <- err
				return
			}
			rest = rest[n:]
		}
		written <- nil
	}()
	_, err := io.ReadFull(to, make([]byte, len(text)))
	return errors.Join(err, <-written)
}
