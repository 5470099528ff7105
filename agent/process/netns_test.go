package process

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/names"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// namespace is a network namespace that a test made, held by a sleeping process.
type namespace struct {
	pid   uint32
	netns uint32
}

var realProc = procfs{root: "/proc"}

func newNamespace(t *testing.T) namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root")
	}
	for _, tool := range []string{"unshare", "nsenter", "ip", "iptables"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("needs %s", tool)
		}
	}
	cmd := exec.Command("unshare", "--net", "sh", "-c", "echo; exec cat")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { input.Close(); _ = cmd.Wait() })
	if _, err := io.ReadFull(output, make([]byte, 1)); err != nil {
		t.Fatalf("no network namespace: %v", err)
	}
	ns := namespace{pid: uint32(cmd.Process.Pid)}
	if ns.netns, err = realProc.netns(ns.pid); err != nil {
		t.Fatal(err)
	}
	ns.run(t, "ip link set lo up")
	return ns
}

// run runs shell commands, one a line, in the namespace.
func (ns namespace) run(t *testing.T, lines string) {
	t.Helper()
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(int(ns.pid)), "-n", "sh", "-ec", lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", lines, err, out)
	}
}

// connectTo joins two namespaces by a veth pair; names are unique within each.
func (ns namespace) connectTo(t *testing.T, other namespace, name, addr, otherName, otherAddr string) {
	t.Helper()
	ns.run(t, "ip link add "+name+" type veth peer name "+otherName+" netns "+strconv.Itoa(int(other.pid))+
		"\nip addr add "+addr+" nodad dev "+name+"\nip link set "+name+" up")
	other.run(t, "ip addr add "+otherAddr+" nodad dev "+otherName+"\nip link set "+otherName+" up")
}

// listen opens a listener in the namespace and accepts until the test ends.
func (ns namespace) listen(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	at, _ := ns.accept(t, addr)
	return at
}

