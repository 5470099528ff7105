package binary

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGoTLS has Go programs speak HTTP/1 inside of TLS, on connections of every make, and finds all of it with routes and codes: by
// hundreds of goroutines, on new connections and kept ones, with stacks that move in the middle of a call.
func TestGoTLS(t *testing.T) {
	targets := "GET /gotls/ok,POST /gotls/missing,GET /gotls/broken?size=100000,GET /gotls/file"
	var all []expectation
	for _, c := range []struct {
		name, tls string
		args      []string
	}{
		{"counted", "counted", []string{"-requests", "4000", "-concurrency", "100"}},
		{"bare", "bare", []string{"-requests", "4000", "-concurrency", "100"}},
		{"hidden", "hidden", []string{"-requests", "2000", "-concurrency", "20"}},
		{"closing", "counted", []string{"-requests", "400", "-concurrency", "10", "-close"}},
		{"bodies", "bare", []string{"-requests", "400", "-concurrency", "10", "-body", "100000"}},
		{"pipelined", "counted", []string{"-mode", "raw", "-requests", "4000", "-concurrency", "20", "-pipeline", "10"}},
		{"split", "bare", []string{"-mode", "raw", "-requests", "1000", "-concurrency", "10", "-split", "7", "-chunked", "-body", "30"}},
	} {
		s, address := server(t, how{}, "tls-web-"+c.name, "127.0.0.1:0", "-tls", c.tls)
		asks := named(t, "tls-"+c.name)
		warm(t, asks)
		awaitProbed(t, built.watchers, s.name)
		awaitProbed(t, built.watchers, asks)
		report := start(t, how{}, asks, append([]string{"client", "-addr", address, "-tls", c.tls, "-targets", targets}, c.args...)...).report(t, time.Minute)
		e := expect("tls-"+c.name, s.name, address, report)
		e.noBytes = c.tls == "bare" || c.name == "closing" // the program's report does not wait for the last alerts (31 bytes each) that it sends as it closes
		all = append(all, e)
	}
	check(t, all...)
}

// warm holds a program open that does nothing, so that it is probed when it is asked to do something.
func warm(t *testing.T, path string) {
	t.Helper()
	start(t, how{}, path, "server", "-listen", "127.0.0.1:0").line(t, "listening", patience)
}

// TestGoTLSOlder starts vetch between the first and the second batch of requests of connections that are open. What clients write on what they have closed is no loss.
func TestGoTLSOlder(t *testing.T) {
	const connections, batch = 8, 4
	for _, hook := range hooks() {
		for _, kind := range []string{"counted", "behind"} {
			t.Run(hook+"/"+kind, func(t *testing.T) {
				name := "tls-older-" + kind + "-" + hook
				s, address := server(t, how{}, name+"-web", "127.0.0.1:0", "-tls", "bare")
				asks := start(t, how{}, named(t, name), "client", "-addr", address, "-tls", kind, "-mode", "raw", "-wait", "-requests", "8000",
					"-concurrency", strconv.Itoa(connections), "-pipeline", strconv.Itoa(batch), "-targets", "GET /older/ok")
				asks.line(t, "ready", patience)
				v := watch(t, settings{hook: hook})
				fmt.Fprintln(asks.stdin)
				e := expect(name, s.name, address, asks.report(t, time.Minute))
				e.requests["GET /older/ok 200"] -= connections * batch
				e.noConnections, e.noBytes = true, true
				checkOn(t, v, e)
				require.Zero(t, v.mustRead(t).sum("vetch_probe_events_lost_total", labels{"reason": "tls_unbound"}), "all that was said is on a connection that is known")
			})
		}
	}
}

// TestGoTLSOlderHidden is the same where the socket is not found in the program's memory, and no handshake is seen: it is the one that is read inside of Read, and what each connection
// said before that may be missing.
func TestGoTLSOlderHidden(t *testing.T) {
	const connections, batch, requests = 8, 4, 8000
	for _, hook := range hooks() {
		t.Run(hook, func(t *testing.T) {
			name := "tls-older-hidden-" + hook
			s, address := server(t, how{}, name+"-web", "127.0.0.1:0", "-tls", "hidden")
			asks := start(t, how{}, named(t, name), "client", "-addr", address, "-tls", "hidden", "-mode", "raw", "-wait", "-requests", strconv.Itoa(requests),
				"-concurrency", strconv.Itoa(connections), "-pipeline", strconv.Itoa(batch), "-targets", "GET /older/ok")
			asks.line(t, "ready", patience)
			v := watch(t, settings{hook: hook})
			fmt.Fprintln(asks.stdin)
			asks.report(t, time.Minute)
			most, least := float64(requests-connections*batch), float64(requests-3*connections*batch)
			require.NoError(t, poll(t.Context(), func() error {
				now, err := v.read()
				if err != nil {
					return err
				}
				served := now.sum("vetch_workload_requests_total", labels{"workload": s.name, "protocol": "http"})
				edge := now.sum("vetch_edge_requests_total", labels{"server": s.name, "protocol": "http"})
				if min(served, edge) < least || max(served, edge) > most {
					return fmt.Errorf("%v requests at the serving end and %v on the edge, want %v to %v", served, edge, least, most)
				}
				return nil
			}))
		})
	}
}
