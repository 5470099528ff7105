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
