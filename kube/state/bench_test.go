package state

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/model"
)

const benchPods, benchNodes = 4000, 200

// usual is a pod as most are: one container, running, with requests and limits.
func usual(like *corev1.Pod, i int) *corev1.Pod {
	p := like.DeepCopy()
	p.Name, p.UID = fmt.Sprintf("checkout-5d9c7b6f4d-%05d", i), types.UID(fmt.Sprintf("0a1b2c3d-0001-4000-8000-%012d", i))
	p.Namespace, p.Spec.NodeName = fmt.Sprintf("team-%d", i%20), fmt.Sprintf("node-%d", i%benchNodes)
	p.OwnerReferences = p.OwnerReferences[:1]
	p.Spec.InitContainers, p.Status.InitContainerStatuses, p.Spec.Volumes, p.Spec.Overhead, p.Spec.RuntimeClassName = nil, nil, nil, nil, nil
	p.Spec.Containers, p.Status.ContainerStatuses = p.Spec.Containers[:1], p.Status.ContainerStatuses[:1]
	small := corev1.ResourceList{"cpu": p.Spec.Containers[0].Resources.Requests["cpu"], "memory": p.Spec.Containers[0].Resources.Requests["memory"]}
	p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: small, Limits: small}
	p.ManagedFields = []metav1.ManagedFieldsEntry{{FieldsV1: metav1.NewFieldsV1(string(make([]byte, 4000)))}}
	return p
}

// full is a store of a cluster of 4,000 pods on 200 nodes.
func full(t testing.TB) (*Store, *Kind) {
	kinds := Kinds(Options{})
	pod, node := fixtures(t, "pods")[0].(*corev1.Pod), fixtures(t, "nodes")[0].(*corev1.Node)
	s, pods, nodes := NewStore(kinds), kinds[0], kinds[1]
	for i := range benchPods {
		p := usual(pod, i)
		s.Put(pods, p.UID, pods.Render(p, nil))
	}
	for i := range benchNodes {
		n := node.DeepCopy()
		n.Name, n.UID = fmt.Sprintf("node-%d", i), types.UID(fmt.Sprint("node-", i))
		s.Put(nodes, n.UID, nodes.Render(n, nil))
	}
	s.Ready()
	return s, pods
}

// TestMemoryOfAPod bounds what the series of a pod cost.
func TestMemoryOfAPod(t *testing.T) {
	const limit = 12_000
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	s, _ := full(t)
	each := (heap() - before) / benchPods
	t.Logf("%d bytes a pod, %d series in all", each, s.Series())
	require.Less(t, each, uint64(limit))
	runtime.KeepAlive(s)
}

func BenchmarkGather(b *testing.B) {
	s, _ := full(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n = 0
		s.Gather(func(model.Sample) { n++ })
	}
	b.ReportMetric(float64(n), "series/op")
}

func BenchmarkRender(b *testing.B) {
	s, pods := full(b)
	p := usual(fixtures(b, "pods")[0].(*corev1.Pod), 1)
	before := s.Get(pods, p.UID)
	b.ReportAllocs()
	for b.Loop() {
		pods.Render(p, before)
	}
}
