package inventory

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/query/metricquery"
	"github.com/vetch-dev/vetch/servicemap"
	"github.com/vetch-dev/vetch/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stored is a store of which nothing is asked but samples.
type stored struct {
	store.Metrics
	samples storage.Queryable
}

func (s stored) Querier(from, to int64) (storage.Querier, error) { return s.samples.Querier(from, to) }

// over makes an inventory of a store, at a time of its clock, in the cluster "west".
func over(t testing.TB, db storage.Queryable, now int64) *Inventory {
	t.Helper()
	engine, err := metricquery.New(metricquery.Options{DB: stored{samples: db}})
	require.NoError(t, err)
	s, err := servicemap.New(servicemap.Options{Engine: engine, Cluster: "west", Now: func() time.Time { return time.Unix(now, 0) }})
	require.NoError(t, err)
	i, err := New(s)
	require.NoError(t, err)
	return i
}

// shopNow is the clock of the shop, which began at 0.
const shopNow = 3600

// shop is a cluster "west" with one pod in each state, as a watcher and agents tell of it, and one pod of the same name as another in "east".
const shop = `load 15s
	kube_pod_info{cluster="west",namespace="shop",pod="cart-1",uid="u1",node="n1",pod_ip="10.0.0.1",host_ip="1.1.1.1",host_network="false",created_by_kind="ReplicaSet",created_by_name="cart-5d"} 1x240
	kube_pod_info{cluster="east",namespace="shop",pod="cart-1",uid="e1",node="n1",pod_ip="10.9.0.1"} 1x240
	kube_pod_status_phase{cluster="east",namespace="shop",pod="cart-1",uid="e1",phase="Running"} 1x240
	vetch_pod_info{cluster="east",namespace="shop",pod="cart-1",uid="e1",node="n1",workload_kind="Rollout",workload="cart"} 1x240
	kube_pod_info{cluster="west",namespace="shop",pod="crash-1",uid="u2",node="n1",pod_ip="10.0.0.2"} 1x240
	kube_pod_info{cluster="west",namespace="shop",pod="waits-1",uid="u3",node=""} 1x240
	kube_pod_info{cluster="west",namespace="jobs",pod="done-1",uid="u4",node="n2"} 1x240
	kube_pod_info{cluster="west",namespace="jobs",pod="lost-1",uid="u5",node="n2"} 1x240
	kube_pod_info{cluster="west",namespace="jobs",pod="gone-1",uid="u6",node="n2"} 1x100 stale
	kube_pod_status_phase{cluster="west",namespace="shop",pod="cart-1",uid="u1",phase="Running"} 1x240
	kube_pod_status_phase{cluster="west",namespace="shop",pod="cart-1",uid="u1",phase="Pending"} 0x240
	kube_pod_status_phase{cluster="west",namespace="shop",pod="crash-1",uid="u2",phase="Running"} 1x240
	kube_pod_status_phase{cluster="west",namespace="shop",pod="waits-1",uid="u3",phase="Pending"} 1x240
	kube_pod_status_phase{cluster="west",namespace="jobs",pod="done-1",uid="u4",phase="Succeeded"} 1x240
	kube_pod_status_phase{cluster="west",namespace="jobs",pod="lost-1",uid="u5",phase="Failed"} 1x240
	kube_pod_status_phase{cluster="west",namespace="jobs",pod="gone-1",uid="u6",phase="Running"} 1x100 stale
	kube_pod_status_reason{cluster="west",namespace="jobs",pod="lost-1",uid="u5",reason="Evicted"} 1x240
	kube_pod_status_unschedulable{cluster="west",namespace="shop",pod="waits-1",uid="u3"} 1x240
	kube_pod_created{cluster="west",namespace="shop",pod="waits-1",uid="u3"} 1800x240
	kube_pod_created{cluster="west",namespace="shop",pod="crash-1",uid="u2"} 600x240
	kube_pod_created{cluster="west",namespace="shop",pod="cart-1",uid="u1"} 600x240
	kube_pod_status_ready{cluster="west",namespace="shop",pod="cart-1",uid="u1",condition="true"} 1x240
	kube_pod_status_ready{cluster="west",namespace="shop",pod="crash-1",uid="u2",condition="true"} 0x240
	kube_pod_owner{cluster="west",namespace="shop",pod="cart-1",uid="u1",owner_kind="ReplicaSet",owner_name="cart-5d",owner_is_controller="true"} 1x240
	kube_replicaset_owner{cluster="west",namespace="shop",replicaset="cart-5d",owner_kind="Deployment",owner_name="cart",owner_is_controller="true"} 1x240
	vetch_pod_info{cluster="west",namespace="shop",pod="crash-1",uid="u2",node="n1",workload_kind="StatefulSet",workload="crash"} 1x240
	kube_pod_owner{cluster="west",namespace="jobs",pod="done-1",uid="u4",owner_kind="Job",owner_name="nightly-1",owner_is_controller="true"} 1x240
	kube_job_owner{cluster="west",namespace="jobs",job_name="nightly-1",owner_kind="CronJob",owner_name="nightly",owner_is_controller="true"} 1x240
	kube_pod_container_status_ready{cluster="west",namespace="shop",pod="cart-1",uid="u1",container="app"} 1x240
	kube_pod_container_status_ready{cluster="west",namespace="shop",pod="cart-1",uid="u1",container="proxy"} 1x240
	kube_pod_container_status_running{cluster="west",namespace="shop",pod="cart-1",uid="u1",container="app"} 1x240
	kube_pod_container_status_ready{cluster="west",namespace="shop",pod="crash-1",uid="u2",container="app"} 0x240
	kube_pod_container_status_waiting_reason{cluster="west",namespace="shop",pod="crash-1",uid="u2",container="app",reason="CrashLoopBackOff"} 1x240
	kube_pod_container_status_last_terminated_reason{cluster="west",namespace="shop",pod="crash-1",uid="u2",container="app",reason="OOMKilled"} 1x240
	kube_pod_container_status_last_terminated_exitcode{cluster="west",namespace="shop",pod="crash-1",uid="u2",container="app"} 137x240
	kube_pod_container_status_restarts_total{cluster="west",namespace="shop",pod="crash-1",uid="u2",container="app"} 2x200 5x40
	kube_pod_container_status_restarts_total{cluster="west",namespace="shop",pod="cart-1",uid="u1",container="app"} 4x240
	kube_pod_container_info{cluster="west",namespace="shop",pod="cart-1",uid="u1",container="app",image="cart:1",image_spec="shop/cart:1"} 1x240
	kube_pod_container_resource_requests{cluster="west",namespace="shop",pod="cart-1",uid="u1",container="app",node="n1",resource="cpu",unit="core"} 0.5x240
	kube_pod_container_resource_requests{cluster="west",namespace="shop",pod="cart-1",uid="u1",container="proxy",node="n1",resource="cpu",unit="core"} 0.25x240
	kube_pod_container_resource_requests{cluster="west",namespace="jobs",pod="done-1",uid="u4",container="app",node="n2",resource="cpu",unit="core"} 4x240
	kube_pod_container_resource_limits{cluster="west",namespace="shop",pod="cart-1",uid="u1",container="app",node="n1",resource="cpu",unit="core"} 1x240
	kube_pod_container_resource_limits{cluster="west",namespace="shop",pod="cart-1",uid="u1",container="app",node="n1",resource="memory",unit="byte"} 100x240
	kube_pod_container_resource_limits{cluster="west",namespace="shop",pod="cart-1",uid="u1",container="proxy",node="n1",resource="memory",unit="byte"} 100x240
	vetch_pod_cpu_seconds_total{cluster="west",node="n1",namespace="shop",pod="cart-1",kind="Deployment",workload="cart",mode="user"} 0+6x240
	vetch_pod_cpu_seconds_total{cluster="west",node="n1",namespace="shop",pod="cart-1",kind="Deployment",workload="cart",mode="system"} 0+1.5x240
	vetch_pod_memory_working_set_bytes{cluster="west",node="n1",namespace="shop",pod="cart-1",kind="Deployment",workload="cart"} 190x240
	vetch_pod_memory_working_set_bytes{cluster="north",node="n3",namespace="plain",pod="agent-only",kind="DaemonSet",workload="logs"} 5x240
	vetch_pod_memory_working_set_bytes{cluster="west",node="n2",namespace="jobs",pod="gone-2",kind="Job",workload="gone"} 5x240
	container_resources_cpu_usage_seconds_total{cluster="west",node="n1",container_id="/k8s/shop/cart-1/app"} 0+6x240
	container_resources_cpu_usage_seconds_total{cluster="west",node="n1",container_id="/k8s/shop/cart-10/app"} 0+60x240
	container_resources_cpu_throttled_seconds_total{cluster="west",node="n1",container_id="/k8s/shop/cart-1/app"} 0+1.5x240
	container_resources_memory_working_set_bytes{cluster="west",node="n1",container_id="/k8s/shop/cart-1/app"} 120x240
	kube_node_info{cluster="west",node="n1",kernel_version="6.1",os_image="Debian",container_runtime_version="containerd://2",kubelet_version="v1.36.0",internal_ip="fd00::1"} 1x240
	kube_node_status_addresses{cluster="west",node="n1",type="InternalIP",address="1.1.1.1"} 1x240
	kube_node_status_addresses{cluster="west",node="n1",type="InternalIP",address="fd00::1"} 1x240
	kube_node_status_addresses{cluster="west",node="n1",type="ExternalIP",address="8.8.8.8"} 1x240
	kube_node_info{cluster="west",node="n2",kubelet_version="v1.36.0",internal_ip="1.1.1.2"} 1x240
	kube_node_role{cluster="west",node="n1",role="control-plane"} 1x240
	kube_node_spec_unschedulable{cluster="west",node="n1"} 1x240
	kube_node_status_condition{cluster="west",node="n1",condition="Ready",status="true"} 1x240
	kube_node_status_condition{cluster="west",node="n1",condition="DiskPressure",status="true"} 1x240
	kube_node_status_condition{cluster="west",node="n2",condition="Ready",status="unknown"} 1x240
	kube_node_status_capacity{cluster="west",node="n1",resource="cpu",unit="core"} 4x240
	kube_node_status_capacity{cluster="west",node="n1",resource="memory",unit="byte"} 1000x240
	kube_node_status_allocatable{cluster="west",node="n1",resource="cpu",unit="core"} 3.5x240
	kube_node_status_allocatable{cluster="west",node="n1",resource="pods",unit="integer"} 110x240
	node_resources_cpu_usage_seconds_total{cluster="west",node="n1",mode="user"} 0+15x240
	node_resources_cpu_usage_seconds_total{cluster="west",node="n1",mode="idle"} 0+45x240
	node_resources_cpu_logical_cores{cluster="west",node="n1"} 4x240
	node_resources_memory_total_bytes{cluster="west",node="n1"} 990x240
	node_resources_memory_available_bytes{cluster="west",node="n1"} 590x240
	node_filesystem_size_bytes{cluster="west",node="n1",mountpoint="/"} 100x240
	node_filesystem_free_bytes{cluster="west",node="n1",mountpoint="/"} 40x240
	node_filesystem_avail_bytes{cluster="west",node="n1",mountpoint="/"} 20x240
	node_filesystem_readonly{cluster="west",node="n1",mountpoint="/"} 0x240
	node_filesystem_files{cluster="west",node="n1",mountpoint="/"} 10x240
	node_filesystem_files_free{cluster="west",node="n1",mountpoint="/"} 5x240
	node_filesystem_size_bytes{cluster="west",node="n1",mountpoint="/media"} 100x240
	node_filesystem_free_bytes{cluster="west",node="n1",mountpoint="/media"} 0x240
	node_filesystem_avail_bytes{cluster="west",node="n1",mountpoint="/media"} 0x240
	node_filesystem_readonly{cluster="west",node="n1",mountpoint="/media"} 1x240
	node_resources_disk_io_time_seconds_total{cluster="west",node="n1",device="sda"} 0+3x240
	node_resources_disk_io_time_seconds_total{cluster="west",node="n1",device="sdb"} 0+6x240
	node_resources_cpu_usage_seconds_total{cluster="west",node="laptop",mode="user"} 0+15x240
	node_resources_cpu_logical_cores{cluster="west",node="laptop"} 1x240
	kube_namespace_status_phase{cluster="west",namespace="empty",phase="Terminating"} 1x240
	kube_namespace_status_phase{cluster="west",namespace="empty",phase="Active"} 0x240
	vetch_workload_requests_total{cluster="west",namespace="shop",kind="Deployment",workload="cart",protocol="http",method="GET",route="/",code="200"} 0+75x240
	vetch_workload_requests_total{cluster="west",namespace="shop",kind="Deployment",workload="web",protocol="http",method="GET",route="/",code="500"} 0+75x240
`

