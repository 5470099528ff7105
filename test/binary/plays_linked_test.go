package binary

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// android is where Debian has BoringSSL.
const android = "/usr/lib/x86_64-linux-gnu/android"

// boringTalk is testdata/ssl with BoringSSL as a shared library, as Android's tools have it.
func boringTalk(t testing.TB) string {
	return compiled(t, "testdata/ssl", []string{"gcc", "-O2", "-o", "{out}", "talk.c", "-I/usr/include/android", "-L" + android, "-Wl,-rpath," + android, "-lssl", "-lcrypto"})
}

// staticTalk is testdata/ssl with OpenSSL and all else linked into it. Its symbols are left.
func staticTalk(t testing.TB) string {
	return compiled(t, "testdata/ssl", []string{"gcc", "-O2", "-static", "-o", "{out}", "talk.c", "-lssl", "-lcrypto"})
}

func talkService(program func(testing.TB) string) func(testing.TB) service {
	return func(t testing.TB) service {
		s, path := installed(t, program(t))
		certify(t, s.dir)
		serve(t, s.dir, exec.Command(path, "serve", s.host(), s.port(), "cert.pem", "key.pem"))
		return s
	}
}

// playTalk asks with the same program, with sockets and with memory between it and the library, on connections that are kept and new ones.
func playTalk(t *testing.T, s service) map[string]int {
	for _, memory := range []string{"0", "1"} {
		ran(t, exec.Command(s.program(), "ask", s.host(), s.port(), "4", "90", memory))
		ran(t, exec.Command(s.program(), "ask", s.host(), s.port(), "20", "1", memory))
	}
	for range 5 {
		ran(t, exec.Command("curl", "-sSfk", "https://"+s.address+"/curl", "-o", "/dev/null"))
	}
	return map[string]int{"/ok 200": 2 * (4*30 + 20), "/no 404": 2 * 4 * 30, "/long 200": 2 * 4 * 30, "/curl 200": 5}
}

// node16 is Node.js 16, which has OpenSSL 1.1.1 linked into it. scripts/deps.sh gets it.
func node16(t testing.TB) string {
	path, err := filepath.Abs("../../.cache/node16/bin/node")
	require.NoError(t, err)
	return path
}

// TestTLSLinked is TestTLS for libraries that few programs of Debian have.
func TestTLSLinked(t *testing.T) {
	var all []exchanged
	whole := t
	for _, p := range []struct {
		by, file string // see startProbed
		start    func(testing.TB) service
		play     func(*testing.T, service) map[string]int
	}{
		{"BoringSSL", "/android/libssl.so", talkService(boringTalk), playTalk},
		{"OpenSSL 3, static", "", talkService(staticTalk), playTalk},
		{"OpenSSL 1.1.1, in Node.js 16", "", func(t testing.TB) service { return nodeOf(t, node16(t)) }, playNode},
	} {
		t.Run(p.by, func(t *testing.T) {
			s := startProbed(whole, p.file, p.start)
			all = append(all, exchanged{protocol: "http", by: p.by, server: s.workload, port: s.port(), want: p.play(t, s)})
		})
	}
	if t.Failed() {
		return
	}
	checkExchanged(t, built.watchers, all...)
}

// TestTLSStripped has a server without symbols, of which nothing is seen: the edge has what the client's end sees, and the diagnosis says why.
func TestTLSStripped(t *testing.T) {
	hidden, path := installed(t, staticTalk(t))
	ran(t, exec.Command("strip", path))
	certify(t, hidden.dir)
	serve(t, hidden.dir, exec.Command(path, "serve", hidden.host(), hidden.port(), "cert.pem", "key.pem"))
	hidden.await(t)
	seen := startProbed(t, "", talkService(staticTalk))
	ran(t, exec.Command(seen.program(), "ask", hidden.host(), hidden.port(), "8", "60", "0"))
	requireOnEdge(t, hidden, map[string]float64{"200": 8 * 40, "404": 8 * 20})
	says := doctorTLS(t, path)
	require.False(t, says.Probed)
	require.Contains(t, says.Why, "it has openssl in it, but no symbols of it")
}

// requireOnEdge waits until the edges to a server have these requests by code, and no others.
func requireOnEdge(t *testing.T, s service, codes map[string]float64) {
	t.Helper()
	for _, v := range built.watchers {
		require.NoError(t, poll(t.Context(), func() error {
			now, err := v.read()
			if err != nil {
				return err
			}
			got := now.by("vetch_edge_requests_total", labels{"server": s.workload, "port": s.port(), "protocol": "http"}, "code")
			if !maps.Equal(got, codes) {
				return fmt.Errorf("%s hook: %v on the edge, want %v", v.hook, got, codes)
			}
			return nil
		}))
	}
}
