package names

import (
	"errors"
	"fmt"
	"net/netip"
	"unicode/utf8"
)

// The bounds of what a feed may say. A watcher that breaks one is not believed in anything.
const (
	maxNames      = 65536 // of one message
	maxAddresses  = 256   // of one name
	maxPorts      = 1024
	maxContainers = 512
	maxLabels     = 64
	maxText       = 512 // bytes
)

var errInvalid = errors.New("the names feed sent what it must not")

// Check reports whether a message is one that a watcher may send. It does not look at ids and sequences, which mean something only in turn.
func Check(u *Update) error {
	if u.Epoch == 0 || u.Time < 0 {
		return fmt.Errorf("%w: no epoch or a negative time", errInvalid)
	}
	if len(u.Names) > maxNames || len(u.Forgotten) > maxNames {
		return fmt.Errorf("%w: %d names in one message", errInvalid, len(u.Names)+len(u.Forgotten))
	}
	for _, n := range u.Names {
		if err := n.check(); err != nil {
			return fmt.Errorf("%w: name %d: %w", errInvalid, n.GetId(), err)
		}
	}
	return nil
}

func (n *Name) check() error {
	switch {
	case n == nil || n.Id == 0:
		return errors.New("no id")
	case n.From < 0 || n.Until < 0:
		return errors.New("a negative time")
	case len(n.Addresses) > maxAddresses || len(n.Ports) > maxPorts || len(n.Places) > maxPorts || len(n.Ranges) > maxAddresses:
		return errors.New("too many addresses or ports")
	case !isText(n.Node) || !isText(n.ExternalName):
		return errors.New("a text that is too long")
	}
	for _, w := range []*Workload{n.Workload, n.Backend} {
		if w != nil && (!isText(w.Namespace) || !isText(w.Kind) || !isText(w.Name)) {
			return errors.New("a text that is too long")
		}
	}
	for _, a := range n.Addresses {
		if !isAddress(a) {
			return errors.New("an address that is none")
		}
	}
	for _, p := range n.Ports {
		if p == nil || p.Protocol > 255 || p.Number > 65535 || p.NodePort > 65535 || p.Target > 65535 {
			return errors.New("a port that is none")
		}
	}
	for _, p := range n.Places {
		if p == nil || !isAddress(p.Address) || p.Port > 65535 {
			return errors.New("an endpoint that is none")
		}
	}
	for _, r := range n.Ranges {
		if !isText(r) {
			return errors.New("a range that is too long")
		}
	}
	return n.Pod.check()
}

func (p *Pod) check() error {
	if p == nil {
		return nil
	}
	if !isText(p.Uid) || !isText(p.Name) || len(p.Containers) > maxContainers || len(p.Labels) > maxLabels {
		return errors.New("a pod that is too large")
	}
	for _, c := range p.Containers {
		if c == nil || !isText(c.Id) || !isText(c.Name) {
			return errors.New("a container that is too large")
		}
	}
	for name, value := range p.Labels {
		if !isText(name) || !isText(value) {
			return errors.New("a label that is too long")
		}
	}
	return nil
}

func isText(s string) bool { return len(s) <= maxText && utf8.ValidString(s) }

func isAddress(b []byte) bool {
	_, ok := netip.AddrFromSlice(b)
	return ok
}

// Address reads an address of the feed as the agent writes addresses: IPv4 never within IPv6.
func Address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}
