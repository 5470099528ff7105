package protocol

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRequestHost(t *testing.T) {
	for in, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n":                        "shop.example",
		"POST /a HTTP/1.1\r\nX: y\r\nhOST:shop.example:8080 \r\n":             "shop.example",
		"GET / HTTP/1.1\nHost: [2001:db8::1]:80\n\n":                          "2001:db8::1",
		"OPTIONS * HTTP/1.1\r\nHost: a.b\r\n":                                 "a.b",
		"GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n":     "",
		"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n": "",
		"GET / HTTP/1.1\r\nHost: shop.exam":                                   "",
		"GET / HTTP/1.1\r\n\r\nHost: shop.example\r\n":                        "",
		"GET / HTTP/1.0\r\nAccept: */*\r\n\r\n":                               "",
		"GET / HTTP/1.1\r\nCookie: " + strings.Repeat("x", 1000):              "",
		"":                            "",
		"GET":                         "",
		"GET / HTTP/1.1\r\n:\r\nHost": "",
	} {
		require.Equal(t, want, RequestHost([]byte(in)), in)
	}
}

func FuzzRequestHost(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: shop.example:80\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if host := RequestHost(b); strings.ContainsAny(host, "\n") || len(host) > len(b) {
			t.Fatalf("%q", host)
		}
	})
}
