package process

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/names"
)

const (
	tcp = unix.IPPROTO_TCP
	udp = unix.IPPROTO_UDP
)

func deployment(n string) model.Workload {
	return model.Workload{Namespace: "shop", Kind: "Deployment", Name: n}
}
func service(n string) model.Workload {
	return model.Workload{Namespace: "shop", Kind: "Service", Name: n}
}
func kubeNode(n string) model.Workload { return model.Workload{Kind: model.KindNode, Name: n} }

func wire(w model.Workload) *names.Workload {
	return &names.Workload{Namespace: w.Namespace, Kind: string(w.Kind), Name: w.Name}
}

func ips(list ...string) (out [][]byte) {
	for _, s := range list {
		out = append(out, addr(s).AsSlice())
	}
	return out
}

func milli(t time.Time) int64 { return t.UnixMilli() }

// watcher speaks to a Cluster as the feed does, with a clock that may differ from the agent's.
type watcher struct {
	c     *Cluster
	epoch uint64
	last  uint64
	now   time.Time     // the agent's clock
	ahead time.Duration // of the watcher's clock
}

func newWatcher(node string) *watcher {
	return &watcher{c: NewCluster(node), epoch: 1, last: 1, now: time.UnixMilli(1_800_000_000_000)}
}

func (w *watcher) send(u *names.Update) {
	u.Epoch, u.Time = w.epoch, milli(w.now.Add(w.ahead))
	if err := names.Check(u); err != nil {
		panic(err)
	}
	w.c.Update(u, w.now)
}

func (w *watcher) change(list ...*names.Name) {
	w.last++
	w.send(&names.Update{Names: list, Sequence: w.last})
}

func (w *watcher) forget(ids ...uint64) {
	w.last++
	w.send(&names.Update{Forgotten: ids, Sequence: w.last})
}

func (w *watcher) snapshot(list ...*names.Name) {
	w.last++
	w.send(&names.Update{Names: list, Snapshot: true, Sequence: w.last})
}

// who names an address at a time; "" is nobody.
func (w *watcher) who(to string, when time.Time) string {
	a, ok := w.c.at(port(to), tcp, when)
	if !ok {
		return ""
	}
	text := a.workload.ID()
	if a.port != 0 {
		text += fmt.Sprintf(":%d", a.port)
	}
	if a.fleeting {
		text += "?"
	}
	return text
}

func TestAddressIsAPodsOnlyWhileItHasIt(t *testing.T) {
	w := newWatcher("n1")
	t0 := w.now
	w.change(&names.Name{Id: 1, Role: names.Role_ROLE_POD, Workload: wire(deployment("old")), Addresses: ips("10.1.0.5"), From: milli(t0), Node: "n2"})
	require.Equal(t, "shop/Deployment/old", w.who("10.1.0.5:80", t0.Add(time.Hour)))
	require.Empty(t, w.who("10.1.0.5:80", t0.Add(-time.Minute)), "before it was anybody's")

	end := t0.Add(time.Hour)
	w.now = end.Add(time.Second)
	w.change(&names.Name{Id: 1, Role: names.Role_ROLE_POD, Workload: wire(deployment("old")), Addresses: ips("10.1.0.5"), From: milli(t0), Until: milli(end), Node: "n2"})
	require.Equal(t, "shop/Deployment/old", w.who("10.1.0.5:80", end.Add(-time.Minute)), "traffic of a pod that is gone keeps its name")
	require.Equal(t, "shop/Deployment/old?", w.who("10.1.0.5:80", end.Add(time.Second)), "a late reading, or the next pod's: not sure")
	require.Empty(t, w.who("10.1.0.5:80", end.Add(time.Minute)))

	begin := end.Add(10 * time.Second)
	w.now = begin
	w.change(&names.Name{Id: 2, Role: names.Role_ROLE_POD, Workload: wire(deployment("new")), Addresses: ips("10.1.0.5"), From: milli(begin), Node: "n2"})
	require.Equal(t, "shop/Deployment/new", w.who("10.1.0.5:80", begin.Add(time.Millisecond)))
	require.Equal(t, "shop/Deployment/new?", w.who("10.1.0.5:80", begin.Add(-time.Second)), "clocks differ")
	require.Equal(t, "shop/Deployment/old", w.who("10.1.0.5:80", end.Add(-time.Second)))

	w.forget(1)
	require.Equal(t, "shop/Deployment/old", w.who("10.1.0.5:80", end.Add(-time.Second)), "the feed forgets it sooner than the agent")
	w.now = w.now.Add(keepEnded)
	w.forget()
	require.Empty(t, w.who("10.1.0.5:80", end.Add(-time.Second)))
	require.Equal(t, "shop/Deployment/new", w.who("10.1.0.5:80", w.now))
}