func shopOf(t testing.TB) *Inventory {
	t.Helper()
	return over(t, promqltest.LoadedStorage(t, shop), shopNow)
}

func say(p Pod) string {
	return strings.Join([]string{p.ID, string(p.Health), p.Status, p.Workload, strings.Join(p.Reasons, "; ")}, " | ")
}

func TestPodsAreSortedByTrouble(t *testing.T) {
	l, err := shopOf(t).Pods(t.Context(), servicemap.Query{}, PodFilter{})
	require.NoError(t, err)
	require.True(t, l.Known)
	require.Equal(t, 7, l.Total)
	var got []string
	for _, p := range l.Pods {
		got = append(got, say(p))
	}
	require.Equal(t, []string{
		"shop/crash-1 | critical | CrashLoopBackOff | shop/StatefulSet/crash | container app waits: CrashLoopBackOff; it was started again 3 times, last after OOMKilled",
		"shop/waits-1 | critical | Unschedulable | shop/Pod/waits-1 | no node is found for it since 30 min",
		"shop/cart-1 | warning | Running | shop/Deployment/cart | its memory is at 95 % of its limit",
		"jobs/lost-1 | warning | Evicted | jobs/Pod/lost-1 | it failed: Evicted",
		"east:shop/cart-1 | ok | Running | east:shop/Rollout/cart | ",
		"north:plain/agent-only | ok |  | north:plain/DaemonSet/logs | ",
		"jobs/done-1 | idle | Succeeded | jobs/CronJob/nightly | ",
	}, got)
	cart := l.Pods[2]
	require.Equal(t, []any{"n1", "n1", "10.0.0.1", 2, 2, 4.0, 0.0}, []any{cart.Node, cart.NodeID, cart.IP, cart.Containers, cart.Ready, cart.Restarts, cart.Restarted})
	require.InDelta(t, 0.5, *cart.CPU.Used, 1e-6)
	require.InDelta(t, 0.75, *cart.CPU.Requests, 0)
	require.Nil(t, cart.CPU.Limits, "one of the containers has none")
	require.InDelta(t, 200, *cart.Memory.Limits, 0)
	require.Equal(t, time.Unix(600, 0).UTC(), *cart.Created)
	require.Equal(t, []string{"west", "east"}, []string{cart.Cluster, l.Pods[4].Cluster})
	require.Equal(t, "east:n1", l.Pods[4].NodeID)
}

