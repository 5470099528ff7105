package metrics

import (
	"context"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	promvalue "github.com/prometheus/prometheus/model/value"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
)

// gatherer hands out what was set last.
type gatherer struct {
	mu      sync.Mutex
	samples []model.Sample
	rounds  int
}

func (g *gatherer) Gather(emit func(model.Sample)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rounds++
	for _, s := range g.samples {
		emit(s)
		if s.Histogram != nil {
			s.Histogram.Count = 0 // it is ours again
		}
	}
}

func (g *gatherer) set(samples ...model.Sample) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.samples = samples
}

func latency(count uint64) *histogram.Histogram {
	return &histogram.Histogram{
		Schema: 3, Count: count, Sum: float64(count) * 0.01,
		PositiveSpans: []histogram.Span{{Offset: -50, Length: 1}}, PositiveBuckets: []int64{int64(count)},
	}
}

func collector(t testing.TB, db *DB, g model.Gatherer, now func() time.Time) *store.Collector {
	t.Helper()
	c, err := store.NewCollector(store.CollectorOptions{Into: db, From: g, Interval: time.Second, Now: now})
	require.NoError(t, err)
	return c
}

func TestCollect(t *testing.T) {
	requests := &model.Family{Name: "requests_total", Help: "Requests.", Type: model.Counter}
	durations := &model.Family{Name: "duration_seconds", Help: "Time.", Unit: "seconds", Type: model.Histogram}
	open1 := &model.Family{Name: "open", Type: model.Gauge}
	ls := labels.FromStrings("server", "nginx")
	reg := prometheus.NewRegistry()
	now := time.Now().Truncate(time.Millisecond)
	clock := now
	db := open(t, Options{Dir: t.TempDir(), Registerer: reg, now: func() time.Time { return clock }})
	g := &gatherer{}
	c := collector(t, db, g, func() time.Time { return clock })
	created := now.Add(-3 * time.Second)
	round := func(samples ...model.Sample) {
		g.set(samples...)
		c.Round()
		clock = clock.Add(5 * time.Second)
	}
	for i := range 3 {
		round(
			model.Sample{Family: requests, Labels: ls, Value: float64(10 * (i + 1)), Created: created},
			model.Sample{Family: durations, Labels: ls, Histogram: latency(uint64(10 * (i + 1))), Created: created},
			model.Sample{Family: open1, Labels: ls, Value: 3},
		)
	}
	// The process is new, and its gauge is gone.
	restarted := now.Add(12 * time.Second)
	round(
		model.Sample{Family: requests, Labels: ls, Value: 2, Created: restarted},
		model.Sample{Family: durations, Labels: ls, Histogram: latency(2), Created: restarted},
	)
	round()

	at := func(seconds int) int64 { return now.Add(time.Duration(seconds) * time.Second).UnixMilli() }
	counted := []point{{at(-3), 0}, {at(0), 10}, {at(5), 20}, {at(10), 30}, {at(12), 0}, {at(15), 2}}
	got := read(t, db, "requests_total")[`{__name__="requests_total", server="nginx"}`]
	require.Equal(t, counted, got[:6])
	require.True(t, promvalue.IsStaleNaN(got[6].v) && got[6].t == at(20))
	got = read(t, db, "duration_seconds")[`{__name__="duration_seconds", server="nginx"}`]
	require.Equal(t, counted, got[:6])
	require.Len(t, got, 7)
	got = read(t, db, "open")[`{__name__="open", server="nginx"}`]
	require.Equal(t, []point{{at(0), 3}, {at(5), 3}, {at(10), 3}}, got[:3])
	require.True(t, len(got) == 4 && math.IsNaN(got[3].v))

	written := count(read(t, db, "requests_total"))
	round()
	require.Equal(t, written, count(read(t, db, "requests_total")), "what has ended is marked once")
	require.Equal(t, map[string]metadata.Metadata{"duration_seconds": {Type: commonmodel.MetricTypeHistogram, Unit: "seconds", Help: "Time."}}, db.Metadata("duration_seconds", 0))
	require.Len(t, db.Metadata("", 0), 3)
	require.Len(t, db.Metadata("", 2), 2)
	for _, reason := range reasons() {
		require.Zero(t, metric(t, reg, "vetch_store_append_failures_total", reason.name), reason.name)
	}
}

