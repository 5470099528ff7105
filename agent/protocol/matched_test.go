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

// confirmed is a connection of Memcached that the kernel walks, after some requests.
func confirmed(t *testing.T) (w *wire, gets uint64) {
	w = newWire(t)
	w.s = NewStreams([]Protocol{Memcached()})
	w.s.Match = true
	for decision := Keep; decision != Offer; gets++ {
		require.Equal(t, Keep, w.say(FromClient, "get a\r\n"))
		decision = w.say(FromServer, "END\r\n")
		require.Less(t, gets, uint64(1000))
	}
	require.Equal(t, MatchedMemcached, w.s.Matched(w.id))
	require.Equal(t, Confirm, w.tell(MatchMark, FromClient, w.seq[FromServer]))
	return w, gets
}

// Requests that wait for an answer are the kernel's from a place in the answers on. Those without one count where they are shown: here as
// long as the client's bytes go on to come, in the kernel behind.
func TestMatchedOneWay(t *testing.T) {
	w, gets := confirmed(t)
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

// Where what the kernel matched does not fit any more, requests that came back to user space before are missed, but for those without an answer;
// and the next message is looked for: the rest of a value is none.
func TestMatchedTorn(t *testing.T) {
	w, gets := confirmed(t)
	w.tell(MatchTaken, FromServer, uint32(MatchedMemcached))
	w.hide(FromClient, 100)
	w.tell(MatchBack, FromClient, uint32(MatchedMemcached))
	w.say(FromClient, "get a\r\nget b\r\ndelete a noreply\r\nset a 0 0 100\r\n")
	w.hide(FromServer, 100)
	w.tell(MatchTorn, FromServer, uint32(MatchedMemcached))
	require.EqualValues(t, 3, w.s.Stats.Missed.Load())
	w.say(FromClient, "the rest of it\r\n")
	w.say(FromClient, "get a\r\n")
	w.say(FromServer, "END\r\n")
	w.close()
	wantTallies(t, w.tallies(), map[string]uint64{"7 memcached get miss false": gets + 1, "7 memcached delete  false": 1})
	require.EqualValues(t, 3, w.s.Stats.Missed.Load())
}
