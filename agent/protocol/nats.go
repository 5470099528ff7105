package protocol

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

const (
	natsMaxLine    = 48 << 10 // bytes of a control line; INFO and CONNECT are the long ones
	natsMaxPayload = 1 << 27  // bytes, twice what a server can be told to take
	natsPeek       = 32       // bytes of a payload that may hold a status
)

// NATS speaks the client protocol (https://docs.nats.io/reference/reference-protocols/nats-protocol).
// Every message is an exchange of its own: "publish", "deliver", "subscribe" and "unsubscribe" with the subject. A message with a
// reply subject is a "request" until the first message comes to that subject; who is asked so answers with a "reply".
func NATS() Protocol {
	return Protocol{Name: "nats", Detect: detectNATS, New: func() Conn { return &natsConn{} }}
}

type natsConn struct {
	client, server half
	requests       table[uint64, Exchange] // by reply subject: asked by this client
	deliveries     table[uint64, Exchange] // by reply subject: this client is asked
	oks            fifo[Exchange]          // waits for +OK, if the client wants them
	verbose        bool
	connecting     bool
	connect        Exchange
	line           natsLine // at hand
}

// natsLine is what a control line says.
type natsLine struct {
	verb, subject string
	reply         uint64 // 0 for none
	own           uint64 // hash of the subject
	status        string
}

func (c *natsConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	if d == FromClient {
		return c.client.feed(b, at, c.read, func() { c.fromClient(emit) })
	}
	return c.server.feed(b, at, c.read, func() { c.fromServer(emit) })
}

func (c *natsConn) Resync(d Direction, b []byte) bool {
	if detectNATS(d, b) != Yes {
		return false
	}
	c.oks.lose()
	if d == FromClient {
		c.client = half{}
	} else {
		c.server = half{}
	}
	return true
}

func (c *natsConn) Close(at int64, emit func(Exchange)) {
	if c.connecting {
		emit(cut(c.connect, at))
	}
	for _, e := range c.oks.items {
		emit(cut(e, at))
	}
	for _, e := range c.requests.values {
		emit(cut(e, at))
	}
	*c = natsConn{}
}

// read reads one control line with the payload behind it.
func (c *natsConn) read(b []byte) (int64, bool, error) {
	if !natsBegins(b) {
		return 0, false, fmt.Errorf("control line begins with %#x: %w", b[0], ErrDesync)
	}
	line, size := cutLine(b[:min(len(b), natsMaxLine)])
	if size == 0 {
		if len(b) >= natsMaxLine {
			return 0, false, fmt.Errorf("line longer than %d bytes: %w", natsMaxLine, ErrDesync)
		}
		return 0, false, nil
	}
	verb, rest, _ := bytes.Cut(bytes.ReplaceAll(line, []byte{'\t'}, []byte{' '}), []byte{' '})
	c.line = natsLine{verb: strings.ToUpper(string(verb[:min(len(verb), 8)]))}
	sizes := 0
	switch c.line.verb {
	case "MSG", "PUB", "RMSG", "LMSG":
		sizes = 1
	case "HMSG", "HPUB":
		sizes = 2
	case "CONNECT":
		c.verbose = bytes.Contains(bytes.ReplaceAll(rest, []byte{' '}, nil), []byte(`"verbose":true`))
	case "SUB":
		c.subject(bytes.Fields(rest), 0)
	case "-ERR":
		c.line.status = natsError(rest)
	case "INFO", "UNSUB", "PING", "PONG", "+OK", "RS+", "RS-", "LS+", "LS-", "A+", "A-":
	default:
		return 0, false, fmt.Errorf("unknown control line: %w", ErrDesync)
	}
	if sizes == 0 {
		return int64(size), true, nil
	}
	return c.readMessage(b, size, bytes.Fields(rest), sizes)
}

// readMessage reads subject, reply subject and sizes: PUB s [r] n, HPUB s [r] h n, MSG s sid [r] n, HMSG s sid [r] h n.
func (c *natsConn) readMessage(b []byte, size int, fields [][]byte, sizes int) (int64, bool, error) {
	names := len(fields) - sizes
	at := 1 // where the reply subject may be
	if strings.HasSuffix(c.line.verb, "MSG") {
		at = 2
	}
	if names < at {
		return 0, false, fmt.Errorf("%s without its arguments: %w", c.line.verb, ErrDesync)
	}
	n, ok := digits(fields[len(fields)-1])
	if !ok || n > natsMaxPayload {
		return 0, false, fmt.Errorf("%s without size: %w", c.line.verb, ErrDesync)
	}
	end := int64(size) + n + 2
	if want := min(end, int64(size)+natsPeek); int64(len(b)) < want {
		return 0, false, nil
	}
	if int64(len(b)) >= end && (b[end-2] != '\r' || b[end-1] != '\n') {
		return 0, false, fmt.Errorf("payload without end: %w", ErrDesync)
	}
	c.subject(fields, 0)
	if names > at {
		c.line.reply = hashBytes(fields[at])
	}
	c.line.status = natsStatus(c.line.verb, b[size:min(end, int64(size)+natsPeek)])
	return end, true, nil
}

func (c *natsConn) subject(fields [][]byte, i int) {
	if i < len(fields) {
		c.line.subject = foldName(fields[i], '.')
		c.line.own = hashBytes(fields[i])
	}
}

// natsStatus is the code in a header without payload ("NATS/1.0 503" where nobody listens), or a refused acknowledgement.
func natsStatus(verb string, payload []byte) string {
	if code, ok := bytes.CutPrefix(payload, []byte("NATS/1.0 ")); ok && verb[0] == 'H' && len(code) >= 3 {
		if n, ok := digits(code[:3]); ok {
			return strconv.FormatInt(n, 10)
		}
	}
	switch {
	case verb == "PUB" && bytes.HasPrefix(payload, []byte("-NAK")):
		return "nak"
	case verb == "PUB" && bytes.HasPrefix(payload, []byte("+TERM")):
		return "term"
	}
	return "ok"
}

// failed says whether a status is one of failure: 1xx are flow control.
func (l natsLine) failed() bool { return l.status != "ok" && l.status[0] != '1' }

func (c *natsConn) fromClient(emit func(Exchange)) {
	l := c.line
	switch l.verb {
	case "CONNECT":
		c.connect, c.connecting = c.client.asked("connect"), true
	case "SUB":
		c.sent(c.client.asked("subscribe "+l.subject), emit)
	case "UNSUB":
		c.sent(c.client.asked("unsubscribe"), emit)
	case "PUB", "HPUB":
		if e, asked := c.deliveries.take(l.own); asked {
			emit(c.client.answered(e, l.status, l.failed()))
			return
		}
		if l.reply == 0 {
			c.sent(c.client.asked("publish "+l.subject), emit)
			return
		}
		if forgotten, full := c.requests.put(l.reply, c.client.asked("request "+l.subject)); full {
			emit(oneWay(forgotten))
		}
		if c.verbose {
			c.oks.push(Exchange{})
		}
	}
}

// sent completes what has no answer but the +OK of a verbose connection.
func (c *natsConn) sent(e Exchange, emit func(Exchange)) {
	if !c.verbose || !c.oks.push(e) {
		e.Status = "ok"
		emit(oneWay(e))
	}
}

func (c *natsConn) fromServer(emit func(Exchange)) {
	l := c.line
	if c.connecting && l.verb != "INFO" && l.verb != "PING" {
		c.connecting = false
		if l.status == "" {
			l.status = "ok"
		}
		emit(c.server.answered(c.connect, l.status, l.verb == "-ERR"))
		if l.verb == "+OK" || l.verb == "-ERR" {
			return
		}
	}
	switch l.verb {
	case "+OK", "-ERR":
		c.acknowledged(l, emit)
	case "MSG", "HMSG":
		if e, asked := c.requests.take(l.own); asked {
			emit(c.server.answered(e, l.status, l.failed()))
			return
		}
		e := c.server.asked("deliver " + l.subject)
		if l.reply != 0 {
			reply := e
			reply.Operation = "reply " + l.subject
			c.deliveries.put(l.reply, reply)
		}
		e.Status, e.Failed = l.status, l.failed()
		emit(oneWay(e))
	}
}

