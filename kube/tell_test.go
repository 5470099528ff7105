package kube

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/names"
)

// heard is what was told, by ID the highest count, as a store keeps it.
type heard struct {
	mu     sync.Mutex
	events map[string]model.Event
	sent   int
}

func (h *heard) take(_ context.Context, list []model.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.events == nil {
		h.events = map[string]model.Event{}
	}
	for _, e := range list {
		h.sent++
		if e.Count > h.events[e.ID].Count {
			h.events[e.ID] = e
		}
	}
	return nil
}

func (h *heard) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent
}

// lines tells all of it in words.
func (h *heard) lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, e := range h.events {
		out = append(out, fmt.Sprintf("%s %s %dx %s @%s: %s", e.Type, e.Reason, e.Count, e.Workload.ID(), e.Node, e.Message))
	}
	slices.Sort(out)
	return out
}

func (h *heard) find(reason string) (out []model.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.Reason == reason {
			out = append(out, e)
		}
	}
	return out
}

func (h *heard) wait(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	require.EventuallyWithT(t, func(t *assert.CollectT) { require.Equal(t, want, h.lines()) }, time.Minute, 10*time.Millisecond)
}

// following runs a watcher that tells events, until stop is called or the test ends.
func following(t *testing.T, f *fakeAPI, h *heard) (reg *prometheus.Registry, stop func()) {
	t.Helper()
	reg = prometheus.NewRegistry()
	w, err := New(Options{Kubeconfig: f.kubeconfig(t), Feed: names.NewFeed(names.FeedOptions{}), Registerer: reg, Events: h.take})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	before := f.watching()
	go func() { done <- w.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			assert.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	// What is put between a list and its watch is lost in the mock, which has no history.
	for _, k := range kinds(nil, true) {
		f.waitForWatch(t, k.resource.Resource, before[k.resource.Resource])
	}
	return reg, stop
}

// watching is how many watches there have been, by resource.
func (f *fakeAPI) watching() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := map[string]int{}
	for resource, list := range f.watchers {
		n[resource] = len(list)
	}
	return n
}

func (f *fakeAPI) waitForWatch(t *testing.T, resource string, before int) {
	t.Helper()
	require.Eventually(t, func() bool { return f.watching()[resource] > before }, time.Minute, time.Millisecond, resource)
}

func ago(d time.Duration) metav1.Time { return metav1.NewTime(time.Now().Add(-d)) }

func makeEvent(name string, count int32, about corev1.ObjectReference, reason, message string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta: metaOf(name, nil), InvolvedObject: about, Type: corev1.EventTypeWarning, Reason: reason, Message: message, Count: count,
		FirstTimestamp: ago(10 * time.Minute), LastTimestamp: ago(time.Minute), Source: corev1.EventSource{Component: "kubelet", Host: "n1"},
	}
}

func aboutPod(name string) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: name, UID: types.UID("uid-" + name), FieldPath: "spec.containers{app}"}
}

