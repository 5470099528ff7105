package tracer

import (
	"net/netip"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
)

const (
	// keepAbsent is for how many whole answers a row that is not in them any more is remembered, so that one which comes back does not count twice.
	keepAbsent = 12
	// keepWaiting is for how many answers a row waits for that of its other end, which is on this machine too.
	keepWaiting = 2
	maxFollowed = 2 * maxTaken
)

// The reasons why something of an answer is not counted.
const (
	lostMalformed = "tracer_malformed"    // rows with a value that does not fit
	lostRowsFull  = "tracer_rows_full"    // rows over a bound
	lostUDP       = "tracer_udp"          // rows of UDP
	lostNobody    = "tracer_process_gone" // rows whose process could not be looked at: it was gone, or the agent may not
)

var lostReasons = []string{lostMalformed, lostRowsFull, lostUDP, lostNobody}

// connKey is what tells rows of a tracer apart.
type connKey struct {
	pid, netns    uint32
	udp           bool
	local, remote netip.AddrPort
}

// conn is a row that is followed.
type conn struct {
	key                         connKey
	sent, received, retransmits uint64 // as counted
	now                         figures
	absent                      int // whole answers in a row without it
	waited                      int // answers
	owner                       *owner
	role                        probe.Role
	listens                     netip.AddrPort // servers: the socket that they accepted it from, where that is known
	skipped                     bool
	pair                        *pair // nil: it waits
	older                       bool  // than the first answer
	begun, open                 bool  // in its pair
}

// pair adds up the rows that are one pair.
type pair struct {
	key   probe.PairKey
	delta probe.PairDelta
	conns int
	open  int64
	dirty bool
}

// book follows the rows of a tracer, and makes of them what the probe would have read. It belongs to one goroutine.
type book struct {
	proc    procfs
	owners  owners
	spaces  map[uint32]*space
	conns   map[connKey]*conn
	pairs   map[probe.PairKey]*pair
	dirty   []*pair
	started bool // a whole answer was read
	single  bool // rows are connections
	turn    int
	lost    map[string]uint64
}

func newBook(proc procfs) *book {
	return &book{
		proc: proc, owners: newOwners(proc), spaces: make(map[uint32]*space), conns: make(map[connKey]*conn), pairs: make(map[probe.PairKey]*pair),
		lost: make(map[string]uint64),
	}
}

// read takes the rows of an answer. What is not in a whole one has ended.
func (b *book) read(rows []Connection, single, whole bool, now time.Time) {
	if !whole && len(rows) == 0 {
		return
	}
	b.turn++
	b.single = single
	b.owners.begin()
	seen := make(map[*conn]struct{}, len(rows))
	for i := range rows {
		if c := b.row(&rows[i]); c != nil {
			seen[c] = struct{}{}
		}
	}
	b.look(now)
	b.join()
	b.count(seen, whole)
	b.started = b.started || whole
	b.owners.sweep(now)
}

// row finds or makes what follows a row; nil for one that is not counted.
func (b *book) row(c *Connection) *conn {
	local, remote, ok := c.ends()
	if !ok || c.PID == 0 || c.Type > typeUDP {
		b.lost[lostMalformed]++
		return nil
	}
	key := connKey{pid: c.PID, netns: c.NetNS, udp: c.Type == typeUDP, local: local, remote: remote}
	at := b.conns[key]
	if at == nil {
		if len(b.conns) >= maxFollowed {
			b.lost[lostRowsFull]++
			return nil
		}
		at = b.follow(key, c)
	}
	now := figures{c.MonotonicSent, c.MonotonicReceived, uint64(c.MonotonicRetransmits)}
	if now.sent < at.now.sent || now.received < at.now.received || now.retransmits < at.now.retransmits {
		at.restart()
	}
	at.now = now
	return at
}

