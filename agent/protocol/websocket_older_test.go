package protocol

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// olderWire is a connection that is older than the agent, among all protocols.
func olderWire(t *testing.T) *wire {
	w := newWire(t)
	w.s, w.old = NewStreams(Table()), true
	return w
}

// messages are those that were told since the last time.
func (w *wire) messages() (sum [2]uint64) {
	w.s.Drain(w.at, func(t *Tally) {
		sum[FromClient] += t.Messages[FromClient]
		sum[FromServer] += t.Messages[FromServer]
	})
	return sum
}

// A WebSocket that is older than the agent is known by its frames, however programs read and write them, and all is counted from there on.
func TestOlderWebSocket(t *testing.T) {
	const c, s = FromClient, FromServer
	long, short := strings.Repeat("x", 20000), strings.Repeat("y", 300)
	for _, tc := range []struct {
		name  string
		calls func(d Direction) []string // of one message
	}{
		{"a call each", func(d Direction) []string { return []string{wsFrame(d, 0x81, "hello")} }},
		{"heads by themselves", func(d Direction) []string { f := wsFrame(d, 0x82, short); return []string{f[:2], f[2:4], f[4:]} }},
		{"byte by byte to the length", func(d Direction) []string {
			f := wsFrame(d, 0x81, "hello")
			return []string{f[:1], f[1:2], f[2:]}
		}},
		{"longer than what others are given up after", func(d Direction) []string { return []string{wsFrame(d, 0xc2, long)} }},
		{"in fragments, with a ping between", func(d Direction) []string {
			return []string{wsFrame(d, 0x01, long), wsFrame(d, 0x89, "") + wsFrame(d, 0x00, ""), wsFrame(d, 0x80, "end")}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := olderWire(t)
			say := func(d Direction) {
				for _, call := range tc.calls(d) {
					require.Equal(t, Keep, w.say(d, call))
				}
			}
			w.say(c, "in the middle of a frame, somewhere")
			for range 100 { // of a server that tells and tells, nobody knows
				say(s)
			}
			require.Zero(t, w.messages())
			for range webSocketCalls {
				say(c)
			}
			require.NotZero(t, w.messages()[c])
			say(s)
			w.messages()
			for range 50 {
				say(c)
				say(s)
				say(s)
			}
			require.Equal(t, [2]uint64{50, 100}, w.messages())
			w.say(s, wsClose(s, 1001))
			wantTallies(t, w.tallies(), map[string]uint64{"7 websocket ~unknown 1001 false": 1})
			w.close()
			require.Empty(t, w.tallies())
			require.Zero(t, w.s.Stats.Desynced.Load())
		})
	}
}

// What ends without a word is one connection that was cut, and has no duration.
func TestOlderWebSocketCut(t *testing.T) {
	w := olderWire(t)
	for range webSocketCalls {
		w.say(FromServer, wsFrame(FromServer, 0x8a, ""))
		w.say(FromClient, wsFrame(FromClient, 0x89, ""))
	}
	w.close()
	w.s.Drain(w.at, func(tally *Tally) {
		require.Equal(t, "websocket ~unknown", tally.Protocol+" "+tally.Operation)
		require.True(t, tally.Cut)
		require.EqualValues(t, 1, tally.Count)
		require.Zero(t, tally.Timed)
	})
}

// noise is up to some bytes of chance.
func noise(random *rand.Rand, most int) string {
	b := make([]byte, 1+random.IntN(most))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return string(b)
}

// What only looks like one for a while is none, and is given up as anything else.
func TestOlderIsNoWebSocket(t *testing.T) {
	const c, s = FromClient, FromServer
	for _, tc := range []struct {
		name string
		call func(random *rand.Rand, i int) string
	}{
		{"tag, length and value on both sides", func(random *rand.Rand, _ int) string { return wsFrame(s, 0x82, noise(random, 120)) }},
		{"a client that is not answered so", func(random *rand.Rand, i int) string {
			return [2]string{wsFrame(c, 0x81, "hello"), noise(random, 60)}[i%2]
		}},
		{"noise", func(random *rand.Rand, _ int) string { return noise(random, 100) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for connection := range uint64(50) {
				random := rand.New(rand.NewPCG(1, connection))
				w := olderWire(t)
				for i := range 1000 {
					w.say(Direction(i%2), tc.call(random, i))
				}
				for k := range w.tallies() {
					require.NotContains(t, k, "websocket")
				}
				require.LessOrEqual(t, w.s.Stats.Bytes.Load(), int64(4<<10))
			}
		})
	}
}

// Noise on a connection that is older than the agent is not listened to for long.
func TestOlderNoiseIsGivenUp(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	w := olderWire(t)
	gone := false
	for i := range 2 * olderCalls {
		gone = gone || w.say(Direction(i%2), noise(random, 60)) == Ignore
	}
	require.True(t, gone)
	require.Zero(t, w.s.Stats.Streams.Load())
}
