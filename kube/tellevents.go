package kube

import (
	"cmp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/model"
)

// keepEvent reads an event of the API: it has what both of its kinds have, core/v1 and events.k8s.io/v1.
func keepEvent(o runtime.Object) any {
	from, ok := o.(*corev1.Event)
	if !ok {
		return nil
	}
	about := &from.InvolvedObject
	e := &model.Event{
		ID: "event/" + string(from.UID), Count: uint64(max(from.Count, 1)), Type: model.EventNormal, Reason: from.Reason, Message: clip(from.Message),
		Source: model.SourceKubernetes, Node: intern(from.Source.Host),
		Object: model.Object{Namespace: intern(about.Namespace), Kind: intern(about.Kind), Name: about.Name, UID: string(about.UID)},
		Fields: map[string]string{},
	}
	if from.Type == corev1.EventTypeWarning {
		e.Type = model.EventWarning
	}
	e.First, e.Last = earliest(from.FirstTimestamp.Time, from.EventTime.Time, from.CreationTimestamp.Time), from.LastTimestamp.Time
	if s := from.Series; s != nil {
		e.Count = max(e.Count, uint64(max(s.Count, 0)))
		if s.LastObservedTime.After(e.Last) {
			e.Last = s.LastObservedTime.Time
		}
	}
	if e.Last.Before(e.First) {
		e.Last = e.First
	}
	if component := cmp.Or(from.Source.Component, from.ReportingController); component != "" {
		e.Fields["component"] = intern(component)
	}
	// As in "spec.containers{app}".
	if _, rest, ok := strings.Cut(about.FieldPath, "{"); ok {
		e.Fields["container"] = intern(strings.TrimSuffix(rest, "}"))
	}
	return e
}

// earliest is the first of some times that are known.
func earliest(times ...time.Time) (first time.Time) {
	for _, at := range times {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// putEvent tells of an event that has happened more often than before.
func (t *teller) putEvent(uid types.UID, body any) {
	e, ok := body.(*model.Event)
	if !ok || e.Count <= t.events[uid] {
		return
	}
	t.events[uid] = e.Count
	t.add(*e)
}

func (t *teller) dropEvent(uid types.UID) { delete(t.events, uid) }
