package servicemap

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/query/metricquery"
	"github.com/vetch-dev/vetch/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// stored is a store of which nothing is asked but samples.
type stored struct {
	store.Metrics
	samples storage.Queryable
}

func (s stored) Querier(from, to int64) (storage.Querier, error) { return s.samples.Querier(from, to) }

// engineOver is the one that the program has.
func engineOver(t testing.TB, db storage.Queryable) Engine {
	t.Helper()
	e, err := metricquery.New(metricquery.Options{DB: stored{samples: db}})
	require.NoError(t, err)
	return e
}

// loaded is a service over a text script of samples, "now" being the given number of seconds after the first.
func loaded(t testing.TB, script string, now int64) *Service {
	t.Helper()
	db := promqltest.LoadedStorage(t, script)
	s, err := New(Options{Engine: engineOver(t, db), Now: func() time.Time { return time.Unix(now, 0) }})
	require.NoError(t, err)
	return s
}

func mapOf(t testing.TB, s *Service, q Query) *Map {
	t.Helper()
	m, err := s.Map(context.Background(), q)
	require.NoError(t, err)
	return m
}

func (m *Map) node(t testing.TB, id string) Node {
	t.Helper()
	for _, n := range m.Nodes {
		if n.ID == id {
			return n
		}
	}
	require.Failf(t, "no such node", "%q of %v", id, m.Nodes)
	return Node{}
}

func (m *Map) edge(t testing.TB, client, server string) Edge {
	t.Helper()
	for _, e := range m.Edges {
		if e.Client == client && e.Server == server {
			return e
		}
	}
	require.Failf(t, "no such edge", "%q > %q of %v", client, server, m.Edges)
	return Edge{}
}

// pair writes the labels of an edge between two processes.
func pair(client, server, port, protocol string, more ...string) string {
	return edgeLabelsText("", "Process", client, "", "Process", server, port, protocol, more...)
}

func edgeLabelsText(cn, ck, c, sn, sk, s, port, protocol string, more ...string) string {
	l := []string{"client_namespace", cn, "client_kind", ck, "client", c, "server_namespace", sn, "server_kind", sk, "server", s, "port", port, "protocol", protocol}
	text := labels.FromStrings(append(l, more...)...).String()
	return strings.ReplaceAll(text, ", ", ",")
}

func value(t testing.TB, v *float64) float64 {
	t.Helper()
	require.NotNil(t, v)
	return *v
}
