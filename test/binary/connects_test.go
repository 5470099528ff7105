package binary

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFailedConnects holds that connects that fail are counted once, with their error, for the right pair.
func TestFailedConnects(t *testing.T) {
	near, far := joined(t)
	require.NoError(t, near.do(func() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_syn_retries", []byte("1"), 0o644) }))
	require.NoError(t, far.do(func() error { return os.WriteFile("/proc/sys/net/ipv4/icmp_ratelimit", []byte("0"), 0o644) }))
	type failure struct {
		name, rule, timeout, err string
		listens                  bool
	}
	for i, f := range []failure{
		{"refused-by-closed-port", "", "5s", "refused", false},
		{"refused-by-rule", "reject with tcp reset", "5s", "refused", true},
		{"unreachable-by-rule", "reject with icmp host-unreachable", "5s", "unreachable", true},
		{"given-up", "drop", "1500ms", "timed_out", true},
		{"timed-out", "drop", "30s", "timed_out", true},
	} {
		t.Run(f.name, func(t *testing.T) {
			port := 18000 + i // free: the namespace is ours
			address := farV4 + ":" + strconv.Itoa(port)
			serving := mine(f.name + "-web")
			if f.listens {
				server(t, how{ns: far}, f.name+"-web", address)
			}
			if f.rule != "" {
				table := "t" + strconv.Itoa(i)
				far.rules(t, fmt.Sprintf("table ip %s { chain in { type filter hook input priority 0; tcp dport %d tcp flags syn %s; }; }", table, port, f.rule))
			}
			report := client(t, how{ns: near}, f.name, address, "-mode", "connect", "-requests", "20", "-concurrency", "20", "-timeout", f.timeout)
			failed := 0
			for _, q := range report.Requests {
				failed += q.Count
			}
			require.Equal(t, 20, failed, "connects that were to fail: %+v", report)
			want := map[string]float64{serving + " Process " + f.err: 20}
			for _, v := range built.watchers {
				var got map[string]float64
				assert.NoError(t, poll(t.Context(), func() error {
					s, err := v.read()
					if err != nil {
						return err
					}
					got = s.by("vetch_edge_failed_connections_total", labels{"client": mine(f.name), "client_kind": "Process", "port": strconv.Itoa(port)}, "server", "server_kind", "error")
					if f.listens && fmt.Sprint(got) != fmt.Sprint(want) {
						return fmt.Errorf("%s hook: want %v, got %v", v.hook, want, got)
					}
					if total := s.sum("vetch_edge_failed_connections_total", labels{"client": mine(f.name), "error": f.err}); total != 20 || len(got) != 1 {
						return fmt.Errorf("%s hook: want 20 %s on one edge, got %v", v.hook, f.err, got)
					}
					if n := s.sum("vetch_edge_connections_total", labels{"client": mine(f.name)}); n != 0 {
						return fmt.Errorf("%s hook: %v connections that never were", v.hook, n)
					}
					return nil
				}))
			}
		})
	}
}

// TestRefusedOnLoopback has nobody behind the port: the machine itself is the server.
func TestRefusedOnLoopback(t *testing.T) {
	port, err := freePort()
	require.NoError(t, err)
	node, err := os.Hostname()
	require.NoError(t, err)
	client(t, how{}, "knocks", fmt.Sprintf("127.0.0.1:%d", port), "-mode", "connect", "-requests", "50")
	for _, v := range built.watchers {
		assert.NoError(t, poll(t.Context(), func() error {
			s, err := v.read()
			if err != nil {
				return err
			}
			got := s.by("vetch_edge_failed_connections_total", labels{"client": mine("knocks"), "port": strconv.Itoa(port)}, "server_kind", "error", "server")
			if len(got) != 1 || got["Node refused "+node] != 50 {
				return fmt.Errorf("%s hook: want 50 refused by "+node+", got %v", v.hook, got)
			}
			return nil
		}))
	}
}

// TestShortLived holds that a single curl is named, although it is gone before anybody can look it up.
func TestShortLived(t *testing.T) {
	_, address := server(t, how{}, "asked-once", "127.0.0.1:0")
	out, err := exec.Command("curl", "-sS", "-o", "/dev/null", "-w", "%{size_request} %{size_header} %{size_download}", "http://"+address+"/once/ok").CombinedOutput()
	require.NoError(t, err, "%s", out)
	var sent, header, body int64
	_, err = fmt.Sscan(string(out), &sent, &header, &body)
	require.NoError(t, err)
	check(t, expectation{client: "curl", server: mine("asked-once"), port: portOf(t, address), requests: map[string]int{"GET /once/ok 200": 1},
		connections: 1, sent: sent, received: header + body, manyEdges: true})
}