// dial connects from the namespace and gives the connection's own address.
func (ns namespace) dial(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	var conn net.Conn
	err := realProc.inNetNS(ns.pid, ns.netns, func() (err error) {
		conn, err = net.DialTimeout("tcp", addr, 5*time.Second)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().(*net.TCPAddr).AddrPort()
}

func TestAddressesOfANamespace(t *testing.T) {
	ns := newNamespace(t)
	ns.run(t, "ip addr add 10.77.1.5/24 dev lo\nip addr add fd77::5/64 dev lo")
	addrs, err := realProc.addressesIn(ns.pid, ns.netns)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"127.0.0.1", "10.77.1.5", "fd77::5"} {
		if !slices.Contains(addrs, netip.MustParseAddr(want)) {
			t.Errorf("no %s in %v", want, addrs)
		}
	}
	if _, err := realProc.addressesIn(ns.pid, ns.netns+1); err != errOtherNamespace {
		t.Errorf("a process of another namespace: %v", err)
	}
	own, err := realProc.addressesIn(0, 0)
	if err != nil || slices.Contains(own, netip.MustParseAddr("10.77.1.5")) {
		t.Errorf("own addresses %v, %v", own, err)
	}
	if pid := realProc.anyIn(ns.netns); pid != ns.pid {
		t.Errorf("found process %d, want %d", pid, ns.pid)
	}
}

// TestTranslatedDestination sends real connections through NAT rules in the client's namespace and in a router between both ends.
func TestTranslatedDestination(t *testing.T) {
	client, router, server := newNamespace(t), newNamespace(t), newNamespace(t)
	client.connectTo(t, router, "e0", "10.77.1.2/24", "c0", "10.77.1.1/24")
	server.connectTo(t, router, "e0", "10.77.2.2/24", "s0", "10.77.2.1/24")
	client.connectTo(t, router, "e1", "fd77:1::2/64", "c6", "fd77:1::1/64")
	server.connectTo(t, router, "e1", "fd77:2::2/64", "s6", "fd77:2::1/64")
	routes := "ip route add default via %4\nip -6 route add default via %6"
	client.run(t, strings.NewReplacer("%4", "10.77.1.1", "%6", "fd77:1::1").Replace(routes))
	server.run(t, strings.NewReplacer("%4", "10.77.2.1", "%6", "fd77:2::1").Replace(routes))
	router.run(t, "echo 1 > /proc/sys/net/ipv4/ip_forward\necho 1 > /proc/sys/net/ipv6/conf/all/forwarding")
	port := strconv.Itoa(int(server.listen(t, "[::]:0").Port()))
	dnat := "-p tcp --dport 80 -j DNAT --to-destination "
	client.run(t, "iptables -t nat -A OUTPUT -d 10.99.0.1 "+dnat+"10.77.2.2:"+port)
	router.run(t, "iptables -t nat -A PREROUTING -d 10.99.0.2 "+dnat+"10.77.2.2:"+port+
		"\nip6tables -t nat -A PREROUTING -d fd99::2 "+dnat+"[fd77:2::2]:"+port)

	b, err := New(Options{Hostname: "host"})
	if err != nil {
		t.Fatal(err)
	}
	b.space.own, b.space.door = router.netns, nsEntry{netns: router.netns, pid: router.pid} // the router is the machine
	b.space.spaces = map[uint32]*space{router.netns: {netns: router.netns}}
	served, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b.Update(probe.Snapshot{
		Time: now,
		Owners: []probe.Owner{
			{ID: 1, PID: client.pid, Exe: "cat", NetNS: client.netns, PathV1: "/docker/" + hexID},
			{ID: 2, PID: server.pid, Exe: "cat", NetNS: server.netns, PathV1: "/docker/" + hexID2},
		},
		Listeners: []probe.Listener{{Owner: 2, NetNS: server.netns, Addr: netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(served))}},
	})
	for _, to := range []string{"10.99.0.1:80", "10.99.0.2:80", "[fd99::2]:80", "10.77.2.2:" + port, "[fd77:2::2]:" + port} {
		key := probe.PairKey{Owner: 1, Role: probe.RoleClient, NetNS: client.netns, Remote: netip.MustParseAddrPort(to)}
		ends := b.Resolve(now, []Question{{Pair: key, Sample: client.dial(t, to)}})[0]
		want := model.Workload{Kind: model.KindContainer, Name: hexID2[:12]}
		if ends.Server != want || ends.Port != uint16(served) || !ends.Sure {
			t.Errorf("%s: got %+v", to, ends)
		}
	}
	if got := b.Stats(); got.ConntrackErrors != 0 || got.ConntrackFound != 3 {
		t.Errorf("conntrack: %+v", got)
	}
	// what the server sees of a translated connection names no second client
	back := b.Resolve(now, []Question{{Pair: probe.PairKey{Owner: 2, Role: probe.RoleServer, NetNS: server.netns, Local: netip.MustParseAddrPort("10.77.2.2:" + port), Remote: netip.MustParseAddrPort("10.77.2.1:0")}}})[0]
	if !back.Watched || !back.Client.IsZero() {
		t.Errorf("the server's view: %+v", back)
	}
}

