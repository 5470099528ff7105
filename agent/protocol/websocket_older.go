package protocol

import "slices"

// webSocketCalls are the calls of each side, made of nothing but whole frames, that a connection is taken for a WebSocket after. A frame has no
// signature: of calls of noise, one in thousands looks like one. But the client masks its frames, with bytes between the length and what it counts, as no
// other protocol does.
const webSocketCalls = 3

// webSocketSearch is how many such calls were met, by Direction, on a connection that is older than the agent. The zero value is ready.
type webSocketSearch [2]int

// take looks at the last call of a direction, with the short ones before it that may hold the head of its first frame. It returns how many calls are frames
// and end with one, 0 if none.
func (w *webSocketSearch) take(d Direction, h *direction) int {
	var scratch webSocketConn
	starts := h.starts()
	first := slices.IndexFunc(starts, func(start int) bool { return start < len(h.buf) && scratch.Resync(d, h.buf[start:]) })
	if first < 0 {
		return 0
	}
	w[d]++
	return len(starts) - first
}

func (w *webSocketSearch) found() bool {
	return min(w[FromClient], w[FromServer]) >= webSocketCalls
}

// olderWebSocket is a WebSocket whose upgrade was not seen: what it is for, and since when, is not known.
func olderWebSocket(at int64) *webSocketConn {
	c := newWebSocket("", "~unknown", at)
	c.exchange.OneWay = true // without a duration
	return c
}

// searchWebSocket says whether the last call was frames. Those calls do not bring a connection nearer to being given up.
func (s *Streams) searchWebSocket(st *stream, last *Piece) bool {
	h := &st.halves[last.Direction]
	calls := st.search.take(last.Direction, h)
	if calls == 0 {
		return false
	}
	st.pieces -= calls
	if st.search.found() {
		st.conn, st.protocol = olderWebSocket(last.At), WebSocket().Name // which finds in the buffers where it begins
	} else {
		h.lose(s)
	}
	return true
}
