package servicemap

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func served(workload, route, code string) string {
	return `{namespace="shop",kind="Deployment",workload="` + workload + `",protocol="http",method="GET",route="` + route + `",code="` + code + `"}`
}

// shop has one workload in each state. It has run for 15 minutes.
const shopNow = 900

func shop(t testing.TB) *Service {
	return loaded(t, `load 5s
		vetch_workload_requests_total`+served("fine", "/", "200")+` 0+50x180
		vetch_workload_requests_total`+served("ailing", "/a", "200")+` 0+98x180
		vetch_workload_requests_total`+served("ailing", "/b", "500")+` 0+2x180
		vetch_workload_requests_total`+served("broken", "/a", "200")+` 0+1x180
		vetch_workload_requests_total`+served("broken", "/a", "none")+` 0+1x180
		vetch_workload_requests_total`+served("worse", "/a", "404")+` 0+4x180
		vetch_workload_requests_total`+served("worse", "/a", "502")+` 0+4x180
		vetch_workload_requests_total`+served("asleep", "/", "200")+` 7x180
		vetch_workload_requests_total`+served("young", "/", "200")+` _x120 0+10x60
		vetch_workload_request_duration_seconds`+served("ailing", "/a", "200")+` {{schema:0}}+{{schema:0 count:98 sum:98 offset:1 buckets:[98]}}x180
		vetch_workload_request_duration_seconds`+served("ailing", "/b", "500")+` {{schema:0}}+{{schema:0 count:2 sum:6 offset:2 buckets:[2]}}x180`, shopNow)
}

func TestWorkloadsAreSortedByTrouble(t *testing.T) {
	list, err := shop(t).Workloads(context.Background(), Query{})
	require.NoError(t, err)
	require.Equal(t, time.Unix(0, 0).UTC(), list.Start)
	var names []string
	for _, w := range list.Workloads {
		names = append(names, w.Name+" "+string(w.Health))
	}
	require.Equal(t, []string{"worse critical", "broken critical", "ailing warning", "fine ok", "young ok", "asleep idle"}, names)
	require.Equal(t, []string{"50 % of requests fail (cut before the response)"}, list.Workloads[1].Reasons)
	require.Equal(t, []string{}, list.Workloads[3].Reasons)
}

func TestSparks(t *testing.T) {
	list, err := shop(t).Workloads(context.Background(), Query{})
	require.NoError(t, err)
	of := func(name string) WorkloadSummary {
		return list.Workloads[slices.IndexFunc(list.Workloads, func(w WorkloadSummary) bool { return w.Name == name })]
	}
	ailing := of("ailing")
	require.Len(t, ailing.RateSpark.Values, sparkPoints)
	require.InDelta(t, 30, ailing.RateSpark.Start, 0)
	require.InDelta(t, 30, ailing.RateSpark.Step, 0)
	for i := range sparkPoints {
		require.InDelta(t, 20, value(t, ailing.RateSpark.Values[i]), 0.01)
		require.InDelta(t, 0.02, value(t, ailing.ErrorSpark.Values[i]), 1e-4)
		require.InDelta(t, math.Pow(2, 95.0/98), value(t, ailing.LatencySpark.Values[i]), 0.01)
	}
	require.Nil(t, of("young").RateSpark.Values[10], "nothing is known of the time before the first request")
	require.InDelta(t, 2, value(t, of("young").RateSpark.Values[29]), 0.01)
	require.Zero(t, value(t, of("asleep").RateSpark.Values[29]))
	require.Nil(t, of("asleep").ErrorSpark.Values[29])
	require.Nil(t, of("fine").LatencySpark.Values[29])
}

