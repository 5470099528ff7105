package protocol

import (
	"bytes"
	"math/rand"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// brokers are the protocols of caches, document stores and brokers, which share half, fifo and table.
func brokers() []Protocol {
	return []Protocol{DNS(), Redis(), Memcached(), NATS(), MQTT(), AMQP(), Dubbo(), Cassandra(), ClickHouse(), MongoDB(), Kafka(), ZooKeeper(), HTTP2()}
}

func TestBrokersAreToldApart(t *testing.T) {
	for _, spoken := range brokers() {
		for name, chunks := range readRecordings(t, spoken.Name) {
			for _, d := range []Direction{FromClient, FromServer} {
				i := slices.IndexFunc(chunks, func(c talkChunk) bool { return c.from == d })
				if i < 0 {
					continue
				}
				for n := range len(chunks[i].data) + 1 {
					for _, p := range brokers() {
						verdict := p.Detect(d, chunks[i].data[:n])
						if p.Name == spoken.Name {
							require.NotEqual(t, No, verdict, "%s: first %d bytes %q", name, n, chunks[i].data[:n])
						} else {
							require.NotEqual(t, Yes, verdict, "%s taken for %s: first %d bytes %q", name, p.Name, n, chunks[i].data[:n])
						}
					}
				}
			}
		}
	}
}

// A connection that is older than the agent, or of which bytes were missed, is followed again at the next message.
func TestBrokersGoOnAfterALoss(t *testing.T) {
	for _, p := range brokers() {
		for name, chunks := range readRecordings(t, p.Name) {
			whole := len(talkThrough(t, p, chunks).exchanges)
			if whole < 20 || len(chunks) < 40 { // all was asked at once
				continue
			}
			t.Run(name, func(t *testing.T) {
				for from := 2; from < len(chunks)/2; from += 7 {
					f := newTalk(t, p)
					f.lost = [2]bool{true, true}
					for _, c := range chunks[from:] {
						f.feed(c.from, c.data, c.at)
					}
					f.close(1 << 40)
					assert.GreaterOrEqual(t, len(f.exchanges), whole/4, "joined at chunk %d of %d", from, len(chunks))
				}
				random := rand.New(rand.NewSource(1))
				for range 20 {
					f := newTalk(t, p)
					hole := 3 + random.Intn(len(chunks)-3)
					for i, c := range chunks {
						if i == hole {
							f.lost[c.from], f.waiting[c.from], f.skip[c.from] = true, nil, 0
							c.data = c.data[random.Intn(len(c.data)):]
						}
						f.feed(c.from, c.data, c.at)
					}
					f.close(1 << 40)
					assert.GreaterOrEqual(t, len(f.exchanges), hole*whole/len(chunks)/2, "hole at chunk %d of %d", hole, len(chunks))
				}
			})
		}
	}
}

// Looking for the next message in a full buffer of hostile bytes must not take long, whatever they are.
func TestBrokersLookForMessagesInBoundedTime(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, p := range brokers() {
		for _, unit := range []string{"\x00", "a", "AB\n", "+OK\r\n", "get", "*1\r\n", "PUB a 1\r\n", "\x30", "\x40\x02\x00\x00", "\x80", "\x08\x00\x00\x00\x00\x00\x00\xce", "\x01\x00\x01\x00\x00\x00\x04", "INFO ", "GET "} {
			b := bytes.Repeat([]byte(unit), MaxBuffer/len(unit))
			f := newTalk(t, p)
			f.lost = [2]bool{true, true}
			begin := threadTime(t)
			f.feed(FromClient, b, 1)
			f.feed(FromServer, b, 2)
			took := threadTime(t) - begin
			t.Logf("%-10s %-12.12q %v", p.Name, unit, took)
			assert.Less(t, took, 2*time.Second, "%s, %q", p.Name, unit)
		}
	}
}

// threadTime is the CPU time of this thread: unlike a clock it does not see what else the machine does.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_THREAD, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func TestFifoKeepsPlacesBeyondItsBound(t *testing.T) {
	var f fifo[int]
	for i := range MaxWaiting + 3 {
		require.Equal(t, i < MaxWaiting, f.push(i))
	}
	for i := range MaxWaiting {
		got, ok := f.pop()
		require.True(t, ok)
		require.Equal(t, i, got)
		require.False(t, f.push(-1), "order is kept while places beyond the bound wait")
	}
	for range MaxWaiting + 3 {
		_, ok := f.pop()
		require.False(t, ok)
	}
	require.True(t, f.idle())
	require.True(t, f.push(7))
}

func TestTableForgetsTheOldest(t *testing.T) {
	var tab table[int, int]
	for i := range 3 * MaxWaiting {
		forgotten, full := tab.put(i, i)
		require.Equal(t, i >= MaxWaiting, full)
		if full {
			require.Equal(t, i-MaxWaiting, forgotten)
		}
	}
	for i := range 100 * MaxWaiting { // keys that come and go do not fill it
		tab.put(-1-i%7, 0)
		tab.take(-1 - i%7)
	}
	require.LessOrEqual(t, len(tab.values), MaxWaiting)
	require.LessOrEqual(t, len(tab.order), 2*MaxWaiting)
}