func TestEventsOfACluster(t *testing.T) {
	for name, older := range map[string]bool{"list by a watch": false, "list, then watch": true} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAPI(t)
			f.noStream = older
			f.put("deployments", rolled("web", 1, "shop:1"))
			f.put("replicasets", only(metaOf("web-5d9c", ref("apps/v1", "Deployment", "web"))))
			f.put("pods", makePod("web-5d9c-a", "n1", "10.1.1.5", ref("apps/v1", "ReplicaSet", "web-5d9c")))
			unhealthy := makeEvent("e1", 3, aboutPod("web-5d9c-a"), "Unhealthy", "Readiness probe failed")
			f.put("events", unhealthy)
			scaled := makeEvent("e2", 1, corev1.ObjectReference{Kind: "Deployment", Namespace: "shop", Name: "web", UID: "uid-web"}, "ScalingReplicaSet", "Scaled up")
			scaled.Type, scaled.Source.Host = corev1.EventTypeNormal, ""
			f.put("events", scaled)
			f.put("events", makeEvent("e3", 1, corev1.ObjectReference{Kind: "Node", Name: "n1", UID: "n1"}, "Rebooted", "Node n1 has been rebooted"))
			f.put("events", makeEvent("e4", 1, corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: "shop", Name: "disk", UID: "uid-disk"}, "ProvisioningFailed", "no class"))
			series := makeEvent("e5", 0, aboutPod("gone-x"), "Failed", strings.Repeat("x", 2000))
			series.LastTimestamp, series.FirstTimestamp = metav1.Time{}, metav1.Time{}
			series.EventTime = metav1.NewMicroTime(time.Now().Add(-time.Hour))
			series.Series = &corev1.EventSeries{Count: 7, LastObservedTime: metav1.NewMicroTime(time.Now())}
			f.put("events", series)
			h := &heard{}
			reg, stop := following(t, f, h)
			others := []string{
				"Normal ScalingReplicaSet 1x shop/Deployment/web @: Scaled up", "Warning Rebooted 1x /Node/n1 @n1: Node n1 has been rebooted",
				"Warning ProvisioningFailed 1x // @n1: no class", "Warning Failed 7x shop/Pod/gone-x @n1: " + strings.Repeat("x", 1024),
			}
			h.wait(t, append(others, "Warning Unhealthy 3x shop/Deployment/web @n1: Readiness probe failed")...)
			e := h.find("Unhealthy")[0]
			require.Equal(t, map[string]string{"component": "kubelet", "container": "app"}, e.Fields)
			require.Equal(t, model.Object{Namespace: "shop", Kind: "Pod", Name: "web-5d9c-a", UID: "uid-web-5d9c-a"}, e.Object)
			require.Equal(t, model.SourceKubernetes, e.Source)
			require.WithinDuration(t, unhealthy.FirstTimestamp.Time, e.First, time.Second)
			require.WithinDuration(t, unhealthy.LastTimestamp.Time, e.Last, time.Second)
			require.WithinDuration(t, time.Now().Add(-time.Hour), h.find("Failed")[0].First, time.Minute)

			unhealthy.Count = 5
			f.put("events", unhealthy)
			h.wait(t, append(others, "Warning Unhealthy 5x shop/Deployment/web @n1: Readiness probe failed")...)
			f.drop("events") // all of it is listed again
			f.waitForWatch(t, "events", 0)
			f.put("pods", makePod("web-5d9c-b", "n2", "10.1.1.6", ref("apps/v1", "ReplicaSet", "web-5d9c")))
			f.put("events", makeEvent("e6", 1, aboutPod("web-5d9c-b"), "Unhealthy", "Liveness probe failed"))
			all := append(others, "Warning Unhealthy 5x shop/Deployment/web @n1: Readiness probe failed", "Warning Unhealthy 1x shop/Deployment/web @n1: Liveness probe failed")
			h.wait(t, all...)
			require.Equal(t, 7, h.count(), "nothing is told twice by one watcher")
			families, err := reg.Gather()
			require.NoError(t, err)
			for _, family := range families {
				for _, m := range family.GetMetric() {
					if family.GetName() == "vetch_kube_lost_events_total" {
						require.Zero(t, m.GetCounter().GetValue(), m.GetLabel())
					}
				}
			}

			stop()
			unhealthy.Count = 6 // while nobody watches
			f.put("events", unhealthy)
			following(t, f, h)
			h.wait(t, append(others, "Warning Unhealthy 6x shop/Deployment/web @n1: Readiness probe failed", "Warning Unhealthy 1x shop/Deployment/web @n1: Liveness probe failed")...)
		})
	}
}

// ended sets the end of the last run of a pod's container.
func ended(p *corev1.Pod, run, reason string, code int32, restarts int32) *corev1.Pod {
	s := &p.Status.ContainerStatuses[0]
	s.RestartCount = restarts
	s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ContainerID: "containerd://" + run, Reason: reason, ExitCode: code, FinishedAt: ago(time.Minute)}
	return p
}

