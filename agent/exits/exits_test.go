package exits

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is a store that may refuse.
type sink struct {
	mu     sync.Mutex
	err    error
	events []model.Event
}

func (s *sink) put(_ context.Context, events []model.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.events = append(s.events, events...)
	}
	return s.err
}

func (s *sink) count() (n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		n += e.Count
	}
	return n
}

func watcher(t *testing.T, s *sink) *Watcher {
	t.Helper()
	w, err := New(Options{Node: "host", Store: s.put})
	require.NoError(t, err)
	return w
}

// named says that owner n is the program "program-n".
func named(id probe.OwnerID) (process.Identity, bool) {
	name := fmt.Sprint("program-", id)
	return process.Identity{Workload: model.Workload{Kind: model.KindProcess, Name: name}, ContainerID: "/process/" + name}, true
}

func crash(owner probe.OwnerID, pid uint32) probe.Exit {
	return probe.Exit{Owner: owner, PID: pid, Started: time.Hour, Code: uint32(syscall.SIGSEGV) | 0x80}
}

func TestEventOf(t *testing.T) {
	program := process.Identity{Workload: model.Workload{Kind: model.KindProcess, Name: "shop"}, ContainerID: "/process/shop"}
	pod := process.Identity{Workload: model.Workload{Namespace: "default", Kind: model.KindPod, Name: "cart-1"}, PodUID: "u1"}
	owned := process.Identity{Workload: model.Workload{Namespace: "shop", Kind: "Deployment", Name: "cart"}, PodUID: "u1", ContainerID: "/k8s/shop/cart-1/app"}
	e := eventOf(taken{Exit: probe.Exit{Code: 11}, at: time.Now()}, owned, "host")
	require.Equal(t, model.Object{Namespace: "shop", Kind: "Pod", Name: "cart-1", UID: "u1"}, e.Object)
	require.Equal(t, owned.Workload, e.Workload)
	require.Equal(t, "app", e.Fields["container"])
	require.Empty(t, e.ID, "it is not the first process")
	owned.Run = "0123456789abcdef"
	e = eventOf(taken{Exit: probe.Exit{Code: 11, First: true}, at: time.Now()}, owned, "host")
	require.Equal(t, model.ContainerEnd("0123456789abcdef"), e.ID, "by which the cluster's API tells of it too")
	tests := map[string]struct {
		exit   probe.Exit
		who    process.Identity
		kind   model.EventType
		reason string
		text   string
		field  string // signal or exit code
	}{
		"fault":        {probe.Exit{Code: 11 | 0x80}, program, model.EventWarning, "Crashed", "shop was ended by SIGSEGV", "SIGSEGV"},
		"abort":        {probe.Exit{Code: 6}, pod, model.EventWarning, "Crashed", "a process of cart-1 was ended by SIGABRT", "SIGABRT"},
		"memory":       {probe.Exit{Code: 9, NoMemory: true}, pod, model.EventWarning, "OOMKilled", "a process of cart-1 was killed: out of memory", "SIGKILL"},
		"main":         {probe.Exit{Code: 3 << 8, First: true}, pod, model.EventWarning, "Exited", "the main process of cart-1 ended with exit code 3", "3"},
		"main asked":   {probe.Exit{Code: 15, First: true}, pod, model.EventNormal, "Exited", "the main process of cart-1 was ended by SIGTERM", "SIGTERM"},
		"main of sh":   {probe.Exit{Code: 143 << 8, First: true}, pod, model.EventNormal, "Exited", "the main process of cart-1 ended with exit code 143", "143"},
		"main memory":  {probe.Exit{Code: 9, First: true, NoMemory: true}, pod, model.EventWarning, "OOMKilled", "the main process of cart-1 was killed: out of memory", "SIGKILL"},
		"nobody known": {probe.Exit{Code: 4}, process.Identity{}, model.EventWarning, "Crashed", "~unknown was ended by SIGILL", "SIGILL"},
		"odd signal":   {probe.Exit{Code: 40, First: true}, program, model.EventWarning, "Crashed", "the main process of shop was ended by signal 40", "signal 40"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			e := eventOf(taken{Exit: tt.exit, at: now}, tt.who, "host")
			require.Equal(t, tt.kind, e.Type)
			require.Equal(t, tt.reason, e.Reason)
			require.Equal(t, tt.text, e.Message)
			require.Equal(t, tt.field, e.Fields["signal"]+e.Fields["exit_code"])
			require.Equal(t, tt.who.PodUID, e.Object.UID)
			require.Equal(t, "host", e.Node)
			require.EqualValues(t, 1, e.Count)
		})
	}
}

