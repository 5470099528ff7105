package digest

import (
	"maps"
	"slices"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

const sweepEvery = 5 * time.Second

// expire ends the series of what is gone. What comes back starts anew, with a new creation time.
func (d *Digest) expire(now time.Time) {
	if now.Sub(d.swept) < sweepEvery {
		return
	}
	d.swept = now
	old := func(changed time.Time) bool { return now.Sub(changed) >= d.options.SeriesExpiry }
	d.edges = slices.DeleteFunc(d.edges, func(e *edge) bool {
		if !old(e.changed) || (!e.frozen && e.link.pairs > 0) {
			return false
		}
		if !e.frozen && !e.bare && len(e.link.others) > 0 { // the link ends after all of its bare edges
			return false
		}
		d.release(e.room())
		switch {
		case e.bare:
			delete(e.link.others, probe.Protocol(e.protocol))
		case !e.frozen:
			d.dropLink(e.link)
		}
		return true
	})
	for _, e := range d.edges {
		for _, of := range []views{e.link.views, e.link.hellos} {
			maps.DeleteFunc(of, func(client probe.OwnerID, v *view) bool { return old(v.used) && !d.book.Known(client) })
		}
	}
	called := d.called()
	d.served = slices.DeleteFunc(d.served, func(s *serving) bool {
		if !old(s.changed) || s.listening || called[s.workload] {
			return false
		}
		d.release(s.room())
		delete(d.servings, s.workload)
		return true
	})
	d.boxes = slices.DeleteFunc(d.boxes, func(b *container) bool {
		d.expireBox(b, old)
		if !old(b.changed) || b.pairs > 0 || len(b.ordered) > 0 {
			return false
		}
		d.release(b.room())
		delete(d.containers, b.key)
		return true
	})
}

// called are the workloads that a live pair of connections ends at.
func (d *Digest) called() map[model.Workload]bool {
	out := make(map[model.Workload]bool)
	for key, l := range d.links {
		if l.pairs > 0 {
			out[key.server] = true
		}
	}
	return out
}

func (d *Digest) dropLink(l *link) {
	delete(d.links, l.key)
	delete(d.undecided, l)
	d.refExternal(l.key.client, -1)
	d.refExternal(l.key.server, -1)
}

// expireBox ends the destinations of a container that nothing went to for long.
func (d *Digest) expireBox(b *container, old func(time.Time) bool) {
	b.ordered = slices.DeleteFunc(b.ordered, func(f *flow) bool {
		if !old(f.changed) || f.pairs > 0 {
			return false
		}
		d.release(f.room())
		delete(b.flows, f.flowKey)
		b.unref(f.destination)
		return true
	})
	for name, c := range b.failed {
		if old(c.changed) && !b.reached(name) {
			d.release(1)
			delete(b.failed, name)
			b.unref(name)
		}
	}
}

func (b *container) unref(destination string) {
	if b.destinations[destination]--; b.destinations[destination] <= 0 {
		delete(b.destinations, destination)
	}
}

// reached reports whether there is a flow to a destination.
func (b *container) reached(destination string) bool {
	_, failed := b.failed[destination]
	flows := b.destinations[destination]
	return flows > 1 || (flows == 1 && !failed)
}

// room is how many series each of these holds; it mirrors what was reserved for them.
func (e *edge) room() int {
	n := edgeSeries + len(e.coded) + len(e.tls.ordered)
	if e.bare {
		n = bareSeries + len(e.coded)
	}
	if !e.failures.born.IsZero() {
		n++
	}
	if !e.streamed.IsZero() {
		n += messageRoom
	}
	for i := range e.failed {
		if !e.failed[i].born.IsZero() {
			n++
		}
	}
	return n
}

func (f *flow) room() int { return flowRoom + tallyRoom(f.requests) }

func (b *container) room() int { return tallyRoom(b.inbound) + tallyRoom(b.outbound) + len(b.failed) }

func tallyRoom(tallies []*tally) (n int) {
	for _, t := range tallies {
		n += len(t.ordered) + len(t.times) + t.duration.room()
	}
	return n
}

func (s *requestSeries) room() int {
	if s.born.IsZero() {
		return 0
	}
	return 1
}
