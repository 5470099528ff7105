package api

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/query/metricquery"
	"github.com/vetch-dev/vetch/servicemap"
	"github.com/vetch-dev/vetch/store"
)

// stored is a store of which nothing is asked but samples.
type stored struct {
	store.Metrics
	samples storage.Queryable
}

func (s stored) Querier(from, to int64) (storage.Querier, error) { return s.samples.Querier(from, to) }

// The clock of these tests stands 15 minutes after the first sample.
var mapNow = time.Unix(900, 0)

const mapSamples = `load 5s
	vetch_edge_requests_total{client_namespace="",client_kind="Process",client="wrk",server_namespace="",server_kind="Unit",server="nginx.service",port="80",protocol="http",code="200"} 0+95x180
	vetch_edge_requests_total{client_namespace="",client_kind="Process",client="wrk",server_namespace="",server_kind="Unit",server="nginx.service",port="80",protocol="http",code="none"} 0+5x180
	vetch_edge_request_duration_seconds{client_namespace="",client_kind="Process",client="wrk",server_namespace="",server_kind="Unit",server="nginx.service",port="80",protocol="http"} {{schema:3}}+{{schema:3 count:100 sum:9 offset:-60 buckets:[50 30 20]}}x180
	vetch_edge_bytes_total{client_namespace="",client_kind="Process",client="wrk",server_namespace="",server_kind="Unit",server="nginx.service",port="80",protocol="tcp",direction="sent"} 0+95x180
	vetch_edge_rtt_seconds{client_namespace="",client_kind="Process",client="wrk",server_namespace="",server_kind="Unit",server="nginx.service",port="80",protocol="tcp"} {{schema:0}}+{{schema:0 count:1 sum:9 offset:-6 buckets:[1]}}x180
	vetch_edge_failed_connections_total{client_namespace="",client_kind="Unit",client="nginx.service",server_namespace="",server_kind="External",server="2001:db8::1",port="443",protocol="tcp",error="timed_out"} 0+5x180
	vetch_edge_connections_total{client_namespace="shop",client_kind="Deployment",client="a/b \"c\" ☃",server_namespace="shop",server_kind="Deployment",server="db",port="5432",protocol="tcp"} 0+5x180
	vetch_workload_requests_total{namespace="",kind="Unit",workload="nginx.service",protocol="http",method="GET",route="/a/*",code="200"} 0+95x180
	vetch_workload_requests_total{namespace="",kind="Unit",workload="nginx.service",protocol="http",method="GET",route="/a/*",code="none"} 0+5x180
	vetch_workload_request_duration_seconds{namespace="",kind="Unit",workload="nginx.service",protocol="http",method="GET",route="/a/*",code="200"} {{schema:3}}+{{schema:3 count:100 sum:9 offset:-60 buckets:[50 30 20]}}x180`

func mapService(t testing.TB, samples string, maxSamples int) *servicemap.Service {
	engine, err := metricquery.New(metricquery.Options{DB: stored{samples: promqltest.LoadedStorage(t, samples)}, MaxSamples: maxSamples})
	require.NoError(t, err)
	svc, err := servicemap.New(servicemap.Options{Engine: engine, Now: func() time.Time { return mapNow }})
	require.NoError(t, err)
	return svc
}

// specRouter reads openapi.yaml itself and refuses one that is not valid.
func specRouter(t testing.TB) routers.Router {
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	require.NoError(t, err)
	require.NoError(t, doc.Validate(context.Background()))
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	return router
}

// get asks the handler and checks request and response against openapi.yaml.
func get(t testing.TB, router routers.Router, h http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	route, params, err := router.FindRoute(r)
	require.NoError(t, err)
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: route, PathParams: params},
		Status:                 w.Code,
		Header:                 w.Header(),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true},
	}
	in.SetBodyBytes(w.Body.Bytes())
	require.NoError(t, openapi3filter.ValidateResponse(context.Background(), in), "%d %s", w.Code, w.Body)
	return w
}

func TestMapAnswersAreAsDescribed(t *testing.T) {
	router, h := specRouter(t), MapHandler(mapService(t, mapSamples, 1_000_000))
	for _, target := range []string{
		"/api/map", "/api/map?start=-5m", "/api/map?start=now-5m&end=now-1m", "/api/map?start=1970-01-01T00:05:00Z&end=1970-01-01T00:10:00Z",
		"/api/map?start=300&end=600.5", "/api/map?namespace=shop", "/api/map?namespace=nobody", "/api/map?start=7200&end=7300",
		"/api/workloads", "/api/workloads?start=-1m", "/api/workloads?start=7200&end=7300",
		"/api/workload?id=/Unit/nginx.service", "/api/workload?id=/Process/wrk&start=-1m", "/api/workload?id=/External/2001:db8::1",
		"/api/workload?id=" + url.QueryEscape(`shop/Deployment/a/b "c" ☃`),
	} {
		w := get(t, router, h, target)
		require.Equal(t, http.StatusOK, w.Code, "%s: %s", target, w.Body)
	}

	var m servicemap.Map
	require.NoError(t, json.Unmarshal(get(t, router, h, "/api/map").Body.Bytes(), &m))
	require.Len(t, m.Nodes, 5)
	require.Len(t, m.Edges, 3)
	require.Equal(t, mapNow.UTC(), m.End)
	for _, e := range m.Edges {
		if e.Client == "/Process/wrk" {
			require.Equal(t, "http", e.Protocol)
			require.InDelta(t, 20, *e.Signals.Rate, 1e-9)
			require.InDelta(t, 0.05, *e.Signals.ErrorShare, 1e-9)
			require.Equal(t, []string{"5.0 % of requests fail (cut before the response)"}, e.Reasons)
		}
	}
}

