package digest

import (
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/model"
)

// batch is one reading of all series, taken under the lock and handed out without it.
type batch struct {
	samples    []model.Sample
	histograms []histogram.Histogram
	spans      []histogram.Span
	deltas     []int64
}

func (b *batch) counter(f *model.Family, l labels.Labels, v float64, born time.Time) {
	b.samples = append(b.samples, model.Sample{Family: f, Labels: l, Value: v, Created: born})
}

func (b *batch) gauge(f *model.Family, l labels.Labels, v float64) {
	b.samples = append(b.samples, model.Sample{Family: f, Labels: l, Value: v})
}

// histogram adds a sample whose histogram is bound later: the slice may move until all are there.
func (b *batch) histogram(f *model.Family, l labels.Labels, s scale, h *buckets, born time.Time) {
	if h.count == 0 {
		return
	}
	b.histograms = append(b.histograms, h.native(s, &b.spans, &b.deltas))
	b.samples = append(b.samples, model.Sample{Family: f, Labels: l, Created: born, Value: float64(len(b.histograms) - 1)})
}

// Gather hands out all series, family by family. What emit gets is its own.
func (d *Digest) Gather(emit func(model.Sample)) {
	var b batch
	d.mu.Lock()
	b.samples = make([]model.Sample, 0, d.reserved+len(d.listens)+len(d.lags)+64)
	d.gatherWorkloads(&b)
	d.gatherEdges(&b)
	d.gatherContainers(&b)
	d.gatherOwn(&b)
	d.mu.Unlock()
	d.gatherNode(&b)
	d.gatherProbe(&b)
	for i := range b.samples {
		s := &b.samples[i]
		if s.Family.Type == model.Histogram {
			s.Histogram = &b.histograms[int(s.Value)]
			s.Value = 0
		}
		emit(*s)
	}
}

func (d *Digest) gatherWorkloads(b *batch) {
	f := &d.families
	for _, s := range d.served {
		for _, r := range s.ordered {
			b.counter(f.workloadRequests, r.labels, float64(r.value), r.born)
		}
	}
	for _, s := range d.served {
		for _, r := range s.ordered {
			b.histogram(f.workloadDuration, r.labels, durationScale, &r.duration, r.born)
		}
	}
	for _, s := range d.served {
		for _, c := range s.failed {
			b.counter(f.workloadFailed, c.labels, float64(c.value), c.born)
		}
	}
	for _, s := range d.served {
		for _, c := range s.cuts {
			b.counter(f.workloadCut, c.labels, float64(c.value), c.born)
		}
	}
	for _, s := range d.served {
		for _, m := range s.streamed {
			b.counter(f.workloadMessages, m.sent.labels, float64(m.sent.value), m.sent.born)
			b.counter(f.workloadMessages, m.received.labels, float64(m.received.value), m.received.born)
		}
	}
	for _, s := range d.served {
		b.counter(f.workloadOverflow, s.labels, float64(s.overflow), s.born)
	}
}

func (d *Digest) gatherEdges(b *batch) {
	f := &d.families
	each := func(do func(e *edge)) {
		for _, e := range d.edges {
			if e.protocol != "" {
				do(e)
			}
		}
	}
	each(func(e *edge) {
		for _, c := range e.coded {
			b.counter(f.edgeRequests, c.labels, float64(c.value), c.born)
		}
	})
	each(func(e *edge) {
		if c := &e.failures; !c.born.IsZero() {
			b.counter(f.edgeFailedRequests, e.base, float64(c.value), c.born)
		}
	})
	each(func(e *edge) {
		if !e.streamed.IsZero() {
			b.counter(f.edgeMessages, e.sent, float64(e.messages[0]), e.streamed)
			b.counter(f.edgeMessages, e.received, float64(e.messages[1]), e.streamed)
		}
	})
	each(func(e *edge) { b.histogram(f.edgeDuration, e.base, durationScale, &e.duration, e.born) })
	for _, l := range d.lags {
		b.gauge(f.consumerLag, l.labels, float64(l.records))
	}
	d.gatherConnections(b)
}

