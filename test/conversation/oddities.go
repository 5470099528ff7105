package conversation

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// early are responses that come before the request is there.
func early() []Script {
	body := strings.Repeat("upload ", 20000)
	head := fmt.Sprintf("POST /early HTTP/1.1\r\nContent-Length: %d\r\n\r\n", len(body))
	return []Script{
		{Name: "refused while uploading", Steps: []Step{client(head, body[:5000]), server(reply(413, "too large")), client(body[5000:]).split(8192), client().end(Close)},
			Want: []Want{one("POST", "/early", 413)}},
		{Name: "refused and closed while uploading", Steps: []Step{client(head, body[:5000]), server(reply(413, "too large")).end(Close)},
			Want: []Want{one("POST", "/early", 413)}},
		{Name: "answered while uploading, then kept alive", Steps: []Step{client(head, body[:70000]), server(ok("fine")), client(body[70000:]), client(get("/early")), server(reply(404, ""))},
			Want: []Want{one("POST", "/early", 200), one("GET", "/early", 404)}},
	}
}

// cutting are connections that end in the middle.
func cutting() []Script {
	part := client(get("/cut"))
	begun := "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly these"
	return []Script{
		{Name: "cut in the request's header", Steps: []Step{client("POST /cut HTTP/1.1\r\nHost:").end(Close)}, Want: []Want{cut("POST", "/cut", 0)}},
		{Name: "cut in the request's body", Steps: []Step{client("POST /cut HTTP/1.1\r\nContent-Length: 1000\r\n\r\nonly").end(Close)}, Want: []Want{cut("POST", "/cut", 0)}},
		{Name: "cut before the response", Steps: []Step{part, server().end(Close)}, Want: []Want{cut("GET", "/cut", 0)}},
		{Name: "cut by the client before the response", Steps: []Step{part, client().end(Close)}, Want: []Want{cut("GET", "/cut", 0)}},
		{Name: "cut before the second response", Steps: []Step{client(get("/cut"), get("/cut"), get("/cut")), server(ok("one")).end(Close)},
			Want: []Want{one("GET", "/cut", 200), {"GET", "/cut", 0, true, 2}}},
		{Name: "cut in the response's header", Steps: []Step{part, server("HTTP/1.1 200 OK\r\nConte").end(Close)}, Want: []Want{cut("GET", "/cut", 200)}},
		{Name: "cut in the response's body", Steps: []Step{part, server(begun).end(Close)}, Want: []Want{cut("GET", "/cut", 200)}},
		{Name: "cut by the client in the response's body", Steps: []Step{part, server(begun), client().end(Close)}, Want: []Want{cut("GET", "/cut", 200)}},
		{Name: "cut in a chunk", Steps: []Step{part, server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel").end(Close)}, Want: []Want{cut("GET", "/cut", 200)}},
		{Name: "cut before the last chunk", Steps: []Step{part, server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").end(Close)}, Want: []Want{cut("GET", "/cut", 200)}},
		{Name: "reset by the client in the response", Steps: []Step{part, server(begun), client().end(Reset)}, Want: []Want{cut("GET", "/cut", 200)}},
		{Name: "reset by the server before the response", Steps: []Step{part, server().end(Reset)}, Want: []Want{cut("GET", "/cut", 0)}},
	}
}

// disguised are bodies that hold text which looks like HTTP.
func disguised() []Script {
	request, response := get("/fake"), reply(500, "fake")
	return []Script{
		{Name: "bodies that look like messages", Steps: []Step{client(post("/disguised", request+request)), server(ok(response + response)), client(post("/disguised", response)), server(ok(request))},
			Want: []Want{{"POST", "/disguised", 200, false, 2}}},
		{Name: "bodies that look like messages, each in a write of its own", Steps: []Step{client(fmt.Sprintf("POST /disguised HTTP/1.1\r\nContent-Length: %d\r\n\r\n", 2*len(request))),
			client(request), client(request), server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 2*len(response))), server(response), server(response)},
			Want: []Want{one("POST", "/disguised", 200)}},
		{Name: "headers that look like messages", Steps: []Step{client("GET /disguised HTTP/1.1\r\nX-Content-Length: 500\r\nNot-Transfer-Encoding: chunked\r\nCookie: Content-Length: 77\r\n\r\n"),
			server("HTTP/1.1 200 OK\r\nX-Content-Length: 500\r\nContent-Length-Not: 12\r\ncontent-length:   3  \r\n\r\nabc"), client(get("/disguised")), server("HTTP/1.1 200\r\nCONTENT-LENGTH:0\r\n\r\n")},
			Want: []Want{{"GET", "/disguised", 200, false, 2}}},
	}
}

// large are messages of which no hook sees the whole.
func large() []Script {
	body := strings.Repeat("0123456789abcdef", 1<<16)
	line := "GET /large HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("l", 1<<20) + "\r\n\r\n"
	var many strings.Builder
	many.WriteString("GET /large HTTP/1.1\r\n")
	for i := range 300 {
		fmt.Fprintf(&many, "X-Header-%d: value of header %d\r\n", i, i)
	}
	many.WriteString("Content-Length: 5\r\n\r\nabcde")
	return []Script{
		{Name: "header line of 1 MiB", Steps: []Step{client(line), server(reply(431, "too large")), client(get("/large")), server(ok(""))}, Want: []Want{one("GET", "/large", 431), one("GET", "/large", 200)}},
		{Name: "header line of 1 MiB split by 1000", Steps: []Step{client(line).split(1000), server(reply(431, "too large")), client(get("/large")), server(ok(""))}, Want: []Want{one("GET", "/large", 431), one("GET", "/large", 200)}},
		{Name: "300 header lines", Steps: []Step{client(many.String(), get("/large")), server(ok("yes"), reply(404, ""))}, Want: []Want{one("GET", "/large", 200), one("GET", "/large", 404)}},
		{Name: "response of 300 header lines", Steps: []Step{client(get("/large"), get("/large")), server("HTTP/1.1 200 OK\r\n", strings.Repeat("X-Header: some value\r\n", 300), "Content-Length: 5\r\n\r\nabcde", reply(404, ""))},
			Want: []Want{one("GET", "/large", 200), one("GET", "/large", 404)}},
		{Name: "target of 7000 bytes", Steps: []Step{client(get("/" + strings.Repeat("long/", 1400))), server(reply(414, ""))}, Want: []Want{one("GET", "", 414)}},
		{Name: "bodies of 1 MiB and the next message in one write", Steps: []Step{client(post("/large", body), get("/large")), server(ok(body), reply(404, "small"))},
			Want: []Want{one("POST", "/large", 200), one("GET", "/large", 404)}},
		{Name: "bodies of 1 MiB split by 4099", Steps: []Step{client(post("/large", body), get("/large")).split(4099), server(ok(body), reply(404, "small")).split(4099)},
			Want: []Want{one("POST", "/large", 200), one("GET", "/large", 404)}},
		{Name: "bodies of 20 kB pipelined in one write", Steps: []Step{client(strings.Repeat(post("/large", body[:20000]), 4)), server(strings.Repeat(ok(body[:20000]), 4))},
			Want: []Want{{"POST", "/large", 200, false, 4}}},
	}
}

// unusual is HTTP as few write it.
func unusual() []Script {
	all := []Script{
		{Name: "numbers in the path", Steps: []Step{client(get("/users/12345?page=/2")), server(ok("")), client(get("/users/3f2b8c1e-9d4a-4f6b-8e2a-1c5d7e9f0a3b")), server(ok(""))},
			Want: []Want{{"GET", "/users/{id}", 200, false, 2}}},
		{Name: "absolute form", Steps: []Step{client(get("http://vetch.test/absolute")), server(ok(""))}, Want: []Want{one("GET", "", 200)}},
		{Name: "options of the server", Steps: []Step{client("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), server(ok(""))}, Want: []Want{one("OPTIONS", "", 200)}},
		{Name: "bare line feeds", Steps: []Step{client("GET /line-feeds HTTP/1.1\nHost: a\n\n"), server("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), client(get("/line-feeds")), server(ok(""))},
			Want: []Want{{"GET", "/line-feeds", 200, false, 2}}},
		{Name: "empty line before the request", Steps: []Step{client(post("/empty-line", "body"), "\r\n", get("/empty-line")), server(ok(""), ok(""))},
			Want: []Want{one("POST", "/empty-line", 200), one("GET", "/empty-line", 200)}},
		{Name: "codings", Steps: []Step{client("POST /codings HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\n", chunk("zipped"), "0\r\n\r\n", get("/codings")), server(ok(""), reply(404, ""))},
			Want: []Want{one("POST", "/codings", 200), one("GET", "/codings", 404)}},
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
		all = append(all, Script{Name: "method " + method, Steps: []Step{client(method + " /methods HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"), server(ok("done"))}, Want: []Want{one(method, "/methods", 200)}})
	}
	return all
}

// foreign are other protocols: nothing is to be counted but bytes.
func foreign() []Script {
	random := rand.New(rand.NewPCG(4, 2))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	return []Script{
		{Name: "binary noise", Steps: []Step{client(string(noise[:50_000])).split(777), server(string(noise[50_000:])).split(1234)}},
		{Name: "greeting by the server", Steps: []Step{server("220 mail.test ESMTP\r\n"), client("EHLO vetch.test\r\n"), server("250 fine\r\n"), client("QUIT\r\n"), server("221 bye\r\n")}, Once: true},
		{Name: "words that begin like methods", Steps: []Step{client("GETTING\r\n"), server("OK\r\n"), client("POSTER /a b\r\n"), server("OK\r\n"), client("get key\r\n"), server("END\r\n")}, Once: true},
		{Name: "http 2 preface", Steps: []Step{client("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"), server("\x00\x00\x00\x04\x00\x00\x00\x00\x00")}, Once: true},
	}
}

// malformed is input that only may not break anything.
func malformed() []Script {
	lines := []string{
		"GET\r\n\r\n", "GET  HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nabc", "GET /\x00\xff\xfe HTTP/1.1\r\n\x00: \x00\r\n\r\n",
		"GET /%zz%00../../../etc HTTP/1.1\r\n\r\n", strings.Repeat("\r\n", 5000), "GET /" + strings.Repeat("\x80", 300) + " HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh\r\n0\r\n\r\n",
	}
	answers := []string{"HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 99 Low\r\n\r\n", "HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "no answer at all", "HTTP/1.1 65936 Wraps\r\nContent-Length: 0\r\n\r\n"}
	var all []Script
	for i, l := range lines {
		all = append(all, Script{Name: fmt.Sprintf("malformed request %d", i), Steps: []Step{client(l), server(reply(400, "bad"))}, Once: true, Loose: true})
	}
	for i, a := range answers {
		all = append(all, Script{Name: fmt.Sprintf("malformed response %d", i), Steps: []Step{client(get("/malformed")), server(a)}, Once: true, Loose: true})
	}
	return append(all, Script{Name: "response without a request", Steps: []Step{server(ok("unasked")), client(get("/malformed")), server(ok("asked"))}, Once: true, Loose: true})
}
