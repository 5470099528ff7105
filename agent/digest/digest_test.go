package digest

import (
	"testing"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
)

// These are labels of the edge curl -> nginx on port 80, as they are printed before and after the labels in between.
const (
	curlToNginx = `client="curl", client_kind="Process", `
	onNginx     = `server="nginx", server_kind="Process"`
)

// TestLoopbackInOnePoll is both ends of one connection on one machine: one edge, counted once.
func TestLoopbackInOnePoll(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "curl")
	w.owner(2, "nginx")
	w.listener(2, "0.0.0.0:80")
	c, s := w.client(1, 2, "127.0.0.1:80"), w.server(2, 1, "127.0.0.1:80", "127.0.0.1:0")
	w.tcp(s, 3, 900, 300, 1)
	w.tcp(c, 3, 300, 900, 1)
	w.http(s, "/a", 200, 5)
	w.http(s, "/b", 404, 2).Cut = true
	w.http(c, "/a", 200, 5)
	w.http(c, "/b", 404, 2)
	w.poll()
	r := w.read()
	r.want(t, "vetch_edge", `
		vetch_edge_requests_total{client="curl", client_kind="Process", code="200", port="80", protocol="http", server="nginx", server_kind="Process"} 5
		vetch_edge_requests_total{client="curl", client_kind="Process", code="404", port="80", protocol="http", server="nginx", server_kind="Process"} 2
		vetch_edge_failed_requests_total{client="curl", client_kind="Process", port="80", protocol="http", server="nginx", server_kind="Process"} 0
		vetch_edge_bytes_total{client="curl", client_kind="Process", direction="sent", port="80", protocol="http", server="nginx", server_kind="Process"} 300
		vetch_edge_bytes_total{client="curl", client_kind="Process", direction="received", port="80", protocol="http", server="nginx", server_kind="Process"} 900
		vetch_edge_connections_total{client="curl", client_kind="Process", port="80", protocol="http", server="nginx", server_kind="Process"} 3
		vetch_edge_active_connections{client="curl", client_kind="Process", port="80", protocol="http", server="nginx", server_kind="Process"} 1
		vetch_edge_retransmits_total{client="curl", client_kind="Process", port="80", protocol="http", server="nginx", server_kind="Process"} 0`)
	r.want(t, "vetch_workload", `
		vetch_workload_requests_total{code="200", kind="Process", method="GET", protocol="http", route="/a", workload="nginx"} 5
		vetch_workload_requests_total{code="404", kind="Process", method="GET", protocol="http", route="/b", workload="nginx"} 2
		vetch_workload_failed_requests_total{kind="Process", method="GET", protocol="http", route="/a", workload="nginx"} 0
		vetch_workload_failed_requests_total{kind="Process", method="GET", protocol="http", route="/b", workload="nginx"} 0
		vetch_workload_requests_cut_total{kind="Process", protocol="http", workload="nginx"} 2
		vetch_workload_routes_overflow_total{kind="Process", workload="nginx"} 0`)
	r.want(t, "container_", `
		container_net_tcp_listen_info{app_id="/process/nginx", container_id="/process/nginx", listen_addr="127.0.0.1:80", machine_id="m1"} 1
		container_net_tcp_listen_info{app_id="/process/nginx", container_id="/process/nginx", listen_addr="192.168.1.10:80", machine_id="m1"} 1
		container_net_tcp_successful_connects_total{actual_destination="127.0.0.1:80", app_id="/process/curl", container_id="/process/curl", destination="127.0.0.1:80", machine_id="m1"} 3
		container_net_tcp_connection_time_seconds_total{actual_destination="127.0.0.1:80", app_id="/process/curl", container_id="/process/curl", destination="127.0.0.1:80", machine_id="m1"} 0
		container_net_tcp_active_connections{actual_destination="127.0.0.1:80", app_id="/process/curl", container_id="/process/curl", destination="127.0.0.1:80", machine_id="m1"} 1
		container_net_tcp_retransmits_total{actual_destination="127.0.0.1:80", app_id="/process/curl", container_id="/process/curl", destination="127.0.0.1:80", machine_id="m1"} 0
		container_net_tcp_bytes_sent_total{actual_destination="127.0.0.1:80", app_id="/process/curl", container_id="/process/curl", destination="127.0.0.1:80", machine_id="m1"} 300
		container_net_tcp_bytes_received_total{actual_destination="127.0.0.1:80", app_id="/process/curl", container_id="/process/curl", destination="127.0.0.1:80", machine_id="m1"} 900
		container_http_requests_total{actual_destination="127.0.0.1:80", app_id="/process/curl", container_id="/process/curl", destination="127.0.0.1:80", machine_id="m1", status="2xx"} 5
		container_http_requests_total{actual_destination="127.0.0.1:80", app_id="/process/curl", container_id="/process/curl", destination="127.0.0.1:80", machine_id="m1", status="4xx"} 2
		container_http_inbound_requests_total{app_id="/process/nginx", container_id="/process/nginx", machine_id="m1", status="2xx"} 5
		container_http_inbound_requests_total{app_id="/process/nginx", container_id="/process/nginx", machine_id="m1", status="4xx"} 2`)
	h := r.histograms[`vetch_edge_request_duration_seconds{client="curl", client_kind="Process", port="80", protocol="http", server="nginx", server_kind="Process"}`]
	if h == nil || h.Count != 7 || h.Sum != 0.07 {
		t.Fatalf("edge duration %v", h)
	}
	if got := r.sum("caretta_links_observed", `role="1"`); got != 300 {
		t.Errorf("caretta, client's end: %v", got)
	}
	if got := r.sum("caretta_links_observed", `role="2"`); got != 900 {
		t.Errorf("caretta, server's end: %v", got)
	}
}

