package servicemap

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

// The window of these tests is (40 s, 100 s] with a sample every 5 s: a counter that grows steadily has exactly its rate.
func TestRatesOfAnEdge(t *testing.T) {
	const histogram = `{{schema:0}}+{{schema:0 count:20 sum:40 offset:1 buckets:[10 10]}}x20`
	e := pair("wrk", "nginx", "80", "http")
	s := loaded(t, `load 5s
		vetch_edge_requests_total`+pair("wrk", "nginx", "80", "http", "code", "200")+` 0+90x20
		vetch_edge_requests_total`+pair("wrk", "nginx", "80", "http", "code", "503")+` 0+4x20
		vetch_edge_requests_total`+pair("wrk", "nginx", "80", "http", "code", "none")+` 0+1x20
		vetch_edge_requests_total`+pair("wrk", "nginx", "80", "http", "code", "404")+` 0+5x20
		vetch_edge_request_duration_seconds`+e+` `+histogram+`
		vetch_edge_rtt_seconds`+e+` {{schema:0}} {{schema:0 count:4 sum:2 offset:-1 buckets:[4]}}x19
		vetch_edge_bytes_total`+pair("wrk", "nginx", "80", "http", "direction", "sent")+` 0+500x20
		vetch_edge_bytes_total`+pair("wrk", "nginx", "80", "http", "direction", "received")+` 0+50000x20
		vetch_edge_connections_total`+e+` 0+9x20
		vetch_edge_failed_connections_total`+pair("wrk", "nginx", "80", "http", "error", "refused")+` 0+1x20
		vetch_edge_retransmits_total`+e+` 0+0x20
		vetch_workload_requests_total{namespace="",kind="Process",workload="nginx",protocol="http",method="GET",route="/",code="200"} 0+90x20
		vetch_workload_request_duration_seconds{namespace="",kind="Process",workload="nginx",protocol="http",method="GET",route="/",code="200"} `+histogram, 100)
	m := mapOf(t, s, Query{})
	require.Equal(t, time.Unix(40, 0).UTC(), m.Start)
	require.Equal(t, time.Unix(100, 0).UTC(), m.End)

	got := m.edge(t, "/Process/wrk", "/Process/nginx")
	require.Equal(t, "/Process/wrk>/Process/nginx:80", got.ID)
	require.Equal(t, 80, got.Port)
	require.Equal(t, "http", got.Protocol)
	require.InDelta(t, 20, value(t, got.Signals.Rate), 1e-9)         // (90+4+1+5)/5
	require.InDelta(t, 0.05, value(t, got.Signals.ErrorShare), 1e-9) // (4+1)/100
	// Half of the requests took (1, 2] s, half (2, 4] s; within a bucket quantiles grow exponentially.
	require.InDelta(t, 2, value(t, got.Signals.P50), 1e-5)
	require.InDelta(t, 2*math.Pow(2, 0.9), value(t, got.Signals.P95), 1e-4)
	require.InDelta(t, 2*math.Pow(2, 0.98), value(t, got.Signals.P99), 1e-4)
	require.InDelta(t, 100, value(t, got.BytesSentRate), 1e-9)
	require.InDelta(t, 10000, value(t, got.BytesReceivedRate), 1e-9)
	require.InDelta(t, 1.8, value(t, got.ConnectRate), 1e-9)
	require.InDelta(t, 0.2, value(t, got.FailedConnectRate), 1e-9)
	require.Equal(t, map[string]float64{"refused": 0.2}, got.FailedConnects)
	require.Zero(t, value(t, got.RetransmitRate))
	require.Nil(t, got.RTT, "no round trip was measured in the window")
	require.Equal(t, Critical, got.Health)
	require.Equal(t, []string{"5.0 % of requests fail (4.0 % 5xx, 1.0 % cut before the response)", "12 connects/min refused by nginx:80"}, got.Reasons)

	nginx := m.node(t, "/Process/nginx")
	require.InDelta(t, 18, value(t, nginx.Signals.Rate), 1e-9, "the serving end's own figure")
	require.Zero(t, value(t, nginx.Signals.ErrorShare))
	require.InDelta(t, 2, value(t, nginx.Signals.P50), 1e-5)
	require.Equal(t, Signals{}, m.node(t, "/Process/wrk").Signals, "who only calls has no signals")
}