// TestClientBehindTheMachine sends real connections from another machine through one that puts its own address in place of theirs, as node ports do.
func TestClientBehindTheMachine(t *testing.T) {
	other, machine, pod := newNamespace(t), newNamespace(t), newNamespace(t)
	other.connectTo(t, machine, "e0", "10.77.1.2/24", "c0", "10.77.1.1/24")
	other.connectTo(t, machine, "e1", "fd77:1::2/64", "c6", "fd77:1::1/64")
	pod.connectTo(t, machine, "e0", "10.77.2.2/24", "s0", "10.77.2.1/24")
	pod.connectTo(t, machine, "e1", "fd77:2::2/64", "s6", "fd77:2::1/64")
	pod.run(t, "ip route add default via 10.77.2.1\nip -6 route add default via fd77:2::1")
	machine.run(t, "echo 1 > /proc/sys/net/ipv4/ip_forward\necho 1 > /proc/sys/net/ipv6/conf/all/forwarding")
	served, remotes := pod.accept(t, "[::]:0")
	port := strconv.Itoa(int(served.Port()))
	dnat := "-p tcp --dport 30080 -j DNAT --to-destination "
	machine.run(t, "iptables -t nat -A PREROUTING "+dnat+"10.77.2.2:"+port+"\niptables -t nat -A POSTROUTING -o s0 -j MASQUERADE"+
		"\nip6tables -t nat -A PREROUTING "+dnat+"[fd77:2::2]:"+port+"\nip6tables -t nat -A POSTROUTING -o s6 -j MASQUERADE")

	w := newWatcher("here")
	b, err := New(Options{Hostname: "here", Cluster: w.c})
	if err != nil {
		t.Fatal(err)
	}
	b.space.own, b.space.door = machine.netns, nsEntry{netns: machine.netns, pid: machine.pid}
	b.space.spaces = map[uint32]*space{machine.netns: {netns: machine.netns}}
	b.Update(probe.Snapshot{Time: w.now, Owners: []probe.Owner{{ID: 2, PID: pod.pid, Exe: "cat", NetNS: pod.netns, PathV1: "/docker/" + hexID2}}})
	if !slices.Contains(b.OwnAddresses(), netip.MustParseAddr("10.77.2.1")) {
		t.Errorf("the machine's own addresses are %v", b.OwnAddresses())
	}
	for _, way := range []struct{ to, local, from string }{
		{"10.77.1.1:30080", "10.77.2.2:" + port, "10.77.1.2"}, {"[fd77:1::1]:30080", "[fd77:2::2]:" + port, "fd77:1::2"},
	} {
		client := other.dial(t, way.to)
		key := probe.PairKey{Owner: 2, Role: probe.RoleServer, NetNS: pod.netns, Local: netip.MustParseAddrPort(way.local), Remote: <-remotes}
		ask := func(q Question) Ends { return b.Resolve(w.now, []Question{q})[0] }
		w.snapshot()
		if got := ask(Question{Pair: key}); got.Client != external(way.from) || got.Actual != client || got.Watched {
			t.Errorf("from outside: %+v", got)
		}
		web := &names.Name{Id: 7, Role: names.Role_ROLE_POD, Workload: wire(deployment("web")), Node: way.from, Addresses: ips(way.from), From: milli(w.now)}
		w.snapshot(web)
		if got := ask(Question{Pair: key}); got.Client != deployment("web") || got.Watched || !got.Sure {
			t.Errorf("from a pod of a node without an agent: %+v", got)
		}
		w.snapshot(web, &names.Name{Id: 8, Role: names.Role_ROLE_AGENT, Node: way.from, From: milli(w.now)})
		got := ask(Question{Pair: key})
		if !got.Client.IsZero() || !got.Watched || !got.Sure {
			t.Errorf("from a pod of a node with an agent: %+v", got)
		}
		machine.run(t, "conntrack -F") // the connection ended long ago
		if got := ask(Question{Pair: key, Before: got.Actual}); !got.Watched {
			t.Errorf("when the tracker has forgotten it: %+v", got)
		}
		node := kubeNode("here")
		if got := ask(Question{Pair: key}); got.Client != node || got.Watched {
			t.Errorf("when the tracker has forgotten it, asked for the first time: %+v", got)
		}
	}
}

// accept takes connections until the test ends, and says who they are from.
func (ns namespace) accept(t *testing.T, addr string) (at netip.AddrPort, remotes <-chan netip.AddrPort) {
	t.Helper()
	var listener net.Listener
	err := realProc.inNetNS(ns.pid, ns.netns, func() (err error) {
		listener, err = net.Listen("tcp", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	out, done := make(chan netip.AddrPort, 64), make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			out <- unmap(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().(*net.TCPAddr).AddrPort(), out
}
