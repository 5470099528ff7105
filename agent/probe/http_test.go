package probe

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/vetch-dev/vetch/bpf"
)

func itoa(n int) string { return strconv.Itoa(n) }

// A duration falls into the bucket whose bounds hold it, for every bound of the schema and its neighbours.
func TestBucketOf(t *testing.T) {
	k := loadParts(t)
	bucket := func(ns uint64) int {
		arg := bpf.VetchTryBucketT{Ns: ns}
		run(t, k.coll.Programs["try_bucket"], &arg)
		return int(arg.Bucket)
	}
	for i := range NumBuckets - 1 {
		upper := math.Exp2(float64(i+FirstBucket)/8) * 1e9
		if got := bucket(uint64(math.Floor(upper * 0.9999))); got != i {
			t.Errorf("%.0f ns is in bucket %d, want %d", upper*0.9999, got, i)
		}
		if upper > 1e5 { // below, a nanosecond is more than the distance
			if got := bucket(uint64(math.Ceil(upper * 1.0001))); got != i+1 {
				t.Errorf("%.0f ns is in bucket %d, want %d", upper*1.0001, got, i+1)
			}
		}
	}
	for ns, want := range map[uint64]int{0: 0, 1: 0, 953: 0, 64e9: NumBuckets - 1, 65e9: NumBuckets - 1, math.MaxUint64: NumBuckets - 1} {
		if got := bucket(ns); got != want {
			t.Errorf("%d ns is in bucket %d, want %d", ns, got, want)
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// turn is what one side of the connection says; '>' is to the server.
type exchange struct {
	name string
	say  []string
	want map[string]int
	then string // "other": not HTTP from here on
}

var exchanges = []exchange{
	{"one", []string{">GET / HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"GET / 200": 1}, ""},
	{"keep-alive", []string{">GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "<" + ok, ">GET /b HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"GET /a 200": 1, "GET /b 200": 1}, ""},
	{"pipelined", []string{">" + strings.Repeat("GET /p HTTP/1.1\r\n\r\n", 40), "<" + strings.Repeat(ok, 40)}, map[string]int{"GET /p 200": 40}, ""},
	{"bare line feeds", []string{">GET / HTTP/1.1\nHost: x\n\n", "<HTTP/1.1 200 OK\nContent-Length: 2\n\nok", ">GET / HTTP/1.1\n\n", "<" + ok}, map[string]int{"GET / 200": 2}, ""},
	{"empty lines between", []string{">\r\n\r\nGET / HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"GET / 200": 1}, ""},
	{"HTTP/1.0", []string{">GET / HTTP/1.0\r\n\r\n", "<HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"}, map[string]int{"GET / 200": 1}, ""},
	{"no reason phrase", []string{">GET / HTTP/1.1\r\n\r\n", "<HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n"}, map[string]int{"GET / 404": 1}, ""},
	{"body like a request", []string{">POST /a HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n", "<" + ok, ">GET /b HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"POST /a 200": 1, "GET /b 200": 1}, ""},
	{"body like a response", []string{">GET /a HTTP/1.1\r\n\r\n", "<HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\nHTTP/1.1 500 OK\r\nContent-Length:", ">GET /b HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"GET /a 200": 1, "GET /b 200": 1}, ""},
	{"GET with a body", []string{">GET /a HTTP/1.1\r\ncontent-length:3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n", "<" + ok + ok}, map[string]int{"GET /a 200": 1, "GET /b 200": 1}, ""},
	{"chunked", []string{">POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n1F;x=\"y\"\r\n0123456789012345678901234567890\r\n0\r\nTrailer: x\r\n\r\n", "<HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", ">GET /b HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"POST /a 200": 1, "GET /b 200": 1}, ""},
	{"both lengths: chunked wins", []string{">GET /a HTTP/1.1\r\n\r\n", "<HTTP/1.1 200 OK\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", ">GET /b HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"GET /a 200": 1, "GET /b 200": 1}, ""},
	{"HEAD", []string{">HEAD /a HTTP/1.1\r\n\r\n", "<HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", ">GET /b HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"HEAD /a 200": 1, "GET /b 200": 1}, ""},
	{"204 and 304 have no body", []string{">GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n", "<HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n" + ok}, map[string]int{"GET /a 204": 1, "GET /b 304": 1, "GET /c 200": 1}, ""},
	{"100 continue", []string{">PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", "<HTTP/1.1 100 Continue\r\n\r\n", ">abc", "<" + ok}, map[string]int{"PUT /a 200": 1}, ""},
	{"early hints", []string{">GET /a HTTP/1.1\r\n\r\n", "<HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + ok}, map[string]int{"GET /a 200": 1}, ""},
	{"early answer", []string{">POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc", "<HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", ">defghijGET /b HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"POST /a 413": 1, "GET /b 200": 1}, ""},
	{"upgrade", []string{">GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "<HTTP/1.1 101 Switching Protocols\r\nDate: x\r\nUPGRADE:  WebSocket\r\nX: y\r\n\r\n", ">GET /no HTTP/1.1\r\n\r\n"}, map[string]int{"GET /ws 101": 1}, "other"},
	{"upgrade to another protocol", []string{">GET /up HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", "<HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", ">PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, map[string]int{"GET /up 101": 1}, "other"},
	{"upgrade refused", []string{">GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "<HTTP/1.1 426 No\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", ">GET /b HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"GET /ws 426": 1, "GET /b 200": 1}, ""},
	{"HTTP in a tunnel", []string{">CONNECT db:80 HTTP/1.1\r\n\r\n", "<HTTP/1.1 200 Connected\r\n\r\n", ">GET /in HTTP/1.1\r\n\r\n", "<" + ok, ">GET /in HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"CONNECT db:{id} 200": 1, "GET /in 200": 2}, ""},
	{"connect", []string{">CONNECT db:5432 HTTP/1.1\r\n\r\n", "<HTTP/1.1 200 Connected\r\n\r\n", ">HTTP/1.1 200 OK\r\n\r\n"}, map[string]int{"CONNECT db:{id} 200": 1}, "other"},
	{"connect refused", []string{">CONNECT db:5432 HTTP/1.1\r\n\r\n", "<HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", ">GET /b HTTP/1.1\r\n\r\n", "<" + ok}, map[string]int{"CONNECT db:{id} 403": 1, "GET /b 200": 1}, ""},
	{"unusual method", []string{">PROPFIND /a HTTP/1.1\r\n\r\n", "<HTTP/1.1 207 Multi\r\nContent-Length: 0\r\n\r\n"}, map[string]int{"~other /a 207": 1}, ""},
	{"not HTTP", []string{">\x16\x03\x01\x02\x00\x01", "<x"}, map[string]int{}, "other"},
	{"Redis inline", []string{">GET key\r\n", "<$-1\r\n"}, map[string]int{}, "other"},
	{"HTTP/2", []string{">PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, map[string]int{}, "other"},
	{"SMTP speaks first", []string{"<220 mail ready\r\n", ">HELO x\r\n"}, map[string]int{}, "other"},
	{"method too long", []string{">AAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n\r\n"}, map[string]int{}, "other"},
}

func (e *exchange) play(c *conversation, role Role, split func(string) []string) {
	for _, line := range e.say {
		direction := uint32(sent)
		if (line[0] == '>') == (role == RoleServer) {
			direction = received
		}
		for _, part := range split(line[1:]) {
			c.say(direction, part)
		}
	}
}

// Every exchange is counted right at both ends, whole and in pieces of every size.
func TestHTTP(t *testing.T) {
	k := loadParts(t)
	sk := uint64(1 << 20)
	for _, e := range exchanges {
		for _, role := range []Role{RoleClient, RoleServer} {
			for _, size := range []int{1 << 20, 1, 2, 3, 7, 16, 100} {
				sk++
				c := k.converse(t, sk, role)
				e.play(c, role, func(s string) []string { return pieces(s, size) })
				if got := c.counted(); !maps.Equal(got, e.want) {
					t.Errorf("%s, role %d, pieces of %d: counted %v, want %v", e.name, role, size, got, e.want)
				}
				if other := c.conn().Protocol == 255; other != (e.then == "other") {
					t.Errorf("%s, role %d, pieces of %d: given up is %v", e.name, role, size, other)
				}
			}
		}
	}
}

// The hook of the thread that reads may come before that of the thread that wrote. Then the head of a response to HEAD is all of it, which shows with the request.
func TestResponseBeforeItsRequest(t *testing.T) {
	k := loadParts(t)
	for i, head := range []string{"Content-Length: 99\r\n", "Transfer-Encoding: chunked\r\n", "", "Content-Length: 0\r\n"} {
		c := k.converse(t, uint64(1<<21+i), RoleClient)
		c.say(received, "HTTP/1.1 200 OK\r\n"+head+"\r\n")
		c.say(sent, "HEAD /a HTTP/1.1\r\n\r\n")
		c.say(received, ok)
		c.say(sent, "GET /b HTTP/1.1\r\n\r\n")
		c.say(sent, "GET /c HTTP/1.1\r\n\r\n")
		c.say(received, ok)
		if got, want := c.counted(), map[string]int{"HEAD /a 200": 1, "GET /b 200": 1, "GET /c 200": 1}; !maps.Equal(got, want) {
			t.Errorf("%q: counted %v, want %v", head, got, want)
		}
	}
}

func pieces(s string, size int) []string {
	var out []string
	for len(s) > size {
		out, s = append(out, s[:size]), s[size:]
	}
	return append(out, s)
}

// Routes fold what is an id, and cut what may be a secret.
func TestRoutes(t *testing.T) {
	k := loadParts(t)
	for i, tt := range []struct{ target, want string }{
		{"/", "/"},
		{"/users/42", "/users/{id}"},
		{"/users/42/", "/users/{id}/"},
		{"/users/42/orders/2024-01-31", "/users/{id}/orders/{id}"},
		{"/v1/items", "/v1/items"},
		{"/api/v2/x86_64", "/api/v2/x86_{id}"},
		{"/o/550e8400-e29b-41d4-a716-446655440000/x", "/o/{id}/x"},
		{"/c/deadbeef01", "/c/{id}"},
		{"/facade/decade", "/facade/decade"},
		{"/order-12345/pay", "/order-{id}/pay"},
		{"/static/app.3f9c2b1a7d.js", "/static/app.{id}.js"},
		{"/f/01HZX3KQ9V8M7N6P5R4S3T2W1Y", "/f/{id}"},
		{"/a?token=secret", "/a"},
		{"/a;jsessionid=secret", "/a"},
		{"/a#frag", "/a"},
		{"/a%20b", "/a%{id}b"},
		{"*", "*"},
		{"http://example.com/users/7?x", "/users/{id}"},
		{"http://example.com", "/"},
		{"/" + strings.Repeat("x", 300), "/" + strings.Repeat("x", 103) + "…"},
		{"/ü", "/??"},
	} {
		c := k.converse(t, uint64(1<<30+i), RoleServer)
		for _, part := range pieces("GET "+tt.target+" HTTP/1.1\r\n\r\n", 5+i) {
			c.say(received, part)
		}
		c.say(sent, ok)
		want := map[string]int{"GET " + tt.want + " 200": 1}
		if tt.target == "/a%20b" {
			want = map[string]int{"GET /a%20b 200": 1}
		}
		if got := c.counted(); !maps.Equal(got, want) {
			t.Errorf("%s: counted %v, want %v", tt.target, got, want)
		}
	}
}

// Bytes that no hook saw cost nothing inside a body, and are an honest loss elsewhere; counting goes on with the next message.
func TestGaps(t *testing.T) {
	k := loadParts(t)
	c := k.converse(t, 1<<40, RoleServer)
	c.say(received, "GET /a HTTP/1.1\r\n\r\n")
	c.say(sent, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
	c.miss(sent, 400)
	c.miss(sent, 600)
	c.say(received, "GET /b HTTP/1.1\r\n\r\n")
	c.miss(sent, 57) // a whole response
	c.say(received, "GET /c HTTP/1.1\r\n\r\n")
	c.say(sent, ok)
	want := map[string]int{"GET /a 200": 1, "GET /c 200": 1}
	if got := c.counted(); !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	if n := k.lost(t, "response_unseen"); n != 1 {
		t.Errorf("response_unseen is %d, want 1", n)
	}
}

// A response that cannot be read, or is none, costs the requests that wait: none of them is taken for answered by what comes later.
func TestResponseNotRead(t *testing.T) {
	k := loadParts(t)
	for i, tt := range []struct {
		name string
		pass func(c *conversation)
	}{
		{"a buffer that cannot be read", func(c *conversation) { c.misread(sent, 0) }},
		{"a list of buffers that cannot be read", func(c *conversation) { c.misread(sent, 3) }},
		{"no status", func(c *conversation) { c.say(sent, "HTTP/1.1 OK\r\n\r\n") }},
		{"bytes past every hook", func(c *conversation) { c.miss(sent, 57) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := k.lost(t, "response_unseen")
			c := k.converse(t, 1<<39+uint64(i), RoleServer)
			c.say(received, "GET /a HTTP/1.1\r\n\r\n")
			c.say(sent, ok)
			c.say(received, "GET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n")
			tt.pass(c)
			c.say(sent, ok) // to /c, which is not certain
			for range 3 {
				c.say(received, "GET /d HTTP/1.1\r\n\r\n")
				c.say(sent, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			}
			if got, want := c.counted(), map[string]int{"GET /a 200": 1, "GET /d 404": 3}; !maps.Equal(got, want) {
				t.Errorf("counted %v, want %v", got, want)
			}
			if n := k.lost(t, "response_unseen") - before; n != 2 {
				t.Errorf("response_unseen is %d, want 2", n)
			}
		})
	}
}

// The reading thread of a client may be faster than the hook of the writing one.
func TestResponseBeforeRequest(t *testing.T) {
	k := loadParts(t)
	c := k.converse(t, 1<<41, RoleClient)
	for range 3 {
		c.say(received, ok)
		c.say(sent, "GET /a HTTP/1.1\r\n\r\n")
	}
	if got, want := c.counted(), map[string]int{"GET /a 200": 3}; !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// Random conversations in random pieces, pipelined at random, against what was put into them.
func TestRandomConversations(t *testing.T) {
	k := loadParts(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 150 {
		role := RoleClient + Role(rng.IntN(2))
		c := k.converse(t, uint64(1<<42+i), role)
		toServer, toClient := uint32(sent), uint32(received)
		if role == RoleServer {
			toServer, toClient = received, sent
		}
		want := map[string]int{}
		for range 1 + rng.IntN(5) {
			var requests, responses strings.Builder
			for range 1 + rng.IntN(20) {
				name, request, response := randomExchange(rng)
				want[name]++
				requests.WriteString(request)
				responses.WriteString(response)
			}
			for _, part := range randomPieces(rng, requests.String()) {
				c.say(toServer, part)
			}
			for _, part := range randomPieces(rng, responses.String()) {
				c.say(toClient, part)
			}
		}
		if got := c.counted(); !maps.Equal(got, want) {
			t.Fatalf("conversation %d: counted %v, want %v", i, got, want)
		}
	}
}

func randomExchange(rng *rand.Rand) (name, request, response string) {
	method := []string{"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"}[rng.IntN(7)]
	path := "/" + strings.Repeat("abc/", rng.IntN(4)) + "x"
	code := []int{200, 201, 204, 301, 304, 404, 500, 503}[rng.IntN(8)]
	noise := randomHeaders(rng)
	request = method + " " + path + "?q=1 HTTP/1.1\r\n" + noise + randomBody(rng, method == "POST" || method == "PUT")
	if method == "HEAD" || code == 204 || code == 304 {
		response = fmt.Sprintf("HTTP/1.1 %d X\r\n%s\r\n", code, randomHeaders(rng))
	} else {
		response = fmt.Sprintf("HTTP/1.1 %d Some Reason\r\n%s%s", code, randomHeaders(rng), randomBody(rng, true))
	}
	return fmt.Sprintf("%s %s %d", method, path, code), request, response
}

func randomHeaders(rng *rand.Rand) string {
	var b strings.Builder
	for range rng.IntN(12) {
		name := []string{"Content-Type", "content-encoding", "Connection", "Cookie", "T", "TE", "Transfer", "C", "Content-Lengthy", "X-Content-Length", "Date"}[rng.IntN(11)]
		fmt.Fprintf(&b, "%s: %s\r\n", name, strings.Repeat("v0\t:", rng.IntN(60)))
	}
	return b.String()
}

// randomBody is the end of the headers and a body: of known length, chunked, or none.
func randomBody(rng *rand.Rand, body bool) string {
	data := strings.Repeat("GET / HTTP/1.1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", rng.IntN(20))
	switch {
	case !body && rng.IntN(2) == 0:
		return "\r\n"
	case !body:
		return "Content-Length: 0\r\n\r\n"
	case rng.IntN(2) == 0:
		return fmt.Sprintf("%s: %d\r\nX: y\r\n\r\n%s", []string{"Content-Length", "content-length", "CONTENT-LENGTH"}[rng.IntN(3)], len(data), data)
	}
	var b strings.Builder
	b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	for len(data) > 0 {
		n := min(1+rng.IntN(300), len(data))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, data[:n])
		data = data[n:]
	}
	b.WriteString("0\r\n\r\n")
	return b.String()
}

func randomPieces(rng *rand.Rand, s string) []string {
	size := []int{1, 10, 100, 1000, 1 << 20}[rng.IntN(5)]
	var out []string
	for len(s) > 0 {
		n := min(1+rng.IntN(size), len(s))
		out, s = append(out, s[:n]), s[n:]
	}
	return out
}

// FuzzHTTP feeds both directions with any bytes: the parser stays within its states, and what it counts never exceeds what could be there.
func FuzzHTTP(f *testing.F) {
	for _, e := range exchanges {
		f.Add(strings.Join(e.say, ""), uint16(5))
	}
	f.Add("GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", uint16(3))
	f.Add("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", uint16(9))
	k := loadParts(f)
	sk := uint64(1 << 50)
	f.Fuzz(func(t *testing.T, data string, cut uint16) {
		sk++
		c := k.converse(t, sk, RoleClient+Role(sk%2))
		at := int(cut) % (len(data) + 1)
		for i, part := range pieces(data[:at], 1+int(cut)%50) {
			c.say(uint32(i%2), part)
		}
		c.say(sent, data[at:])
		c.miss(received, int(cut))
		conn := c.conn()
		for _, s := range conn.Streams {
			if s.State > 19 || s.Out > 104 {
				t.Errorf("state %d with %d bytes of route", s.State, s.Out)
			}
		}
		for name, n := range c.counted() {
			if n > len(data) {
				t.Errorf("%s counted %d times in %d bytes", name, n, len(data))
			}
		}
		for _, m := range []string{"conns", "pending", "partials"} {
			c.forget(m)
		}
	})
}

// forget empties what a connection left in a map, as its end would.
func (c *conversation) forget(name string) {
	m := c.parts.coll.Maps[name]
	if name != "pending" {
		m.Delete(c.sk) //nolint:errcheck // it may not be there
		return
	}
	var key bpf.VetchPendingKeyT
	var slot bpf.VetchSlotT
	var keys []bpf.VetchPendingKeyT
	it := m.Iterate()
	for it.Next(&key, &slot) {
		if key.Sk == c.sk {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		m.Delete(key) //nolint:errcheck // it is gone
	}
}
