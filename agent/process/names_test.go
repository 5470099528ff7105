package process

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/agent/probe"
)

// TestNamesThatComeLate: a container that its runtime tells of late, or that a runtime that was away tells of, gets its name; and what shares the
// book's knowledge asks for nothing twice.
func TestNamesThatComeLate(t *testing.T) {
	b, root := testBook(t, nil)
	now := time.Now()
	b.runtimes.now = func() time.Time { return now }
	owner := probe.Owner{ID: 1, Exe: "x", PathV1: "/default/" + hexID}
	b.Update(probe.Snapshot{Time: now, Owners: []probe.Owner{owner}})
	got, _ := b.Identity(1)
	require.Equal(t, "/docker/"+hexID[:12], got.ContainerID)
	key, ends := probe.PairKey{Owner: 1}, Ends{renames: b.renames}
	require.False(t, b.Stale(key, &ends))

	file := filepath.Join(root, "run/containerd/io.containerd.runtime.v2.task/default", hexID, "config.json")
	writeFile(t, file, `{"annotations":{"nerdctl/name":"cache"}}`)
	b.Update(probe.Snapshot{Time: now})
	got, _ = b.Identity(1)
	require.Equal(t, "/docker/"+hexID[:12], got.ContainerID, "not asked again at once")
	now = now.Add(firstAsk)
	b.Update(probe.Snapshot{Time: now})
	got, _ = b.Identity(1)
	require.Equal(t, "/docker/cache", got.ContainerID)
	require.False(t, got.Unnamed)
	require.True(t, b.Stale(key, &ends), "what was answered with the old name is to be asked again")

	require.NoError(t, os.Remove(file))
	require.Equal(t, "/docker/cache", b.Namer().Of(ParseCgroup(owner.PathV1)).ContainerID, "the book's answer serves its namers")
}

func TestRuntimesAreAskedAgainLessAndLess(t *testing.T) {
	root := t.TempDir()
	calls := 0
	dockerAt(t, root, func(w http.ResponseWriter, r *http.Request) {
		calls++
		http.NotFound(w, r)
	})
	n := newRuntimes(root)
	now := time.Now()
	n.now = func() time.Time { return now }
	place := Place{Runtime: "docker", Container: hexID}
	budget := time.Hour
	for range 3600 {
		require.Zero(t, n.of(place, &budget))
		now = now.Add(time.Second)
	}
	require.Equal(t, 7+(3600-127)/120+1, calls, "after 1, 2, 4 ... 64 s, and then each 2 minutes")

	spent := time.Duration(0)
	require.Zero(t, n.of(Place{Runtime: "docker", Container: hexID2}, &spent))
	require.Empty(t, n.known[hexID2], "who was not asked has not answered")
}

// TestRuntimeThatHangs holds up only who waits for its answer, and is asked once.
func TestRuntimeThatHangs(t *testing.T) {
	root := t.TempDir()
	var calls atomic.Int32
	entered, release := make(chan struct{}), make(chan struct{})
	dockerAt(t, root, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		close(entered)
		<-release
		fmt.Fprint(w, `{"Name":"/web"}`)
	})
	n := newRuntimes(root)
	n.docker.Timeout = time.Hour
	n.learn(hexID2, Names{Name: "known"})
	place := Place{Runtime: "docker", Container: hexID}
	answers := make(chan Names, 2)
	ask := func() {
		budget := time.Hour
		answers <- n.of(place, &budget)
	}
	go ask()
	<-entered
	go ask()
	budget := time.Hour
	require.Equal(t, "known", n.of(Place{Container: hexID2}, &budget).Name)
	n.learn(hexID[:63]+"0", Names{Name: "learned"})
	require.Equal(t, "learned", n.of(Place{Container: hexID[:63] + "0"}, &budget).Name)
	require.Equal(t, time.Hour, budget)
	little := time.Millisecond
	require.Zero(t, n.of(place, &little), "no longer than the budget")
	require.LessOrEqual(t, little, time.Duration(0))
	require.Empty(t, answers, "it hangs still")
	close(release)
	for range 2 {
		require.Equal(t, "web", (<-answers).Name)
	}
	require.EqualValues(t, 1, calls.Load())
}

func TestImages(t *testing.T) {
	root := t.TempDir()
	dockerAt(t, root, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"Name":"/web","Config":{"Image":"nginx:1.27","Labels":{}}}`)
	})
	id := func(c byte) string { return hexID[:63] + string(c) }
	bundle := `{"annotations":{"io.kubernetes.cri.container-name":"app","io.kubernetes.cri.image-name":"docker.io/library/redis:8"}}`
	writeFile(t, filepath.Join(root, "run/containerd/io.containerd.runtime.v2.task/k8s.io", id('1'), "config.json"), bundle)
	writeFile(t, filepath.Join(root, "run/containers/storage/overlay-containers", id('2'), "userdata/config.json"),
		`{"annotations":{"io.kubernetes.container.name":"pg","io.kubernetes.cri-o.ImageName":"quay.io/pg:17"}}`)
	writeFile(t, filepath.Join(root, "var/lib/containers/storage/overlay-containers/containers.json"),
		`[{"id":"`+id('3')+`","names":["web"],"metadata":"{\"image-name\":\"docker.io/caddy:2\",\"name\":\"web\"}"},{"id":"`+id('4')+`","names":["x"],"metadata":"else"}]`)
	namer := NewNamer(root, nil)
	for path, want := range map[string]string{
		"/docker/" + hexID: "nginx:1.27", "/kubepods/cri-containerd-" + id('1') + ".scope": "docker.io/library/redis:8",
		"/kubepods/crio-" + id('2') + ".scope": "quay.io/pg:17", "/machine.slice/libpod-" + id('3') + ".scope": "docker.io/caddy:2",
		"/machine.slice/libpod-" + id('4') + ".scope": "",
	} {
		budget := time.Minute
		require.Equal(t, Description{Image: want}, namer.Describe(ParseCgroup(path), &budget), path)
	}
}
