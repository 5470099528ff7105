package digest

import (
	"testing"

	"github.com/vetch-dev/vetch/agent/probe"
)

// TestIgnoredRequests: what a rule leaves out counts once, and nowhere else; its edge is there.
func TestIgnoredRequests(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.IgnoreRequests = []IgnoreRule{
			{Name: "probes", Match: func(workload, protocol, method, route string) bool { return protocol == "http" && route == "/healthz" }},
			{Name: "all of web", Match: func(workload, _, _, _ string) bool { return workload == "web" }},
		}
	})
	w.owner(1, "app")
	w.owner(2, "web")
	w.owner(3, "api")
	w.listener(2, "0.0.0.0:80")
	w.listener(3, "0.0.0.0:81")
	for _, p := range []probe.PairKey{
		w.client(1, 2, "127.0.0.1:80"), w.server(2, 1, "127.0.0.1:80", "127.0.0.1:0"),
		w.client(1, 3, "127.0.0.1:81"), w.server(3, 1, "127.0.0.1:81", "127.0.0.1:0"),
	} {
		w.tcp(p, 1, 10, 20, 1)
		w.http(p, "/healthz", 200, 5)
		w.http(p, "/users", 200, 3)
	}
	w.poll()
	w.leap(holdBack)
	r := w.read()
	for _, tc := range []struct {
		name, match string
		want        float64
	}{
		{"vetch_requests_ignored_total", `rule="probes"`, 10},
		{"vetch_requests_ignored_total", `rule="all of web"`, 3},
		{"vetch_workload_requests_total", `workload="web"`, 0},
		{"vetch_workload_requests_total", `workload="api"`, 3},
		{"vetch_workload_requests_total", `route="/healthz"`, 0},
		{"vetch_edge_requests_total", `server="web"`, 0},
		{"vetch_edge_requests_total", `server="api"`, 3},
		{"vetch_edge_connections_total", `protocol="http"`, 2},
		{"container_http_requests_total", `container_id="/process/app"`, 3},
		{"container_http_inbound_requests_total", `container_id="/process/web"`, 0},
	} {
		if got := r.sum(tc.name, tc.match); got != tc.want {
			t.Errorf("%s{%s} is %v, want %v", tc.name, tc.match, got, tc.want)
		}
	}
}
