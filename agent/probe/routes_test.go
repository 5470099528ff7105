package probe

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/vetch-dev/vetch/agent/protocol"
)

// routeOfHTTP2 is what agent/protocol makes of a path.
func routeOfHTTP2(t *testing.T, path string) string {
	t.Helper()
	var said, list bytes.Buffer
	framer, encoder := http2.NewFramer(&said, nil), hpack.NewEncoder(&list)
	speak := func(pairs ...string) []byte {
		said.Reset()
		list.Reset()
		for i := 0; i < len(pairs); i += 2 {
			if err := encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}); err != nil {
				t.Fatal(err)
			}
		}
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: list.Bytes(), EndHeaders: true, EndStream: true}); err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(said.Bytes())
	}
	request, route := speak(":method", "GET", ":path", path), ""
	encoder = hpack.NewEncoder(&list)
	response := speak(":status", "200")
	conn := protocol.HTTP2().New()
	for d, b := range [][]byte{request, response} {
		if _, _, err := conn.Feed(protocol.Direction(d), b, 1, func(e protocol.Exchange) { route = e.Operation }); err != nil {
			t.Fatal(err)
		}
	}
	return route
}

// HTTP/2 is read in user space, and its routes are those that the kernel programs make for HTTP/1.
func TestRoutesOfHTTP2(t *testing.T) {
	k := loadParts(t)
	paths := []string{
		"/", "*", "/users/42", "/users/42/", "/users/42/orders/2024-01-31", "/api/v2/x86_64", "/o/550e8400-e29b-41d4-a716-446655440000/x", "/c/deadbeef01/", "/a--1-b-/-9-/x-1",
		"/a?token=1", "/a;b=1", "/a#1", "/a%20b", "http://example.com/users/7?x", "https://example.com", "/" + strings.Repeat("x", 103), "/" + strings.Repeat("x", 102), "/" + strings.Repeat("1", 300),
		"/" + strings.Repeat("x", 101) + "12", "/" + strings.Repeat("ab1/", 60), "/\xc3\xbc/\xff1", "/package.Service/Method",
	}
	rng := rand.New(rand.NewPCG(5, 6))
	const letters = "ab01239fgzAFZ--/__.~%:@!$&'()*+,=|\x80\xff"
	for range 400 {
		b := []byte{'/'}
		for range rng.IntN(120) {
			b = append(b, letters[rng.IntN(len(letters))])
		}
		paths = append(paths, string(b))
	}
	for i, path := range paths {
		c := k.converse(t, uint64(1<<35+i), RoleServer)
		c.say(received, "GET "+path+" HTTP/1.1\r\n\r\n")
		c.say(sent, ok)
		want := "GET " + routeOfHTTP2(t, path) + " 200"
		if got := c.counted(); got[want] != 1 {
			t.Errorf("%q: HTTP/1 counts %v, HTTP/2 %q", path, got, want)
		}
	}
}
