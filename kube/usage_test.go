package kube

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

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/kubelet"
)

// kubelets is a Kubernetes API with the proxy to kubelets: those that it has a summary for answer.
type kubelets struct {
	api *fakeAPI
	mu  sync.Mutex
	say map[string]string // by node
}

func (k *kubelets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1/nodes/")
	node, path, proxied := strings.Cut(rest, "/")
	if !ok || !proxied {
		k.api.ServeHTTP(w, r)
		return
	}
	k.mu.Lock()
	text, answers := k.say[node]
	k.mu.Unlock()
	switch {
	case path != "proxy/stats/summary":
		k.api.status(w, http.StatusNotFound, "NotFound")
	case !answers:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"error trying to reach service: dial tcp 10.0.0.3:10250: connect: no route to host","code":503}`)
	default:
		fmt.Fprint(w, text)
	}
}

func (k *kubelets) set(node, text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.say[node] = text
}

func newKubelets(t *testing.T) (*kubelets, string) {
	k := &kubelets{api: newFakeAPI(t), say: map[string]string{}}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}, {name: b, cluster: {server: 'http://127.0.0.1:1'}}]\n"+
		"contexts: [{name: a, context: {cluster: a}}, {name: b, context: {cluster: b}}]\ncurrent-context: a\n", server.URL)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return k, path
}

func (k *kubelets) node(name string) {
	k.api.put("nodes", &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("node-" + name)},
		Status: corev1.NodeStatus{
			Allocatable: corev1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("8Gi")},
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	})
}

func (k *kubelets) pod(name, node, replicaSet, hash string) {
	yes := true
	k.api.put("pods", &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID("pod-" + name), Labels: map[string]string{"pod-template-hash": hash},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: replicaSet, Controller: &yes}},
		},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{
			{Name: "app", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("64Mi")},
				Limits:   corev1.ResourceList{"cpu": resource.MustParse("500m"), "memory": resource.MustParse("128Mi")},
			}},
			{Name: "side", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"memory": resource.MustParse("16Mi")}}},
		}},
	})
}

// say is what a kubelet says of pods of two containers each.
func say(node string, pods ...string) string {
	var list []string
	for _, pod := range pods {
		list = append(list, fmt.Sprintf(`{"podRef":{"name":%q,"namespace":"shop","uid":"x"},"cpu":{"time":"2026-01-01T00:00:00Z","usageNanoCores":250000000,"usageCoreNanoSeconds":9},
"memory":{"workingSetBytes":1048576,"rssBytes":524288},"network":{"name":"eth0","rxBytes":1000,"txBytes":2000},"ephemeral-storage":{"usedBytes":4096},
"containers":[{"name":"side","cpu":{},"memory":{"workingSetBytes":1}},{"name":"app","cpu":{"time":"2026-01-01T00:00:00Z","usageNanoCores":200000000},"memory":{"workingSetBytes":1000000},"rootfs":{"usedBytes":10},"logs":{"usedBytes":5}}]}`, pod))
	}
	return fmt.Sprintf(`{"node":{"nodeName":%q,"cpu":{"usageNanoCores":1500000000},"memory":{"workingSetBytes":2147483648},"network":{"rxBytes":7,"txBytes":8}},"pods":[%s]}`,
		node, strings.Join(list, ","))
}

func TestUsageOfACluster(t *testing.T) {
	k, path := newKubelets(t)
	for _, node := range []string{"n1", "n2"} {
		k.node(node)
	}
	k.pod("web-5d9c7b6f4d-x2bkq", "n1", "web-5d9c7b6f4d", "5d9c7b6f4d")
	k.pod("gone", "n2", "gone-1", "1")
	k.set("n1", say("n1", "web-5d9c7b6f4d-x2bkq", "unlisted"))
	u, err := NewUsageReader(UsageOptions{Kubeconfig: path})
	require.NoError(t, err)
	got, err := u.Read(t.Context())
	require.NoError(t, err)

	require.Len(t, got.Nodes, 2)
	n1, n2 := got.Nodes[0], got.Nodes[1]
	require.Empty(t, n1.Error)
	require.True(t, n1.Ready)
	require.InDelta(t, 1.5, *n1.Usage.CPU, 0)
	require.InDelta(t, 4, *n1.Allocatable.CPU, 0)
	require.InDelta(t, 0.1, *n1.Requests.CPU, 1e-9)
	require.Equal(t, 2, n1.Pods)
	require.Contains(t, n2.Error, "no route to host", "a dead node is there, with what is wrong")

	require.Len(t, got.Pods, 2)
	unlisted, web := got.Pods[0], got.Pods[1]
	require.Equal(t, model.Workload{Namespace: "shop", Kind: "Pod", Name: "unlisted"}, unlisted.Workload)
	require.Equal(t, model.Workload{Namespace: "shop", Kind: "Deployment", Name: "web"}, web.Workload)
	require.InDelta(t, 0.25, *web.Usage.CPU, 0)
	require.EqualValues(t, 1<<20, *web.Usage.WorkingSet)
	require.EqualValues(t, 4096, *web.Usage.Ephemeral)
	require.InDelta(t, 0.1, *web.Requests.CPU, 1e-9)
	require.Nil(t, web.Limits.CPU, "one of its containers has no limit")
	require.EqualValues(t, 144<<20, *web.Limits.Memory)
	require.Equal(t, "app", web.Containers[0].Name)
	require.InDelta(t, 0.5, *web.Containers[0].Limits.CPU, 1e-9)
	require.EqualValues(t, 15, *web.Containers[0].Usage.Ephemeral)
	require.Nil(t, web.Containers[1].Usage.CPU, "it has not been measured yet")

	// A node and a pod appear, and a kubelet comes back with nonsense.
	k.node("n3")
	k.set("n3", say("n3", "fresh"))
	k.set("n2", `{"node": 1}`)
	got, err = u.Read(t.Context())
	require.NoError(t, err)
	require.Len(t, got.Nodes, 3)
	require.Contains(t, got.Nodes[1].Error, "read the kubelet's summary")
	require.Equal(t, "fresh", got.Pods[0].Name)

	only, err := NewUsageReader(UsageOptions{Kubeconfig: path, Namespace: "other"})
	require.NoError(t, err)
	got, err = only.Read(t.Context())
	require.NoError(t, err)
	require.Empty(t, got.Pods)
	require.Nil(t, got.Nodes[0].Requests.CPU, "not known from one namespace")

	dead, err := NewUsageReader(UsageOptions{Kubeconfig: path, Context: "b"})
	require.NoError(t, err)
	_, err = dead.Read(t.Context())
	require.ErrorContains(t, err, "list nodes")
	_, err = NewUsageReader(UsageOptions{Kubeconfig: path, Context: "c"})
	require.ErrorContains(t, err, `"c"`)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = u.Read(ended)
	require.Error(t, err)
}

func TestNoClusterIsSaid(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := NewUsageReader(UsageOptions{})
	require.ErrorIs(t, err, ErrNoCluster)
}

func TestOwnersThatPodsTell(t *testing.T) {
	yes := true
	for name, c := range map[string]struct {
		kind, owner string
		labels      map[string]string
		want        model.Workload
	}{
		"Deployment":      {"ReplicaSet", "web-5d9c7b6f4d", map[string]string{"pod-template-hash": "5d9c7b6f4d"}, model.Workload{Kind: "Deployment", Name: "web"}},
		"Rollout":         {"ReplicaSet", "web-77", map[string]string{"rollouts-pod-template-hash": "77"}, model.Workload{Kind: "Rollout", Name: "web"}},
		"bare ReplicaSet": {"ReplicaSet", "web", nil, model.Workload{Kind: "ReplicaSet", Name: "web"}},
		"StatefulSet":     {"StatefulSet", "db", nil, model.Workload{Kind: "StatefulSet", Name: "db"}},
		"Job":             {"Job", "load-1", nil, model.Workload{Kind: "Job", Name: "load-1"}},
		"CronJob":         {"Job", "load-29012345", nil, model.Workload{Kind: "CronJob", Name: "load"}},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: c.labels, OwnerReferences: []metav1.OwnerReference{{Kind: c.kind, Name: c.owner, Controller: &yes}}}}
		require.Equal(t, c.want, ownerOf(pod), name)
	}
	require.Equal(t, model.Workload{Kind: "Pod", Name: "p"}, ownerOf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}))
}

func FuzzSummary(f *testing.F) {
	f.Add([]byte(say("n1", "web", "db")))
	f.Add([]byte(`{"node":{"cpu":null,"memory":{"workingSetBytes":18446744073709551615}},"pods":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := kubelet.ReadSummary(strings.NewReader(string(text)))
		if err != nil {
			return
		}
		node := &corev1.Node{}
		u := &UsageReader{}
		var out ClusterUsage
		u.add(&out, node, answer{Summary: s})
		_, err = json.Marshal(out)
		require.NoError(t, err)
	})
}
