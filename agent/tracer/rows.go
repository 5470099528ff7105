package tracer

import (
	"math"
	"net/netip"
	"slices"

	"github.com/vetch-dev/vetch/agent/clock"
	"github.com/vetch-dev/vetch/agent/probe"
)

const (
	maxRows   = 75_000
	maxPairs  = 2 * maxRows // several pairs may look the same to who reads rows
	maxOwners = 65_536
	maxHeld   = 10_000
	// keepHeld is how many snapshots a server's pair waits for its client's, whose port it takes.
	keepHeld = 3
)

// rowKey is what tells rows apart.
type rowKey struct {
	owner  probe.OwnerID
	role   probe.Role
	netns  uint32
	local  netip.AddrPort // port 0 for clients
	remote netip.AddrPort // port 0 for servers, but where the connection stands alone
	peer   probe.OwnerID  // of servers' rows whose client's port is known
}

// row is what a program did with one peer on one port, since its first pair began.
type row struct {
	key                         rowKey
	source, dest                string // addresses
	sport, dport                uint16 // as told from the first time on, so that readers which key by them see one row
	direction                   uint8
	sent, received, retransmits uint64
	updated                     int64 // ns of the monotonic clock
	pairs                       int
	born                        uint64 // number of the snapshot
}

// meeting is a client's pair as the server's pair names it.
type meeting struct {
	client, server probe.OwnerID
	from           netip.Addr
	at             netip.AddrPort
}

// held is a server's pair that has no row yet.
type held struct {
	delta probe.PairDelta
	turns int
}

// table turns what pairs did into rows. Whoever has it locks.
type table struct {
	rows     map[rowKey]*row
	byPair   map[probe.PairKey]*row
	meetings map[meeting]*row
	held     map[probe.PairKey]*held
	pids     map[probe.OwnerID]uint32
	turn     uint64
	lost     uint64 // pairs without room
}

func newTable() table {
	return table{
		rows: make(map[rowKey]*row), byPair: make(map[probe.PairKey]*row), meetings: make(map[meeting]*row),
		held: make(map[probe.PairKey]*held), pids: make(map[probe.OwnerID]uint32),
	}
}

// apply adds a snapshot; own are the machine's addresses. Rows that ended are given to ended.
func (t *table) apply(s *probe.Snapshot, own []netip.Addr, ended func(*row)) {
	t.turn++
	now := int64(clock.Monotonic())
	for i := range s.Owners {
		if o := &s.Owners[i]; len(t.pids) < maxOwners {
			t.pids[o.ID] = o.PID
		}
	}
	for _, role := range []probe.Role{probe.RoleClient, probe.RoleServer} { // a server's row needs its client's
		for i := range s.Pairs {
			if d := &s.Pairs[i]; d.Key.Role == role && !d.Key.Datagrams {
				t.add(d, own, now, ended)
			}
		}
	}
	for key, h := range t.held {
		h.turns++
		if t.meeting(&key) == nil && h.turns < keepHeld && !h.delta.Gone {
			continue
		}
		delete(t.held, key)
		t.give(&h.delta, t.place(&h.delta, own), now, ended)
	}
	for _, id := range s.Gone {
		delete(t.pids, id)
	}
}

// add counts what a pair did, as soon as it has a row.
func (t *table) add(d *probe.PairDelta, own []netip.Addr, now int64, ended func(*row)) {
	r := t.byPair[d.Key]
	if r == nil {
		waiting := t.held[d.Key]
		switch {
		case waiting != nil:
			waiting.merge(d)
			return
		case d.Gone:
			return
		case d.Key.Role == probe.RoleServer && d.Key.Peer != 0 && t.meeting(&d.Key) == nil && len(t.held) < maxHeld:
			t.held[d.Key] = &held{delta: *d}
			return
		}
		r = t.place(d, own)
	}
	t.give(d, r, now, ended)
}

func (h *held) merge(d *probe.PairDelta) {
	h.delta.BytesSent += d.BytesSent
	h.delta.BytesReceived += d.BytesReceived
	h.delta.Retransmits += d.Retransmits
	h.delta.Gone = h.delta.Gone || d.Gone
}