func TestPodsAreChosen(t *testing.T) {
	i := shopOf(t)
	for _, test := range []struct {
		filter PodFilter
		want   []string
	}{
		{PodFilter{Namespace: "shop"}, []string{"shop/crash-1", "shop/waits-1", "shop/cart-1", "east:shop/cart-1"}},
		{PodFilter{Namespace: "shop", Cluster: "east"}, []string{"east:shop/cart-1"}},
		{PodFilter{Node: "n1"}, []string{"shop/crash-1", "shop/cart-1"}},
		{PodFilter{Node: "east:n1"}, []string{"east:shop/cart-1"}},
		{PodFilter{Workload: "west:shop/Deployment/cart"}, []string{"shop/cart-1"}},
		{PodFilter{Workload: "east:shop/Rollout/cart"}, []string{"east:shop/cart-1"}},
		{PodFilter{Workload: "shop/Deployment/none"}, []string{}},
	} {
		l, err := i.Pods(t.Context(), servicemap.Query{}, test.filter)
		require.NoError(t, err)
		ids := []string{}
		for _, p := range l.Pods {
			ids = append(ids, p.ID)
		}
		require.Equal(t, test.want, ids, "%+v", test.filter)
	}
	l, err := i.Pods(t.Context(), servicemap.Query{}, PodFilter{Limit: 2})
	require.NoError(t, err)
	require.Equal(t, []int{7, 2}, []int{l.Total, len(l.Pods)})
	for _, bad := range []PodFilter{{Limit: -1}, {Limit: MaxPods + 1}, {Workload: "cart"}, {Node: "east:"}} {
		_, err := i.Pods(t.Context(), servicemap.Query{}, bad)
		require.ErrorIs(t, err, servicemap.ErrBadQuery, "%+v", bad)
	}
}

