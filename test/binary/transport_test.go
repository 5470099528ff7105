package binary

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
)

// shipping starts an agent that sends to a server.
func shipping(t *testing.T, hook string, env ...string) *vetch {
	t.Helper()
	v, err := startVetch(t.Context(), settings{hook: hook, env: append(env, "VETCH_NODE=node-"+hook)})
	require.NoError(t, err)
	t.Cleanup(func() {
		v.cmd.Process.Kill() //nolint:errcheck // most tests have ended it
		v.cmd.Wait()         //nolint:errcheck // the same
	})
	return v
}

// end stops an agent. What it could not send in the time it has for that, its staleness markers among it, another one sends.
func (v *vetch) end(t *testing.T, hook, dataDir string, env ...string) {
	t.Helper()
	require.NoError(t, v.stop())
	left, err := filepath.Glob(filepath.Join(dataDir, "spool", "*.spool"))
	require.NoError(t, err)
	if len(left) > 0 {
		next := shipping(t, hook, env...)
		next.waitFor(t, "nothing waits", func(s scrape) bool { return s.sum("vetch_ship_spool_bytes", nil) == 0 })
		require.NoError(t, next.stop())
	}
}

// waitFor waits until a figure of the agent fits.
func (v *vetch) waitFor(t *testing.T, what string, fits func(scrape) bool) {
	t.Helper()
	require.NoError(t, poll(t.Context(), func() error {
		s, err := v.read()
		if err == nil && !fits(s) {
			err = fmt.Errorf("not yet: %s", what)
		}
		return err
	}), "vetch agent says:\n%s", v.log)
}

// countsOf are queries for what a client sent a server: at the serving end, and on the edge.
func countsOf(client, server string) []string {
	return []string{
		fmt.Sprintf(`sum(vetch_workload_requests_total{cluster="default", workload=%q, code="200"})`, server),
		fmt.Sprintf(`sum(vetch_edge_requests_total{cluster="default", client=%q, server=%q, code="200"})`, client, server),
		fmt.Sprintf(`sum(histogram_count(vetch_edge_request_duration_seconds{client=%q, server=%q}))`, client, server),
	}
}

// TestServerAway kills a server that agents send to by tokens while requests go on, and finds them all when it is back.
func TestServerAway(t *testing.T) {
	const requests = 1000
	for _, hook := range hooks() {
		t.Run(hook, func(t *testing.T) {
			t.Parallel()
			c, dataDir := startCentral(t, false), t.TempDir()
			env := append(c.environment(), "VETCH_DATA_DIR="+dataDir)
			v := shipping(t, hook, env...)
			web, address := server(t, how{}, "away-web-"+hook, "127.0.0.1:0")
			p := start(t, how{}, named(t, "away-client-"+hook), "client", "-addr", address, "-requests", strconv.Itoa(requests), "-concurrency", "4", "-rate", "150", "-targets", "GET /away")
			served := countsOf(p.name, web.name)[0]
			require.NoError(t, poll(t.Context(), func() error {
				_, err := c.value(served)
				return err
			}), c.log)

			require.Error(t, c.signal(t, os.Kill))
			killed := time.Now()
			for rounds, size := 0, 0.0; rounds < 4; rounds++ {
				v.waitFor(t, "a round goes to the spool", func(s scrape) bool { return s.sum("vetch_ship_spool_bytes", nil) > size })
				size = v.mustRead(t).sum("vetch_ship_spool_bytes", nil)
			}
			back := time.Now()
			c.start(t)
			report := p.report(t, patience)
			require.Equal(t, requests, report.Requests[0].Count)
			for _, query := range countsOf(p.name, web.name) {
				c.wait(t, query, requests)
			}
			c.wait(t, fmt.Sprintf(`count(count_over_time(node_uptime_seconds{node="node-%s"}[%dms] @ %.3f) >= 2)`, hook,
				back.Sub(killed).Milliseconds(), float64(back.UnixMilli())/1000), 1)
			require.Equal(t, []string{"/Process/" + web.name}, c.callees(t, "/Process/"+p.name), "one edge on the map")
			v.waitFor(t, "nothing waits", func(s scrape) bool { return s.sum("vetch_ship_spool_bytes", nil) == 0 })
			s := v.mustRead(t)
			require.Zero(t, s.sum("vetch_ship_failed_total", nil)+s.sum("vetch_ship_dropped_total", nil), "%v", s["vetch_ship_failed_total"])

			guide, err := os.ReadFile("../../docs/guide/metrics.md")
			require.NoError(t, err)
			for name := range s {
				if strings.HasPrefix(name, "vetch_") {
					require.Regexp(t, "`"+name+"[`{]", string(guide))
				}
			}

			_, err = c.ask("/api/v1/query?query=up", writeToken)
			require.ErrorContains(t, err, "403")
			_, err = c.ask("/", "")
			require.ErrorContains(t, err, "401")

			// An agent that ends leaves no ghosts.
			v.end(t, hook, dataDir, env...)
			_, err = c.value(served)
			require.ErrorIs(t, err, errNothing)
			require.NoError(t, c.signal(t, syscall.SIGTERM), c.log)
		})
	}
}

