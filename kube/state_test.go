package kube

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vetch-dev/vetch/kube/state"
	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/names"
)

// telling runs a watcher that tells the state of objects.
func telling(t *testing.T, f *fakeAPI, lease string) *Watcher {
	t.Helper()
	w, err := New(Options{
		Kubeconfig: f.kubeconfig(t), Feed: names.NewFeed(names.FeedOptions{}), Registerer: prometheus.NewRegistry(), Lease: lease,
		State: &state.Options{Labels: map[string][]string{"pods": {"app"}}},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, w.Run(ctx)) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return w
}

// told are the series of some families, by their labels.
func told(w *Watcher, family string) map[string]float64 {
	got := map[string]float64{}
	w.Gather(func(s model.Sample) {
		if s.Family.Name == family {
			got[s.Labels.String()] = s.Value
		}
	})
	return got
}

func deployment(name string, replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metaOf(name, nil), Spec: appsv1.DeploymentSpec{Replicas: &replicas}}
}

func TestStateOfACluster(t *testing.T) {
	f := newFakeAPI(t)
	f.put("deployments", deployment("web", 2))
	f.put("replicasets", &appsv1.ReplicaSet{ObjectMeta: metaOf("web-5d9c", ref("apps/v1", "Deployment", "web"))})
	f.put("pods", makePod("web-5d9c-a", "n1", "10.1.1.5", ref("apps/v1", "ReplicaSet", "web-5d9c")))
	f.put("pods", makePod("web-5d9c-b", "", "", ref("apps/v1", "ReplicaSet", "web-5d9c")))
	f.put("namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", UID: "uid-shop"}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}})
	f.refuse["ingresses"] = true
	w := telling(t, f, "")
	eventually := func(family string, want map[string]float64) {
		t.Helper()
		require.EventuallyWithT(t, func(t *assert.CollectT) { require.Equal(t, want, told(w, family)) }, time.Minute, 10*time.Millisecond)
	}
	replicas := `{deployment="web", namespace="shop"}`
	eventually("kube_deployment_spec_replicas", map[string]float64{replicas: 2})
	a := `{namespace="shop", node="n1", pod="web-5d9c-a", uid="uid-web-5d9c-a", workload="web", workload_kind="Deployment"}`
	eventually("vetch_pod_info", map[string]float64{a: 1, `{namespace="shop", pod="web-5d9c-b", uid="uid-web-5d9c-b", workload="web", workload_kind="Deployment"}`: 1})
	eventually("kube_pod_labels", map[string]float64{
		`{label_app="x", namespace="shop", pod="web-5d9c-a", uid="uid-web-5d9c-a"}`: 1, `{label_app="x", namespace="shop", pod="web-5d9c-b", uid="uid-web-5d9c-b"}`: 1,
	})
	require.Len(t, told(w, "kube_namespace_status_phase"), 2)

	f.put("deployments", deployment("web", 5))
	eventually("kube_deployment_spec_replicas", map[string]float64{replicas: 5})
	f.delete("pods", "uid-web-5d9c-b")
	eventually("vetch_pod_info", map[string]float64{a: 1})
	require.Len(t, told(w, "kube_pod_created"), 1, "the pod is gone at once, though its name is kept for a while")

	f.mu.Lock()
	delete(f.objects["pods"], "uid-web-5d9c-a") // and nobody is told
	f.mu.Unlock()
	f.drop("pods")
	eventually("kube_pod_created", map[string]float64{})
	eventually("vetch_pod_info", map[string]float64{})
	f.delete("deployments", "uid-web")
	eventually("kube_deployment_spec_replicas", map[string]float64{})
}

func TestNothingIsToldUntilAllIsThere(t *testing.T) {
	f := newFakeAPI(t)
	f.put("deployments", deployment("web", 2))
	f.refuse["pods"] = true
	w := telling(t, f, "")
	<-w.Led()
	require.EventuallyWithT(t, func(t *assert.CollectT) { require.NotZero(t, w.cluster.series.Series()) }, time.Minute, 10*time.Millisecond)
	w.Gather(func(s model.Sample) { t.Errorf("%s was told", s.Family.Name) })
	f.mu.Lock()
	f.refuse["pods"] = false
	f.mu.Unlock()
	require.EventuallyWithT(t, func(t *assert.CollectT) { require.NotEmpty(t, told(w, "kube_deployment_spec_replicas")) }, time.Minute, 10*time.Millisecond)
}

func TestWhatIsAskedForDependsOnWhatIsTold(t *testing.T) {
	plain, whole := kinds(nil, false), kinds(state.Kinds(state.Options{}), false)
	require.Less(t, len(plain), len(whole))
	for _, k := range plain {
		require.Equal(t, strings.Contains("Pod Node Service EndpointSlice", k.name), k.object != nil, k.name)
		require.Nil(t, k.state)
	}
	require.Len(t, whole, len(state.Kinds(state.Options{})), "every table has its watch")
	for _, k := range whole {
		require.NotNil(t, k.state, k.name)
		require.NotNil(t, k.object, k.name)
	}
}
