package protocol

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// tell has a wire hear of who matches its requests.
func (w *wire) tell(e MatchEvent, d Direction, other uint32) Decision {
	w.at++
	return w.s.Take(&Piece{Stream: w.id, Pair: w.pair, At: w.at, Seq: w.seq[d], Direction: d, Match: e, Other: other})
}

// Requests that wait for an answer are the kernel's from a place in the answers on. Those without one count where they are shown: here as
// long as the client's bytes go on to come, in the kernel behind.
func TestMatchedOneWay(t *testing.T) {
	w := newWire(t)
	w.s = NewStreams([]Protocol{Memcached()})
	w.s.Match = true
	decision, gets := Keep, uint64(0)
	for ; decision != Offer; gets++ {
		require.Equal(t, Keep, w.say(FromClient, "get a\r\n"))
		decision = w.say(FromServer, "END\r\n")
		require.Less(t, gets, uint64(1000))
	}
	require.Equal(t, MatchedMemcached, w.s.Matched(w.id))
	require.Equal(t, Confirm, w.tell(MatchMark, FromClient, w.seq[FromServer]))
	w.say(FromClient, "set a 0 0 1 noreply\r\nx\r\nget a\r\nset a 0 0 1 nore") // the kernel counts the get
	w.tell(MatchTaken, FromServer, uint32(MatchedMemcached))
	w.say(FromClient, "ply\r\nx\r\nget a\r\n")
	w.hide(FromClient, 100)
	w.say(FromClient, "set a 0 0 1 noreply\r\nx\r\n") // of a call that the kernel counted and could not follow to its end
	w.tell(MatchBack, FromClient, uint32(MatchedMemcached))
	w.say(FromClient, "delete a noreply\r\nget a\r\n")
	w.tell(MatchBack, FromServer, uint32(MatchedMemcached))
	w.say(FromServer, "END\r\n")
	w.close()
	wantTallies(t, w.tallies(), map[string]uint64{"7 memcached get miss false": gets + 1, "7 memcached set  false": 2, "7 memcached delete  false": 1})
	require.Zero(t, w.s.Stats.Missed.Load())
}
