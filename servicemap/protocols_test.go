package servicemap

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// database speaks PostgreSQL and, on another route, HTTP. Its codes look like HTTP statuses and are not: what failed is told by the counter.
func database(t testing.TB) *Service {
	const labels = `namespace="shop",kind="Deployment",workload="db",`
	edge := func(protocol string, more ...string) string { return pair("app", "db", "5432", protocol, more...) }
	return loaded(t, `load 5s
		vetch_workload_requests_total{`+labels+`protocol="postgres",route="SELECT users",code="ok"} 0+80x180
		vetch_workload_requests_total{`+labels+`protocol="postgres",route="SELECT users",code="200"} 0+10x180
		vetch_workload_requests_total{`+labels+`protocol="postgres",route="SELECT users",code="none"} 0+10x180
		vetch_workload_failed_requests_total{`+labels+`protocol="postgres",route="SELECT users"} 0+20x180
		vetch_workload_requests_total{`+labels+`protocol="http",method="GET",route="/",code="200"} 0+90x180
		vetch_workload_requests_total{`+labels+`protocol="http",method="GET",route="/",code="500"} 0+10x180
		vetch_workload_failed_requests_total{`+labels+`protocol="http",method="GET",route="/"} 0+10x180
		vetch_edge_requests_total`+edge("http", "code", "200")+` 0+10x180
		vetch_edge_requests_total`+edge("postgres", "code", "ok")+` 0+10x180
		vetch_edge_requests_total`+edge("postgres", "code", "42P01")+` 0+30x180
		vetch_edge_failed_requests_total`+edge("http")+` 0+0x180
		vetch_edge_failed_requests_total`+edge("postgres")+` 0+30x180
		vetch_edge_bytes_total`+edge("http", "direction", "sent")+` 0+10x180
		vetch_edge_bytes_total`+pair("app", "secret", "443", "tls", "direction", "sent")+` 0+10x180
		vetch_edge_bytes_total`+pair("app", "secret", "443", "tcp", "direction", "sent")+` 0+10x180`, shopNow)
}

func TestFailuresOfOtherProtocols(t *testing.T) {
	d, err := database(t).Workload(context.Background(), "shop/Deployment/db", Query{})
	require.NoError(t, err)
	require.InDelta(t, 40, value(t, d.Workload.Signals.Rate), 1e-5)
	require.InDelta(t, 0.15, value(t, d.Workload.Signals.ErrorShare), 1e-6)
	require.Equal(t, Critical, d.Workload.Health)
	require.Equal(t, []string{"15 % of requests fail (5.0 % 5xx, 10 % errors of other protocols)"}, d.Workload.Reasons)
	require.InDelta(t, 0.15, value(t, d.Workload.ErrorSpark.Values[sparkPoints-1]), 1e-4)

	last := map[string]float64{}
	for class, s := range d.Charts.RateByClass {
		last[class] = value(t, s.Values[len(s.Values)-1])
	}
	require.InDeltaMapValues(t, map[string]float64{"2xx": 18, "5xx": 2, "ok": 16, "failed": 4}, last, 0.01)

	require.Len(t, d.Routes, 2)
	for _, r := range d.Routes {
		if r.Protocol == "postgres" {
			require.Empty(t, r.Method)
			require.Equal(t, "SELECT users", r.Route)
			require.Equal(t, map[string]float64{"ok": 16, "200": 2, "none": 2}, r.Codes)
			require.InDelta(t, 0.2, value(t, r.Signals.ErrorShare), 1e-6)
			continue
		}
		require.InDelta(t, 0.1, value(t, r.Signals.ErrorShare), 1e-6)
	}
}

// A port that speaks two protocols is one edge of the map, named by the busier.
func TestBusiestProtocolNamesTheEdge(t *testing.T) {
	m := mapOf(t, database(t), Query{})
	e := m.edge(t, "/Process/app", "/Process/db")
	require.Equal(t, "postgres", e.Protocol)
	require.InDelta(t, 10, value(t, e.Signals.Rate), 1e-5)
	require.InDelta(t, 0.6, value(t, e.Signals.ErrorShare), 1e-6)
	require.Equal(t, []string{"60 % of requests fail"}, e.Reasons)
	require.Equal(t, "tls", m.edge(t, "/Process/app", "/Process/secret").Protocol)
	require.InDelta(t, 0.6, value(t, m.node(t, "/Process/db").Signals.ErrorShare), 1e-6, "callers speak for it")
}

func TestDetailTellsWhatEdgesAreEncryptedWith(t *testing.T) {
	hello := func(client, server, version, sni string) string {
		return "\nvetch_edge_tls_connections_total" + pair(client, server, "443", "http", "version", version, "sni", sni, "alpn", "h2", "cipher", "TLS_AES_128_GCM_SHA256")
	}
	s := loaded(t, "load 5s\nvetch_edge_connections_total"+pair("app", "web", "443", "http")+" 0+60x20"+
		hello("app", "web", "1.3", "web.example")+" 0+60x20"+
		hello("old", "web", "1.0", "")+" 0+6x20"+
		hello("web", "bank", "1.2", "bank.example")+" 0+30x20"+
		hello("else", "other", "1.2", "other.example")+" 0+30x20", 100)
	d, err := s.Workload(t.Context(), "/Process/web", Query{Range: time.Minute})
	require.NoError(t, err)
	require.Equal(t, []TLS{
		{"/Process/old", "/Process/web", 443, "1.0", "", "h2", "TLS_AES_128_GCM_SHA256", 1.2},
		{"/Process/web", "/Process/bank", 443, "1.2", "bank.example", "h2", "TLS_AES_128_GCM_SHA256", 6},
		{"/Process/app", "/Process/web", 443, "1.3", "web.example", "h2", "TLS_AES_128_GCM_SHA256", 12},
	}, d.TLS)
}
