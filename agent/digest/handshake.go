package digest

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
)

// The bounds of the TLS connections of one edge.
const (
	maxServerNames = 32 // that go by themselves
	maxHandshakes  = 64 // kinds
)

// handshakes are the TLS connections of one edge by what their hellos say.
type handshakes struct {
	names   map[string]struct{}
	series  map[handshakeKey]*counter
	ordered []*counter // in order of birth
}

type handshakeKey struct{ version, sni, alpn, cipher string }

// linkHandshake counts TLS connections on an edge where they come from the side whose view of them counts.
func (d *Digest) linkHandshake(p *pair, l *link, h *probe.HandshakeDelta, now time.Time) {
	d.recognise(l, probe.ProtocolTLS, now)
	if h.Count == 0 || l.viewOf(p, &l.hellos, now) != p.key.Role {
		return
	}
	l.current.changed = now
	c := l.current.handshake(d, p, h)
	if c == nil {
		d.dropped[dropSeries] += h.Count
		return
	}
	c.value += h.Count
}

// handshake finds or makes the counter of a kind of TLS connection; nil where there is no room.
func (e *edge) handshake(d *Digest, p *pair, h *probe.HandshakeDelta) *counter {
	t := &e.tls
	if t.series == nil {
		t.names, t.series = make(map[string]struct{}), make(map[handshakeKey]*counter)
	}
	key := handshakeKey{h.Version, bound(t.names, process.Clean(h.SNI, maxName), maxServerNames), h.ALPN, h.Cipher}
	if t.series[key] == nil && len(t.series) >= maxHandshakes {
		key = handshakeKey{other, other, other, other}
	}
	c := t.series[key]
	if c == nil && d.reserve(1) {
		c = &counter{born: d.began(p)}
		if e.protocol != "" {
			c.labels = handshakeLabels(e.base, key)
		}
		t.series[key] = c
		t.ordered = append(t.ordered, c)
	}
	return c
}

// publish gives the counters their labels.
func (t *handshakes) publish(base labels.Labels) {
	for key, c := range t.series {
		c.labels = handshakeLabels(base, key)
	}
}

func handshakeLabels(base labels.Labels, key handshakeKey) labels.Labels {
	return labels.NewBuilder(base).Set("version", key.version).Set("sni", key.sni).Set("alpn", key.alpn).Set("cipher", key.cipher).Labels()
}
