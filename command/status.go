package command

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
)

// lossFamilies are the counters of what was lost, each with its own label that says why or where, and the word that goes before it.
func lossFamilies() map[string]lossFamily {
	return map[string]lossFamily{
		"vetch_probe_events_lost_total":                 {"probe", "reason"},
		"vetch_digest_dropped_total":                    {"digest", "reason"},
		"vetch_store_append_failures_total":             {"store", "reason"},
		"vetch_remote_write_rejected_total":             {"remote write", "reason"},
		"vetch_servicemap_stream_dropped_readers_total": {"map stream", "reason"},
	}
}

type lossFamily struct{ part, label string }

// status reads the answer of /api/status out of the figures that are exported anyway.
type status struct {
	reg   prometheus.Gatherer
	agent *lateGatherer
	db    store.Metrics
}

// statusAnswer is the Status of api/openapi.yaml.
type statusAnswer struct {
	Version string             `json:"version"`
	Ready   bool               `json:"ready"`
	Hooks   map[string]bool    `json:"hooks"`
	Losses  map[string]float64 `json:"losses"`
	Store   storeAnswer        `json:"store"`
}

type storeAnswer struct {
	Series float64    `json:"series"`
	Bytes  float64    `json:"bytes"`
	Oldest *time.Time `json:"oldest"`
}

func (s *status) read() any {
	a := statusAnswer{Version: Version(), Ready: s.agent.ready() == nil, Hooks: map[string]bool{}, Losses: map[string]float64{}}
	losses := lossFamilies()
	gatherers{s.agent, newSelfMetrics(s.reg, slog.New(slog.DiscardHandler), "")}.Gather(func(m model.Sample) {
		if m.Family.Name == "vetch_probe_hook_attached" {
			a.Hooks[m.Labels.Get("hook")] = m.Value == 1
		}
		if f, ok := losses[m.Family.Name]; ok {
			a.Losses[f.part+": "+m.Labels.Get(f.label)] += m.Value
		}
	})
	stats := s.db.Stats()
	a.Store = storeAnswer{Series: float64(stats.Series), Bytes: float64(stats.Bytes)}
	if !stats.Oldest.IsZero() {
		a.Store.Oldest = &stats.Oldest
	}
	return a
}
