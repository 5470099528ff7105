package digest

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/transport/names"
)

// TestNamesOfAClusterThatComeLate: what was counted under a name that only the runtime told stays there, and nothing counts twice.
func TestNamesOfAClusterThatComeLate(t *testing.T) {
	cluster := process.NewCluster("n1")
	w := newWorld(t, func(o *Options) {
		book, err := process.New(process.Options{Root: t.TempDir(), Hostname: "n1", Cluster: cluster, Addresses: func(_, netns uint32) ([]netip.Addr, error) {
			if netns != 0 {
				return nil, os.ErrNotExist
			}
			return []netip.Addr{netip.MustParseAddr("192.168.1.10")}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		o.Book = book
	})
	const uid, id = "0f6c2a1e-7d3b-4b0e-9a51-1c2d3e4f5a6b", "8b2f4c6d8e0a1b3c5d7e9f0a2b4c6d8e0f1a3b5c7d9e1f2a4b6c8d0e2f4a6b8c"
	cgroup := "/kubepods/pod" + uid + "/" + id
	w.next.Owners = append(w.next.Owners, probe.Owner{ID: 1, PID: 4_000_000, Exe: "web", NetNS: 99, PathV1: cgroup, PathV2: "/"})
	in := w.server(1, 0, "10.1.1.5:80", "10.1.2.7:0")
	out := w.client(1, 0, "10.1.2.8:5432")
	traffic := func() {
		w.tcp(in, 1, 10, 10, 1)
		w.tcp(out, 1, 10, 10, 1)
		w.http(in, "/", 200, 1)
		w.request(out, "postgres", "SELECT a", "ok", 1)
	}
	expect := func(when string, served, edges, active float64) {
		t.Helper()
		r := w.read()
		for name, want := range map[string]float64{
			"vetch_workload_requests_total": served, "vetch_edge_requests_total": edges, "vetch_edge_active_connections": active,
			"container_http_inbound_requests_total": served, "container_postgres_queries_total": served,
		} {
			if got := r.sum(name); got != want {
				t.Errorf("%s: %s is %v, want %v", when, name, got, want)
			}
		}
	}
	traffic()
	w.pass(10 * time.Second) // nobody tells who it is
	expect("without a watcher", 1, 2, 2)
	traffic()
	w.poll()
	expect("still without", 2, 4, 2)

	web := &names.Workload{Namespace: "shop", Kind: "Deployment", Name: "web"}
	cluster.Update(&names.Update{Epoch: 1, Sequence: 1, Snapshot: true, Time: w.now.UnixMilli(), Names: []*names.Name{
		{Id: 1, Role: names.Role_ROLE_POD, Workload: web, Node: "n1", Pod: &names.Pod{Uid: uid, Name: "web-5d9c7b6f4d-x2bkq", Containers: []*names.Container{{Id: id, Name: "app"}}}},
		{Id: 2, Role: names.Role_ROLE_POD, Workload: &names.Workload{Namespace: "shop", Kind: "Deployment", Name: "front"}, Addresses: [][]byte{{10, 1, 2, 7}}, Node: "n2"},
		{Id: 3, Role: names.Role_ROLE_POD, Workload: &names.Workload{Namespace: "shop", Kind: "StatefulSet", Name: "db"}, Addresses: [][]byte{{10, 1, 2, 8}}, Node: "n2"},
	}}, w.now)
	traffic()
	w.poll()
	expect("with names", 3, 6, 2)
	r := w.read()
	for series, want := range map[string]float64{
		`vetch_edge_requests_total{client="front", client_kind="Deployment", client_namespace="shop", code="200", port="80", protocol="http", server="web", server_kind="Deployment", server_namespace="shop"}`:    1,
		`vetch_edge_requests_total{client="web", client_kind="Deployment", client_namespace="shop", code="ok", port="5432", protocol="postgres", server="db", server_kind="StatefulSet", server_namespace="shop"}`: 1,
	} {
		if got := r.values[series]; got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}

	cluster.Update(&names.Update{Epoch: 1, Sequence: 2, Time: w.now.UnixMilli(), Names: []*names.Name{{Id: 4, Role: names.Role_ROLE_AGENT, Node: "n2"}}}, w.now)
	w.leap(2 * askAgain)
	traffic()
	w.poll()
	expect("where the client's node has an agent, that tells of the edge", 4, 7, 1)
}
