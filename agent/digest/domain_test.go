package digest

import (
	"fmt"
	"testing"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
)

// datagrams makes a pair one of UDP messages.
func datagrams(key probe.PairKey) probe.PairKey {
	key.Datagrams = true
	return key
}

const curlToUnbound = `client="curl", client_kind="Process", `

// TestDNSOfBothEnds counts a resolver's questions at both ends, and on one edge, which the asking end gives.
func TestDNSOfBothEnds(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "curl")
	w.owner(2, "unbound")
	resolver := probe.Listener{Owner: 2, NetNS: w.netns, Addr: w.server(2, 0, "0.0.0.0:53", "127.0.0.1:0").Local}
	joined, alone := datagrams(w.client(1, 2, "127.0.0.1:53")), datagrams(w.client(1, 0, "127.0.0.1:53"))
	served := datagrams(probe.PairKey{Owner: 2, Role: probe.RoleServer, NetNS: w.netns, Local: resolver.Addr})
	w.next.Answering = []probe.Listener{resolver}
	w.request(served, "dns", "A www.example.com", "ok", 5) // the serving end may be first
	w.poll()
	for range 8 {
		w.next.Answering = []probe.Listener{resolver}
		w.poll()
	}
	w.next.Answering = []probe.Listener{resolver}
	w.request(joined, "dns", "A www.example.com", "ok", 5)
	w.request(alone, "dns", "A www.example.com", "timeout", 2).Failed = true
	w.request(served, "dns", "A www.example.com", "timeout", 2).Failed = true
	w.tcp(joined, 0, 50, 500, 0)
	w.pass(8 * time.Second)
	r := w.read()
	const edge = curlToUnbound + `%sport="53", protocol="dns", server="unbound", server_kind="Process"} %d`
	r.want(t, "vetch_edge_requests_total", fmt.Sprintf("vetch_edge_requests_total{"+curlToUnbound+`code="ok", port="53", protocol="dns", server="unbound", server_kind="Process"} 5
		vetch_edge_requests_total{`+edge, `code="timeout", `, 2))
	r.want(t, "vetch_edge_connections_total", fmt.Sprintf("vetch_edge_connections_total{"+edge, "", 0))
	r.want(t, "vetch_workload_requests_total", `
		vetch_workload_requests_total{code="ok", kind="Process", protocol="dns", route="A www.example.com", workload="unbound"} 5
		vetch_workload_requests_total{code="timeout", kind="Process", protocol="dns", route="A www.example.com", workload="unbound"} 2`)
	r.want(t, "container_dns_requests_total", `
		container_dns_requests_total{app_id="/process/curl", container_id="/process/curl", domain="www.example.com", machine_id="m1", request_type="A", status="ok"} 5
		container_dns_requests_total{app_id="/process/curl", container_id="/process/curl", domain="www.example.com", machine_id="m1", request_type="A", status="timeout"} 2`)
	r.want(t, "container_net_tcp", "")
	for status, n := range map[string]uint64{"ok": 5, "timeout": 2} {
		name := `container_dns_requests_duration_seconds_total{app_id="/process/curl", container_id="/process/curl", domain="www.example.com", machine_id="m1", request_type="A", status="` + status + `"}`
		if h := r.histograms[name]; h == nil || h.Count != n {
			t.Errorf("%s is %v, want %d", name, h, n)
		}
	}
}

// TestResolverOutsideIsAnEdge: one to a resolver elsewhere, and from clients elsewhere to one that is here.
func TestResolverOutsideIsAnEdge(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "curl")
	w.owner(2, "unbound")
	w.request(datagrams(w.client(1, 0, "9.9.9.9:53")), "dns", "A example.com", "ok", 3)
	w.request(datagrams(w.server(2, 0, "192.168.1.10:53", "198.51.100.7:0")), "dns", "A example.com", "ok", 4)
	w.pass(8 * time.Second)
	w.read().want(t, "vetch_edge_requests_total", `
		vetch_edge_requests_total{client="curl", client_kind="Process", code="ok", port="53", protocol="dns", server="9.9.9.9", server_kind="External"} 3
		vetch_edge_requests_total{client="198.51.100.7", client_kind="External", code="ok", port="53", protocol="dns", server="unbound", server_kind="Process"} 4`)
}

// TestDomainsAreBounded asks for very many names: all are counted, and few go by themselves.
func TestDomainsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "curl")
	w.owner(2, "unbound")
	client, server := datagrams(w.client(1, 2, "127.0.0.1:53")), datagrams(probe.PairKey{Owner: 2, Role: probe.RoleServer, NetNS: w.netns, Local: w.server(2, 0, "127.0.0.1:53", "127.0.0.1:0").Local})
	const n = 1000
	for i := range n {
		for _, key := range []probe.PairKey{client, server} {
			w.request(key, "dns", fmt.Sprintf("A n%d.many.example.com", i), "ok", 1)
			w.request(key, "dns", fmt.Sprintf("A www.other%d.com", i), "ok", 1)
		}
	}
	w.pass(8 * time.Second)
	r := w.read()
	routes, domains := 0, 0
	for key := range r.created {
		if len(key) > 29 && key[:29] == "vetch_workload_requests_total" {
			routes++
		}
		if len(key) > 28 && key[:28] == "container_dns_requests_total" {
			domains++
		}
	}
	if routes > DefaultRoutesPerWorkload+1 || domains != maxDomains+1 {
		t.Errorf("%d routes, %d domains", routes, domains)
	}
	for _, metric := range []string{"vetch_workload_requests_total", "container_dns_requests_total", "container_dns_inbound_requests_total"} {
		if got := r.sum(metric); got != 2*n {
			t.Errorf("%s: %v in all, want %d", metric, got, 2*n)
		}
	}
	if got := r.sum("vetch_workload_requests_total", `route="A example.com"`); got < n/2 {
		t.Errorf("%v under the registered domain", got)
	}
}
