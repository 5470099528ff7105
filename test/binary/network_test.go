package binary

import (
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// namespace is a network namespace without a name; it goes with the last process in it.
type namespace struct{ handle netns.NsHandle }

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	require.NoError(t, err)
	defer own.Close()
	handle, err := netns.New()
	require.NoError(t, err)
	require.NoError(t, netns.Set(own))
	n := &namespace{handle}
	t.Cleanup(func() { n.handle.Close() })
	require.NoError(t, n.do(func() error { return up("lo", "") }))
	return n
}

// do runs f on a thread in the namespace; programs that f starts are in it too.
func (n *namespace) do(f func() error) error {
	if n == nil {
		return f()
	}
	runtime.LockOSThread()
	own, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own namespace: %w", err)
	}
	defer own.Close()
	if err := netns.Set(n.handle); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace: %w", err)
	}
	failed := f()
	if err := netns.Set(own); err != nil {
		return fmt.Errorf("leave namespace: %w", err) // the thread stays locked and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return failed
}

func up(name string, addresses ...string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	for _, a := range addresses {
		if a == "" {
			continue
		}
		address, err := netlink.ParseAddr(a)
		if err != nil {
			return fmt.Errorf("parse %s: %w", a, err)
		}
		address.Flags = 2 // IFA_F_NODAD: usable at once
		if err := netlink.AddrAdd(link, address); err != nil {
			return fmt.Errorf("add %s: %w", a, err)
		}
	}
	return netlink.LinkSetUp(link)
}

// The addresses of the two ends that joined makes.
const (
	nearV4, farV4 = "10.213.7.1", "10.213.7.2"
	nearV6, farV6 = "fd13:7::1", "fd13:7::2"
)

// joined returns two new namespaces, joined by a veth pair.
func joined(t testing.TB) (near, far *namespace) {
	t.Helper()
	near, far = newNamespace(t), newNamespace(t)
	require.NoError(t, near.do(func() error {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = "near"
		pair := netlink.NewVeth(attributes)
		pair.PeerName = "far"
		pair.PeerNamespace = netlink.NsFd(far.handle)
		return netlink.LinkAdd(pair)
	}))
	require.NoError(t, near.do(func() error { return up("near", nearV4+"/24", nearV6+"/64") }))
	require.NoError(t, far.do(func() error { return up("far", farV4+"/24", farV6+"/64") }))
	return near, far
}

// route sends what goes to the prefix through the near end.
func (n *namespace) route(t testing.TB, prefix, gateway string) {
	t.Helper()
	require.NoError(t, n.do(func() error {
		link, err := netlink.LinkByName("near")
		if err != nil {
			return err
		}
		_, destination, err := net.ParseCIDR(prefix)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: destination, Gw: net.ParseIP(gateway)})
	}))
}

// rules loads an nft ruleset into the namespace.
func (n *namespace) rules(t testing.TB, ruleset string) {
	t.Helper()
	require.NoError(t, n.do(func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(ruleset)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	}))
}
