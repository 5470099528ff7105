package protocol

// got takes in the frame that was just read.
func (c *http2Conn) got(d Direction, emit func(Exchange)) {
	s := &c.sides[d]
	f := s.frame
	st := c.streams.values[f.stream]
	if st != nil {
		st.bytes[d] += s.bytes
	}
	switch f.kind {
	case http2Headers:
		if !s.whole {
			return
		}
		if d == FromClient {
			st = c.request(f.stream, st, emit)
		} else {
			st = c.response(f.stream, st, emit)
		}
		if st != nil && f.is(http2EndStream) {
			st.ended[d] = s.end
		}
	case http2Data:
		if st != nil && f.is(http2EndStream) {
			st.ended[d] = s.end
		}
	case http2Reset:
		if st == nil && d == FromServer && f.stream&1 == 1 && f.stream > c.top {
			st = c.open(f.stream, emit)
		}
		if st == nil {
			return
		}
		st.reset, st.resetBy, st.resetCode, st.ended[d] = true, d, s.last, s.end
	case http2GoAway:
		if d == FromServer {
			c.goAway(s.last&^(1<<31), s.end, emit)
		}
		return
	}
	if st != nil {
		c.settle(f.stream, st, emit)
	}
}

// request takes a header list of the client: a request, or the trailers of one.
func (c *http2Conn) request(id uint32, st *http2Stream, emit func(Exchange)) *http2Stream {
	s := &c.sides[FromClient]
	if st == nil {
		if id <= c.top { // its answer was faster than the end of the question
			return nil
		}
		st = c.open(id, emit)
	}
	if st.asked {
		return st
	}
	c.early--
	c.top = max(c.top, id)
	c.forgetEarly(id)
	st.asked, st.begin = true, s.since
	st.bytes[FromClient] += s.bytes
	st.method, st.route = s.list.values[headerMethod], s.list.values[headerPath]
	if st.method == "CONNECT" && st.route == "" {
		st.route = s.list.values[headerAuthority]
	}
	if st.route == "" {
		st.route = http2Unknown
	}
	st.types[FromClient] = s.list.contentType()
	if id > c.limit { // the server has said that it will not answer
		st.reset, st.resetBy, st.resetCode, st.ended[FromServer] = true, FromServer, http2RefusedStream, s.end
	}
	return st
}

// response takes a header list of the server: an interim response, the real one, or the trailers behind it.
func (c *http2Conn) response(id uint32, st *http2Stream, emit func(Exchange)) *http2Stream {
	s := &c.sides[FromServer]
	if st == nil {
		if id&1 == 0 || id <= c.top { // pushed, or of a request that nobody waits for
			return nil
		}
		st = c.open(id, emit)
		st.bytes[FromServer] += s.bytes
	}
	status := s.list.values[headerStatus]
	last := s.frame.is(http2EndStream)
	if !last && len(status) == 3 && status[0] == '1' {
		return st
	}
	if st.status == "" {
		st.types[FromServer] = s.list.contentType()
		if st.status = status; status == "" {
			st.status = http2Unknown
		}
	} else {
		st.trailed = true
	}
	if last {
		if st.code = s.list.values[headerGRPCStatus]; st.code == "" && s.list.unknown {
			st.code = http2Unknown
		}
	}
	return st
}

// contentType is that of a header list; http2Unknown if it may be any.
func (l *headerList) contentType() string {
	if t := l.values[headerContentType]; t != "" || !l.unknown {
		return t
	}
	return http2Unknown
}

// open makes a stream. Where there are too many, the one that waits longest is counted without knowing how it ends.
func (c *http2Conn) open(id uint32, emit func(Exchange)) *http2Stream {
	st := &http2Stream{among: c.calls}
	c.early++
	if old, full := c.streams.put(id, st); full {
		if old.asked && !old.answered {
			e := old.exchange()
			e.Status, e.Messages = http2Unknown, old.news()
			emit(oneWay(e))
		} else {
			old.report(emit)
		}
		if !old.asked {
			c.early--
		}
	}
	return st
}

