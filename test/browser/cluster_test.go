package browser

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport"
)

// A cluster as its watcher and agents tell of it, by remote write into the vetch that the page is of: a shop whose pods are in all states, and many
// pods beside it, so that the tables have thousands of rows.
const (
	everySeconds = 5
	history      = 20 * time.Minute
	manyNodes    = 200
	podsOnNode   = 20
)

// written is one series: its labels, and its value so many seconds after the beginning.
type written struct {
	labels []string
	value  func(seconds float64) float64
}

type objects struct {
	began  time.Time
	series []written
}

func steady(v float64) func(float64) float64 { return func(float64) float64 { return v } }

func growing(perSecond float64) func(float64) float64 {
	return func(s float64) float64 { return perSecond * s }
}

func (o *objects) add(value func(float64) float64, name string, pairs ...string) {
	o.series = append(o.series, written{append([]string{"__name__", name, "cluster", "default"}, pairs...), value})
}

func (o *objects) node(name string, busy float64, ready string) {
	n := []string{"node", name}
	with := func(more ...string) []string { return append(append([]string{}, n...), more...) }
	o.add(steady(1), "kube_node_info", with("kernel_version", "6.12.0", "os_image", "Debian GNU/Linux 13", "container_runtime_version", "containerd://2.1.4",
		"kubelet_version", "v1.36.0", "internal_ip", "10.1.0.1")...)
	o.add(steady(1), "kube_node_status_condition", with("condition", "Ready", "status", ready)...)
	for resource, v := range map[string]float64{"cpu": 8, "memory": 32 << 30, "pods": 110} {
		o.add(steady(v), "kube_node_status_capacity", with("resource", resource)...)
		o.add(steady(0.95*v), "kube_node_status_allocatable", with("resource", resource)...)
	}
	o.add(growing(8*busy), "node_resources_cpu_usage_seconds_total", with("mode", "user")...)
	o.add(growing(8*(1-busy)), "node_resources_cpu_usage_seconds_total", with("mode", "idle")...)
	o.add(steady(32<<30), "node_resources_memory_total_bytes", n...)
	o.add(steady((1-busy)*32*(1<<30)), "node_resources_memory_available_bytes", n...)
	o.add(growing(0.2), "node_resources_disk_io_time_seconds_total", with("device", "nvme0n1")...)
	o.add(growing(4e6), "node_resources_disk_written_bytes_total", with("device", "nvme0n1")...)
	o.add(growing(2e6), "node_net_received_bytes_total", with("interface", "eth0")...)
}

type pod struct {
	namespace, name, node, kind, workload, phase string
	waits, ended                                 string
	restarts                                     func(float64) float64
	cores, memory                                float64
}