// gatherConnections adds what edges have beside requests.
func (d *Digest) gatherConnections(b *batch) {
	f := &d.families
	each := func(do func(e *edge)) {
		for _, e := range d.edges {
			if e.protocol != "" && !e.bare {
				do(e)
			}
		}
	}
	each(func(e *edge) {
		b.counter(f.edgeBytes, e.sent, float64(e.bytes[0]), e.born)
		b.counter(f.edgeBytes, e.received, float64(e.bytes[1]), e.born)
	})
	each(func(e *edge) { b.counter(f.edgeConnections, e.base, float64(e.opened), e.born) })
	each(func(e *edge) { b.gauge(f.edgeActive, e.base, float64(max(e.active, 0))) })
	each(func(e *edge) {
		for i := range e.failed {
			if c := &e.failed[i]; !c.born.IsZero() {
				b.counter(f.edgeFailed, c.labels, float64(c.value), c.born)
			}
		}
	})
	each(func(e *edge) { b.counter(f.edgeRetransmits, e.base, float64(e.retransmits), e.born) })
	each(func(e *edge) {
		for _, c := range e.tls.ordered {
			b.counter(f.edgeTLS, c.labels, float64(c.value), c.born)
		}
	})
	each(func(e *edge) { b.histogram(f.edgeRTT, e.base, rttScale, &e.rtt, e.born) })
	each(func(e *edge) {
		for role, l := range e.caretta {
			if !l.IsEmpty() {
				b.gauge(f.caretta, l, float64(e.bytes[role]))
			}
		}
	})
}

func (d *Digest) gatherContainers(b *batch) {
	f := &d.families
	for _, l := range d.listens {
		b.gauge(f.listen, l.labels, 1)
	}
	flows := func(do func(f *flow)) {
		for _, box := range d.boxes {
			for _, flow := range box.ordered {
				do(flow)
			}
		}
	}
	flows(func(w *flow) { b.counter(f.connects, w.labels, float64(w.opened), w.born) })
	flows(func(w *flow) { b.counter(f.connectTime, w.labels, w.connectTime.Seconds(), w.born) })
	for _, box := range d.boxes {
		for _, c := range box.failed {
			b.counter(f.connectFailures, c.labels, float64(c.value), c.born)
		}
	}
	flows(func(w *flow) { b.gauge(f.active, w.labels, float64(max(w.active, 0))) })
	flows(func(w *flow) { b.counter(f.retransmits, w.labels, float64(w.retransmits), w.born) })
	flows(func(w *flow) { b.counter(f.sent, w.labels, float64(w.sent), w.born) })
	flows(func(w *flow) { b.counter(f.received, w.labels, float64(w.received), w.born) })
	d.gatherRequests(b)
}

// gatherRequests adds the requests of containers, for each of coroot's forms in use.
func (d *Digest) gatherRequests(b *batch) {
	tallies := func(form *containerForm, inbound bool, do func(t *tally)) {
		each := func(list []*tally) {
			for _, t := range list {
				if t.form == form {
					do(t)
				}
			}
		}
		for _, box := range d.boxes {
			if inbound {
				each(box.inbound)
				continue
			}
			each(box.outbound)
			for _, f := range box.ordered {
				each(f.requests)
			}
		}
	}
	for _, form := range d.forms {
		for _, inbound := range []bool{false, true} {
			families := form.families(inbound)
			tallies(form, inbound, func(t *tally) {
				for _, c := range t.ordered {
					b.counter(families.requests, c.labels, float64(c.value), c.born)
				}
			})
			tallies(form, inbound, func(t *tally) {
				b.histogram(families.duration, t.duration.labels, durationScale, &t.duration.duration, t.duration.born)
				for _, s := range t.times {
					b.histogram(families.duration, s.labels, durationScale, &s.duration, s.born)
				}
			})
		}
	}
}
