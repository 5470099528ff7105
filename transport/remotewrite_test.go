package transport

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/golang/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	configutil "github.com/prometheus/common/config"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/store/metrics"
)

func TestMain(m *testing.M) {
	const table = "github.com/VictoriaMetrics/VictoriaMetrics/lib/mergeset.(*Table)."
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), // and what the library of the store of events never ends
		goleak.IgnoreAnyFunction("github.com/VictoriaMetrics/metrics.summariesSwapCron"),
		goleak.IgnoreAnyFunction(table+"pendingItemsFlusher"), goleak.IgnoreAnyFunction(table+"inmemoryPartsFlusher"),
		goleak.IgnoreAnyFunction(table+"startFlushCallbackWorker.func1"))
}

// receiver is a real store behind a real server.
type receiver struct {
	db    *metrics.DB
	write *RemoteWrite
	url   string
}

func newReceiver(t *testing.T, o Options) *receiver {
	t.Helper()
	db, err := metrics.Open(metrics.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	o.Store = db
	w, err := NewRemoteWrite(o)
	require.NoError(t, err)
	s := httptest.NewServer(w)
	t.Cleanup(s.Close)
	return &receiver{db, w, s.URL}
}

// send posts a message by Prometheus's own client.
func (r *receiver) send(t *testing.T, proto remoteapi.WriteMessageType, message []byte) (remote.WriteResponseStats, error) {
	t.Helper()
	u, err := url.Parse(r.url)
	require.NoError(t, err)
	c, err := remote.NewWriteClient("test", &remote.ClientConfig{
		URL: &configutil.URL{URL: u}, Timeout: commonmodel.Duration(10 * time.Second), WriteProtoMsg: proto,
		HTTPClientConfig: configutil.HTTPClientConfig{FollowRedirects: true},
	})
	require.NoError(t, err)
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	defer c.(*remote.Client).Client.CloseIdleConnections()
	return c.Store(context.Background(), snappy.Encode(nil, message), 0)
}

// read gives all samples of a metric as "labels": ["ms value"...].
func (r *receiver) read(t *testing.T, name string) map[string][]string {
	t.Helper()
	q, err := r.db.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer q.Close()
	out := make(map[string][]string)
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name))
	for set.Next() {
		key := set.At().Labels().String()
		it := set.At().Iterator(nil)
		for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
			if vt == chunkenc.ValFloat {
				ts, v := it.At()
				out[key] = append(out[key], fmt.Sprint(ts, " ", v))
			} else {
				ts, h := it.AtFloatHistogram(nil)
				out[key] = append(out[key], fmt.Sprint(ts, " ", h.String()))
			}
		}
	}
	require.NoError(t, set.Err())
	return out
}

func testHistogram(count int64) *histogram.Histogram {
	return &histogram.Histogram{
		Schema: 2, Count: uint64(count), Sum: 3.5, ZeroThreshold: 1e-9,
		PositiveSpans: []histogram.Span{{Offset: 1, Length: 2}}, PositiveBuckets: []int64{1, count - 2},
	}
}

func TestVersion1(t *testing.T) {
	r := newReceiver(t, Options{})
	now := time.Now().UnixMilli()
	message := func(at int64) []byte {
		m := prompb.WriteRequest{
			Timeseries: []prompb.TimeSeries{
				{
					Labels:  []prompb.Label{{Name: "__name__", Value: "http_requests_total"}, {Name: "code", Value: "200"}, {Name: "empty", Value: ""}},
					Samples: []prompb.Sample{{Timestamp: at, Value: 1}, {Timestamp: at + 1, Value: 2}},
				},
				{
					Labels:     []prompb.Label{{Name: "job", Value: "ä"}, {Name: "__name__", Value: "latency_seconds"}}, // not sorted
					Histograms: []prompb.Histogram{prompb.FromIntHistogram(at, testHistogram(4)), prompb.FromFloatHistogram(at+1, testHistogram(6).ToFloat(nil))},
				},
				{
					Labels:    []prompb.Label{{Name: "__name__", Value: "http_requests_total"}, {Name: "code", Value: "200"}, {Name: "empty", Value: ""}},
					Exemplars: []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "abc"}}, Value: 7, Timestamp: at}},
				},
			},
			Metadata: []prompb.MetricMetadata{{MetricFamilyName: "http_requests_total", Type: prompb.MetricMetadata_COUNTER, Help: "Requests.", Unit: "requests"}},
		}
		b, err := m.Marshal()
		require.NoError(t, err)
		return b
	}
	for i := range int64(3) { // the second and the third find the series by their raw labels
		_, err := r.send(t, remoteapi.WriteV1MessageType, message(now+10*i))
		require.NoError(t, err)
	}
	require.Equal(t, 2, r.write.refs.len())
	requests := r.read(t, "http_requests_total")[`{__name__="http_requests_total", code="200"}`]
	require.Len(t, requests, 6)
	require.Equal(t, fmt.Sprint(now+21, " 2"), requests[5])
	latency := r.read(t, "latency_seconds")[`{__name__="latency_seconds", job="ä"}`]
	require.Len(t, latency, 6)
	require.Contains(t, latency[0], "count:4, sum:3.5")
	require.Equal(t, metadata.Metadata{Type: commonmodel.MetricTypeCounter, Help: "Requests.", Unit: "requests"}, r.db.Metadata("http_requests_total", 0)["http_requests_total"])
	q, err := r.db.ExemplarQuerier(context.Background())
	require.NoError(t, err)
	found, err := q.Select(0, math.MaxInt64, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "code", "200")})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Len(t, found[0].Exemplars, 3)
	require.Equal(t, `{trace_id="abc"}`, found[0].Exemplars[0].Labels.String())
}

