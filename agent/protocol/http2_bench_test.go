package protocol

import "testing"

// BenchmarkHTTP2 is one request and its answer, of 16 that are open at once.
func BenchmarkHTTP2(b *testing.B) {
	benchmarkHTTP2(b, func(c, s *speaker, id uint32) {
		c.headers(id, true, ":method", "GET", ":scheme", "http", ":authority", "shop", ":path", "/users/1042/cart?x=1", "user-agent", "bench", "accept", "*/*")
		s.headers(id, false, ":status", "200", "content-type", "application/json", "date", "Sat, 21 Nov 2026 15:00:00 GMT", "content-length", "100").data(id, true, string(make([]byte, 100)))
	})
}

// BenchmarkGRPC is one unary call.
func BenchmarkGRPC(b *testing.B) {
	benchmarkHTTP2(b, func(c, s *speaker, id uint32) {
		c.call(id, "/shop.Cart/Add").data(id, true, message("question"))
		s.accept(id).data(id, false, message("answer")).trailers(id, "0")
	})
}

func benchmarkHTTP2(b *testing.B, say func(c, s *speaker, id uint32)) {
	const together, rounds = 16, 64
	var requests, answers [rounds][]byte
	c, s := newSpeaker(), newSpeaker()
	for i := range rounds {
		for k := range together {
			say(c, s, uint32(2*(i*together+k)+1))
		}
		requests[i], answers[i] = []byte(c.said()), []byte(s.said())
	}
	var conn *http2Conn
	counted := 0
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n%together == 0 {
			i := n / together % rounds
			if i == 0 { // the numbers of streams begin anew
				conn = newHTTP2Conn()
			}
			conn.Feed(FromClient, requests[i], 1, func(Exchange) {})
			conn.Feed(FromServer, answers[i], 2, func(Exchange) { counted++ })
		}
		n++
	}
	if counted < n {
		b.Fatalf("%d of %d counted", counted, n)
	}
}
