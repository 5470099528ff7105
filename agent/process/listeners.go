package process

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

const (
	maxListeners     = 16384
	rememberListener = 10 * time.Minute // so that a refused connect names who used to listen
)

type listenKey struct {
	netns uint32
	addr  netip.AddrPort
}

type listener struct {
	owner    probe.OwnerID
	workload model.Workload // kept, for the owner may be forgotten before the listener is
	seen     time.Time
	open     bool
}

// listeners knows who listens where, and who did until lately.
type listeners struct {
	by       map[listenKey]*listener
	overflow atomic.Uint64
}

// update takes the list of all that are open now.
func (l *listeners) update(now time.Time, list []probe.Listener, who func(probe.OwnerID) model.Workload) {
	for key, at := range l.by {
		at.open = false
		if now.Sub(at.seen) >= rememberListener {
			delete(l.by, key)
		}
	}
	for _, item := range list {
		key := listenKey{item.NetNS, unmap(item.Addr)}
		at := l.by[key]
		if at == nil {
			if len(l.by) >= maxListeners {
				l.overflow.Add(1)
				continue
			}
			at = &listener{}
			l.by[key] = at
		}
		if at.open && at.owner <= item.Owner {
			continue // shared by several: the lowest, so that the answer is always the same
		}
		if workload := who(item.Owner); !workload.IsZero() || at.workload.IsZero() {
			at.workload = workload
		}
		at.owner, at.seen, at.open = item.Owner, now, true
	}
}

// at finds who listens at an address of a namespace: the open before the closed, the exact address before the unspecified one.
func (l *listeners) at(netns uint32, addr netip.AddrPort) *listener {
	wildcards := []netip.AddrPort{addr, netip.AddrPortFrom(netip.IPv6Unspecified(), addr.Port())}
	if addr.Addr().Is4() {
		wildcards = []netip.AddrPort{addr, netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port()), wildcards[1]}
	}
	var closed *listener
	for _, candidate := range wildcards {
		found := l.by[listenKey{netns, candidate}]
		if found == nil || found.workload.IsZero() {
			continue
		}
		if found.open {
			return found
		}
		if closed == nil {
			closed = found
		}
	}
	return closed
}

// unmap turns an IPv4 address in an IPv6 socket into what it is, and drops zones.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