// TestAgentKilled kills an agent that sends by certificate while its server is away: the next one sends what is in the spool.
func TestAgentKilled(t *testing.T) {
	for _, hook := range hooks() {
		t.Run(hook, func(t *testing.T) {
			t.Parallel()
			c := startCentral(t, true)
			env := append(c.environment(), "VETCH_DATA_DIR="+t.TempDir())
			v := shipping(t, hook, env...)
			web, address := server(t, how{}, "killed-web-"+hook, "127.0.0.1:0")
			client(t, how{}, "killed-client-"+hook, address, "-requests", "300")
			name := mine("killed-client-" + hook)
			for _, query := range countsOf(name, web.name) {
				c.wait(t, query, 300)
			}
			require.Error(t, c.signal(t, os.Kill))
			client(t, how{}, "killed-client-"+hook, address, "-requests", "200")
			v.waitFor(t, "500 requests", func(s scrape) bool {
				return s.sum("vetch_edge_requests_total", labels{"client": name}) == 500 && s.sum("vetch_ship_spool_bytes", nil) > 0
			})
			before := v.mustRead(t).sum("vetch_ship_spool_bytes", nil)
			v.waitFor(t, "a later round in the spool", func(s scrape) bool { return s.sum("vetch_ship_spool_bytes", nil) > before })
			require.NoError(t, v.cmd.Process.Kill())
			v.cmd.Wait() //nolint:errcheck // it was killed

			c.start(t)
			v = shipping(t, hook, env...)
			for _, query := range countsOf(name, web.name) {
				c.wait(t, query, 500)
			}
			v.waitFor(t, "nothing waits", func(s scrape) bool { return s.sum("vetch_ship_spool_bytes", nil) == 0 })
			require.NoError(t, v.stop())
		})
	}
}

// TestShipToPrometheus sends to Prometheus's own receiver, and to one that knows only version 1.0 of the protocol.
func TestShipToPrometheus(t *testing.T) {
	if len(hooks()) == 0 {
		return
	}
	for name, versions := range map[string]remoteapi.MessageTypes{
		"2.0": {remoteapi.WriteV2MessageType, remoteapi.WriteV1MessageType}, "1.0": {remoteapi.WriteV1MessageType},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := tsdb.Open(t.TempDir(), nil, nil, tsdb.DefaultOptions(), nil)
			require.NoError(t, err)
			defer db.Close()
			receiver := httptest.NewServer(remote.NewWriteHandler(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), db, versions, true, false, false))
			defer receiver.Close()
			dataDir := t.TempDir()
			env := []string{"VETCH_SERVER=" + receiver.URL, "VETCH_DATA_DIR=" + dataDir}
			v := shipping(t, hooks()[0], env...)
			web, address := server(t, how{}, "receiver-web-"+name, "127.0.0.1:0")
			client(t, how{}, "receiver-client-"+name, address, "-requests", "400")
			require.NoError(t, poll(t.Context(), func() error {
				if got, _ := last(t, db, "vetch_workload_requests_total", web.name); got != 400 {
					return fmt.Errorf("requests: %v", got)
				}
				return nil
			}), v.log)
			got, _ := last(t, db, "vetch_workload_request_duration_seconds", web.name)
			require.Equal(t, 400.0, got)
			s := v.mustRead(t)
			require.Zero(t, s.sum("vetch_ship_failed_total", nil)+s.sum("vetch_ship_dropped_total", nil), "%v", s["vetch_ship_failed_total"])
			v.end(t, hooks()[0], dataDir, env...)
			_, stale := last(t, db, "vetch_workload_requests_total", web.name)
			require.True(t, stale, "the series has ended")
		})
	}
}

// last is the latest value of a metric of a workload, or the count of a histogram; stale says that a staleness marker came behind it.
func last(t *testing.T, db *tsdb.DB, metric, workload string) (v float64, stale bool) {
	t.Helper()
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer q.Close()
	set := q.Select(context.Background(), false, nil,
		promlabels.MustNewMatcher(promlabels.MatchEqual, promlabels.MetricName, metric), promlabels.MustNewMatcher(promlabels.MatchEqual, "workload", workload))
	for set.Next() {
		it := set.At().Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			var sum, now float64
			if kind == chunkenc.ValFloat {
				_, now = it.At()
				sum = now
			} else {
				_, h := it.AtFloatHistogram(nil)
				now, sum = h.Count, h.Sum
			}
			if stale = value.IsStaleNaN(sum); !stale {
				v = now
			}
		}
	}
	require.NoError(t, set.Err())
	return v, stale
}
