package binary

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// resolverConfig is that of an unbound which knows a few names and nobody else. What ends with silent.example.com gets no answer at all.
const resolverConfig = `server:
	interface: 127.0.0.1@PORT
	interface: ::1@PORT
	interface: 127.0.0.1@SECURE
	tls-port: SECURE
	tls-service-pem: "DIR/cert.pem"
	tls-service-key: "DIR/key.pem"
	EXTRA
	access-control: 0.0.0.0/0 allow
	access-control: ::0/0 allow
	do-daemonize: no
	username: ""
	chroot: ""
	directory: "DIR"
	pidfile: "DIR/pid"
	logfile: "DIR/unbound.log"
	use-syslog: no
	num-threads: 1
	do-ip6: yes
	minimal-responses: yes
	tcp-idle-timeout: 600000
	local-zone: "." static
	local-zone: "silent.example.com." deny
	local-zone: "refused.example.com." refuse
	local-data: "www.example.com. 60 IN A 192.0.2.10"
	local-data: "www.example.com. 60 IN AAAA 2001:db8::10"
	local-data: "api.example.com. 60 IN A 10.213.9.9"
	local-data: 'text.example.com. 60 IN TXT "SECRET"'
LONG
remote-control:
	control-enable: no
`

// resolverService is an unbound on both loopback addresses, and on those that extra lines say.
func resolverService(t testing.TB) service { return resolverAt(t, how{}, "127.0.0.1", "") }

func resolverService6(t testing.TB) service { return resolverAt(t, how{}, "::1", "") }

func resolverAt(t testing.TB, h how, host, extra string) service {
	s, path := installed(t, "/usr/sbin/unbound")
	_, port, err := net.SplitHostPort(s.address)
	require.NoError(t, err)
	s.address = net.JoinHostPort(host, port)
	s = s.alsoInTLS(t, freeAddress(t))
	var long strings.Builder
	for i := range 30 { // an answer of some 3,000 bytes
		fmt.Fprintf(&long, "\tlocal-data: 'long.example.com. 60 IN TXT \"%d%s\"'\n", i, strings.Repeat("x", 90))
	}
	config := strings.NewReplacer("PORT", port, "SECURE", s.secure.port(), "DIR", s.dir, "EXTRA", extra, "SECRET", secret, "LONG", long.String()).Replace(resolverConfig)
	file := filepath.Join(s.dir, "unbound.conf")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o644))
	require.NoError(t, h.ns.do(func() error { serve(t, s.dir, exec.Command(path, "-d", "-c", file)); return nil }))
	return s
}

// dig asks everything in one run, one question after the other, each once.
func dig(t *testing.T, s service, options string, questions ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "questions")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(questions, "\n")+"\n"), 0o644))
	args := append([]string{"-p", s.port(), "@" + s.host(), "-f", file, "+tries=1", "+nocookie"}, strings.Fields(options)...)
	out, err := exec.Command("dig", args...).CombinedOutput()
	if exit := (&exec.ExitError{}); err != nil && (!asExit(err, &exit) || exit.ExitCode() != 9) { // 9: no answer
		require.NoError(t, err, "%s", out)
	}
}

func asExit(err error, exit **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*exit = e
	return ok
}

func repeat(n int, questions ...string) []string {
	var all []string
	for range n {
		all = append(all, questions...)
	}
	return all
}

func playDig(t *testing.T, s service) map[string]int {
	const n = 100
	dig(t, s, "+notcp", repeat(n, "www.example.com A", "www.example.com AAAA", "no.example.com A", "text.example.com TXT")...)
	dig(t, s, "+notcp +time=1", "silent.example.com A", "x.silent.example.com A", "refused.example.com A", "-x 192.0.2.10", "-x 2001:db8::10", "s3x9q2k7.example.com A")
	return map[string]int{
		"A www.example.com ok": n, "AAAA www.example.com ok": n, "A no.example.com nxdomain": n, "TXT text.example.com ok": n,
		"A silent.example.com timeout": 1, "A x.silent.example.com timeout": 1, "A refused.example.com refused": 1,
		"PTR in-addr.arpa nxdomain": 1, "PTR ip6.arpa nxdomain": 1, "A *.example.com nxdomain": 1,
	}
}

func playDigTCP(t *testing.T, s service) map[string]int {
	const n = 50
	by := "+tcp"
	if s.encrypted {
		by = "+tls"
	}
	dig(t, s, by, repeat(n, "www.example.com A", "www.example.com AAAA", "no.example.com A", "text.example.com TXT")...)
	dig(t, s, by+" +keepopen", repeat(n, "www.example.com A", "long.example.com TXT")...)
	want := map[string]int{"A www.example.com ok": 2 * n, "AAAA www.example.com ok": n, "A no.example.com nxdomain": n, "TXT text.example.com ok": n, "TXT long.example.com ok": n}
	if !s.encrypted {
		dig(t, s, "+bufsize=512", repeat(n, "long.example.com TXT")...) // does not fit, and is asked for again by TCP
		want["TXT long.example.com truncated"] = n
		want["TXT long.example.com ok"] += n
	}
	return want
}

func playGoResolver(t *testing.T, s service) map[string]int {
	resolver := net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, s.address)
	}}
	const n = 200
	for range n {
		addrs, err := resolver.LookupIPAddr(t.Context(), "www.example.com.")
		require.NoError(t, err)
		require.Len(t, addrs, 2)
		_, err = resolver.LookupTXT(t.Context(), "no.example.com.")
		require.Error(t, err)
	}
	return map[string]int{"A www.example.com ok": n, "AAAA www.example.com ok": n, "TXT no.example.com nxdomain": n}
}