func TestCounters(t *testing.T) {
	for _, test := range []struct {
		name   string
		values string // every 5 s from 0 s
		rate   float64
	}{
		{"steady", "0+10x20", 2},
		// 45..60 s gain 30, the counter restarts at 65 s and gains 70 until 100 s; 55 s of samples stretch to the window of 60 s.
		{"reset in the window", "0+10x12 0+10x7", (30 + 70) / 55.0},
		// A counter never was below its zero, so nothing is added before its first sample.
		{"began in the window with its zero sample", "_x14 0 100 100 100 100 100 100", 100 / 60.0},
		{"idle", "7x20", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := loaded(t, "load 5s\n vetch_edge_requests_total"+pair("a", "b", "1", "http", "code", "200")+" "+test.values, 100)
			require.InDelta(t, test.rate, value(t, mapOf(t, s, Query{}).Edges[0].Signals.Rate), 1e-5)
		})
	}
}

func TestVanishedSeries(t *testing.T) {
	s := loaded(t, "load 5s\n vetch_edge_requests_total"+pair("a", "b", "1", "http", "code", "200")+" 0+10x12 stale", 100)
	// Samples 45..60 gained 30; stretched by 5 s at the start and half a step at the end: 22.5/15 of 30, over 60 s.
	require.InDelta(t, 30*22.5/15/60, value(t, mapOf(t, s, Query{}).Edges[0].Signals.Rate), 1e-5)
	m := mapOf(t, s, Query{Start: time.Unix(70, 0), End: time.Unix(100, 0)})
	require.Empty(t, m.Edges, "nothing is left in a window after the end of the series")
	require.NotNil(t, m.Nodes)
}

func TestPastRangeGivesTheFiguresOfThen(t *testing.T) {
	s := loaded(t, "load 5s\n vetch_edge_requests_total"+pair("a", "b", "1", "http", "code", "200")+" 0+10x20 200+50x100", 600)
	for _, test := range []struct {
		end  int64
		rate float64
	}{{100, 2}, {400, 10}} {
		m := mapOf(t, s, Query{Start: time.Unix(test.end-60, 0), End: time.Unix(test.end, 0)})
		require.InDelta(t, test.rate, value(t, m.Edges[0].Signals.Rate), 1e-5)
	}
}

func TestRecognisedEdgeIsOne(t *testing.T) {
	s := loaded(t, `load 5s
		vetch_edge_connections_total`+pair("a", "b", "80", "tcp")+` 0+5x20
		vetch_edge_connections_total`+pair("a", "b", "80", "http")+` 0+10x20
		vetch_edge_bytes_total`+pair("a", "b", "80", "tcp", "direction", "sent")+` 0+500x20
		vetch_edge_bytes_total`+pair("a", "b", "80", "http", "direction", "sent")+` 0+1000x20
		vetch_edge_rtt_seconds`+pair("a", "b", "80", "tcp")+` {{schema:0}}+{{schema:0 count:3 sum:3 offset:1 buckets:[3]}}x20
		vetch_edge_rtt_seconds`+pair("a", "b", "80", "http")+` {{schema:0}}+{{schema:0 count:1 sum:3 offset:3 buckets:[1]}}x20
		vetch_edge_requests_total`+pair("a", "b", "80", "http", "code", "200")+` 0+10x20
		vetch_edge_connections_total`+pair("a", "b", "81", "tcp")+` 0+5x20`, 100)
	m := mapOf(t, s, Query{})
	require.Len(t, m.Edges, 2, "another port is another edge")
	e := m.Edges[0]
	require.Equal(t, "http", e.Protocol)
	require.InDelta(t, 3, value(t, e.ConnectRate), 1e-9)
	require.InDelta(t, 300, value(t, e.BytesSentRate), 1e-9)
	require.InDelta(t, math.Pow(2, 2.0/3), value(t, e.RTT), 1e-5, "2 of 4 is two thirds into the bucket (1, 2] of 3")
	require.Nil(t, e.BytesReceivedRate)
	require.Equal(t, "tcp", m.Edges[1].Protocol)
	require.Equal(t, Signals{}, m.Edges[1].Signals)
}

