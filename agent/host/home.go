package host

import (
	"cmp"
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
	oldest     uint64 // when the first of its processes began, in ticks since boot
	stayed     bool   // one of them was there at the last reading
	waited     delays // since then
	settled    bool   // its account is known
	account    accountKey
	place      process.Place
	identity   process.Identity
	invocation string // of a unit, as systemd tells; "" where it is not known
}

// life is the time from when a container or unit begins until all of its processes are gone. That of a unit is an invocation, where systemd tells: one
// after the other, it may have processes before its main one, after it, and several of these.
type life struct {
	began      uint64        // as home.oldest; 0 where none was seen
	until      time.Duration // it went on until then at least, or it ended then, by CLOCK_MONOTONIC
	home       string        // homeKey
	pod        string        // uid: the containers of another pod of the same name are others
	invocation string        // as home.invocation
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
		if h.stayed && a.life.home == key && (h.invocation == "" || a.life.invocation == "") {
			a.life.invocation = cmp.Or(a.life.invocation, h.invocation)
		} else {
			a.lives(life{began: h.oldest, home: key, pod: h.identity.PodUID, invocation: h.invocation}, m.since)
		}
		a.life.until = m.readAt
		a.describe(m.namer.Describe(h.place, &m.budget))
	}
}

// ended are the first processes of pid namespaces of a container that ended since the last reading.
type ended struct {
	identity process.Identity
	lives    []span
}

// span is when a process began and ended, by CLOCK_MONOTONIC.
type span struct {
	began, until time.Duration
}

// Ended notes the end of the first process of a pid namespace, which may be the main process of a container whose life began after the last reading.
// began and until are when that process began and, at the latest, when it ended, by CLOCK_MONOTONIC.
func (m *Meter) Ended(id process.Identity, began, until time.Duration) {
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
	if len(e.lives) < maxEnded {
		e.lives = append(e.lives, span{began, until})
	}
}

// countEnded counts the lives of a container that ended since the last reading. h is what lives there now; nil where nothing does. What was there at the
// last reading and is there now has not begun again: some program in it made a pid namespace of its own, which has ended.
//
// Lives do not overlap: what began while the one before went on was in it, as such a namespace that ends with its container. That is compared by
// CLOCK_MONOTONIC alone, for nobody tells how long the machine had slept when a process began that has ended.
func (m *Meter) countEnded(key accountKey, e *ended, h *home) {
	if h != nil && h.stayed {
		return
	}
	a := m.account(key, e.identity)
	if a == nil {
		return
	}
	slices.SortFunc(e.lives, func(a, b span) int { return cmp.Compare(a.began, b.began) })
	for _, l := range e.lives {
		began := uint64(l.began+m.sleptBefore) / tick
		if h != nil && began >= h.oldest {
			break
		}
		if a.life.began == 0 || a.life.pod != e.identity.PodUID || l.began > a.life.until {
			a.lives(life{began: began, home: a.life.home, pod: e.identity.PodUID}, m.since)
		}
		a.life.until = max(a.life.until, l.until)
	}
	a.changed = m.now
}

// readClocks notes the time of a reading. What began between two of them began when the machine had slept no less than at the first.
func (m *Meter) readClocks() {
	m.sleptBefore = m.slept
	m.readAt, m.slept = m.clocks()
	if m.rounds == 0 {
		m.sleptBefore = m.slept
	}
}

// clocks gives CLOCK_MONOTONIC, and how long the machine slept since boot: the clock that /proc tells the starts of processes by goes on meanwhile.
func clocks() (monotonic, slept time.Duration) {
	var boot, now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0, 0
	}
	return time.Duration(now.Nano()), time.Duration(boot.Nano() - now.Nano()).Round(10 * time.Millisecond)
}

// lives notes a life, which is a restart if it is not the one before: of another invocation, or where one of the two is not known, if it began after
// that. Both ends tell of the same one, within a tick.
func (a *account) lives(l life, since time.Time) {
	a.begin(restarts, since)
	known := a.life
	again := l.began > known.began+1
	if known.invocation != "" && l.invocation != "" {
		again = known.invocation != l.invocation
	}
	switch {
	case known.began == 0 || known.pod != l.pod:
		a.life = l
	case again:
		a.sums[restarts]++
		a.life = l
	default:
		a.life.home, a.life.invocation = l.home, cmp.Or(l.invocation, known.invocation)
	}
}

// invocationOf reads which invocation of a unit a cgroup is (systemd.exec(5), $INVOCATION_ID), which systemd writes to it; "" where it does not.
func invocationOf(f *found) string {
	if f.place.Unit == "" {
		return ""
	}
	var id [64]byte
	for _, dir := range f.dirs {
		if dir == "" {
			continue
		}
		for _, name := range []string{"trusted.invocation_id", "user.invocation_id"} { // of the second the kernel tells without privileges
			if n, err := unix.Getxattr(dir, name, id[:]); err == nil && n > 0 {
				return string(id[:n])
			}
		}
	}
	return ""
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