func TestWorkloadDetail(t *testing.T) {
	d, err := shop(t).Workload(context.Background(), "shop/Deployment/ailing", Query{})
	require.NoError(t, err)
	require.Equal(t, Warning, d.Workload.Health)
	require.InDelta(t, 20, value(t, d.Workload.Signals.Rate), 1e-5)
	require.InDelta(t, 0.02, value(t, d.Workload.Signals.ErrorShare), 1e-9)
	require.Len(t, d.Workload.RateSpark.Values, sparkPoints)

	require.Len(t, d.Charts.RateByClass, 2)
	require.Len(t, d.Charts.P50.Values, 112, "8 s steps of at least a second: 900/120 rounded up")
	last := 111
	require.InDelta(t, 19.6, value(t, d.Charts.RateByClass["2xx"].Values[last]), 0.01)
	require.InDelta(t, 0.4, value(t, d.Charts.RateByClass["5xx"].Values[last]), 0.01)
	require.InDelta(t, 0.02, value(t, d.Charts.ErrorShare.Values[last]), 1e-4)
	require.InDelta(t, math.Pow(2, 50.0/98), value(t, d.Charts.P50.Values[last]), 0.001)
	require.InDelta(t, 2*math.Pow(2, 0.5), value(t, d.Charts.P99.Values[last]), 0.001)

	require.Len(t, d.Routes, 2)
	require.Equal(t, "/a", d.Routes[0].Route)
	require.Equal(t, map[string]float64{"200": 19.6}, d.Routes[0].Codes)
	require.Zero(t, value(t, d.Routes[0].Signals.ErrorShare))
	require.InDelta(t, 1, value(t, d.Routes[1].Signals.ErrorShare), 0)
	require.InDelta(t, 2*math.Pow(2, 0.5), value(t, d.Routes[1].Signals.P50), 1e-4)
	require.Empty(t, d.Callers)
	require.NotNil(t, d.Callees)
}

// The map and the page of a workload must not tell different stories.
func TestDetailAgreesWithMap(t *testing.T) {
	s := loaded(t, `load 5s
		vetch_edge_requests_total`+pair("a", "b", "80", "http", "code", "500")+` 0+60x20
		vetch_edge_failed_connections_total`+pair("a", "c", "81", "tcp", "error", "refused")+` 0+60x20
		vetch_edge_connections_total`+pair("a", "b", "80", "tcp")+` 0+60x20
		vetch_edge_connections_total`+pair("b", "a", "82", "tcp")+` 0+60x20
		vetch_workload_requests_total{namespace="",kind="Process",workload="b",protocol="http",method="GET",route="/",code="500"} 0+60x20`, 100)
	m := mapOf(t, s, Query{})
	for _, n := range m.Nodes {
		d, err := s.Workload(context.Background(), n.ID, Query{Range: time.Minute})
		require.NoError(t, err)
		require.Equal(t, n.Health, d.Workload.Health, n.ID)
		require.Equal(t, n.Reasons, d.Workload.Reasons, n.ID)
		require.Equal(t, n.Signals, d.Workload.Signals, n.ID)
		for _, e := range slices.Concat(d.Callers, d.Callees) {
			require.Equal(t, m.edge(t, e.Client, e.Server), e)
		}
	}
}

func TestGrids(t *testing.T) {
	for _, test := range []struct {
		length time.Duration
		want   grid
	}{
		{10 * time.Second, grid{step: 5 * time.Second, points: 2, window: 20 * time.Second}},
		{time.Minute, grid{step: 5 * time.Second, points: 12, window: 20 * time.Second}},
		{15 * time.Minute, grid{step: 30 * time.Second, points: 30, window: 30 * time.Second}},
		{time.Hour + time.Second, grid{step: 121 * time.Second, points: 29, window: 121 * time.Second}},
		{MaxRange, grid{step: MaxRange / 30, points: 30, window: MaxRange / 30}},
	} {
		end := time.Unix(1_700_000_003, 0)
		g := gridOf(span{start: end.Add(-test.length), end: end}, sparkPoints)
		require.Equal(t, int64(1_700_000_000), g.end().Unix())
		require.True(t, !g.start.Add(-g.step).Before(end.Add(-test.length-sampleInterval)), "the first window begins in the range")
		g.start = time.Time{}
		require.Equal(t, test.want, g)
	}
}
