package probe

import (
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// netns is a network namespace, held by a thread that runs what it is given.
type netns struct {
	tid int
	do  chan func()
}

func newNetNS(t *testing.T) netns {
	t.Helper()
	ns, ready := netns{do: make(chan func())}, make(chan error)
	go func() {
		runtime.LockOSThread() // it is never given back: the thread ends with the goroutine
		ns.tid = unix.Gettid()
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range ns.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("make a network namespace (needs root): %v", err)
	}
	t.Cleanup(func() { close(ns.do) })
	ns.shell(t, "ip link set lo up")
	return ns
}

// run waits for f, which runs in the namespace.
func (ns netns) run(f func()) {
	done := make(chan struct{})
	ns.do <- func() { defer close(done); f() }
	<-done
}

func (ns netns) shell(t *testing.T, lines string) {
	t.Helper()
	ns.run(func() {
		if out, err := exec.Command("sh", "-ec", lines).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", lines, err, out)
		}
	})
}

// behindMachine makes two namespaces with a machine between them, which puts its own address, 10.77.2.1, in place of what comes to its port 30080 for 10.77.2.2:8080.
func behindMachine(t *testing.T) (other, pod netns) {
	t.Helper()
	other, machine, pod := newNetNS(t), newNetNS(t), newNetNS(t)
	at := func(ns netns) string { return strconv.Itoa(ns.tid) }
	machine.shell(t, "ip link add c0 type veth peer name e0 netns "+at(other)+"; ip link add s0 type veth peer name e0 netns "+at(pod)+
		"; ip addr add 10.77.1.1/24 dev c0; ip addr add 10.77.2.1/24 dev s0; ip link set c0 up; ip link set s0 up; echo 1 > /proc/sys/net/ipv4/ip_forward")
	other.shell(t, "ip addr add 10.77.1.2/24 dev e0; ip link set e0 up")
	pod.shell(t, "ip addr add 10.77.2.2/24 dev e0; ip link set e0 up; ip route add default via 10.77.2.1")
	machine.shell(t, "iptables -t nat -A PREROUTING -p tcp --dport 30080 -j DNAT --to-destination 10.77.2.2:8080; iptables -t nat -A POSTROUTING -o s0 -j MASQUERADE")
	return other, pod
}

func pollOnce(t *testing.T, p *Probe) Snapshot {
	t.Helper()
	var s Snapshot
	if err := p.poll(func(got Snapshot) { s = got }); err != nil {
		t.Fatal(err)
	}
	return s
}

// served counts the connections that the pod accepted, by what it saw as their other end.
func served(s Snapshot) map[netip.AddrPort]uint64 {
	out := map[netip.AddrPort]uint64{}
	for _, d := range s.Pairs {
		if d.Key.Role == RoleServer && d.Key.Local.Addr() == netip.MustParseAddr("10.77.2.2") {
			out[d.Key.Remote] += d.Opened
		}
	}
	return out
}

// TestTranslatedConnections: connections that came through the machine, with its address in place of the client's, are pairs of their own while there is
// room, and are gone soon after their end.
func TestTranslatedConnections(t *testing.T) {
	other, pod := behindMachine(t)
	p, err := New(Options{})
	if err != nil {
		t.Fatalf("start the probe (needs root): %v", err)
	}
	defer p.Close()
	own := netip.MustParseAddr("10.77.2.1")
	if err := p.SetOwnAddresses([]netip.Addr{own, netip.MustParseAddr("127.0.0.1")}); err != nil {
		t.Fatal(err)
	}
	poll := func() Snapshot { return pollOnce(t, p) }
	poll() // there is room now

	var l net.Listener
	pod.run(func() { l, err = net.Listen("tcp4", ":8080") })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	visit := func(n int) map[netip.AddrPort]bool { // and back come the addresses that the server saw
		t.Helper()
		seen := map[netip.AddrPort]bool{}
		for range n {
			c, s := connected(t, l, func(network, _ string) (c net.Conn, err error) {
				other.run(func() { c, err = net.Dial(network, "10.77.1.1:30080") })
				return c, err
			})
			seen[s.RemoteAddr().(*net.TCPAddr).AddrPort()] = true
			c.Close()
			s.Close()
		}
		return seen
	}
	want := visit(5)
	got := served(poll())
	for remote, n := range got {
		if n != 1 || !want[remote] {
			t.Errorf("%d connections from %s", n, remote)
		}
	}
	if len(got) != len(want) {
		t.Errorf("pairs of %v, want of %v", got, want)
	}

	if err := p.objects.TranslatedRoom.Put(uint32(0), int64(2)); err != nil {
		t.Fatal(err)
	}
	visit(5)
	shared := netip.AddrPortFrom(own, 0)
	if got = served(poll()); len(got) != 3 || got[shared] != 3 || p.Stats().Lost["translated_full"] != 3 {
		t.Errorf("with room for two of five: %v, lost %v", got, p.Stats().Lost)
	}
	for _, st := range p.reader.pairs { // as if that was a while ago
		st.changed = st.changed.Add(-translatedIdle)
	}
	gone := 0
	for _, d := range poll().Pairs {
		if d.Gone && d.Key.translated() {
			gone++
		}
	}
	if gone != 7 {
		t.Errorf("%d pairs of one connection are gone, want 7", gone)
	}
	if err := p.SetOwnAddresses(nil); err != nil {
		t.Fatal(err)
	}
	visit(2)
	if got = served(poll()); len(got) != 1 || got[shared] != 2 {
		t.Errorf("without addresses: %v", got)
	}
}