func TestContainersThatEnd(t *testing.T) {
	f := newFakeAPI(t)
	crashing := makePod("web-a", "n1", "10.1.1.5", nil)
	s := &crashing.Status.ContainerStatuses[0]
	s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: "containerd://one", Reason: "Error", ExitCode: 3, FinishedAt: ago(time.Minute)}}
	f.put("pods", crashing)
	f.put("pods", ended(makePod("old", "n1", "10.1.1.6", nil), "x", "Error", 1, 1))
	old := makePod("older", "n1", "10.1.1.7", nil)
	f.put("pods", ended(old, "y", "Error", 1, 1))
	old.Status.ContainerStatuses[0].LastTerminationState.Terminated.FinishedAt = ago(48 * time.Hour)
	f.put("pods", old)
	f.put("pods", ended(makePod("fine", "n1", "10.1.1.8", nil), "z", "Completed", 0, 1))
	h := &heard{}
	_, stop := following(t, f, h)
	want := []string{"Warning Error 1x shop/Pod/web-a @n1: container app ended with exit code 3", "Warning Error 1x shop/Pod/old @n1: container app ended with exit code 1"}
	h.wait(t, want...)
	s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	ended(crashing, "one", "Error", 3, 1) // the same end, at its other place
	f.put("pods", crashing)
	want = append(want, "Warning CrashLoopBackOff 1x shop/Pod/web-a @n1: container app ends again and again, and is not started for a while")
	h.wait(t, want...)
	s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	f.put("pods", ended(crashing, "two", "OOMKilled", 137, 2))
	want = append(want, "Warning OOMKilled 1x shop/Pod/web-a @n1: container app was killed: out of memory")
	h.wait(t, want...)
	oom := h.find("OOMKilled")[0]
	require.Equal(t, map[string]string{"container": "app", "exit_code": "137", "restarts": "2"}, oom.Fields)
	require.Equal(t, model.SourceWatcher, oom.Source)
	require.Equal(t, "container/two", oom.ID)

	now := metav1.Now()
	leaving := ended(makePod("leaving", "n1", "10.1.1.9", nil), "w", "Error", 143, 0)
	leaving.DeletionTimestamp = &now
	f.put("pods", leaving)
	want = append(want, "Normal Error 1x shop/Pod/leaving @n1: container app ended with exit code 143")
	h.wait(t, want...)
	require.Equal(t, 5, h.count())
	stop()
	following(t, f, h)
	require.EventuallyWithT(t, func(t *assert.CollectT) { require.Equal(t, 8, h.count()) }, time.Minute, 10*time.Millisecond)
	h.wait(t, want...) // what it sees again has the same IDs
}

func makeNode(name string, ready corev1.ConditionStatus, since time.Duration) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse},
		{Type: corev1.NodeReady, Status: ready, Reason: "NodeStatusUnknown", Message: "Kubelet stopped posting node status.", LastTransitionTime: ago(since)},
	}}}
}

func TestNodesThatAreNotReady(t *testing.T) {
	f := newFakeAPI(t)
	f.put("nodes", makeNode("n1", corev1.ConditionTrue, 48*time.Hour))
	f.put("nodes", makeNode("n2", corev1.ConditionUnknown, time.Hour))
	h := &heard{}
	following(t, f, h)
	lost := "Warning NodeNotReady 1x /Node/%s @%[1]s: the node is not ready: Kubelet stopped posting node status."
	h.wait(t, fmt.Sprintf(lost, "n2"))
	f.put("nodes", makeNode("n1", corev1.ConditionUnknown, time.Minute))
	h.wait(t, fmt.Sprintf(lost, "n2"), fmt.Sprintf(lost, "n1"))
	f.put("nodes", makeNode("n1", corev1.ConditionFalse, 30*time.Second)) // still not
	f.put("nodes", makeNode("n1", corev1.ConditionTrue, 10*time.Second))
	h.wait(t, fmt.Sprintf(lost, "n2"), fmt.Sprintf(lost, "n1"), "Normal NodeReady 1x /Node/n1 @n1: the node is ready")
}

// rolled is a Deployment whose rollout to a revision is done.
func rolled(name string, revision int, image string) *appsv1.Deployment {
	two := int32(2)
	d := &appsv1.Deployment{ObjectMeta: metaOf(name, nil), Spec: appsv1.DeploymentSpec{
		Replicas: &two,
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}}},
	}}
	d.Generation = int64(revision)
	d.Annotations = map[string]string{revisionOf: fmt.Sprint(revision)}
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}
	return d
}

