package events

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
)

// told is the end of one run of a container, as the agent of its node and the watcher tell of it.
func told(run string, minutes int) (kernel, watcher model.Event) {
	at := base.Add(time.Duration(minutes) * time.Minute)
	object := model.Object{Namespace: "shop", Kind: "Pod", Name: "cart-1", UID: "u1"}
	kernel = model.Event{
		ID: model.ContainerEnd(run), First: at.Add(300 * time.Millisecond), Last: at.Add(300 * time.Millisecond), Count: 1, Type: model.EventWarning, Reason: "Crashed",
		Message: "the main process of cart was ended by SIGSEGV", Source: model.SourceKernel, Object: object, Node: "node-a",
		Workload: model.Workload{Cluster: "east", Namespace: "shop", Kind: "Pod", Name: "cart-1"}, Fields: map[string]string{"pid": "4711", "signal": "SIGSEGV", "container": "app"},
	}
	watcher = model.Event{
		ID: model.ContainerEnd(run), First: at, Last: at, Count: 1, Type: model.EventWarning, Reason: "Error",
		Message: "container app ended with exit code 139", Source: model.SourceWatcher, Object: object, Node: "node-a",
		Workload: model.Workload{Cluster: "east", Namespace: "shop", Kind: "Deployment", Name: "cart"}, Fields: map[string]string{"exit_code": "139", "container": "app", "restarts": "1"},
	}
	return kernel, watcher
}

// isBoth holds that one event is all that was told of some ends of one container.
func isBoth(t *testing.T, s store.Events, count uint64) {
	t.Helper()
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		page, err := s.Find(context.Background(), all())
		require.NoError(t, err)
		require.Len(t, page.Events, 1)
		got := page.Events[0]
		require.Equal(t, count, got.Count)
		require.Equal(t, "Crashed", got.Reason, "the API only says Error")
		require.Equal(t, "container app ended with exit code 139; the main process of cart was ended by SIGSEGV", got.Message)
		require.Equal(t, map[string]string{
			"pid": "4711", "signal": "SIGSEGV", "container": "app", "exit_code": "139", "restarts": "1", "sources": "kernel, watcher",
		}, got.Fields)
		require.Equal(t, model.Workload{Cluster: "east", Namespace: "shop", Kind: "Deployment", Name: "cart"}, got.Workload)
		counts, err := s.Count(context.Background(), all(), store.EventCluster)
		require.NoError(t, err)
		require.Len(t, counts, 1)
		require.Equal(t, count, counts[0].Count)
		for _, source := range []string{model.SourceKernel, model.SourceWatcher} {
			q := all()
			q.Is = map[string][]string{store.EventSource: {source}}
			page, err := s.Find(context.Background(), q)
			require.NoError(t, err)
			require.Len(t, page.Events, 1, "it is found by each source")
		}
	}, time.Minute, 20*time.Millisecond)
}

func joinedEnds(t *testing.T, d driver) {
	orders := map[string]func(t *testing.T, s store.Events, first, second model.Event) store.Events{
		"one after the other": func(t *testing.T, s store.Events, first, second model.Event) store.Events {
			put(t, s, first)
			put(t, s, second)
			return s
		},
		"at once": func(t *testing.T, s store.Events, first, second model.Event) store.Events {
			put(t, s, first, second)
			return s
		},
		"with a restart between": func(t *testing.T, s store.Events, first, second model.Event) store.Events {
			put(t, s, first)
			find(t, s, all(), 1)
			s = d.reopen(t, s)
			put(t, s, second)
			return s
		},
	}
	for name, order := range orders {
		for _, kernelFirst := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				first, second := told("run-1", 10)
				if !kernelFirst {
					first, second = second, first
				}
				s := order(t, d.open(t), first, second)
				isBoth(t, s, 1)
				put(t, s, first, second)
				put(t, s, second)
				isBoth(t, s, 1)
				// The next end of the same container happens to be told of in the other order.
				again, before := told("run-2", 20)
				if !kernelFirst {
					again, before = before, again
				}
				put(t, s, before)
				put(t, s, again)
				isBoth(t, s, 2)
			})
		}
	}
}

// nameless is what the kernel tells of a container that nobody could name yet.
func nameless(e model.Event) model.Event {
	e.Object, e.Workload = model.Object{}, model.Workload{Cluster: "east", Kind: model.KindContainer, Name: "0123456789ab"}
	e.Fields = map[string]string{"pid": e.Fields["pid"], "signal": "SIGSEGV"}
	e.Message = "the main process of 0123456789ab was ended by SIGSEGV"
	return e
}