func TestTakenOverAtOnce(t *testing.T) { // the new pod is told of before the old one's end
	w := newWatcher("n1")
	t0 := w.now
	w.change(&names.Name{Id: 1, Role: names.Role_ROLE_POD, Workload: wire(deployment("old")), Addresses: ips("10.1.0.5"), From: milli(t0)})
	later := t0.Add(time.Minute)
	w.change(&names.Name{Id: 2, Role: names.Role_ROLE_POD, Workload: wire(deployment("new")), Addresses: ips("10.1.0.5"), From: milli(later)})
	require.Equal(t, "shop/Deployment/new", w.who("10.1.0.5:80", later))
	require.Equal(t, "shop/Deployment/old", w.who("10.1.0.5:80", later.Add(-10*time.Second)))
}

func TestClockOfTheWatcher(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, -3 * time.Second, 0, 3 * time.Second, 24 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			w := newWatcher("n1")
			w.ahead = ahead
			t0 := w.now
			w.change(&names.Name{Id: 1, Role: names.Role_ROLE_POD, Workload: wire(deployment("a")), Addresses: ips("10.1.0.5"), From: milli(t0.Add(ahead)), Until: milli(t0.Add(ahead + time.Minute))})
			require.Equal(t, "shop/Deployment/a", w.who("10.1.0.5:80", t0.Add(time.Second)))
			require.Empty(t, w.who("10.1.0.5:80", t0.Add(-10*time.Second)))
			require.Empty(t, w.who("10.1.0.5:80", t0.Add(2*time.Minute)))
		})
	}
}

func TestServicesNodesAndPortsOfNodes(t *testing.T) {
	w := newWatcher("n1")
	t0 := w.now
	w.snapshot(
		&names.Name{Id: 1, Role: names.Role_ROLE_NODE, Workload: wire(kubeNode("n1")), Addresses: ips("192.168.0.1", "fd00::1"), Node: "n1", Ranges: []string{"10.1.1.0/24"}},
		&names.Name{Id: 2, Role: names.Role_ROLE_NODE, Workload: wire(kubeNode("n2")), Addresses: ips("192.168.0.2"), Node: "n2", Ranges: []string{"10.1.2.0/24", "fd00:2::/64", "broken"}},
		&names.Name{Id: 3, Role: names.Role_ROLE_SERVICE, Workload: wire(service("front")), Addresses: ips("10.96.0.10", "fd00:96::a"), Backend: wire(deployment("web")),
			Ports: []*names.Port{{Protocol: tcp, Number: 80, NodePort: 30080, Target: 8080}, {Protocol: udp, Number: 53, Target: 5353}, {Protocol: tcp, Number: 81}}},
		&names.Name{Id: 4, Role: names.Role_ROLE_SERVICE, Workload: wire(service("many")), Addresses: ips("10.96.0.11"), Ports: []*names.Port{{Protocol: tcp, Number: 443, NodePort: 30443}}},
		&names.Name{Id: 5, Role: names.Role_ROLE_SERVICE, Workload: wire(service("kubernetes")), Addresses: ips("10.96.0.1"), Ports: []*names.Port{{Protocol: tcp, Number: 443}},
			Places: []*names.Place{{Address: addr("192.168.0.9").AsSlice(), Port: 6443}}},
		&names.Name{Id: 6, Role: names.Role_ROLE_POD, Workload: wire(model.Workload{Namespace: "kube-system", Kind: "DaemonSet", Name: "exporter"}), Addresses: ips("192.168.0.2"), Node: "n2",
			Ports: []*names.Port{{Protocol: tcp, Number: 9100}}},
		&names.Name{Id: 7, Role: names.Role_ROLE_SERVICE, Workload: wire(service("mail")), ExternalName: "smtp.example.com"},
		&names.Name{Id: 8, Role: names.Role_ROLE_AGENT, Node: "n2"},
	)
	for to, want := range map[string]string{
		"10.96.0.10:80":     "shop/Deployment/web:8080",
		"[fd00:96::a]:80":   "shop/Deployment/web:8080",
		"10.96.0.10:81":     "shop/Deployment/web:81",
		"10.96.0.10:99":     "shop/Service/front:99",
		"10.96.0.11:443":    "shop/Service/many:443",
		"192.168.0.2:30080": "shop/Deployment/web:8080",
		"192.168.0.2:30443": "shop/Service/many:443",
		"192.168.0.2:9100":  "kube-system/DaemonSet/exporter",
		"192.168.0.2:22":    "/Node/n2",
		"192.168.0.2:0":     "/Node/n2",
		"[fd00::1]:22":      "/Node/n1",
		"192.168.0.9:6443":  "shop/Service/kubernetes:6443",
		"192.168.0.9:22":    "",
		"10.1.2.1:0":        "/Node/n2?",
		"[fd00:2::77]:80":   "/Node/n2?",
		"10.1.3.1:0":        "",
	} {
		require.Equal(t, want, w.who(to, t0), to)
	}
	_, ok := w.c.at(port("192.168.0.2:30080"), udp, t0)
	require.True(t, ok)
	a, _ := w.c.at(port("10.96.0.10:53"), udp, t0)
	require.EqualValues(t, 5353, a.port)
	for name, want := range map[string]string{"mail.shop.svc.cluster.local": "smtp.example.com", "mail.shop.svc": "smtp.example.com", "mail.other.svc": "", "mail.shop.com": "", "mail": ""} {
		got, _ := w.c.alias(name)
		require.Equal(t, want, got, name)
	}
	require.True(t, w.c.isWatched("n2"))
	require.False(t, w.c.isWatched("n1"))
	w.forget(3, 7, 8)
	require.False(t, w.c.isWatched("n2"))
	require.Equal(t, "/Node/n2", w.who("192.168.0.2:30080", t0))
	_, ok = w.c.alias("mail.shop.svc")
	require.False(t, ok)
}