func TestCollectKeepsOnlyText(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	collector(t, db, &gatherer{samples: []model.Sample{
		{Family: &model.Family{Name: "up", Type: model.Gauge}, Labels: labels.FromStrings("comm", "a\xffb", "empty", ""), Value: 1},
	}}, time.Now).Round()
	require.Contains(t, read(t, db, "up"), `{__name__="up", comm="a�b"}`)
}

func TestCollectRunsUntilTheEnd(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	f := &model.Family{Name: "up", Type: model.Gauge}
	g := &gatherer{samples: []model.Sample{{Family: f, Value: 1}, {Family: f, Value: 1}}} // twice the same: counted, not stored
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	c, err := store.NewCollector(store.CollectorOptions{Into: db, From: g, Interval: 5 * time.Millisecond})
	require.NoError(t, err)
	go func() { done <- c.Run(ctx) }()
	require.Eventually(t, func() bool { return count(read(t, db, "up")) >= 3 }, time.Minute, time.Millisecond)
	g.mu.Lock()
	before := g.rounds
	g.mu.Unlock()
	cancel()
	require.NoError(t, <-done)
	require.Greater(t, g.rounds, before, "a last time at the end")
	_, err = store.NewCollector(store.CollectorOptions{Into: db, From: g})
	require.Error(t, err)
}

// TestCollectorSaysWhere puts the labels of the process on all series, and ends them where that is asked for.
func TestCollectorSaysWhere(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	up := &model.Family{Name: "up", Type: model.Gauge}
	g := &gatherer{samples: []model.Sample{{Family: up, Value: 1}, {Family: up, Labels: labels.FromStrings("node", "own"), Value: 2}}}
	c, err := store.NewCollector(store.CollectorOptions{
		Into: db, From: g, Interval: time.Hour, Labels: labels.FromStrings("cluster", "home", "node", "n1"), EndSeries: true,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, c.Run(ctx))
	got := read(t, db, "up")
	require.Len(t, got, 2)
	for series, value := range map[string]float64{`{__name__="up", cluster="home", node="n1"}`: 1, `{__name__="up", cluster="home", node="own"}`: 2} {
		points := got[series]
		require.Len(t, points, 3, series)
		require.Equal(t, []float64{value, value}, []float64{points[0].v, points[1].v})
		require.True(t, promvalue.IsStaleNaN(points[2].v))
	}
}

// BenchmarkCollect stores 20,000 series, half of them histograms with 40 buckets, as often as an agent with so many would.
//
//	go test ./store/metrics -run '^$' -bench BenchmarkCollect
func BenchmarkCollect(b *testing.B) {
	db, err := Open(Options{Dir: b.TempDir()})
	require.NoError(b, err)
	defer db.Close()
	requests := &model.Family{Name: "requests_total", Type: model.Counter}
	durations := &model.Family{Name: "duration_seconds", Type: model.Histogram}
	created := time.Now().Add(-time.Hour)
	g := &gatherer{}
	h := &histogram.Histogram{Schema: 3, PositiveSpans: []histogram.Span{{Offset: -60, Length: 40}}, PositiveBuckets: make([]int64, 40)}
	for i := range 10_000 {
		ls := labels.FromStrings("workload", strconv.Itoa(i/100), "route", strconv.Itoa(i), "code", "200")
		g.samples = append(g.samples, model.Sample{Family: requests, Labels: ls, Created: created}, model.Sample{Family: durations, Labels: ls, Histogram: h.Copy(), Created: created})
	}
	clock := time.Now().Add(-time.Hour)
	db.opts.now = func() time.Time { return clock }
	c := collector(b, db, g, db.opts.now)
	c.Round()
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		clock = clock.Add(5 * time.Second)
		for i := range g.samples {
			g.samples[i].Value++
			if h := g.samples[i].Histogram; h != nil {
				h.Sum, h.Count, h.PositiveBuckets[0] = float64(n), 40*n, int64(n)
			}
		}
		c.Round()
	}
}
