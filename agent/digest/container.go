package digest

import (
	"cmp"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
)

// containerKey names a container as coroot-node-agent does; units and plain programs are containers there too.
type containerKey struct{ id, app string }

// container is what one container did, in the series that coroot-node-agent has of it.
type container struct {
	key     containerKey
	labels  labels.Labels
	changed time.Time
	pairs   int

	flows        map[flowKey]*flow
	ordered      []*flow
	destinations map[string]int // flows and failures by destination
	failed       map[string]*counter
	inbound      []*tally            // requests that it answered
	outbound     []*tally            // requests that are counted whatever their destination
	domains      map[string]struct{} // names that go by themselves in them
}

// flowKey is a destination before and after NAT, as text.
type flowKey struct{ destination, actual string }

// flow is the outbound traffic to one destination.
type flow struct {
	flowKey
	labels      labels.Labels
	born        time.Time
	changed     time.Time
	pairs       int
	opened      uint64
	connectTime time.Duration
	retransmits uint64
	sent        uint64
	received    uint64
	active      int64
	requests    []*tally
}

// flowRoom is how many series a flow has without requests: connects, their time, active, retransmits, bytes both ways.
const flowRoom = 6

// boxOf finds or makes the container of a pair's owner; nil where it is not known or there is no room.
func (d *Digest) boxOf(p *pair, now time.Time) *container {
	id := p.ends.Owner
	if p.box != nil && (p.asked != now || id.ContainerID == "") {
		p.box.changed = now
		return p.box
	}
	if id.ContainerID == "" {
		return nil
	}
	key := containerKey{id: process.Clean(id.ContainerID, maxName), app: process.Clean(id.AppID, maxName)}
	if p.box != nil && p.box.key == key {
		p.box.changed = now
		return p.box
	}
	d.leaveBox(p) // it has got another name
	box := d.containers[key]
	if box == nil {
		box = &container{
			key: key, labels: d.containerLabels(key),
			flows: make(map[flowKey]*flow), destinations: make(map[string]int), failed: make(map[string]*counter),
			domains: make(map[string]struct{}),
		}
		d.containers[key] = box
		d.boxes = append(d.boxes, box)
	}
	box.pairs++
	box.changed = now
	p.box = box
	return box
}

func (d *Digest) leaveBox(p *pair) {
	if p.flow != nil {
		p.flow.pairs--
		p.flow.active -= p.flowActive
		p.flow.changed = d.now
		p.flow, p.flowActive = nil, 0
	}
	if p.box != nil {
		p.box.pairs--
		p.box.changed = d.now
		p.box = nil
	}
}

func (d *Digest) containerLabels(key containerKey, more ...string) labels.Labels {
	return labelSet(append([]string{
		"machine_id", d.options.Machine.ID, "system_uuid", d.options.Machine.SystemUUID, "container_id", key.id, "app_id", key.app,
	}, more...)...)
}

// flowOf finds or makes the flow of a client pair.
func (d *Digest) flowOf(p *pair, box *container, now time.Time) *flow {
	if p.flow != nil && p.asked != now {
		return p.flow
	}
	key := flowKey{destination: hostPort(p.key.Remote), actual: hostPort(p.ends.Actual)}
	if name := publicName(p); name != "" {
		key = flowKey{destination: name}
	}
	if key.destination = d.destination(box, key.destination); key.destination == other {
		key.actual = other
	}
	if p.flow != nil && p.flow.flowKey == key {
		return p.flow
	}
	f := box.flows[key]
	if f == nil {
		if !d.reserve(flowRoom) {
			d.dropped[dropSeries]++
			return nil
		}
		f = &flow{
			flowKey: key, born: d.began(p),
			labels: d.containerLabels(box.key, "destination", key.destination, "actual_destination", key.actual),
		}
		box.flows[key] = f
		box.ordered = append(box.ordered, f)
		box.destinations[key.destination]++
	}
	if p.flow != nil {
		p.flow.pairs--
		p.flow.active -= p.flowActive
		p.flowActive = 0
	}
	p.flow = f
	f.pairs++
	return f
}

// destination bounds how many destinations of a container go by their own names.
func (d *Digest) destination(box *container, name string) string {
	if box.destinations[name] == 0 && len(box.destinations) >= d.options.MaxDestinations {
		d.dropped[dropDestinations]++
		return other
	}
	return name
}

// boxConnections adds the TCP figures of a client pair.
func (d *Digest) boxConnections(p *pair, box *container, t *probe.PairDelta, now time.Time) {
	var failures uint64
	for _, n := range t.Failed {
		failures += n
	}
	if failures > 0 {
		d.boxFailures(p, box, failures)
	}
	if p.flow == nil && t.Opened == 0 && t.Active == 0 && t.BytesSent == 0 && t.BytesReceived == 0 {
		return // nothing but failed connects, which have no actual destination
	}
	f := d.flowOf(p, box, now)
	if f == nil {
		return
	}
	f.changed = now
	f.opened += t.Opened
	f.connectTime += t.ConnectTime
	f.retransmits += t.Retransmits
	f.sent += t.BytesSent
	f.received += t.BytesReceived
	f.active += t.Active - p.flowActive
	p.flowActive = t.Active
}

func (d *Digest) boxFailures(p *pair, box *container, n uint64) {
	name := cmp.Or(publicName(p), hostPort(p.key.Remote))
	name = d.destination(box, name)
	c := box.failed[name]
	if c == nil {
		if !d.reserve(1) {
			d.dropped[dropSeries] += n
			return
		}
		c = &counter{born: d.began(p), labels: d.containerLabels(box.key, "destination", name)}
		box.failed[name] = c
		box.destinations[name]++
	}
	c.value += n
	c.changed = d.now
}

// publicName is what a destination goes by that DNS, or the client itself, gave a name: as with coroot-node-agent, addresses of private
// networks keep to themselves, and one with a name has no actual destination.
func publicName(p *pair) string {
	addr := p.ends.Actual.Addr()
	if p.ends.Name == "" || addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() {
		return ""
	}
	return process.Clean(p.ends.Name, maxName) + ":" + strconv.Itoa(int(p.key.Remote.Port()))
}

// hostPort writes an address as "10.0.0.1:80" or "[fd00::1]:80"; "" where there is none.
func hostPort(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	addr := a.Addr().Unmap().WithZone("").String()
	if a.Addr().Unmap().Is6() {
		addr = "[" + addr + "]"
	}
	return addr + ":" + strconv.Itoa(int(a.Port()))
}
