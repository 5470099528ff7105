package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// controlPlane is the network namespace of the control plane. Those of the nodes have the nodes' names.
const controlPlane = "cp"

func (c *cluster) namespace(name string) string { return c.path("ns", name) }

// inNamespace runs something on a thread in a network namespace. The thread ends with it.
func inNamespace(file string, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: a thread that was elsewhere is not used again
		ns, err := netns.GetFromPath(file)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err != nil {
			done <- fmt.Errorf("enter network namespace %s: %w", file, err)
			return
		}
		done <- do()
	}()
	return <-done
}

// dialIn connects to an address as seen in a network namespace.
func dialIn(ctx context.Context, file, address string) (conn net.Conn, err error) {
	err = inNamespace(file, func() error {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", address)
		return err
	})
	return conn, err
}

// makeNamespace makes a network namespace that lives as long as its file is mounted.
func makeNamespace(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	f.Close()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make network namespace: %w", err)
			return
		}
		done <- unix.Mount("/proc/thread-self/ns/net", file, "", unix.MS_BIND, "")
	}()
	return <-done
}

// makeNetwork joins the nodes by a bridge in the control plane's namespace, and routes the pods of each to it.
func (c *cluster) makeNetwork() error {
	if err := os.MkdirAll(c.path("ns"), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	for _, name := range append([]string{controlPlane}, nodeNames...) {
		if err := makeNamespace(c.namespace(name)); err != nil {
			return err
		}
	}
	err := inNamespace(c.namespace(controlPlane), func() error {
		steps := []func() error{
			func() error { return upLink("lo") },
			func() error {
				return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}})
			},
			func() error { return upLink("br0") },
		}
		for _, node := range nodeNames {
			steps = append(steps, func() error { return c.plug(node) })
		}
		for _, f := range families() {
			steps = append(steps, func() error { return addAddress("br0", f.api, f.length) }, func() error { return os.WriteFile(f.forwarding, []byte("1"), 0o644) })
			for _, node := range nodeNames {
				steps = append(steps, func() error { return addRoute(f.podsOf(node), f.node(node)) })
			}
			// Webhooks and aggregated APIs: the API server reaches services through the first node.
			steps = append(steps, func() error { return addRoute(f.services, f.node(nodeNames[0])) })
		}
		return inOrder(steps)
	})
	if err != nil {
		return fmt.Errorf("make the control plane's network: %w", err)
	}
	for _, node := range nodeNames {
		if err := inNamespace(c.namespace(node), func() error { return configureNode(node) }); err != nil {
			return fmt.Errorf("make the network of %s: %w", node, err)
		}
	}
	return nil
}

func inOrder(steps []func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// plug makes a node's cable: one end in the bridge, the other is the node's eth0.
func (c *cluster) plug(node string) error {
	ns, err := netns.GetFromPath(c.namespace(node))
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	bridge, err := netlink.LinkByName("br0")
	if err != nil {
		return fmt.Errorf("find bridge: %w", err)
	}
	name := "veth-" + node
	cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: bridge.Attrs().Index}, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("plug in %s: %w", node, err)
	}
	return upLink(name)
}

func configureNode(node string) error {
	steps := []func() error{func() error { return upLink("lo") }, func() error { return upLink("eth0") }}
	for _, f := range families() {
		steps = append(steps, func() error { return addAddress("eth0", f.node(node), f.length) }, func() error { return addRoute(f.everywhere, f.api) })
		for _, other := range nodeNames {
			if other != node {
				steps = append(steps, func() error { return addRoute(f.podsOf(other), f.node(other)) })
			}
		}
	}
	return inOrder(steps)
}

func upLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

func addAddress(name, address string, length int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	addr, err := netlink.ParseAddr(fmt.Sprintf("%s/%d", address, length))
	if err != nil {
		return fmt.Errorf("read address: %w", err)
	}
	addr.Flags = unix.IFA_F_NODAD // nobody else is there, and an address of IPv6 waits for that otherwise
	return netlink.AddrAdd(link, addr)
}

func addRoute(cidr, via string) error {
	_, to, err := net.ParseCIDR(cidr)
	if err != nil {
		return fmt.Errorf("read route: %w", err)
	}
	if err := netlink.RouteAdd(&netlink.Route{Dst: to, Gw: net.ParseIP(via)}); err != nil {
		return fmt.Errorf("add route to %s: %w", cidr, err)
	}
	return nil
}

// dropNamespaces lets go of all network namespaces.
func (c *cluster) dropNamespaces() error {
	var errs []error
	for _, name := range append([]string{controlPlane}, nodeNames...) {
		if err := unix.Unmount(c.namespace(name), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount network namespace %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
