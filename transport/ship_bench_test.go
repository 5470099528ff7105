package transport

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
)

// manySeries is an agent of 10,000 series: 8,000 counters, and 2,000 histograms with 20 buckets.
type manySeries struct{ samples []model.Sample }

func newManySeries() *manySeries {
	g := &manySeries{}
	requests := &model.Family{Name: "vetch_workload_requests_total", Help: "Requests that the workload received.", Type: model.Counter}
	durations := &model.Family{Name: "vetch_workload_request_duration_seconds", Help: "Time from a request to its response.", Unit: "seconds", Type: model.Histogram}
	created := time.Now().Add(-time.Hour)
	for i := range 10_000 {
		s := model.Sample{Family: requests, Created: created, Labels: labels.FromStrings("namespace", "shop", "kind", "Deployment", "workload", "service-"+strconv.Itoa(i/200),
			"protocol", "http", "method", "GET", "route", "/api/v1/things/"+strconv.Itoa(i%200)+"/:id", "code", "200")}
		if i%5 == 0 {
			s.Family = durations
			s.Histogram = &histogram.Histogram{Schema: 3, PositiveSpans: []histogram.Span{{Offset: -60, Length: 20}}, PositiveBuckets: make([]int64, 20)}
		}
		g.samples = append(g.samples, s)
	}
	return g
}

func (g *manySeries) Gather(emit func(model.Sample)) {
	for i := range g.samples {
		s := &g.samples[i]
		s.Value += float64(i % 7)
		if s.Histogram != nil {
			s.Histogram.Count += 20
			s.Histogram.Sum += 0.1
			s.Histogram.PositiveBuckets[0]++
		}
		emit(*s)
	}
}

// BenchmarkShip is one round of 10,000 series from the digest to the server's answer, with all that a sender does. The server answers at once and
// reads nothing, but its share of HTTP is in the figures.
//
//	go test ./transport -run '^$' -bench BenchmarkShip -benchtime 200x
func BenchmarkShip(b *testing.B) {
	taken := make(chan int64, 10)
	url := front(b, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "1")
		w.WriteHeader(http.StatusNoContent)
		taken <- req.ContentLength
	})
	s := startSender(b, SenderOptions{URL: url})
	clock := time.Now().Add(-time.Hour)
	c, err := store.NewCollector(store.CollectorOptions{
		Into: s, From: newManySeries(), Interval: time.Second, Labels: labels.FromStrings("cluster", "default", "node", "node-1"), Now: func() time.Time { return clock },
	})
	require.NoError(b, err)
	var sent int64
	round := func() {
		clock = clock.Add(5 * time.Second)
		c.Round()
		for range 2 {
			sent += <-taken
		}
	}
	round()
	sent = 0
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		round()
	}
	b.ReportMetric(float64((cpuTime(b)-start).Microseconds())/1000/float64(b.N), "cpu-ms/round")
	b.ReportMetric(float64(sent)/float64(b.N)/1000, "KB/round")
}