// TestViewStays: the side that first brought requests of a client goes on, so nothing is counted twice and nothing goes back.
func TestViewStays(t *testing.T) {
	for _, tc := range []struct {
		name  string
		first probe.Role
	}{{"server first", probe.RoleServer}, {"client first", probe.RoleClient}} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.owner(1, "curl")
			w.owner(2, "nginx")
			w.listener(2, "0.0.0.0:80")
			c, s := w.client(1, 2, "127.0.0.1:80"), w.server(2, 1, "127.0.0.1:80", "127.0.0.1:0")
			first, second := s, c
			if tc.first == probe.RoleClient {
				first, second = c, s
			}
			last := 0.0
			check := func(want float64) {
				t.Helper()
				got := w.read().sum("vetch_edge_requests_total")
				if got != want || got < last {
					t.Errorf("%v requests after %v, want %v", got, last, want)
				}
				last = got
			}
			w.http(first, "/", 200, 10)
			w.poll()
			check(10)
			w.http(second, "/", 200, 10)
			w.poll()
			check(10)
			w.http(second, "/", 200, 7) // one poll apart again
			w.poll()
			check(10)
			w.http(first, "/", 200, 7)
			w.poll()
			check(17)
		})
	}
}

// TestShortLivedClients: many owners of one workload are one edge, and each client's requests are counted by one side.
func TestShortLivedClients(t *testing.T) {
	w := newWorld(t)
	w.owner(2, "nginx")
	w.listener(2, "0.0.0.0:80")
	for i := range probe.OwnerID(50) {
		id := 100 + i
		w.owner(id, "curl")
		c, s := w.client(id, 2, "127.0.0.1:80"), w.server(2, id, "127.0.0.1:80", "127.0.0.1:0")
		w.tcp(c, 1, 10, 20, 0)
		w.tcp(s, 1, 20, 10, 0)
		if i%3 != 0 {
			w.http(c, "/", 200, 1)
		}
		w.http(s, "/", 200, 1) // for every third client only the server saw the request
		w.gone(c)
		w.gone(s)
		if i%7 == 0 {
			w.poll()
		}
		w.next.Gone = append(w.next.Gone, id)
	}
	w.poll()
	r := w.read()
	for name, want := range map[string]float64{
		"vetch_edge_requests_total": 50, "vetch_edge_connections_total": 50, "vetch_workload_requests_total": 50, "vetch_edge_active_connections": 0,
	} {
		if got := r.sum(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := w.digest.Status().Edges; got != 1 {
		t.Errorf("%d edges, want 1", got)
	}
	if len(w.digest.pairs) != 0 {
		t.Errorf("%d pairs are kept", len(w.digest.pairs))
	}
}

// TestNAT: a pair with its actual destination is an edge to who serves there, under the port there.
func TestNAT(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "curl")
	w.owner(2, "nginx")
	w.listener(2, "192.168.1.10:8080")
	c := w.client(1, 2, "10.96.0.1:80")
	c.Actual = w.server(2, 1, "192.168.1.10:8080", "192.168.1.10:0").Local
	w.tcp(c, 1, 5, 6, 1)
	w.tcp(w.server(2, 1, "192.168.1.10:8080", "192.168.1.10:0"), 1, 6, 5, 1)
	w.http(c, "/", 200, 1)
	w.poll()
	r := w.read()
	if got := r.sum("vetch_edge_connections_total", onNginx, `port="8080"`); got != 1 {
		t.Errorf("connections to the actual port: %v", got)
	}
	if got := r.sum("container_net_tcp_successful_connects_total", `destination="10.96.0.1:80"`, `actual_destination="192.168.1.10:8080"`); got != 1 {
		t.Errorf("container's connects: %v", got)
	}
	if got := w.digest.Status().Edges; got != 1 {
		t.Errorf("%d edges, want 1", got)
	}
}

// TestEnds covers who is at the other end when the kernel does not know.
func TestEnds(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "curl")
	w.owner(2, "nginx")
	w.listener(2, "0.0.0.0:80")
	w.tcp(w.client(1, 0, "93.184.216.34:443"), 1, 1, 1, 0)                     // the internet
	w.tcp(w.server(2, 0, "192.168.1.10:80", "93.184.216.35:0"), 1, 7, 3, 0)    // a client there
	w.failed(w.client(1, 0, "127.0.0.1:81"), probe.ConnectRefused, 2)          // nobody ever listened
	w.failed(w.client(1, 0, "192.168.1.10:80"), probe.ConnectTimedOut, 1)      // somebody does
	w.failed(w.client(1, 0, "93.184.216.34:443"), probe.ConnectUnreachable, 4) // the internet again
	w.poll()
	if got := w.read().sum("vetch_edge_connections_total"); got != 0 {
		t.Errorf("shown before the protocol is known: %v", got)
	}
	w.pass(8 * time.Second)
	r := w.read()
	r.want(t, "vetch_edge_failed", `
		vetch_edge_failed_connections_total{client="curl", client_kind="Process", error="unreachable", port="443", protocol="tcp", server="93.184.216.34", server_kind="External"} 4
		vetch_edge_failed_connections_total{client="curl", client_kind="Process", error="refused", port="81", protocol="tcp", server="box", server_kind="Node"} 2
		vetch_edge_failed_connections_total{client="curl", client_kind="Process", error="timed_out", port="80", protocol="tcp", server="nginx", server_kind="Process"} 1`)
	r.want(t, "vetch_edge_bytes", `
		vetch_edge_bytes_total{client="curl", client_kind="Process", direction="received", port="443", protocol="tcp", server="93.184.216.34", server_kind="External"} 1
		vetch_edge_bytes_total{client="curl", client_kind="Process", direction="sent", port="443", protocol="tcp", server="93.184.216.34", server_kind="External"} 1
		vetch_edge_bytes_total{client="curl", client_kind="Process", direction="received", port="81", protocol="tcp", server="box", server_kind="Node"} 0
		vetch_edge_bytes_total{client="curl", client_kind="Process", direction="sent", port="81", protocol="tcp", server="box", server_kind="Node"} 0
		vetch_edge_bytes_total{client="curl", client_kind="Process", direction="received", port="80", protocol="tcp", server="nginx", server_kind="Process"} 0
		vetch_edge_bytes_total{client="curl", client_kind="Process", direction="sent", port="80", protocol="tcp", server="nginx", server_kind="Process"} 0
		vetch_edge_bytes_total{client="93.184.216.35", client_kind="External", direction="received", port="80", protocol="tcp", server="nginx", server_kind="Process"} 7
		vetch_edge_bytes_total{client="93.184.216.35", client_kind="External", direction="sent", port="80", protocol="tcp", server="nginx", server_kind="Process"} 3`)
	r.want(t, "container_net_tcp_failed", `
		container_net_tcp_failed_connects_total{app_id="/process/curl", container_id="/process/curl", destination="127.0.0.1:81", machine_id="m1"} 2
		container_net_tcp_failed_connects_total{app_id="/process/curl", container_id="/process/curl", destination="192.168.1.10:80", machine_id="m1"} 1
		container_net_tcp_failed_connects_total{app_id="/process/curl", container_id="/process/curl", destination="93.184.216.34:443", machine_id="m1"} 4`)
}

