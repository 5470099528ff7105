package host

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

// maxEnded bounds the ends of one container that are kept between two readings.
const maxEnded = 64

// home is a container or unit, as its processes tell in one reading.
type home struct {
	oldest   uint64 // when the first of its processes began, in ticks since boot
	stayed   bool   // one of them was there at the last reading
	waited   delays // since then
	settled  bool   // its account is known
	account  accountKey
	place    process.Place
	identity process.Identity
}

// life is the time from when a container or unit begins until all of its processes are gone.
type life struct {
	began uint64 // as home.oldest; 0 where none was seen
	home  string // homeKey
	pod   string // uid: the containers of another pod of the same name are others
}

// homeKey names a container or unit; "" for what lives in neither.
func homeKey(p process.Place) string {
	if p.Container != "" {
		return p.Container
	}
	return p.UnitPath
}

// dwell notes that a process lives where it does. stayed: it did so at the last reading too.
func (m *Meter) dwell(p *running, stayed bool, waited delays) {
	key := homeKey(p.place)
	if key == "" {
		return
	}
	h := m.homes[key]
	if h == nil {
		h = &home{oldest: p.stat.started}
		m.homes[key] = h
	}
	h.oldest = min(h.oldest, p.stat.started)
	h.stayed = h.stayed || stayed
	h.waited.cpu += waited.cpu
	h.waited.disk += waited.disk
}

// takeDelays gives a cgroup what its processes waited. h is nil where none was seen.
func (m *Meter) takeDelays(g *group, h *home, r *reading) {
	if !m.delays && !g.last.counts(cpuDelayed) {
		return
	}
	if h != nil {
		g.waited.cpu += h.waited.cpu
		g.waited.disk += h.waited.disk
		h.waited = delays{} // of several cgroups with that name one has them
	}
	m.countDelays(r, g.waited)
}

func (m *Meter) countDelays(r *reading, d delays) {
	r.count(cpuDelayed, d.cpu)
	if m.diskDelays {
		r.count(diskDelayed, d.disk)
	}
}

// settleIn notes whose account a home's is.
func (m *Meter) settleIn(h *home, id process.Identity, place process.Place) {
	if h == nil || h.settled {
		return
	}
	h.settled, h.account, h.identity, h.place = true, containerKey(id), id, place
}

// countRestarts compares when the containers and units of this reading began with what was known, and tells what they are.
func (m *Meter) countRestarts() {
	alive := make(map[accountKey]*home, len(m.homes))
	for _, h := range m.homes {
		if h.settled {
			alive[h.account] = h
		}
	}
	for key, e := range m.ended {
		m.countEnded(key, e, alive[key])
	}
	clear(m.ended)
	for key, h := range m.homes {
		a := m.accounts[h.account]
		if !h.settled || a == nil {
			continue
		}
		if !h.stayed || a.life.home != key {
			a.lives(life{began: h.oldest, home: key, pod: h.identity.PodUID}, m.since)
		}
		a.describe(m.namer.Describe(h.place, &m.budget))
	}
}

// ended are the first processes of pid namespaces of a container that ended since the last reading.
type ended struct {
	identity process.Identity
	began    []uint64 // as home.oldest
}

// Ended notes the end of the first process of a pid namespace, which may be the main process of a container whose life began after the last reading.
// started is that process's, by CLOCK_MONOTONIC.
func (m *Meter) Ended(id process.Identity, started time.Duration) {
	switch {
	case id.Workload.Kind == model.KindUnit || id.Workload.Kind == model.KindProcess: // programs make such namespaces too
		return
	case id.Sandbox || id.Provisional || id.Unnamed && id.PodUID != "": // it is no container, or nobody knows which
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := containerKey(id)
	e := m.ended[key]
	if e == nil {
		if len(m.ended) >= maxAccounts {
			m.dropped[dropAccounts]++
			return
		}
		e = &ended{identity: id}
		m.ended[key] = e
	}
	if len(e.began) < maxEnded {
		e.began = append(e.began, uint64(started+suspended())/tick)
	}
}

// countEnded counts the lives of a container that ended since the last reading. h is what lives there now; nil where nothing does. What was there at the
// last reading and is there now has not begun again: some program in it made a pid namespace of its own, which has ended.
func (m *Meter) countEnded(key accountKey, e *ended, h *home) {
	if h != nil && h.stayed {
		return
	}
	a := m.account(key, e.identity)
	if a == nil {
		return
	}
	slices.Sort(e.began)
	for _, began := range e.began {
		if h != nil && began >= h.oldest {
			break
		}
		a.lives(life{began: began, home: a.life.home, pod: e.identity.PodUID}, m.since)
	}
	a.changed = m.now
}

// suspended is how long the machine slept since boot: the clock that the starts of processes are told by goes on meanwhile.
func suspended() time.Duration {
	var boot, monotonic unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &monotonic) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - monotonic.Nano()).Round(10 * time.Millisecond)
}

// lives notes a life, which is a restart if it began after the one before. Both ends tell of the same one, within a tick.
func (a *account) lives(l life, since time.Time) {
	a.begin(restarts, since)
	switch known := a.life; {
	case known.began == 0 || known.pod != l.pod:
		a.life = l
	case l.began > known.began+1:
		a.sums[restarts]++
		a.life = l
	default:
		a.life.home = l.home
	}
}

// describe makes the labels of container_info.
func (a *account) describe(d process.Description) {
	if a.about == d {
		return
	}
	a.about, a.info = d, labels.EmptyLabels()
	if d != (process.Description{}) {
		b := labels.NewBuilder(a.labels)
		b.Set("image", process.Clean(d.Image, process.MaxName))
		b.Set("systemd_type", process.Clean(d.Type, process.MaxName))
		b.Set("systemd_triggered_by", process.Clean(d.TriggeredBy, process.MaxName))
		a.info = b.Labels()
	}
}