// give adds to a row; nil is one that there was no room for.
func (t *table) give(d *probe.PairDelta, r *row, now int64, ended func(*row)) {
	if r == nil {
		if !d.Gone {
			t.lost++
		}
		return
	}
	if r.sport == 0 && d.Key.Role == probe.RoleClient {
		r.sport = d.SampleLocal.Port()
	}
	if d.BytesSent|d.BytesReceived|d.Retransmits|d.Opened|d.Closed != 0 {
		r.updated = now
	}
	r.sent += d.BytesSent
	r.received += d.BytesReceived
	r.retransmits += d.Retransmits
	if !d.Gone {
		return
	}
	delete(t.byPair, d.Key)
	if at, ok := meetingOf(&d.Key); ok && t.meetings[at] == r {
		delete(t.meetings, at)
	}
	if r.pairs--; r.pairs == 0 {
		delete(t.rows, r.key)
		ended(r)
	}
}

// place finds or makes the row of a pair; nil where there is no room.
func (t *table) place(d *probe.PairDelta, own []netip.Addr) *row {
	k := &d.Key
	key := rowKey{owner: k.Owner, role: k.Role, netns: k.NetNS, local: k.Local, remote: k.Remote}
	var dport uint16
	if client := t.meeting(k); client != nil {
		key.peer, dport = k.Peer, client.sport
	}
	r := t.rows[key]
	if len(t.byPair) >= maxPairs || r == nil && len(t.rows) >= maxRows {
		return nil
	}
	if r == nil {
		r = &row{key: key, sport: key.local.Port(), dport: key.remote.Port(), updated: int64(clock.Monotonic()), born: t.turn}
		if k.Role == probe.RoleServer && r.dport == 0 {
			r.dport = dport
		}
		if k.Role == probe.RoleClient {
			r.sport = d.SampleLocal.Port()
		}
		r.source, r.dest, r.direction = key.local.Addr().String(), key.remote.Addr().String(), direction(&key, own)
		t.rows[key] = r
	}
	r.pairs++
	t.byPair[*k] = r
	if at, ok := meetingOf(k); ok {
		t.meetings[at] = r
	}
	return r
}

// meetingOf is what a client's pair goes by at its server; ok is false for servers and where the server is not known.
func meetingOf(k *probe.PairKey) (meeting, bool) {
	at := k.Actual
	if at.Port() == 0 {
		at = k.Remote
	}
	return meeting{client: k.Owner, server: k.Peer, from: k.Local.Addr(), at: at}, k.Role == probe.RoleClient && k.Peer != 0
}

// meeting is the row of the client of a server's pair, with a port; nil where it is not known.
func (t *table) meeting(k *probe.PairKey) *row {
	if k.Role != probe.RoleServer || k.Peer == 0 {
		return nil
	}
	r := t.meetings[meeting{client: k.Peer, server: k.Owner, from: k.Remote.Addr(), at: k.Local}]
	if r == nil || r.sport == 0 {
		return nil
	}
	return r
}

// direction is what we know by the roles; a connection between addresses of the machine itself is local, as it was.
func direction(k *rowKey, own []netip.Addr) uint8 {
	remote := k.remote.Addr()
	switch {
	case remote.IsLoopback() || slices.Contains(own, remote) && slices.Contains(own, k.local.Addr()):
		return directionLocal
	case k.role == probe.RoleServer:
		return directionIncoming
	}
	return directionOutgoing
}

// tell writes a row as readers get it; ok is false while its process is not known yet, or nothing came of its connects.
func (t *table) tell(r *row) (c Connection, ok bool) {
	pid := t.pids[r.key.owner]
	if pid == 0 && t.turn < r.born+keepHeld || r.sport == 0 && r.sent == 0 && r.received == 0 || !r.key.local.IsValid() || !r.key.remote.IsValid() {
		return c, false
	}
	c = Connection{
		PID: pid, NetNS: r.key.netns, Source: r.source, Dest: r.dest,
		SPort: r.sport, DPort: r.dport, Direction: r.direction,
		MonotonicSent: r.sent, MonotonicReceived: r.received, MonotonicRetransmits: saturated(r.retransmits), LastUpdate: uint64(r.updated),
	}
	if r.key.local.Addr().Is6() {
		c.Family = 1
	}
	return c, true
}

func saturated(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }
