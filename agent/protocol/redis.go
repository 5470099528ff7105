package protocol

import (
	"bytes"
	"fmt"
	"strings"
)

const (
	redisMaxArgs   = 1 << 20 // multi-bulk length that a server takes from a client
	redisMaxBulk   = 1 << 32 // bytes of one string, more than proto-max-bulk-len usually lets through
	redisMaxItems  = 1 << 32 // elements of one aggregate of an answer
	redisMaxDepth  = 64      // aggregates inside aggregates
	redisMaxHeader = 32      // bytes of a line that only holds a type and a length
	redisMaxWord   = 48      // bytes of a word that may be a command
	redisMaxInline = 1024    // bytes of an inline command that detection looks at
	redisMaxLines  = 4       // lines, likewise
)

// Redis speaks RESP2 and RESP3 (https://redis.io/docs/latest/develop/reference/protocol-spec/), inline commands too.
func Redis() Protocol {
	return Protocol{Name: "redis", Detect: detectRedis, New: func() Conn { return &redisConn{} }, Framing: FramedRESP, Matched: MatchedRedis}
}

// redisAsked is a command that waits for its answer.
type redisAsked struct {
	exchange Exchange
	answers  int64 // confirmations to come: SUBSCRIBE a b has two
}

type redisConn struct {
	client, server half
	waiting        fifo[redisAsked]

	left      int64             // arguments of the command at hand that are still to come
	args      int64             // arguments that have come
	operation string            // what the first of them make
	subs      map[string]string // second words that the first may have
	mode      string            // third word of CLIENT REPLY
	muted     bool              // CLIENT REPLY OFF
	skipOne   bool              // CLIENT REPLY SKIP

	stack   []int64 // elements to come of each aggregate of the answer at hand
	top     byte    // type of the answer at hand
	status  string  // its first error
	push    bool    // it is a message that nobody asked for
	kind    string  // first element, if it says what a pub/sub answer is
	replica bool    // what follows PSYNC is a stream of another kind
	special bool    // not each request has one response
}

func (c *redisConn) Plain() bool { return !c.special }

func (c *redisConn) Idle() bool {
	return !c.client.open && c.left == 0 && !c.server.open && len(c.stack) == 0 && c.waiting.idle() && !c.muted && !c.skipOne && !c.replica
}

func (c *redisConn) Taken() { c.waiting = fifo[redisAsked]{} }

func (c *redisConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	if d == FromClient {
		return c.client.feed(b, at, c.readRequest, func() { c.asked(emit) })
	}
	return c.server.feed(b, at, c.readAnswer, func() { c.answered(emit) })
}

func (c *redisConn) Resync(d Direction, b []byte) bool {
	if detectRedis(d, b) != Yes {
		return false
	}
	c.waiting.lose()
	if d == FromClient {
		c.client, c.left = half{}, 0
	} else {
		c.server, c.stack = half{}, c.stack[:0]
	}
	return true
}

func (c *redisConn) Close(at int64, emit func(Exchange)) {
	for _, w := range c.waiting.items {
		emit(cut(w.exchange, at))
	}
	c.waiting = fifo[redisAsked]{}
}

// readRequest reads the head of a command or one of its arguments.
func (c *redisConn) readRequest(b []byte) (int64, bool, error) {
	if c.left > 0 {
		return c.readArgument(b)
	}
	c.args, c.operation, c.subs, c.mode = 0, "~other", nil, ""
	if c.replica {
		return int64(len(b)), true, nil
	}
	if b[0] != '*' {
		return c.readInline(b)
	}
	n, size, err := redisLength(b, redisMaxArgs)
	if size == 0 || err != nil {
		return 0, false, err
	}
	c.left = max(n, 0)
	return int64(size), c.left == 0, nil
}

