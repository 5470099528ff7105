package host

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

// level is whose figures an account holds.
type level uint8

const (
	isContainer level = 1 << iota // under the names of coroot-node-agent
	isPod
	isWorkload
)

const maxAccounts = 16384

// accountKey names an account: a container by its two ids, a pod by namespace and name, a workload by itself.
type accountKey struct {
	level    level
	a, b     string
	workload model.Workload
}

// account is one set of labels, and what all cgroups and processes behind it did since we watch them. Counters go on when a cgroup is made anew.
type account struct {
	level   level
	labels  labels.Labels
	parts   [4]labels.Labels // with mode user and system, with kind some and full
	sums    [counters]uint64
	born    [counters]time.Time // zero for what is not known
	disks   map[string]*diskAccount
	gauges  reading // of this round
	members int     // in this round
	round   uint64  // that had members last
	changed time.Time
	about   process.Description
	info    labels.Labels // of that; empty where there is nothing to tell
	life    life
}

type diskAccount struct {
	disk
	labels labels.Labels
	born   time.Time
}

// give adds what a member did since its last reading to its accounts, and its gauges of now.
func (m *Meter) give(id process.Identity, now, last *reading, to level) {
	workload := process.CleanWorkload(id.Workload)
	if to&isContainer != 0 {
		m.add(containerKey(id), id, now, last)
	}
	if to&isPod != 0 {
		m.add(accountKey{level: isPod, a: workload.Namespace, b: process.Clean(id.Pod, process.MaxName), workload: workload}, id, now, last)
	}
	if to&isWorkload != 0 {
		m.add(accountKey{level: isWorkload, workload: workload}, id, now, last)
	}
}

// containerKey names the account of a container, unit or program.
func containerKey(id process.Identity) accountKey {
	return accountKey{level: isContainer, a: process.Clean(id.ContainerID, process.MaxName), b: process.Clean(id.AppID, process.MaxName)}
}

func (m *Meter) add(key accountKey, id process.Identity, now, last *reading) {
	a := m.account(key, id)
	if a == nil {
		return
	}
	first := a.round != m.rounds
	if first {
		a.round, a.members, a.gauges = m.rounds, 0, reading{}
	}
	a.members++
	a.changed = m.now
	a.gauges.addGauges(now, first)
	for c := range counters {
		if !now.counts(c) {
			continue
		}
		a.begin(c, m.since)
		a.sums[c] += since(now, last, c)
	}
	a.split(now, last)
	if key.level == isContainer {
		a.addDisks(m, now, last)
	}
}

// account gives the account of a key, and opens it where there is none; nil where there are too many.
func (m *Meter) account(key accountKey, id process.Identity) *account {
	a := m.accounts[key]
	if a != nil {
		return a
	}
	if len(m.accounts) >= maxAccounts {
		m.dropped[dropAccounts]++
		return nil
	}
	return m.open(key, id)
}

// Killed counts a process that was killed for want of memory. The kernel tells of it: the cgroup, which counts such too, goes with its last process.
func (m *Meter) Killed(id process.Identity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.account(containerKey(id), id)
	if a == nil {
		return
	}
	a.begin(memoryKills, m.lately())
	a.sums[memoryKills]++
	a.changed = m.options.Now()
}

// lately is a time before what is told of now happened, and after what was told of at the last reading.
func (m *Meter) lately() time.Time {
	if m.rounds == 0 {
		return m.started
	}
	return m.now
}

// begin makes a counter known from a time on.
func (a *account) begin(c counter, at time.Time) {
	if a.born[c].IsZero() {
		a.born[c] = at
	}
}

// since is how far a counter went. One that goes back was set to zero by somebody.
func since(now, last *reading, c counter) uint64 {
	if now.counters[c] < last.counters[c] {
		return 0
	}
	return now.counters[c] - last.counters[c]
}

