package digest

import (
	"cmp"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

// linkKey is a client that uses a service, whatever they speak.
type linkKey struct {
	client, server model.Workload
	port           uint16
}

// link holds the edges of one key: one, or two where the protocol was recognised late.
type link struct {
	key     linkKey
	first   time.Time
	current *edge // connections are counted here, and requests of its protocol
	decided bool  // the protocol: current is published
	speaks  probe.Protocol
	others  map[probe.Protocol]*edge // requests of further protocols on the same port
	pairs   int
	views   views // of requests
	hellos  views // of TLS connections
}

// views say by client which end counts: the one that was first to report something.
type views map[probe.OwnerID]*view

type view struct {
	role probe.Role
	used time.Time
}

// viewOf is the end that counts for the client of a pair.
func (l *link) viewOf(p *pair, of *views, now time.Time) probe.Role {
	client := p.key.Owner
	if p.key.Role == probe.RoleServer {
		client = p.key.Peer
	}
	if *of == nil {
		*of = make(views)
	}
	v := (*of)[client]
	if v == nil {
		v = &view{role: p.key.Role}
		(*of)[client] = v
	}
	v.used = now
	return v.role
}

// edge is the series of one set of edge labels.
type edge struct {
	link     *link
	protocol string // "" until it is known; the edge is not shown before that
	born     time.Time
	changed  time.Time
	frozen   bool // another edge of the link took over
	bare     bool // has requests only: connections are counted at the link's current edge

	base, sent, received labels.Labels
	caretta              [2]labels.Labels // as the client's and as the server's link; the zero set where the end is outside
	opened               uint64
	bytes                [2]uint64 // client to server, server to client
	retransmits          uint64
	active               int64
	rtt, duration        buckets
	failed               [probe.NumConnectErrors]counter
	codes                map[string]*counter
	coded                []*counter // codes in order of birth
	messages             [2]uint64  // within requests: client to server, server to client
	streamed             time.Time  // when messages was born; zero: there are none
	tls                  handshakes
	failures             counter // failed requests; there from the first request on, so that its rate is right
}

// counter is a series that was born later than what it belongs to.
type counter struct {
	labels  labels.Labels
	born    time.Time
	changed time.Time // kept only where the counter expires by itself
	value   uint64
}

const (
	// edgeSeries is the room that an edge takes without codes and errors: connections, active, bytes both ways, retransmits, two histograms, two links.
	edgeSeries = 9
	bareSeries = 1  // that of a bare edge: one histogram
	maxCodes   = 64 // of one edge or workload that go by their own names
	maxCode    = 48 // bytes of a code
)

func newEdge(l *link, born, now time.Time) *edge {
	return &edge{link: l, born: born, changed: now, codes: make(map[string]*counter)}
}

// linkOf finds or makes the link of a settled pair; nil where it has none or there is no room.
func (d *Digest) linkOf(p *pair, now time.Time) *link {
	ends := &p.ends
	if ends.Watched && ends.Client.IsZero() {
		d.leaveLink(p)
		return nil
	}
	if p.link != nil && p.asked != now {
		return p.link
	}
	if ends.Client.IsZero() || ends.Server.IsZero() {
		d.dropped[dropUnknown]++
		ends.Client, ends.Server = process.CleanWorkload(ends.Client), process.CleanWorkload(ends.Server)
	}
	key := linkKey{client: d.external(ends.Client), server: d.external(ends.Server), port: ends.Port}
	if p.link != nil && p.link.key == key {
		return p.link
	}
	l := d.links[key]
	if l == nil {
		if !d.reserve(edgeSeries) {
			d.dropped[dropSeries]++
			return nil
		}
		l = &link{key: key, first: p.heldSince(now)}
		l.current = newEdge(l, d.began(p), now)
		d.links[key] = l
		d.undecided[l] = struct{}{}
		d.edges = append(d.edges, l.current)
		d.refExternal(key.client, 1)
		d.refExternal(key.server, 1)
	}
	d.leaveLink(p)
	p.link = l
	l.pairs++
	return l
}

// leaveLink takes a pair and its open connections off its link.
func (d *Digest) leaveLink(p *pair) {
	if p.link == nil {
		return
	}
	p.link.pairs--
	p.link.current.active -= p.linkActive
	p.link.current.changed = d.now
	p.link, p.linkActive = nil, 0
}

// linkConnections adds TCP figures to an edge.
func (d *Digest) linkConnections(p *pair, l *link, t *probe.PairDelta, now time.Time) {
	e := l.current
	e.changed = now
	e.opened += t.Opened
	e.retransmits += t.Retransmits
	e.active += t.Active - p.linkActive
	p.linkActive = t.Active
	e.rtt.add(t.RTT[:], t.RTTSum)
	sent, received := t.BytesSent, t.BytesReceived
	if p.key.Role == probe.RoleServer {
		sent, received = received, sent
	}
	e.bytes[0] += sent
	e.bytes[1] += received
	for i, n := range t.Failed {
		if n == 0 {
			continue
		}
		c := &e.failed[i]
		if c.born.IsZero() {
			if !d.reserve(1) {
				d.dropped[dropSeries] += n
				continue
			}
			c.born = d.began(p)
			if e.protocol != "" {
				c.labels = with(e.base, "error", probe.ConnectError(i).String())
			}
		}
		c.value += n
	}
}

// linkRequest adds requests to an edge where they come from the side whose view counts.
func (d *Digest) linkRequest(p *pair, l *link, r *probe.RequestDelta, now time.Time) {
	e := d.edgeOf(p, l, r.Protocol, now)
	if r.Count == 0 && r.Messages == [2]uint64{} {
		return
	}
	if l.viewOf(p, &l.views, now) != p.key.Role {
		return
	}
	if e == nil {
		d.dropped[dropSeries] += r.Count
		return
	}
	e.changed = now
	e.addMessages(d, p, r)
	if r.Count == 0 {
		return
	}
	e.duration.add(r.Buckets[:], r.Sum)
	if c := e.code(d, p, r.Code); c != nil {
		c.value += r.Count
	} else {
		d.dropped[dropSeries] += r.Count
	}
	if e.failures.born.IsZero() && d.reserve(1) {
		e.failures.born = d.began(p)
	}
	if r.Failed {
		e.failures.value += r.Count
	}
}

// addMessages counts what went both ways within requests, also while these go on.
func (e *edge) addMessages(d *Digest, p *pair, r *probe.RequestDelta) {
	if r.Messages == [2]uint64{} {
		return
	}
	if e.streamed.IsZero() {
		if !d.reserve(messageRoom) {
			d.dropped[dropSeries] += r.Messages[0] + r.Messages[1]
			return
		}
		e.streamed = d.began(p)
	}
	e.messages[0] += r.Messages[0]
	e.messages[1] += r.Messages[1]
}

// code finds or makes the counter of a code; nil where there is no room.
func (e *edge) code(d *Digest, p *pair, code string) *counter {
	if code = process.Clean(code, maxCode); e.codes[code] == nil && len(e.codes) >= maxCodes {
		code = other
	}
	c := e.codes[code]
	if c == nil && d.reserve(1) {
		c = &counter{born: d.began(p)}
		if e.protocol != "" {
			c.labels = with(e.base, "code", codeLabel(code))
		}
		e.codes[code] = c
		e.coded = append(e.coded, c)
	}
	return c
}

// edgeOf is where requests of a protocol are counted: the link's own edge, or where the link speaks something else already, one that has
// nothing but these requests. It is nil where there is no room.
func (d *Digest) edgeOf(p *pair, l *link, protocol probe.Protocol, now time.Time) *edge {
	d.recognise(l, protocol, now)
	if protocol == l.speaks || !tells(protocol) {
		return l.current
	}
	e := l.others[protocol]
	if e == nil {
		if !d.reserve(bareSeries) {
			return nil
		}
		e = newEdge(l, d.began(p), now)
		e.bare = true
		if l.others == nil {
			l.others = make(map[probe.Protocol]*edge)
		}
		l.others[protocol] = e
		d.edges = append(d.edges, e)
		e.publish(protocolName(protocol))
	}
	return e
}

// tells reports whether a protocol says what requests there are. TLS does not: what is inside may still be recognised.
func tells(protocol probe.Protocol) bool {
	return protocol != probe.ProtocolUnknown && protocol != probe.ProtocolTLS
}

// recognise notes what a link speaks: the first protocol that tells. Where the link was already shown as plain TCP or TLS, another edge
// takes over, so that no series goes back. TLS is not shown at once: what is inside may be recognised soon.
func (d *Digest) recognise(l *link, protocol probe.Protocol, now time.Time) {
	if protocol == probe.ProtocolUnknown || tells(l.speaks) || protocol == l.speaks {
		return
	}
	if !l.decided && protocol == probe.ProtocolTLS {
		l.speaks = protocol
		return
	}
	if l.decided && d.reserve(edgeSeries) {
		old := l.current
		l.current = newEdge(l, d.before, now)
		l.current.active = old.active
		old.frozen, old.active = true, 0
		d.edges = append(d.edges, l.current)
	}
	l.speaks = protocol
	d.publish(l, protocolName(protocol))
}

// decide calls an edge plain TCP, or TLS, that nothing better was seen on for long enough.
func (d *Digest) decide(now time.Time) {
	for l := range d.undecided {
		if now.Sub(l.first) >= holdBack {
			d.publish(l, protocolName(l.speaks))
		}
	}
}

// publish gives the edge of a link its protocol and with it its labels.
func (d *Digest) publish(l *link, protocol string) {
	delete(d.undecided, l)
	l.decided = true
	if l.current.protocol == "" {
		l.current.publish(protocol)
	}
}

func (e *edge) publish(protocol string) {
	key := e.link.key
	e.protocol = protocol
	e.base = labelSet(
		"client_namespace", key.client.Namespace, "client_kind", string(key.client.Kind), "client", key.client.Name,
		"server_namespace", key.server.Namespace, "server_kind", string(key.server.Kind), "server", key.server.Name,
		"port", strconv.Itoa(int(key.port)), "protocol", protocol,
	)
	e.sent, e.received = with(e.base, "direction", "sent"), with(e.base, "direction", "received")
	for i := range e.failed {
		if !e.failed[i].born.IsZero() {
			e.failed[i].labels = with(e.base, "error", probe.ConnectError(i).String())
		}
	}
	for code, c := range e.codes {
		c.labels = with(e.base, "code", codeLabel(code))
	}
	e.tls.publish(e.base)
	if key.client.Kind != model.KindExternal {
		e.caretta[0] = carettaLabels(key, protocol, "1")
	}
	if key.server.Kind != model.KindExternal {
		e.caretta[1] = carettaLabels(key, protocol, "2")
	}
}

// carettaLabels are those of caretta_links_observed. Caretta's roles are 1 for the client's end and 2 for the server's.
// Its link ids are hashes, and so are ours; the protocol is part of them, as an edge that changed it is two series.
func carettaLabels(key linkKey, protocol, role string) labels.Labels {
	port := strconv.Itoa(int(key.port))
	id := fnv.New64a()
	for _, part := range []string{key.client.ID(), key.server.ID(), port, protocol, role} {
		_, _ = id.Write([]byte(part)) // never fails
		_, _ = id.Write([]byte{0})
	}
	return labelSet(
		"link_id", strconv.FormatUint(id.Sum64(), 10),
		"client_name", key.client.Name, "client_namespace", key.client.Namespace, "client_kind", string(key.client.Kind),
		"server_name", key.server.Name, "server_namespace", key.server.Namespace, "server_kind", string(key.server.Kind),
		"server_port", port, "role", role,
	)
}

// codeLabel is the code, or "none" where the connection ended before a response.
func codeLabel(code string) string { return cmp.Or(code, "none") }

// protocolName is the label of a protocol: "tcp" where none was recognised.
func protocolName(p probe.Protocol) string {
	if p == probe.ProtocolUnknown {
		return "tcp"
	}
	return process.Clean(string(p), maxCode)
}