func TestRolloutsOfADeployment(t *testing.T) {
	f := newFakeAPI(t)
	d := rolled("web", 1, "shop:1")
	f.put("deployments", d)
	h := &heard{}
	_, stop := following(t, f, h)
	var want []string
	says := func(text string) {
		t.Helper()
		want = append(want, text)
		h.wait(t, want...)
	}
	f.put("pods", makePod("x", "n1", "10.1.1.5", nil)) // so that the watch is known to go on
	f.put("events", makeEvent("e", 1, aboutPod("x"), "Pulled", "pulled"))
	says("Warning Pulled 1x shop/Pod/x @n1: pulled")

	d.Generation, d.Spec.Template.Spec.Containers[0].Image = 2, "shop:2"
	d.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: "secret"}}
	f.put("deployments", d) // the controller has not seen it
	d.Annotations[revisionOf] = "2"
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 1, AvailableReplicas: 2}
	f.put("deployments", d)
	says("Normal RolloutStarted 1x shop/Deployment/web @: new pods: image of app shop:1 -> shop:2; changed: environment")
	began := h.find("RolloutStarted")[0]
	require.Equal(t, map[string]string{"generation": "2", "revision": "2", "images": "app=shop:2", "images_before": "app=shop:1", "changed": "images, environment"}, began.Fields)
	d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded", LastUpdateTime: metav1.Now()}}
	f.put("deployments", d)
	says("Warning RolloutStuck 1x shop/Deployment/web @: the rollout does not go on: it has passed its deadline")
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}
	d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, LastUpdateTime: metav1.Now()}}
	f.put("deployments", d)
	says("Normal RolloutFinished 1x shop/Deployment/web @: the rollout is done: app=shop:2")

	four := int32(4)
	d.Generation, d.Spec.Replicas = 3, &four
	f.put("deployments", d)
	says("Normal Scaled 1x shop/Deployment/web @: replicas 2 -> 4")
	d.Generation, d.Spec.MinReadySeconds = 4, 5
	f.put("deployments", d)
	says("Normal SpecChanged 1x shop/Deployment/web @: the specification changed, and its pods stay")
	d.Status.Replicas, d.Status.UpdatedReplicas, d.Status.AvailableReplicas, d.Status.ObservedGeneration = 4, 4, 4, 4
	f.put("deployments", d)

	stop() // another one sees the same, and a rollout that it missed
	following(t, f, h)
	other := rolled("cart", 7, "cart:9")
	other.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, LastUpdateTime: ago(time.Minute)}}
	f.put("deployments", other)
	want = append(want, "Normal RolloutStarted 1x shop/Deployment/cart @: new pods: app=cart:9")
	says("Normal RolloutFinished 1x shop/Deployment/cart @: the rollout is done: app=cart:9")
	d.Generation, d.Annotations[revisionOf], d.Spec.Template.Annotations = 5, "3", map[string]string{restartedAt: "now"}
	f.put("deployments", d)
	says("Normal RolloutStarted 1x shop/Deployment/web @: new pods: changed: restart")
}

func TestRolloutsOfOtherKinds(t *testing.T) {
	f := newFakeAPI(t)
	one := int32(1)
	template := func(image string) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}}}
	}
	db := &appsv1.StatefulSet{ObjectMeta: metaOf("db", nil), Spec: appsv1.StatefulSetSpec{Replicas: &one, Template: template("db:1")}}
	db.Generation = 4
	db.Status = appsv1.StatefulSetStatus{ObservedGeneration: 4, Replicas: 1, ReadyReplicas: 1, UpdateRevision: "a", CurrentRevision: "a"}
	logs := &appsv1.DaemonSet{ObjectMeta: metaOf("logs", nil), Spec: appsv1.DaemonSetSpec{Template: template("logs:1")}}
	logs.Generation = 1
	logs.Status = appsv1.DaemonSetStatus{ObservedGeneration: 1, DesiredNumberScheduled: 2, UpdatedNumberScheduled: 2, NumberAvailable: 2}
	f.put("statefulsets", db)
	f.put("daemonsets", logs)
	f.put("pods", makePod("x", "n1", "10.1.1.6", nil))
	f.put("events", makeEvent("e", 1, aboutPod("x"), "Pulled", "pulled"))
	h := &heard{}
	following(t, f, h)
	want := []string{"Warning Pulled 1x shop/Pod/x @n1: pulled"}
	h.wait(t, want...)

	db.Generation, db.Spec.Template = 5, template("db:2")
	f.put("statefulsets", db)
	db.Status = appsv1.StatefulSetStatus{ObservedGeneration: 5, Replicas: 1, ReadyReplicas: 0, UpdateRevision: "b", CurrentRevision: "a"}
	f.put("statefulsets", db)
	logs.Generation, logs.Spec.Template = 2, template("logs:2")
	f.put("daemonsets", logs)
	want = append(want, "Normal RolloutStarted 1x shop/StatefulSet/db @: new pods: image of app db:1 -> db:2", "Normal RolloutStarted 1x shop/DaemonSet/logs @: new pods: image of app logs:1 -> logs:2")
	h.wait(t, want...)
	db.Status = appsv1.StatefulSetStatus{ObservedGeneration: 5, Replicas: 1, ReadyReplicas: 1, UpdateRevision: "b", CurrentRevision: "b"}
	f.put("statefulsets", db)
	logs.Status.ObservedGeneration = 2
	f.put("daemonsets", logs)
	want = append(want, "Normal RolloutFinished 1x shop/StatefulSet/db @: the rollout is done: app=db:2", "Normal RolloutFinished 1x shop/DaemonSet/logs @: the rollout is done: app=logs:2")
	h.wait(t, want...)
}

