package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	zooMaxPacket = 64 << 20 // bytes; jute.maxbuffer is 1 MiB unless told otherwise
	zooMaxPath   = 256      // bytes of a path that are looked at
	zooMaxResult = 64       // results of a multi that are looked at
	zooPassword  = 16       // bytes of a session's password
)

// Transaction numbers of clients that mean something by themselves.
const (
	zooNotification = -1
	zooPing         = -2
	zooAuth         = -4
	zooSetWatches   = -8
)

// Operations whose requests are not read as most are.
const (
	zooOpError        = -1
	zooOpPing         = 11
	zooOpMulti        = 14
	zooOpAuth         = 100
	zooOpCloseSession = -11
)

// ZooKeeper speaks the protocol of clients, jute over TCP (https://zookeeper.apache.org/doc/current/zookeeperProgrammers.html; its records are
// in zookeeper-jute/src/main/resources/zookeeper.jute of the sources), and the four letter words of administrators. What servers say to each other is not recognised.
//
// One Exchange is one request, by operation and the first two elements of the path, folded: "getData /brokers/ids". Sessions are "connect",
// authentications "auth SCHEME"; a watch that fires is a "notification", which nobody answers. The status is "ok" or the name of the error; that
// a node is not there is no failure of exists. Of a multi it is that of the operation that failed.
func ZooKeeper() Protocol {
	return Protocol{Name: "zookeeper", Detect: detectZooKeeper, New: func() Conn { return &zooConn{} }}
}

// zooWaits is a request without its answer.
type zooWaits struct {
	Exchange
	op int32
}

type zooConn struct {
	halves     [2]half
	waiting    table[int32, zooWaits]
	pings      fifo[Exchange]
	auths      fifo[Exchange]
	connect    Exchange
	connecting bool
	word       *zooWord // instead of packets

	// The packet at hand.
	isConnect bool
	xid, op   int32
	operation string
	code      int32 // of an answer
}

func (c *zooConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	h := &c.halves[d]
	if c.word == nil && d == FromClient && !c.connecting {
		c.word = zooWordOf(b)
	}
	if c.word != nil {
		return c.word.feed(d, b, at, emit)
	}
	if d == FromClient {
		return h.feed(b, at, c.readRequest, func() { c.asked(emit) })
	}
	return h.feed(b, at, c.readAnswer, func() { c.answered(emit) })
}

// Resync says yes to a request that is known, and to an answer that something waits for.
func (c *zooConn) Resync(d Direction, b []byte) bool {
	if c.word != nil {
		return true
	}
	if d == FromClient {
		if zooRequestLike(b) != Yes {
			return false
		}
	} else if !c.awaited(b) {
		return false
	} else {
		c.connecting = false
	}
	c.halves[d] = half{}
	return true
}

// awaited says whether b begins with an answer, to a request that was seen.
func (c *zooConn) awaited(b []byte) bool {
	if zooAnswerLike(b) == Yes {
		return true
	}
	if len(b) < 20 || zooSize(b) < 16 || zooSize(b) > zooMaxPacket {
		return false
	}
	_, waits := c.waiting.values[zooInt(b, 4)]
	_, known := zooErrors[zooInt(b, 16)]
	return waits && known
}

func (c *zooConn) Close(at int64, emit func(Exchange)) {
	if c.word != nil {
		c.word.end(at, emit)
		return
	}
	if c.connecting {
		emit(cut(c.connect, at))
	}
	for _, w := range c.waiting.values {
		emit(cut(w.Exchange, at))
	}
	for _, e := range append(c.pings.items, c.auths.items...) {
		emit(cut(e, at))
	}
	*c = zooConn{}
}

func zooInt(b []byte, at int) int32 { return int32(binary.BigEndian.Uint32(b[at:])) }

// zooSize is how long the packet at the front of b is, without its length.
func zooSize(b []byte) int64 { return int64(zooInt(b, 0)) }

// readRequest reads a packet of the client as far as the path ends that is looked at.
func (c *zooConn) readRequest(b []byte) (int64, bool, error) {
	if len(b) < 12 {
		return 0, false, nil
	}
	size := zooSize(b)
	if size < 8 || size > zooMaxPacket {
		return 0, false, fmt.Errorf("request of %d bytes: %w", size, ErrDesync)
	}
	connect := zooConnectLike(FromClient, b)
	if connect == Maybe {
		return 0, false, nil
	}
	if c.isConnect = connect == Yes; c.isConnect {
		return 4 + size, true, nil
	}
	c.xid, c.op = zooInt(b, 4), zooInt(b, 8)
	name, pathed := zooOperation(c.op)
	if name == "" || c.xid < 0 && !zooSpecial(c.xid, c.op) {
		return 0, false, fmt.Errorf("request %d with number %d: %w", c.op, c.xid, ErrDesync)
	}
	c.operation = name
	switch {
	case c.op == zooOpAuth:
		return c.readScheme(b, size)
	case pathed:
		path, more, err := zooString(b, 12, size)
		if more || err != nil {
			return 0, false, err
		}
		c.operation = zooNamed(name, path)
	}
	return 4 + size, true, nil
}

