package digest

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

// containerForm is how coroot-node-agent names the requests of a protocol, and thus how we do.
type containerForm struct {
	protocols []probe.Protocol // that go by it
	name      string           // "postgres" in container_postgres_queries_total
	noun      string           // "queries"
	classes   bool             // the status is the class of an HTTP code or "grpc:CODE", else "ok" or "failed"
	messages  bool             // only messages are counted, by the label "method", and have no duration
	domains   bool             // by the labels "request_type", "domain" and "status", which the histogram has too; of a container, whatever the destination

	outbound, inbound formFamilies
}

type formFamilies struct{ requests, duration *model.Family }

func (f *containerForm) families(inbound bool) formFamilies {
	if inbound {
		return f.inbound
	}
	return f.outbound
}

// containerForms are the forms that differ from container_PROTOCOL_requests_total with a histogram beside it.
var containerForms = []containerForm{
	{protocols: []probe.Protocol{probe.ProtocolHTTP1, "http2", "grpc"}, name: "http", noun: "requests", classes: true},
	{protocols: []probe.Protocol{"postgres"}, name: "postgres", noun: "queries"},
	{protocols: []probe.Protocol{"mysql"}, name: "mysql", noun: "queries"},
	{protocols: []probe.Protocol{"redis"}, name: "redis", noun: "queries"},
	{protocols: []probe.Protocol{"memcached"}, name: "memcached", noun: "queries"},
	{protocols: []probe.Protocol{"mongodb"}, name: "mongo", noun: "queries"},
	{protocols: []probe.Protocol{"cassandra"}, name: "cassandra", noun: "queries"},
	{protocols: []probe.Protocol{"clickhouse"}, name: "clickhouse", noun: "queries"},
	{protocols: []probe.Protocol{"nats"}, name: "nats", noun: "messages", messages: true},
	{protocols: []probe.Protocol{"amqp"}, name: "rabbitmq", noun: "messages", messages: true},
	{protocols: []probe.Protocol{protocolDNS}, name: "dns", noun: "requests", domains: true},
}

// formOf finds or makes the form of a protocol; nil for what has no name that a metric could have.
func (d *Digest) formOf(protocol probe.Protocol) *containerForm {
	for _, f := range d.forms {
		if slices.Contains(f.protocols, protocol) {
			return f
		}
	}
	if !tells(protocol) || strings.Trim(string(protocol), "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return nil
	}
	form := containerForm{protocols: []probe.Protocol{protocol}, name: string(protocol), noun: "requests"}
	for _, f := range containerForms {
		if slices.Contains(f.protocols, protocol) {
			form = f
		}
	}
	form.makeFamilies()
	d.forms = append(d.forms, &form)
	return &form
}

func (f *containerForm) makeFamilies() {
	families := func(infix, direction string) formFamilies {
		name := "container_" + f.name + infix + "_" + f.noun
		return formFamilies{
			requests: &model.Family{Name: name + "_total", Type: model.Counter, Help: direction + " " + f.name + " " + f.noun + " by status."},
			duration: &model.Family{
				Name: name + "_duration_seconds_total", Unit: "seconds", Type: model.Histogram,
				Help: "Response times of " + strings.ToLower(direction) + " " + f.name + " " + f.noun + ".",
			},
		}
	}
	f.outbound, f.inbound = families("", "Outbound"), families("_inbound", "Inbound")
}

// tally is the requests in one form, of one destination or of all that a container answered.
type tally struct {
	form     *containerForm
	counts   map[tallyKey]*counter
	ordered  []*counter // in order of birth
	duration requestSeries
	timed    map[tallyKey]*requestSeries // instead, where the histograms have the labels of the counters
	times    []*requestSeries            // in order of birth
}

type tallyKey struct{ status, method, kind, domain string }

