package inventory

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/servicemap"
)

// cluster fills a store with 15 minutes, a sample every 15 s, of nodes with 20 pods each of one container, as a watcher and agents tell of them.
func cluster(tb testing.TB, nodes int) *Inventory {
	tb.Helper()
	db := teststorage.New(tb)
	app := db.Appender(tb.Context())
	put := func(slope float64, at float64, pairs ...string) {
		ls := labels.FromStrings(append(pairs, "cluster", "west")...)
		for k := range int64(61) {
			_, err := app.Append(0, ls, k*15000, at+slope*float64(k))
			require.NoError(tb, err)
		}
	}
	for n := range nodes {
		node := "n" + strconv.Itoa(n)
		put(0, 1, "__name__", "kube_node_info", "node", node)
		put(0, 1, "__name__", "kube_node_status_condition", "node", node, "condition", "Ready", "status", "true")
		for _, mode := range []string{"user", "system", "idle"} {
			put(15, 0, "__name__", "node_resources_cpu_usage_seconds_total", "node", node, "mode", mode)
		}
		for k := range 20 {
			pod := func(name string, more ...string) []string {
				return append([]string{"__name__", name, "namespace", "ns" + strconv.Itoa(k), "pod", fmt.Sprintf("p%d-%d", n, k)}, more...)
			}
			of := func(name string, more ...string) []string {
				return pod(name, append(more, "uid", fmt.Sprintf("u%d-%d", n, k))...)
			}
			put(0, 1, of("kube_pod_info", "node", node, "pod_ip", "10.0.0.1", "host_ip", "1.1.1.1", "created_by_kind", "ReplicaSet", "created_by_name", "r")...)
			put(0, 1, of("kube_pod_owner", "owner_kind", "ReplicaSet", "owner_name", "r", "owner_is_controller", "true")...)
			put(0, 1, of("vetch_pod_info", "node", node, "workload_kind", "Deployment", "workload", "w"+strconv.Itoa(k))...)
			for _, phase := range []string{"Pending", "Running", "Succeeded", "Failed", "Unknown"} {
				put(0, map[bool]float64{true: 1}[phase == "Running"], of("kube_pod_status_phase", "phase", phase)...)
			}
			put(0, 1, of("kube_pod_created")...)
			put(0, 1, of("kube_pod_status_ready", "condition", "true")...)
			for _, name := range []string{"ready", "running", "restarts_total"} {
				put(0, 1, of("kube_pod_container_status_"+name, "container", "app")...)
			}
			for _, kind := range []string{"requests", "limits"} {
				put(0, 1, of("kube_pod_container_resource_"+kind, "container", "app", "node", node, "resource", "cpu", "unit", "core")...)
				put(0, 1e9, of("kube_pod_container_resource_"+kind, "container", "app", "node", node, "resource", "memory", "unit", "byte")...)
			}
			for _, mode := range []string{"user", "system"} {
				put(3, 0, pod("vetch_pod_cpu_seconds_total", "node", node, "kind", "Deployment", "workload", "w", "mode", mode)...)
			}
			put(0, 1e8, pod("vetch_pod_memory_working_set_bytes", "node", node, "kind", "Deployment", "workload", "w")...)
		}
	}
	require.NoError(tb, app.Commit())
	return over(tb, db, 900)
}

// Ranges of other lengths are other questions, so nothing comes from the cache.
func BenchmarkInventory(b *testing.B) {
	i, length := cluster(b, 200), 5*time.Minute
	for name, ask := range map[string]func(servicemap.Query) error{
		"pods":       func(q servicemap.Query) error { _, err := i.Pods(b.Context(), q, PodFilter{}); return err },
		"nodes":      func(q servicemap.Query) error { _, err := i.Nodes(b.Context(), q); return err },
		"namespaces": func(q servicemap.Query) error { _, err := i.Namespaces(b.Context(), q); return err },
		"node":       func(q servicemap.Query) error { _, err := i.Node(b.Context(), "n7", q); return err },
		"pod":        func(q servicemap.Query) error { _, err := i.Pod(b.Context(), "ns3/p7-3", q); return err },
		"namespace":  func(q servicemap.Query) error { _, err := i.Namespace(b.Context(), "ns3", q); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				length += time.Second
				if err := ask(servicemap.Query{Range: length}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
