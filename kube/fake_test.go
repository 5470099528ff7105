package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/transport/names"
)

const tooOld = `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}}`

// watched is one watch: where its lines go, and whether it is of metadata alone.
type watched struct {
	lines    chan string
	metadata bool
}

// fakeAPI is a mock of the Kubernetes API: it speaks just the lists, watches and gets that the watcher asks for, in JSON, so that unit tests need no
// etcd and kube-apiserver. That the real ones answer the same is checked by test/cluster.
type fakeAPI struct {
	*httptest.Server
	mu       sync.Mutex
	objects  map[string]map[types.UID]map[string]any // by resource
	watchers map[string][]watched
	version  int
	asked    []string        // paths of gets
	refuse   map[string]bool // resources that answer 403
	noStream bool            // an older API: watches do not send what is there
	lists    int
	streams  int                 // watches that began with everything
	history  map[string][]change // by resource
	forgot   int                 // the version up to which that is gone
	late     chan struct{}       // where there is one, that is said only when this is closed
}

// change is what happened to an object.
type change struct {
	version int
	event   string
	fields  map[string]any
}

func newFakeAPI(t *testing.T) *fakeAPI {
	f := &fakeAPI{objects: map[string]map[types.UID]map[string]any{}, watchers: map[string][]watched{}, refuse: map[string]bool{}, history: map[string][]change{}, version: 10}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.mu.Lock()
		for _, list := range f.watchers {
			for _, w := range list {
				close(w.lines)
			}
		}
		f.watchers = map[string][]watched{}
		f.mu.Unlock()
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

func (f *fakeAPI) kubeconfig(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\ncontexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", f.URL)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// put adds or replaces an object, as its typed value.
func (f *fakeAPI) put(resource string, o runtime.Object) {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		panic(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	meta := fields["metadata"].(map[string]any)
	f.version++
	meta["resourceVersion"] = fmt.Sprint(f.version)
	uid := types.UID(meta["uid"].(string))
	event := "MODIFIED"
	if f.objects[resource] == nil {
		f.objects[resource] = map[types.UID]map[string]any{}
	}
	if f.objects[resource][uid] == nil {
		event = "ADDED"
	}
	f.objects[resource][uid] = fields
	f.tell(resource, event, fields)
}

func (f *fakeAPI) delete(resource string, uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fields := maps.Clone(f.objects[resource][uid])
	delete(f.objects[resource], uid)
	f.version++
	meta := maps.Clone(fields["metadata"].(map[string]any))
	meta["resourceVersion"] = fmt.Sprint(f.version)
	fields["metadata"] = meta
	f.tell(resource, "DELETED", fields)
}

// drop ends all watches with the error that their resource versions are too old, and the events meanwhile are lost.
func (f *fakeAPI) drop(resource string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.watchers[resource] {
		w.lines <- tooOld + "\n"
		close(w.lines)
	}
	f.watchers[resource] = nil
}

// forget makes all versions before the present one too old to watch from.
func (f *fakeAPI) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	f.forgot = f.version
}

// disconnect ends all watches, as a restart of the watcher does.
func (f *fakeAPI) disconnect() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers = map[string][]watched{}
}

// asks counts lists, and watches that began with everything.
func (f *fakeAPI) asks() (lists, streams int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lists, f.streams
}

func (f *fakeAPI) tell(resource, event string, fields map[string]any) {
	f.history[resource] = append(f.history[resource], change{f.version, event, fields})
	for _, w := range f.watchers[resource] {
		w.lines <- line(event, f.shape(resource, fields, w.metadata))
	}
}

func line(event string, object any) string {
	text, _ := json.Marshal(map[string]any{"type": event, "object": object})
	return string(text) + "\n"
}

// shape is an object as it is asked for: whole, or its metadata.
func (f *fakeAPI) shape(resource string, fields map[string]any, metadata bool) map[string]any {
	out := map[string]any{"metadata": fields["metadata"]}
	for _, k := range everyKind() {
		if k.resource.Resource == resource && !metadata {
			for name, value := range fields {
				out[name] = value
			}
			out["apiVersion"], out["kind"] = k.resource.GroupVersion().String(), k.name
			return out
		}
	}
	out["apiVersion"], out["kind"] = "meta.k8s.io/v1", "PartialObjectMetadata"
	return out
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	for _, k := range everyKind() {
		if parts[len(parts)-1] == k.resource.Resource {
			f.collection(w, r, k)
			return
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.URL.Path)
	if r.URL.Path == "/apis/argoproj.io/v1alpha1" {
		_ = json.NewEncoder(w).Encode(metav1.APIResourceList{APIResources: []metav1.APIResource{
			{Name: "rollouts/status", Kind: "Rollout", Namespaced: true}, {Name: "rollouts", Kind: "Rollout", Namespaced: true}, {Name: "fleets", Kind: "Fleet"},
		}})
		return
	}
	for _, list := range f.objects {
		for _, fields := range list {
			meta := fields["metadata"].(map[string]any)
			if meta["name"] == parts[len(parts)-1] && strings.Contains(r.URL.Path, "argoproj.io") {
				_ = json.NewEncoder(w).Encode(f.shape("", fields, true))
				return
			}
		}
	}
	f.status(w, http.StatusNotFound, "NotFound")
}

func (f *fakeAPI) status(w http.ResponseWriter, code int, reason string) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
}

func (f *fakeAPI) collection(w http.ResponseWriter, r *http.Request, k *kind) {
	resource, q := k.resource.Resource, r.URL.Query()
	metadata := strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata")
	f.mu.Lock()
	if f.refuse[resource] {
		f.mu.Unlock()
		f.status(w, http.StatusForbidden, "Forbidden")
		return
	}
	if q.Get("watch") == "" {
		f.lists++
		var items []any
		for _, fields := range f.objects[resource] {
			items = append(items, f.shape(resource, fields, metadata))
		}
		list := map[string]any{"apiVersion": k.resource.GroupVersion().String(), "kind": k.name + "List", "metadata": map[string]any{"resourceVersion": fmt.Sprint(f.version)}, "items": items}
		if metadata {
			list["apiVersion"], list["kind"] = "meta.k8s.io/v1", "PartialObjectMetadataList"
		}
		_ = json.NewEncoder(w).Encode(list)
		f.mu.Unlock()
		return
	}
	if q.Get("sendInitialEvents") != "" && f.noStream {
		f.mu.Unlock()
		f.status(w, http.StatusUnprocessableEntity, "Invalid")
		return
	}
	ch := make(chan string, 1000)
	version, _ := strconv.Atoi(q.Get("resourceVersion"))
	if q.Get("sendInitialEvents") == "" && version < f.forgot {
		late := f.late
		f.mu.Unlock()
		w.(http.Flusher).Flush()
		if late != nil {
			<-late
		}
		fmt.Fprintln(w, tooOld)
		return
	}
	if q.Get("sendInitialEvents") == "" {
		for _, c := range f.history[resource] {
			if c.version > version {
				ch <- line(c.event, f.shape(resource, c.fields, metadata))
			}
		}
	} else {
		f.streams++
		for _, fields := range f.objects[resource] {
			ch <- line("ADDED", f.shape(resource, fields, metadata))
		}
		ch <- line("BOOKMARK", f.shape(resource, map[string]any{"metadata": map[string]any{
			"resourceVersion": fmt.Sprint(f.version), "annotations": map[string]any{metav1.InitialEventsAnnotationKey: "true"},
		}}, metadata))
	}
	f.watchers[resource] = append(f.watchers[resource], watched{ch, metadata})
	f.mu.Unlock()
	flusher := w.(http.Flusher)
	flusher.Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case text, ok := <-ch:
			if !ok {
				return
			}
			_, _ = w.Write([]byte(text))
			flusher.Flush()
		}
	}
}

// book is what a subscriber of the feed knows.
type book struct {
	mu    sync.Mutex
	names map[uint64]*names.Name
}

func (b *book) Connected(bool) {}

func (b *book) Update(u *names.Update, _ time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if u.Snapshot {
		b.names = map[uint64]*names.Name{}
	}
	for _, n := range u.Names {
		b.names[n.Id] = n
	}
	for _, id := range u.Forgotten {
		delete(b.names, id)
	}
}

// find gives the names that a function picks.
func (b *book) find(want func(*names.Name) bool) (out []*names.Name) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.names {
		if want(n) {
			out = append(out, n)
		}
	}
	return out
}

// lines lists what is known in words.
func (b *book) lines() []string {
	var out []string
	for _, n := range b.find(func(*names.Name) bool { return true }) {
		if n.Role == names.Role_ROLE_AGENT {
			continue
		}
		text := n.Workload.GetNamespace() + "/" + n.Workload.GetKind() + "/" + n.Workload.GetName()
		for _, a := range n.Addresses {
			text += " " + names.Address(a).String()
		}
		if n.Backend != nil {
			text += " -> " + n.Backend.Kind + "/" + n.Backend.Name
		}
		if n.Until != 0 {
			text += " ended"
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}
