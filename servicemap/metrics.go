package servicemap

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the service tells about itself.
type metrics struct {
	computed    *prometheus.CounterVec // by answer: map, workloads, workload, and those of servicemap/inventory
	seconds     *prometheus.CounterVec
	shared      prometheus.Counter
	busy        prometheus.Counter
	skipped     prometheus.Counter
	dropped     *prometheus.CounterVec
	subscribers prometheus.Gauge
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "vetch_servicemap_" + name, Help: help}
	}
	m := &metrics{
		computed: prometheus.NewCounterVec(counter("computed_total", "Answers computed from the store, by answer and result."), []string{"answer", "result"}),
		seconds:  prometheus.NewCounterVec(counter("compute_seconds_total", "Wall time spent computing answers."), []string{"answer"}),
		shared:   prometheus.NewCounter(counter("shared_total", "Answers that were taken from another viewer's.")),
		busy:     prometheus.NewCounter(counter("refused_total", "Questions refused because too many were waiting.")),
		skipped:  prometheus.NewCounter(counter("stream_skipped_updates_total", "Live updates that a slow reader did not get because a newer one replaced them.")),
		dropped:  prometheus.NewCounterVec(counter("stream_dropped_readers_total", "Live streams that were ended or refused, by reason."), []string{"reason"}),
		subscribers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vetch_servicemap_stream_readers", Help: "Live streams open now."}),
	}
	for _, answer := range []string{answerMap, answerWorkloads, answerWorkload, "namespaces", "namespace", "nodes", "node", "pods", "pod"} {
		m.computed.WithLabelValues(answer, "ok")
		m.computed.WithLabelValues(answer, "error")
		m.seconds.WithLabelValues(answer)
	}
	m.dropped.WithLabelValues(dropSlow)
	m.dropped.WithLabelValues(dropLimit)
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.computed, m.seconds, m.shared, m.busy, m.skipped, m.dropped, m.subscribers} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register: %w", err)
		}
	}
	return nil
}
