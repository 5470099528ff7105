package process

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// maxAddresses bounds the addresses kept of one namespace.
const maxAddresses = 4096

// netlinkLimit is how long the kernel may take to answer.
const netlinkLimit = time.Second

// errOtherNamespace says that a process has left the namespace it was looked up for.
var errOtherNamespace = errors.New("process is in another network namespace")

// inNetNS opens something in the network namespace of a live process. A namespace of 0 is the caller's own.
// The work runs on a thread of its own, which ends with it when it cannot be brought back.
func (p procfs) inNetNS(pid, netns uint32, open func() error) error {
	if netns == 0 {
		return open()
	}
	path := p.path(pid, "ns/net")
	target, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer target.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(target.Fd()), &stat); err != nil {
		return fmt.Errorf("stat network namespace: %w", err)
	}
	if uint32(stat.Ino) != netns {
		return errOtherNamespace
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open own network namespace: %w", err)
			return
		}
		defer home.Close()
		if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err = open()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// addressesIn lists the addresses of the interfaces in a network namespace, entered through one of its processes.
func (p procfs) addressesIn(pid, netns uint32) ([]netip.Addr, error) {
	var handle *netlink.Handle
	err := p.inNetNS(pid, netns, func() (err error) {
		handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	if err := handle.SetSocketTimeout(netlinkLimit); err != nil {
		return nil, fmt.Errorf("limit netlink: %w", err)
	}
	list, err := handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	addrs := make([]netip.Addr, 0, len(list))
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && len(addrs) < maxAddresses {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs, nil
}

// netfilterSocket opens a netlink socket to netfilter in a network namespace.
func (p procfs) netfilterSocket(pid, netns uint32) (*nl.NetlinkSocket, error) {
	var socket *nl.NetlinkSocket
	err := p.inNetNS(pid, netns, func() (err error) {
		socket, err = nl.Subscribe(unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		return nil, err
	}
	limit := unix.NsecToTimeval(netlinkLimit.Nanoseconds())
	if err := errors.Join(socket.SetSendTimeout(&limit), socket.SetReceiveTimeout(&limit)); err != nil {
		socket.Close()
		return nil, fmt.Errorf("limit netlink: %w", err)
	}
	return socket, nil
}
