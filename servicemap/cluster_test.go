package servicemap

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"
)

// ofCluster is shop/Deployment/cart with its caller in a cluster, "" being series without one, that serves so many requests a sample.
func ofCluster(cluster, perSample string) string {
	in := `namespace="shop",kind="Deployment",workload="cart",protocol="http",method="GET",route="/",code="200"`
	edge := edgeLabelsText("shop", "Deployment", "web", "shop", "Deployment", "cart", "80", "http", "code", "200")
	if cluster != "" {
		in += `,cluster="` + cluster + `"`
		edge = edge[:len(edge)-1] + `,cluster="` + cluster + `"}`
	}
	return `
		vetch_workload_requests_total{` + in + `} 0+` + perSample + `x180
		vetch_edge_requests_total` + edge + ` 0+` + perSample + `x180`
}

// Two clusters have workloads of the same names: they must not become one.
func TestClustersAreKeptApart(t *testing.T) {
	db := promqltest.LoadedStorage(t, "load 5s"+ofCluster("west", "50")+ofCluster("eu/1:a", "10")+ofCluster("", "5"))
	s, err := New(Options{Engine: engineOver(t, db), Cluster: "west", Now: func() time.Time { return time.Unix(900, 0) }})
	require.NoError(t, err)
	const home, other = "shop/Deployment/cart", "eu%2F1%3Aa:shop/Deployment/cart"

	m := mapOf(t, s, Query{})
	require.Len(t, m.Nodes, 4)
	require.Len(t, m.Edges, 2)
	require.InDelta(t, 11, value(t, m.node(t, home).Signals.Rate), 1e-6, "what has no label is of the server's own cluster")
	require.InDelta(t, 2, value(t, m.node(t, other).Signals.Rate), 1e-6)
	require.Equal(t, "west", m.node(t, home).Cluster)
	require.Equal(t, "eu/1:a", m.node(t, other).Cluster)
	require.InDelta(t, 2, value(t, m.edge(t, "eu%2F1%3Aa:shop/Deployment/web", other).Signals.Rate), 1e-6)
	require.NotEqual(t, m.node(t, home).Y, m.node(t, other).Y)
	groups := map[string]bool{}
	for _, at := range s.positions.places {
		groups[at.group] = true
	}
	require.Equal(t, map[string]bool{"namespace/shop": true, "namespace/eu%2F1%3Aa:shop": true}, groups)
	require.Len(t, mapOf(t, s, Query{Namespace: "shop"}).Nodes, 4)

	list, err := s.Workloads(t.Context(), Query{})
	require.NoError(t, err)
	require.Len(t, list.Workloads, 4)

	for id, rate := range map[string]float64{home: 11, "west:" + home: 11, other: 2} {
		d, err := s.Workload(t.Context(), id, Query{})
		require.NoError(t, err, id)
		require.InDelta(t, rate, value(t, d.Workload.Signals.Rate), 1e-6, id)
		require.Len(t, d.Callers, 1, id)
		require.InDelta(t, rate, value(t, d.Callers[0].Signals.Rate), 1e-6, id)
		require.InDelta(t, rate, value(t, d.Routes[0].Signals.Rate), 1e-6, id)
		require.InDelta(t, rate, value(t, d.Charts.RateByClass["2xx"].Values[50]), 1e-3, id)
	}
	_, err = s.Workload(t.Context(), "north:"+home, Query{})
	require.ErrorIs(t, err, ErrNotFound)
}
