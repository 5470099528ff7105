package protocol

import (
	"bytes"
	"fmt"
)

const (
	memcachedMaxLine = 16 << 10 // bytes of a command line; a server takes 2,048 except for get
	memcachedMaxItem = 1 << 31  // bytes of a value
)

// Memcached speaks its text and meta commands (doc/protocol.txt of memcached) and its binary protocol
// (https://github.com/memcached/memcached/wiki/BinaryProtocolRevamped).
func Memcached() Protocol {
	return Protocol{Name: "memcached", Detect: detectMemcached, New: func() Conn { return &memcachedConn{} }, Matched: MatchedMemcached}
}

// memcachedAsked is a command that waits for its answer.
type memcachedAsked struct {
	exchange Exchange
	quiet    string // status if the server says nothing; "" if it always answers
	value    bool   // a meta command asks for the value
	keys     int    // of a get
	opcode   byte   // of a binary command
	opaque   uint64 // of a binary command, or a hash of the one of a meta command
}

type memcachedConn struct {
	client, server half
	waiting        fifo[memcachedAsked]
	request        memcachedAsked // the command at hand
	noreply        bool

	values int    // values of the answer at hand
	word   string // first word of its last line
	binary bool
	opcode byte
	code   uint16
	opaque uint64

	special bool // not each request has one response or none
}

// memcachedCommands are the text commands, with how they are answered.
var memcachedCommands = map[string]memcachedKind{
	"get": memcachedRead, "gets": memcachedRead, "gat": memcachedRead, "gats": memcachedRead,
	"set": memcachedStore, "add": memcachedStore, "replace": memcachedStore, "append": memcachedStore, "prepend": memcachedStore, "cas": memcachedStore,
	"mg": memcachedMeta, "ms": memcachedMeta, "md": memcachedMeta, "ma": memcachedMeta, "mn": memcachedMeta, "me": memcachedMeta,
	"delete": memcachedPlain, "incr": memcachedPlain, "decr": memcachedPlain, "touch": memcachedPlain, "flush_all": memcachedPlain,
	"version": memcachedPlain, "verbosity": memcachedPlain, "slabs": memcachedPlain, "lru": memcachedPlain, "lru_crawler": memcachedPlain,
	"cache_memlimit": memcachedPlain, "shutdown": memcachedPlain, "watch": memcachedPlain, "refresh_certs": memcachedPlain,
	"misbehave": memcachedPlain, "stats": memcachedStats, "extstore": memcachedPlain, "quit": memcachedPlain,
}

type memcachedKind uint8

const (
	memcachedPlain memcachedKind = iota + 1
	memcachedRead
	memcachedStore
	memcachedMeta
	memcachedStats
)

func (c *memcachedConn) Plain() bool { return !c.special }

func (c *memcachedConn) Idle() bool { return !c.client.open && !c.server.open && c.waiting.idle() }

func (c *memcachedConn) Taken() { c.waiting, c.values = fifo[memcachedAsked]{}, 0 }

func (c *memcachedConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	if d == FromClient {
		return c.client.feed(b, at, c.readRequest, func() { c.asked(emit) })
	}
	return c.server.feed(b, at, c.readAnswer, func() { c.answered(emit) })
}

func (c *memcachedConn) Resync(d Direction, b []byte) bool {
	if detectMemcached(d, b) != Yes {
		return false
	}
	c.waiting.lose()
	if d == FromClient {
		c.client = half{}
	} else {
		c.server, c.values = half{}, 0
	}
	return true
}

func (c *memcachedConn) Close(at int64, emit func(Exchange)) {
	for _, w := range c.waiting.items {
		if w.quiet != "" {
			emit(oneWay(w.exchange))
			continue
		}
		emit(cut(w.exchange, at))
	}
	c.waiting = fifo[memcachedAsked]{}
}

func (c *memcachedConn) readRequest(b []byte) (int64, bool, error) {
	c.request, c.noreply = memcachedAsked{}, false
	if b[0] == memcachedRequest {
		return c.readBinaryRequest(b)
	}
	line, size, err := memcachedLine(b)
	if size == 0 || err != nil {
		return 0, false, err
	}
	word, rest, _ := bytes.Cut(line, []byte{' '})
	kind := memcachedCommands[string(word)]
	c.request.exchange.Operation = string(word)
	fields := memcachedFields(rest)
	c.noreply = memcachedSilent(string(word), kind, fields) || string(word) == "quit"
	switch kind {
	case 0:
		c.request.exchange.Operation = "~other"
	case memcachedRead:
		c.request.keys = len(fields)
		if word[1] == 'a' { // gat has the expiry time first
			c.request.keys--
		}
	case memcachedStore:
		return int64(size) + memcachedBody(fields, 3), true, nil
	case memcachedMeta:
		c.readMetaFlags(word[1], fields)
		c.special = c.special || c.request.quiet != ""
		if word[1] == 's' {
			return int64(size) + memcachedBody(fields, 1), true, nil
		}
	case memcachedPlain:
		c.special = c.special || string(word) == "watch"
	}
	return int64(size), true, nil
}

// memcachedNoreply says from which word behind a command on `noreply` is not an argument; 0: the command is always answered.
func memcachedNoreply(command string, kind memcachedKind) int {
	switch command {
	case "flush_all", "verbosity", "cache_memlimit":
		return 1
	case "delete", "incr", "decr", "touch", "slabs", "lru":
		return 2
	}
	if kind == memcachedStore {
		return 4
	}
	return 0
}

// memcachedSilent says whether a command is not answered.
func memcachedSilent(command string, kind memcachedKind, fields [][]byte) bool {
	from := memcachedNoreply(command, kind)
	return from > 0 && len(fields) >= from && string(fields[len(fields)-1]) == "noreply"
}

// readMetaFlags looks for q (say nothing in the usual case) and O (a token that comes back).
func (c *memcachedConn) readMetaFlags(command byte, fields [][]byte) {
	skip := 1
	if command == 's' {
		skip = 2
	}
	for _, f := range fields[min(skip, len(fields)):] {
		switch {
		case string(f) == "q" && command == 'g':
			c.request.quiet = "miss"
		case string(f) == "q" && command == 's':
			c.request.quiet = "stored"
		case string(f) == "q": // of md and ma, whether there was something or not
			c.request.quiet = "ok"
		case string(f) == "v":
			c.request.value = true
		case f[0] == 'O':
			c.request.opaque = hashBytes(f[1:])
		}
	}
}

// memcachedFields are the words of a line. Only spaces are between them: a key may hold any other byte.
func memcachedFields(rest []byte) [][]byte {
	return bytes.FieldsFunc(rest, func(r rune) bool { return r == ' ' })
}

// memcachedBody is how many bytes follow the line of a command that stores. A line whose length is wrong is refused alone.
func memcachedBody(fields [][]byte, field int) int64 {
	if len(fields) <= field {
		return 0
	}
	n, ok := digits(fields[field])
	if !ok || n > memcachedMaxItem {
		return 0
	}
	return n + 2
}

func memcachedLine(b []byte) (line []byte, size int, err error) {
	line, size = cutLine(b[:min(len(b), memcachedMaxLine)])
	if size == 0 && len(b) >= memcachedMaxLine {
		return nil, 0, fmt.Errorf("line longer than %d bytes: %w", memcachedMaxLine, ErrDesync)
	}
	if c := b[0]; (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '\r' && c != '\n' && c != ' ' {
		return nil, 0, fmt.Errorf("line begins with %#x: %w", c, ErrDesync)
	}
	return line, size, nil
}

func (c *memcachedConn) asked(emit func(Exchange)) {
	w := c.request
	w.exchange = c.client.asked(w.exchange.Operation)
	if c.noreply || !c.waiting.push(w) {
		emit(oneWay(w.exchange))
	}
}

// readAnswer reads one line of an answer, with the value behind it.
func (c *memcachedConn) readAnswer(b []byte) (int64, bool, error) {
	if b[0] == memcachedResponse {
		return c.readBinaryAnswer(b)
	}
	c.binary, c.opaque = false, 0
	line, size, err := memcachedLine(b)
	if size == 0 || err != nil {
		return 0, false, err
	}
	word, rest, _ := bytes.Cut(line, []byte{' '})
	c.word = string(word[:min(len(word), maxFoldToken)])
	switch c.word {
	case "VALUE":
		c.values++
		return int64(size) + memcachedBody(memcachedFields(rest), 2), false, nil
	case "VA":
		c.readMetaAnswer(rest)
		return int64(size) + memcachedBody(memcachedFields(rest), 0), true, nil
	case "HD", "EN", "NF", "NS", "EX", "ME", "MN":
		c.readMetaAnswer(rest)
	case "STAT":
		return int64(size), false, nil
	}
	return int64(size), true, nil
}

func (c *memcachedConn) readMetaAnswer(rest []byte) {
	for f := range bytes.FieldsSeq(rest) {
		if f[0] == 'O' {
			c.opaque = hashBytes(f[1:])
		}
	}
}

// answered gives the answer to the first command that it can belong to; those in front of it that the server kept quiet about are done.
func (c *memcachedConn) answered(emit func(Exchange)) {
	values := c.values
	c.values = 0
	for {
		w, ok := c.waiting.pop()
		if !ok {
			return
		}
		if !c.answers(w) {
			if w.quiet != "" {
				emit(half{begin: c.server.begin, end: c.server.begin}.silent(w))
				continue
			}
			e := oneWay(w.exchange) // the answers and the questions do not fit any more: counted, but nothing else is known
			emit(e)
			if c.waiting.idle() {
				return
			}
			continue
		}
		status, failed := c.status(w, values)
		emit(c.server.answered(w.exchange, status, failed))
		return
	}
}

// silent completes a command that a server answers by silence, when the answer to a later one comes.
func (h half) silent(w memcachedAsked) Exchange {
	return h.answered(w.exchange, w.quiet, false)
}

// answers says whether the answer at hand can be the one to w.
func (c *memcachedConn) answers(w memcachedAsked) bool {
	if c.binary {
		return w.opcode == c.opcode && w.opaque == c.opaque
	}
	if w.opaque != 0 && c.opaque != 0 && w.opaque != c.opaque {
		return false
	}
	operation := w.exchange.Operation
	switch c.word {
	case "MN":
		return operation == "mn"
	case "ME":
		return operation == "me"
	case "EN":
		return (operation == "mg" || operation == "me") && w.quiet == ""
	case "VA":
		return w.value && (operation == "mg" || operation == "ma")
	case "HD":
		return operation == "mg" && !w.value || (operation == "ms" || operation == "md" || operation == "ma" && !w.value) && w.quiet == ""
	case "NF", "NS", "EX":
		return operation == "ms" || (operation == "md" || operation == "ma") && (w.quiet == "" || c.word != "NF")
	case "END":
		return memcachedCommands[operation] == memcachedRead || memcachedCommands[operation] == memcachedStats || operation == "extstore"
	case "ERROR", "CLIENT_ERROR", "SERVER_ERROR":
		return true
	}
	return memcachedCommands[operation] != memcachedMeta
}

// status says how the answer at hand ended.
func (c *memcachedConn) status(w memcachedAsked, values int) (string, bool) {
	if c.binary {
		return memcachedBinaryStatus(w.exchange.Operation, c.code)
	}
	return memcachedStatus(w.exchange.Operation, c.word, values, w.keys)
}

// memcachedStatus says how a text answer ended, by the first word of its last line, and how many of the keys that were asked for it had values of.
func memcachedStatus(operation, word string, values, keys int) (status string, failed bool) {
	switch word {
	case "STORED", "NOT_STORED", "EXISTS", "NOT_FOUND", "DELETED", "TOUCHED", "BUSY":
		return string(bytes.ToLower([]byte(word))), word == "BUSY"
	case "ERROR", "CLIENT_ERROR", "SERVER_ERROR":
		return string(bytes.ToLower([]byte(word))), true
	case "BADCLASS", "NOSPARE", "NOTFULL", "UNSAFE", "SAME":
		return "error", true
	case "END":
		switch {
		case memcachedCommands[operation] != memcachedRead:
			return "ok", false
		case values == 0:
			return "miss", false
		case values < keys:
			return "partial", false
		}
		return "hit", false
	}
	return memcachedMetaStatus(operation, word), false
}

func memcachedMetaStatus(operation, word string) string {
	switch {
	case word == "EN":
		return "miss"
	case word == "NF":
		return "not_found"
	case word == "NS":
		return "not_stored"
	case word == "EX":
		return "exists"
	case word == "VA" && operation == "mg", word == "HD" && operation == "mg":
		return "hit"
	case word == "HD" && operation == "ms":
		return "stored"
	case word == "HD" && operation == "md":
		return "deleted"
	}
	return "ok"
}
