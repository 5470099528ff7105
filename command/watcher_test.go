package command

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/config"
	"github.com/vetch-dev/vetch/kube"
	"github.com/vetch-dev/vetch/kube/state"
	"github.com/vetch-dev/vetch/transport"
	"github.com/vetch-dev/vetch/transport/names"
)

// cluster is a mock of the Kubernetes API that has one Deployment: it answers lists, and watches with the changes since. That the watcher reads a real one
// is held by test/cluster.
type cluster struct {
	*httptest.Server
	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	events  []string      // of the Deployment
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{changed: make(chan struct{})}
	c.Server = httptest.NewServer(c)
	t.Cleanup(func() {
		c.CloseClientConnections()
		c.Close()
	})
	return c
}

// change tells watchers of the Deployment.
func (c *cluster) change(event string, replicas int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, fmt.Sprintf(`{"type":%q,"object":{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","uid":"u1","resourceVersion":"%d"},"spec":{"replicas":%d}}}`,
		event, len(c.events)+2, replicas))
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("sendInitialEvents") != "" { // as an older API: the list is asked for
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`)
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	resource := parts[len(parts)-1]
	if r.URL.Query().Get("watch") == "" {
		kinds := map[string]string{
			"endpointslices": "EndpointSlice", "replicasets": "ReplicaSet", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet", "cronjobs": "CronJob", "ingresses": "Ingress",
			"persistentvolumes": "PersistentVolume", "persistentvolumeclaims": "PersistentVolumeClaim", "horizontalpodautoscalers": "HorizontalPodAutoscaler",
		}
		kind := kinds[resource]
		if kind == "" {
			kind = strings.ToUpper(resource[:1]) + strings.TrimSuffix(resource[1:], "s")
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"apiVersion": strings.Join(parts[1:len(parts)-1], "/"), "kind": kind + "List", "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{},
		})
		return
	}
	flusher, _ := w.(http.Flusher)
	flusher.Flush()
	for sent := 0; ; {
		c.mu.Lock()
		events, changed := c.events, c.changed
		c.mu.Unlock()
		if resource == "deployments" {
			for ; sent < len(events); sent++ {
				fmt.Fprintln(w, events[sent])
			}
			flusher.Flush()
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		}
	}
}

// TestWatcherTellsTheServer ships the state of a Deployment to a store, from when it is made until it is deleted.
func TestWatcherTellsTheServer(t *testing.T) {
	api := newCluster(t)
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, fmt.Appendf(nil,
		"apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\ncontexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", api.URL), 0o600))
	l := &config.Loaded{Config: config.Default()}
	l.DataDir, l.Cluster, l.Node, l.Metrics.Interval = filepath.Join(dir, "server"), "prod", "machine", 50*time.Millisecond
	log := newLog(program{stderr: t.Output()}, l)
	db, err := openMetrics(l, log, newRegistry(), lateBy)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	write, err := transport.NewRemoteWrite(transport.Options{Store: db, Log: log})
	require.NoError(t, err)
	server := httptest.NewServer(write)
	defer server.Close()

	mine := *l
	mine.DataDir, mine.Server = filepath.Join(dir, "watcher"), server.URL
	reg := newRegistry()
	watcher, err := kube.New(kube.Options{Kubeconfig: kubeconfig, Feed: names.NewFeed(names.FeedOptions{}), State: &state.Options{}, Log: log})
	require.NoError(t, err)
	ship, err := newWatcherShip(&mine, log, reg, watcher)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, watcher.Run(ctx)) })
	wg.Go(func() { assert.NoError(t, ship.run(ctx, watcher.Led())) })

	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1000, Timeout: time.Minute})
	ask := func(query string) (lines []string) {
		q, err := engine.NewInstantQuery(t.Context(), db, nil, query, time.Now())
		require.NoError(t, err)
		defer q.Close()
		result := q.Exec(t.Context())
		require.NoError(t, result.Err)
		vector, err := result.Vector()
		require.NoError(t, err)
		for _, s := range vector {
			lines = append(lines, fmt.Sprint(s.Metric.DropReserved(func(n string) bool { return n == labels.MetricName }), " ", s.F))
		}
		return lines
	}
	becomes := func(query string, want ...string) {
		t.Helper()
		require.EventuallyWithT(t, func(t *assert.CollectT) { require.Equal(t, want, ask(query)) }, time.Minute, 20*time.Millisecond)
	}
	const replicas = "kube_deployment_spec_replicas"
	becomes(`count by (node, job) (vetch_build_info)`, `{job="vetch-watcher", node="machine"} 1`)
	api.change("ADDED", 2)
	becomes(replicas, `{cluster="prod", deployment="web", namespace="shop"} 2`)
	api.change("MODIFIED", 5)
	becomes(replicas, `{cluster="prod", deployment="web", namespace="shop"} 5`)
	api.change("DELETED", 5)
	becomes(replicas)
	api.change("ADDED", 1)
	becomes(replicas, `{cluster="prod", deployment="web", namespace="shop"} 1`)
	cancel()
	wg.Wait()
	require.Empty(t, ask(replicas), "a watcher that ends ends its series")
}

// TestAWatcherThatStandsBySendsNothing holds it to its spool alone.
func TestAWatcherThatStandsBySendsNothing(t *testing.T) {
	asked := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer server.Close()
	l := &config.Loaded{Config: config.Default()}
	l.DataDir, l.Server, l.Metrics.Interval = t.TempDir(), server.URL, time.Millisecond
	ship, err := newWatcherShip(l, newLog(program{stderr: t.Output()}, l), newRegistry(), &kube.Watcher{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- ship.run(ctx, make(chan struct{})) }()
	cancel()
	require.NoError(t, <-done)
	require.Empty(t, asked)
}
