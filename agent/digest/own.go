package digest

import (
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// gatherOwn adds what the digest says of itself. The lock is held.
func (d *Digest) gatherOwn(b *batch) {
	f := &d.families
	b.gauge(f.series, labels.EmptyLabels(), float64(d.reserved))
	b.gauge(f.seriesMax, labels.EmptyLabels(), float64(d.options.MaxSeries))
	for _, reason := range dropReasons {
		b.counter(f.dropped, labelSet("reason", reason), float64(d.dropped[reason]), d.started)
	}
	for i, rule := range d.options.IgnoreRequests {
		b.counter(f.ignored, labelSet("rule", rule.Name), float64(d.ignored[i]), d.started)
	}
	b.counter(f.snapshots, labels.EmptyLabels(), float64(d.snapshots), d.started)
	book := d.book.Stats()
	for _, q := range []struct {
		result string
		n      uint64
	}{
		{"found", book.ConntrackFound}, {"none", book.ConntrackNone}, {"error", book.ConntrackErrors}, {"limited", book.ConntrackLimited},
	} {
		b.counter(f.conntrack, labelSet("result", q.result), float64(q.n), d.started)
	}
	for _, q := range []struct {
		what string
		n    uint64
	}{
		{"container_name", book.NamesFailed}, {"addresses", book.AddressesFailed},
		{"namespaces_full", book.SpacesOverflow}, {"listeners_full", book.ListenersOverflow}, {"owners_full", book.OwnersOverflow},
	} {
		b.counter(f.lookupFailures, labelSet("what", q.what), float64(q.n), d.started)
	}
	d.gatherNames(b)
}

// gatherNames adds what addresses outside are called.
func (d *Digest) gatherNames(b *batch) {
	f, book := &d.families, d.options.Names
	if book == nil {
		return
	}
	stats := book.Stats()
	b.counter(f.lookupFailures, labelSet("what", "names_full"), float64(stats.Dropped), d.started)
	b.gauge(f.named, labels.EmptyLabels(), float64(stats.Addresses))
	b.gauge(f.namedMax, labels.EmptyLabels(), float64(stats.MaxAddresses))
	m := d.options.Machine
	for _, mapping := range book.Mappings(d.now) {
		b.gauge(f.fqdn, labelSet("machine_id", m.ID, "system_uuid", m.SystemUUID, "ip", mapping.Addr.String(), "fqdn", mapping.Name), 1)
	}
}

// gatherNode adds what describes the machine and the agent. It reads /proc.
func (d *Digest) gatherNode(b *batch) {
	f, m := &d.families, d.options.Machine
	common := []string{"machine_id", m.ID, "system_uuid", m.SystemUUID}
	b.gauge(f.node, labelSet(append(slices.Clone(common), "hostname", m.Hostname, "kernel_version", m.Kernel)...), 1)
	b.gauge(f.agent, labelSet(append(slices.Clone(common), "version", d.options.Version)...), 1)
	if up := m.Uptime(); up > 0 {
		b.gauge(f.uptime, labelSet(common...), up.Seconds())
	}
}

// gatherProbe adds the probe's own figures. It asks the kernel.
func (d *Digest) gatherProbe(b *batch) {
	if d.options.ProbeStats == nil {
		return
	}
	f, stats := &d.families, d.options.ProbeStats()
	for _, hook := range slices.Sorted(maps.Keys(stats.Hooks)) {
		attached := 0.0
		if stats.Hooks[hook] {
			attached = 1
		}
		b.gauge(f.hookAttached, labelSet("hook", hook), attached)
	}
	for _, reason := range slices.Sorted(maps.Keys(stats.Lost)) {
		b.counter(f.eventsLost, labelSet("reason", reason), float64(stats.Lost[reason]), d.started)
	}
	for _, m := range stats.Maps {
		if m.Entries >= 0 {
			b.gauge(f.mapEntries, labelSet("map", m.Name), float64(m.Entries))
		}
	}
	for _, m := range stats.Maps {
		b.gauge(f.mapMax, labelSet("map", m.Name), float64(m.MaxEntries))
	}
	for _, m := range stats.Maps {
		b.gauge(f.mapMemory, labelSet("map", m.Name), float64(m.MemoryBytes))
	}
}
