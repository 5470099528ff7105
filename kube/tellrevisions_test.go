package kube

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vetch-dev/vetch/transport/names"
)

// stateful is a StatefulSet whose pods are all of one image.
func stateful(generation int64, image string) *appsv1.StatefulSet {
	one := int32(1)
	s := &appsv1.StatefulSet{ObjectMeta: metaOf("db", nil), Spec: appsv1.StatefulSetSpec{Replicas: &one}}
	s.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app", Image: image}}
	s.Generation = generation
	s.Status = appsv1.StatefulSetStatus{ObservedGeneration: generation, Replicas: 1, ReadyReplicas: 1, CurrentRevision: image, UpdateRevision: image}
	return s
}

// revisionFor is as its controller makes it.
func revisionFor(owner string, number int64, image string, made time.Duration) *appsv1.ControllerRevision {
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}}}
	raw, err := json.Marshal(map[string]any{"spec": map[string]any{"template": template}})
	if err != nil {
		panic(err)
	}
	r := &appsv1.ControllerRevision{ObjectMeta: metaOf(fmt.Sprintf("%s-%s", owner, image), ref("apps/v1", "StatefulSet", owner)), Revision: number}
	r.CreationTimestamp, r.Data.Raw = ago(made), raw
	return r
}

func TestRolloutsByRevisions(t *testing.T) {
	f, h := newFakeAPI(t), &heard{}
	f.put("statefulsets", stateful(2, "shop:2"))
	f.put("controllerrevisions", revisionFor("db", 1, "shop:1", 48*time.Hour))
	f.put("controllerrevisions", revisionFor("db", 2, "shop:2", time.Hour))
	f.put("controllerrevisions", revisionFor("first", 1, "shop:1", time.Hour))
	_, stop := following(t, f, h)
	var want []string
	says := func(text string) {
		t.Helper()
		want = append(want, "Normal "+text)
		h.wait(t, want...)
	}
	finished := "RolloutFinished 1x shop/StatefulSet/db @: the rollout is done: app=shop:%d"
	want = append(want, "Normal "+fmt.Sprintf(finished, 2))
	says("RolloutStarted 1x shop/StatefulSet/db @: new pods: image of app shop:1 -> shop:2")
	missed := h.find("RolloutStarted")[0]
	require.Equal(t, ago(time.Hour).Truncate(time.Minute), missed.First.Truncate(time.Minute), "nobody watched then")
	require.Equal(t, "2", missed.Fields["revision"])
	require.WithinDuration(t, time.Now(), h.find("RolloutFinished")[0].Last, 2*time.Minute, "it was done some time after it began")

	next := stateful(3, "shop:3")
	next.Status.ObservedGeneration = 2
	f.put("statefulsets", next)
	f.put("controllerrevisions", revisionFor("db", 3, "shop:3", 0))
	says("RolloutStarted 1x shop/StatefulSet/db @: new pods: image of app shop:2 -> shop:3")
	f.put("statefulsets", stateful(3, "shop:3"))
	says(fmt.Sprintf(finished, 3))

	// The revision is told of before its owner, and it is an older one that is the newest again.
	back := revisionFor("db", 4, "shop:1", 48*time.Hour)
	now := metav1.Now()
	back.ManagedFields = []metav1.ManagedFieldsEntry{{Time: &now}}
	f.put("controllerrevisions", back)
	says("RolloutStarted 1x shop/StatefulSet/db @: new pods: image of app shop:3 -> shop:1")
	f.put("statefulsets", stateful(4, "shop:1"))
	says(fmt.Sprintf(finished, 1))

	stop()
	told := h.count()
	following(t, f, h)
	require.EventuallyWithT(t, func(t *assert.CollectT) { require.Greater(t, h.count(), told) }, time.Minute, 10*time.Millisecond)
	h.wait(t, want...) // the last one again, under the same ID
}

// TestRevisionsThatAreListedLate refuses them at first: what is old then is not told.
func TestRevisionsThatAreListedLate(t *testing.T) {
	c := newCluster(names.NewFeed(names.FeedOptions{}), nil, (&heard{}).take)
	teller := c.teller
	teller.putRollout("uid-db", keepRollout(stateful(9, "shop:3")))
	c.ready = true
	teller.begin()
	for i, since := range []time.Duration{72 * time.Hour, 48 * time.Hour, 36 * time.Hour} {
		r := revisionFor("db", int64(i+1), fmt.Sprintf("shop:%d", i+1), since)
		teller.putRevision(r.UID, keepRevision(r))
	}
	teller.putRollout("uid-db", keepRollout(stateful(9, "shop:3")))
	require.Empty(t, teller.queue)
	r := revisionFor("db", 4, "shop:4", 0)
	teller.putRevision(r.UID, keepRevision(r))
	require.Len(t, teller.queue, 1)
	require.Equal(t, "new pods: image of app shop:3 -> shop:4", teller.queue[0].Message)
}

func TestOldRolloutsAtTheStart(t *testing.T) {
	c := newCluster(names.NewFeed(names.FeedOptions{}), nil, (&heard{}).take)
	teller := c.teller
	slow, broken := stateful(2, "shop:2"), stateful(2, "shop:2")
	slow.Status.CurrentRevision = "shop:1"
	broken.Name, broken.UID, broken.Status.ReadyReplicas = "broken", "uid-broken", 0
	for _, s := range []*appsv1.StatefulSet{slow, broken} {
		teller.putRollout(s.UID, keepRollout(s))
		for number, since := range map[int64]time.Duration{1: 72 * time.Hour, 2: 48 * time.Hour} {
			r := revisionFor(s.Name, number, fmt.Sprintf("shop:%d", number), since)
			teller.putRevision(r.UID, keepRevision(r))
		}
	}
	c.ready = true
	teller.begin()
	require.Empty(t, teller.queue)
	for _, s := range []*appsv1.StatefulSet{slow, broken} {
		s.Status.CurrentRevision, s.Status.ReadyReplicas = "shop:2", 1
		teller.putRollout(s.UID, keepRollout(s))
	}
	require.Len(t, teller.queue, 1, "that a pod can serve again ends no rollout")
	require.Equal(t, "rollout/uid-db/revision-2/finished", teller.queue[0].ID)
	require.WithinDuration(t, time.Now(), teller.queue[0].Last, time.Minute)
}