// forgetEarly drops answers to requests that were made before the connection was followed: streams are opened in the order of their numbers.
func (c *http2Conn) forgetEarly(id uint32) {
	if c.early == 0 {
		return
	}
	for other, st := range c.streams.values {
		if other < id && !st.asked {
			c.streams.take(other)
			c.early--
		}
	}
}

// goAway takes the last stream that the server will answer.
func (c *http2Conn) goAway(last uint32, at int64, emit func(Exchange)) {
	c.limit = min(c.limit, last)
	for id, st := range c.streams.values {
		if id > last && st.asked && !st.answered {
			st.reset, st.resetBy, st.resetCode, st.ended[FromServer] = true, FromServer, http2RefusedStream, at
			c.settle(id, st, emit)
		}
	}
}

// settle counts a stream that is answered, and lets go of one that both sides have ended.
func (c *http2Conn) settle(id uint32, st *http2Stream, emit func(Exchange)) {
	if !st.asked {
		return
	}
	if !st.answered && (st.reset || st.ended[FromServer] != 0) {
		st.answered = true
		e := st.outcome()
		c.calls = c.calls || e.Protocol == "grpc"
		emit(e)
	}
	if st.reset || st.ended[FromClient] != 0 && st.ended[FromServer] != 0 {
		st.report(emit)
		c.streams.take(id)
	}
}

// isGRPC says whether the stream is a call. Where the content type of the request is not known, that of the response tells, and where neither
// is, trailers do, for hardly anything else has them, and that other streams of the connection are calls.
func (st *http2Stream) isGRPC() bool {
	switch {
	case st.types[FromClient] != http2Unknown:
		return st.types[FromClient] == "grpc"
	case st.status != "" && st.types[FromServer] != http2Unknown:
		return st.types[FromServer] == "grpc"
	}
	return (st.trailed || st.among) && (st.method == "POST" || st.method == "")
}

// exchange is the stream as an exchange whose end is not known.
func (st *http2Stream) exchange() Exchange {
	e := Exchange{Method: st.method, Operation: st.route, Begin: st.begin, RequestBytes: st.bytes[FromClient], ResponseBytes: st.bytes[FromServer]}
	if st.isGRPC() {
		e.Protocol, e.Method = "grpc", ""
	}
	return e
}

// outcome is the exchange of a stream that was answered or reset.
func (st *http2Stream) outcome() Exchange {
	e := st.exchange()
	e.Messages = st.news()
	at := st.ended[FromServer]
	if st.reset {
		at = st.ended[st.resetBy]
	}
	e.End = max(at, st.begin)
	switch {
	case e.Protocol == "grpc" && st.reset:
		e.Status = grpcCodeOfReset(st.resetCode)
		if st.resetBy == FromClient && st.resetCode == http2NoError {
			e.Status = "CANCELLED"
		}
		e.Failed = grpcFailed(e.Status)
	case e.Protocol == "grpc":
		if e.Status = st.code; e.Status == "" {
			e.Status = grpcCodeOfHTTP(st.status)
		}
		e.Failed = grpcFailed(e.Status)
	case st.reset && st.resetBy == FromClient && (st.resetCode == http2Cancel || st.resetCode == http2NoError):
		e.Status = "cancelled"
	case st.reset:
		e.Status, e.Failed = http2Error(st.resetCode), true
	default:
		if e.Status = st.status; e.Status == "" {
			e.Status = http2Unknown
		}
		e.Failed = e.Status >= "500" && e.Status <= "999"
	}
	return e
}

func http2Error(code uint32) string {
	if code < uint32(len(http2Errors)) {
		return http2Errors[code]
	}
	return "~other"
}

// news are the messages since the last time they were asked for.
func (st *http2Stream) news() (n [2]int64) {
	for d := range st.messages {
		m := &st.messages[d]
		n[d], m.told = m.count-m.told, m.count
	}
	return n
}

// report tells the messages of a call that goes on, or that came after its answer.
func (st *http2Stream) report(emit func(Exchange)) {
	if !st.asked {
		return
	}
	n := st.news()
	if n == [2]int64{} {
		return
	}
	e := st.exchange()
	e.Open, e.End, e.Messages = true, e.Begin, n
	emit(e)
}