// TestOwnerComesLate: the record of an owner may come after what it did.
func TestOwnerComesLate(t *testing.T) {
	w := newWorld(t)
	w.owner(2, "nginx")
	w.listener(2, "0.0.0.0:80")
	c, s := w.client(1, 2, "127.0.0.1:80"), w.server(2, 1, "127.0.0.1:80", "127.0.0.1:0")
	w.tcp(c, 1, 1, 1, 0)
	w.http(c, "/", 200, 3)
	w.http(s, "/", 200, 3)
	w.poll()
	r := w.read()
	if got := r.sum("vetch_workload_requests_total"); got != 3 {
		t.Errorf("the serving end waits: %v", got)
	}
	if got := r.sum("vetch_edge_requests_total"); got != 0 {
		t.Errorf("the edge does not wait: %v", got)
	}
	w.owner(1, "curl")
	w.poll()
	if got := w.read().sum("vetch_edge_requests_total", curlToNginx, onNginx); got != 3 {
		t.Errorf("after it came: %v", got)
	}
	// one whose record never comes
	c = w.client(9, 2, "127.0.0.1:80")
	w.http(c, "/", 200, 2)
	w.pass(10 * time.Second)
	if got := w.read().sum("vetch_edge_requests_total", `client="~unknown"`); got != 2 {
		t.Errorf("of an unknown owner: %v", got)
	}
	if w.digest.Status().Dropped[dropUnknown] == 0 {
		t.Error("unknown owners are not counted")
	}
}

// TestUnwatchedLocalClient: what the node itself asks of a service, by a process that is not watched, comes from the node.
func TestUnwatchedLocalClient(t *testing.T) {
	w := newWorld(t)
	w.owner(2, "nginx")
	w.listener(2, "0.0.0.0:80")
	w.http(w.server(2, 0, "127.0.0.1:80", "127.0.0.1:0"), "/", 200, 4)
	w.pass(6 * time.Second)
	if got := w.read().sum("vetch_edge_requests_total", `client="box"`, `client_kind="Node"`, onNginx); got != 4 {
		t.Errorf("%v requests from the node, want 4", got)
	}
}