func TestStormOfOneProgramIsOneEvent(t *testing.T) {
	s := &sink{}
	w := watcher(t, s)
	for i := range 1000 {
		w.Take(crash(1, uint32(i)))
		w.Take(crash(1, uint32(i))) // of its other thread
	}
	w.Take(crash(2, 5000))
	var owners []probe.OwnerID
	w.Owners(func(id probe.OwnerID) { owners = append(owners, id) })
	require.Len(t, owners, 1001)
	w.Name(named)
	require.NoError(t, w.store(context.Background()))
	require.Len(t, s.events, 2)
	require.EqualValues(t, 1000, s.events[0].Count)
	require.Equal(t, "program-1", s.events[0].Workload.Name)
	require.Equal(t, 1001.0, testutil.ToFloat64(w.seen.WithLabelValues("Crashed")))
}

func TestStormOfManyProgramsIsBounded(t *testing.T) {
	s := &sink{}
	w := watcher(t, s)
	pid := uint32(0)
	for range 10 {
		for range maxPending + 100 {
			pid++
			w.Take(crash(probe.OwnerID(pid), pid))
		}
		w.Name(named)
	}
	require.NoError(t, w.store(context.Background()))
	lost := testutil.ToFloat64(w.dropped.WithLabelValues("pending")) + testutil.ToFloat64(w.dropped.WithLabelValues("rate"))
	require.Equal(t, 1000.0, testutil.ToFloat64(w.dropped.WithLabelValues("pending")))
	require.Equal(t, float64(pid), float64(s.count())+lost, "everything is stored or counted")
	require.LessOrEqual(t, len(s.events), maxBurst+maxASecond*60)
	require.LessOrEqual(t, len(w.lately), maxLately)
}

func TestStoreThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{err: errors.New("disk is full")}
		w := watcher(t, s)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		for i := range 2000 {
			w.Take(crash(probe.OwnerID(i), uint32(i)))
			w.Name(named)
			time.Sleep(100 * time.Millisecond) // below the rate
		}
		require.Zero(t, s.count())
		require.Equal(t, float64(2000-maxQueue), testutil.ToFloat64(w.dropped.WithLabelValues("queue")))
		s.mu.Lock()
		s.err = nil
		s.mu.Unlock()
		time.Sleep(2 * lastRetry)
		require.EqualValues(t, maxQueue, s.count(), "what could wait was stored")
		w.Take(crash(1, 9999))
		w.Name(named)
		cancel()
		require.NoError(t, <-done)
		require.EqualValues(t, maxQueue+1, s.count(), "at the end too")
	})
}

func TestEndWithAStoreThatRefuses(t *testing.T) {
	s := &sink{err: errors.New("closed")}
	w := watcher(t, s)
	w.Take(crash(1, 1))
	w.Name(named)
	w.flush()
	require.Equal(t, 1.0, testutil.ToFloat64(w.dropped.WithLabelValues("closing")))
}

func TestEveryEndIsTold(t *testing.T) {
	var told []string
	w, err := New(Options{Node: "host", Store: (&sink{}).put, Ended: func(id process.Identity, e probe.Exit) {
		told = append(told, fmt.Sprintln(id.ContainerID, e.PID, e.NoMemory))
	}})
	require.NoError(t, err)
	w.Take(probe.Exit{Owner: 1, PID: 1, Code: 9, NoMemory: true})
	w.Take(probe.Exit{Owner: 1, PID: 2, Code: 9, NoMemory: true}) // one event with the first, but two kills
	w.Take(probe.Exit{Owner: 2, PID: 3, Code: 11})
	w.Name(named)
	require.Equal(t, []string{"/process/program-1 1 true\n", "/process/program-1 2 true\n", "/process/program-2 3 false\n"}, told)
}