func (o *objects) pod(p pod) {
	id := []string{"namespace", p.namespace, "pod", p.name, "uid", "uid-" + p.namespace + p.name}
	with := func(more ...string) []string { return append(append([]string{}, id...), more...) }
	isReady := map[bool]float64{true: 1}[p.phase == "Running" && p.waits == ""]
	o.add(steady(1), "kube_pod_info", with("node", p.node, "pod_ip", "10.244.3.7")...)
	o.add(steady(1), "kube_pod_status_phase", with("phase", p.phase)...)
	o.add(steady(float64(o.began.Add(-time.Hour).Unix())), "kube_pod_created", id...)
	o.add(steady(isReady), "kube_pod_status_ready", with("condition", "true")...)
	o.add(steady(1), "vetch_pod_info", with("node", p.node, "workload_kind", p.kind, "workload", p.workload)...)
	o.add(steady(isReady), "kube_pod_container_status_ready", with("container", "app")...)
	if p.restarts != nil {
		o.add(p.restarts, "kube_pod_container_status_restarts_total", with("container", "app")...)
	}
	if p.waits != "" {
		o.add(steady(1), "kube_pod_container_status_waiting_reason", with("container", "app", "reason", p.waits)...)
	} else {
		o.add(steady(isReady), "kube_pod_container_status_running", with("container", "app")...)
	}
	if p.ended != "" {
		o.add(steady(1), "kube_pod_container_status_last_terminated_reason", with("container", "app", "reason", p.ended)...)
		o.add(steady(137), "kube_pod_container_status_last_terminated_exitcode", with("container", "app")...)
	}
	if p.phase == "Pending" {
		o.add(steady(1), "kube_pod_status_unschedulable", id...)
	}
	o.add(steady(1), "kube_pod_container_info", with("container", "app", "image_spec", "registry.example/"+p.workload+":1.4.2")...)
	for _, kind := range []string{"requests", "limits"} {
		factor := map[string]float64{"requests": 1, "limits": 2}[kind]
		o.add(steady(0.5*factor), "kube_pod_container_resource_"+kind, with("container", "app", "node", p.node, "resource", "cpu", "unit", "core")...)
		o.add(steady(factor*(256<<20)), "kube_pod_container_resource_"+kind, with("container", "app", "node", p.node, "resource", "memory", "unit", "byte")...)
	}
	if p.cores > 0 {
		used := []string{"node", p.node, "namespace", p.namespace, "pod", p.name, "kind", p.kind, "workload", p.workload}
		o.add(growing(p.cores), "vetch_pod_cpu_seconds_total", append(used, "mode", "user")...)
		o.add(steady(p.memory), "vetch_pod_memory_working_set_bytes", used...)
		of := []string{"node", p.node, "container_id", "/k8s/" + p.namespace + "/" + p.name + "/app"}
		o.add(growing(p.cores), "container_resources_cpu_usage_seconds_total", of...)
		o.add(steady(p.memory), "container_resources_memory_working_set_bytes", of...)
	}
}

// shop is what the walk looks at closely.
func shop(o *objects) {
	o.node("node-a", 0.35, "true")
	o.node("node-b", 0.5, "unknown")
	o.add(steady(1), "kube_namespace_status_phase", "namespace", "shop", "phase", "Active")
	again := func(s float64) float64 { return 2 + float64(int(s)/300) }
	o.pod(pod{namespace: "shop", name: "front-7d9f-abcde", node: "node-a", kind: "Deployment", workload: "front", phase: "Running", cores: 0.31, memory: 180 << 20})
	o.pod(pod{namespace: "shop", name: "front-7d9f-fghij", node: "node-b", kind: "Deployment", workload: "front", phase: "Running", cores: 0.28, memory: 171 << 20})
	o.pod(pod{namespace: "shop", name: "cart-0", node: "node-a", kind: "StatefulSet", workload: "cart", phase: "Running", cores: 0.62, memory: 490 << 20, restarts: again, ended: "OOMKilled"})
	o.pod(pod{namespace: "shop", name: "checkout-5c5-kkk", node: "node-b", kind: "Deployment", workload: "checkout", phase: "Running", waits: "CrashLoopBackOff", ended: "Error", restarts: again})
	o.pod(pod{namespace: "shop", name: "search-0", kind: "StatefulSet", workload: "search", phase: "Pending"})
	for _, call := range [][2]string{{"front", "Deployment"}, {"cart", "StatefulSet"}} {
		o.add(growing(25), "vetch_workload_requests_total", "node", "node-a", "namespace", "shop", "kind", call[1], "workload", call[0],
			"protocol", "http", "method", "GET", "route", "/", "code", "200")
	}
	o.add(growing(25), "vetch_edge_requests_total", "node", "node-a", "client_namespace", "shop", "client_kind", "Deployment", "client", "front",
		"server_namespace", "shop", "server_kind", "StatefulSet", "server", "cart", "port", "80", "protocol", "http", "code", "200")
}