func TestPod(t *testing.T) {
	i := shopOf(t)
	d, err := i.Pod(t.Context(), "shop/cart-1", servicemap.Query{})
	require.NoError(t, err)
	require.False(t, d.Gone)
	require.Equal(t, "shop/Deployment/cart", d.Pod.Workload)
	require.Len(t, d.Containers, 2)
	app := d.Containers[0]
	require.Equal(t, []any{"app", "shop/cart:1", "running", true, 4.0}, []any{app.Name, app.Image, app.State, app.Ready, app.Restarts})
	require.InDelta(t, 0.4, *app.CPU.Used, 1e-6, "cart-10 is another pod")
	require.InDelta(t, 120, *app.Memory.Used, 0)
	last := len(d.Charts["cpuUsed"].Values) - 1
	require.InDelta(t, 0.5, *d.Charts["cpuUsed"].Values[last], 1e-3)
	require.InDelta(t, 0.75, *d.Charts["cpuRequests"].Values[last], 0)
	require.InDelta(t, 200, *d.Charts["memoryLimits"].Values[last], 0)
	require.InDelta(t, 190, *d.Charts["memoryUsed"].Values[last], 0)

	ends := map[string]float64{}
	for line, s := range app.Charts {
		ends[line] = *s.Values[len(s.Values)-1]
	}
	require.InDeltaMapValues(t, map[string]float64{
		"cpuUsed": 0.4, "cpuThrottled": 0.1, "cpuRequests": 0.5, "cpuLimits": 1, "memoryUsed": 120, "memoryLimits": 100, "restarts": 4,
	}, ends, 1e-3)
	require.NotContains(t, d.Containers[1].Charts, "cpuUsed", "nothing was measured of it")
	require.InDelta(t, 4, *d.Charts["restarts"].Values[last], 0)

	d, err = i.Pod(t.Context(), "shop/crash-1", servicemap.Query{})
	require.NoError(t, err)
	require.InDelta(t, 137, *d.Containers[0].LastCode, 0)
	require.Equal(t, []string{"waiting", "CrashLoopBackOff", "OOMKilled"}, []string{d.Containers[0].State, d.Containers[0].Reason, d.Containers[0].LastEnd})

	d, err = i.Pod(t.Context(), "jobs/gone-1", servicemap.Query{Range: time.Hour})
	require.NoError(t, err)
	require.True(t, d.Gone)
	require.Equal(t, "n2", d.Pod.Node)
	_, err = i.Pod(t.Context(), "jobs/gone-1", servicemap.Query{})
	require.ErrorIs(t, err, servicemap.ErrNotFound, "it was gone before the range")
	for _, bad := range []string{"", "cart-1", "/cart-1", "shop/", strings.Repeat("a", 3000), "shop/\xff"} {
		_, err := i.Pod(t.Context(), bad, servicemap.Query{})
		require.ErrorIs(t, err, servicemap.ErrBadQuery, bad)
	}
}

