package metricquery

import (
	"math"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/tsdb/index"
)

const (
	defaultTopSeries = 10
	maxTopSeries     = 10_000
)

func (e *Engine) serveConfig(*http.Request) (*reply, error) {
	yaml := ""
	if e.opts.Config != nil {
		yaml = e.opts.Config()
	}
	return &reply{data: map[string]string{"yaml": yaml}}, nil
}

func (e *Engine) serveFlags(*http.Request) (*reply, error) {
	flags := e.opts.Flags
	if flags == nil {
		flags = map[string]string{}
	}
	return &reply{data: flags}, nil
}

func (e *Engine) serveRuntimeInfo(*http.Request) (*reply, error) {
	s := e.db.Stats()
	retention := commonmodel.Duration(s.Retention).String()
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return &reply{data: map[string]any{
		"startTime":           e.started.UTC(),
		"serverTime":          time.Now().UTC(),
		"hostname":            host,
		"CWD":                 "",
		"reloadConfigSuccess": true,
		"lastConfigTime":      e.started.UTC(),
		"corruptionCount":     s.SetAside,
		"goroutineCount":      runtime.NumGoroutine(),
		"GOMAXPROCS":          runtime.GOMAXPROCS(0),
		"GOMEMLIMIT":          debug.SetMemoryLimit(-1),
		"GOGC":                os.Getenv("GOGC"),
		"GODEBUG":             os.Getenv("GODEBUG"),
		"storageRetention":    retention,
	}}, nil
}

// serveBuildInfo gives as version that of the PromQL engine inside: Grafana and others choose what they may ask for by it.
func (e *Engine) serveBuildInfo(*http.Request) (*reply, error) {
	version, revision := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/prometheus/prometheus" {
				version = prometheusVersion(m.Version)
			}
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return &reply{data: map[string]string{
		"version": version, "revision": revision, "branch": "", "buildUser": "", "buildDate": "",
		"goVersion": runtime.Version(), "vetchVersion": e.opts.Version,
	}}, nil
}

// prometheusVersion turns the number of the Go module into that of the program: v0.315.0 is 3.15.0.
func prometheusVersion(module string) string {
	parts := strings.SplitN(strings.TrimPrefix(module, "v0."), ".", 2)
	if len(parts) != 2 || len(parts[0]) != 3 {
		return module
	}
	return parts[0][:1] + "." + strings.TrimPrefix(parts[0][1:], "0") + "." + parts[1]
}

type nameValue struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
}

func (e *Engine) serveTSDB(r *http.Request) (*reply, error) {
	limit, err := limitOf(r, "limit")
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = defaultTopSeries
	}
	if limit > maxTopSeries {
		return nil, badData("invalid parameter \"limit\": at most %d", maxTopSeries)
	}
	c := e.db.Cardinality("", limit)
	head := map[string]any{
		"numSeries": c.NumSeries, "chunkCount": e.db.Stats().Chunks, "numLabelPairs": c.IndexPostingStats.NumLabelPairs,
		"minTime": known(c.MinTime), "maxTime": known(c.MaxTime),
	}
	return &reply{data: map[string]any{
		"headStats":                   head,
		"seriesCountByMetricName":     nameValues(c.IndexPostingStats.CardinalityMetricsStats),
		"labelValueCountByLabelName":  nameValues(c.IndexPostingStats.CardinalityLabelStats),
		"memoryInBytesByLabelName":    nameValues(c.IndexPostingStats.LabelValueStats),
		"seriesCountByLabelValuePair": nameValues(c.IndexPostingStats.LabelValuePairsStats),
	}}, nil
}

// known turns the bounds of an empty store into 0.
func known(ms int64) int64 {
	if ms == math.MaxInt64 || ms == math.MinInt64 {
		return 0
	}
	return ms
}

func nameValues(stats []index.Stat) []nameValue {
	out := make([]nameValue, len(stats))
	for i, s := range stats {
		out[i] = nameValue{s.Name, s.Count}
	}
	return out
}

func (e *Engine) serveReplay(*http.Request) (*reply, error) {
	first, last, current := e.db.Replay()
	return &reply{data: map[string]int{"min": first, "max": last, "current": current}}, nil
}