// Two agents that see the same requests' halves are summed; quantiles come from the summed histogram, not from an average.
func TestQuantilesOfSumsAreNotAveraged(t *testing.T) {
	wl := func(instance string) string {
		return `{namespace="shop",kind="Deployment",workload="api",protocol="http",method="GET",route="/",code="200",instance="` + instance + `"}`
	}
	s := loaded(t, `load 5s
		vetch_workload_requests_total`+wl("1")+` 0+99x20
		vetch_workload_requests_total`+wl("2")+` 0+1x20
		vetch_workload_request_duration_seconds`+wl("1")+` {{schema:0}}+{{schema:0 count:99 sum:99 offset:1 buckets:[99]}}x20
		vetch_workload_request_duration_seconds`+wl("2")+` {{schema:0}}+{{schema:0 count:1 sum:9 offset:4 buckets:[1]}}x20`, 100)
	n := mapOf(t, s, Query{}).node(t, "shop/Deployment/api")
	require.InDelta(t, 20, value(t, n.Signals.Rate), 1e-9)
	require.InDelta(t, math.Pow(2, 50.0/99), value(t, n.Signals.P50), 1e-5)
	require.InDelta(t, 2, value(t, n.Signals.P99), 1e-5, "99 of 100 are within the first bucket")
}

func TestBothDirectionsAndSelfEdges(t *testing.T) {
	s := loaded(t, `load 5s
		vetch_edge_connections_total`+pair("a", "b", "1", "tcp")+` 0+5x20
		vetch_edge_connections_total`+pair("b", "a", "2", "tcp")+` 0+10x20
		vetch_edge_connections_total`+pair("a", "a", "3", "tcp")+` 0+15x20`, 100)
	m := mapOf(t, s, Query{})
	require.Len(t, m.Nodes, 2)
	require.Len(t, m.Edges, 3)
	require.InDelta(t, 3, value(t, m.edge(t, "/Process/a", "/Process/a").ConnectRate), 1e-9)

	d, err := s.Workload(context.Background(), "/Process/a", Query{Range: time.Minute})
	require.NoError(t, err)
	require.Len(t, d.Callers, 2)
	require.Len(t, d.Callees, 2)
	for _, e := range d.Callers {
		if e.Client == e.Server {
			require.InDelta(t, 3, value(t, e.ConnectRate), 1e-9, "a self edge counts once")
		}
	}
}

func TestOutsideServersTakeSignalsFromTheirCallers(t *testing.T) {
	out := func(client string, more ...string) string {
		return edgeLabelsText("", "Process", client, "", "External", "api.example.com", "443", "http", more...)
	}
	s := loaded(t, `load 5s
		vetch_edge_requests_total`+out("a", "code", "200")+` 0+30x20
		vetch_edge_requests_total`+out("b", "code", "500")+` 0+10x20
		vetch_edge_request_duration_seconds`+out("a")+` {{schema:0}}+{{schema:0 count:3 sum:3 offset:1 buckets:[3]}}x20
		vetch_edge_request_duration_seconds`+out("b")+` {{schema:0}}+{{schema:0 count:1 sum:3 offset:3 buckets:[1]}}x20`, 100)
	n := mapOf(t, s, Query{}).node(t, "/External/api.example.com")
	require.InDelta(t, 8, value(t, n.Signals.Rate), 1e-9)
	require.InDelta(t, 0.25, value(t, n.Signals.ErrorShare), 1e-9)
	require.InDelta(t, math.Pow(2, 2.0/3), value(t, n.Signals.P50), 1e-5)
	require.Equal(t, Critical, n.Health)

	list, err := s.Workloads(context.Background(), Query{Range: time.Minute})
	require.NoError(t, err)
	require.Equal(t, "/External/api.example.com", list.Workloads[0].ID)
	last := len(list.Workloads[0].RateSpark.Values) - 1
	require.InDelta(t, 8, value(t, list.Workloads[0].RateSpark.Values[last]), 0.01)

	d, err := s.Workload(context.Background(), n.ID, Query{Range: time.Minute})
	require.NoError(t, err)
	require.Empty(t, d.Routes)
	require.InDelta(t, 2, value(t, d.Charts.RateByClass["5xx"].Values[last]), 0.01)
}

