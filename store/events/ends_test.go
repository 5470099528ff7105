package events

import (
	"context"
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

func TestJoined(t *testing.T) {
	kernel, watcher := told("run", 1)
	require.Equal(t, endKey(&kernel), endKey(&watcher))
	later := joined(watcher, kernel)
	require.Equal(t, model.SourceKernel, later.Source)
	require.Equal(t, kernel.Last, later.Last)
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
