package java

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"
)

type collector struct {
	a                      *Attacher
	processes, failed, off *prometheus.Desc
}

// Collector exports how far the JVMs are, and why some are not seen.
func (a *Attacher) Collector() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("vetch_tls_java_"+name, help, labels, nil)
	}
	return &collector{a,
		desc("processes", "JVMs, by whether their own TLS is seen: seen, waiting, failed or not_chosen (agent.tls.java).", "state"),
		desc("failures_total", "JVMs that were chosen and cannot be attached to, by reason.", "reason"),
		desc("off_processes", "JVMs in which what was loaded has switched itself off after an error."),
	}
}

// Describe is that of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect is that of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.a.mu.Lock()
	states, off := map[state]int{waiting: 0, seen: 0, failed: 0, notChosen: 0}, 0
	for _, j := range c.a.jvms {
		states[j.state]++
		if j.state == seen && c.a.options.Off(j.pid) {
			off++
		}
	}
	counts := maps.Clone(c.a.counts)
	c.a.mu.Unlock()
	for s, n := range states {
		out <- prometheus.MustNewConstMetric(c.processes, prometheus.GaugeValue, float64(n), string(s))
	}
	for name, n := range counts {
		out <- prometheus.MustNewConstMetric(c.failed, prometheus.CounterValue, float64(n), name)
	}
	out <- prometheus.MustNewConstMetric(c.off, prometheus.GaugeValue, float64(off))
}
