package kube

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/kube/state"
	"github.com/vetch-dev/vetch/transport/names"
)

func metaOf(name string, owner *metav1.OwnerReference) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-" + name), CreationTimestamp: metav1.Unix(1_800_000_000, 0)}
	if owner != nil {
		m.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return m
}

func ref(apiVersion, kind, name string) *metav1.OwnerReference {
	yes := true
	return &metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID("uid-" + name), Controller: &yes}
}

func only(m metav1.ObjectMeta) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: m}
}

func makePod(name, node, ip string, owner *metav1.OwnerReference) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metaOf(name, owner), Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}}}
	p.Labels = map[string]string{"app": "x", "app.kubernetes.io/version": "1.2", "private": "no"}
	if ip != "" {
		p.Status = corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, StartTime: &metav1.Time{Time: time.Unix(1_800_000_100, 0)},
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Unix(1_800_000_102, 0)}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "app", ContainerID: "containerd://c-" + name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}}},
		}
	}
	return p
}

// watching runs a watcher on the mock, and subscribes to its feed for a node.
func watching(t *testing.T, f *fakeAPI, node string) (*book, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	feed := names.NewFeed(names.FeedOptions{})
	var log bytes.Buffer
	var mu sync.Mutex
	w, err := New(Options{Kubeconfig: f.kubeconfig(t), Feed: feed, Registerer: reg, Log: slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))})
	require.NoError(t, err)
	server, err := names.NewServer(names.ServerOptions{Feed: feed, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	require.NoError(t, server.Listen())
	b := &book{}
	client, err := names.NewClient(names.ClientOptions{URL: "http://" + server.Addr().String(), Node: node, Receiver: b})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{w.Run, server.Run, client.Run} {
		wg.Go(func() { assert.NoError(t, run(ctx)) })
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return b, reg
}

type locked struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

func eventually(t *testing.T, b *book, want ...string) {
	t.Helper()
	slices.Sort(want)
	require.EventuallyWithT(t, func(t *assert.CollectT) { require.Equal(t, want, b.lines()) }, time.Minute, 10*time.Millisecond)
}

func TestNamesOfACluster(t *testing.T) {
	for name, older := range map[string]bool{"list by a watch": false, "list, then watch": true} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAPI(t)
			f.noStream = older
			f.put("deployments", only(metaOf("web", nil)))
			f.put("replicasets", only(metaOf("web-5d9c", ref("apps/v1", "Deployment", "web"))))
			f.put("cronjobs", only(metaOf("tick", nil)))
			f.put("jobs", only(metaOf("tick-1", ref("batch/v1", "CronJob", "tick"))))
			f.put("pods", makePod("web-5d9c-a", "n1", "10.1.1.5", ref("apps/v1", "ReplicaSet", "web-5d9c")))
			f.put("pods", makePod("tick-1-x", "n2", "10.1.2.5", ref("batch/v1", "Job", "tick-1")))
			f.put("pods", makePod("alone", "n2", "10.1.2.6", nil))
			f.put("pods", makePod("nowhere", "", "", nil))
			mirror := makePod("api-n1", "n1", "172.16.0.1", ref("v1", "Node", "n1"))
			mirror.Annotations, mirror.Spec.HostNetwork = map[string]string{mirrorOf: "0123456789abcdef0123456789abcdef"}, true
			f.put("pods", mirror)
			f.put("nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "uid-n1"}, Spec: corev1.NodeSpec{PodCIDRs: []string{"10.1.1.0/24"}},
				Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "172.16.0.1"}, {Type: corev1.NodeHostName, Address: "n1"}}}})
			f.put("services", &corev1.Service{ObjectMeta: metaOf("front", nil), Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.10", "fd00::10"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80, NodePort: 30080}}}})
			f.put("services", &corev1.Service{ObjectMeta: metaOf("headless", nil), Spec: corev1.ServiceSpec{ClusterIP: "None"}})
			eight, portName := int32(8080), "http"
			f.put("endpointslices", &discoveryv1.EndpointSlice{ObjectMeta: withService(metaOf("front-1", nil), "front"), Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &eight}},
				Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.1.1.5"}, TargetRef: &corev1.ObjectReference{Kind: "Pod", UID: "uid-web-5d9c-a"}}}})
			b, reg := watching(t, f, "n1")
			eventually(t, b, "shop/Deployment/web 10.1.1.5", "shop/CronJob/tick 10.1.2.5", "shop/Pod/alone 10.1.2.6", "shop/Pod/api-n1 172.16.0.1", "/Node/n1 172.16.0.1",
				"shop/Service/front 10.96.0.10 fd00::10 -> Deployment/web")
			own := b.find(func(n *names.Name) bool { return n.Pod.GetName() == "web-5d9c-a" })[0]
			require.Equal(t, []string{"uid-web-5d9c-a", "c-web-5d9c-a", "app", "n1"}, []string{own.Pod.Uid, own.Pod.Containers[0].Id, own.Pod.Containers[0].Name, own.Node})
			require.Equal(t, map[string]string{"app": "x", "app.kubernetes.io/version": "1.2"}, own.Pod.Labels)
			require.EqualValues(t, 1_800_000_102_000, own.From, "when its network was there")
			static := b.find(func(n *names.Name) bool { return n.Pod.GetName() == "api-n1" })[0]
			require.Equal(t, "0123456789abcdef0123456789abcdef", static.Pod.Uid, "as in the path of its cgroup")
			require.EqualValues(t, 8080, static.Ports[0].Number)
			port := b.find(func(n *names.Name) bool { return n.Role == names.Role_ROLE_SERVICE })[0].Ports[0]
			require.Equal(t, []uint32{80, 30080, 8080, 6}, []uint32{port.Number, port.NodePort, port.Target, port.Protocol})

			f.put("pods", makePod("tick-1-x", "n2", "10.1.2.7", ref("batch/v1", "Job", "tick-1")))
			f.delete("pods", "uid-alone")
			f.delete("endpointslices", "uid-front-1")
			f.delete("nodes", "uid-n1")
			eventually(t, b, "shop/Deployment/web 10.1.1.5", "shop/CronJob/tick 10.1.2.7", "shop/Pod/alone 10.1.2.6 ended", "shop/Pod/api-n1 172.16.0.1", "shop/Service/front 10.96.0.10 fd00::10")

			f.mu.Lock()
			f.objects["pods"]["uid-web-5d9c-a"] = nil
			delete(f.objects["pods"], "uid-web-5d9c-a") // and nobody is told
			f.mu.Unlock()
			f.drop("pods")
			eventually(t, b, "shop/Deployment/web 10.1.1.5 ended", "shop/CronJob/tick 10.1.2.7", "shop/Pod/alone 10.1.2.6 ended", "shop/Pod/api-n1 172.16.0.1", "shop/Service/front 10.96.0.10 fd00::10")
			require.Equal(t, older, f.listed() > 0)
			families, err := reg.Gather()
			require.NoError(t, err)
			require.True(t, slices.ContainsFunc(families, func(f *familyT) bool { return f.GetName() == "vetch_kube_objects" }))
		})
	}
}

