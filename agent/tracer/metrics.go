package tracer

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// register exports how near the bounds are and what was lost.
func (s *Server) register(to prometheus.Registerer) error {
	locked := func(read func() uint64) func() float64 {
		return func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(read())
		}
	}
	list := []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vetch_tracer_rows", Help: "Rows of GET /connections on the tracer's socket."},
			locked(func() uint64 { return uint64(len(s.table.rows)) })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vetch_tracer_max_rows", Help: "Limit of vetch_tracer_rows."},
			func() float64 { return maxRows }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vetch_tracer_clients", Help: "Clients of the tracer's socket that asked in the last two minutes."},
			locked(func() uint64 { return uint64(len(s.clients.by)) })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "vetch_tracer_answers_total", Help: "Answers to GET /connections on the tracer's socket."},
			locked(func() uint64 { return s.answers })),
	}
	counted := func(reason string, read func() uint64) {
		list = append(list, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "vetch_tracer_dropped_total", Help: "What the tracer's socket could not tell, by reason.", ConstLabels: prometheus.Labels{"reason": reason},
		}, locked(read)))
	}
	counted("rows", func() uint64 { return s.table.lost })
	counted("closed", func() uint64 { return s.clients.forgotten })
	counted("states", func() uint64 { return s.clients.noRoom })
	for _, reason := range []string{refusedClients, refusedBusy, refusedBadID} {
		counted(reason, func() uint64 { return s.refused[reason] })
	}
	for _, c := range list {
		if err := to.Register(c); err != nil {
			return fmt.Errorf("register the tracer's metrics: %w", err)
		}
	}
	return nil
}

// register exports how asking went. What could not be counted is among the losses of the probe, whose place the source has.
func (s *Source) register(to prometheus.Registerer) error {
	locked := func(read func() float64) func() float64 {
		return func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return read()
		}
	}
	list := []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vetch_tracer_source_rows", Help: "Rows of the network tracer that are followed."},
			locked(func() float64 { return float64(s.rows) })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vetch_tracer_source_max_rows", Help: "Limit of vetch_tracer_source_rows."},
			func() float64 { return maxFollowed }),
	}
	for result := range s.polls {
		list = append(list, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "vetch_tracer_source_polls_total", Help: "Times the network tracer was asked, by what came of it.", ConstLabels: prometheus.Labels{"result": result},
		}, locked(func() float64 { return float64(s.polls[result]) })))
	}
	for _, c := range list {
		if err := to.Register(c); err != nil {
			return fmt.Errorf("register the metrics of the network tracer: %w", err)
		}
	}
	return nil
}
