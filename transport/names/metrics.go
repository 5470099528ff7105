package names

import "github.com/prometheus/client_golang/prometheus"

// feedMetrics are the figures of a Feed. Sizes are read when they are asked for.
type feedMetrics struct {
	feed      *Feed
	snapshots *prometheus.CounterVec // reason: first, epoch, behind
	resumed   prometheus.Counter
	sent      prometheus.Counter
	dropped   *prometheus.CounterVec // reason: size, subscribers

	subscribers, sequence, lag, names *prometheus.Desc
}

func newFeedMetrics(f *Feed) *feedMetrics {
	m := &feedMetrics{
		feed: f,
		snapshots: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vetch_names_feed_snapshots_total", Help: "Snapshots of all names begun, by why a subscriber needed one.",
		}, []string{"reason"}),
		resumed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vetch_names_feed_resumed_total", Help: "Subscribers that came back and needed no snapshot.",
		}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vetch_names_feed_sent_total", Help: "Names, and names to forget, sent to all subscribers.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vetch_names_feed_dropped_total", Help: "What the feed refused: names that are too large, subscribers that are too many.",
		}, []string{"reason"}),
		subscribers: prometheus.NewDesc("vetch_names_feed_subscribers", "Streams that are served now.", nil, nil),
		sequence:    prometheus.NewDesc("vetch_names_feed_sequence", "Number of the last change.", nil, nil),
		lag:         prometheus.NewDesc("vetch_names_feed_lag_changes", "Changes that the slowest subscriber has yet to get.", nil, nil),
		names:       prometheus.NewDesc("vetch_names_feed_names", "Names held now, by what they name.", []string{"role"}, nil),
	}
	for _, reason := range []string{"first", "epoch", "behind"} {
		m.snapshots.WithLabelValues(reason)
	}
	for _, reason := range []string{"size", "subscribers"} {
		m.dropped.WithLabelValues(reason)
	}
	return m
}

// Collector gives the feed's metrics.
func (f *Feed) Collector() prometheus.Collector { return f.metrics }

func (m *feedMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.snapshots.Describe(ch)
	m.resumed.Describe(ch)
	m.sent.Describe(ch)
	m.dropped.Describe(ch)
	ch <- m.subscribers
	ch <- m.sequence
	ch <- m.lag
	ch <- m.names
}

func (m *feedMetrics) Collect(ch chan<- prometheus.Metric) {
	m.snapshots.Collect(ch)
	m.resumed.Collect(ch)
	m.sent.Collect(ch)
	m.dropped.Collect(ch)
	roles := map[Role]int{Role_ROLE_POD: 0, Role_ROLE_SERVICE: 0, Role_ROLE_NODE: 0, Role_ROLE_AGENT: 0}
	m.feed.mu.Lock()
	subscribers, sequence, lag := len(m.feed.subscribers), m.feed.sequence, uint64(0)
	for s := range m.feed.subscribers {
		lag = max(lag, m.feed.sequence-s.at)
	}
	for _, e := range m.feed.byID {
		roles[e.full.Role]++
	}
	m.feed.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(m.subscribers, prometheus.GaugeValue, float64(subscribers))
	ch <- prometheus.MustNewConstMetric(m.sequence, prometheus.GaugeValue, float64(sequence))
	ch <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, float64(lag))
	for role, label := range map[Role]string{Role_ROLE_POD: "pod", Role_ROLE_SERVICE: "service", Role_ROLE_NODE: "node", Role_ROLE_AGENT: "agent"} {
		ch <- prometheus.MustNewConstMetric(m.names, prometheus.GaugeValue, float64(roles[role]), label)
	}
}
