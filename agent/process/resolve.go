package process

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/names"
)

// Ends says who is at the two ends of a pair's connections.
type Ends struct {
	Owner  Identity // of the pair's own side
	Client model.Workload
	Server model.Workload
	Port   uint16         // the server's, after NAT where that is known
	Actual netip.AddrPort // client pairs: the destination after NAT; server pairs of one connection (probe.PairKey): the client before NAT, zero if not known
	Name   string         // client pairs: the name that the client has for a destination outside; "" where none is known
	// Watched says of a server pair that its client is watched on this machine too, so that the client's own pair has the same
	// connections. Client is the zero value where the address does not tell which one it is (it was translated on the way).
	Watched bool
	// Missing says that the record of an owner is not there (yet): its workload is the zero value, or what the address tells.
	Missing bool
	// Sure says that asking again soon would not give a better answer.
	Sure bool

	generation uint64 // of the cluster's names when this was answered
	renames    uint64 // of the book's owners by then
}

// Question asks for the ends of a pair.
type Question struct {
	Pair   probe.PairKey
	Sample netip.AddrPort // one recent connection's own address, to ask conntrack with
	Before netip.AddrPort // what Ends.Actual was when it was asked before: the tracker forgets what ended
	Active time.Time      // when it last did something: addresses of a cluster are somebody's for a time only. Zero is now
}

// Resolve finds both ends of pairs. The answers are in the order of the questions. It does I/O, bounded by time and count.
func (b *Book) Resolve(now time.Time, questions []Question) []Ends {
	b.tracker.begin()
	defer b.tracker.end()
	ends := make([]Ends, len(questions))
	missed := false
	for i, q := range questions {
		if q.Active.IsZero() {
			q.Active = now
		}
		if q.Pair.Role == probe.RoleClient {
			ends[i] = b.clientEnds(now, q)
		} else {
			ends[i] = b.serverEnds(q)
		}
		ends[i].generation, ends[i].renames = b.generation, b.renames
		missed = missed || !ends[i].Sure
	}
	if missed { // a new namespace or address may explain it; takes effect when asked again
		b.space.refresh(now, true)
	}
	return ends
}

func (b *Book) owner(id probe.OwnerID, e *Ends) Identity {
	identity, ok := b.Identity(id)
	if !ok || identity.Provisional {
		e.Missing = true
	}
	return identity
}

func (b *Book) clientEnds(now time.Time, q Question) Ends {
	var e Ends
	key := q.Pair
	e.Owner = b.owner(key.Owner, &e)
	e.Client = e.Owner.Workload
	remote := unmap(key.Remote)
	e.Actual = remote
	if key.Actual.IsValid() && key.Actual.Port() != 0 {
		e.Actual = unmap(key.Actual)
	}
	if key.Peer != 0 {
		if peer, ok := b.Identity(key.Peer); ok {
			e.Missing = e.Missing || peer.Provisional
			e.Server, e.Port, e.Sure = peer.Workload, e.Actual.Port(), !e.Missing
			return e
		}
		e.Missing = true
	}
	listen, protocol := &b.listen, unix.IPPROTO_TCP
	if key.Datagrams {
		listen, protocol = &b.answer, unix.IPPROTO_UDP
	}
	who := b.behind(listen, key.NetNS, e.Actual, protocol, q.Active)
	if who.how != byListener && !who.isPod() && e.Actual == remote && q.Sample.IsValid() && q.Sample.Port() != 0 {
		if actual, ok := b.translate(protocol, key.NetNS, unmap(q.Sample), remote); ok && actual != remote {
			e.Actual = actual
			if who = b.behind(listen, key.NetNS, actual, protocol, q.Active); who.how == byListener {
				b.natted[target{who.workload, actual.Port()}] = now
			}
		}
	}
	if who.how == outside {
		if e.Name = b.nameOf(now, key.Owner, remote, e.Actual); e.Name != "" {
			who.workload.Name = e.Name
		}
	}
	e.Missing = e.Missing || who.missing
	e.Server, e.Port = who.workload, cmp.Or(who.port, e.Actual.Port())
	// The name may come with the first bytes of a connection.
	e.Sure = !e.Missing && (who.how == byListener || who.how == byName && !who.fleeting ||
		who.how == outside && (e.Name != "" || b.outside == nil && !isLocalRange(e.Actual.Addr())))
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
	if b.cluster != nil && name != "" {
		if to, ok := b.cluster.alias(name); ok {
			return to
		}
	}
	return name
}

