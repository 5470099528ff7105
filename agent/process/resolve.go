package process

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

// Ends says who is at the two ends of a pair's connections.
type Ends struct {
	Owner  Identity // of the pair's own side
	Client model.Workload
	Server model.Workload
	Port   uint16         // the server's, after NAT where that is known
	Actual netip.AddrPort // client pairs: the destination after NAT
	Name   string         // client pairs: the name that the client has for a destination outside; "" where none is known
	// Watched says of a server pair that its client is watched on this machine too, so that the client's own pair has the same
	// connections. Client is the zero value where the address does not tell which one it is (it was translated on the way).
	Watched bool
	// Missing says that the record of an owner is not there (yet): its workload is the zero value, or what the address tells.
	Missing bool
	// Sure says that asking again soon would not give a better answer.
	Sure bool
}

// Resolve finds both ends of pairs; sample is one recent connection's own address, to ask conntrack with.
// The answers are in the order of the questions. It does I/O, bounded by time and count.
func (b *Book) Resolve(now time.Time, pairs []probe.PairKey, samples []netip.AddrPort) []Ends {
	b.tracker.begin()
	defer b.tracker.end()
	ends := make([]Ends, len(pairs))
	missed := false
	for i, key := range pairs {
		if key.Role == probe.RoleClient {
			ends[i] = b.clientEnds(now, key, samples[i])
		} else {
			ends[i] = b.serverEnds(key)
		}
		missed = missed || !ends[i].Sure
	}
	if missed { // a new namespace or address may explain it; takes effect when asked again
		b.space.refresh(now, true)
	}
	return ends
}

func (b *Book) owner(id probe.OwnerID, e *Ends) Identity {
	identity, ok := b.Identity(id)
	if !ok {
		e.Missing = true
	}
	return identity
}

func (b *Book) clientEnds(now time.Time, key probe.PairKey, sample netip.AddrPort) Ends {
	var e Ends
	e.Owner = b.owner(key.Owner, &e)
	e.Client = e.Owner.Workload
	remote := unmap(key.Remote)
	e.Actual = remote
	if key.Actual.IsValid() && key.Actual.Port() != 0 {
		e.Actual = unmap(key.Actual)
	}
	if key.Peer != 0 {
		if peer, ok := b.Identity(key.Peer); ok {
			e.Server, e.Port, e.Sure = peer.Workload, e.Actual.Port(), !e.Missing
			return e
		}
		e.Missing = true
	}
	listen, protocol := &b.listen, unix.IPPROTO_TCP
	if key.Datagrams {
		listen, protocol = &b.answer, unix.IPPROTO_UDP
	}
	workload, how := b.behind(listen, key.NetNS, e.Actual)
	if how != byListener && e.Actual == remote && sample.IsValid() && sample.Port() != 0 {
		if actual, ok := b.translate(protocol, key.NetNS, unmap(sample), remote); ok && actual != remote {
			e.Actual = actual
			if workload, how = b.behind(listen, key.NetNS, actual); how == byListener {
				b.natted[target{workload, actual.Port()}] = now
			}
		}
	}
	if how == outside {
		if e.Name = b.nameOf(now, key.Owner, remote, e.Actual); e.Name != "" {
			workload.Name = e.Name
		}
	}
	e.Server, e.Port = workload, e.Actual.Port()
	// The name may come with the first bytes of a connection.
	e.Sure = !e.Missing && (how == byListener || how == outside && (e.Name != "" || b.outside == nil && !isLocalRange(e.Actual.Addr())))
	return e
}

// nameOf is what a client calls a destination, before NAT or after it; "" where that is not known.
func (b *Book) nameOf(now time.Time, client probe.OwnerID, asked, actual netip.AddrPort) string {
	if b.outside == nil {
		return ""
	}
	name, ok := b.outside.Name(now, uint64(client), asked)
	if !ok && actual != asked {
		name, _ = b.outside.Name(now, uint64(client), actual)
	}
	return name
}

func (b *Book) serverEnds(key probe.PairKey) Ends {
	var e Ends
	e.Owner = b.owner(key.Owner, &e)
	e.Server, e.Port = e.Owner.Workload, key.Local.Port()
	if key.Peer != 0 {
		e.Client = b.owner(key.Peer, &e).Workload
		e.Watched, e.Sure = true, !e.Missing
		return e
	}
	if key.Datagrams && !key.Remote.IsValid() { // it is watched here, or did not get an answer to tell who it is
		e.Watched, e.Sure = true, !e.Missing
		return e
	}
	remote := unmap(key.Remote)
	var how evidence
	e.Client, how = b.ownerOf(key.NetNS, remote.Addr())
	if _, ok := b.natted[target{e.Server, e.Port}]; ok && how == byAddress && !remote.Addr().IsLoopback() {
		e.Client, e.Watched, e.Sure = model.Workload{}, true, true
		return e
	}
	if key.Datagrams && how == byAddress { // what a watched process asked, it tells itself
		e.Client, e.Watched, e.Sure = model.Workload{}, true, !e.Missing
		return e
	}
	e.Sure = !e.Missing && how == outside && !isLocalRange(remote.Addr())
	return e
}

// evidence is what a workload behind an address was found by.
type evidence uint8

const (
	outside    evidence = iota // nobody here owns the address
	byAddress                  // the address is of this machine
	byListener                 // somebody listens there, or did until lately
)

// behind says who of some listeners serves at an address, as a socket in a network namespace sees it.
func (b *Book) behind(listen *listeners, from uint32, to netip.AddrPort) (model.Workload, evidence) {
	candidates := b.space.candidates(from, to.Addr())
	var closed *listener
	for _, netns := range candidates {
		if found := listen.at(netns, to); found != nil {
			if found.open {
				return found.workload, byListener
			}
			if closed == nil {
				closed = found
			}
		}
	}
	if closed != nil {
		return closed.workload, byListener
	}
	return b.ownerOf(from, to.Addr())
}

// ownerOf says whose an address is: of the one workload in its network namespace, else of the node, else of somebody outside.
func (b *Book) ownerOf(from uint32, addr netip.Addr) (model.Workload, evidence) {
	candidates := b.space.candidates(from, addr)
	if len(candidates) == 0 {
		return model.Workload{Kind: model.KindExternal, Name: addr.String()}, outside
	}
	for _, netns := range candidates {
		if tenants := b.tenants[netns]; netns != b.space.own && len(tenants) == 1 {
			for workload := range tenants {
				return workload, byAddress
			}
		}
	}
	return b.node, byAddress
}

// translate asks the trackers of the client's and of the machine's own namespace where a connection really goes.
func (b *Book) translate(protocol int, netns uint32, from, to netip.AddrPort) (netip.AddrPort, bool) {
	if from.Addr().Is4() != to.Addr().Is4() || from.Addr().IsUnspecified() {
		return netip.AddrPort{}, false
	}
	spaces := make([]nsEntry, 0, 2)
	if entry, ok := b.space.entry(netns); ok && entry != b.space.door {
		spaces = append(spaces, entry)
	}
	return b.tracker.destination(protocol, from, to, append(spaces, b.space.door)...)
}

// isLocalRange reports whether an address is one that machines and clusters give to their own, so that its owner may show up yet.
func isLocalRange(addr netip.Addr) bool {
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsUnspecified()
}
