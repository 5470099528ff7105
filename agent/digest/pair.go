package digest

import (
	"net/netip"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

// pair is what is known of one of the probe's pairs, and what it did that no series has yet.
type pair struct {
	key     probe.PairKey
	ends    process.Ends
	sample  netip.AddrPort
	first   time.Time // the snapshot that brought it
	since   time.Time // the snapshot before that: its counts began after it
	changed time.Time
	asked   time.Time // when its ends were looked up
	known   bool      // ends.Owner is there: the serving end may be counted
	settled bool      // ends are good enough to name an edge
	gone    bool

	tcp      probe.PairDelta // sums of what is held
	requests []heldRequest
	fresh    []*probe.RequestDelta // of this snapshot
	tls      []probe.HandshakeDelta

	given bool // something of it is in the series already

	link       *link
	linkActive int64 // open connections that are counted there
	flow       *flow
	flowActive int64
	box        *container
}

// began is when that which is being given away started from zero.
func (d *Digest) began(p *pair) time.Time {
	if !p.given {
		return p.since
	}
	return d.before
}

// heldRequest waits until the ends are known. served says that the serving end has it already.
type heldRequest struct {
	probe.RequestDelta
	served bool
}

// heldSince is when what is being given away was first seen.
func (p *pair) heldSince(now time.Time) time.Time {
	if !p.given {
		return p.first
	}
	return now
}

// take files the deltas of a snapshot under their pairs and gives the pairs that there is something to do for.
func (d *Digest) take(s probe.Snapshot) (lost uint64, touched []*pair) {
	seen := make(map[*pair]struct{}, len(s.Pairs)+len(d.waiting))
	touch := func(p *pair) {
		if _, ok := seen[p]; !ok {
			seen[p] = struct{}{}
			touched = append(touched, p)
		}
	}
	for i := range s.Pairs {
		delta := &s.Pairs[i]
		if delta.Gone && d.pairs[delta.Key] == nil {
			continue
		}
		p := d.pair(delta.Key, s.Time)
		if p == nil {
			lost++
			continue
		}
		p.merge(delta)
		p.changed = s.Time
		touch(p)
	}
	for i := range s.Requests {
		p := d.pair(s.Requests[i].Pair, s.Time)
		if p == nil {
			lost += s.Requests[i].Count
			continue
		}
		p.fresh = append(p.fresh, &s.Requests[i])
		p.changed = s.Time
		touch(p)
	}
	for i := range s.TLS {
		p := d.pair(s.TLS[i].Pair, s.Time)
		if p == nil {
			lost += s.TLS[i].Count
			continue
		}
		p.shook(&s.TLS[i])
		p.changed = s.Time
		touch(p)
	}
	for p := range d.waiting {
		touch(p)
	}
	return lost, touched
}

// pair finds or makes the record of a key; nil when there are too many.
func (d *Digest) pair(key probe.PairKey, now time.Time) *pair {
	if key.Role != probe.RoleClient && key.Role != probe.RoleServer {
		return nil
	}
	p := d.pairs[key]
	if p == nil {
		if len(d.pairs) >= maxPairs {
			return nil
		}
		p = &pair{key: key, first: now, since: d.before}
		d.pairs[key] = p
		d.waiting[p] = struct{}{}
	}
	return p
}

// merge adds a delta to what is held.
func (p *pair) merge(delta *probe.PairDelta) {
	t := &p.tcp
	t.Opened += delta.Opened
	t.Closed += delta.Closed
	t.BytesSent += delta.BytesSent
	t.BytesReceived += delta.BytesReceived
	t.Retransmits += delta.Retransmits
	t.ConnectTime += delta.ConnectTime
	t.RTTSum += delta.RTTSum
	for i, n := range delta.Failed {
		t.Failed[i] += n
	}
	for i, n := range delta.RTT {
		t.RTT[i] += n
	}
	t.Active = max(delta.Active, 0)
	if delta.SampleLocal.Port() != 0 {
		p.sample = delta.SampleLocal
	}
	if delta.Gone {
		p.gone, t.Active = true, 0
	}
}

// shook adds TLS connections to what is held, one entry for each kind.
func (p *pair) shook(h *probe.HandshakeDelta) {
	add := *h
	if len(p.tls) >= 2*maxHandshakes {
		add.Version, add.SNI, add.ALPN, add.Cipher = other, other, other, other
	}
	for i := range p.tls {
		held := &p.tls[i]
		if held.Version == add.Version && held.SNI == add.SNI && held.ALPN == add.ALPN && held.Cipher == add.Cipher {
			held.Count += add.Count
			return
		}
	}
	p.tls = append(p.tls, add)
}

// resolve looks up the ends of the pairs that are new, or whose answer is not sure or old.
func (d *Digest) resolve(now time.Time, touched []*pair) {
	var ask []*pair
	for _, p := range touched {
		if !p.settled || (p.key.Peer == 0 && now.Sub(p.asked) >= askAgain) || d.book.Stale(p.key, &p.ends) {
			ask = append(ask, p)
		}
	}
	if len(ask) == 0 {
		return
	}
	questions := make([]process.Question, len(ask))
	for i, p := range ask {
		questions[i] = process.Question{Pair: p.key, Sample: p.sample, Active: p.changed}
		if p.key.Role == probe.RoleServer {
			questions[i].Before = p.ends.Actual
		}
	}
	for i, ends := range d.book.Resolve(now, questions) {
		p := ask[i]
		ends.Client, ends.Server = cleanEnd(ends.Client), cleanEnd(ends.Server)
		ends.Owner.Workload = cleanEnd(ends.Owner.Workload)
		p.ends, p.asked = ends, now
		age := now.Sub(p.first)
		p.known = ends.Owner.ContainerID != "" && !ends.Owner.Provisional || age >= holdBack || p.gone
		p.settled = p.settled || ends.Sure || p.gone || age >= holdBack || (!ends.Missing && age >= settleAfter)
		if p.settled {
			delete(d.waiting, p)
		}
	}
}

// cleanEnd leaves what is not known yet as it is.
func cleanEnd(w model.Workload) model.Workload {
	if w.IsZero() {
		return w
	}
	return process.CleanWorkload(w)
}

// give hands what a pair did to the series. The lock is held.
func (d *Digest) give(p *pair, now time.Time) {
	for _, r := range p.fresh {
		held := heldRequest{served: p.key.Role != probe.RoleServer}
		if p.known && !held.served {
			d.serve(p, r, now)
			held.served = true
		}
		if p.settled {
			d.request(p, r, now)
			continue
		}
		held.RequestDelta = *r
		p.requests = append(p.requests, held)
	}
	p.fresh = nil
	for i := range p.requests {
		if held := &p.requests[i]; p.known && !held.served {
			d.serve(p, &held.RequestDelta, now)
			held.served = true
		}
	}
	if !p.settled {
		return
	}
	for i := range p.requests {
		d.request(p, &p.requests[i].RequestDelta, now)
	}
	p.requests = nil
	if len(p.tls) > 0 {
		if l := d.linkOf(p, now); l != nil {
			for i := range p.tls {
				d.linkHandshake(p, l, &p.tls[i], now)
			}
		}
		p.tls = nil
	}
	d.connections(p, now)
	p.given = true
	if p.gone {
		d.drop(p)
	}
}

// request counts one kind of request of a settled pair for its edge and its container.
func (d *Digest) request(p *pair, r *probe.RequestDelta, now time.Time) {
	if rule, ok := d.ignoring(p.ends.Server, r); ok {
		if l := d.linkOf(p, now); l != nil {
			d.ignore(p, l, r, rule, now)
		}
		return
	}
	if box := d.boxOf(p, now); box != nil {
		d.boxRequest(p, box, r, now)
	}
	if l := d.linkOf(p, now); l != nil {
		d.linkRequest(p, l, r, now)
	}
}

// connections gives the held TCP figures away.
func (d *Digest) connections(p *pair, now time.Time) {
	t := p.tcp
	if l := d.linkOf(p, now); l != nil && !p.ends.Watched {
		d.linkConnections(p, l, &t, now)
	}
	if p.key.Role == probe.RoleClient && !p.key.Datagrams {
		if box := d.boxOf(p, now); box != nil {
			d.boxConnections(p, box, &t, now)
		}
	}
	p.tcp = probe.PairDelta{Active: t.Active}
}

// drop lets go of a pair that the kernel has forgotten. What it counted stays until it expires.
func (d *Digest) drop(p *pair) {
	d.leaveLink(p)
	d.leaveBox(p)
}

// forget removes the records of pairs that are gone, and of those whose end was missed. It is for the goroutine of Apply, without the lock.
func (d *Digest) forget(now time.Time) {
	for key, p := range d.pairs {
		switch {
		case p.gone && p.settled:
		case now.Sub(p.changed) >= d.options.SeriesExpiry && !d.book.Known(key.Owner):
			d.mu.Lock()
			d.drop(p)
			d.mu.Unlock()
		default:
			continue
		}
		delete(d.pairs, key)
		delete(d.waiting, p)
	}
}
