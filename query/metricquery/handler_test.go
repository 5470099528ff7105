package metricquery

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	promapi "github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/store/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is an hour of samples every 15 s, ending at end: two counters that grow by 3 and by 1.5 a second, and a native histogram.
type fixture struct {
	engine *Engine
	end    time.Time
	url    string
	api    v1.API
}

func newFixture(t *testing.T, o Options) *fixture {
	t.Helper()
	db, err := metrics.Open(metrics.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	end := time.Now().Truncate(time.Minute)
	fill(t, db, end)
	o.DB = db
	e, err := New(o)
	require.NoError(t, err)
	s := httptest.NewServer(e.Handler())
	t.Cleanup(s.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := promapi.NewClient(promapi.Config{Address: s.URL, RoundTripper: transport})
	require.NoError(t, err)
	return &fixture{e, end, s.URL, v1.NewAPI(c)}
}

func fill(t *testing.T, db *metrics.DB, end time.Time) {
	app := db.AppenderV2(context.Background())
	for at := end.Add(-time.Hour); !at.After(end); at = at.Add(15 * time.Second) {
		seconds := at.Sub(end.Add(-time.Hour)).Seconds()
		for code, rate := range map[string]float64{"200": 3, "500": 1.5} {
			o := storage.AOptions{}
			if code == "200" {
				o.Exemplars = []exemplar.Exemplar{{Labels: labels.FromStrings("trace_id", "abc"), Value: 2, Ts: at.UnixMilli(), HasTs: true}}
			}
			_, err := app.Append(0, labels.FromStrings("__name__", "requests_total", "code", code), 0, at.UnixMilli(), rate*seconds, nil, nil, o)
			require.NoError(t, err)
		}
		n := uint64(seconds)
		// Schema 3, half of the observations in (2^(-32/8), 2^(-31/8)], half in (2^(-8/8), 2^(-7/8)].
		h := &histogram.Histogram{
			Schema: 3, Count: 2 * n, Sum: float64(n), PositiveSpans: []histogram.Span{{Offset: -31, Length: 1}, {Offset: 23, Length: 1}},
			PositiveBuckets: []int64{int64(n), 0},
		}
		_, err := app.Append(0, labels.FromStrings("__name__", "latency_seconds", "job", "x"), 0, at.UnixMilli(), 0, h, nil, storage.AOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
	db.SetMetadata("requests_total", metadata.Metadata{Type: commonmodel.MetricTypeCounter, Help: "Requests.", Unit: ""})
	db.SetMetadata("latency_seconds", metadata.Metadata{Type: commonmodel.MetricTypeHistogram, Help: "Time.", Unit: "seconds"})
}

// TestPrometheusClient reads everything by the client library of Prometheus, which promtool uses too.
func TestPrometheusClient(t *testing.T) {
	f := newFixture(t, Options{Version: "test", Config: func() string { return "a: 1\n" }, Flags: map[string]string{"listen": "x"}})
	ctx := context.Background()

	value, notes, err := f.api.Query(ctx, `sort_desc(round(sum by (code) (rate(requests_total[5m])), 0.001))`, f.end)
	require.NoError(t, err)
	require.Empty(t, notes)
	require.Equal(t, fmt.Sprintf("{code=\"200\"} => 3 @[%d]\n{code=\"500\"} => 1.5 @[%d]", f.end.Unix(), f.end.Unix()), value.String())

	value, _, err = f.api.Query(ctx, `histogram_quantile(0.25, rate(latency_seconds[5m]))`, f.end)
	require.NoError(t, err)
	p25 := float64(value.(commonmodel.Vector)[0].Value)
	require.True(t, p25 > math.Exp2(-32.0/8) && p25 <= math.Exp2(-31.0/8), "%v", p25)
	value, _, err = f.api.Query(ctx, `histogram_quantile(0.99, sum(rate(latency_seconds[5m])))`, f.end)
	require.NoError(t, err)
	p99 := float64(value.(commonmodel.Vector)[0].Value)
	require.True(t, p99 > math.Exp2(-1) && p99 <= math.Exp2(-7.0/8), "%v", p99)

	value, _, err = f.api.Query(ctx, `latency_seconds`, f.end)
	require.NoError(t, err)
	require.Equal(t, commonmodel.FloatString(7200), value.(commonmodel.Vector)[0].Histogram.Count)

	value, _, err = f.api.QueryRange(ctx, `requests_total{code="200"} or latency_seconds`, v1.Range{Start: f.end.Add(-time.Minute), End: f.end, Step: 15 * time.Second})
	require.NoError(t, err)
	require.Len(t, value.(commonmodel.Matrix), 2)
	for _, s := range value.(commonmodel.Matrix) {
		require.Equal(t, 5, len(s.Values)+len(s.Histograms))
	}

	value, _, err = f.api.Query(ctx, `1/0`, f.end)
	require.NoError(t, err)
	require.Contains(t, value.String(), "scalar: +Inf")

	set, _, err := f.api.Series(ctx, []string{`requests_total{code="200"}`, `{job="x"}`}, f.end.Add(-time.Hour), f.end)
	require.NoError(t, err)
	require.Len(t, set, 2)
	names, _, err := f.api.LabelNames(ctx, nil, f.end.Add(-time.Hour), f.end)
	require.NoError(t, err)
	require.Equal(t, commonmodel.LabelNames{"__name__", "code", "job"}, names)
	names, _, err = f.api.LabelNames(ctx, []string{`requests_total`, `latency_seconds`}, f.end.Add(-time.Hour), f.end)
	require.NoError(t, err)
	require.Equal(t, commonmodel.LabelNames{"__name__", "code", "job"}, names)
	values, _, err := f.api.LabelValues(ctx, "code", nil, time.Time{}, time.Time{})
	require.NoError(t, err)
	require.Equal(t, commonmodel.LabelValues{"200", "500"}, values)
	values, _, err = f.api.LabelValues(ctx, "__name__", []string{`{code="500"}`}, time.Unix(0, 0), f.end)
	require.NoError(t, err)
	require.Equal(t, commonmodel.LabelValues{"requests_total"}, values)

	md, err := f.api.Metadata(ctx, "", "")
	require.NoError(t, err)
	require.Equal(t, map[string][]v1.Metadata{
		"requests_total":  {{Type: v1.MetricTypeCounter, Help: "Requests."}},
		"latency_seconds": {{Type: v1.MetricTypeHistogram, Help: "Time.", Unit: "seconds"}},
	}, md)
	ex, err := f.api.QueryExemplars(ctx, `rate(requests_total[5m])`, f.end.Add(-time.Hour), f.end)
	require.NoError(t, err)
	require.Equal(t, commonmodel.LabelSet{"__name__": "requests_total", "code": "200"}, ex[0].SeriesLabels)
	require.Equal(t, commonmodel.LabelValue("abc"), ex[0].Exemplars[0].Labels["trace_id"])

	cfg, err := f.api.Config(ctx)
	require.NoError(t, err)
	require.Equal(t, "a: 1\n", cfg.YAML)
	flags, err := f.api.Flags(ctx)
	require.NoError(t, err)
	require.Equal(t, v1.FlagsResult{"listen": "x"}, flags)
	build, err := f.api.Buildinfo(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, build.GoVersion)
	info, err := f.api.Runtimeinfo(ctx)
	require.NoError(t, err)
	require.Equal(t, "15d", info.StorageRetention)
	stats, err := f.api.TSDB(ctx)
	require.NoError(t, err)
	require.Equal(t, 3, stats.HeadStats.NumSeries)
	require.Positive(t, stats.HeadStats.ChunkCount)
	require.Equal(t, v1.Stat{Name: "requests_total", Value: 2}, stats.SeriesCountByMetricName[0])
	_, err = f.api.WalReplay(ctx)
	require.NoError(t, err)
}

// get asks one endpoint and gives the status and the decoded answer.
func (f *fixture) get(t *testing.T, path string, values url.Values) (int, map[string]any) {
	t.Helper()
	resp, err := http.Get(f.url + "/api/v1/" + path + "?" + values.Encode())
	require.NoError(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"), "%s", body)
	var out map[string]any
	require.NoError(t, json.Unmarshal(body, &out), "%s", body)
	return resp.StatusCode, out
}

func TestErrors(t *testing.T) {
	f := newFixture(t, Options{MaxSamples: 1000})
	now := fmt.Sprint(f.end.Unix())
	tests := map[string]struct {
		path   string
		values url.Values
		status int
		kind   string
		says   string
	}{
		"syntax":            {"query", url.Values{"query": {"sum("}}, 400, "bad_data", `invalid parameter "query"`},
		"no query":          {"query", nil, 400, "bad_data", `invalid parameter "query"`},
		"time":              {"query", url.Values{"query": {"up"}, "time": {"soon"}}, 400, "bad_data", "RFC 3339"},
		"NaN time":          {"query", url.Values{"query": {"up"}, "time": {"NaN"}}, 400, "bad_data", "not a time"},
		"timeout":           {"query", url.Values{"query": {"up"}, "timeout": {"x"}}, 400, "bad_data", "1h30m"},
		"limit":             {"query", url.Values{"query": {"up"}, "limit": {"-1"}}, 400, "bad_data", "not a count"},
		"no start":          {"query_range", url.Values{"query": {"up"}, "end": {now}, "step": {"15"}}, 400, "bad_data", `"start"`},
		"end before start":  {"query_range", url.Values{"query": {"up"}, "start": {now}, "end": {"5"}, "step": {"15"}}, 400, "bad_data", "before the start"},
		"step 0":            {"query_range", url.Values{"query": {"up"}, "start": {"5"}, "end": {now}, "step": {"0"}}, 400, "bad_data", "1 ms"},
		"step NaN":          {"query_range", url.Values{"query": {"up"}, "start": {"5"}, "end": {now}, "step": {"NaN"}}, 400, "bad_data", "too long"},
		"too many points":   {"query_range", url.Values{"query": {"up"}, "start": {"5"}, "end": {now}, "step": {"1"}}, 400, "bad_data", "11000 points"},
		"too many samples":  {"query_range", url.Values{"query": {"requests_total"}, "start": {fmt.Sprint(f.end.Unix() - 3600)}, "end": {now}, "step": {"5"}}, 422, "execution", "too many samples"},
		"no time left":      {"query", url.Values{"query": {"requests_total"}, "timeout": {"0.000000001"}}, 503, "timeout", ""},
		"many to many":      {"query", url.Values{"query": {"requests_total * on() requests_total"}, "time": {now}}, 422, "execution", "many-to-many"},
		"series of all":     {"series", nil, 400, "bad_data", "match[]"},
		"empty matcher":     {"series", url.Values{"match[]": {`{a=~".*"}`}}, 400, "bad_data", "does not match the empty string"},
		"label name":        {"label/%FF/values", nil, 400, "bad_data", "invalid label name"},
		"exemplar syntax":   {"query_exemplars", url.Values{"query": {"("}}, 400, "bad_data", "query"},
		"format syntax":     {"format_query", url.Values{"query": {"("}}, 400, "bad_data", "query"},
		"parse syntax":      {"parse_query", url.Values{"query": {"("}}, 400, "bad_data", "query"},
		"unknown":           {"nonsense", nil, 404, "not_found", "no such endpoint: GET /api/v1/nonsense"},
		"tsdb limit":        {"status/tsdb", url.Values{"limit": {"99999999"}}, 400, "bad_data", "at most"},
		"metadata limit":    {"metadata", url.Values{"limit": {"x"}}, 400, "bad_data", "not a count"},
		"deep parentheses":  {"query", url.Values{"query": {strings.Repeat("(", 5000)}}, 400, "bad_data", "query"},
		"exemplars reverse": {"query_exemplars", url.Values{"query": {"up"}, "start": {now}, "end": {"1"}}, 400, "bad_data", "before the start"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			status, out := f.get(t, tt.path, tt.values)
			require.Equal(t, tt.status, status, "%v", out)
			require.Equal(t, "error", out["status"])
			require.Equal(t, tt.kind, out["errorType"])
			require.Contains(t, out["error"], tt.says)
		})
	}
	require.Equal(t, 1.0, testutil.ToFloat64(f.engine.metrics.refused.WithLabelValues("samples")))
	require.Equal(t, 1.0, testutil.ToFloat64(f.engine.metrics.refused.WithLabelValues("timeout")))
}

func TestParametersAndForms(t *testing.T) {
	f := newFixture(t, Options{})
	now := fmt.Sprint(f.end.Unix())
	t.Run("POST", func(t *testing.T) {
		resp, err := http.PostForm(f.url+"/api/v1/query", url.Values{"query": {"requests_total"}, "time": {now}, "limit": {"1"}, "stats": {"all"}})
		require.NoError(t, err)
		defer http.DefaultClient.CloseIdleConnections()
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(body), `"warnings":["results truncated due to limit"]`)
		require.Contains(t, string(body), `"stats":{"timings":{"evalTotalTime":`)
	})
	t.Run("a body without end", func(t *testing.T) {
		resp, err := http.Post(f.url+"/api/v1/query", "application/x-www-form-urlencoded", strings.NewReader("query="+strings.Repeat("a", maxForm)))
		require.NoError(t, err)
		defer http.DefaultClient.CloseIdleConnections()
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 400, resp.StatusCode)
	})
	t.Run("all time, as Prometheus's own pages send it", func(t *testing.T) {
		status, out := f.get(t, "labels", url.Values{"start": {"-292273086-05-16T16:47:06Z"}, "end": {"292277025-08-18T07:12:54.999999999Z"}})
		require.Equal(t, 200, status, "%v", out)
		require.Len(t, out["data"], 3)
	})
	t.Run("limits of lists", func(t *testing.T) {
		_, out := f.get(t, "labels", url.Values{"limit": {"2"}})
		require.Equal(t, []any{"__name__", "code"}, out["data"])
		require.Equal(t, []any{"results truncated due to limit"}, out["warnings"])
		_, out = f.get(t, "series", url.Values{"match[]": {`{__name__=~".+"}`}, "limit": {"2"}})
		require.Len(t, out["data"], 2)
		require.Equal(t, []any{"results truncated due to limit"}, out["warnings"])
		_, out = f.get(t, "series", url.Values{"match[]": {`{__name__=~".+"}`}, "limit": {"3"}})
		require.Len(t, out["data"], 3)
		require.Nil(t, out["warnings"])
	})
	t.Run("format", func(t *testing.T) {
		_, out := f.get(t, "format_query", url.Values{"query": {`sum  by(a)(rate( b [5m]))`}})
		require.Equal(t, "sum by (a) (rate(b[5m]))", out["data"])
	})
	t.Run("text", func(t *testing.T) {
		_, out := f.get(t, "query", url.Values{"query": {`"a\"\u00e4"`}, "time": {now}})
		require.Equal(t, map[string]any{"resultType": "string", "result": []any{float64(f.end.Unix()), "a\"ä"}}, out["data"])
	})
	t.Run("nothing found", func(t *testing.T) {
		for path, query := range map[string]string{"query": "nothing", "query_exemplars": "nothing"} {
			_, out := f.get(t, path, url.Values{"query": {query}})
			data := out["data"]
			if m, ok := data.(map[string]any); ok {
				data = m["result"]
			}
			require.Equal(t, []any{}, data, path)
		}
	})
	t.Run("notes say what is odd", func(t *testing.T) {
		_, out := f.get(t, "query", url.Values{"query": {`rate(requests_gauge[5m]) or histogram_quantile(7, latency_seconds)`}, "time": {now}})
		require.Equal(t, "success", out["status"])
		require.Contains(t, fmt.Sprint(out["warnings"]), "quantile value should be between 0 and 1")
	})
}

func TestSyntaxTree(t *testing.T) {
	f := newFixture(t, Options{})
	queries := []string{
		`sum by (a) (rate(b{c=~"d"}[5m] offset 1h))`, `topk(3, a) > bool on (x) group_left (y) b`, `max_over_time(a[1h:1m] @ start())`, `-(1 + 2) * "x"`,
		`a @ 5`, `histogram_quantile(0.9, a[5m])`, `label_replace(a, "b", "$1", "c", "(.*)")`, `vector(1) unless a`, `time()`,
	}
	for _, q := range queries {
		_, out := f.get(t, "parse_query", url.Values{"query": {q}})
		if out["status"] == "error" { // some are there to be refused by type
			continue
		}
		tree, ok := out["data"].(map[string]any)
		require.True(t, ok, q)
		require.NotEmpty(t, tree["type"], q)
	}
	_, out := f.get(t, "parse_query", url.Values{"query": {queries[0]}})
	tree := out["data"].(map[string]any)
	require.Equal(t, "aggregation", tree["type"])
	require.Equal(t, []any{"a"}, tree["grouping"])
	call := tree["expr"].(map[string]any)
	require.Equal(t, "rate", call["func"].(map[string]any)["name"])
	selector := call["args"].([]any)[0].(map[string]any)
	require.Equal(t, "matrixSelector", selector["type"])
	require.EqualValues(t, 300_000, selector["range"])
	require.EqualValues(t, 3_600_000, selector["offset"])
	require.Contains(t, selector["matchers"], map[string]any{"name": "c", "value": "d", "type": "=~"})
}

func TestConcurrencyIsBounded(t *testing.T) {
	f := newFixture(t, Options{MaxConcurrency: 1, Timeout: 200 * time.Millisecond, Registerer: prometheus.NewRegistry()})
	_, leave, err := f.engine.admit(context.Background())
	require.NoError(t, err)
	status, out := f.get(t, "query", url.Values{"query": {"requests_total"}})
	require.Equal(t, 503, status)
	require.Equal(t, "unavailable", out["errorType"])
	require.Contains(t, out["error"], "too many queries at a time")
	_, err = f.engine.Instant(context.Background(), "requests_total", f.end)
	require.ErrorIs(t, err, ErrBusy)
	require.Equal(t, 2.0, testutil.ToFloat64(f.engine.metrics.refused.WithLabelValues("busy")))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = f.engine.Instant(ctx, "requests_total", f.end)
	require.ErrorIs(t, err, context.Canceled)
	leave()
	v, err := f.engine.Instant(context.Background(), "requests_total", f.end)
	require.NoError(t, err)
	require.Len(t, v, 2)
}

func TestGoFunctions(t *testing.T) {
	f := newFixture(t, Options{})
	ctx := context.Background()
	v, err := f.engine.Instant(ctx, "42", f.end)
	require.NoError(t, err)
	require.Equal(t, 42.0, v[0].F)
	_, err = f.engine.Instant(ctx, `"text"`, f.end)
	require.ErrorContains(t, err, "not a vector")
	_, err = f.engine.Instant(ctx, `(`, f.end)
	require.ErrorContains(t, err, "parse query")
	m, err := f.engine.Range(ctx, "latency_seconds", f.end.Add(-time.Minute), f.end, 15*time.Second)
	require.NoError(t, err)
	require.Len(t, m[0].Histograms, 5)
	// What was handed out stays as it is when the engine uses its memory again.
	want := m[0].Histograms[4].H.String()
	for range 5 {
		_, err = f.engine.Range(ctx, "latency_seconds * 7", f.end.Add(-time.Hour), f.end, 15*time.Second)
		require.NoError(t, err)
	}
	require.Equal(t, want, m[0].Histograms[4].H.String())
}
