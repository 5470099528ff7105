package servicemap

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Thresholds of health. A share alone would let two requests at night shout, so a level also needs that many failures in the window:
// 3 failures are worth a look, 10 are worth waking somebody.
const (
	warningShare  = 0.01
	criticalShare = 0.05

	warningFailures  = 3
	criticalFailures = 10

	// A level that was reached holds until the figures are this much below what it takes, so that a share of 5 % does not flicker.
	hold = 0.8
)

// Errors of failed connects. A canceled one was given up by the client itself (the slower half of a happy-eyeballs race): it is
// shown, but is nobody's fault.
const (
	errorCanceled = "canceled"
	errorOther    = "other"
)

// judge turns a share of failures into a level. rate is failures a second, held the level so far.
func judge(rate, share float64, window time.Duration, held Health) Health {
	failures := math.Round(rate * window.Seconds())
	over := func(level Health, needShare, needFailures float64) bool {
		if severity(held) >= severity(level) {
			needShare, needFailures = needShare*hold, needFailures*hold
		}
		return share >= needShare && failures >= needFailures
	}
	switch {
	case over(Critical, criticalShare, criticalFailures):
		return Critical
	case over(Warning, warningShare, warningFailures):
		return Warning
	default:
		return OK
	}
}

// verdict collects the reasons of one node or edge; the worst decides.
type verdict struct {
	health  Health
	reasons []string
	failing float64 // failures a second behind the reasons, for sorting
	held    Health  // the health so far
}

func (v *verdict) add(h Health, failing float64, reason string) {
	if h == OK || h == Idle {
		return
	}
	v.failing += failing
	v.reasons = append(v.reasons, reason)
	if severity(h) > severity(v.health) {
		v.health = h
	}
}

func severity(h Health) int {
	switch h {
	case Critical:
		return 3
	case Warning:
		return 2
	case OK:
		return 1
	default:
		return 0
	}
}

// newVerdict starts with "ok", or "idle" where nothing happened.
func newVerdict(active bool, held Health) verdict {
	if active {
		return verdict{health: OK, reasons: []string{}, held: held}
	}
	return verdict{health: Idle, reasons: []string{}, held: held}
}

func (v *verdict) addRequests(r requests, window time.Duration) {
	if r.all <= 0 {
		return
	}
	share := r.errors() / r.all
	v.add(judge(r.errors(), share, window, v.held), r.errors(), sayRequests(r))
}

// sayRequests is a sentence such as "4.2 % of requests fail (5xx)".
func sayRequests(r requests) string {
	total := sayShare(r.errors()/r.all) + " of requests fail"
	var causes, shares []string
	for _, cause := range []struct {
		rate float64
		name string
	}{{r.failed, "5xx"}, {r.cut, "cut before the response"}, {r.errored, "errors of other protocols"}} {
		if cause.rate > 0 {
			causes = append(causes, cause.name)
			shares = append(shares, sayShare(cause.rate/r.all)+" "+cause.name)
		}
	}
	switch {
	case len(causes) > 1:
		return total + " (" + strings.Join(shares, ", ") + ")"
	case len(causes) == 0 || r.errored > 0:
		return total
	}
	return total + " (" + causes[0] + ")"
}

// connects are the attempts to reach one place: done, and failed by error.
type connects struct {
	done   float64
	failed map[string]float64
}

func (e *edgeFigures) attempts() connects {
	c := connects{failed: e.failed}
	if e.connects != nil {
		c.done = *e.connects
	}
	return c
}

// blamed sums the failures that are somebody's fault.
func (c connects) blamed() float64 {
	var sum float64
	for reason, rate := range c.failed {
		if reason != errorCanceled {
			sum += rate
		}
	}
	return sum
}

func (c connects) judge(window time.Duration, held Health) Health {
	failed := c.blamed()
	if failed <= 0 {
		return OK
	}
	return judge(failed, failed/(failed+c.done), window, held)
}

// say names the most frequent error: "12 connects/s refused by 10.0.0.5:5432". Words for the place come in the forms that the errors need.
func (c connects) say(by, to string) string {
	worst, most := errorOther, 0.0
	for _, reason := range slices.Sorted(maps.Keys(c.failed)) {
		if rate := c.failed[reason]; reason != errorCanceled && rate > most {
			worst, most = reason, rate
		}
	}
	rate := sayRate(c.blamed(), "connects")
	if most < 0.9*c.blamed() {
		return rate + " " + to + " fail, most " + sayError(worst)
	}
	switch worst {
	case "refused", "reset":
		return rate + " " + worst + " " + by
	case "timed_out", "unreachable":
		return rate + " " + to + " " + sayError(worst)
	default:
		return rate + " " + to + " fail"
	}
}

func sayError(reason string) string {
	switch reason {
	case "timed_out":
		return "time out"
	case "unreachable":
		return "find it unreachable"
	case errorOther:
		return "for another reason"
	default:
		return reason
	}
}

