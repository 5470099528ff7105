package probe

import (
	"math"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/vetch-dev/vetch/bpf"
)

// BenchmarkParse is the kernel's time to parse and count one message, by its own clock: the best of many short rounds, as other work disturbs
// only some of them. Some 50 ns of it are the measuring.
func BenchmarkParse(b *testing.B) {
	const curl = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"
	const browser = "GET /api/v1/users/1042/orders?page=2 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n" +
		"Accept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\r\n"
	const nginx = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 15:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nok\n"
	for _, c := range []struct{ name, request string }{{"curl", curl}, {"browser", browser}} {
		b.Run(c.name, func(b *testing.B) {
			k := loadParts(b)
			stats, err := ebpf.EnableStats(uint32(0))
			if err != nil {
				b.Fatal(err)
			}
			defer stats.Close()
			k.converse(b, 1, RoleServer)
			request, response := math.Inf(1), math.Inf(1)
			for b.Loop() {
				for range 20 {
					request = min(request, parseTime(b, k, received, c.request))
					response = min(response, parseTime(b, k, sent, nginx))
				}
			}
			b.ReportMetric(request, "ns/request")
			b.ReportMetric(response, "ns/response")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// parseTime gives one message to the parser and returns what the kernel measured, in ns.
func parseTime(b *testing.B, k *kernelParts, direction uint32, message string) float64 {
	b.Helper()
	program := k.coll.Programs["try_parse"]
	before, err := program.Stats()
	if err != nil {
		b.Fatal(err)
	}
	buf := append([]byte(message), make([]byte, 8)...)
	var pin runtime.Pinner
	pin.Pin(&buf[0])
	defer pin.Unpin()
	arg := bpf.VetchTryParseT{Sk: 1, Address: uint64(uintptr(unsafe.Pointer(&buf[0]))), Length: uint64(len(message)), Now: uint64(time.Second), Direction: direction}
	run(b, program, &arg)
	after, err := program.Stats()
	if err != nil {
		b.Fatal(err)
	}
	return float64(after.Runtime - before.Runtime)
}
