package command

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/storage"

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
	home  string // the cluster of this process
}

// statusAnswer is the Status of api/openapi.yaml.
type statusAnswer struct {
	Version  string             `json:"version"`
	Ready    bool               `json:"ready"`
	Cluster  string             `json:"cluster"`
	Clusters []string           `json:"clusters"`
	Hooks    map[string]bool    `json:"hooks"`
	Losses   map[string]float64 `json:"losses"`
	Store    storeAnswer        `json:"store"`
}

type storeAnswer struct {
	Series float64    `json:"series"`
	Bytes  float64    `json:"bytes"`
	Oldest *time.Time `json:"oldest"`
}

func (s *status) read() any {
	a := statusAnswer{
		Version: Version(), Ready: s.agent.ready() == nil, Cluster: s.home, Clusters: s.clusters(time.Now()), Hooks: map[string]bool{}, Losses: map[string]float64{},
	}
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

// The clusters that sent something lately.
const (
	clustersSeen  = time.Hour
	maxClusters   = 1000
	clustersLimit = 2 * time.Second // an index is read, nothing else
)

// clusters lists them with the one of this process. What the store cannot tell in time is left out.
func (s *status) clusters(now time.Time) []string {
	found := map[string]bool{s.home: true}
	ctx, cancel := context.WithTimeout(context.Background(), clustersLimit)
	defer cancel()
	if q, err := s.db.Querier(now.Add(-clustersSeen).UnixMilli(), now.UnixMilli()); err == nil {
		defer func() { _ = q.Close() }() // only read from
		if names, _, err := q.LabelValues(ctx, "cluster", &storage.LabelHints{Limit: maxClusters}); err == nil {
			for _, name := range names {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
