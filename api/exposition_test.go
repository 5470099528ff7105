package api

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/vetch-dev/vetch/model"
)

type samples []model.Sample

func (s samples) Gather(emit func(model.Sample)) {
	for _, sample := range s {
		emit(sample)
	}
}

// observed makes a histogram of the present schema out of single values, by the definition of the buckets.
func observed(schema int32, values ...float64) *histogram.Histogram {
	counts := map[int]int64{}
	h := &histogram.Histogram{Schema: schema, Count: uint64(len(values))}
	low, high := math.MaxInt, math.MinInt
	for _, v := range values {
		h.Sum += v
		if v == 0 {
			h.ZeroCount++
			continue
		}
		i := int(math.Ceil(math.Log2(v) * math.Exp2(float64(schema))))
		counts[i]++
		low, high = min(low, i), max(high, i)
	}
	if low > high {
		return h
	}
	h.PositiveSpans = []histogram.Span{{Offset: int32(low), Length: uint32(high - low + 1)}}
	last := int64(0)
	for i := low; i <= high; i++ {
		h.PositiveBuckets = append(h.PositiveBuckets, counts[i]-last)
		last = counts[i]
	}
	return h
}

func exposed() samples {
	created := time.Unix(1_700_000_000, 0)
	requests := &model.Family{Name: "vetch_requests_total", Help: "Requests.", Type: model.Counter}
	latency := &model.Family{Name: "vetch_latency_seconds", Help: "Time.", Unit: "seconds", Type: model.Histogram}
	rtt := &model.Family{Name: "vetch_rtt_seconds", Help: "Round trips.", Unit: "seconds", Type: model.Histogram}
	level := &model.Family{Name: "vetch_open", Help: "Open \"now\"\nand \\ here.", Type: model.Gauge}
	return samples{
		{Family: requests, Labels: labels.FromStrings("route", "/a\"b\\c\nd"), Value: 12, Created: created},
		{Family: level, Labels: labels.EmptyLabels(), Value: 3},
		{Family: latency, Labels: labels.FromStrings("job", "a"), Histogram: observed(3, 0.0004, 0.001, 0.01, 0.0625, 0.07, 0.9, 1, 1.01, 100), Created: created},
		{Family: latency, Labels: labels.FromStrings("job", "b"), Histogram: observed(3), Created: created},
		{Family: rtt, Labels: labels.EmptyLabels(), Histogram: observed(0, 0, 0.00005, 0.0001, 0.3), Created: created},
	}
}

func TestExpositionAsText(t *testing.T) {
	base, _ := serve(t, Options{Gatherer: Exposition(exposed())})
	_, text := fetch(t, base+"/metrics")
	for _, line := range []string{
		`# HELP vetch_open Open "now"\nand \\ here.`,
		`# TYPE vetch_open gauge`, `vetch_open 3`,
		`vetch_requests_total{route="/a\"b\\c\nd"} 12`,
		`vetch_latency_seconds_bucket{job="a",le="0.00048828125"} 1`,
		`vetch_latency_seconds_bucket{job="a",le="0.03125"} 3`,
		`vetch_latency_seconds_bucket{job="a",le="0.0625"} 4`, // the bound belongs to the bucket below
		`vetch_latency_seconds_bucket{job="a",le="1"} 7`,
		`vetch_latency_seconds_bucket{job="a",le="8"} 8`,
		`vetch_latency_seconds_bucket{job="a",le="+Inf"} 9`,
		`vetch_latency_seconds_count{job="a"} 9`,
		`vetch_latency_seconds_count{job="b"} 0`,
		`vetch_rtt_seconds_bucket{le="6.103515625e-05"} 2`,
		`vetch_rtt_seconds_bucket{le="+Inf"} 4`,
	} {
		require.Contains(t, text, line+"\n")
	}
	_, text = fetch(t, base+"/metrics", "Accept", "application/openmetrics-text;version=1.0.0")
	require.Contains(t, text, "vetch_requests_created{route=\"/a\\\"b\\\\c\\nd\"} 1.7e+09\n")
	require.Contains(t, text, "vetch_latency_seconds_created{job=\"a\"} 1.7e+09\n")
	require.Contains(t, text, "# EOF\n")
}

