package protocol

import (
	"strings"
	"testing"
)

// BenchmarkRedisPipeline is one GET of a pipeline of 16 and its answer.
func BenchmarkRedisPipeline(b *testing.B) {
	requests, answers := []byte(strings.Repeat(resp("GET", "key:000000000001"), 16)), []byte(strings.Repeat("$3\r\nxxx\r\n", 16))
	c := Redis().New()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if n%16 == 0 {
			c.Feed(FromClient, requests, 1, func(Exchange) {})
			c.Feed(FromServer, answers, 2, func(Exchange) {})
		}
		n++
	}
}
