package process

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

func addr(s string) netip.Addr         { return netip.MustParseAddr(s) }
func port(s string) netip.AddrPort     { return netip.MustParseAddrPort(s) }
func process(n string) model.Workload  { return model.Workload{Kind: model.KindProcess, Name: n} }
func external(n string) model.Workload { return model.Workload{Kind: model.KindExternal, Name: n} }

const inA, inB = 1001, 1002 // network namespaces of two containers

// neighbours is a machine with two programs of its own, a container with one, and one with two.
func neighbours(t *testing.T, now time.Time) (b *Book, own uint32) {
	t.Helper()
	b, _ = testBook(t, nil)
	own = b.space.own
	b.space.list = func(_, netns uint32) ([]netip.Addr, error) {
		switch netns {
		case 0:
			return []netip.Addr{addr("127.0.0.1"), addr("::1"), addr("192.168.1.10"), addr("172.17.0.1")}, nil
		case inA:
			return []netip.Addr{addr("127.0.0.1"), addr("172.17.0.2"), addr("fe80::2")}, nil
		case inB:
			return []netip.Addr{addr("127.0.0.1"), addr("172.17.0.3"), addr("fd00::3")}, nil
		}
		return nil, os.ErrNotExist
	}
	b.Update(probe.Snapshot{
		Time: now,
		Owners: []probe.Owner{
			{ID: 1, PID: 10, Exe: "curl", NetNS: own}, {ID: 2, PID: 11, Exe: "nginx", NetNS: own},
			{ID: 3, PID: 12, Exe: "app", NetNS: inA, PathV1: "/docker/" + hexID},
			{ID: 4, PID: 13, Exe: "one", NetNS: inB}, {ID: 5, PID: 14, Exe: "two", NetNS: inB},
		},
		Listeners: []probe.Listener{
			{Owner: 2, NetNS: own, Addr: port("0.0.0.0:80")}, {Owner: 1, NetNS: own, Addr: port("127.0.0.1:80")},
			{Owner: 2, NetNS: own, Addr: port("[::]:8080")}, {Owner: 2, NetNS: own, Addr: port("[::1]:6")},
			{Owner: 4, NetNS: inB, Addr: port("172.17.0.3:9000")}, {Owner: 5, NetNS: inB, Addr: port("0.0.0.0:9001")},
			{Owner: 3, NetNS: inA, Addr: port("127.0.0.1:7000")},
		},
	})
	return b, own
}