// readScheme reads which way of authentication it is, and nothing of what is said in it: type, scheme, credentials.
func (c *zooConn) readScheme(b []byte, size int64) (int64, bool, error) {
	scheme, more, err := zooString(b, 16, size)
	if more || err != nil {
		return 0, false, err
	}
	c.operation = "auth ~other"
	if zooSchemes[string(scheme)] {
		c.operation = "auth " + string(scheme)
	}
	return 4 + size, true, nil
}

// zooString reads a string of the packet at the front of b, as far as it is looked at. more says that it is not there yet.
func zooString(b []byte, at int, size int64) (s []byte, more bool, err error) {
	if len(b) < at+4 {
		if size < int64(at) {
			err = fmt.Errorf("packet of %d bytes: %w", size, ErrDesync)
		}
		return nil, err == nil, err
	}
	n := int64(zooInt(b, at))
	if n < -1 || int64(at)+n > size {
		return nil, false, fmt.Errorf("string of %d bytes: %w", n, ErrDesync)
	}
	n = min(max(n, 0), zooMaxPath) // -1 is no string
	if int64(len(b)) < int64(at)+4+n {
		return nil, true, nil
	}
	return b[at+4 : int64(at)+4+n], false, nil
}

// zooNamed is an operation with the first two elements of its path.
func zooNamed(name string, path []byte) string {
	if len(path) == 0 || path[0] != '/' {
		return name
	}
	end := len(path)
	if i := bytes.IndexByte(path[1:], '/'); i >= 0 {
		if j := bytes.IndexByte(path[i+2:], '/'); j >= 0 {
			end = i + 2 + j
		}
	}
	return name + " " + foldName(path[:end], '/')
}

// asked remembers the request that was just read.
func (c *zooConn) asked(emit func(Exchange)) {
	h := &c.halves[FromClient]
	if c.isConnect {
		c.connect, c.connecting = h.asked("connect"), true
		return
	}
	e := h.asked(c.operation)
	switch c.xid {
	case zooPing:
		if !c.pings.push(e) {
			emit(oneWay(e))
		}
	case zooAuth:
		if !c.auths.push(e) {
			emit(oneWay(e))
		}
	default:
		if forgotten, full := c.waiting.put(c.xid, zooWaits{e, c.op}); full {
			emit(oneWay(forgotten.Exchange))
		}
	}
}

// readAnswer reads a packet of the server: the answer to connect, a header, or a notification.
func (c *zooConn) readAnswer(b []byte) (int64, bool, error) {
	if len(b) < 20 {
		return 0, false, nil
	}
	size := zooSize(b)
	if size < 16 || size > zooMaxPacket {
		return 0, false, fmt.Errorf("answer of %d bytes: %w", size, ErrDesync)
	}
	if c.isConnect = c.connecting; c.isConnect {
		switch zooConnectLike(FromServer, b) {
		case Maybe:
			return 0, false, nil
		case No:
			return 0, false, fmt.Errorf("no answer to connect: %w", ErrDesync)
		}
		c.code = 0
		if zooInt(b, 8) <= 0 { // the time that the session lives without a word
			c.code = zooExpired
		}
		return 4 + size, true, nil
	}
	c.xid, c.code = zooInt(b, 4), zooInt(b, 16)
	if _, known := zooErrors[c.code]; !known && (c.code > 0 || c.code < -1000) || c.xid < 0 && !zooSpecial(c.xid, zooOpError) {
		return 0, false, fmt.Errorf("answer %d with error %d: %w", c.xid, c.code, ErrDesync)
	}
	if c.xid == zooNotification {
		path, more, err := zooString(b, 28, size) // type and state come first
		if more || err != nil {
			return 0, false, err
		}
		c.operation = zooNamed("notification", path)
	} else if c.code == 0 && c.waiting.values[c.xid].op == zooOpMulti {
		if want := min(4+size, 20+13*zooMaxResult); int64(len(b)) < want {
			return 0, false, nil
		}
		c.code = zooMultiCode(b[20:min(int64(len(b)), 4+size)])
	}
	return 4 + size, true, nil
}

// zooMultiCode is the error of the operation for which a multi failed. Then all of its results are errors: type, done, error, error.
func zooMultiCode(b []byte) int32 {
	for ; len(b) >= 13 && zooInt(b, 0) == zooOpError && b[4] == 0; b = b[13:] {
		if code := zooInt(b, 9); code != 0 && code != zooNotReached {
			return code
		}
	}
	return 0
}

// answered completes what the answer that was just read is for.
func (c *zooConn) answered(emit func(Exchange)) {
	h := &c.halves[FromServer]
	var e Exchange
	waits := false
	switch {
	case c.isConnect:
		e, waits, c.connecting = c.connect, true, false
	case c.xid == zooNotification:
		e = h.asked(c.operation)
		e.Status, e.RequestBytes, e.ResponseBytes = "ok", 0, h.bytes
		emit(oneWay(e))
	case c.xid == zooPing:
		e, waits = c.pings.pop()
	case c.xid == zooAuth:
		e, waits = c.auths.pop()
	default:
		var w zooWaits
		w, waits = c.waiting.take(c.xid)
		e = w.Exchange
	}
	if !waits {
		return
	}
	status, known := zooErrors[c.code]
	if !known {
		status = "~other"
	}
	absent := c.code == zooNoNode && bytes.HasPrefix([]byte(e.Operation), []byte("exists"))
	emit(h.answered(e, status, c.code != 0 && !absent))
}
