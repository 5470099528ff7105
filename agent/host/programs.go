package host

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

const (
	maxProcesses = 32768
	maxPrograms  = 1000 // that go by names of their own
	askAgain     = 12   // readings after which a process is asked again who it is: it may have been moved, or run another program
	kernelThread = 0x00200000
	other        = "~other" // the name that what is over a bound goes by
)

// processKey tells processes apart that had the same pid.
type processKey struct {
	pid     uint32
	started uint64 // ticks since boot
}

// running is a process that was there at the last reading.
type running struct {
	identity process.Identity // zero in a container: its cgroup tells
	place    process.Place    // the container or unit that it lives in
	age      int              // readings
	stat     stat
	waited   delays
	waits    bool // that is known
	last     reading
	round    uint64
	early    bool // it was there before we were
}

// stat is what is read of /proc/PID/stat.
type stat struct {
	started, user, system uint64 // ticks
	flags                 uint64
}

// parseStat reads /proc/PID/stat (proc(5)). The second field is a name in brackets, and may hold anything.
func parseStat(text string) (s stat, ok bool) {
	at := strings.LastIndexByte(text, ')')
	if at < 0 {
		return s, false
	}
	words := strings.Fields(text[at+1:])
	if len(words) < 20 {
		return s, false
	}
	for _, f := range []struct {
		word int // the third field of the file is word 0
		to   *uint64
	}{{6, &s.flags}, {11, &s.user}, {12, &s.system}, {19, &s.started}} {
		if *f.to, ok = parseUint(words[f.word]); !ok {
			return s, false
		}
	}
	return s, true
}

// parseMemory reads the resident pages of /proc/PID/status: all of them, and those that are files.
func parseMemory(text string) (rss, file float64, ok bool) {
	for line := range strings.Lines(text) {
		name, rest, found := strings.Cut(line, ":")
		if !found {
			continue
		}
		switch name {
		case "VmRSS", "RssFile":
			kb, good := parseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if !good || kb > 1<<50 {
				continue
			}
			if name == "VmRSS" {
				rss, ok = float64(kb)*1024, true
			} else {
				file = float64(kb) * 1024
			}
		}
	}
	return rss, min(file, rss), ok
}

// readProcesses looks at all processes: who they are, how long they waited, and since when there are any in each container and unit.
func (m *Meter) readProcesses() {
	m.homes = make(map[string]*home, len(m.homes))
	dir, err := os.Open(m.proc)
	if err != nil {
		m.failed++
		return
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxProcesses + 1024)
	if err != nil && !errors.Is(err, io.EOF) {
		m.failed++
	}
	m.openDelays()
	seen := 0
	for _, name := range names {
		pid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		if seen++; seen > maxProcesses {
			m.dropped[dropProcesses]++
			continue
		}
		m.readProcess(uint32(pid))
	}
	if m.tasks != nil {
		m.tasks.close()
	}
	for key, p := range m.processes {
		if p.round != m.rounds {
			delete(m.processes, key)
		}
	}
}

func (m *Meter) readProcess(pid uint32) {
	s, ok := parseStat(m.text(m.processDir(pid), "stat"))
	if !ok || s.flags&kernelThread != 0 {
		return
	}
	key := processKey{pid, s.started}
	p := m.processes[key]
	if p == nil {
		p = &running{early: m.rounds == 0 || !m.whole}
		m.processes[key] = p
	}
	p.round, p.stat = m.rounds, s
	before := p.place
	if p.age++; p.age <= 2 || p.age%askAgain == 0 { // what it runs first may be what started it
		if place, ok := m.namer.PlaceOf(pid); ok {
			p.place, p.identity = place, process.Identity{}
			if place.Container == "" {
				p.identity = m.namer.Identify(pid)
			}
		}
	}
	var since delays
	if now, ok := m.delaysOf(pid); ok {
		if p.waits || !p.early {
			since = delays{now.cpu - min(now.cpu, p.waited.cpu), now.disk - min(now.disk, p.waited.disk)}
		}
		p.waited, p.waits = now, true
	}
	m.dwell(p, p.age > 1 && p.place == before, since)
}

func (m *Meter) processDir(pid uint32) string {
	return filepath.Join(m.proc, strconv.FormatUint(uint64(pid), 10))
}

// programs adds up the processes whose owner has no cgroup of its own with these figures: plain programs, and units that the kernel does not account.
func (m *Meter) programs() {
	for key, p := range m.processes {
		m.program(key.pid, p)
	}
}

func (m *Meter) program(pid uint32, p *running) {
	if p.identity.ContainerID == "" {
		return
	}
	covered := m.covered[p.identity.ContainerID]
	if covered&(1<<cpuController) != 0 && covered&(1<<memoryController) != 0 {
		return
	}
	var r reading
	if covered&(1<<cpuController) == 0 {
		r.count(cpuUser, p.stat.user*tick)
		r.count(cpuSystem, p.stat.system*tick)
		r.count(cpuUsed, (p.stat.user+p.stat.system)*tick)
	}
	if covered&(1<<memoryController) == 0 {
		if rss, file, ok := parseMemory(m.text(m.processDir(pid), "status")); ok {
			r.gauge(memoryRSS, rss)
			r.gauge(memoryWorking, rss-file)
		}
	}
	if covered == 0 && p.waits { // else those of its cgroup have them
		m.countDelays(&r, p.waited)
	}
	if p.early {
		p.last, p.early = r, false
	}
	if p.age < 2 {
		return // a command that is over at once makes no series; what it does until then is not lost
	}
	id := m.bounded(p.identity)
	m.give(id, &r, &p.last, isContainer|isWorkload)
	if h := m.homes[homeKey(p.place)]; h != nil {
		m.settleIn(h, id, p.place)
	}
	p.last = r
}

// bounded gives the programs over the bound one name together.
func (m *Meter) bounded(id process.Identity) process.Identity {
	if id.Workload.Kind != model.KindProcess || m.programsOpen < maxPrograms ||
		m.accounts[accountKey{level: isWorkload, workload: process.CleanWorkload(id.Workload)}] != nil {
		return id
	}
	m.dropped[dropPrograms]++
	return process.Identity{Workload: model.Workload{Kind: model.KindProcess, Name: other}, ContainerID: "/process/" + other, AppID: "/process/" + other}
}