// crowd is what makes the tables long.
func crowd(o *objects) {
	for n := range manyNodes {
		node := fmt.Sprintf("worker-%03d", n)
		o.node(node, 0.1+0.003*float64(n), "true")
		for k := range podsOnNode {
			o.pod(pod{
				namespace: fmt.Sprintf("team-%02d", k), name: fmt.Sprintf("job-%03d-%02d", n, k), node: node, kind: "Deployment", workload: fmt.Sprintf("job-%02d", k),
				phase: "Running", cores: 0.01 * float64(k+1), memory: float64(k+1) * (8 << 20),
			})
		}
	}
}

// write sends the samples of some times.
func (o *objects) write(ctx context.Context, url string, times ...time.Time) error {
	const most = 5000 // series of one request
	for start := 0; start < len(o.series); start += most {
		var r prompb.WriteRequest
		for _, s := range o.series[start:min(start+most, len(o.series))] {
			var ts prompb.TimeSeries
			for i := 0; i < len(s.labels); i += 2 {
				ts.Labels = append(ts.Labels, prompb.Label{Name: s.labels[i], Value: s.labels[i+1]})
			}
			for _, t := range times {
				ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: t.UnixMilli(), Value: s.value(t.Sub(o.began).Seconds())})
			}
			r.Timeseries = append(r.Timeseries, ts)
		}
		body, err := r.Marshal()
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, body)))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("Content-Encoding", "snappy")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		var said bytes.Buffer
		_, _ = said.ReadFrom(res.Body)
		_ = res.Body.Close()
		if res.StatusCode/100 != 2 {
			return fmt.Errorf("remote write: %s: %s", res.Status, strings.TrimSpace(said.String()))
		}
	}
	return nil
}

// startCluster tells vetch of a cluster that has run for a while, and goes on telling until the context ends.
func startCluster(ctx context.Context, t *testing.T, url string) {
	t.Helper()
	now := time.Now().Truncate(everySeconds * time.Second)
	near, many := &objects{began: now.Add(-history)}, &objects{began: now.Add(-history)}
	shop(near)
	crowd(many)
	var times []time.Time
	for at := near.began; !at.After(now); at = at.Add(everySeconds * time.Second) {
		times = append(times, at)
	}
	require.NoError(t, near.write(ctx, url, times...))
	require.NoError(t, many.write(ctx, url, times[len(times)-3:]...))
	tell(ctx, t, url, now)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for round := 0; ; {
			select {
			case <-ctx.Done():
				return
			case at := <-time.After(everySeconds * time.Second):
				told := []*objects{near}
				if round++; round%6 == 0 {
					told = append(told, many)
				}
				for _, o := range told {
					if err := o.write(ctx, url, at); err != nil && ctx.Err() == nil {
						t.Errorf("tell of the cluster: %v", err)
						return
					}
				}
			}
		}
	}()
	t.Cleanup(func() { <-done })
}

// tell sends what the watcher would: a rollout, and a container that was killed for its memory.
func tell(ctx context.Context, t *testing.T, url string, now time.Time) {
	t.Helper()
	s, err := transport.NewEventSender(transport.SenderOptions{URL: url, UserAgent: "test"})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { require.NoError(t, <-done) })
	event := func(ago time.Duration, kind model.EventType, reason, message, node string, object model.Object, w model.Workload) model.Event {
		w.Cluster, w.Namespace, object.Namespace = "default", "shop", "shop"
		return model.Event{First: now.Add(-ago), Last: now.Add(-ago), Count: 1, Type: kind, Reason: reason, Message: message, Source: model.SourceKubernetes, Object: object, Workload: w, Node: node}
	}
	cart := model.Workload{Kind: "StatefulSet", Name: "cart"}
	require.NoError(t, s.Append(ctx, []model.Event{
		event(2*time.Minute, model.EventNormal, "RolloutStarted", "app: registry.example/cart:1.4.1 -> registry.example/cart:1.4.2", "", model.Object{Kind: "StatefulSet", Name: "cart"}, cart),
		event(time.Minute, model.EventWarning, "OOMKilled", "container app was killed for its memory", "node-a", model.Object{Kind: "Pod", Name: "cart-0", UID: "uid-shopcart-0"}, cart),
	}))
}