func (e *edgeFigures) place() string {
	return e.key.server.Name + ":" + strconv.Itoa(int(e.key.port))
}

func (e *edgeFigures) verdict(window time.Duration) verdict {
	v := newVerdict(e.active(), e.held)
	v.addRequests(e.requests, window)
	c := e.attempts()
	v.add(c.judge(window, v.held), c.blamed(), c.say("by "+e.place(), "to "+e.place()))
	return v
}

func (e *edgeFigures) active() bool {
	sum := e.requests.all
	for _, p := range []*float64{e.connects, e.sent, e.received, e.retransmit} {
		if p != nil {
			sum += *p
		}
	}
	for _, rate := range e.failed {
		sum += rate
	}
	return sum > 0
}

// maxCalleeReasons keeps a node that cannot reach anything from listing everything.
const maxCalleeReasons = 3

// verdict of a node: its own requests, connects to its ports, what it cannot reach, and where it serves nothing, its calls that fail. The last two
// are a warning at most, because the place that cannot be reached, or fails, is the critical one.
func (n *nodeFigures) verdict(window time.Duration) verdict {
	active := n.requests.all > 0
	for _, e := range slices.Concat(n.in, n.out) {
		active = active || e.active()
	}
	v := newVerdict(active, n.held)
	v.addRequests(n.requests, window)
	n.addPorts(&v, window)
	n.addCallees(&v, window)
	if n.requests.all == 0 {
		n.addCalls(&v, window)
	}
	return v
}

func (n *nodeFigures) addPorts(v *verdict, window time.Duration) {
	ports := map[uint16]*connects{}
	for _, e := range n.in {
		c := ports[e.key.port]
		if c == nil {
			c = &connects{failed: map[string]float64{}}
			ports[e.key.port] = c
		}
		c.done += e.attempts().done
		for reason, rate := range e.failed {
			c.failed[reason] += rate
		}
	}
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		c := ports[port]
		v.add(c.judge(window, v.held), c.blamed(), c.say(fmt.Sprintf("on port %d", port), fmt.Sprintf("to port %d", port)))
	}
}

func (n *nodeFigures) addCallees(v *verdict, window time.Duration) {
	var failing []*edgeFigures
	for _, e := range n.out {
		if e.key.server != n.workload && e.attempts().judge(window, v.held) != OK {
			failing = append(failing, e)
		}
	}
	slices.SortStableFunc(failing, func(a, b *edgeFigures) int { return cmp.Compare(b.attempts().blamed(), a.attempts().blamed()) })
	for i, e := range failing {
		if i == maxCalleeReasons {
			v.reasons = append(v.reasons, fmt.Sprintf("connects to %d more places fail", len(failing)-i))
			break
		}
		c := e.attempts()
		v.add(Warning, c.blamed(), c.say("by "+e.place(), "to "+e.place()))
	}
}

// addCalls says which requests of the node to others fail.
func (n *nodeFigures) addCalls(v *verdict, window time.Duration) {
	var failing []*edgeFigures
	for _, e := range n.out {
		if r := e.requests; e.key.server != n.workload && r.all > 0 && judge(r.errors(), r.errors()/r.all, window, v.held) != OK {
			failing = append(failing, e)
		}
	}
	slices.SortStableFunc(failing, func(a, b *edgeFigures) int { return cmp.Compare(b.requests.errors(), a.requests.errors()) })
	for i, e := range failing {
		if i == maxCalleeReasons {
			v.reasons = append(v.reasons, fmt.Sprintf("calls to %d more places fail", len(failing)-i))
			break
		}
		r := e.requests
		v.add(Warning, r.errors(), sayShare(r.errors()/r.all)+" of calls to "+e.place()+" fail")
	}
}

// sayShare writes a share for people: "4.2 %", "42 %". What is not all never reads as "100 %".
func sayShare(share float64) string {
	percent := share * 100
	switch {
	case percent < 9.95:
		return strconv.FormatFloat(percent, 'f', 1, 64) + " %"
	case percent > 99 && percent < 100-1e-9:
		return "more than 99 %"
	default:
		return strconv.FormatFloat(percent, 'f', 0, 64) + " %"
	}
}

// sayRate writes a rate in the unit that needs no fractions: "12 connects/s", "20 connects/min".
func sayRate(perSecond float64, what string) string {
	for _, unit := range []struct {
		name    string
		seconds float64
	}{{"s", 1}, {"min", 60}, {"h", 3600}} {
		if v := perSecond * unit.seconds; v >= 0.95 || unit.name == "h" {
			digits := 0
			if v < 9.5 && math.Abs(v-math.Round(v)) > 0.05 {
				digits = 1
			}
			return fmt.Sprintf("%s %s/%s", strconv.FormatFloat(v, 'f', digits, 64), what, unit.name)
		}
	}
	return ""
}
