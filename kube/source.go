package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/vetch-dev/vetch/kube/snapshot"
	"github.com/vetch-dev/vetch/kube/state"
)

// object is what is kept of one object of the API. Of its metadata it has what a reflector looks at.
type object struct {
	metav1.ObjectMeta // namespace, name and uid only
	body              any
	series            *state.Rendered
	tells             any    // what its kind's happening keeps
	record            []byte // for the snapshot; nil: there is none
}

// source follows one kind: a list first, or what an earlier process knew, then a watch, and a list again only where the watch cannot go on. Client-go's
// reflector does that; this is the store that it fills.
type source struct {
	kind    *kind
	cluster *cluster
	log     *slog.Logger
	saved   *snapshot.Resource     // nil: nothing is kept for a restart
	known   map[types.UID]struct{} // of the reflector's goroutine alone
}

func newSource(k *kind, c *cluster, log *slog.Logger, saved *snapshot.Resource) *source {
	return &source{kind: k, cluster: c, log: log, saved: saved, known: make(map[types.UID]struct{})}
}

// run follows the kind until ctx ends.
func (s *source) run(ctx context.Context, lw *cache.ListWatch) {
	var expected runtime.Object = &metav1.PartialObjectMetadata{}
	if s.kind.object != nil {
		expected = s.kind.object
	}
	r := cache.NewReflectorWithOptions(s.noting(s.resuming(lw)), expected, s, cache.ReflectorOptions{Name: s.kind.resource.Resource, MinWatchTimeout: 10 * time.Minute})
	r.RunWithContext(ctx)
}

// noting tells of what the API refuses, which does not end by itself: all other kinds go on without this one.
func (s *source) noting(lw *cache.ListWatch) *cache.ListWatch {
	note := func(err error) {
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsUnauthorized(err) {
			s.log.Warn("Kubernetes refuses a list", "resource", s.kind.resource.Resource, "error", err)
			s.cluster.refused(s.kind)
		}
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := lw.ListWithContextFunc(ctx, o)
			note(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := lw.WatchFuncWithContext(ctx, o)
			note(err)
			return w, err
		},
	}
}

// Transformer makes the reflector keep no whole objects while it collects a list.
func (s *source) Transformer() cache.TransformFunc {
	return func(o any) (any, error) { return s.take(o) }
}

// take picks what is kept.
func (s *source) take(o any) (*object, error) {
	if done, ok := o.(*object); ok {
		return done, nil
	}
	full, ok := o.(runtime.Object)
	if !ok {
		return nil, fmt.Errorf("%s: %T is not an object", s.kind.name, o)
	}
	m, err := meta.Accessor(o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.kind.name, err)
	}
	taken := &object{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.GetNamespace(), Name: m.GetName(), UID: m.GetUID(), ResourceVersion: m.GetResourceVersion()},
	}
	if s.kind.keep != nil {
		taken.body = s.kind.keep(s.kind.name, full)
	}
	if s.kind.state != nil {
		taken.series = s.kind.state.Render(full, s.cluster.series.Get(s.kind.state, taken.UID))
	}
	if s.kind.tell != nil {
		taken.tells = s.kind.tell.keep(full)
	}
	if s.saved != nil {
		if taken.record, err = s.kind.marshal(full); err != nil { // which changes it, so it comes last
			return nil, err
		}
	}
	return taken, nil
}

// put and drop are done under the cluster's lock.
func (s *source) put(o *object) {
	if s.kind.state != nil {
		s.cluster.series.Put(s.kind.state, o.UID, o.series)
	}
	if s.kind.put != nil {
		s.kind.put(s.cluster, o.UID, o.body)
	}
	if s.kind.tell != nil {
		s.kind.tell.put(s.cluster.teller, o.UID, o.tells)
	}
}

func (s *source) drop(uid types.UID) {
	if s.kind.state != nil {
		s.cluster.series.Delete(s.kind.state, uid)
	}
	if s.kind.drop != nil {
		s.kind.drop(s.cluster, uid)
	}
	if s.kind.tell != nil {
		s.kind.tell.drop(s.cluster.teller, uid)
	}
}

// Add, Update, Delete, Replace and Resync are what a reflector calls.
func (s *source) Add(o any) error { return s.change(o, "added") }

// Update takes a changed object.
func (s *source) Update(o any) error { return s.change(o, "modified") }

func (s *source) change(o any, event string) error {
	taken, err := s.take(o)
	if err != nil {
		return err
	}
	s.known[taken.UID] = struct{}{}
	s.cluster.events.WithLabelValues(s.kind.name, event).Inc()
	s.cluster.apply(s.kind, func() { s.put(taken) }, len(s.known))
	if s.saved != nil {
		s.saved.Put(taken.ResourceVersion, string(taken.UID), taken.record)
	}
	return nil
}

// Delete takes an object that is gone.
func (s *source) Delete(o any) error {
	taken, err := s.take(o)
	if err != nil {
		return err
	}
	_, known := s.known[taken.UID]
	delete(s.known, taken.UID)
	s.cluster.events.WithLabelValues(s.kind.name, "deleted").Inc()
	s.cluster.apply(s.kind, func() {
		if known { // how it ended may be told here alone
			s.put(taken)
		}
		s.drop(taken.UID)
	}, len(s.known))
	if s.saved != nil {
		s.saved.Delete(taken.ResourceVersion, string(taken.UID))
	}
	return nil
}

// Bookmark takes a resource version up to which nothing else has happened.
func (s *source) Bookmark(version string) error {
	if s.saved != nil {
		s.saved.Reached(version)
	}
	return nil
}

// Replace takes a whole list: what it does not have is gone.
func (s *source) Replace(list []any, version string) error {
	before := s.known
	s.known = make(map[types.UID]struct{}, len(list))
	taken := make([]*object, 0, len(list))
	for _, o := range list {
		t, err := s.take(o)
		if err != nil {
			return err
		}
		taken = append(taken, t)
		s.known[t.UID] = struct{}{}
		delete(before, t.UID)
	}
	s.cluster.events.WithLabelValues(s.kind.name, "listed").Add(float64(len(list)))
	s.cluster.apply(s.kind, func() {
		for uid := range before {
			s.drop(uid)
		}
		for _, t := range taken {
			s.put(t)
		}
	}, len(s.known))
	s.cluster.listed(s.kind)
	if s.saved != nil {
		s.save(version, taken)
	}
	return nil
}

// save begins the snapshot anew. What goes wrong is told and counted there; names and events do not depend on it.
func (s *source) save(version string, list []*object) {
	_ = s.saved.Replace(version, func(add func(string, []byte) error) error {
		for _, o := range list {
			if err := add(string(o.UID), o.record); err != nil {
				return err
			}
		}
		return nil
	})
}

// Resync has nothing to do: nothing is handed out twice.
func (s *source) Resync() error { return nil }
