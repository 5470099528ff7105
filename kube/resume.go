package kube

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/vetch-dev/vetch/kube/snapshot"
)

const (
	// saveEvery is how often snapshots are written: well within the 75 s of history that the API keeps of the busiest resources.
	saveEvery = 30 * time.Second
	// refusalTime is waited for the API to say that it has forgotten a resource version, which it does at once. Where it says so later, what was taken from the
	// snapshot is put right by a list.
	refusalTime = 250 * time.Millisecond
)

// The results of vetch_kube_resumes_total.
const (
	resumed         = "resumed"
	resumeExpired   = "expired" // the API has forgotten what came after it
	resumeRefused   = "refused" // the API gives a list, but not a watch from there on
	resumeOtherForm = "other_form"
)

// resumeResults are the reasons for a list of a resource that has a snapshot, or none.
var resumeResults = []struct {
	err    error
	result string
}{
	{snapshot.ErrNone, "none"},
	{snapshot.ErrOld, "old"},
	{snapshot.ErrOtherCluster, "other_cluster"},
	{snapshot.ErrOtherForm, resumeOtherForm},
	{snapshot.ErrCorrupt, "corrupt"},
}

func resultOf(err error) string {
	for _, r := range resumeResults {
		if errors.Is(err, r.err) {
			return r.result
		}
	}
	return resumeExpired
}

// resuming answers the first list from the snapshot of an earlier process. The reflector asks for it as a watch that begins with everything; so it gets the
// objects of the snapshot, and then what the API tells from its resource version on.
func (s *source) resuming(lw *cache.ListWatch) *cache.ListWatch {
	if s.saved == nil {
		return lw
	}
	tried := false // calls come one after the other
	return &cache.ListWatch{
		// The reflector asks for a list where a watch has failed and it does not expect the next one to do better. From then on the snapshot is older than what is
		// known: it must not be gone on from when the watch breaks some hours later.
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := lw.ListWithContextFunc(ctx, o)
			if err == nil && !tried {
				tried = true
				s.cluster.resumes.WithLabelValues(resumeRefused).Inc()
			}
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			if tried || o.SendInitialEvents == nil || !*o.SendInitialEvents {
				return lw.WatchFuncWithContext(ctx, o)
			}
			w, err := s.resume(ctx, lw, o)
			switch result := resultOf(err); {
			case err == nil:
				tried = true
				s.cluster.resumes.WithLabelValues(resumed).Inc()
				return w, nil
			case result == resumeExpired && !isExpired(err):
				return nil, err // tried again, unless a list succeeds before
			default:
				tried = true
				s.cluster.resumes.WithLabelValues(result).Inc()
				s.log.Info("the resource is listed anew", "resource", s.kind.resource.Resource, "reason", result, "err", err)
				return lw.WatchFuncWithContext(ctx, o)
			}
		},
	}
}

func isExpired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// resume opens the snapshot and the watch that goes on from it.
func (s *source) resume(ctx context.Context, lw *cache.ListWatch, o metav1.ListOptions) (watch.Interface, error) {
	from, err := s.saved.Load()
	if err != nil {
		return nil, err
	}
	o.ResourceVersion, o.SendInitialEvents, o.ResourceVersionMatch = from.Version(), nil, ""
	live, err := lw.WatchFuncWithContext(ctx, o)
	if err != nil {
		return nil, errors.Join(err, from.Close())
	}
	w := &resumedWatch{kind: s.kind, from: from, live: live, events: make(chan watch.Event), stopped: make(chan struct{})}
	if err := w.peek(ctx); err != nil {
		live.Stop()
		return nil, errors.Join(err, from.Close())
	}
	s.log.Info("goes on where an earlier process ended", "resource", s.kind.resource.Resource, "resource_version", from.Version())
	go w.run()
	return w, nil
}

// resumedWatch is a watch that begins with the objects of a snapshot.
type resumedWatch struct {
	kind    *kind
	from    *snapshot.Reader
	live    watch.Interface
	first   *watch.Event // that live has told of already
	events  chan watch.Event
	stop    sync.Once
	stopped chan struct{}
}

// peek waits a moment for the API to refuse the resource version.
func (w *resumedWatch) peek(ctx context.Context) error {
	wait := time.NewTimer(refusalTime)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return nil
	case event, ok := <-w.live.ResultChan():
		if !ok {
			return errors.New("the API ended the watch at once")
		}
		if event.Type == watch.Error {
			return apierrors.FromObject(event.Object)
		}
		w.first = &event
		return nil
	}
}

// ResultChan implements watch.Interface.
func (w *resumedWatch) ResultChan() <-chan watch.Event { return w.events }

// Stop implements watch.Interface.
func (w *resumedWatch) Stop() {
	w.stop.Do(func() {
		close(w.stopped)
		w.live.Stop()
	})
}

func (w *resumedWatch) run() {
	defer close(w.events)
	if err := w.replay(); err != nil {
		// What was sent until here is thrown away with this, and listed.
		w.send(watch.Event{Type: watch.Error, Object: &metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired, Message: err.Error(),
		}})
		return
	}
	if w.first != nil && !w.send(*w.first) {
		return
	}
	for event := range w.live.ResultChan() {
		if !w.send(event) {
			return
		}
	}
}

func (w *resumedWatch) send(e watch.Event) bool {
	select {
	case w.events <- e:
		return true
	case <-w.stopped:
		return false
	}
}

// replay sends the objects, and the bookmark that says that these were all.
func (w *resumedWatch) replay() error {
	defer w.from.Close()
	for {
		record, err := w.from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		o, err := w.kind.unmarshal(record)
		if err != nil {
			return err
		}
		if !w.send(watch.Event{Type: watch.Added, Object: o}) {
			return nil
		}
	}
	end := w.kind.empty()
	m, err := meta.Accessor(end)
	if err != nil {
		return err
	}
	m.SetResourceVersion(w.from.Version())
	m.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	w.send(watch.Event{Type: watch.Bookmark, Object: end})
	return nil
}

// empty is an object as they come of the kind.
func (k *kind) empty() runtime.Object {
	if k.object == nil {
		return &metav1.PartialObjectMetadata{}
	}
	return k.object.DeepCopyObject()
}

// form tells records of whole objects from those of their metadata, and objects with some annotations from those with others or none.
func (k *kind) form() string {
	switch {
	case k.object == nil:
		return "metadata"
	case len(k.annotations) > 0:
		h := fnv.New64a()
		for _, name := range slices.Compact(slices.Sorted(slices.Values(k.annotations))) {
			_, _ = io.WriteString(h, name+"\x00")
		}
		return fmt.Sprintf("annotated-%016x", h.Sum64())
	}
	return "trimmed"
}

// marshal gives the record of an object, which it trims.
func (k *kind) marshal(o runtime.Object) ([]byte, error) {
	if err := trim(o, k.annotations); err != nil {
		return nil, err
	}
	m, ok := o.(marshaler)
	if !ok {
		return nil, fmt.Errorf("%s: %T has no encoding", k.name, o)
	}
	return m.Marshal()
}

// unmarshal reads a record.
func (k *kind) unmarshal(record []byte) (runtime.Object, error) {
	o := k.empty()
	u, ok := o.(interface{ Unmarshal([]byte) error })
	if !ok {
		return nil, fmt.Errorf("%s: %T has no encoding", k.name, o)
	}
	if err := u.Unmarshal(record); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", snapshot.ErrCorrupt, k.name, err)
	}
	return o, nil
}