func TestWeirdNames(t *testing.T) {
	names := []string{`a/b/c`, `quote"d`, `back\slash`, `新宿 ☃`, "new\nline", `a>b:80`, `100%`, `{x="y"}`, `'`, ""}
	db := teststorage.New(t)
	for _, name := range names {
		for i := range int64(21) {
			app := db.Appender(context.Background())
			ls := labels.FromStrings("__name__", "vetch_edge_connections_total", "client_namespace", "", "client_kind", "Process", "client", name,
				"server_namespace", "", "server_kind", "Process", "server", "hub", "port", "80", "protocol", "tcp")
			_, err := app.Append(0, ls, i*5000, float64(5*i))
			require.NoError(t, err)
			require.NoError(t, app.Commit())
		}
	}
	s, err := New(Options{Engine: engineOver(t, db), Now: func() time.Time { return time.Unix(100, 0) }})
	require.NoError(t, err)
	m := mapOf(t, s, Query{})
	require.Len(t, m.Edges, len(names))
	ids := map[string]bool{}
	for _, e := range m.Edges {
		require.False(t, ids[e.ID], e.ID)
		ids[e.ID] = true
		d, err := s.Workload(context.Background(), e.Client, Query{Range: time.Minute})
		require.NoError(t, err, e.Client)
		require.Len(t, d.Callees, 1, e.Client)
		require.InDelta(t, 1, value(t, d.Callees[0].ConnectRate), 1e-9)
	}
}

func TestNamespaceKeepsNeighbours(t *testing.T) {
	e := func(cn, c, sn, s string) string {
		return "vetch_edge_connections_total" + edgeLabelsText(cn, "Deployment", c, sn, "Deployment", s, "80", "tcp") + " 0+5x20\n"
	}
	s := loaded(t, "load 5s\n"+e("shop", "web", "shop", "api")+e("shop", "api", "data", "db")+e("ops", "cron", "data", "db"), 100)
	m := mapOf(t, s, Query{Namespace: "shop"})
	require.Len(t, m.Edges, 2)
	require.Len(t, m.Nodes, 3)
	whole := mapOf(t, s, Query{})
	require.Equal(t, whole.node(t, "shop/Deployment/web"), m.node(t, "shop/Deployment/web"), "places do not depend on the filter")
	require.Empty(t, mapOf(t, s, Query{Namespace: "none"}).Nodes)
}

func TestEmptyStore(t *testing.T) {
	s := loaded(t, "load 5s\n up 1", 100)
	m := mapOf(t, s, Query{})
	data, err := m.JSON()
	require.NoError(t, err)
	require.JSONEq(t, `{"start":"1970-01-01T00:00:40Z","end":"1970-01-01T00:01:40Z","nodes":[],"edges":[]}`, string(data))
}

func TestBadRanges(t *testing.T) {
	s := loaded(t, "load 5s\n up 1", 100)
	for _, q := range []Query{
		{Range: time.Second},
		{Range: -time.Minute},
		{Range: 400 * 24 * time.Hour},
		{Start: time.Unix(50, 0), End: time.Unix(50, 0)},
		{Start: time.Unix(200, 0)},
	} {
		_, err := s.Map(context.Background(), q)
		require.ErrorIs(t, err, ErrBadQuery)
		_, err = s.Subscribe(q)
		require.Error(t, err)
	}
	for _, id := range []string{"", "nginx", "a/b", "//x", "a/b/", string([]byte{'/', 'P', '/', 0xff})} {
		_, err := s.Workload(context.Background(), id, Query{})
		require.ErrorIs(t, err, ErrBadQuery, "%q", id)
	}
	_, err := s.Workload(context.Background(), "/Process/nobody", Query{})
	require.ErrorIs(t, err, ErrNotFound)
}

func TestRound(t *testing.T) {
	for _, test := range []struct{ in, out float64 }{
		{0, 0}, {1.0 / 3, 0.333333}, {123456789, 123457000}, {-2.0 / 3, -0.666667}, {1e-30, 1e-30}, {5e-7 / 3, 1.66667e-7}, {1e300, 1e300},
	} {
		require.Equal(t, test.out, round(test.in, 6))
	}
	require.Nil(t, figure(math.NaN()))
	require.Nil(t, figure(math.Inf(1)))
}
