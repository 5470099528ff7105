package digest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vetch-dev/vetch/agent/names"
)

// TestOutsideGoesByTheNameThatWasAskedFor names an address before its first edge, and one after.
func TestOutsideGoesByTheNameThatWasAskedFor(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "curl")
	w.poll()
	w.names.Add(w.now, names.Sighting{Client: 1, Addr: netip.MustParseAddr("93.184.216.34"), Name: "www.example.com."})
	w.names.Add(w.now, names.Sighting{Client: 1, Addr: netip.MustParseAddr("10.9.8.7"), Name: "db.corp.example.com"})
	w.tcp(w.client(1, 0, "93.184.216.34:443"), 1, 10, 20, 0)
	w.tcp(w.client(1, 0, "93.184.216.35:443"), 1, 1, 2, 0)
	w.tcp(w.client(1, 0, "10.9.8.7:5432"), 1, 1, 2, 0)
	w.poll()
	w.names.Add(w.now, names.Sighting{Client: 1, Addr: netip.MustParseAddr("93.184.216.35"), Port: 443, Name: "api.example.com", Source: names.SNI})
	w.pass(8 * time.Second)
	r := w.read()
	r.want(t, "vetch_edge_connections_total", `
		vetch_edge_connections_total{client="curl", client_kind="Process", port="443", protocol="tcp", server="api.example.com", server_kind="External"} 1
		vetch_edge_connections_total{client="curl", client_kind="Process", port="443", protocol="tcp", server="www.example.com", server_kind="External"} 1
		vetch_edge_connections_total{client="curl", client_kind="Process", port="5432", protocol="tcp", server="db.corp.example.com", server_kind="External"} 1`)
	r.want(t, "container_net_tcp_successful_connects_total", `
		container_net_tcp_successful_connects_total{actual_destination="10.9.8.7:5432", app_id="/process/curl", container_id="/process/curl", destination="10.9.8.7:5432", machine_id="m1"} 1
		container_net_tcp_successful_connects_total{app_id="/process/curl", container_id="/process/curl", destination="api.example.com:443", machine_id="m1"} 1
		container_net_tcp_successful_connects_total{app_id="/process/curl", container_id="/process/curl", destination="www.example.com:443", machine_id="m1"} 1`)
	r.want(t, "ip_to_fqdn", `
		ip_to_fqdn{fqdn="db.corp.example.com", ip="10.9.8.7", machine_id="m1"} 1
		ip_to_fqdn{fqdn="www.example.com", ip="93.184.216.34", machine_id="m1"} 1`)
	// the name stays while the pair is in use, also when its time is over
	for range 40 {
		w.pass(30 * time.Second)
		w.tcp(w.client(1, 0, "93.184.216.34:443"), 1, 1, 1, 0)
		w.poll()
	}
	if got := w.read().sum("vetch_edge_connections_total", `server="93.184.216.34"`); got != 0 {
		t.Errorf("%v connections to the bare address", got)
	}
}