func (b *Book) serverEnds(q Question) Ends {
	var e Ends
	key := q.Pair
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
	protocol := unix.IPPROTO_TCP
	if key.Datagrams {
		protocol = unix.IPPROTO_UDP
	}
	from := key.NetNS
	if remote.Port() != 0 {
		if e.Actual = b.origin(protocol, key.Local, remote, q.Before); e.Actual.IsValid() {
			remote, from = e.Actual, b.space.own
		}
	}
	who := b.ownerOf(from, netip.AddrPortFrom(remote.Addr(), 0), protocol, q.Active)
	e.Client, e.Missing = who.workload, e.Missing || who.missing
	_, natted := b.natted[target{e.Server, e.Port}]
	switch {
	case e.Actual.IsValid() && who.how == byAddress: // it is watched here, and went out and in again
		e.Client, e.Watched, e.Sure = model.Workload{}, true, true
	case e.Actual.IsValid() && who.how == outside: // what comes from outside has no better name
		e.Sure = !e.Missing
	case natted && who.how == byAddress && !remote.Addr().IsLoopback():
		e.Client, e.Watched, e.Sure = model.Workload{}, true, true
	case key.Datagrams && who.how == byAddress: // what a watched process asked, it tells itself
		e.Client, e.Watched, e.Sure = model.Workload{}, true, !e.Missing
	case who.how == byName && b.cluster.isWatched(who.node): // the agent of that node tells of its client, which it knows better
		e.Client, e.Watched, e.Sure = model.Workload{}, true, !e.Missing && !who.fleeting
	case who.how == byName:
		e.Sure = !e.Missing && !who.fleeting
	default:
		e.Sure = !e.Missing && who.how == outside && !isLocalRange(remote.Addr())
	}
	return e
}

// origin is the client of one connection that came through this machine with the machine's address in place of its own; zero where the tracker does not
// know of it.
func (b *Book) origin(protocol int, local, remote, before netip.AddrPort) netip.AddrPort {
	if before.IsValid() {
		return before
	}
	local = unmap(local)
	if local.Addr().Is4() != remote.Addr().Is4() || local.Addr().IsUnspecified() {
		return netip.AddrPort{}
	}
	actual, ok := b.tracker.source(protocol, local, remote, b.space.door)
	if !ok || actual == remote {
		return netip.AddrPort{}
	}
	return unmap(actual)
}

// evidence is what a workload behind an address was found by.
type evidence uint8

const (
	outside    evidence = iota // nobody here owns the address
	byAddress                  // the address is of this machine
	byName                     // the names feed of a cluster tells
	byListener                 // somebody listens there, or did until lately
)

// holder is who was found behind an address.
type holder struct {
	clusterAnswer // all of it only byName
	how           evidence
	missing       bool // a better name of it is on its way
}

func (h holder) isPod() bool { return h.how == byName && h.role == names.Role_ROLE_POD }

// behind says who of some listeners serves at an address, as a socket in a network namespace sees it.
func (b *Book) behind(listen *listeners, from uint32, to netip.AddrPort, protocol int, when time.Time) holder {
	candidates := b.space.candidates(from, to.Addr())
	var closed *listener
	for _, netns := range candidates {
		if found := listen.at(netns, to); found != nil {
			if found.open {
				return b.listening(found)
			}
			if closed == nil {
				closed = found
			}
		}
	}
	if closed != nil {
		return b.listening(closed)
	}
	return b.ownerOf(from, to, protocol, when)
}

func (b *Book) listening(l *listener) holder {
	h := holder{clusterAnswer: clusterAnswer{workload: l.workload}, how: byListener}
	if o := b.owners[l.owner]; o != nil && !o.Workload.IsZero() {
		h.workload, h.missing = o.Workload, o.Provisional
	}
	return h
}

// ownerOf says whose an address is: of the one workload in its network namespace, else of somebody in the cluster, else of the node, else of
// somebody outside. Port 0 asks for a client's.
func (b *Book) ownerOf(from uint32, addr netip.AddrPort, protocol int, when time.Time) holder {
	candidates := b.space.candidates(from, addr.Addr())
	for _, netns := range candidates {
		if tenants := b.tenants[netns]; netns != b.space.own && len(tenants) == 1 {
			for workload := range tenants {
				return holder{clusterAnswer: clusterAnswer{workload: workload}, how: byAddress}
			}
		}
	}
	if len(candidates) > 0 {
		if b.cluster != nil && addr.Port() != 0 && slices.Contains(candidates, b.space.own) {
			if answer, ok := b.cluster.atNodePort(uint32(protocol), addr.Port()); ok {
				return holder{clusterAnswer: answer, how: byName}
			}
		}
		return holder{clusterAnswer: clusterAnswer{workload: b.node}, how: byAddress}
	}
	if b.cluster != nil {
		if answer, ok := b.cluster.at(addr, uint32(protocol), when); ok {
			return holder{clusterAnswer: answer, how: byName}
		}
	}
	return holder{
		clusterAnswer: clusterAnswer{workload: model.Workload{Kind: model.KindExternal, Name: addr.Addr().String()}}, how: outside,
		missing: b.cluster != nil && isLocalRange(addr.Addr()) && !b.cluster.isSynced(),
	}
}

// Stale reports whether the names that an answer was made of have changed since.
func (b *Book) Stale(key probe.PairKey, e *Ends) bool {
	for _, id := range []probe.OwnerID{key.Owner, key.Peer} {
		if o := b.owners[id]; o != nil && o.renamed > e.renames {
			return true
		}
	}
	if b.cluster == nil {
		return false
	}
	remote := unmap(key.Remote)
	return b.cluster.changed(remote.Addr()) > e.generation || e.Actual != remote && b.cluster.changed(e.Actual.Addr()) > e.generation
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