func TestRolloutsOfCustomResources(t *testing.T) {
	h := &heard{}
	c := &table{cluster: newCluster(names.NewFeed(names.FeedOptions{}), nil, h.take), at: time.Unix(1_800_001_000, 0)}
	c.now = func() time.Time { return c.at }
	for k := range c.kinds {
		if k.name == "Pod" {
			c.pods = newSource(k, c.cluster, nil, nil)
		}
		c.listed(k)
	}
	put := func(name, hash, image string, made int64, ready corev1.ConditionStatus) *corev1.Pod {
		p := makePod(name, "n1", "10.1.1.5", ref("apps.kruise.io/v1alpha1", "CloneSet", "clone"))
		p.CreationTimestamp, p.Labels["controller-revision-hash"], p.Spec.Containers[0].Image = metav1.Unix(made, 0), hash, image
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: ready})
		require.NoError(t, c.pods.Add(p))
		return p
	}
	follow := func(want ...string) {
		t.Helper()
		c.teller.followCustom()
		c.teller.tell(t.Context(), false)
		slices.Sort(want)
		require.Equal(t, want, h.lines())
	}
	c.answer(&waiting{reference: reference{uid: "uid-clone", kind: "CloneSet", name: "clone"}}, nil, nil)
	a, b := put("a", "one", "clone:1", 1_800_000_000, "True"), put("b", "one", "clone:1", 1_800_000_001, "True")
	follow()
	put("c", "two", "clone:2", 1_800_000_500, "False")
	started := "Normal RolloutStarted 1x shop/CloneSet/clone @: new pods: image of app clone:1 -> clone:2"
	follow(started)
	require.Equal(t, time.Unix(1_800_000_500, 0), h.find("RolloutStarted")[0].Last)
	require.Equal(t, "two", h.find("RolloutStarted")[0].Fields["template_hash"])
	put("a2", "one", "clone:1", 1_800_000_600, "True") // one of the old is made again
	require.NoError(t, c.pods.Delete(a))
	follow(started)
	require.NoError(t, c.pods.Delete(b))
	require.NoError(t, c.pods.Delete(put("a2", "one", "clone:1", 1_800_000_600, "True")))
	follow(started)
	put("c", "two", "clone:2", 1_800_000_500, "True")
	follow(started, "Normal RolloutFinished 1x shop/CloneSet/clone @: the rollout is done: app=clone:2")
	follow(started, "Normal RolloutFinished 1x shop/CloneSet/clone @: the rollout is done: app=clone:2")
}

func TestNoticesAreBounded(t *testing.T) {
	c := newCluster(names.NewFeed(names.FeedOptions{}), nil, func(context.Context, []model.Event) error { return io.ErrClosedPipe })
	for range maxNotices + 5 {
		c.teller.add(model.Event{Count: 1, Reason: "X", Object: model.Object{Kind: "Node", Name: "n"}})
	}
	require.EqualValues(t, 5, testutil.ToFloat64(c.teller.lost.WithLabelValues("queue")))
	for k := range c.kinds {
		c.listed(k)
	}
	c.teller.tell(t.Context(), false)
	require.EqualValues(t, maxNotices, testutil.ToFloat64(c.teller.lost.WithLabelValues("send")))
	require.Empty(t, c.teller.queue)
}

func TestWithoutAServerEventsAreNotAsked(t *testing.T) {
	for _, k := range kinds(nil, false) {
		require.NotEqual(t, "events", k.resource.Resource)
		require.Equal(t, k.owns(), k.object == nil, k.name)
	}
}