// labels adds those of a kind of request.
func (k tallyKey) labels(base labels.Labels) labels.Labels {
	b := labels.NewBuilder(base)
	for _, l := range [][2]string{{"status", k.status}, {"method", k.method}, {"request_type", k.kind}, {"domain", k.domain}} {
		if l[1] != "" {
			b.Set(l[0], l[1])
		}
	}
	return b.Labels()
}

// boxRequest counts requests, for the flow of a client and for the container of a server.
func (d *Digest) boxRequest(p *pair, box *container, r *probe.RequestDelta, now time.Time) {
	form := d.formOf(r.Protocol)
	if form == nil || r.Count == 0 {
		return
	}
	key := tallyKey{status: form.status(r)}
	if form.messages {
		if key.method = messageMethod(r.Route); key.method == "" {
			return
		}
	}
	set, base := &box.inbound, box.labels
	switch {
	case form.domains:
		key = box.domainKey(r)
		if p.key.Role == probe.RoleClient {
			set = &box.outbound
		}
	case p.key.Role == probe.RoleClient:
		f := d.flowOf(p, box, now)
		if f == nil {
			return
		}
		f.changed = now
		set, base = &f.requests, f.labels
	}
	t := tallyOf(set, form)
	c := t.counts[key]
	if c == nil {
		if !d.reserve(1) {
			d.dropped[dropSeries] += r.Count
			return
		}
		c = &counter{born: d.began(p), labels: key.labels(base)}
		t.counts[key] = c
		t.ordered = append(t.ordered, c)
	}
	c.value += r.Count
	switch {
	case form.messages:
		return
	case form.domains:
		if series := t.timeOf(d, p, key, c.labels); series != nil {
			series.duration.add(r.Buckets[:], r.Sum)
		}
		return
	}
	if t.duration.born.IsZero() && d.reserve(1) {
		t.duration.born, t.duration.labels = d.began(p), base
	}
	t.duration.duration.add(r.Buckets[:], r.Sum)
}

// timeOf finds or makes the histogram of a kind of request; nil where there is no room.
func (t *tally) timeOf(d *Digest, p *pair, key tallyKey, l labels.Labels) *requestSeries {
	series := t.timed[key]
	if series == nil && d.reserve(1) {
		series = &requestSeries{counter: counter{born: d.began(p), labels: l}}
		if t.timed == nil {
			t.timed = make(map[tallyKey]*requestSeries)
		}
		t.timed[key] = series
		t.times = append(t.times, series)
	}
	return series
}

func tallyOf(set *[]*tally, form *containerForm) *tally {
	for _, t := range *set {
		if t.form == form {
			return t
		}
	}
	t := &tally{form: form, counts: make(map[tallyKey]*counter)}
	*set = append(*set, t)
	return t
}

// status is the value of the label "status".
func (f *containerForm) status(r *probe.RequestDelta) string {
	switch {
	case r.Protocol == "grpc":
		return grpcStatus(r.Code)
	case f.classes:
		return statusClass(r.Code)
	case r.Failed:
		return "failed"
	}
	return "ok"
}

// grpcStatus is "grpc:" and the canonical name of the status, "failed" where the connection ended before it.
func grpcStatus(code string) string {
	switch code {
	case "":
		return "failed"
	case "ok":
		return "grpc:OK"
	}
	return "grpc:" + code
}

// statusClass is the class of an HTTP status, "failed" where there was no response: the connection ended, or the stream of HTTP/2.
func statusClass(code string) string {
	switch {
	case code == "", code == "cancelled", strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "":
		return "failed"
	case len(code) == 3 && code[0] >= '1' && code[0] <= '5':
		return code[:1] + "xx"
	}
	return "unknown"
}

// messageMethod is coroot's word for an operation of a broker; "" for what moves no message.
func messageMethod(operation string) string {
	verb, _, _ := strings.Cut(operation, " ")
	switch verb {
	case "publish":
		return verb
	case "deliver":
		return "consume"
	}
	return ""
}