func TestBadQuestionsGetASentence(t *testing.T) {
	router, h := specRouter(t), MapHandler(mapService(t, mapSamples, 1_000_000))
	long := strings.Repeat("x", 3000)
	for target, want := range map[string]string{
		"/api/map?start=yesterday":                       `start: "yesterday" is not a time; use RFC 3339`,
		"/api/map?start=-15":                             "is not a relative time; use a number with s, m, h, d or w",
		"/api/map?start=-15x":                            "is not a relative time",
		"/api/map?start=now":                             "is not before now",
		"/api/map?start=-5s":                             "rates need at least 10s",
		"/api/map?start=-99999d":                         "more than 366 days ago",
		"/api/map?start=-99999999999y":                   "is not a relative time",
		"/api/map?start=NaN":                             "is not a time in Unix seconds",
		"/api/map?start=1e300":                           "is not a time in Unix seconds",
		"/api/map?start=0x10p3":                          "is not a time",
		"/api/map?start=0":                               "is not a time in Unix seconds",
		"/api/map?start=9999-12-31T23:59:59-12:00":       "is not a time",
		"/api/map?end=soon":                              `end: "soon" is not a time`,
		"/api/map?start=600&end=300":                     "is not before the end",
		"/api/map?start=1&end=99999999999":               "longer than 366 days",
		"/api/map?start=" + long:                         "start: longer than 64 characters",
		"/api/map?end=" + long:                           "end: longer than 64 characters",
		"/api/map?namespace=" + long:                     "namespace: longer than 256 bytes",
		"/api/map?start=%zz":                             "query string: invalid URL escape",
		"/api/workloads?start=x":                         "is not a time",
		"/api/workload":                                  "the id is missing",
		"/api/workload?id=nginx":                         `the id "nginx" is not of the form namespace/kind/name`,
		"/api/workload?id=//":                            "is not of the form",
		"/api/workload?id=/Process/" + long:              "longer than 2048 bytes",
		"/api/workload?id=/Process/%ff":                  "is not UTF-8",
		"/api/workload?id=/Process/nginx&start=tomorrow": "is not a time",
	} {
		w := get(t, router, h, target)
		require.Equal(t, http.StatusBadRequest, w.Code, target)
		var e struct{ Status, ErrorType, Error string }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e))
		require.Equal(t, "bad_data", e.ErrorType)
		require.Contains(t, e.Error, want, target)
	}
	w := get(t, router, h, "/api/workload?id=/Process/nobody")
	require.Equal(t, http.StatusNotFound, w.Code)
	require.Contains(t, w.Body.String(), "try a longer range")
	for _, target := range []string{"/api/map/stream?range=x", "/api/map/stream?range=1s", "/api/map/stream?range=" + long, "/api/map/stream?range=%zz", "/api/map/stream?namespace=" + long} {
		require.Equal(t, http.StatusBadRequest, get(t, router, h, target).Code, target)
	}
	require.Equal(t, http.StatusServiceUnavailable, get(t, router, h, "/api/map/stream").Code, "nothing drives the streams")
	r := httptest.NewRecorder()
	h.ServeHTTP(r, httptest.NewRequest(http.MethodPost, "/api/map", nil))
	require.Equal(t, http.StatusMethodNotAllowed, r.Code)
}

func TestTooMuchForTheEngineSaysWhatToDo(t *testing.T) {
	router, h := specRouter(t), MapHandler(mapService(t, mapSamples, 10))
	w := get(t, router, h, "/api/map?start=-15m")
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, w.Body.String(), "choose a shorter range")
}

func TestMapStream(t *testing.T) {
	svc := mapService(t, mapSamples, 1_000_000)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	server := httptest.NewServer(MapHandler(svc))
	defer server.Close()

	var res *http.Response
	require.Eventually(t, func() bool { // until Run has begun
		var err error
		res, err = http.Get(server.URL + "/api/map/stream?range=5m&namespace=shop")
		require.NoError(t, err)
		if res.StatusCode != http.StatusOK {
			require.NoError(t, res.Body.Close())
		}
		return res.StatusCode == http.StatusOK
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	var event string
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
		event += lines.Text() + "\n"
	}
	require.Equal(t, "retry: 3000\n\nevent: map\n", event)
	var m servicemap.Map
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(lines.Text(), "data: ")), &m))
	require.Len(t, m.Edges, 1)
	require.Equal(t, 5*time.Minute, m.End.Sub(m.Start))

	stop() // the service goes first, as at shutdown: the stream ends by itself
	_, err := io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.NoError(t, res.Body.Close())
	http.DefaultClient.CloseIdleConnections()
}

func FuzzMapQuery(f *testing.F) {
	for _, s := range []string{"-15m", "now", "now-1h30m", "1700000000.5", "2026-01-02T03:04:05.6+07:00", "-", "now-", "1e999", "−5m"} {
		f.Add(s, "")
		f.Add("", s)
	}
	f.Fuzz(func(t *testing.T, start, end string) {
		q, err := mapQuery(url.Values{"start": {start}, "end": {end}})
		if err != nil {
			require.ErrorIs(t, err, servicemap.ErrBadQuery)
			return
		}
		require.GreaterOrEqual(t, q.Range, time.Duration(0))
		_, err = q.Start.MarshalJSON()
		require.NoError(t, err)
		_, err = q.End.UTC().MarshalJSON()
		require.NoError(t, err)
	})
}
