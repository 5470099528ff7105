package protocol

import (
	"bytes"
	"net"
)

// RequestHost reads from the beginning of a request in HTTP/1 what the server that it was sent to is called: the Host header (RFC 9112,
// section 3.2), without the port. It is "" where that is not in b whole, or where the request is for a proxy: then it names another server.
func RequestHost(b []byte) string {
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	_, target, spaced := bytes.Cut(line, []byte(" "))
	if !ok || !spaced || len(target) == 0 || target[0] != '/' && target[0] != '*' {
		return ""
	}
	for len(rest) > 0 {
		if line, rest, ok = bytes.Cut(rest, []byte("\n")); !ok {
			return ""
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			return ""
		}
		if !bytes.EqualFold(name, []byte("host")) {
			continue
		}
		host := string(bytes.Trim(value, " \t"))
		if name, _, err := net.SplitHostPort(host); err == nil {
			return name
		}
		return host
	}
	return ""
}
