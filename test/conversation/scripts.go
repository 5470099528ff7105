package conversation

import (
	"bytes"
	"fmt"
	"strings"
)

// Scripts returns all scripts. Each speaks below a path of its own, so that their counts can be told apart.
func Scripts() []Script {
	var all []Script
	for _, part := range [][]Script{splitting(), calls(), framing(), continuing(), leaving(), early(), cutting(), disguised(), large(), unusual(), foreign(), malformed()} {
		all = append(all, part...)
	}
	return all
}

// client and server make steps that are written at once.
func client(parts ...string) Step { return Step{From: Client, Bytes: []byte(strings.Join(parts, ""))} }
func server(parts ...string) Step { return Step{From: Server, Bytes: []byte(strings.Join(parts, ""))} }

func (s Step) split(n int) Step   { s.Split = n; return s }
func (s Step) end(e Ending) Step  { s.End = e; return s }
func one(m, r string, c int) Want { return Want{Method: m, Route: r, Code: c, Count: 1} }
func cut(m, r string, c int) Want { return Want{Method: m, Route: r, Code: c, Count: 1, Cut: true} }

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: vetch.test\r\n\r\n" }

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: vetch.test\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

func ok(body string) string { return reply(200, body) }

func reply(code int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d Words\r\nServer: script\r\nContent-Length: %d\r\n\r\n%s", code, len(body), body)
}

func chunk(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }

// splitting are requests and responses in pieces that no boundary of HTTP matches.
func splitting() []Script {
	var all []Script
	for i, n := range []int{1, 2, 3, 7, 16, 61} {
		name := "/split-" + string(rune('m'+i))
		all = append(all, Script{
			Name:  fmt.Sprintf("split by %d", n),
			Steps: []Step{client(post(name, "a small body")).split(n), server(reply(201, "hello\r\n\r\nhello")).split(n)},
			Want:  []Want{one("POST", name, 201)},
		}, Script{
			Name:  fmt.Sprintf("read by %d", n),
			Steps: []Step{client(post(name, "a small body")), server(reply(201, "hello\r\n\r\nhello"))},
			Piece: n,
			Want:  []Want{one("POST", name, 201)},
		})
	}
	var requests, responses bytes.Buffer
	codes := []int{200, 301, 404, 500}
	for i := range 16 {
		requests.WriteString(get("/pipelined"))
		responses.WriteString(reply(codes[i%4], strings.Repeat("x", i)))
	}
	want := []Want{{"GET", "/pipelined", 200, false, 4}, {"GET", "/pipelined", 301, false, 4}, {"GET", "/pipelined", 404, false, 4}, {"GET", "/pipelined", 500, false, 4}}
	for _, n := range []int{0, 13, 97, 1000} {
		all = append(all, Script{
			Name:  fmt.Sprintf("pipelined by 16 split by %d", n),
			Steps: []Step{client(requests.String()).split(n), server(responses.String()).split(n)},
			Want:  want,
		})
	}
	return append(all, Script{
		Name:  "pipelined by 16 read by 5",
		Steps: []Step{client(requests.String()), server(responses.String())}, Piece: 5, Want: want,
	})
}

// calls are the same exchange through every system call.
func calls() []Script {
	var all []Script
	exchange := []Step{client(post("/called", strings.Repeat("body", 50)), get("/called")), server(ok(strings.Repeat("answer", 40)), reply(404, ""))}
	want := []Want{one("POST", "/called", 200), one("GET", "/called", 404)}
	for _, call := range SendCalls() {
		all = append(all, Script{Name: "written by " + call, Send: call, Steps: exchange, Want: want})
	}
	for _, call := range ReadCalls() {
		all = append(all, Script{Name: "read by " + call, Read: call, Steps: exchange, Want: want})
		all = append(all, Script{Name: "read by " + call + " in pieces", Read: call, Piece: 11, Steps: exchange, Want: want})
	}
	return all
}

