package protocol

// direction is what waits of one direction.
type direction struct {
	buf     []byte
	next    uint32 // sequence number of the byte after the last one taken
	started bool
	lost    bool  // looking for a message to begin again at
	calls   []int // while lost: where in buf begins what the last calls said
	skip    int64 // bytes that need not be shown
}

// append takes a piece into its direction's buffer, minding what is missing before it and what need not be shown.
func (s *Streams) append(st *stream, p *Piece) {
	h := &st.halves[p.Direction]
	data := p.Data
	if !h.started {
		h.started, h.next, h.lost = true, p.Seq, h.lost || st.adopted
	}
	if ahead := int32(p.Seq - h.next); ahead < 0 {
		if int64(-ahead) >= int64(len(data)) {
			return
		}
		data = data[-ahead:]
	} else if ahead > 0 {
		passed := min(int64(ahead), int64(p.Passed))
		if lost := int64(ahead) - passed; lost > 0 {
			s.miss(st, h, lost)
		}
		if passed > 0 {
			s.pass(st, p, passed)
		}
	}
	h.next = p.Seq + uint32(len(p.Data))
	if n := min(h.skip, int64(len(data))); n > 0 {
		h.skip -= n
		data = data[n:]
	}
	if h.lost { // a message is looked for at the start of what one call says, and of the short calls before it
		for len(h.calls) > maxHeadCalls || len(h.buf) > maxHead {
			s.forgetCall(h)
		}
		h.calls = append(h.calls, len(h.buf))
	}
	h.buf = append(h.buf, data...)
	s.Stats.Bytes.Add(int64(len(data)))
}

// miss lets n bytes pass that were not shown.
func (s *Streams) miss(st *stream, h *direction, n int64) {
	if h.skip >= n {
		h.skip -= n
		return
	}
	h.skip = 0
	st.holes = true
	if !h.lost {
		s.Stats.Missed.Add(1)
	}
	h.lose(s)
}

// lose gives up what waits and looks for the next message.
func (h *direction) lose(s *Streams) {
	h.lost, h.calls = true, h.calls[:0]
	s.drop(h, len(h.buf))
}

// found begins again behind the first n bytes.
func (h *direction) found(s *Streams, n int) {
	h.lost, h.calls = false, nil
	s.drop(h, n)
}

// starts are the places in the buffer where a message may begin: its front, and while it is lost wherever a call began.
func (h *direction) starts() []int {
	if len(h.calls) == 0 {
		return []int{0}
	}
	return h.calls
}

// forgetCall drops what the first call in the buffer said.
func (s *Streams) forgetCall(h *direction) {
	n := len(h.buf)
	if len(h.calls) > 1 {
		n = h.calls[1]
	}
	s.drop(h, n)
	h.calls = h.calls[:copy(h.calls, h.calls[min(1, len(h.calls)):])]
	for i := range h.calls {
		h.calls[i] -= n
	}
}

// spoken is how many bytes the last call said, or all of them where that does not matter.
func (h *direction) spoken() int {
	if len(h.calls) == 0 {
		return len(h.buf)
	}
	return len(h.buf) - h.calls[len(h.calls)-1]
}

// drop forgets the first n bytes of a buffer.
func (s *Streams) drop(h *direction, n int) {
	s.Stats.Bytes.Add(-int64(n))
	h.buf = h.buf[:copy(h.buf, h.buf[n:])]
	if len(h.buf) == 0 && cap(h.buf) > 8<<10 {
		h.buf = nil
	}
}

// pass lets n bytes go by that the kernel left out on purpose: first what the protocol did not want to see anyway.
func (s *Streams) pass(st *stream, p *Piece, n int64) {
	h := &st.halves[p.Direction]
	skipped := min(h.skip, n)
	h.skip -= skipped
	if n -= skipped; n == 0 || h.lost {
		return
	}
	if c, ok := st.conn.(Passer); ok {
		if skip, ok := c.Pass(p.Direction, h.buf, n, p.At, st.emit); ok {
			s.drop(h, len(h.buf))
			h.skip = skip
			return
		}
	} else if st.conn != nil && len(h.buf) == 0 && st.framing == FramedPG {
		return
	}
	st.unfit = true
	s.miss(st, h, n)
}