func (f *fakeAPI) listed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lists
}

func withService(m metav1.ObjectMeta, service string) metav1.ObjectMeta {
	m.Labels = map[string]string{discoveryv1.LabelServiceName: service}
	return m
}

func TestOwnersOfAnyKind(t *testing.T) {
	f := newFakeAPI(t)
	f.put("rollouts", only(metaOf("checkout", ref("argoproj.io/v1alpha1", "Fleet", "all"))))
	f.put("fleets", only(metaOf("all", nil)))
	f.put("replicasets", only(metaOf("checkout-1", ref("argoproj.io/v1alpha1", "Rollout", "checkout"))))
	for i, node := range []string{"n1", "n2", "n3"} {
		f.put("pods", makePod("checkout-1-"+node, node, "10.1.1."+string(rune('1'+i)), ref("apps/v1", "ReplicaSet", "checkout-1")))
	}
	f.put("pods", makePod("clone-0", "n1", "10.1.1.9", ref("apps.kruise.io/v1alpha1", "CloneSet", "clone"))) // the API does not know the kind any more
	b, _ := watching(t, f, "")
	eventually(t, b, "shop/Fleet/all 10.1.1.1", "shop/Fleet/all 10.1.1.2", "shop/Fleet/all 10.1.1.3", "shop/CloneSet/clone 10.1.1.9")
	f.mu.Lock()
	asked := strings.Join(f.asked, " ")
	f.mu.Unlock()
	require.Equal(t, 1, strings.Count(asked, "namespaces/shop/rollouts/checkout"), asked)
	require.Equal(t, 1, strings.Count(asked, "/v1alpha1/fleets/all"), asked)

	// A pod that is told of before its owner waits for it.
	f.put("pods", makePod("late-1-x", "n1", "10.1.1.20", ref("apps/v1", "ReplicaSet", "late-1")))
	f.put("replicasets", only(metaOf("late-1", ref("apps/v1", "Deployment", "late"))))
	f.put("deployments", only(metaOf("late", nil)))
	// One whose owner never comes is named by what it says itself.
	f.put("pods", makePod("orphan-1-x", "n1", "10.1.1.21", ref("apps/v1", "ReplicaSet", "orphan-1")))
	eventually(t, b, "shop/Fleet/all 10.1.1.1", "shop/Fleet/all 10.1.1.2", "shop/Fleet/all 10.1.1.3", "shop/CloneSet/clone 10.1.1.9",
		"shop/Deployment/late 10.1.1.20", "shop/ReplicaSet/orphan-1 10.1.1.21")
}

func TestWhatMayNotBeListedIsLeftOut(t *testing.T) {
	f := newFakeAPI(t)
	f.refuse["cronjobs"], f.refuse["nodes"] = true, true
	f.put("jobs", only(metaOf("tick-1", ref("batch/v1", "CronJob", "tick"))))
	f.put("pods", makePod("tick-1-x", "n2", "10.1.2.5", ref("batch/v1", "Job", "tick-1")))
	b, _ := watching(t, f, "")
	eventually(t, b, "shop/CronJob/tick 10.1.2.5")
}

func TestOptionsThatCannotWork(t *testing.T) {
	_, err := New(Options{})
	require.Error(t, err)
	_, err = New(Options{Feed: names.NewFeed(names.FeedOptions{}), Lease: "a/b/c"})
	require.ErrorContains(t, err, "namespace/name")
	_, err = New(Options{Feed: names.NewFeed(names.FeedOptions{}), State: &state.Options{Annotations: map[string][]string{"podz": {"a"}}}})
	require.ErrorContains(t, err, `"podz"`)
	_, err = New(Options{Feed: names.NewFeed(names.FeedOptions{}), Kubeconfig: "/nonexistent"})
	require.ErrorContains(t, err, "/nonexistent")
}