func TestWatcherBegunAnewChangesNothingThatIsStillSo(t *testing.T) {
	w := newWatcher("n1")
	t0 := w.now
	first := func(base uint64) []*names.Name {
		return []*names.Name{
			{Id: base + 1, Role: names.Role_ROLE_POD, Workload: wire(deployment("web")), Addresses: ips("10.1.0.5"), From: milli(t0), Node: "n1",
				Pod: &names.Pod{Uid: "u1", Name: "web-1", Containers: []*names.Container{{Id: "c1", Name: "app"}}}},
			{Id: base + 2, Role: names.Role_ROLE_AGENT, Node: "n2"},
		}
	}
	w.snapshot(append(first(0), &names.Name{Id: 3, Role: names.Role_ROLE_POD, Workload: wire(deployment("gone")), Addresses: ips("10.1.0.6"), From: milli(t0)})...)
	before := w.c.changed(addr("10.1.0.5"))
	w.epoch, w.now = 2, t0.Add(time.Minute)
	list := first(100)
	w.send(&names.Update{Snapshot: true, Names: list[:1]}) // its agents are not back yet, and it is not whole
	require.Equal(t, "shop/Deployment/gone", w.who("10.1.0.6:80", w.now))
	w.c.Connected(false)
	w.send(&names.Update{Snapshot: true, Names: list[:1]}) // again from the start
	w.send(&names.Update{Sequence: 7})
	require.Equal(t, before, w.c.changed(addr("10.1.0.5")), "nobody need ask again for it")
	require.Equal(t, "shop/Deployment/web", w.who("10.1.0.5:80", w.now))
	require.Equal(t, "shop/Deployment/gone", w.who("10.1.0.6:80", t0.Add(30*time.Second)), "it ended when this was heard")
	require.Empty(t, w.who("10.1.0.6:80", w.now.Add(time.Minute)))
	require.True(t, w.c.isWatched("n2"), "its agent may not have come back yet")
	w.now = w.now.Add(keepEnded)
	w.change()
	require.False(t, w.c.isWatched("n2"))
	pod, ok := w.c.pod("u1", "c1")
	require.True(t, ok)
	require.Equal(t, podNames{deployment("web"), "web-1", "app"}, pod)
	require.Len(t, w.c.names, 1)
	require.Empty(t, w.c.ended)
	require.Len(t, w.c.byAddress, 1)
}

