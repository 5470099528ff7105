package binary

import (
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestIgnoredRequests has probes and scrapes beside other requests: they count by rule and nowhere else.
func TestIgnoredRequests(t *testing.T) {
	pattern := "workload=" + mine("left-out") + " method=GET"
	var watchers []*vetch
	for _, hook := range hooks() {
		watchers = append(watchers, watch(t, settings{hook: hook, env: []string{"VETCH_AGENT_IGNORE_REQUESTS=health-checks,scrapes," + pattern}}))
	}
	const each = 300
	serving, address := server(t, how{}, "is-probed", "127.0.0.1:0")
	client(t, how{}, "probes", address, "-requests", "1200", "-concurrency", "4", "-targets", "GET /healthz,GET /metrics,GET /orders/ok,GET /healthz/ok")
	leftOut, address := server(t, how{}, "left-out", "127.0.0.1:0")
	client(t, how{}, "probes", address, "-requests", "600", "-concurrency", "2", "-targets", "GET /orders/ok,POST /orders/ok")
	for _, v := range watchers {
		err := poll(t.Context(), func() error {
			s := v.mustRead(t)
			for _, want := range []struct {
				name  string
				match labels
				by    string
				of    map[string]float64
			}{
				{"vetch_requests_ignored_total", labels{"rule": pattern}, "rule", map[string]float64{pattern: each}},
				{"vetch_workload_requests_total", labels{"workload": serving.name}, "route", map[string]float64{"/orders/ok": each}},
				{"vetch_workload_requests_total", labels{"workload": leftOut.name}, "method", map[string]float64{"POST": each}},
				{"vetch_edge_requests_total", labels{"client": mine("probes")}, "server", map[string]float64{serving.name: each, leftOut.name: each}},
			} {
				if got := s.by(want.name, want.match, want.by); !maps.Equal(got, want.of) {
					return fmt.Errorf("%s by %s: %v, want %v", want.name, want.by, got, want.of)
				}
			}
			for rule, least := range map[string]float64{"health-checks": 2 * each, "scrapes": each} { // the tests themselves scrape, too
				if got := s.sum("vetch_requests_ignored_total", labels{"rule": rule}); got < least {
					return fmt.Errorf("%v requests ignored as %s, want %v", got, rule, least)
				}
			}
			return v.ready()
		})
		require.NoError(t, err, "%s hook", v.hook)
	}
}