func TestNodes(t *testing.T) {
	i := shopOf(t)
	l, err := i.Nodes(t.Context(), servicemap.Query{})
	require.NoError(t, err)
	var got []string
	for _, n := range l.Nodes {
		got = append(got, n.ID+" | "+string(n.Health)+" | "+strings.Join(n.Reasons, "; "))
	}
	require.Equal(t, []string{
		"n2 | critical | the cluster does not hear from it", "laptop | warning | its processors are 100 % busy", "n1 | warning | it reports DiskPressure",
	}, got)
	require.Equal(t, []string{"1.1.1.2"}, l.Nodes[0].IPs, "a kube-state-metrics that tells of no others")
	n1 := l.Nodes[2]
	require.Equal(t, []any{true, true, true, []string{"control-plane"}, "v1.36.0", "6.1", []string{"1.1.1.1", "fd00::1"}, 2}, []any{n1.Kubernetes, n1.Watched, n1.Unschedulable, n1.Roles, n1.Version, n1.Kernel, n1.IPs, n1.Pods})
	require.InDelta(t, 1, *n1.CPU.Used, 1e-6)
	require.InDelta(t, 4, *n1.CPU.Capacity, 0)
	require.InDelta(t, 3.5, *n1.CPU.Allocatable, 0)
	require.InDelta(t, 0.75, *n1.CPU.Requests, 0)
	require.InDelta(t, 1000, *n1.Memory.Capacity, 0, "what Kubernetes says goes first")
	require.InDelta(t, 400, *n1.Memory.Used, 0)
	require.InDelta(t, 0.4, *n1.DiskBusy, 1e-6, "the busiest disk")
	require.InDelta(t, 0.75, *n1.DiskUsed, 1e-6, "of bytes, which are shorter than inodes; what is read only does not fill")
	require.Nil(t, l.Nodes[0].CPU.Requests, "what has ended holds nothing")
	require.Equal(t, []bool{false, true}, []bool{l.Nodes[1].Kubernetes, l.Nodes[1].Watched})

	d, err := i.Node(t.Context(), "west:n1", servicemap.Query{})
	require.NoError(t, err)
	require.Equal(t, n1, d.Node)
	last := len(d.Charts["cpuUsed"].Values) - 1
	require.InDelta(t, 1, *d.Charts["cpuUsed"].Values[last], 1e-3)
	require.InDelta(t, 0.75, *d.Charts["cpuRequests"].Values[last], 0)
	require.InDelta(t, 4, *d.Charts["cpuCapacity"].Values[last], 0)
	require.InDelta(t, 400, *d.Charts["memoryUsed"].Values[last], 0)
	d, err = i.Node(t.Context(), "n2", servicemap.Query{})
	require.NoError(t, err)
	require.NotContains(t, d.Charts, "cpuRequests")
	_, err = i.Node(t.Context(), "east:n2", servicemap.Query{})
	require.ErrorIs(t, err, servicemap.ErrNotFound)
}

