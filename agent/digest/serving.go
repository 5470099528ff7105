package digest

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
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
	codes     map[string]struct{}
	series    map[requestKey]*requestSeries
	ordered   []*requestSeries              // in order of birth
	failures  map[requestKey]*counter       // by key without code; there from the first request on, so that their rates are right
	failed    []*counter                    // in order of birth
	messages  map[requestKey]*messageSeries // by key without code
	streamed  []*messageSeries              // in order of birth
	cut       map[probe.Protocol]*counter
	cuts      []*counter // in order of birth
	overflow  uint64     // requests under "~other"
}

type requestKey struct {
	protocol probe.Protocol
	method   string
	route    string
	code     string
}

// requestSeries are the two series of one kind of request.
type requestSeries struct {
	counter
	duration buckets
}

// messageSeries are the messages of one kind of request, both ways.
type messageSeries struct{ sent, received counter }

// messageRoom is how many series a messageSeries stands for.
const messageRoom = 2

// requestRoom is how many series a requestSeries stands for.
const requestRoom = 2

// serve counts requests for the workload that answers them.
func (d *Digest) serve(p *pair, r *probe.RequestDelta, now time.Time) {
	if r.Count == 0 && r.Messages == [2]uint64{} {
		return
	}
	w := p.ends.Owner.Workload
	if w.IsZero() {
		d.dropped[dropUnknown]++
		w = process.CleanWorkload(w)
	}
	if _, ok := d.ignoring(w, r); ok {
		return
	}
	s := d.servings[w]
	if s == nil {
		if !d.reserve(1) {
			d.dropped[dropSeries] += r.Count
			return
		}
		s = &serving{
			workload: w, labels: labelSet("namespace", w.Namespace, "kind", string(w.Kind), "workload", w.Name), born: d.began(p), listening: true,
			routes: make(map[string]struct{}), methods: make(map[string]struct{}), codes: make(map[string]struct{}),
			series: make(map[requestKey]*requestSeries), failures: make(map[requestKey]*counter), cut: make(map[probe.Protocol]*counter),
			messages: make(map[requestKey]*messageSeries),
		}
		d.servings[w] = s
		d.served = append(d.served, s)
	}
	s.changed = now
	c := s.cutOf(d, p, r.Protocol)
	if c != nil && r.Cut {
		c.value += r.Count
	}
	key := s.key(d, r)
	s.addMessages(d, p, key, r)
	if r.Count == 0 {
		return
	}
	if c := s.failuresOf(d, p, key); c != nil && r.Failed {
		c.value += r.Count
	}
	series := s.request(d, p, key)
	if series == nil {
		d.dropped[dropSeries] += r.Count
		return
	}
	series.value += r.Count
	series.duration.add(r.Buckets[:], r.Sum)
}

// addMessages counts what went both ways within requests, also while these go on.
func (s *serving) addMessages(d *Digest, p *pair, key requestKey, r *probe.RequestDelta) {
	if r.Messages == [2]uint64{} {
		return
	}
	key.code = ""
	m := s.messages[key]
	if m == nil {
		if !d.reserve(messageRoom) {
			d.dropped[dropSeries] += r.Messages[0] + r.Messages[1]
			return
		}
		base, born := s.requestLabels(key), d.began(p)
		m = &messageSeries{sent: counter{born: born, labels: with(base, "direction", "sent")}, received: counter{born: born, labels: with(base, "direction", "received")}}
		s.messages[key] = m
		s.streamed = append(s.streamed, m)
	}
	m.received.value += r.Messages[0]
	m.sent.value += r.Messages[1]
}

// cutOf is the counter of cut requests, there from the first request on so that its rate is right.
func (s *serving) cutOf(d *Digest, p *pair, protocol probe.Protocol) *counter {
	c := s.cut[protocol]
	if c == nil && d.reserve(1) {
		c = &counter{born: d.began(p), labels: with(s.labels, "protocol", protocolName(protocol))}
		s.cut[protocol] = c
		s.cuts = append(s.cuts, c)
	}
	return c
}

// failuresOf is the counter of failed requests of a protocol, method and route; nil where there is no room.
func (s *serving) failuresOf(d *Digest, p *pair, key requestKey) *counter {
	key.code = ""
	c := s.failures[key]
	if c == nil && d.reserve(1) {
		c = &counter{born: d.began(p), labels: s.requestLabels(key)}
		s.failures[key] = c
		s.failed = append(s.failed, c)
	}
	return c
}

// key names a kind of request, within the limits of routes, methods and codes.
func (s *serving) key(d *Digest, r *probe.RequestDelta) requestKey {
	key := requestKey{protocol: r.Protocol, method: process.Clean(r.Method, 16), route: process.Clean(r.Route, maxRoute), code: process.Clean(r.Code, maxCode)}
	if r.Protocol == protocolDNS {
		key.route = boundDomain(s.routes, key.route, d.options.RoutesPerWorkload)
	}
	key.route = bound(s.routes, key.route, d.options.RoutesPerWorkload)
	key.method = bound(s.methods, key.method, maxMethods)
	key.code = bound(s.codes, key.code, maxCodes)
	if key.route == other {
		s.overflow += r.Count
	}
	return key
}

// request finds or makes the series of one kind of request; nil where there is no room.
func (s *serving) request(d *Digest, p *pair, key requestKey) *requestSeries {
	series := s.series[key]
	if series == nil {
		if !d.reserve(requestRoom) {
			return nil
		}
		series = &requestSeries{counter: counter{born: d.began(p), labels: with(s.requestLabels(key), "code", codeLabel(key.code))}}
		s.series[key] = series
		s.ordered = append(s.ordered, series)
	}
	return series
}

// requestLabels are those of a kind of request without the code. A protocol without methods has no such label.
func (s *serving) requestLabels(key requestKey) labels.Labels {
	return labelSet(
		"namespace", s.workload.Namespace, "kind", string(s.workload.Kind), "workload", s.workload.Name,
		"protocol", protocolName(key.protocol), "method", key.method, "route", key.route,
	)
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
func (s *serving) room() int {
	return 1 + len(s.cuts) + len(s.failed) + messageRoom*len(s.streamed) + requestRoom*len(s.ordered)
}