// acknowledged takes +OK and -ERR: for what waits longest if the connection is verbose; else an error stands alone.
func (c *natsConn) acknowledged(l natsLine, emit func(Exchange)) {
	if l.status == "" {
		l.status = "ok"
	}
	e, ok := c.oks.pop()
	switch {
	case ok && e.Operation != "":
		emit(c.server.answered(e, l.status, l.verb == "-ERR"))
	case l.verb == "-ERR":
		e := c.server.asked("-ERR")
		e.Status, e.Failed = l.status, true
		emit(oneWay(e))
	}
}

// natsErrors are the beginnings of the messages of -ERR.
var natsErrors = []string{"unknown protocol operation", "attempted to connect to route port", "authorization violation", "authentication timeout",
	"authentication expired", "authentication revoked", "account authentication expired", "invalid client protocol", "maximum control line exceeded", "parser error",
	"secure connection - tls required", "stale connection", "maximum connections exceeded", "slow consumer", "maximum payload violation",
	"invalid subject", "invalid publish subject", "permissions violation", "no responders", "maximum subscriptions exceeded", "duplicate server name",
	"maximum account active connections exceeded", "connection closed", "message headers not supported", "server shutdown", "connection throttling is active"}

func natsError(message []byte) string {
	text := strings.ToLower(strings.Trim(string(message[:min(len(message), 64)]), "' \r"))
	for _, known := range natsErrors {
		if strings.HasPrefix(text, known) {
			return strings.ReplaceAll(strings.ReplaceAll(known, " - ", " "), " ", "_")
		}
	}
	return "~other"
}

// natsVerbs are all control lines, longest first where one begins another.
var natsVerbs = []string{"INFO", "CONNECT", "PUB", "HPUB", "SUB", "UNSUB", "MSG", "HMSG", "PING", "PONG", "+OK", "-ERR", "RMSG", "LMSG", "RS+", "RS-", "LS+", "LS-", "A+", "A-"}

// natsBegins says whether b may be the beginning of a control line.
func natsBegins(b []byte) bool {
	if strings.IndexByte("ICPHSUMRLA+-icphsumrla", b[0]) < 0 {
		return false
	}
	for _, verb := range natsVerbs {
		n := min(len(b), len(verb))
		if !strings.EqualFold(string(b[:n]), verb[:n]) {
			continue
		}
		if len(b) == n || strings.IndexByte(" \t\r\n", b[n]) >= 0 {
			return true
		}
	}
	return false
}

// detectNATS says yes to a message whose sizes fit, and to the JSON of INFO and CONNECT.
func detectNATS(d Direction, b []byte) Verdict {
	if len(b) == 0 {
		return Maybe
	}
	if !natsBegins(b) {
		return No
	}
	verb := strings.ToUpper(string(b[:min(len(b), 8)]))
	if i := strings.IndexAny(verb, " \t\r\n"); i > 0 {
		verb = verb[:i]
	}
	if i := bytes.IndexByte(b, ' '); (verb == "INFO" || verb == "CONNECT") && i > 0 {
		rest := bytes.TrimLeft(b[i:min(len(b), i+8)], " ")
		switch {
		case len(rest) == 0:
			return Maybe
		case rest[0] != '{' || (verb == "INFO") != (d == FromServer):
			return No
		}
		return Yes
	}
	if _, size := cutLine(b[:min(len(b), natsMaxLine)]); size == 0 {
		return Maybe
	}
	return detectNATSLine(d, verb, b)
}

func detectNATSLine(d Direction, verb string, b []byte) Verdict {
	line, size := cutLine(b)
	fields := len(bytes.Fields(line))
	if size < 2 || b[size-2] != '\r' {
		return No
	}
	switch verb {
	case "PUB", "HPUB":
		if d != FromClient {
			return No
		}
	case "MSG", "HMSG":
		if d != FromServer {
			return No
		}
	case "SUB":
		if d == FromClient && (fields == 3 || fields == 4) {
			return Yes
		}
		return No
	case "PONG":
		if fields == 1 {
			return Yes
		}
		return No
	case "-ERR":
		if d == FromServer && bytes.HasPrefix(line, []byte("-ERR '")) {
			return Yes
		}
		return No
	case "PING", "+OK", "UNSUB":
		return Maybe
	default:
		return No
	}
	scratch := natsConn{}
	if n, _, err := scratch.read(b); err != nil {
		return No
	} else if n == 0 {
		return Maybe
	}
	return Yes
}
