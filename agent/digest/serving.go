package digest

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

const maxMethods = 32

// serving is a workload that answers requests.
type serving struct {
	workload  model.Workload
	labels    labels.Labels
	born      time.Time
	changed   time.Time
	listening bool
	routes    map[string]struct{} // those with a name of their own
	methods   map[string]struct{}
	series    map[requestKey]*requestSeries
	ordered   []*requestSeries // in order of birth
	cut       map[probe.Protocol]*counter
	overflow  uint64 // requests under "~other"
}

type requestKey struct {
	protocol probe.Protocol
	method   string
	route    string
	code     uint16
}

// requestSeries are the two series of one kind of request.
type requestSeries struct {
	counter
	duration buckets
}

// requestRoom is how many series a requestSeries stands for.
const requestRoom = 2

// serve counts requests for the workload that answers them.
func (d *Digest) serve(p *pair, r *probe.RequestDelta, now time.Time) {
	w := p.ends.Owner.Workload
	if w.IsZero() {
		d.dropped[dropUnknown]++
		w = cleanWorkload(w)
	}
	s := d.servings[w]
	if s == nil {
		if !d.reserve(1) {
			d.dropped[dropSeries] += r.Count
			return
		}
		s = &serving{
			workload: w, labels: labelSet("namespace", w.Namespace, "kind", string(w.Kind), "workload", w.Name), born: d.began(p), listening: true,
			routes: make(map[string]struct{}), methods: make(map[string]struct{}),
			series: make(map[requestKey]*requestSeries), cut: make(map[probe.Protocol]*counter),
		}
		d.servings[w] = s
		d.served = append(d.served, s)
	}
	s.changed = now
	c := s.cutOf(d, p, r.Protocol)
	if c != nil && r.Cut {
		c.value += r.Count
	}
	series := s.request(d, p, r)
	if series == nil {
		d.dropped[dropSeries] += r.Count
		return
	}
	series.value += r.Count
	series.duration.add(r.Buckets[:], r.Sum)
}

// cutOf is the counter of cut requests, there from the first request on so that its rate is right.
func (s *serving) cutOf(d *Digest, p *pair, protocol probe.Protocol) *counter {
	c := s.cut[protocol]
	if c == nil && d.reserve(1) {
		c = &counter{born: d.began(p), labels: with(s.labels, "protocol", protocolName(protocol))}
		s.cut[protocol] = c
	}
	return c
}

// request finds or makes the series of one kind of request, within the limit of routes.
func (s *serving) request(d *Digest, p *pair, r *probe.RequestDelta) *requestSeries {
	key := requestKey{protocol: r.Protocol, method: clean(r.Method, 16), route: clean(r.Route, maxRoute), code: r.Code}
	key.route = bound(s.routes, key.route, d.options.RoutesPerWorkload)
	key.method = bound(s.methods, key.method, maxMethods)
	if key.route == other {
		s.overflow += r.Count
	}
	series := s.series[key]
	if series == nil {
		if !d.reserve(requestRoom) {
			return nil
		}
		series = &requestSeries{counter: counter{born: d.began(p), labels: labelSet(
			"namespace", s.workload.Namespace, "kind", string(s.workload.Kind), "workload", s.workload.Name,
			"protocol", protocolName(key.protocol), "method", key.method, "route", key.route, "code", codeLabel(key.code),
		)}}
		s.series[key] = series
		s.ordered = append(s.ordered, series)
	}
	return series
}

// bound keeps a set of values small: what does not fit any more is "~other". Values that begin with ~ stand for themselves.
func bound(set map[string]struct{}, value string, limit int) string {
	if value == "" || value[0] == '~' {
		return value
	}
	if _, ok := set[value]; !ok {
		if len(set) >= limit {
			return other
		}
		set[value] = struct{}{}
	}
	return value
}

// room is how many series the workload has.
func (s *serving) room() int { return 1 + len(s.cut) + requestRoom*len(s.ordered) }