// framing is where a body ends: chunks, no body at all, the end of the connection.
func framing() []Script {
	chunked := "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
		chunk("first") + "6;name=value\r\nsecond\r\n" + chunk(strings.Repeat("z", 300)) + "0\r\nTrailer: yes\r\n\r\n"
	answer := "HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n" + chunk("0\r\n\r\n") + chunk("HTTP/1.1 500 no\r\n\r\n") + "000\r\n\r\n"
	want := []Want{one("POST", "/chunked", 200), one("GET", "/chunked", 200)}
	var all []Script
	for _, n := range []int{0, 1, 5, 50} {
		all = append(all, Script{
			Name:  fmt.Sprintf("chunked split by %d", n),
			Steps: []Step{client(chunked, get("/chunked")).split(n), server(answer, ok("x")).split(n)},
			Want:  want,
		})
	}
	head := "HEAD /bodiless HTTP/1.1\r\nHost: a\r\n\r\n"
	return append(all,
		Script{Name: "head", Steps: []Step{client(head), server("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), client(get("/bodiless")), server(ok("body"))},
			Want: []Want{one("HEAD", "/bodiless", 200), one("GET", "/bodiless", 200)}},
		Script{Name: "head pipelined", Steps: []Step{client(head, get("/bodiless"), head, post("/bodiless", "b")),
			server("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", ok("body"), "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n", reply(201, ""))},
			Want: []Want{one("HEAD", "/bodiless", 200), one("GET", "/bodiless", 200), one("HEAD", "/bodiless", 404), one("POST", "/bodiless", 201)}},
		Script{Name: "no content and not modified", Steps: []Step{client(get("/bodiless")), server("HTTP/1.1 204 No Content\r\n\r\n"), client(get("/bodiless"), get("/bodiless")),
			server("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", ok("after"))},
			Want: []Want{one("GET", "/bodiless", 204), one("GET", "/bodiless", 304), one("GET", "/bodiless", 200)}},
		Script{Name: "until close", Steps: []Step{client(get("/until-close")), server("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "some bytes").split(9), server("HTTP/1.1 404 no\r\n\r\n").end(Close)},
			Want: []Want{one("GET", "/until-close", 200)}},
		Script{Name: "http 1.0", Steps: []Step{client("GET /ten HTTP/1.0\r\n\r\n"), server("HTTP/1.0 200 OK\r\n\r\nall that comes").end(Close)},
			Want: []Want{one("GET", "/ten", 200)}},
		Script{Name: "http 1.0 kept alive", Steps: []Step{client("GET /ten HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), server("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab")},
			Want: []Want{one("GET", "/ten", 200)}},
		Script{Name: "half closed", Steps: []Step{client(get("/half-closed")).end(HalfClose), server(ok("late")).end(Close)},
			Want: []Want{one("GET", "/half-closed", 200)}},
		Script{Name: "get with a body", Steps: []Step{client("GET /get-body HTTP/1.1\r\nContent-Length: 24\r\n\r\nGET /fake HTTP/1.1\r\n\r\n..", get("/get-body")), server(ok(""), reply(404, "x"))},
			Want: []Want{one("GET", "/get-body", 200), one("GET", "/get-body", 404)}},
	)
}

// continuing are interim responses.
func continuing() []Script {
	head := "POST /continued HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
	want := []Want{one("POST", "/continued", 201)}
	return []Script{
		{Name: "100-continue", Steps: []Step{client(head), server("HTTP/1.1 100 Continue\r\n\r\n"), client("some body"), server(reply(201, "made"))}, Want: want},
		{Name: "100-continue in one write with the response", Steps: []Step{client(head, "some body"), server("HTTP/1.1 100 Continue\r\n\r\n", reply(201, "made"))}, Want: want},
		{Name: "100-continue split by 1", Steps: []Step{client(head).split(1), server("HTTP/1.1 100 Continue\r\n\r\n").split(1), client("some body").split(1), server(reply(201, "made")).split(1)}, Want: want},
		{Name: "early hints", Steps: []Step{client(get("/continued")), server("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"), server("HTTP/1.1 102 Processing\r\n\r\n"), server(ok("page"))},
			Want: []Want{one("GET", "/continued", 200)}},
		{Name: "expectation refused", Steps: []Step{client(head), server(reply(417, "no")).end(Close)}, Want: []Want{one("POST", "/continued", 417)}},
	}
}

// leaving are connections that go over to another protocol.
func leaving() []Script {
	// to what vetch does not know: requests inside of what it knows, and of a tunnel, are counted
	upgrade := "GET /upgraded HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: own/1\r\n\r\n"
	switched := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: own/1\r\n\r\n"
	return []Script{
		{Name: "upgrade", Once: true, Steps: []Step{client(upgrade), server(switched), client("\x81\x05hello"), server("\x81\x05hello"), client(get("/not-a-request")), server(reply(500, "not a response"))},
			Want: []Want{one("GET", "/upgraded", 101)}},
		{Name: "upgrade with bytes behind", Once: true, Steps: []Step{client(upgrade), server(switched, "\x81\x05hello"), client("\x81\x05hello"), client(get("/not-a-request")).split(3), server(reply(500, "not a response")).split(3)},
			Want: []Want{one("GET", "/upgraded", 101)}},
		{Name: "upgrade declined", Steps: []Step{client(upgrade), server(ok("plain")), client(get("/upgraded")), server(ok("again"))},
			Want: []Want{{"GET", "/upgraded", 200, false, 2}}},
		{Name: "connect", Once: true, Steps: []Step{client("CONNECT inside.test:443 HTTP/1.1\r\nHost: inside.test:443\r\n\r\n"), server("HTTP/1.1 200 Connection established\r\n\r\n"),
			client(get("/tunnelled")), server(reply(500, "tunnelled")), client("\x16\x03\x01binary"), server("\x16\x03\x01binary")},
			Want: []Want{one("CONNECT", "", 200), one("GET", "/tunnelled", 500)}},
		{Name: "connect refused", Steps: []Step{client("CONNECT inside.test:443 HTTP/1.1\r\nHost: inside.test:443\r\n\r\n"), server(reply(403, "no")), client(get("/after-connect")), server(ok("yes"))},
			Want: []Want{one("CONNECT", "", 403), one("GET", "/after-connect", 200)}},
	}
}
