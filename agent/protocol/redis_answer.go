package protocol

import (
	"bytes"
	"fmt"
	"strings"
)

// readAnswer reads the head of an answer or one of its elements.
func (c *redisConn) readAnswer(b []byte) (int64, bool, error) {
	if c.replica {
		return int64(len(b)), true, nil
	}
	if len(c.stack) == 0 {
		c.top, c.status, c.kind, c.push = b[0], "", "", b[0] == '>'
	}
	switch b[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		return c.readLine(b)
	case '$', '!', '=':
		return c.readBulk(b)
	case '*', '~', '>', '%', '|':
		return c.readAggregate(b)
	}
	return 0, false, fmt.Errorf("answer begins with %#x: %w", b[0], ErrDesync)
}

func (c *redisConn) readLine(b []byte) (int64, bool, error) {
	line, size := cutLine(b)
	if size == 0 {
		return 0, false, nil
	}
	if b[0] == '-' && c.status == "" {
		c.status = redisStatus(line[1:])
	}
	return int64(size), c.element(), nil
}

func (c *redisConn) readBulk(b []byte) (int64, bool, error) {
	n, size, err := redisLength(b, redisMaxBulk)
	if size == 0 || err != nil {
		return 0, false, err
	}
	if n < 0 {
		return int64(size), c.element(), nil
	}
	end := int64(size) + n + 2
	if int64(len(b)) >= end && (b[end-2] != '\r' || b[end-1] != '\n') {
		return 0, false, fmt.Errorf("string without end: %w", ErrDesync)
	}
	if b[0] == '!' && c.status == "" {
		if want := min(end, int64(size)+maxFoldToken); int64(len(b)) < want {
			return 0, false, nil
		}
		c.status = redisStatus(b[size:min(end, int64(len(b)))])
	}
	return end, c.element(), nil
}

// readAggregate reads the head of an array, set, push, map or attribute. Attributes come in front of the answer they describe.
func (c *redisConn) readAggregate(b []byte) (int64, bool, error) {
	n, size, err := redisLength(b, redisMaxItems)
	if size == 0 || err != nil {
		return 0, false, err
	}
	if b[0] == '%' || b[0] == '|' {
		n *= 2
	}
	if len(c.stack) == 0 && (b[0] == '*' || b[0] == '>') && n >= 2 && n <= 4 {
		kind, ok := redisKind(b[size:])
		if !ok {
			return 0, false, nil
		}
		c.kind = kind
	}
	if b[0] == '|' { // one more element follows it in its place
		n++
	}
	if n <= 0 {
		return int64(size), c.element(), nil
	}
	if len(c.stack) >= redisMaxDepth {
		return 0, false, fmt.Errorf("answer deeper than %d: %w", redisMaxDepth, ErrDesync)
	}
	c.stack = append(c.stack, n)
	return int64(size), false, nil
}

// element counts one element as read. It says whether the answer is whole.
func (c *redisConn) element() bool {
	for i := len(c.stack) - 1; i >= 0; i-- {
		if c.stack[i]--; c.stack[i] > 0 {
			return false
		}
		c.stack = c.stack[:i]
	}
	return true
}

// redisKind is the string at the front of b if it is a kind of pub/sub answer. It says no if more bytes are needed.
func redisKind(b []byte) (string, bool) {
	if len(b) == 0 {
		return "", false
	}
	if b[0] != '$' {
		return "", true
	}
	n, size, err := redisLength(b, redisMaxBulk)
	if err != nil || n > int64(len("punsubscribe")) || n < 0 {
		return "", true
	}
	if size == 0 || len(b) < size+int(n) {
		return "", false
	}
	switch kind := string(b[size : size+int(n)]); kind {
	case "message", "pmessage", "smessage", "subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
		return kind, true
	}
	return "", true
}

// answered gives the answer that has just been read to the command that waits longest.
func (c *redisConn) answered(emit func(Exchange)) {
	head := c.waiting.head()
	if c.replica || c.unasked(head) {
		c.special = c.special || !c.push
		return
	}
	if head != nil && redisSubscribes(head.exchange.Operation) && c.kind != "" {
		head.exchange.ResponseBytes += c.server.bytes
		if head.answers--; head.answers > 0 {
			return
		}
		c.server.bytes = head.exchange.ResponseBytes
	}
	w, ok := c.waiting.pop()
	if !ok {
		return
	}
	status := c.status
	if status == "" {
		status = "ok"
	}
	emit(c.server.answered(w.exchange, status, status != "ok"))
	if w.exchange.Operation == "PSYNC" || w.exchange.Operation == "SYNC" {
		c.replica = status == "ok"
	}
}