func TestOwnersInPodsAreNamedByTheFeed(t *testing.T) {
	w := newWatcher("n1")
	b, err := New(Options{Root: t.TempDir(), Hostname: "n1", Cluster: w.c, Addresses: func(_, _ uint32) ([]netip.Addr, error) { return nil, nil }})
	require.NoError(t, err)
	const uid = "0f6c2a1e-7d3b-4b0e-9a51-1c2d3e4f5a6b"
	now := w.now
	owner := probe.Owner{ID: 1, PID: 4_000_000, Exe: "web", NetNS: 5, PathV1: "/kubepods/burstable/pod" + uid + "/" + hexID}
	mirror := probe.Owner{ID: 2, PID: 4_000_001, Exe: "api", NetNS: 6, PathV1: "/kubepods/burstable/pod" + "00000000000000000000000000000000" + "/" + hexID2}
	b.Update(probe.Snapshot{Time: now, Owners: []probe.Owner{owner, mirror}})
	key := probe.PairKey{Owner: 1, Role: probe.RoleClient, NetNS: 5, Remote: port("8.8.8.8:53")}
	ends := b.Resolve(now, []Question{{Pair: key}})[0]
	require.True(t, ends.Missing, "the pod's name may come yet")
	require.Equal(t, model.KindContainer, ends.Owner.Workload.Kind)
	require.False(t, b.Stale(key, &ends))

	w.change(&names.Name{Id: 1, Role: names.Role_ROLE_POD, Workload: wire(deployment("web")), Node: "n1", Pod: &names.Pod{Uid: uid, Name: "web-5d9c7b6f4d-x2bkq", Containers: []*names.Container{{Name: "app"}}}})
	b.Update(probe.Snapshot{Time: now})
	require.True(t, b.Stale(key, &ends))
	ends = b.Resolve(now, []Question{{Pair: key}})[0]
	require.Equal(t, deployment("web"), ends.Owner.Workload)
	require.True(t, ends.Missing, "the container's name may come yet")
	w.change(&names.Name{Id: 1, Role: names.Role_ROLE_POD, Workload: wire(deployment("web")), Node: "n1", Pod: &names.Pod{Uid: uid, Name: "web-5d9c7b6f4d-x2bkq", Containers: []*names.Container{{Id: hexID, Name: "app"}}}},
		&names.Name{Id: 2, Role: names.Role_ROLE_POD, Workload: wire(model.Workload{Namespace: "kube-system", Kind: "Pod", Name: "api-n1"}), Node: "n1",
			Pod: &names.Pod{Uid: "another", Name: "api-n1", Containers: []*names.Container{{Id: hexID2, Name: "api"}}}})
	b.Update(probe.Snapshot{Time: now})
	require.True(t, b.Stale(key, &ends))
	ends = b.Resolve(now, []Question{{Pair: key}})[0]
	require.False(t, ends.Missing)
	require.Equal(t, Identity{Workload: deployment("web"), ContainerID: "/k8s/shop/web-5d9c7b6f4d-x2bkq/app", AppID: "/k8s/shop/web", NetNS: 5, PodUID: uid, Run: hexID, Pod: "web-5d9c7b6f4d-x2bkq"}, ends.Owner)
	require.Equal(t, map[model.Workload]int{deployment("web"): 1}, b.tenants[5])
	static, _ := b.Identity(2)
	require.Equal(t, "/k8s/kube-system/api-n1/api", static.ContainerID, "by the id of its container: the kubelet has another uid for it than the API")
	require.False(t, b.Stale(key, &ends))
	w.forget(1)
	b.Update(probe.Snapshot{Time: now})
	ends = b.Resolve(now, []Question{{Pair: key}})[0]
	require.Equal(t, deployment("web"), ends.Owner.Workload, "it keeps its name when it is gone")
}

func TestSandboxStaysOneWhenItsPodIsNamed(t *testing.T) {
	w := newWatcher("n1")
	b, err := New(Options{Root: t.TempDir(), Hostname: "n1", Cluster: w.c, Addresses: func(_, _ uint32) ([]netip.Addr, error) { return nil, nil }})
	require.NoError(t, err)
	const uid = "0f6c2a1e-7d3b-4b0e-9a51-1c2d3e4f5a6b"
	b.Update(probe.Snapshot{Time: w.now, Owners: []probe.Owner{{ID: 1, PID: 4_000_000, Exe: "pause", NetNS: 5, PathV1: "/kubepods/pod" + uid + "/" + hexID}}})
	w.change(&names.Name{Id: 1, Role: names.Role_ROLE_POD, Workload: wire(deployment("web")), Node: "n1", Pod: &names.Pod{Uid: uid, Name: "web-1", Containers: []*names.Container{{Id: hexID2, Name: "app"}}}})
	b.Update(probe.Snapshot{Time: w.now})
	got, _ := b.Identity(1)
	require.Equal(t, deployment("web"), got.Workload)
	require.True(t, got.Sandbox, "no container of the pod has its id")
}

