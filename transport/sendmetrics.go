package transport

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// sendMetrics are what a shipper tells of itself. Samples are those of all kinds, histograms too. All of it has the label signal.
type sendMetrics struct {
	sent          *prometheus.CounterVec
	failed        *prometheus.CounterVec
	dropped       *prometheus.CounterVec
	requests      *prometheus.CounterVec
	spoolFailures *prometheus.CounterVec
	corrupt       prometheus.Counter
}

func newSendMetrics(kinds []string) *sendMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &sendMetrics{
		sent:     counter("vetch_ship_sent_total", "Samples and events that the server has taken, by kind.", "kind"),
		failed:   counter("vetch_ship_failed_total", "Samples and events that the server has refused for good, by reason.", "reason"),
		dropped:  counter("vetch_ship_dropped_total", "Samples and events that were given up before the server took them, by reason.", "reason"),
		requests: counter("vetch_ship_requests_total", "Requests to the server, by status; error: there was no answer.", "code"),
		spoolFailures: counter("vetch_ship_spool_failures_total",
			"Times the spool could not be written or read, by reason. What waits stays in memory meanwhile.", "reason"),
		corrupt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vetch_ship_corrupt_files_total", Help: "Files of the spool that were damaged and set aside. What they still held is not counted elsewhere.",
		}),
	}
	for v, values := range map[*prometheus.CounterVec][]string{
		m.sent: kinds, m.failed: failReasons(), m.dropped: {"duplicate", "memory_full", "spool_full", "stopped"},
		m.spoolFailures: {"disk_full", "io"},
	} {
		for _, value := range values {
			v.WithLabelValues(value)
		}
	}
	return m
}

func (m *sendMetrics) drop(reason string, samples int) {
	m.dropped.WithLabelValues(reason).Add(float64(samples))
}

func (m *sendMetrics) register(r prometheus.Registerer, q *queue, spoolLimit int64) {
	gauge := func(name, help string, read func(queueSize) float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return read(q.size(time.Now())) })
	}
	r.MustRegister(m.sent, m.failed, m.dropped, m.requests, m.spoolFailures, m.corrupt,
		gauge("vetch_ship_lag_seconds", "Age of the oldest sample or event that is not sent yet; 0 if there is none.", func(s queueSize) float64 { return s.lag.Seconds() }),
		gauge("vetch_ship_queue_bytes", "Batches that wait in memory.", func(s queueSize) float64 { return float64(s.memory) }),
		gauge("vetch_ship_queue_limit_bytes", "Bound of vetch_ship_queue_bytes.", func(queueSize) float64 { return float64(q.limit) }),
		gauge("vetch_ship_spool_bytes", "Size of the spool on disk.", func(s queueSize) float64 { return float64(s.disk) }),
		gauge("vetch_ship_spool_limit_bytes", "Bound of vetch_ship_spool_bytes.", func(queueSize) float64 { return float64(spoolLimit) }),
	)
}
