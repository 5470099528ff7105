package metrics

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// recorder remembers what was registered through it, so that a database that is closed, or that did not open, leaves nothing behind.
type recorder struct {
	prometheus.Registerer

	mu         sync.Mutex
	collectors []prometheus.Collector
}

// Register implements prometheus.Registerer.
func (r *recorder) Register(c prometheus.Collector) error {
	err := r.Registerer.Register(c)
	if err == nil {
		r.mu.Lock()
		r.collectors = append(r.collectors, c)
		r.mu.Unlock()
	}
	return err
}

// MustRegister implements prometheus.Registerer.
func (r *recorder) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// value is the present value of the gauge of that name, 0 if there is none. The database gives some figures in no other way.
func (r *recorder) value(name string) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.collectors {
		g, ok := c.(prometheus.Gauge)
		if !ok || !strings.Contains(g.Desc().String(), `fqName: "`+name+`"`) {
			continue
		}
		var out dto.Metric
		if err := g.Write(&out); err != nil {
			return 0
		}
		return out.GetGauge().GetValue()
	}
	return 0
}

func (r *recorder) unregisterAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.collectors {
		r.Unregister(c)
	}
	r.collectors = nil
}