func (c *redisConn) readArgument(b []byte) (int64, bool, error) {
	if b[0] != '$' {
		return 0, false, fmt.Errorf("argument without length: %w", ErrDesync)
	}
	n, size, err := redisLength(b, redisMaxBulk)
	if size == 0 || err != nil {
		return 0, false, err
	}
	if n < 0 {
		return 0, false, fmt.Errorf("argument of negative length: %w", ErrDesync)
	}
	end := int64(size) + n + 2
	if c.wants() && n <= redisMaxWord && int64(len(b)) < end {
		return 0, false, nil
	}
	if int64(len(b)) >= end && (b[end-2] != '\r' || b[end-1] != '\n') {
		return 0, false, fmt.Errorf("argument without end: %w", ErrDesync)
	}
	if n <= redisMaxWord && c.wants() {
		c.argument(b[size : int64(size)+n])
	} else {
		c.argument(nil)
	}
	c.left--
	return end, c.left == 0, nil
}

// wants says whether the next argument can be part of the operation.
func (c *redisConn) wants() bool {
	return c.args == 0 || c.args == 1 && c.subs != nil || c.args == 2 && c.operation == "CLIENT REPLY"
}

// argument takes the next word of a command; nil for one that is too long to be part of the operation.
func (c *redisConn) argument(word []byte) {
	switch {
	case !c.wants():
	case c.args == 0:
		c.operation, c.subs = redisOperation(word)
	case c.args == 1:
		c.operation = redisSuboperation(c.operation, c.subs, word)
	case len(word) <= redisMaxWord:
		c.mode = strings.ToUpper(string(word))
	}
	c.args++
}

func (c *redisConn) readInline(b []byte) (int64, bool, error) {
	line, size := cutLine(b)
	for _, x := range b[:min(len(b), redisMaxWord)] {
		if x == '\n' || x == ' ' {
			break
		}
		if x < ' ' && x != '\r' && x != '\t' || x > '~' {
			return 0, false, fmt.Errorf("inline command with byte %#x: %w", x, ErrDesync)
		}
	}
	if size == 0 {
		return 0, false, nil
	}
	for field := range bytes.FieldsSeq(line) {
		c.argument(field)
	}
	return int64(size), true, nil
}

// asked queues the command that has just been read.
func (c *redisConn) asked(emit func(Exchange)) {
	if c.args == 0 { // an empty line keeps a connection alive
		return
	}
	operation := c.operation
	c.special = c.special || redisSpecial(operation)
	e := c.client.asked(operation)
	if operation == "CLIENT REPLY" && c.mute(c.mode) || c.muted || c.skipOne && operation != "CLIENT REPLY" {
		c.skipOne = c.skipOne && operation == "CLIENT REPLY"
		emit(oneWay(e))
		return
	}
	answers := int64(1)
	if redisSubscribes(operation) {
		answers = max(c.args-1, 1)
	}
	if !c.waiting.push(redisAsked{e, answers}) {
		emit(oneWay(e))
		c.waiting.over += answers - 1
	}
}

// mute follows CLIENT REPLY. It says whether that command itself stays without an answer.
func (c *redisConn) mute(mode string) bool {
	switch mode {
	case "OFF":
		c.muted = true
	case "SKIP":
		c.skipOne = !c.muted
	case "ON":
		c.muted, c.skipOne = false, false
	}
	return c.muted || c.skipOne
}

// redisSpecial says whether a connection is not Plain after a command.
func redisSpecial(operation string) bool {
	switch operation {
	case "MONITOR", "SYNC", "PSYNC", "CLIENT REPLY":
		return true
	}
	return redisSubscribes(operation)
}

func redisSubscribes(operation string) bool {
	switch operation {
	case "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE":
		return true
	}
	return false
}

// redisLength reads the type and the length at the front of b; size is 0 if more bytes are needed.
// No length is -1 for what does not exist, and "?" of a streamed aggregate is not sent by any server.
func redisLength(b []byte, most int64) (n int64, size int, err error) {
	line, size := cutLine(b[:min(len(b), redisMaxHeader)])
	if size == 0 {
		if len(b) >= redisMaxHeader {
			err = fmt.Errorf("length without end: %w", ErrDesync)
		}
		return 0, 0, err
	}
	if len(line) == 0 {
		return 0, 0, fmt.Errorf("no length: %w", ErrDesync)
	}
	if string(line[1:]) == "-1" {
		return -1, size, nil
	}
	n, ok := digits(line[1:])
	if !ok || n > most || size < 2 || b[size-2] != '\r' {
		return 0, 0, fmt.Errorf("no length: %w", ErrDesync)
	}
	return n, size, nil
}
