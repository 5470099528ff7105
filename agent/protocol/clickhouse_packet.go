package protocol

import (
	"encoding/binary"
)

// chReader reads fields. short says that one was not whole, and then all are empty; odd, that one was not what it should be.
type chReader struct {
	b     []byte
	at    int
	short bool
	odd   bool
}

func (r *chReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)-r.at) {
		r.short, r.at = true, len(r.b)
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at]
}

// number reads a varint.
func (r *chReader) number() uint64 {
	n, size := binary.Uvarint(r.b[r.at:])
	if size <= 0 {
		r.short, r.at = true, len(r.b)
		return 0
	}
	r.at += size
	return n
}

func (r *chReader) text() []byte { return r.bytes(r.number()) }

// label reads a text that is short and printable.
func (r *chReader) label() {
	n := r.number()
	r.odd = r.odd || n > 4096
	r.odd = !printable(r.bytes(n)) || r.odd
}

// fixed reads a number of up to 8 bytes.
func (r *chReader) fixed(size uint64) (n uint64) {
	b := r.bytes(size)
	for i := len(b) - 1; i >= 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n
}

// chRequest is what a packet of the client begins.
type chRequest struct {
	operation  string
	login      bool
	compressed bool // blocks are to be
	revision   int  // by which it was read
	guessed    bool // so its end is uncertain: how the server answers is not known
}

// readCHHello reads the client's Hello: name, version, revision, database, user, password.
func readCHHello(b []byte) (revision, size int, verdict Verdict) {
	r := chReader{b: b[:min(len(b), chLook)], at: 1}
	name := r.text()
	major, minor := r.number(), r.number()
	revision = int(min(r.number(), 1<<20))
	if r.short && (len(b) > 1 && (b[1] == 0 || b[1] > 127) || len(b) >= 256 || !printable(b[min(2, len(b)):min(len(b), 2+int(b[min(1, len(b)-1)]))])) {
		return 0, 0, No
	}
	if !r.short && (!printable(name) || len(name) == 0 || major > 1000 || minor > 1000 || !chRevision(revision)) {
		return 0, 0, No
	}
	for range 3 {
		r.text()
	}
	if r.short {
		return 0, 0, perhaps(len(b) < chLook)
	}
	return revision, r.at, Yes
}

// chRevision says whether a number may be a revision.
func chRevision(n int) bool { return n >= 50000 && n < 60000 }

// chRevisions are those from which on a query has another form, the newest first.
var chRevisions = []int{chWithToken, chWithLines, chWithRoles, chWithReplicas, chWithStartTime, chWithDepth, chWithOpenTelemetry, chWithSecret, chWithTextSettings, chWithPatch, chWithQuotaKey, chWithClientInfo}

// readCHQuery reads a query. If the revision is not known (0), all forms are tried; the answer is then looked at as if the client had the newest that fits.
func readCHQuery(b []byte, revision int) (q chRequest, verdict Verdict) {
	if revision != 0 {
		return readCHQueryAs(b, revision)
	}
	verdict = No
	for _, revision := range chRevisions {
		q, v := readCHQueryAs(b, revision)
		if v == Yes && q.operation != "EMPTY" && q.operation != "OTHER" {
			return q, Yes
		}
		if v == Maybe {
			verdict = Maybe
		}
	}
	return chRequest{operation: "QUERY", guessed: true}, verdict
}

// readCHQueryAs reads a query of a revision. With No or Maybe it is one without a name.
func readCHQueryAs(b []byte, revision int) (q chRequest, verdict Verdict) {
	q = chRequest{operation: "QUERY", revision: revision, guessed: true}
	r := chReader{b: b[:min(len(b), chLook)]}
	if kind := r.bytes(1); len(kind) == 0 || kind[0] != chQuery {
		return q, No
	}
	if r.label(); !readCHClientInfo(&r, revision) || r.odd {
		return q, No
	}
	if revision < chWithTextSettings {
		if text, compressed, ok := findCHText(&r); ok {
			return nameCHQuery(q, text, compressed)
		}
		return q, perhaps(len(b) < chLook)
	}
	for key := r.text(); len(key) > 0; key = r.text() {
		if flags := r.number(); flags > 15 || !printable(key) {
			return q, No
		}
		r.text()
	}
	if revision >= chWithRoles {
		r.text()
	}
	if revision >= chWithSecret {
		r.text()
	}
	stage, compression := r.number(), r.number()
	if stage > 8 || compression > 1 {
		return q, No
	}
	n := r.number()
	if r.short {
		return q, perhaps(len(b) < chLook)
	}
	return nameCHQuery(q, chText{r.b[r.at:], n}, compression == 1)
}