// split makes user and system add up to what was used: version 1 counts the whole exactly, and its parts by ticks.
func (a *account) split(now, last *reading) {
	if !now.counts(cpuUsed) || !now.counts(cpuUser) {
		return
	}
	used, user, system := since(now, last, cpuUsed), since(now, last, cpuUser), since(now, last, cpuSystem)
	if user+system == used {
		return
	}
	a.sums[cpuUser] -= user
	a.sums[cpuSystem] -= system
	if user+system == 0 {
		user, system = now.counters[cpuUser], now.counters[cpuSystem]
	}
	part := used
	if user+system > 0 {
		part = min(used, uint64(float64(used)*(float64(user)/(float64(user)+float64(system)))))
	}
	a.sums[cpuUser] += part
	a.sums[cpuSystem] += used - part
}

func (a *account) addDisks(m *Meter, now, last *reading) {
	for device, d := range now.disks {
		to := a.disks[device]
		if to == nil {
			if len(a.disks) >= maxDevices {
				m.dropped[dropDevices]++
				continue
			}
			if a.disks == nil {
				a.disks = make(map[string]*diskAccount)
			}
			to = &diskAccount{labels: with(a.labels, "device", device), born: m.since}
			a.disks[device] = to
		}
		before := last.disks[device]
		to.reads += d.reads - min(d.reads, before.reads)
		to.writes += d.writes - min(d.writes, before.writes)
		to.read += d.read - min(d.read, before.read)
		to.written += d.written - min(d.written, before.written)
	}
}

func (m *Meter) open(key accountKey, id process.Identity) *account {
	a := &account{level: key.level, round: m.rounds - 1}
	w := key.workload
	switch key.level {
	case isContainer:
		a.labels = m.machineLabels("container_id", key.a, "app_id", key.b)
	case isPod:
		a.labels = labelSet("namespace", key.a, "pod", key.b, "kind", string(w.Kind), "workload", w.Name)
	case isWorkload:
		a.labels = labelSet("namespace", w.Namespace, "kind", string(w.Kind), "workload", w.Name)
	}
	if key.level == isContainer {
		a.parts[2], a.parts[3] = with(a.labels, "kind", "some"), with(a.labels, "kind", "full")
	} else {
		a.parts[0], a.parts[1] = with(a.labels, "mode", "user"), with(a.labels, "mode", "system")
	}
	if key.level == isWorkload && w.Kind == model.KindProcess {
		m.programsOpen++
	}
	m.accounts[key] = a
	m.ordered = append(m.ordered, a)
	m.log.Debug("resources of something new", "container", id.ContainerID, "workload", w.ID())
	return a
}

// expire ends the series of what is gone for long.
func (m *Meter) expire() {
	gone := 0
	for key, a := range m.accounts {
		if a.round != m.rounds && m.now.Sub(a.changed) >= m.options.SeriesExpiry {
			delete(m.accounts, key)
			if key.level == isWorkload && key.workload.Kind == model.KindProcess {
				m.programsOpen--
			}
			a.labels = labels.EmptyLabels()
			gone++
		}
	}
	if gone == 0 {
		return
	}
	kept := m.ordered[:0]
	for _, a := range m.ordered {
		if !a.labels.IsEmpty() {
			kept = append(kept, a)
		}
	}
	clear(m.ordered[len(kept):])
	m.ordered = kept
}

func (m *Meter) machineLabels(more ...string) labels.Labels {
	return labelSet(append([]string{"machine_id", m.options.Machine.ID, "system_uuid", m.options.Machine.SystemUUID}, more...)...)
}

// labelSet builds labels of name and value in turn; empty values are left out, as they mean the same.
func labelSet(pairs ...string) labels.Labels {
	kept := make([]string, 0, len(pairs))
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			kept = append(kept, pairs[i], pairs[i+1])
		}
	}
	return labels.FromStrings(kept...)
}

func with(base labels.Labels, name, value string) labels.Labels {
	return labels.NewBuilder(base).Set(name, value).Labels()
}