// TestExpositionAsProtobuf reads it as Prometheus does.
func TestExpositionAsProtobuf(t *testing.T) {
	base, _ := serve(t, Options{Gatherer: Exposition(exposed())})
	resp, body := fetch(t, base+"/metrics", "Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	want := map[string]*histogram.Histogram{}
	for _, s := range exposed() {
		if s.Histogram != nil {
			want[s.Family.Name+s.Labels.String()] = s.Histogram
		}
	}
	p, err := textparse.New([]byte(body), resp.Header.Get("Content-Type"), labels.NewSymbolTable(), textparse.ParserOptions{})
	require.NoError(t, err)
	seen := 0
	for {
		entry, err := p.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if entry != textparse.EntryHistogram {
			continue
		}
		var ls labels.Labels
		p.Labels(&ls)
		_, _, h, _ := p.Histogram()
		name := ls.Get(labels.MetricName)
		ls = labels.NewBuilder(ls).Del(labels.MetricName).Labels()
		expect := want[name+ls.String()]
		require.NoError(t, h.Validate())
		require.Equal(t, expect.ToFloat(nil).Compact(0).String(), h.ToFloat(nil).Compact(0).String())
		require.EqualValues(t, 1_700_000_000_000, p.StartTimestamp())
		seen++
	}
	require.Equal(t, len(want), seen)

	var f dto.MetricFamily
	require.NoError(t, protodelim.UnmarshalFrom(bytes.NewReader([]byte(body)), &f))
	require.Equal(t, "vetch_latency_seconds", f.GetName())
	require.Equal(t, "seconds", f.GetUnit())
	require.Len(t, f.GetMetric()[0].GetHistogram().GetBucket(), len(classicBounds()))
}

func TestBytesThatAreNotText(t *testing.T) {
	f := &model.Family{Name: "up", Type: model.Gauge}
	base, _ := serve(t, Options{Gatherer: Exposition(samples{{Family: f, Labels: labels.FromStrings("comm", "a\xff\x00b"), Value: 1}})})
	_, text := fetch(t, base+"/metrics")
	require.Contains(t, text, "up{comm=\"a\ufffd\x00b\"} 1\n")
	resp, body := fetch(t, base+"/metrics", "Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	require.Contains(t, resp.Header.Get("Content-Type"), "protobuf")
	require.NoError(t, protodelim.UnmarshalFrom(bytes.NewReader([]byte(body)), new(dto.MetricFamily)))
}

func TestClassicBucketsAreExact(t *testing.T) {
	values := []float64{}
	for v := 1e-6; v < 60; v *= 1.037 {
		values = append(values, v)
	}
	for _, exp := range classicBounds() {
		values = append(values, math.Ldexp(1, exp)) // on the bounds
	}
	for _, schema := range []int32{0, 1, 3, 5, 8} {
		for _, b := range classicBuckets(observed(schema, values...)) {
			n := uint64(0)
			for _, v := range values {
				if v <= b.GetUpperBound() {
					n++
				}
			}
			require.Equal(t, n, b.GetCumulativeCount(), "schema %d, le %v", schema, b.GetUpperBound())
		}
	}
	require.Nil(t, classicBuckets(observed(-1, 1)))
}

// BenchmarkMetrics answers /metrics with 20,000 series, half of them histograms.
//
//	go test ./api -run '^$' -bench BenchmarkMetrics
func BenchmarkMetrics(b *testing.B) {
	var all samples
	requests := &model.Family{Name: "requests_total", Type: model.Counter}
	latency := &model.Family{Name: "latency_seconds", Type: model.Histogram}
	for i := range 10_000 {
		ls := labels.FromStrings("namespace", "default", "kind", "Deployment", "workload", fmt.Sprint("service-", i/100), "route", fmt.Sprint("/api/", i), "code", "200")
		all = append(all, model.Sample{Family: requests, Labels: ls, Value: float64(i), Created: time.Now()},
			model.Sample{Family: latency, Labels: ls, Histogram: observed(3, 0.001, 0.002, 0.01, 0.03), Created: time.Now()})
	}
	for name, accept := range map[string]string{"text": "", "protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"} {
		b.Run(name, func(b *testing.B) {
			reg := prometheus.NewRegistry()
			s, err := New(Options{Listen: "127.0.0.1:0", Registerer: reg, Gatherer: prometheus.Gatherers{reg, Exposition(all)}})
			require.NoError(b, err)
			defer s.Close()
			for b.Loop() {
				req, err := http.NewRequest("GET", "/metrics", nil)
				require.NoError(b, err)
				req.Header.Set("Accept", accept)
				s.handler().ServeHTTP(discard{http.Header{}}, req)
			}
		})
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