// unasked says whether the answer is a message of a subscription or another push, and not for head.
func (c *redisConn) unasked(head *redisAsked) bool {
	if strings.HasSuffix(c.kind, "subscribe") {
		return c.waiting.over == 0 && (head == nil || !strings.EqualFold(head.exchange.Operation, c.kind))
	}
	if c.push || head == nil && c.waiting.over == 0 {
		return true
	}
	if c.kind == "" || c.top != '*' || head == nil {
		return false
	}
	// With RESP2 a connection that has subscribed may send nothing else, so that "message" in an answer to others is a value.
	return redisSubscribes(head.exchange.Operation) || head.exchange.Operation == "PING"
}

// detectRedis knows a command by its array and a word of the list, and an answer by a whole first element.
func detectRedis(d Direction, b []byte) Verdict {
	if len(b) == 0 {
		return Maybe
	}
	if d == FromServer {
		return detectRedisAnswer(b, redisMaxLines)
	}
	if b[0] != '*' {
		return detectRedisInline(b, redisMaxLines)
	}
	n, size, err := redisLength(b, redisMaxArgs)
	if err != nil || size > 0 && n < 1 {
		return No
	}
	if size == 0 || len(b) == size {
		return Maybe
	}
	b = b[size:]
	n, size, err = redisLength(b, redisMaxWord)
	switch {
	case b[0] != '$' || err != nil || size > 0 && n < 1:
		return No
	case size == 0 || int64(len(b)) < int64(size)+n+2:
		return Maybe
	case b[int64(size)+n] != '\r' || b[int64(size)+n+1] != '\n':
		return No
	}
	for _, x := range b[size : int64(size)+n] {
		if x <= ' ' || x > '~' {
			return No
		}
	}
	return Yes
}

// detectRedisInline leaves lower case to Memcached, and PING, PUB and the like to NATS: their answers tell.
func detectRedisInline(b []byte, lines int) Verdict {
	line, size := cutLine(b[:min(len(b), redisMaxInline)])
	if size == 0 {
		line = b[:min(len(b), redisMaxInline)]
	}
	word, _, _ := bytes.Cut(line, []byte{' '})
	if len(word) > redisMaxWord {
		return No
	}
	for _, x := range word {
		if (x < 'A' || x > 'Z') && (x < 'a' || x > 'z') && x != '_' && x != '.' {
			return No
		}
	}
	name := strings.ToUpper(string(word))
	if size == 0 {
		return Maybe
	}
	if redisCommands[name] == "" && redisContainers[name] == nil {
		return No
	}
	if size < len(b) && lines > 1 && detectRedisInline(b[size:], lines-1) == Yes { // more was sent at once
		return Yes
	}
	if name != string(word) || name == "PING" || name == "INFO" || name == "GET" || name == "SUBSCRIBE" || name == "QUIT" || name == "AUTH" {
		return Maybe
	}
	return Yes
}

func detectRedisAnswer(b []byte, lines int) Verdict {
	switch b[0] {
	case '+', '-':
		line, size := cutLine(b[:min(len(b), 64)])
		known := bytes.HasPrefix(b, []byte("+PONG\r")) || bytes.HasPrefix(b, []byte("+QUEUED\r"))
		if b[0] == '-' { // NATS quotes what follows -ERR; POP3 has no WRONGTYPE
			word, rest, more := strings.Cut(string(b[1:min(len(b), 64)]), " ")
			known = more && redisErrors[word] && !strings.HasPrefix(rest, "'") && (word != "ERR" || len(rest) > 0)
		}
		if known {
			return Yes
		}
		if string(line) == "+OK" && size < len(b) && lines > 1 {
			return detectRedisAnswer(b[size:], lines-1)
		}
		if string(line) == "+OK" || size == 0 && len(b) < 64 {
			return Maybe
		}
		return No
	case ':', '$', '*', '%', '>', '~':
		_, size, err := redisLength(b, redisMaxBulk)
		if err != nil {
			return No
		}
		if size == 0 || b[0] == ':' {
			return Maybe
		}
		return detectRedisElement(b, size)
	}
	return No
}

// detectRedisElement checks what follows the length at the front of an answer.
func detectRedisElement(b []byte, size int) Verdict {
	n, _, _ := redisLength(b, redisMaxBulk)
	rest := b[size:]
	switch {
	case b[0] == '$' && n < 0, n == 0 && b[0] != '$', n < 0:
		return Yes
	case b[0] == '$' && int64(len(rest)) >= n+2:
		if rest[n] == '\r' && rest[n+1] == '\n' {
			return Yes
		}
		return No
	case b[0] == '$' || len(rest) == 0:
		return Maybe
	}
	if bytes.IndexByte([]byte("+-:$*%#,_(!=~>|"), rest[0]) < 0 {
		return No
	}
	return Yes
}