// countedEnds has ends of which both sources told in either order, and such of which one did: each counts once, whatever is asked for.
func countedEnds(t *testing.T, d driver) {
	s := d.open(t)
	for n := range 3 {
		kernel, watcher := told(fmt.Sprint("kernel-first-", n), 10+n)
		put(t, s, nameless(kernel))
		put(t, s, watcher)
		kernel, watcher = told(fmt.Sprint("watcher-first-", n), 30+n)
		put(t, s, watcher)
		put(t, s, nameless(kernel))
	}
	for n := range 2 {
		kernel, _ := told(fmt.Sprint("kernel-alone-", n), 70+n)
		put(t, s, nameless(kernel))
	}
	for n := range 4 {
		_, watcher := told(fmt.Sprint("watcher-alone-", n), 80+n)
		put(t, s, watcher)
	}
	other := backOff(5, "cart-1") // no end
	other.Count = 7
	put(t, s, other)
	hours := func(counts []store.EventCount) map[int]uint64 {
		found := map[int]uint64{}
		for _, c := range counts {
			found[int(c.Start.Sub(base).Hours())] += c.Count
		}
		return found
	}
	for name, tt := range map[string]struct {
		property, value string
		text            string
		first, second   uint64 // hour
	}{
		"all":       {first: 6 + 7, second: 6},
		"cluster":   {property: store.EventCluster, value: "east", first: 6 + 7, second: 6},
		"namespace": {property: store.EventNamespace, value: "shop", first: 6 + 7, second: 4},
		"workload":  {property: store.EventWorkload, value: "shop/Deployment/cart", first: 6 + 7, second: 4},
		"name":      {property: store.EventName, value: "cart-1", first: 6 + 7, second: 4},
		"id only":   {property: store.EventWorkload, value: "/Container/0123456789ab", first: 3, second: 2},
		"crashed":   {property: store.EventReason, value: "Crashed", first: 6, second: 2},
		"watcher":   {property: store.EventSource, value: model.SourceWatcher, first: 6, second: 4},
		"kernel":    {property: store.EventSource, value: model.SourceKernel, first: 6, second: 2},
		"its text":  {text: "ended with exit code 139", first: 6, second: 4},
		"k's text":  {text: "was ended by SIGSEGV", first: 6, second: 2},
	} {
		q := all()
		q.Text = tt.text
		if tt.property != "" {
			q.Is = map[string][]string{tt.property: {tt.value}}
		}
		require.EventuallyWithT(t, func(t *assert.CollectT) {
			page, err := s.Find(context.Background(), q)
			require.NoError(t, err, name)
			var sum uint64
			for i := range page.Events {
				sum += page.Events[i].Count
			}
			require.Equal(t, tt.first+tt.second, sum, name)
			want := map[int]uint64{0: tt.first}
			if tt.second > 0 {
				want[1] = tt.second
			}
			for _, by := range store.EventProperties() {
				counts, err := s.Count(context.Background(), q, by)
				require.NoError(t, err, name)
				require.Equal(t, want, hours(counts), "%s by %s", name, by)
			}
		}, time.Minute, 20*time.Millisecond)
	}
	// The second record of an end is where the first is, however narrow the range.
	q := all()
	kernel, _ := told("", 11)
	q.Start, q.End = kernel.Last.Add(-time.Millisecond), kernel.Last.Add(time.Millisecond)
	require.EqualValues(t, 1, find(t, s, q, 1)[0].Count)
	require.Equal(t, "cart-1", find(t, s, q, 1)[0].Object.Name)
}

// processesOfOne has two processes that one agent takes for the main one of a container.
func processesOfOne(t *testing.T, d driver) {
	s := d.open(t)
	kernel, watcher := told("run", 10)
	second := kernel
	second.Fields = maps.Clone(kernel.Fields)
	second.Fields["pid"], second.Message = "4712", "the main process of cart ended with exit code 1"
	put(t, s, kernel, second, second)
	put(t, s, watcher, second)
	find(t, s, all(), 2)
	s = d.reopen(t, s)
	put(t, s, kernel, second, watcher)
	third := second
	third.Fields = maps.Clone(second.Fields)
	third.Fields["pid"] = "4713"
	put(t, s, third)
	found := find(t, s, all(), 3)
	require.Len(t, found, 2)
	counts := map[string]uint64{}
	for _, e := range found {
		counts[e.Message] = e.Count
	}
	require.Equal(t, map[string]uint64{watcher.Message + "; " + kernel.Message: 1, second.Message: 2}, counts)
}

func TestJoined(t *testing.T) {
	kernel, watcher := told("run", 1)
	require.Equal(t, endKey(&kernel), endKey(&watcher))
	later := joined(watcher, kernel)
	require.Equal(t, model.SourceKernel, later.Source)
	require.Equal(t, watcher.Last, later.Last, "no range of time has one of them alone")
	require.Equal(t, kernel.ID, later.ID)
	require.Equal(t, []string{"kernel", "watcher"}, sourcesOf(&later))

	oom, killed := kernel, watcher
	oom.Reason, oom.Message = "OOMKilled", "the main process of cart was killed: out of memory"
	both := joined(oom, killed)
	require.Equal(t, "OOMKilled", both.Reason, "the API has not heard of it")
	killed.Reason, killed.Message = "OOMKilled", "container app was killed: out of memory"
	both = joined(oom, killed)
	require.Equal(t, killed.Message, both.Message, "it need not be said twice")
	require.Equal(t, endKey(&oom), endKey(&killed))

	asked := kernel
	asked.Type = model.EventNormal
	require.Equal(t, model.EventWarning, joined(watcher, asked).Type)
	asked.Fields, asked.Workload = nil, model.Workload{}
	require.Equal(t, watcher.Workload, joined(watcher, asked).Workload)
	require.Equal(t, []string{"container", "exit_code", "restarts", "sources"}, slices.Sorted(maps.Keys(joined(watcher, asked).Fields)))
}
