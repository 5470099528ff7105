package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/api"
	"github.com/vetch-dev/vetch/query/metricquery"
	"github.com/vetch-dev/vetch/servicemap"
	"github.com/vetch-dev/vetch/store/metrics"
)

// Size of the filled store: every workload serves, every edge carries HTTP with its TCP figures, for 15 minutes.
const (
	workloads = 1000
	edges     = 3000
	routes    = 4 // of each workload, each with code 200 and every fourth with 500 too
	interval  = 5 * time.Second
	filled    = 16 * time.Minute
)

// counter is a series that grows by perSample, or a histogram of that many observations.
type counter struct {
	labels    labels.Labels
	perSample float64
	peak      int // histogram: the bucket around which durations lie; 0 for a plain counter
	ref       storage.SeriesRef
	total     histogram.Histogram
}

// fleet is the series of the whole map.
func fleet() []*counter {
	r := rand.New(rand.NewPCG(3, 4))
	name := func(i int) (namespace, kind, name string) {
		return fmt.Sprintf("namespace-%02d", i%20), "Deployment", fmt.Sprintf("service-%04d", i)
	}
	var all []*counter
	add := func(metric string, perSample float64, peak int, pairs ...string) {
		b := labels.NewBuilder(labels.FromStrings(pairs...))
		b.Set("__name__", metric)
		b.Set("instance", "node-1")
		all = append(all, &counter{labels: b.Labels(), perSample: perSample, peak: peak})
	}
	for i := range workloads {
		ns, kind, wl := name(i)
		for route := range routes {
			for _, code := range []string{"200", "500"}[:1+(route+1)/routes] {
				l := []string{"namespace", ns, "kind", kind, "workload", wl, "protocol", "http", "method", "GET", "route", fmt.Sprintf("/api/v1/thing-%d/*", route), "code", code}
				rate := float64(1 + r.IntN(200))
				if code == "500" {
					rate = float64(r.IntN(3))
				}
				add("vetch_workload_requests_total", rate, 0, l...)
				add("vetch_workload_request_duration_seconds", rate, -50+r.IntN(20), l...)
			}
		}
	}
	for i := range edges {
		cn, ck, c := name(i % workloads)
		sn, sk, s := name((i%workloads + 20*(1+r.IntN(8)) + r.IntN(10)/9) % workloads)
		e := []string{"client_namespace", cn, "client_kind", ck, "client", c, "server_namespace", sn, "server_kind", sk, "server", s,
			"port", strconv.Itoa(8000 + i/workloads), "protocol", "http"}
		with := func(more ...string) []string { return append(append([]string{}, e...), more...) }
		rate := float64(1 + r.IntN(100))
		add("vetch_edge_requests_total", rate, 0, with("code", "200")...)
		if i%4 == 0 {
			add("vetch_edge_requests_total", float64(r.IntN(2)), 0, with("code", "500")...)
		}
		add("vetch_edge_request_duration_seconds", rate, -50+r.IntN(20), e...)
		add("vetch_edge_bytes_total", rate*300, 0, with("direction", "sent")...)
		add("vetch_edge_bytes_total", rate*3000, 0, with("direction", "received")...)
		add("vetch_edge_connections_total", 1, 0, e...)
		add("vetch_edge_retransmits_total", 0, 0, e...)
		add("vetch_edge_rtt_seconds", 5, -10, e...)
		if i%100 == 0 {
			add("vetch_edge_failed_connections_total", 2, 0, with("error", "refused")...)
		}
	}
	return all
}

// observe adds one interval's observations: most near the peak, a tail above, as real latencies lie.
func (c *counter) observe() *histogram.Histogram {
	h := &c.total
	if h.PositiveSpans == nil {
		*h = histogram.Histogram{Schema: 3, ZeroThreshold: 1e-9, PositiveSpans: []histogram.Span{{Offset: int32(c.peak), Length: 20}}, PositiveBuckets: make([]int64, 20)}
	}
	counts, last := make([]int64, 20), int64(0)
	for i := range counts {
		last += h.PositiveBuckets[i]
		counts[i] = last
	}
	for i := range int(c.perSample) {
		counts[(i*i)%20]++
		h.Count++
		h.Sum += 0.01
	}
	last = 0
	for i, n := range counts {
		h.PositiveBuckets[i], last = n-last, n
	}
	return h
}

// fill writes the fleet into a new store, the last sample at end.
func fill(t testing.TB, end time.Time) *metrics.DB {
	db, err := metrics.Open(metrics.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	all := fleet()
	samples := 0
	for at := end.Add(-filled); !at.After(end); at = at.Add(interval) {
		app := db.AppenderV2(context.Background())
		for _, c := range all {
			if c.peak != 0 {
				c.ref, err = app.Append(c.ref, c.labels, 0, at.UnixMilli(), 0, c.observe().Copy(), nil, storage.AOptions{})
			} else {
				c.total.Sum += c.perSample
				c.ref, err = app.Append(c.ref, c.labels, 0, at.UnixMilli(), c.total.Sum, nil, nil, storage.AOptions{})
			}
			require.NoError(t, err)
			samples++
		}
		require.NoError(t, app.Commit())
	}
	t.Logf("%d workloads, %d edges: %d series, %d samples", workloads, edges, len(all), samples)
	return db
}

// viewers asks a service over a filled store.
type viewers struct {
	engine  *metricquery.Engine
	now     time.Time
	handler http.Handler
}

func newViewers(t testing.TB) *viewers {
	v := &viewers{now: time.Now().Truncate(interval)}
	var err error
	v.engine, err = metricquery.New(metricquery.Options{DB: fill(t, v.now)})
	require.NoError(t, err)
	v.restart(t)
	return v
}

// restart makes a service that has nothing in its cache and no picture yet.
func (v *viewers) restart(t testing.TB) {
	svc, err := servicemap.New(servicemap.Options{Engine: v.engine, Now: func() time.Time { return v.now }})
	require.NoError(t, err)
	v.handler = api.MapHandler(svc)
}

func (v *viewers) get(t testing.TB, target string) int {
	w := httptest.NewRecorder()
	v.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	return w.Body.Len()
}

// cpuTime of this process: what other work on a shared machine does not distort.
func cpuTime(t testing.TB) time.Duration {
	var usage unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkMapAtScale reports what one viewer waits for on one core: first is computed from the store with a new picture, next is a viewer
// who asks a moment later.
func BenchmarkMapAtScale(b *testing.B) {
	v := newViewers(b)
	runtime.GC()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, target := range []string{"/api/map", "/api/map?start=-15m", "/api/workloads", "/api/workload?id=namespace-01/Deployment/service-0001"} {
		b.Run("first"+target, func(b *testing.B) {
			size, before, runs := 0, cpuTime(b), 0
			for b.Loop() {
				v.restart(b)
				size = v.get(b, target)
				runs++
			}
			b.ReportMetric(float64(size)/1e6, "MB")
			b.ReportMetric(float64((cpuTime(b)-before).Milliseconds())/float64(runs), "cpu-ms/op")
		})
		b.Run("next"+target, func(b *testing.B) {
			v.get(b, target)
			for b.Loop() {
				v.get(b, target)
			}
		})
	}
}