// held is a connection that a resolver does not close.
type held struct{ net.Conn }

func (held) Close() error { return nil }

func openGoResolver(t *testing.T, s service) dialogue {
	conn, err := s.dial(t.Context(), "tcp", s.address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	resolver := net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(context.Context, string, string) (net.Conn, error) { return held{conn}, nil }}
	return func(n int) map[string]int {
		for range n {
			_, err := resolver.LookupTXT(t.Context(), "text.example.com.")
			require.NoError(t, err)
			_, err = resolver.LookupTXT(t.Context(), "no.example.com.")
			require.Error(t, err)
		}
		return map[string]int{"TXT text.example.com ok": n, "TXT no.example.com nxdomain": n}
	}
}

// TestDNSOfGlibc has getaddrinfo ask on port 53 of a network namespace: it sends both questions in one call (sendmmsg).
func TestDNSOfGlibc(t *testing.T) {
	ns := newNamespace(t)
	s := resolverAt(t, how{ns: ns}, "127.0.0.1", "interface: 127.0.0.1@53")
	s.address = "127.0.0.1:53"
	require.NoError(t, poll(t.Context(), func() error { return ns.do(func() error { return listening(s.address) }) }))
	config := filepath.Join(s.dir, "resolv.conf")
	require.NoError(t, os.WriteFile(config, []byte("nameserver 127.0.0.1\nsearch one.example.com two.example.com\noptions ndots:2 timeout:1 attempts:2\n"), 0o644))
	const n = 100
	script := fmt.Sprintf(`
import socket
for i in range(%d):
    assert len(socket.getaddrinfo("www.example.com.", 80, type=socket.SOCK_STREAM)) == 2
    try: socket.getaddrinfo("silly", 80); assert False
    except socket.gaierror: pass
try: socket.getaddrinfo("silent.example.com.", 80, family=socket.AF_INET); assert False
except socket.gaierror: pass
`, n)
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, config, python(t), "-c", script)
	require.NoError(t, ns.do(func() error {
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}))
	want := map[string]int{"A www.example.com ok": n, "AAAA www.example.com ok": n, "A silent.example.com timeout": 2}
	for _, name := range []string{"silly.one.example.com", "silly.two.example.com", "silly"} { // the search path
		want["A "+name+" nxdomain"], want["AAAA "+name+" nxdomain"] = n, n
	}
	checkExchanged(t, built.watchers, exchanged{protocol: "dns", by: "getaddrinfo", server: s.workload, port: "53", want: want})
	for _, v := range built.watchers {
		got := v.mustRead(t)
		client := labels{"container_id": "/process/" + filepath.Base(python(t)), "domain": "www.example.com"}
		require.Equal(t, map[string]float64{"A ok": n, "AAAA ok": n}, got.by("container_dns_requests_total", client, "request_type", "status"), "%s hook", v.hook)
		require.Equal(t, 2.0*n, got.sum("container_dns_requests_duration_seconds_total", client), "%s hook", v.hook)
		require.Len(t, got.find("ip_to_fqdn", labels{"ip": "192.0.2.10", "fqdn": "www.example.com"}), 1, "%s hook", v.hook)
	}
}

// TestOutsideIsNamedByDNS connects to an address that nobody of this machine owns, by its name.
func TestOutsideIsNamedByDNS(t *testing.T) {
	near, far := joined(t)
	const outside = "10.213.9.9"
	require.NoError(t, far.do(func() error { return up("far", outside+"/32") }))
	near.route(t, outside+"/32", farV4)
	s := resolverAt(t, how{ns: near}, "127.0.0.1", "interface: 127.0.0.1@53")
	require.NoError(t, poll(t.Context(), func() error { return near.do(func() error { return listening("127.0.0.1:53") }) }))
	config := filepath.Join(s.dir, "resolv.conf")
	require.NoError(t, os.WriteFile(config, []byte("nameserver 127.0.0.1\n"), 0o644))
	const n = 5
	script := fmt.Sprintf(`
import socket
for i in range(%d):
    try: socket.create_connection(("api.example.com.", 7443), 5); assert False
    except ConnectionRefusedError: pass
`, n)
	interpreter, err := os.ReadFile(python(t))
	require.NoError(t, err)
	client := filepath.Join(s.dir, mine("asker"))
	require.NoError(t, os.WriteFile(client, interpreter, 0o755))
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, config, client, "-c", script)
	require.NoError(t, near.do(func() error {
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}))
	for _, v := range built.watchers {
		err := poll(t.Context(), func() error {
			got := v.mustRead(t).by("vetch_edge_failed_connections_total", labels{"client": mine("asker")}, "server_kind", "server", "port", "error")
			if len(got) != 1 || got["External api.example.com 7443 refused"] != n {
				return fmt.Errorf("failed connects: %v", got)
			}
			return nil
		})
		require.NoError(t, err, "%s hook", v.hook)
		require.Equal(t, []string{" Process " + mine("asker") + "  External api.example.com 7443 tcp", " Process " + mine("asker") + "  Process " + s.workload + " 53 dns"}, edgesOf(v.mustRead(t), mine("asker")))
	}
}
