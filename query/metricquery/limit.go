package metricquery

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrBusy is returned when a query's time was over before one of the MaxConcurrency places was free.
var ErrBusy = errors.New("too many queries at a time")

// limiter lets a fixed number of queries run.
type limiter struct{ places chan struct{} }

func newLimiter(n int) *limiter { return &limiter{places: make(chan struct{}, n)} }

// admit waits for a place, and bounds the time of waiting and running together. done must be called when the query has ended.
func (e *Engine) admit(ctx context.Context) (_ context.Context, done func(), _ error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.opts.Timeout, fmt.Errorf("query took longer than %s", e.opts.Timeout))
	select {
	case e.limiter.places <- struct{}{}:
	default:
		e.metrics.waiting.Inc()
		defer e.metrics.waiting.Dec()
		select {
		case e.limiter.places <- struct{}{}:
		case <-ctx.Done():
			defer cancel()
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, nil, ctx.Err()
			}
			e.metrics.refused.WithLabelValues("busy").Inc()
			return nil, nil, fmt.Errorf("%w: %d are running; try again, or ask for a shorter range: %w", ErrBusy, e.opts.MaxConcurrency, ctx.Err())
		}
	}
	e.metrics.running.Inc()
	return ctx, func() {
		e.metrics.running.Dec()
		<-e.limiter.places
		cancel()
	}, nil
}

// queryMetrics are the engine's own figures beside those of Prometheus (prometheus_engine_*).
type queryMetrics struct {
	running, waiting prometheus.Gauge
	refused          *prometheus.CounterVec
}

func newQueryMetrics(r prometheus.Registerer) *queryMetrics {
	m := &queryMetrics{
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "vetch_query_running", Help: "PromQL queries that run now."}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "vetch_query_waiting", Help: "PromQL queries that wait for a place."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vetch_query_refused_total", Help: "PromQL queries that were ended by a limit."}, []string{"reason"}),
	}
	for _, reason := range []string{"busy", "timeout", "samples"} {
		m.refused.WithLabelValues(reason)
	}
	r.MustRegister(m.running, m.waiting, m.refused)
	return m
}
