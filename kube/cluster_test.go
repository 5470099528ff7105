package kube

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/transport/names"
)

type familyT = dto.MetricFamily

// table is a cluster that is fed by hand, with a clock of its own.
type table struct {
	*cluster
	at   time.Time
	pods *source
}

func newTable() *table {
	t := &table{cluster: newCluster(names.NewFeed(names.FeedOptions{}), nil, nil), at: time.Unix(1_800_001_000, 0)}
	t.now = func() time.Time { return t.at }
	for k := range t.kinds {
		if k.name == "Pod" {
			t.pods = newSource(k, t.cluster, nil, nil)
		}
		t.listed(k)
	}
	return t
}

func (t *table) pod(name string) *pod {
	return t.cluster.pods[types.UID("uid-"+name)]
}

func TestWhenAPodHasItsAddress(t *testing.T) {
	c := newTable()
	p := makePod("a", "n1", "10.1.1.5", nil)
	require.NoError(t, c.pods.Add(p))
	require.Equal(t, time.Unix(1_800_000_102, 0), c.pod("a").from)
	p.Status.Phase = corev1.PodSucceeded
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Unix(1_800_000_500, 0)}}
	require.NoError(t, c.pods.Update(p))
	require.Equal(t, time.Unix(1_800_000_500, 0), c.pod("a").until, "when its last container ended, though the pod is still there")
	p.Status.PodIPs, p.Status.PodIP = nil, ""
	require.NoError(t, c.pods.Update(p))
	require.Len(t, c.pod("a").addresses, 1, "it had the address, even if the API has forgotten it")
	require.NoError(t, c.pods.Delete(p))
	require.Equal(t, time.Unix(1_800_000_500, 0), c.pod("a").until)

	require.NoError(t, c.pods.Add(makePod("b", "n1", "10.1.1.5", nil)))
	require.NoError(t, c.pods.Delete(makePod("b", "n1", "10.1.1.5", nil)))
	require.Equal(t, c.at, c.pod("b").until, "it was killed: it ended when that was heard")

	bare := makePod("c", "n1", "10.1.1.6", nil)
	bare.Status.Conditions = nil
	require.NoError(t, c.pods.Add(bare))
	require.Equal(t, time.Unix(1_800_000_100, 0), c.pod("c").from)
	bare.Status.StartTime = nil
	bare.Status.Phase, bare.Status.ContainerStatuses = corev1.PodFailed, nil // evicted before it began
	require.NoError(t, c.pods.Update(bare))
	require.False(t, c.pod("c").until.IsZero())
}

func TestEndedPodsAreForgottenInTheEnd(t *testing.T) {
	c := newTable()
	for i := range 10 {
		p := makePod(fmt.Sprint(i), "n1", "10.1.1.5", nil)
		require.NoError(t, c.pods.Add(p))
		if i%2 == 0 {
			require.NoError(t, c.pods.Delete(p))
			continue
		}
		p.Status.Phase = corev1.PodFailed // it stays in the API
		require.NoError(t, c.pods.Update(p))
	}
	c.sweep()
	require.Len(t, c.cluster.pods, 10)
	c.at = c.at.Add(keepEnded)
	c.sweep()
	require.Len(t, c.cluster.pods, 5)
	require.Empty(t, c.ended)
	require.Empty(t, c.endedAt)
	require.Empty(t, c.deleted)
	p := makePod("1", "n1", "10.1.1.5", nil)
	p.Status.Phase = corev1.PodFailed
	require.NoError(t, c.pods.Update(p))
	require.True(t, c.pod("1").expired, "a change of a pod that ended long ago does not bring it back")
	require.NoError(t, c.pods.Replace(nil, "")) // the rest is gone from the API too
	require.Empty(t, c.cluster.pods)
}

func TestEndedPodsAreBounded(t *testing.T) {
	c := newTable()
	for i := range maxEnded + 10 {
		c.ending(&pod{uid: types.UID(fmt.Sprint(i))})
	}
	c.sweep()
	require.Len(t, c.ended, maxEnded)
	require.Len(t, c.endedAt, maxEnded)
}

func TestOwnersThatAreNotWatchedAreBounded(t *testing.T) {
	c := newTable()
	for i := range maxOthers + 5 {
		c.answer(&waiting{reference: reference{uid: types.UID(fmt.Sprint(i))}}, nil, nil)
	}
	require.Len(t, c.others, maxOthers)
	require.Len(t, c.otherOrder, maxOthers)
	for i := range maxWaiting + 5 {
		c.wait(&pod{uid: "p"}, &reference{uid: types.UID(fmt.Sprint("w", i))})
	}
	require.Len(t, c.awaited, maxWaiting)
}

func TestOwnersInACircleEnd(t *testing.T) {
	c := newTable()
	c.putOwner("uid-a", &reference{uid: "uid-b", kind: "B", name: "b"})
	c.putOwner("uid-b", &reference{uid: "uid-a", kind: "A", name: "a"})
	w, missing := c.nameOf(&pod{namespace: "shop", owner: &reference{uid: "uid-a", kind: "A", name: "a"}})
	require.Nil(t, missing)
	require.NotEmpty(t, w.Name)
}

func TestPodsKeepTheirNameWhenTheirOwnersGoFirst(t *testing.T) {
	c := newTable()
	c.putOwner("uid-tick", (*reference)(nil))
	c.putOwner("uid-tick-1", &reference{uid: "uid-tick", apiVersion: "batch/v1", kind: "CronJob", name: "tick"})
	p := makePod("tick-1-x", "n1", "10.1.1.5", ref("batch/v1", "Job", "tick-1"))
	require.NoError(t, c.pods.Add(p))
	name := func(of string) string {
		w, missing := c.nameOf(c.pod(of))
		require.Nil(t, missing)
		return w.Kind + "/" + w.Name
	}
	require.Equal(t, "CronJob/tick", name("tick-1-x"))
	c.dropOwner("uid-tick")
	c.dropOwner("uid-tick-1")
	require.Empty(t, c.owners)
	p.Status.Phase = corev1.PodFailed
	require.NoError(t, c.pods.Update(p))
	require.Equal(t, "CronJob/tick", name("tick-1-x"))
	require.NoError(t, c.pods.Add(makePod("tick-1-y", "n1", "10.1.1.6", ref("batch/v1", "Job", "tick-1"))))
	require.Equal(t, "CronJob/tick", name("tick-1-y"), "a pod that is told of after its owners went")
	require.Empty(t, c.awaited)

	c.putOwner("uid-tick-1", &reference{uid: "uid-tock", apiVersion: "batch/v1", kind: "CronJob", name: "tock"})
	c.putOwner("uid-tock", (*reference)(nil))
	require.Equal(t, "CronJob/tock", name("tick-1-y"), "adopted by another")
}

// TestMemoryOfAPod holds what a pod costs: what is kept of it and what the feed has of it.
func TestMemoryOfAPod(t *testing.T) {
	const n, limit = 5000, 3000
	c := newTable()
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range n {
		p := makePod(fmt.Sprintf("checkout-5d9c7b6f4d-%05d", i), fmt.Sprint("node-", i%200), fmt.Sprintf("10.1.%d.%d", i/250, i%250), nil)
		p.ManagedFields = []metav1.ManagedFieldsEntry{{FieldsV1: metav1.NewFieldsV1(string(make([]byte, 4000)))}}
		p.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": string(make([]byte, 2000))}
		if err := c.pods.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / n
	runtime.KeepAlive(c)
	t.Logf("%d bytes a pod", each)
	if each > limit {
		t.Errorf("a pod takes %d bytes, more than %d", each, limit)
	}
}
