package binary

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOlderConnections starts vetch between the first and the second request of connections, and counts from the second on.
func TestOlderConnections(t *testing.T) {
	const connections, batch = 8, 4
	for _, hook := range hooks() {
		for _, c := range []struct{ name, host string }{{"older-v4", "127.0.0.1"}, {"older-v6", "[::1]"}} {
			t.Run(hook+"/"+c.name, func(t *testing.T) {
				name := c.name + "-" + hook
				s, address := server(t, how{}, name+"-web", c.host+":0")
				asks := start(t, how{}, named(t, name), "client", "-addr", address, "-mode", "raw", "-wait", "-requests", "20000",
					"-concurrency", strconv.Itoa(connections), "-pipeline", strconv.Itoa(batch), "-targets", "GET /older/ok")
				asks.line(t, "ready", patience)
				v := watch(t, settings{hook: hook})
				fmt.Fprintln(asks.stdin)
				report := asks.report(t, time.Minute)
				e := expect(name, s.name, address, report)
				before := connections * batch
				e.sent -= e.sent / 20000 * int64(before)
				e.received -= e.received / 20000 * int64(before)
				e.requests["GET /older/ok 200"] -= before
				e.noConnections = true
				checkOn(t, v, e)
			})
		}
	}
}

// TestIgnoredCgroups holds that traffic of a cgroup that is to be ignored leaves no series, and that its neighbours' stays exact.
func TestIgnoredCgroups(t *testing.T) {
	cgroup := newCgroup(t, "vetch-test-ignored")
	for _, hook := range hooks() {
		t.Run(hook, func(t *testing.T) {
			v := watch(t, settings{hook: hook, env: []string{"VETCH_AGENT_IGNORE_CGROUPS=/vetch-test-ignored*"}})
			_, hidden := server(t, how{cgroup: cgroup}, "hidden-web-"+hook, "127.0.0.1:0")
			seen, open := server(t, how{}, "seen-web-"+hook, "127.0.0.1:0")
			client(t, how{cgroup: cgroup}, "hidden-"+hook, hidden, "-requests", "1000", "-targets", "GET /hidden/ok")
			client(t, how{cgroup: cgroup}, "hidden-"+hook, open, "-requests", "1000", "-targets", "GET /hidden/ok")
			report := client(t, how{}, "seen-"+hook, open, "-requests", "1000", "-targets", "GET /seen/ok")
			e := expect("seen-"+hook, seen.name, open, report)
			e.shared = "/seen/"
			checkOn(t, v, e)
			s := v.mustRead(t)
			require.Empty(t, edgesOf(s, mine("hidden-"+hook)), "edges of the ignored client")
			require.Empty(t, s.find("vetch_workload_requests_total", labels{"workload": mine("hidden-web-" + hook)}), "requests of the ignored server")
			require.Equal(t, 1000.0, s.sum("vetch_workload_requests_total", labels{"workload": seen.name, "route": "/hidden/ok"}), "the server that is not ignored counts all that it serves")
		})
	}
}
