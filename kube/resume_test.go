package kube

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/vetch-dev/vetch/kube/snapshot"
	"github.com/vetch-dev/vetch/kube/state"
	"github.com/vetch-dev/vetch/transport/names"
)

// process is one run of a watcher that keeps what a restart goes on from.
type process struct {
	*Watcher
	book *book
	stop func()
}

// running starts a watcher with everything, and somebody who listens to its feed.
func running(t *testing.T, f *fakeAPI, dir string, events *heard, annotations ...map[string][]string) *process {
	t.Helper()
	p := &process{book: &book{}}
	told := &state.Options{}
	for _, named := range annotations {
		told.Annotations = named
	}
	feed := names.NewFeed(names.FeedOptions{})
	var err error
	p.Watcher, err = New(Options{
		Kubeconfig: f.kubeconfig(t), Feed: feed, Registerer: prometheus.NewRegistry(), State: told, Events: events.take, Dir: dir, DirBytes: 1 << 20,
		Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	server, err := names.NewServer(names.ServerOptions{Feed: feed, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	require.NoError(t, server.Listen())
	client, err := names.NewClient(names.ClientOptions{URL: "http://" + server.Addr().String(), Node: "n1", Receiver: p.book})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{p.Run, server.Run, client.Run} {
		wg.Go(func() { assert.NoError(t, run(ctx)) })
	}
	p.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		assert.NoError(t, p.Close())
		f.disconnect()
	})
	t.Cleanup(p.stop)
	return p
}

func (p *process) results() map[string]float64 {
	got := map[string]float64{}
	for _, result := range []string{resumed, resumeExpired, resumeRefused, "none", "old", "other_cluster", resumeOtherForm, "corrupt"} {
		if n := testutil.ToFloat64(p.cluster.resumes.WithLabelValues(result)); n != 0 {
			got[result] = n
		}
	}
	return got
}

// aShop fills the API.
func aShop(f *fakeAPI) {
	f.put("nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "uid-n1"},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "172.16.0.1"}}}})
	f.put("deployments", aDeployment("shop/web:1", 1, "1"))
	f.put("replicasets", only(metaOf("web-1", ref("apps/v1", "Deployment", "web"))))
	f.put("pods", makePod("web-1-a", "n1", "10.1.1.5", ref("apps/v1", "ReplicaSet", "web-1")))
	f.put("pods", makePod("web-1-b", "n1", "10.1.1.6", ref("apps/v1", "ReplicaSet", "web-1")))
}

// whatHappens is what nobody watches.
func whatHappens(f *fakeAPI) {
	f.put("deployments", aDeployment("shop/web:2", 2, "2"))
	f.put("replicasets", only(metaOf("web-2", ref("apps/v1", "Deployment", "web"))))
	f.put("pods", makePod("web-2-a", "n1", "10.1.1.7", ref("apps/v1", "ReplicaSet", "web-2")))
	f.delete("pods", "uid-web-1-a")
	f.put("pods", makePod("brief", "n1", "10.1.1.5", nil)) // with the address of the one before
	f.delete("pods", "uid-brief")
	f.delete("pods", "uid-web-1-b")
	f.delete("replicasets", "uid-web-1")
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// aDeployment has a password in its environment.
func aDeployment(image string, generation int64, revision string) *appsv1.Deployment {
	d := deployment("web", 1)
	d.Generation, d.Status.ObservedGeneration = generation, generation
	d.Annotations = map[string]string{revisionOf: revision, lastApplied: "hunter2"}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app", Image: image, Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "hunter2"}}}}
	return d
}

var (
	shopBefore = []string{"/Node/n1 172.16.0.1", "shop/Deployment/web 10.1.1.5", "shop/Deployment/web 10.1.1.6"}
	shopAfter  = []string{"/Node/n1 172.16.0.1", "shop/Deployment/web 10.1.1.5 ended", "shop/Deployment/web 10.1.1.6 ended", "shop/Deployment/web 10.1.1.7", "shop/Pod/brief 10.1.1.5 ended"}
	// shopListed is what of that a list can know.
	shopListed = []string{"/Node/n1 172.16.0.1", "shop/Deployment/web 10.1.1.7"}
)

func TestRestartGoesOnWhereItEnded(t *testing.T) {
	for name, older := range map[string]bool{"list by a watch": false, "list, then watch": true} {
		t.Run(name, func(t *testing.T) {
			f, dir, events := newFakeAPI(t), t.TempDir(), &heard{}
			f.noStream = older
			aShop(f)
			first := running(t, f, dir, events)
			eventually(t, first.book, shopBefore...)
			first.stop()
			lists, streams := f.asks()
			require.NotZero(t, lists+streams)

			whatHappens(f)
			second := running(t, f, dir, events)
			eventually(t, second.book, shopAfter...)
			require.EventuallyWithT(t, func(t *assert.CollectT) { require.Len(t, events.find("RolloutStarted"), 1) }, time.Minute, 10*time.Millisecond)
			require.Equal(t, "new pods: image of app shop/web:1 -> shop/web:2", events.find("RolloutStarted")[0].Message, "what was before is known, too")
			again, streamsAgain := f.asks()
			require.Equal(t, []int{lists, streams}, []int{again, streamsAgain}, "nothing was listed")
			require.Equal(t, map[string]float64{resumed: float64(len(second.cluster.kinds))}, second.results())
			require.Len(t, told(second.Watcher, "kube_pod_created"), 1)
			require.Equal(t, first.options.Identity, second.options.Identity, "it is the same replica")

			f.put("pods", makePod("web-2-b", "n1", "10.1.1.8", ref("apps/v1", "ReplicaSet", "web-2")))
			second.stop()
			third := running(t, f, dir, events)
			eventually(t, third.book, append(shopListed[:2:2], "shop/Deployment/web 10.1.1.8")...)
		})
	}
}

// TestKilledWatcherGoesOn restarts with the files as they were at some moment.
func TestKilledWatcherGoesOn(t *testing.T) {
	f, dir, killed, events := newFakeAPI(t), t.TempDir(), t.TempDir(), &heard{}
	aShop(f)
	first := running(t, f, dir, events)
	eventually(t, first.book, shopBefore...)
	require.EventuallyWithT(t, func(t *assert.CollectT) { // the last list is written when the names are there already
		files, err := filepath.Glob(filepath.Join(dir, "*.snapshot"))
		require.NoError(t, err)
		require.Len(t, files, len(first.cluster.kinds))
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, os.CopyFS(killed, os.DirFS(dir)))
	lists, streams := f.asks()
	whatHappens(f)
	eventually(t, first.book, shopAfter...)
	first.stop()
	second := running(t, f, killed, events)
	eventually(t, second.book, shopAfter...)
	again, streamsAgain := f.asks()
	require.Equal(t, []int{lists, streams}, []int{again, streamsAgain})
}

func TestRestartThatHasToList(t *testing.T) {
	each := func(dir string, do func(text []byte) []byte) error {
		files, err := filepath.Glob(filepath.Join(dir, "*.snapshot"))
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			if err := os.WriteFile(name, do(text), 0o600); err != nil {
				return err
			}
		}
		return err
	}
	tests := map[string]struct {
		meanwhile func(f *fakeAPI, dir string) error
		want      string
	}{
		"the API forgot":     {func(f *fakeAPI, _ string) error { f.forget(); return nil }, resumeExpired},
		"the files are torn": {func(_ *fakeAPI, dir string) error { return each(dir, func(b []byte) []byte { return b[:len(b)-2] }) }, ""},
		"the files are no files": {func(_ *fakeAPI, dir string) error {
			return each(dir, func([]byte) []byte { return []byte("0123456789") })
		}, "corrupt"},
		"a newer version wrote them": {func(_ *fakeAPI, dir string) error {
			return each(dir, func(b []byte) []byte { b[7]++; return b })
		}, resumeOtherForm},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, dir, events := newFakeAPI(t), t.TempDir(), &heard{}
			aShop(f)
			first := running(t, f, dir, events)
			eventually(t, first.book, shopBefore...)
			require.Equal(t, map[string]float64{"none": float64(len(first.cluster.kinds))}, first.results())
			first.stop()
			whatHappens(f)
			require.NoError(t, tt.meanwhile(f, dir))
			_, streams := f.asks()
			second := running(t, f, dir, events)
			eventually(t, second.book, shopListed...)
			_, again := f.asks()
			require.Equal(t, len(second.cluster.kinds), again-streams, "each was listed once")
			if tt.want != "" {
				require.Equal(t, map[string]float64{tt.want: float64(len(second.cluster.kinds))}, second.results())
			}
		})
	}
}

func TestSnapshotOfAnotherCluster(t *testing.T) {
	one, two, dir, events := newFakeAPI(t), newFakeAPI(t), t.TempDir(), &heard{}
	aShop(one)
	p := running(t, one, dir, events)
	eventually(t, p.book, shopBefore...)
	p.stop()
	two.put("pods", makePod("other", "n1", "10.1.1.5", nil))
	p = running(t, two, dir, events)
	eventually(t, p.book, "shop/Pod/other 10.1.1.5")
	require.Equal(t, map[string]float64{"other_cluster": float64(len(p.cluster.kinds))}, p.results())
}

// TestLateRefusal meets an API that says only after a while that it has forgotten.
func TestLateRefusal(t *testing.T) {
	f, dir, events := newFakeAPI(t), t.TempDir(), &heard{}
	aShop(f)
	p := running(t, f, dir, events)
	eventually(t, p.book, shopBefore...)
	p.stop()
	whatHappens(f)
	f.forget()
	late := make(chan struct{})
	f.mu.Lock()
	f.late = late
	f.mu.Unlock()
	t.Cleanup(sync.OnceFunc(func() { close(late) }))
	p = running(t, f, dir, events)
	eventually(t, p.book, shopBefore...)
	f.mu.Lock()
	f.late = nil
	f.mu.Unlock()
	for range p.cluster.kinds {
		late <- struct{}{}
	}
	eventually(t, p.book, append(shopListed[:2:2], "shop/Deployment/web 10.1.1.5 ended", "shop/Deployment/web 10.1.1.6 ended")...)
}

// TestTwoOnOneDirectory starts one that lists, and loses nothing but that.
func TestTwoOnOneDirectory(t *testing.T) {
	f, dir, events := newFakeAPI(t), t.TempDir(), &heard{}
	aShop(f)
	one := running(t, f, dir, events)
	two := running(t, f, dir, events)
	eventually(t, one.book, shopBefore...)
	eventually(t, two.book, shopBefore...)
	require.NotNil(t, one.saved)
	require.Nil(t, two.saved)
	require.NotEqual(t, one.options.Identity, two.options.Identity)
}

func TestNoPasswordOnDisk(t *testing.T) {
	for name, annotations := range map[string]map[string][]string{
		"no annotations":    nil,
		"some annotations":  {"deployments": {"owner"}, "pods": {"owner"}},
		"every annotation":  {"deployments": {"*"}, "pods": {"*"}},
		"what is not there": {"deployments": {"team"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, dir, events := newFakeAPI(t), t.TempDir(), &heard{}
			aShop(f)
			pod := makePod("secretive", "n1", "10.1.1.9", nil)
			pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PASSWORD", Value: "hunter2"}}
			pod.Spec.Containers[0].Command = []string{"hunter2"}
			pod.Annotations = map[string]string{lastApplied: "hunter2", "owner": "shop-team"}
			f.put("pods", pod)
			p := running(t, f, dir, events, annotations)
			eventually(t, p.book, append(shopBefore[:len(shopBefore):len(shopBefore)], "shop/Pod/secretive 10.1.1.9")...)
			p.stop()
			records, owners := 0, 0
			for k := range p.cluster.kinds {
				from, err := p.saved.Resource(k.resource.Resource, k.form()).Load()
				require.NoError(t, err)
				for {
					record, err := from.Next()
					if err != nil {
						break
					}
					records++
					require.NotContains(t, string(record), "hunter2", k.name)
					owners += bytes.Count(record, []byte("shop-team"))
				}
				require.NoError(t, from.Close())
			}
			require.Equal(t, 6, records)
			require.Equal(t, len(annotations["pods"]), owners)
		})
	}
}

func TestFormTellsWhichAnnotations(t *testing.T) {
	form := func(names ...string) string { return (&kind{object: &corev1.Pod{}, annotations: names}).form() }
	require.Equal(t, "trimmed", form())
	require.Regexp(t, "^annotated-[0-9a-f]{16}$", form("a"))
	require.Equal(t, form("a", "b"), form("b", "a", "a"))
	require.NotEqual(t, form("a"), form("a", "b"))
	require.NotEqual(t, form("a", "b"), form("ab"))
}

// TestRefusedWatchIsNotTriedAgain has an API that gives a list, but no watch at first.
func TestRefusedWatchIsNotTriedAgain(t *testing.T) {
	d, err := snapshot.Open(snapshot.Options{Dir: t.TempDir(), Cluster: "c", MaxBytes: 1 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	c := newCluster(names.NewFeed(names.FeedOptions{}), nil, nil)
	for k := range c.kinds {
		if k.name != "Pod" {
			continue
		}
		saved := d.Resource("pods", k.form())
		require.NoError(t, saved.Replace("5", func(func(string, []byte) error) error { return nil }))
		s := newSource(k, c, slog.New(slog.DiscardHandler), saved)
		var asked []string
		var listErr error
		lw := s.resuming(&cache.ListWatch{
			ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) { return &corev1.PodList{}, listErr },
			WatchFuncWithContext: func(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
				asked = append(asked, o.ResourceVersion)
				return nil, apierrors.NewForbidden(k.resource.GroupResource(), "", nil)
			},
		})
		yes := true
		all := metav1.ListOptions{SendInitialEvents: &yes, ResourceVersion: "0"}
		again := func() {
			_, err := lw.WatchFuncWithContext(t.Context(), all)
			require.Error(t, err)
		}
		again()
		listErr = errors.New("the API is away")
		_, err := lw.ListWithContextFunc(t.Context(), metav1.ListOptions{})
		require.Error(t, err)
		again()
		listErr = nil
		for range 2 {
			_, err = lw.ListWithContextFunc(t.Context(), metav1.ListOptions{})
			require.NoError(t, err)
		}
		again()
		require.Equal(t, []string{"5", "5", "0"}, asked)
		require.InDelta(t, 1, testutil.ToFloat64(c.resumes.WithLabelValues(resumeRefused)), 0)
	}
}
