package kube

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// revision is what is kept of a ControllerRevision: of what the pods of a StatefulSet or DaemonSet were made since some time.
type revision struct {
	owner    types.UID
	number   int64
	since    time.Time
	template made
}

// revisionData is the part of its owner that a ControllerRevision holds.
type revisionData struct {
	Spec struct {
		Template corev1.PodTemplateSpec `json:"template"`
	} `json:"spec"`
}

func keepRevision(o runtime.Object) any {
	from, ok := o.(*appsv1.ControllerRevision)
	if !ok {
		return nil
	}
	owner := controller(from.OwnerReferences)
	if owner == nil || owner.kind != "StatefulSet" && owner.kind != "DaemonSet" {
		return nil
	}
	var data revisionData
	if json.Unmarshal(from.Data.Raw, &data) != nil {
		return nil
	}
	return &revision{owner: owner.uid, number: from.Revision, since: numberedAt(from), template: madeOf(&data.Spec.Template)}
}

// numberedAt is when a revision got its number: when it was made, or made the newest again by a rollback, which changes it.
func numberedAt(from *appsv1.ControllerRevision) time.Time {
	at := from.CreationTimestamp.Time
	for _, f := range from.ManagedFields {
		if f.Time != nil && f.Time.After(at) {
			at = f.Time.Time
		}
	}
	return at
}

// trimRevision leaves the images and hashes of the template, and the time.
func trimRevision(o *appsv1.ControllerRevision) error {
	o.Annotations, o.ManagedFields = nil, []metav1.ManagedFieldsEntry{{Time: &metav1.Time{Time: numberedAt(o)}}}
	var data revisionData
	if json.Unmarshal(o.Data.Raw, &data) != nil {
		o.Data.Raw = nil
		return nil
	}
	if err := trimTemplate(&data.Spec.Template); err != nil {
		return err
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("trim a revision: %w", err)
	}
	o.Data.Raw = raw
	return nil
}

// putRevision notes a revision. A newer one than before is a rollout of its owner.
func (t *teller) putRevision(uid types.UID, body any) {
	r, ok := body.(*revision)
	if !ok {
		return
	}
	if t.revisions[r.owner] == nil {
		t.revisions[r.owner] = make(map[types.UID]*revision)
	}
	t.revisions[r.owner][uid] = r
	t.revised[uid] = r.owner
	if !t.cluster.ready {
		return // begin tells of the newest
	}
	before := t.rollouts[r.owner]
	if newest, _ := t.newest(r.owner); before == nil || newest != r || before.revision == r.text() {
		return
	}
	if !t.recent(r.since) { // the API gave no list of revisions until now
		before.revision = r.text()
		return
	}
	now := *before
	// What is known of the owner may be from before or after this.
	now.complete = before.complete && before.template.equal(r.template)
	t.putRollout(r.owner, &now)
}

func (t *teller) dropRevision(uid types.UID) {
	owner := t.revised[uid]
	delete(t.revised, uid)
	delete(t.revisions[owner], uid)
	if len(t.revisions[owner]) == 0 {
		delete(t.revisions, owner)
	}
}

func (r *revision) text() string { return strconv.FormatInt(r.number, 10) }

// newest are the last revision of an owner and the one before it; nil where there is none.
func (t *teller) newest(owner types.UID) (last, before *revision) {
	for _, r := range t.revisions[owner] {
		switch {
		case last == nil || r.number > last.number:
			last, before = r, last
		case before == nil || r.number > before.number:
			before = r
		}
	}
	return last, before
}

// startedRevision tells of the newest revision of an owner.
func (t *teller) startedRevision(uid types.UID, r *rollout) {
	last, before := t.newest(uid)
	of := *r
	of.template = last.template
	var was *made
	if before != nil {
		was = &before.template
	}
	r.running, r.before = r.id(), nil
	t.add(of.started(was, last.since))
}

// begin tells of the rollouts of StatefulSets and DaemonSets that began lately: they may have happened while nobody watched.
func (t *teller) begin() {
	for uid, r := range t.rollouts {
		last, before := t.newest(uid)
		if last == nil {
			continue
		}
		r.revision = last.text()
		switch {
		case before == nil: // its first pods
		case t.recent(last.since):
			t.startedRevision(uid, r)
			t.goesOn(r, false, t.cluster.now()) // when it was done is not known
		case !r.replaced: // its end is told. Pods that are new and cannot serve are no rollout of days ago
			r.running = r.id()
		}
	}
}