func TestWithoutAWatcherNobodyWaitsForLong(t *testing.T) {
	w := newWatcher("n1")
	b, err := New(Options{Root: t.TempDir(), Hostname: "n1", Cluster: w.c, Addresses: func(_, _ uint32) ([]netip.Addr, error) { return nil, nil }})
	require.NoError(t, err)
	owner := probe.Owner{ID: 1, PID: 4_000_000, Exe: "web", NetNS: 5, PathV1: "/kubepods/pod0f6c2a1e-7d3b-4b0e-9a51-1c2d3e4f5a6b/" + hexID}
	b.Update(probe.Snapshot{Time: w.now, Owners: []probe.Owner{owner}})
	b.Update(probe.Snapshot{Time: w.now.Add(awaitPod)})
	identity, _ := b.Identity(1)
	require.False(t, identity.Provisional)
	require.Equal(t, "/docker/"+hexID[:12], identity.ContainerID)
}

func TestEndsInACluster(t *testing.T) {
	w := newWatcher("n1")
	b, err := New(Options{Root: t.TempDir(), Hostname: "n1", Cluster: w.c, Addresses: func(_, netns uint32) ([]netip.Addr, error) {
		if netns == 0 {
			return []netip.Addr{addr("127.0.0.1"), addr("192.168.0.1")}, nil
		}
		return []netip.Addr{addr("10.1.1.5")}, nil
	}})
	require.NoError(t, err)
	own, now := b.space.own, w.now
	const inPod = 4242
	remote := port("10.1.2.7:8080")
	client := probe.PairKey{Owner: 1, Role: probe.RoleClient, NetNS: own, Remote: remote}
	b.Update(probe.Snapshot{Time: now, Owners: []probe.Owner{{ID: 1, PID: 10, Exe: "curl", NetNS: own}, {ID: 2, PID: 11, Exe: "web", NetNS: inPod}}})
	ends := b.Resolve(now, []Question{{Pair: client}})[0]
	require.True(t, ends.Missing, "the feed has not told anything yet")

	w.snapshot(
		&names.Name{Id: 1, Role: names.Role_ROLE_POD, Workload: wire(deployment("web")), Addresses: ips("10.1.2.7"), From: milli(now), Node: "n2"},
		&names.Name{Id: 2, Role: names.Role_ROLE_POD, Workload: wire(deployment("lone")), Addresses: ips("10.1.3.7"), From: milli(now), Node: "n3"},
		&names.Name{Id: 3, Role: names.Role_ROLE_NODE, Workload: wire(kubeNode("n2")), Addresses: ips("192.168.0.2"), Node: "n2"},
		&names.Name{Id: 4, Role: names.Role_ROLE_NODE, Workload: wire(kubeNode("n1")), Addresses: ips("192.168.0.1"), Node: "n1"},
		&names.Name{Id: 5, Role: names.Role_ROLE_SERVICE, Workload: wire(service("front")), Addresses: ips("10.96.0.10"), Ports: []*names.Port{{Protocol: tcp, Number: 80, NodePort: 30080}}},
		&names.Name{Id: 6, Role: names.Role_ROLE_AGENT, Node: "n2"},
		&names.Name{Id: 7, Role: names.Role_ROLE_AGENT, Node: "n1"},
	)
	b.Update(probe.Snapshot{Time: now})
	require.True(t, b.Stale(client, &ends))
	ask := func(key probe.PairKey) Ends {
		return b.Resolve(now, []Question{{Pair: key, Active: now}})[0]
	}
	to := func(remote string) probe.PairKey {
		key := client
		key.Remote = port(remote)
		return key
	}
	from := func(remote string) probe.PairKey {
		return probe.PairKey{Owner: 2, Role: probe.RoleServer, NetNS: inPod, Local: port("10.1.1.5:80"), Remote: port(remote)}
	}
	for _, tc := range []struct {
		name           string
		key            probe.PairKey
		client, server model.Workload
		port           uint16
		watched, sure  bool
	}{
		{"to a pod of another node", client, process("curl"), deployment("web"), 8080, false, true},
		{"to a service that nobody translated", to("10.96.0.10:80"), process("curl"), service("front"), 80, false, true},
		{"to a port of a node", to("192.168.0.2:30080"), process("curl"), service("front"), 80, false, true},
		{"to a port of our own node", to("192.168.0.1:30080"), process("curl"), service("front"), 80, false, true},
		{"to a node", to("192.168.0.2:22"), process("curl"), kubeNode("n2"), 22, false, true},
		{"from a pod whose node has an agent", from("10.1.2.7:0"), model.Workload{}, process("web"), 80, true, true},
		{"from a pod whose node has none", from("10.1.3.7:0"), deployment("lone"), process("web"), 80, false, true},
		{"from a node with an agent", from("192.168.0.2:0"), model.Workload{}, process("web"), 80, true, true},
		{"from our own node", from("192.168.0.1:0"), kubeNode("n1"), process("web"), 80, false, false},
		{"from outside", from("8.8.8.8:0"), external("8.8.8.8"), process("web"), 80, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ask(tc.key)
			if got.Client != tc.client || got.Server != tc.server || got.Port != tc.port || got.Watched != tc.watched || got.Sure != tc.sure {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestClusterIsBounded(t *testing.T) {
	c := NewCluster("n1")
	const step = 50_000
	for i := uint64(0); i < maxClusterNames+step; i += step {
		u := &names.Update{Epoch: 1, Sequence: i + 1, Snapshot: i == 0}
		for j := range uint64(step) {
			u.Names = append(u.Names, &names.Name{Id: i + j + 1})
		}
		c.Update(u, time.Now())
	}
	require.Len(t, c.names, maxClusterNames)
	require.EqualValues(t, step, c.overflow.Load())
}

// FuzzClusterUpdates plays streams of valid messages in any order, and checks that the tables agree with one another.
func FuzzClusterUpdates(f *testing.F) {
	f.Add(uint64(1), uint8(20))
	f.Add(uint64(99), uint8(200))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) {
		r := rand.New(rand.NewPCG(seed, 0))
		c, now := NewCluster("n1"), time.UnixMilli(1_800_000_000_000)
		for range steps {
			u := randomUpdate(r, now)
			text, _ := proto.Marshal(u)
			u = &names.Update{}
			if proto.Unmarshal(text, u) != nil || names.Check(u) != nil {
				t.Fatal("the test sends what it must not")
			}
			c.Update(u, now)
			now = now.Add(time.Duration(r.IntN(200)) * time.Second)
			c.at(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(4))}), uint16(r.IntN(3))), tcp, now)
			c.pod(fmt.Sprint(r.IntN(4)), fmt.Sprint(r.IntN(4)))
		}
		c.Update(&names.Update{Epoch: 77, Snapshot: true, Sequence: 1}, now)
		c.Update(&names.Update{Epoch: 77, Sequence: 2}, now.Add(2*keepEnded))
		if len(c.names)+len(c.ended)+len(c.before)+len(c.byAddress)+len(c.pods)+len(c.containers)+len(c.nodePorts)+len(c.ranges)+len(c.aliases)+len(c.watched) != 0 {
			t.Fatalf("what is left when all is gone: %+v", c)
		}
	})
}