func message2(t testing.TB, change func(*writev2.Request, *writev2.SymbolsTable)) []byte {
	t.Helper()
	symbols := writev2.NewSymbolTable()
	m := &writev2.Request{}
	change(m, &symbols)
	m.Symbols = symbols.Symbols()
	b, err := m.OptimizedMarshal(nil)
	require.NoError(t, err)
	return b
}

func TestVersion2(t *testing.T) {
	r := newReceiver(t, Options{})
	now := time.Now().UnixMilli()
	message := func(at int64) []byte {
		return message2(t, func(m *writev2.Request, s *writev2.SymbolsTable) {
			requests := s.SymbolizeLabels(labels.FromStrings("__name__", "http_requests_total", "code", "200"), nil)
			latency := s.SymbolizeLabels(labels.FromStrings("__name__", "latency_seconds", "job", "x"), nil)
			m.Timeseries = []writev2.TimeSeries{
				{
					LabelsRefs: requests, Samples: []writev2.Sample{{Timestamp: at, Value: at2v(at, now), StartTimestamp: now - 5}},
					Exemplars: []writev2.Exemplar{{LabelsRefs: s.SymbolizeLabels(labels.FromStrings("trace_id", "abc"), nil), Value: 7, Timestamp: at}},
					Metadata:  writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: s.Symbolize("Requests."), UnitRef: s.Symbolize("requests")},
				},
				{LabelsRefs: latency, Histograms: []writev2.Histogram{withStart(writev2.FromIntHistogram(now-5, at, testHistogram(4+at-now)), now-5)}},
				{LabelsRefs: s.SymbolizeLabels(labels.FromStrings("__name__", "parts_bucket", "le", "1"), nil), Samples: []writev2.Sample{{Timestamp: at, Value: 1}},
					Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_HISTOGRAM, HelpRef: s.Symbolize("Parts.")}},
			}
		})
	}
	for i := range int64(3) {
		stats, err := r.send(t, remoteapi.WriteV2MessageType, message(now+10*i))
		require.NoError(t, err)
		require.Equal(t, 2, stats.Samples)
		require.Equal(t, 1, stats.Histograms)
		require.Equal(t, 1, stats.Exemplars)
	}
	require.Equal(t, []string{fmt.Sprint(now-5, " 0"), fmt.Sprint(now, " 1"), fmt.Sprint(now+10, " 11"), fmt.Sprint(now+20, " 21")},
		r.read(t, "http_requests_total")[`{__name__="http_requests_total", code="200"}`], "with one zero sample at the start")
	latency := r.read(t, "latency_seconds")[`{__name__="latency_seconds", job="x"}`]
	require.Len(t, latency, 4)
	require.Contains(t, latency[0], "count:0")
	require.Equal(t, metadata.Metadata{Type: commonmodel.MetricTypeHistogram, Help: "Parts."}, r.db.Metadata("parts", 0)["parts"])
	require.Equal(t, metadata.Metadata{Type: commonmodel.MetricTypeCounter, Help: "Requests.", Unit: "requests"}, r.db.Metadata("http_requests_total", 0)["http_requests_total"])
}

func at2v(at, now int64) float64 { return float64(at - now + 1) }

func withStart(h writev2.Histogram, start int64) writev2.Histogram {
	h.StartTimestamp = start
	return h
}

