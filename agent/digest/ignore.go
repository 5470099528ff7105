package digest

import (
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

// IgnoreRule leaves requests out of all metrics but their number.
type IgnoreRule struct {
	Name  string
	Match func(workload, protocol, method, route string) bool // by the labels that the requests would have; workload is the serving one
}

// ignoring gives the number of the first rule that leaves requests to a workload out; false if they count.
func (d *Digest) ignoring(server model.Workload, r *probe.RequestDelta) (rule int, ok bool) {
	for i, rule := range d.options.IgnoreRequests {
		if rule.Match(server.Name, protocolName(r.Protocol), r.Method, r.Route) {
			return i, true
		}
	}
	return 0, false
}

// ignore counts requests that are left out, of each client those of the end that counts. Their edge is there for its connections, and
// says what it speaks.
func (d *Digest) ignore(p *pair, l *link, r *probe.RequestDelta, rule int, now time.Time) {
	d.recognise(l, r.Protocol, now)
	if l.viewOf(p, &l.views, now) == p.key.Role {
		d.ignored[rule] += r.Count
	}
}