func randomUpdate(r *rand.Rand, now time.Time) *names.Update {
	u := &names.Update{Epoch: 1, Time: milli(now) + r.Int64N(2000), Snapshot: r.IntN(6) == 0}
	if r.IntN(3) > 0 {
		u.Sequence = 1 + r.Uint64N(100)
	}
	for range r.IntN(5) {
		n := &names.Name{Id: 1 + r.Uint64N(6), Role: names.Role(r.IntN(6)), Node: fmt.Sprint("n", r.IntN(3)), From: r.Int64N(milli(now)), Until: r.Int64N(2) * milli(now)}
		n.Workload = wire(deployment(fmt.Sprint(r.IntN(3))))
		for range r.IntN(3) {
			n.Addresses = append(n.Addresses, []byte{10, 0, 0, byte(r.IntN(4))})
		}
		for range r.IntN(3) {
			n.Ports = append(n.Ports, &names.Port{Protocol: tcp, Number: r.Uint32N(3), NodePort: r.Uint32N(3)})
		}
		switch r.IntN(5) {
		case 0:
			n.Pod = &names.Pod{Uid: fmt.Sprint(r.IntN(4)), Containers: []*names.Container{{Id: fmt.Sprint(r.IntN(4))}, {}}}
		case 1:
			n.Places = []*names.Place{{Address: []byte{10, 0, 0, 1}, Port: 1}}
		case 2:
			n.ExternalName = "x"
		case 3:
			n.Ranges = []string{"10.0.0.0/30", "x"}
		}
		u.Names = append(u.Names, n)
	}
	for range r.IntN(3) {
		u.Forgotten = append(u.Forgotten, 1+r.Uint64N(6))
	}
	return u
}