func TestSandboxesDoNotCrash(t *testing.T) {
	s := &sink{}
	w := watcher(t, s)
	pause := probe.Exit{Owner: 1, PID: 1, Started: time.Hour, Code: uint32(syscall.SIGKILL), First: true}
	hungry := probe.Exit{Owner: 1, PID: 2, Started: time.Hour, Code: uint32(syscall.SIGKILL), First: true, NoMemory: true}
	w.Take(pause)
	w.Take(hungry)
	w.Name(func(probe.OwnerID) (process.Identity, bool) {
		return process.Identity{Workload: model.Workload{Namespace: "shop", Kind: model.KindPod, Name: "cart-1"}, PodUID: "u1", Sandbox: true}, true
	})
	require.NoError(t, w.store(t.Context()))
	require.Len(t, s.events, 1, "but for want of memory")
	require.Equal(t, "OOMKilled", s.events[0].Reason)
	require.EqualValues(t, 1, testutil.ToFloat64(w.dropped.WithLabelValues("sandbox")))
}

func TestRunsOfAContainerStayApart(t *testing.T) {
	s := &sink{}
	w := watcher(t, s)
	for n := range uint32(2) {
		w.Take(probe.Exit{Owner: probe.OwnerID(n), PID: n, Started: time.Hour, Code: 3 << 8, First: true})
	}
	w.Name(func(id probe.OwnerID) (process.Identity, bool) {
		return process.Identity{Workload: model.Workload{Namespace: "shop", Kind: model.KindPod, Name: "cart-1"}, PodUID: "u1", Run: fmt.Sprint("run-", id)}, true
	})
	require.NoError(t, w.store(t.Context()))
	require.Len(t, s.events, 2, "the API tells of each")
}

func TestMainProcessesOfContainers(t *testing.T) {
	s := &sink{}
	alive := map[string]time.Duration{"lives": time.Minute}
	var scans, ended int
	w, err := New(Options{
		Store:  s.put,
		Oldest: func() map[string]time.Duration { scans++; return alive },
		Ended: func(_ process.Identity, e probe.Exit) {
			if e.First {
				ended++
			}
		},
	})
	require.NoError(t, err)
	runs := []string{"", "lives", "gone"}
	identity := func(id probe.OwnerID) (process.Identity, bool) {
		return process.Identity{Workload: model.Workload{Namespace: "shop", Kind: model.KindPod, Name: "cart-1"}, PodUID: "u1", ContainerID: "/k8s/shop/cart-1/app", Run: runs[id]}, true
	}
	first := func(owner probe.OwnerID, pid uint32, started time.Duration, status uint32) {
		w.Take(probe.Exit{Owner: owner, PID: pid, Started: started, Code: status << 8, First: true})
	}
	first(0, 9, time.Hour, 1)
	w.Name(identity)
	require.Zero(t, scans, "nobody looks where it does not matter")
	require.Equal(t, 1, ended)

	first(1, 10, time.Hour, 2)     // made by a program in the container
	first(2, 13, 2*time.Minute, 3) // likewise, and told before its main process
	first(2, 12, time.Minute, 4)   // which ends with it
	w.Name(identity)
	require.Equal(t, 1, scans)
	require.Equal(t, 1+1, ended)
	alive["near"], runs = time.Minute, append(runs, "near")
	first(3, 11, time.Minute+5*time.Millisecond, 5) // the ticks of /proc do not tell it from what lives
	w.Name(identity)
	require.NoError(t, w.store(t.Context()))
	ids := map[string]string{}
	for _, e := range s.events {
		ids[e.Message] = e.ID
	}
	require.Equal(t, map[string]string{
		"the main process of cart-1 ended with exit code 1": "",
		"a process of cart-1 ended with exit code 2":        "",
		"a process of cart-1 ended with exit code 3":        "",
		"the main process of cart-1 ended with exit code 4": model.ContainerEnd("gone"),
		"the main process of cart-1 ended with exit code 5": model.ContainerEnd("near"),
	}, ids)
}

func TestOwnersThatComeLater(t *testing.T) {
	s := &sink{}
	w := watcher(t, s)
	w.Take(crash(1, 1))
	unknown := func(probe.OwnerID) (process.Identity, bool) { return process.Identity{}, false }
	w.Name(unknown)
	w.Take(crash(2, 2))
	w.Name(named)
	w.Take(crash(3, 3))
	w.Name(unknown)
	w.Name(unknown)
	require.NoError(t, w.store(t.Context()))
	var names []string
	for _, e := range s.events {
		names = append(names, e.Workload.Name)
	}
	require.Equal(t, []string{"program-1", "program-2", "~unknown"}, names, "it waits once")
}