func TestNamespaces(t *testing.T) {
	i := shopOf(t)
	l, err := i.Namespaces(t.Context(), servicemap.Query{})
	require.NoError(t, err)
	var got []string
	for _, n := range l.Namespaces {
		got = append(got, n.ID+" | "+string(n.Health)+" | "+strings.Join(n.Reasons, "; "))
	}
	require.Equal(t, []string{
		"shop | critical | critical: web; 1 pod: CrashLoopBackOff; 1 pod: Unschedulable; 1 pod: warning", "jobs | warning | 1 pod: Evicted",
		"east:shop | ok | ", "north:plain | ok | ", "empty | idle | ",
	}, got)
	shop := l.Namespaces[0]
	require.Equal(t, []any{2, 3, 3, 3.0}, []any{shop.Workloads, shop.Pods, shop.Troubled, shop.Restarted})
	require.InDelta(t, 10, *shop.Rate, 1e-6)
	require.InDelta(t, 0.5, *shop.ErrorShare, 1e-6)
	require.InDelta(t, 0.75, *shop.CPU.Requests, 0)
	require.Equal(t, "Terminating", l.Namespaces[4].Phase)

	d, err := i.Namespace(t.Context(), "shop", servicemap.Query{})
	require.NoError(t, err)
	require.InDelta(t, 190, *d.Charts["memoryUsed"].Values[len(d.Charts["memoryUsed"].Values)-1], 0)
	_, err = i.Namespace(t.Context(), "north:shop", servicemap.Query{})
	require.ErrorIs(t, err, servicemap.ErrNotFound)
}

// Without object state there are nodes and pods all the same, as far as agents tell of them; without anything there is nothing, and no error.
func TestWithoutAWatcher(t *testing.T) {
	i := over(t, promqltest.LoadedStorage(t, "load 15s\n up 1x240"), shopNow)
	pods, err := i.Pods(t.Context(), servicemap.Query{}, PodFilter{})
	require.NoError(t, err)
	require.False(t, pods.Known)
	data, err := pods.JSON()
	require.NoError(t, err)
	require.Contains(t, string(data), `"pods":[]`)
	nodes, err := i.Nodes(t.Context(), servicemap.Query{})
	require.NoError(t, err)
	require.Empty(t, nodes.Nodes)
	spaces, err := i.Namespaces(t.Context(), servicemap.Query{})
	require.NoError(t, err)
	require.Empty(t, spaces.Namespaces)
}
