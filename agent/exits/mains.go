package exits

import (
	"slices"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
)

// slack is by how much a process must have begun earlier than another to be told from it: /proc counts in ticks of 10 ms.
const slack = 20 * time.Millisecond

// mains tells the main processes of the containers of pods from the first ones of pid namespaces that programs in them make (the sandboxes of browsers,
// bwrap, unshare): a container begins with its main process, and ends with it.
type mains struct {
	alive map[string]time.Duration // Options.Oldest
	ended map[string]processID     // the one that began first of those that ended now, by run
}

// has says whether a process, the first of a pid namespace, was the main one of its container; true where that cannot be told.
func (m *mains) has(t taken, who process.Identity) bool {
	if who.Run == "" {
		return true
	}
	if oldest, lives := m.alive[who.Run]; lives && oldest+slack < t.Started {
		return false
	}
	first, ok := m.ended[who.Run]
	return !ok || first == processID{t.PID, t.Started}
}

// takePending takes the exits that wait, but those whose owner is not known yet: they wait once more. The living are looked at before, so that the end of
// a main process that does not live has been taken.
func (w *Watcher) takePending(identity func(probe.OwnerID) (process.Identity, bool)) (pending []taken, m mains) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.opts.Oldest != nil && w.endedInPod(identity) {
		w.mu.Unlock()
		m.alive = w.opts.Oldest()
		w.mu.Lock()
	}
	all := w.pending
	w.pending = nil
	m.ended = map[string]processID{}
	for _, t := range all {
		who, known := identity(t.Owner)
		if !known && !t.waited {
			t.waited = true
			w.pending = append(w.pending, t)
			continue
		}
		pending = append(pending, t)
		if t.First && who.Run != "" {
			if first, ok := m.ended[who.Run]; !ok || t.Started < first.started {
				m.ended[who.Run] = processID{t.PID, t.Started}
			}
		}
	}
	return pending, m
}

// endedInPod reports whether the first process of a pid namespace in a pod is among the exits that wait. The lock is held.
func (w *Watcher) endedInPod(identity func(probe.OwnerID) (process.Identity, bool)) bool {
	return slices.ContainsFunc(w.pending, func(t taken) bool {
		if !t.First {
			return false
		}
		who, _ := identity(t.Owner)
		return who.Run != ""
	})
}
