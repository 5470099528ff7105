package tracer

import (
	"net/netip"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
)

const (
	maxSpaces   = 2048
	maxLooks    = 512 // namespaces whose sockets are listed for one answer
	forgetSpace = 10 * time.Minute
)

// space is what listens in a network namespace.
type space struct {
	listening map[netip.AddrPort]bool
	by        map[netip.AddrPort]*owner // who was seen to accept connections
	turn      int                       // of the answer for which it was listed
	used      time.Time
}

// look lists what listens in the namespaces of the rows, and settles by it who is server and who is client.
func (b *book) look(now time.Time) {
	looks := 0
	for _, c := range b.conns {
		if c.skipped || c.absent > 0 {
			continue
		}
		s := b.spaces[c.owner.NetNS]
		if s == nil {
			if len(b.spaces) >= maxSpaces {
				continue
			}
			s = &space{by: make(map[netip.AddrPort]*owner)}
			b.spaces[c.owner.NetNS] = s
		}
		s.used = now
		if s.turn == b.turn || looks >= maxLooks {
			continue
		}
		if ns, err := b.proc.netns(c.key.pid); err != nil || ns != c.owner.NetNS {
			continue // by another process
		}
		looks++
		if listening, err := b.proc.listening(c.key.pid); err == nil {
			s.listening, s.turn = listening, b.turn
		}
	}
	for netns, s := range b.spaces {
		if now.Sub(s.used) >= forgetSpace {
			delete(b.spaces, netns)
		}
	}
	for _, c := range b.conns {
		if !c.skipped && c.pair == nil {
			b.decide(c)
		}
	}
}

// decide settles the role of a row: who has its port from a listening socket is the server, whatever the tracer says.
func (b *book) decide(c *conn) {
	s := b.spaces[c.owner.NetNS]
	if s == nil {
		return
	}
	if at, ok := serves(s.listening, c.key.local); ok {
		c.role, c.listens = probe.RoleServer, at
		s.by[at] = c.owner
		return
	}
	if _, ok := serves(s.listening, c.key.remote); ok && (c.key.remote.Addr().IsLoopback() || c.key.remote.Addr() == c.key.local.Addr()) {
		c.role = probe.RoleClient
	}
}

// endpoint is an address and port of a socket. Loopback addresses are each namespace's own.
type endpoint struct {
	netns uint32
	at    netip.AddrPort
}

func endpointOf(netns uint32, at netip.AddrPort) endpoint {
	if !at.Addr().IsLoopback() {
		netns = 0
	}
	return endpoint{netns, at}
}

// ends are the rows by their addresses.
type ends struct {
	local  map[endpoint]*conn // clients by their own
	remote map[endpoint]*conn // servers by their client's; nil where several have the same
	addrs  map[netip.Addr]bool
}

// join finds the other ends of the rows that have no pair yet.
func (b *book) join() {
	waiting := false
	for _, c := range b.conns {
		waiting = waiting || c.pair == nil && !c.skipped
	}
	if !waiting {
		return
	}
	all := b.ends()
	for _, c := range b.conns {
		if c.pair != nil || c.skipped {
			continue
		}
		other := all.other(c)
		if c.role == probe.RoleUnknown {
			c.role = guess(c, other)
		}
		if c.waited++; other == nil && c.waited < keepWaiting && c.absent == 0 && all.expects(c) {
			continue
		}
		b.enter(c, pairKey(c, other))
	}
}

func (b *book) ends() ends {
	all := ends{local: make(map[endpoint]*conn, len(b.conns)), remote: make(map[endpoint]*conn, len(b.conns)), addrs: make(map[netip.Addr]bool)}
	for _, c := range b.conns {
		if c.key.udp {
			continue
		}
		all.addrs[c.key.local.Addr()] = true
		if c.skipped {
			continue
		}
		if c.role != probe.RoleServer {
			all.local[endpointOf(c.owner.NetNS, c.key.local)] = c
		}
		if c.role != probe.RoleClient && c.key.remote.Port() != 0 {
			at := endpointOf(c.owner.NetNS, c.key.remote)
			if first, taken := all.remote[at]; taken && (first == nil || first.owner != c.owner) {
				c = nil // one row that stands for connections to several servers
			}
			all.remote[at] = c
		}
	}
	return all
}

// other is the row of the other end of a connection; nil where there is none.
func (e *ends) other(c *conn) *conn {
	var found *conn
	if c.role != probe.RoleClient && c.key.remote.Port() != 0 {
		found = e.local[endpointOf(c.owner.NetNS, c.key.remote)]
	}
	if found == nil && c.role != probe.RoleServer {
		found = e.remote[endpointOf(c.owner.NetNS, c.key.local)]
	}
	if found == c || found != nil && found.role == c.role && c.role != probe.RoleUnknown {
		return nil
	}
	return found
}

// expects reports whether the other end of a row should be on this machine.
func (e *ends) expects(c *conn) bool {
	return c.key.remote.Addr().IsLoopback() || e.addrs[c.key.remote.Addr()]
}

// guess is the role of a local connection whose listening socket is gone: opposite to the other end's, else the server has the lower port.
func guess(c, other *conn) probe.Role {
	switch {
	case other != nil && other.role == probe.RoleServer:
		return probe.RoleClient
	case other != nil && other.role == probe.RoleClient:
		return probe.RoleServer
	case c.key.local.Port() < c.key.remote.Port():
		return probe.RoleServer
	}
	return probe.RoleClient
}

// pairKey is the pair of a row, with its other end or nil.
func pairKey(c, other *conn) probe.PairKey {
	k := probe.PairKey{Owner: c.owner.ID, Role: c.role, NetNS: c.owner.NetNS, Local: c.key.local, Remote: c.key.remote}
	if other != nil {
		k.Peer = other.owner.ID
	}
	if c.role == probe.RoleServer {
		k.Remote = netip.AddrPortFrom(c.key.remote.Addr(), 0)
		return k
	}
	k.Local = netip.AddrPortFrom(c.key.local.Addr(), 0)
	if other != nil {
		k.Actual = other.key.local
	}
	return k
}

// listeners are the sockets that listen now, of those whose owner was seen to accept a connection.
func (b *book) listeners() []probe.Listener {
	var out []probe.Listener
	for netns, s := range b.spaces {
		for at, who := range s.by {
			if b.owners.by[who.ID] != who {
				delete(s.by, at)
			} else if s.listening[at] && who.reported {
				out = append(out, probe.Listener{Owner: who.ID, NetNS: netns, Addr: at})
			}
		}
	}
	return out
}