// follow begins with a row. What is older than the first answer counts from that one on.
func (b *book) follow(key connKey, c *Connection) *conn {
	at := &conn{key: key, older: !b.started}
	b.conns[key] = at
	if key.udp {
		at.skipped = true
		b.lost[lostUDP]++
		return at
	}
	if at.owner = b.owners.of(key.pid, key.netns); at.owner == nil {
		at.skipped = true
		b.lost[lostNobody]++
		return at
	}
	at.owner.conns++
	at.role = told(c.Direction)
	if at.older {
		at.sent, at.received, at.retransmits = c.MonotonicSent, c.MonotonicReceived, uint64(c.MonotonicRetransmits)
	}
	return at
}

// restart counts from zero again: the tracer began anew, or another connection has the same ends. What it had before and was not counted, as it waited for
// its other end, is kept.
func (c *conn) restart() {
	c.sent, c.received, c.retransmits = c.sent-c.now.sent, c.received-c.now.received, c.retransmits-c.now.retransmits
}

// told is the role by what the tracer says; a local connection has none.
func told(direction uint8) probe.Role {
	switch direction {
	case directionIncoming:
		return probe.RoleServer
	case directionOutgoing:
		return probe.RoleClient
	}
	return probe.RoleUnknown
}

// count gives what rows did to their pairs, and ends those that are gone.
func (b *book) count(seen map[*conn]struct{}, whole bool) {
	for key, c := range b.conns {
		_, present := seen[c]
		switch {
		case present:
			c.absent = 0
		case whole:
			c.absent++
		}
		if !c.skipped {
			b.give(c, present, whole)
		}
		if c.absent >= keepAbsent {
			b.leave(c)
			delete(b.conns, key)
		}
	}
}

// give counts what a row did since it was last counted.
func (b *book) give(c *conn, present, whole bool) {
	if c.pair == nil {
		return
	}
	p := c.pair
	d := &p.delta
	sent, received, retransmits := c.now.sent-c.sent, c.now.received-c.received, c.now.retransmits-c.retransmits
	c.sent, c.received, c.retransmits = c.now.sent, c.now.received, c.now.retransmits
	d.BytesSent += sent
	d.BytesReceived += received
	d.Retransmits += retransmits
	changed := sent|received|retransmits != 0
	if !c.begun {
		c.begun, c.open = true, true
		p.open++
		d.SampleLocal = c.key.local
		changed = changed || b.single || !c.older
		if !c.older && b.single {
			d.Opened++
		}
	}
	if ended := !present && whole; ended == c.open {
		c.open = !ended
		changed = changed || b.single
		if ended {
			p.open--
		} else {
			p.open++
		}
		if ended && b.single {
			d.Closed++
		}
	}
	if changed && !p.dirty {
		p.dirty = true
		b.dirty = append(b.dirty, p)
	}
}

// enter puts a row into its pair.
func (b *book) enter(c *conn, key probe.PairKey) {
	p := b.pairs[key]
	if p == nil {
		p = &pair{key: key}
		b.pairs[key] = p
	}
	p.conns++
	c.pair = p
}

// leave ends a row, and with the last one its pair.
func (b *book) leave(c *conn) {
	if c.owner != nil {
		c.owner.conns--
	}
	p := c.pair
	if p == nil {
		return
	}
	if c.open {
		p.open--
	}
	if p.conns--; p.conns == 0 {
		delete(b.pairs, p.key)
		if !p.dirty {
			p.dirty = true
			b.dirty = append(b.dirty, p)
		}
	}
}

// settle stops waiting: no answer comes any more.
func (b *book) settle() {
	for _, c := range b.conns {
		if !c.skipped && c.pair == nil {
			c.waited = keepWaiting
		}
	}
	b.join()
	for _, c := range b.conns {
		if !c.skipped {
			b.give(c, c.absent == 0, false)
		}
	}
}

// take gives what was read since the last time, as the probe would.
func (b *book) take(now time.Time) probe.Snapshot {
	s := probe.Snapshot{Time: now}
	b.owners.report(&s)
	for _, p := range b.dirty {
		d := p.delta
		d.Key, d.Gone = p.key, p.conns == 0
		if b.single && p.conns > 0 {
			d.Active = p.open
		}
		s.Pairs = append(s.Pairs, d)
		p.delta, p.dirty = probe.PairDelta{}, false
	}
	b.dirty = b.dirty[:0]
	s.Listeners = b.listeners()
	return s
}