// chText is a text of n bytes, of which the first are there.
type chText struct {
	b []byte
	n uint64
}

func nameCHQuery(q chRequest, text chText, compressed bool) (chRequest, Verdict) {
	b := text.b[:min(uint64(len(text.b)), text.n)]
	s := parseSQL(b, clickhouseSQL, uint64(len(b)) == text.n)
	if !s.Sure && len(b) < maxSQLText {
		return q, Maybe
	}
	q.operation, q.compressed, q.guessed = s.Operation, compressed, false
	return q, Yes
}

// readCHClientInfo reads who asks. It says no to what none can be.
func readCHClientInfo(r *chReader, revision int) bool {
	if revision < chWithClientInfo {
		return true
	}
	kind := r.fixed(1)
	if kind == 0 || kind > 2 {
		return r.short
	}
	for range 3 { // user, query and address that it all began with
		r.label()
	}
	if revision >= chWithStartTime {
		r.bytes(8)
	}
	switch by := r.fixed(1); {
	case r.short:
		return true
	case by == 1: // TCP
		for range 3 { // user of the system, host, program
			r.label()
		}
		if major, minor, client := r.number(), r.number(), r.number(); !r.short && (major > 1000 || minor > 1000 || !chRevision(int(min(client, 1<<20)))) {
			return false
		}
	case by == 2: // HTTP
		r.bytes(1)
		r.label()
		if revision >= chWithForwardedFor {
			r.label()
		}
		if revision >= chWithReferer {
			r.label()
		}
	default:
		return false
	}
	if revision >= chWithQuotaKey {
		r.label()
	}
	if revision >= chWithDepth {
		r.number()
	}
	if revision >= chWithPatch {
		r.number()
	}
	if revision >= chWithOpenTelemetry {
		switch traced := r.fixed(1); {
		case traced == 1:
			r.bytes(24)
			r.text()
			r.bytes(1)
		case traced > 1:
			return false
		}
	}
	if revision >= chWithReplicas {
		for range 3 {
			r.number()
		}
	}
	if revision >= chWithLines {
		r.number()
		r.number()
	}
	if revision >= chWithToken && r.fixed(1) == 1 {
		r.text()
	}
	return true
}

// findCHText finds the text of a query behind settings in binary, whose forms go by their names: behind the empty name that ends them stand stage,
// compression, length and a statement that is known.
func findCHText(r *chReader) (text chText, compressed, ok bool) {
	const settings, tries = 4 << 10, 32
	left := tries
	for i := r.at; i+4 < len(r.b) && i < r.at+settings && left > 0; i++ {
		if r.b[i] != 0 || r.b[i+1] > 2 || r.b[i+2] > 1 {
			continue
		}
		left--
		t := chReader{b: r.b, at: i + 3}
		if n := t.number(); !t.short && n > 0 && n < 1<<30 && looksLikeSQL(t.b[t.at:t.at+int(min(n, uint64(len(t.b)-t.at)))], clickhouseSQL) {
			return chText{t.b[t.at:], n}, r.b[i+2] == 1, true
		}
	}
	return chText{}, false, false
}

// detectClickHouse knows the handshake and queries of clients, and of servers the handshake, exceptions and blocks.
func detectClickHouse(d Direction, b []byte) Verdict {
	if len(b) == 0 {
		return Maybe
	}
	if d == FromClient {
		switch b[0] {
		case chHello:
			_, _, verdict := readCHHello(b)
			return verdict
		case chQuery:
			_, verdict := readCHQuery(b, 0)
			return verdict
		}
		return No
	}
	r := chReader{b: b[:min(len(b), chLook)], at: 1}
	switch b[0] {
	case chHello:
		name := r.text()
		major, minor, revision := r.number(), r.number(), r.number()
		if r.short {
			return perhaps(len(b) < 64 && (len(b) == 1 || b[1] > 0 && b[1] < 128) && printable(b[min(2, len(b)):min(len(b), 3)]))
		}
		return either(len(name) > 0 && printable(name) && major < 1000 && minor < 1000 && chRevision(int(min(revision, 1<<20))))
	case chException:
		code, name := r.fixed(4), r.text()
		if r.short {
			return perhaps(len(b) < 32 && code < 1<<16)
		}
		return either(code < 1<<16 && len(name) > 4 && string(name[:4]) == "DB::")
	case chData:
		const head = "\x01\x00\x01\x00\x02\xff\xff\xff\xff\x00" // a block without a name
		n := min(len(b), len(head))
		if string(b[:n]) != head[:n] {
			return No
		}
		return sure(n == len(head))
	}
	return No
}