// What is wrong for good is refused sample by sample, and the rest is kept.
func TestPartlyAccepted(t *testing.T) {
	now := time.Now()
	ms := now.UnixMilli()
	tests := map[string]struct {
		labels  []string
		samples []prompb.Sample
		reason  string
		says    string
	}{
		"too old":             {[]string{"__name__", "a"}, []prompb.Sample{{Timestamp: now.Add(-24 * time.Hour).UnixMilli()}}, "too_old", "too old"},
		"too far ahead":       {[]string{"__name__", "a"}, []prompb.Sample{{Timestamp: now.Add(time.Hour).UnixMilli()}}, "out_of_bounds", "too far in the future"},
		"another value":       {[]string{"__name__", "good"}, []prompb.Sample{{Timestamp: ms, Value: 99}}, "duplicate_timestamp", "duplicate sample"},
		"no name":             {[]string{"a", "b"}, []prompb.Sample{{Timestamp: ms}}, "labels", "has no __name__"},
		"a label twice":       {[]string{"__name__", "a", "b", "1", "b", "2"}, []prompb.Sample{{Timestamp: ms}}, "labels", `has the label "b" twice`},
		"not UTF-8":           {[]string{"__name__", "a", "b", "\xff"}, []prompb.Sample{{Timestamp: ms}}, "labels", "not UTF-8"},
		"empty label name":    {[]string{"__name__", "a", "", "b"}, []prompb.Sample{{Timestamp: ms}}, "labels", "empty"},
		"a very long label":   {[]string{"__name__", "a", "b", string(make([]byte, 20_000))}, []prompb.Sample{{Timestamp: ms}}, "labels", "the limits are"},
		"labels at all":       {nil, []prompb.Sample{{Timestamp: ms}}, "labels", "has no __name__"},
		"two of three sample": {[]string{"__name__", "good"}, []prompb.Sample{{Timestamp: ms + 1}, {Timestamp: 5}, {Timestamp: 6}}, "too_old", "too old"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			r := newReceiver(t, Options{Registerer: reg})
			good := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "good"}}, Samples: []prompb.Sample{{Timestamp: ms, Value: 1}}}
			bad := prompb.TimeSeries{Samples: tt.samples}
			for i := 0; i < len(tt.labels); i += 2 {
				bad.Labels = append(bad.Labels, prompb.Label{Name: tt.labels[i], Value: tt.labels[i+1]})
			}
			last := good
			last.Samples = []prompb.Sample{{Timestamp: ms + 7, Value: 2}}
			m := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{good}}
			b, err := m.Marshal()
			require.NoError(t, err)
			_, err = r.send(t, remoteapi.WriteV1MessageType, b)
			require.NoError(t, err)
			m = prompb.WriteRequest{Timeseries: []prompb.TimeSeries{bad, last}}
			b, err = m.Marshal()
			require.NoError(t, err)
			_, err = r.send(t, remoteapi.WriteV1MessageType, b)
			require.ErrorContains(t, err, "400")
			require.ErrorContains(t, err, tt.says)
			kept := r.read(t, "good")[`{__name__="good"}`]
			require.Contains(t, kept, fmt.Sprint(ms, " 1"))
			require.Contains(t, kept, fmt.Sprint(ms+7, " 2"))
			require.Positive(t, testutil.ToFloat64(r.write.metrics.rejected.WithLabelValues(tt.reason)))
			require.Equal(t, 1.0, testutil.ToFloat64(r.write.metrics.refused.WithLabelValues("samples")))
		})
	}
}

func TestBadHistogramsAndSymbols(t *testing.T) {
	r := newReceiver(t, Options{})
	now := time.Now().UnixMilli()
	broken := testHistogram(4)
	broken.PositiveSpans[0].Length = 4_000_000_000
	fine := testHistogram(4)
	fine.Schema = 20 // finer than any store; the store's finest is 8
	stats, err := r.send(t, remoteapi.WriteV2MessageType, message2(t, func(m *writev2.Request, s *writev2.SymbolsTable) {
		ls := func(name string) []uint32 { return s.SymbolizeLabels(labels.FromStrings("__name__", name), nil) }
		m.Timeseries = []writev2.TimeSeries{
			{LabelsRefs: ls("broken"), Histograms: []writev2.Histogram{writev2.FromIntHistogram(0, now, broken)}},
			{LabelsRefs: ls("fine"), Histograms: []writev2.Histogram{writev2.FromIntHistogram(0, now, fine)}},
			{LabelsRefs: []uint32{1, 99}, Samples: []writev2.Sample{{Timestamp: now}}},
			{LabelsRefs: []uint32{1}, Samples: []writev2.Sample{{Timestamp: now}}},
			{LabelsRefs: ls("good"), Samples: []writev2.Sample{{Timestamp: now}}},
		}
	}))
	require.ErrorContains(t, err, "400")
	require.ErrorContains(t, err, "3 samples were not accepted and 2 were")
	require.Equal(t, remote.WriteResponseStats{Samples: 1, Histograms: 1, Confirmed: true}, stats)
	require.Len(t, r.read(t, "fine"), 1)
	require.Equal(t, 2.0, testutil.ToFloat64(r.write.metrics.rejected.WithLabelValues("symbols")))
	require.Equal(t, 1.0, testutil.ToFloat64(r.write.metrics.rejected.WithLabelValues("invalid")))
}

func (r *receiver) sample(ms int64, v float64) string { return fmt.Sprint(ms, " ", v) }
