package digest

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/transport/names"
)

const (
	cartUID, cartAddress = "0f6c2a1e-7d3b-4b0e-9a51-1c2d3e4f5a6b", "10.1.1.5"
	shopUID, shopAddress = "1f6c2a1e-7d3b-4b0e-9a51-1c2d3e4f5a6b", "10.1.2.7"
)

// node is an agent on a node of a cluster, with what the feed has told it.
type node struct {
	*world
	feed *process.Cluster
	last uint64
}

// newNode has one pod, in its own network namespace for simplicity.
func newNode(t *testing.T, name, address string) *node {
	t.Helper()
	n := &node{feed: process.NewCluster(name)}
	n.world = newWorld(t, func(o *Options) {
		var err error
		o.Book, err = process.New(process.Options{Root: t.TempDir(), Hostname: name, Cluster: n.feed, Addresses: func(_, _ uint32) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr(address)}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	})
	return n
}

// tell sends the pods of the cluster and the nodes that have an agent.
func (n *node) tell(agents ...string) {
	n.last++
	u := &names.Update{Epoch: 1, Sequence: n.last, Snapshot: true, Time: n.now.UnixMilli()}
	for i, p := range []struct{ name, node, uid, address string }{{"shop", "n1", shopUID, shopAddress}, {"cart", "n2", cartUID, cartAddress}} {
		u.Names = append(u.Names, &names.Name{
			Id: uint64(i + 1), Role: names.Role_ROLE_POD, Workload: &names.Workload{Namespace: "shop", Kind: "Deployment", Name: p.name}, Node: p.node,
			Addresses: [][]byte{netip.MustParseAddr(p.address).AsSlice()}, From: n.start.Add(-time.Hour).UnixMilli(),
			Pod: &names.Pod{Uid: p.uid, Name: p.name + "-1", Containers: []*names.Container{{Id: containerOf(p.uid), Name: "app"}}},
		})
	}
	for i, a := range agents {
		u.Names = append(u.Names, &names.Name{Id: uint64(i + 10), Role: names.Role_ROLE_AGENT, Node: a})
	}
	if err := names.Check(u); err != nil {
		n.t.Fatal(err)
	}
	n.feed.Connected(true)
	n.feed.Update(u, n.now)
}

func (n *node) pod(id probe.OwnerID, uid string) {
	n.next.Owners = append(n.next.Owners, probe.Owner{ID: id, PID: 4_000_000, Exe: "app", NetNS: n.netns, PathV1: "/kubepods/burstable/pod" + uid + "/" + containerOf(uid)})
}

// containerOf is the id of the one container of a pod.
func containerOf(uid string) string { return strings.Repeat(uid[:8], 8) }

// TestEdgeOfTwoAgents lets a pod on one node ask one on another, and adds up what the agents of both say, as a server does.
func TestEdgeOfTwoAgents(t *testing.T) {
	for name, tc := range map[string]struct {
		agents []string
		only   bool // the client's node has no agent at all
	}{
		"both nodes have agents": {agents: []string{"n1", "n2"}},
		"only the server's":      {agents: []string{"n2"}, only: true},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := newNode(t, "n1", shopAddress), newNode(t, "n2", cartAddress)
			client.pod(1, shopUID)
			server.pod(2, cartUID)
			server.listener(2, cartAddress+":80")
			for _, n := range []*node{client, server} {
				n.tell(tc.agents...)
				n.pass(2 * time.Second)
			}
			for range 3 {
				asked, served := client.client(1, 0, cartAddress+":80"), server.server(2, 0, cartAddress+":80", shopAddress+":0")
				client.tcp(asked, 2, 300, 900, 1)
				client.http(asked, "/buy", 200, 5)
				server.tcp(served, 2, 900, 300, 1)
				server.http(served, "/buy", 200, 5)
				client.pass(holdBack + time.Second)
				server.pass(holdBack + time.Second)
			}
			edge := []string{`client="shop"`, `client_kind="Deployment"`, `server="cart"`, `server_kind="Deployment"`, `port="80"`}
			readings := []reading{server.read()}
			if !tc.only {
				readings = append(readings, client.read())
			}
			for metric, want := range map[string]float64{
				"vetch_edge_requests_total": 15, "vetch_edge_connections_total": 6, "vetch_edge_bytes_total": 3600, "vetch_edge_active_connections": 1, "vetch_workload_requests_total": 15,
			} {
				match := edge
				if metric == "vetch_workload_requests_total" {
					match = []string{`workload="cart"`}
				}
				got := 0.0
				for _, r := range readings {
					got += r.sum(metric, match...)
				}
				if got != want {
					t.Errorf("%s is %v, want %v", metric, got, want)
				}
			}
		})
	}
}
