package digest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
)

func TestRoutesAreBounded(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.RoutesPerWorkload = 3 })
	w.owner(2, "nginx")
	w.listener(2, "0.0.0.0:80")
	s := w.server(2, 0, "192.168.1.10:80", "8.8.8.8:0")
	for i := range 10 {
		w.http(s, fmt.Sprintf("/%d", i), 200, 2)
	}
	w.http(s, "~other", 200, 1) // the kernel's own limit
	w.http(s, "~unknown", 200, 1)
	w.poll()
	r := w.read()
	r.want(t, "vetch_workload_requests_total", `
		vetch_workload_requests_total{code="200", kind="Process", method="GET", protocol="http", route="/0", workload="nginx"} 2
		vetch_workload_requests_total{code="200", kind="Process", method="GET", protocol="http", route="/1", workload="nginx"} 2
		vetch_workload_requests_total{code="200", kind="Process", method="GET", protocol="http", route="/2", workload="nginx"} 2
		vetch_workload_requests_total{code="200", kind="Process", method="GET", protocol="http", route="~other", workload="nginx"} 15
		vetch_workload_requests_total{code="200", kind="Process", method="GET", protocol="http", route="~unknown", workload="nginx"} 1`)
	if got := r.sum("vetch_workload_routes_overflow_total"); got != 15 {
		t.Errorf("overflow %v, want 15", got)
	}
}

func TestExternalAddressesAreBounded(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxExternal = 10; o.MaxDestinations = 10 })
	w.owner(1, "crawler")
	w.owner(2, "nginx")
	w.listener(2, "0.0.0.0:80")
	for i := range 100 {
		w.tcp(w.server(2, 0, "192.168.1.10:80", fmt.Sprintf("8.8.%d.1:0", i)), 1, 2, 3, 0)
		w.tcp(w.client(1, 0, fmt.Sprintf("9.9.%d.1:443", i)), 1, 2, 3, 0)
	}
	w.pass(8 * time.Second)
	r := w.read()
	if got := r.sum("vetch_edge_connections_total", onNginx); got != 100 {
		t.Errorf("connections to nginx: %v", got)
	}
	if got := r.sum("vetch_edge_connections_total", `client="crawler"`); got != 100 {
		t.Errorf("connections of the crawler: %v", got)
	}
	if got := w.digest.Status().Edges; got > 12 {
		t.Errorf("%d edges", got)
	}
	if got := r.sum("container_net_tcp_successful_connects_total"); got != 100 {
		t.Errorf("container's connects: %v", got)
	}
	if got := r.sum("container_net_tcp_successful_connects_total", `destination="~other"`); got != 90 {
		t.Errorf("container's connects to others: %v", got)
	}
	if d := w.digest.Status().Dropped; d[dropExternals] == 0 || d[dropDestinations] == 0 {
		t.Errorf("not counted: %v", d)
	}
}

func TestSeriesAreBounded(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxSeries = 100 })
	w.owner(1, "curl")
	w.owner(2, "nginx")
	w.listener(2, "0.0.0.0:80")
	for i := range 200 {
		w.http(w.server(2, 0, "192.168.1.10:80", fmt.Sprintf("8.8.%d.1:0", i)), fmt.Sprintf("/%d", i), 200, 1)
		w.failed(w.client(1, 0, fmt.Sprintf("9.9.%d.1:443", i)), probe.ConnectReset, 1)
	}
	w.pass(8 * time.Second)
	status := w.digest.Status()
	if status.Series > 100 || status.Dropped[dropSeries] == 0 {
		t.Errorf("%+v", status)
	}
	r := w.read()
	if got := r.values["vetch_digest_max_series{}"]; got != 100 {
		t.Errorf("limit %v", got)
	}
	if got := r.sum("vetch_digest_dropped_total", `reason="series"`); got != float64(status.Dropped[dropSeries]) {
		t.Errorf("drops %v, want %v", got, status.Dropped[dropSeries])
	}
}

func TestHostileLabels(t *testing.T) {
	w := newWorld(t)
	w.owner(2, "ngi\xffnx\n")
	w.listener(2, "0.0.0.0:80")
	s := w.server(2, 0, "192.168.1.10:80", "8.8.8.8:0")
	long := "/" + strings.Repeat("ä", 1000)
	w.http(s, long+"1", 200, 1)
	w.http(s, long+"2", 200, 1) // the same when it is cut
	w.http(s, "/\x00\xfe", 200, 1)
	w.poll()
	r := w.read() // read fails on series that are there twice
	if got := r.sum("vetch_workload_requests_total"); got != 3 {
		t.Errorf("%v requests, want 3", got)
	}
}

func TestProbeFigures(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.ProbeStats = func() probe.Stats {
			return probe.Stats{
				Hooks: map[string]bool{"a": true, "b": false}, Lost: map[string]uint64{"pairs_full": 3},
				Maps: []probe.MapStat{{Name: "pairs", Entries: 2, MaxEntries: 10, MemoryBytes: 4096}, {Name: "scratch", Entries: -1, MaxEntries: 1, MemoryBytes: 8}},
			}
		}
	})
	w.read().want(t, "vetch_probe", `
		vetch_probe_hook_attached{hook="a"} 1
		vetch_probe_hook_attached{hook="b"} 0
		vetch_probe_events_lost_total{reason="pairs_full"} 3
		vetch_probe_map_entries{map="pairs"} 2
		vetch_probe_map_max_entries{map="pairs"} 10
		vetch_probe_map_max_entries{map="scratch"} 1
		vetch_probe_map_memory_bytes{map="pairs"} 4096
		vetch_probe_map_memory_bytes{map="scratch"} 8`)
	w.read().want(t, "node_", `
		node_info{hostname="box", kernel_version="6.18", machine_id="m1"} 1
		node_agent_info{machine_id="m1", version="test"} 1`)
}