func TestResolve(t *testing.T) {
	now := time.Now()
	b, own := neighbours(t, now)
	node := model.Workload{Kind: model.KindNode, Name: "host"}
	a := model.Workload{Kind: model.KindContainer, Name: hexID[:12]}
	client := func(owner probe.OwnerID, netns uint32, remote string) probe.PairKey {
		return probe.PairKey{Owner: owner, Role: probe.RoleClient, NetNS: netns, Remote: port(remote)}
	}
	withActual := client(1, own, "10.96.0.1:443")
	withActual.Actual = port("172.17.0.3:9001")
	withPeer := client(1, own, "10.96.0.1:443")
	withPeer.Actual, withPeer.Peer = port("172.17.0.3:5555"), 5
	unknownPeer := withPeer
	unknownPeer.Peer = 99
	server := func(owner probe.OwnerID, netns uint32, local, remote string, peer probe.OwnerID) probe.PairKey {
		return probe.PairKey{Owner: owner, Role: probe.RoleServer, NetNS: netns, Local: port(local), Remote: port(remote), Peer: peer}
	}
	for _, tc := range []struct {
		name           string
		key            probe.PairKey
		client, server model.Workload
		port           uint16
		watched, sure  bool
		missing        bool
	}{
		{"loopback, exact listener before unspecified", client(1, own, "127.0.0.1:80"), process("curl"), process("curl"), 80, false, true, false},
		{"own address, unspecified listener", client(1, own, "192.168.1.10:80"), process("curl"), process("nginx"), 80, false, true, false},
		{"IPv4 to an IPv6 listener", client(1, own, "192.168.1.10:8080"), process("curl"), process("nginx"), 8080, false, true, false},
		{"IPv4 in IPv6", client(1, own, "[::ffff:192.168.1.10]:80"), process("curl"), process("nginx"), 80, false, true, false},
		{"IPv6 loopback", client(1, own, "[::1]:6"), process("curl"), process("nginx"), 6, false, true, false},
		{"an unspecified destination is oneself", client(1, own, "0.0.0.0:80"), process("curl"), process("nginx"), 80, false, true, false},
		{"own address, nobody listens", client(1, own, "192.168.1.10:81"), process("curl"), node, 81, false, false, false},
		{"loopback is another in each namespace", client(1, own, "127.0.0.1:7000"), process("curl"), node, 7000, false, false, false},
		{"loopback within a container", client(3, inA, "127.0.0.1:7000"), a, a, 7000, false, true, false},
		{"container, nobody listens, one tenant", client(1, own, "172.17.0.2:81"), process("curl"), a, 81, false, false, false},
		{"namespace with two tenants, nobody listens", client(1, own, "172.17.0.3:81"), process("curl"), node, 81, false, false, false},
		{"from container to container", client(3, inA, "172.17.0.3:9000"), a, process("one"), 9000, false, true, false},
		{"from container to host", client(3, inA, "172.17.0.1:80"), a, process("nginx"), 80, false, true, false},
		{"IPv6 between namespaces needs the right family", client(1, own, "[fd00::3]:9001"), process("curl"), node, 9001, false, false, false},
		{"link-local is another in each namespace", client(1, own, "[fe80::2]:80"), process("curl"), external("fe80::2"), 80, false, false, false},
		{"after NAT", withActual, process("curl"), process("two"), 9001, false, true, false},
		{"the peer is known", withPeer, process("curl"), process("two"), 5555, false, true, false},
		{"the peer is not known yet", unknownPeer, process("curl"), node, 5555, false, false, true},
		{"outside", client(1, own, "93.184.216.34:443"), process("curl"), external("93.184.216.34"), 443, false, true, false},
		{"outside, but it may be a neighbour", client(1, own, "10.1.2.3:443"), process("curl"), external("10.1.2.3"), 443, false, false, false},
		{"server with a known client", server(2, own, "127.0.0.1:80", "127.0.0.1:0", 1), process("curl"), process("nginx"), 80, true, true, false},
		{"server with a client outside", server(2, own, "192.168.1.10:80", "8.8.8.8:0", 0), external("8.8.8.8"), process("nginx"), 80, false, true, false},
		{"server with an unwatched local client", server(2, own, "127.0.0.1:80", "127.0.0.1:0", 0), node, process("nginx"), 80, false, false, false},
		{"server with an unwatched client in a container", server(2, own, "172.17.0.1:80", "172.17.0.2:0", 0), a, process("nginx"), 80, false, false, false},
		{"an owner that nobody reported", client(98, own, "127.0.0.1:80"), model.Workload{}, process("curl"), 80, false, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := b.Resolve(now, []Question{{Pair: tc.key}})[0]
			if got.Client != tc.client || got.Server != tc.server || got.Port != tc.port || got.Watched != tc.watched || got.Sure != tc.sure || got.Missing != tc.missing {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestClosedListenerIsRemembered(t *testing.T) {
	b, _ := testBook(t, nil)
	own, now := b.space.own, time.Now()
	b.space.list = func(_, _ uint32) ([]netip.Addr, error) { return []netip.Addr{addr("127.0.0.1")}, nil }
	key := probe.PairKey{Owner: 1, Role: probe.RoleClient, NetNS: own, Remote: port("127.0.0.1:80")}
	who := func() model.Workload {
		return b.Resolve(now, []Question{{Pair: key}})[0].Server
	}
	b.Update(probe.Snapshot{Time: now, Owners: []probe.Owner{{ID: 1, Exe: "curl", NetNS: own}, {ID: 2, Exe: "nginx", NetNS: own}, {ID: 3, Exe: "caddy", NetNS: own}},
		Listeners: []probe.Listener{{Owner: 2, NetNS: own, Addr: port("0.0.0.0:80")}}})
	now = now.Add(time.Minute)
	b.Update(probe.Snapshot{Time: now, Gone: []probe.OwnerID{2}})
	if got := who(); got != process("nginx") {
		t.Errorf("a minute after it closed: %v", got)
	}
	b.Update(probe.Snapshot{Time: now, Listeners: []probe.Listener{{Owner: 3, NetNS: own, Addr: port("0.0.0.0:80")}}})
	if got := who(); got != process("caddy") {
		t.Errorf("another took the port: %v", got)
	}
	now = now.Add(time.Hour)
	b.Update(probe.Snapshot{Time: now})
	b.Update(probe.Snapshot{Time: now.Add(sweepEvery)})
	if got := who(); got.Kind != model.KindNode {
		t.Errorf("an hour later: %v", got)
	}
	if b.Known(2) {
		t.Error("owner 2 is still remembered")
	}
}

func TestAddressMovesToAnotherContainer(t *testing.T) {
	b, _ := testBook(t, nil)
	own, now := b.space.own, time.Now()
	const before, after = 2001, 2002
	dead := false
	b.space.list = func(_, netns uint32) ([]netip.Addr, error) {
		if netns == 0 || (netns == before && dead) {
			return nil, os.ErrNotExist
		}
		return []netip.Addr{addr("172.17.0.2")}, nil
	}
	b.Update(probe.Snapshot{Time: now, Owners: []probe.Owner{{ID: 1, Exe: "curl", NetNS: own}, {ID: 2, PID: 5, Exe: "old", NetNS: before}},
		Listeners: []probe.Listener{{Owner: 2, NetNS: before, Addr: port("0.0.0.0:80")}}})
	key := probe.PairKey{Owner: 1, Role: probe.RoleClient, NetNS: own, Remote: port("172.17.0.2:80")}
	who := func() model.Workload {
		return b.Resolve(now, []Question{{Pair: key}})[0].Server
	}
	if got := who(); got != process("old") {
		t.Fatalf("before: %v", got)
	}
	dead = true
	now = now.Add(time.Second)
	b.Update(probe.Snapshot{Time: now, Gone: []probe.OwnerID{2}, Owners: []probe.Owner{{ID: 3, PID: 6, Exe: "new", NetNS: after}},
		Listeners: []probe.Listener{{Owner: 3, NetNS: after, Addr: port("0.0.0.0:80")}}})
	if got := who(); got != process("new") {
		t.Errorf("after: %v", got)
	}
	now = now.Add(refreshEvery)
	b.Update(probe.Snapshot{Time: now})
	if got := b.space.owners[addr("172.17.0.2")]; len(got) != 1 || got[0] != after {
		t.Errorf("the address still belongs to %v", got)
	}
}

func TestReachable(t *testing.T) {
	b, _ := testBook(t, nil)
	own := b.space.own
	b.space.list = func(_, netns uint32) ([]netip.Addr, error) {
		if netns == 0 {
			return []netip.Addr{addr("127.0.0.1"), addr("::1"), addr("192.168.1.10"), addr("fe80::1")}, nil
		}
		return []netip.Addr{addr("127.0.0.1"), addr("172.17.0.2")}, nil
	}
	b.Update(probe.Snapshot{Time: time.Now(), Owners: []probe.Owner{{ID: 1, PID: 3, NetNS: 3001}}})
	for _, tc := range []struct {
		netns uint32
		addr  string
		limit int
		want  []string
	}{
		{own, "10.0.0.1:80", 8, []string{"10.0.0.1:80"}},
		{own, "0.0.0.0:80", 8, []string{"127.0.0.1:80", "192.168.1.10:80"}},
		{own, "[::]:80", 8, []string{"127.0.0.1:80", "[::1]:80", "192.168.1.10:80"}},
		{own, "[::]:80", 1, []string{"127.0.0.1:80"}},
		{3001, "0.0.0.0:80", 8, []string{"172.17.0.2:80"}},
		{4001, "0.0.0.0:80", 8, []string{"0.0.0.0:80"}},
	} {
		got := b.Reachable(probe.Listener{NetNS: tc.netns, Addr: port(tc.addr)}, tc.limit)
		if len(got) != len(tc.want) {
			t.Errorf("%d %s: got %v, want %v", tc.netns, tc.addr, got, tc.want)
			continue
		}
		for i := range got {
			if got[i].String() != tc.want[i] {
				t.Errorf("%d %s: got %v, want %v", tc.netns, tc.addr, got, tc.want)
			}
		}
	}
}

func FuzzConntrackAnswer(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 4, 0, 2, 128})
	f.Add([]byte{})
	f.Add([]byte{2, 0, 0, 0, 255, 255, 2, 0, 1})
	f.Fuzz(func(t *testing.T, answer []byte) {
		for _, tuple := range []int{nl.CTA_TUPLE_ORIG, nl.CTA_TUPLE_REPLY} {
			if got, err := sourceIn(answer, tuple); err == nil && !got.Addr().IsValid() {
				t.Fatalf("no error and no address")
			}
		}
	})
}

func FuzzParseCgroups(f *testing.F) {
	f.Add("4:memory:/docker/" + hexID + "\n0::/\n")
	f.Add("::\n1:name=systemd:/a b:c\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseCgroups(text)
		if len(c.others) > 16 {
			t.Fatal("not bounded")
		}
		c.place()
	})
}
