// Package host measures what this machine, its containers, pods and units, and plain programs use: processor, memory, disks and network, from cgroups
// of version 1 and 2 and from /proc.
package host

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/transport/kubelet"
)

const (
	defaultExpiry = 10 * time.Minute
	atMostEvery   = time.Second     // readers that come sooner get the last reading
	awaitName     = 6 * time.Second // how long a container in a pod may wait for its name
	// describeBudget bounds the time that runtimes and systemd may take in one reading to tell of images and units.
	describeBudget = 2 * time.Second
)

// Why something is not in the figures.
const (
	dropGroups    = "cgroups"
	dropProcesses = "processes"
	dropPrograms  = "programs" // readings of processes that go under "~other"
	dropAccounts  = "series"
	dropDevices   = "devices"
	dropDelays    = "delays" // processes that taskstats was not asked about
)

// Options of a Meter. Namer and Machine are needed.
type Options struct {
	Log          *slog.Logger
	Root         string // the machine's file system; "" is "/"
	Namer        *process.Namer
	Machine      process.Machine
	SeriesExpiry time.Duration // after the last member of a series is gone; 0: 10 minutes
	// Nested: other machines share the kernel, and only cgroups with processes that can be seen from here are this one's.
	Nested bool
	// Kills: somebody calls Killed.
	Kills bool
	// Delays: the kernel is asked by taskstats how long processes waited; those below Root are then of this pid namespace.
	Delays  bool
	Kubelet *kubelet.Client  // of this node, for what cgroups do not tell; nil: there is none
	Now     func() time.Time // nil: time.Now
}

// Meter reads the figures when it is asked for them. It may be used from any goroutine.
type Meter struct {
	options  Options
	log      *slog.Logger
	namer    *process.Namer
	proc     string
	families families
	started  time.Time
	kubelet  *told // nil: nobody is asked
	clocks   func() (monotonic, slept time.Duration)

	mu           sync.Mutex // guards all that follows
	tree         tree
	node         node
	buffer       []byte
	limits       bool              // of the cgroup that is being read, limits are read
	throttles    bool              // it has one of processors
	devices      map[string]string // by "MAJOR:MINOR"
	groups       map[string]*group // by path
	processes    map[processKey]*running
	homes        map[string]*home      // of this reading, by homeKey
	ended        map[accountKey]*ended // since the last reading
	tasks        *taskstats            // nil: nobody is asked for delays
	tasksLater   time.Time             // they are not asked until then
	delays       bool                  // they are, in this reading
	diskDelays   bool                  // the kernel counts those of disks
	budget       time.Duration         // that runtimes and systemd may still take in this reading
	accounts     map[accountKey]*account
	ordered      []*account // in order of birth
	programsOpen int        // accounts of workloads that are programs
	covered      map[string]uint8
	netns        uint64 // of the machine
	now          time.Time
	since        time.Time     // what is new began after it
	readAt       time.Duration // CLOCK_MONOTONIC at the beginning of this reading
	slept        time.Duration // how long the machine had then slept since boot
	sleptBefore  time.Duration // as slept, at the reading before
	rounds       uint64
	whole        bool // the last walk met no bound
	dropped      map[string]uint64
	failed       uint64
	spent        time.Duration
}

// group is a cgroup that is followed.
type group struct {
	inode    uint64
	age      int // readings that were taken in
	last     reading
	round    uint64
	early    bool // it was there before we were
	owned    bool // it has processes of this machine
	seen     time.Time
	pid      string // of a process in it
	identity process.Identity
	netns    uint64 // of which the counters of network are
	waited   delays // of all its processes
}

// New prepares to measure. It fails where not even /proc can be read.
func New(o Options) (*Meter, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if o.SeriesExpiry <= 0 {
		o.SeriesExpiry = defaultExpiry
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Meter{
		options: o, log: o.Log, namer: o.Namer, proc: filepath.Join(o.Root, "proc"), families: newFamilies(), started: o.Now(), clocks: clocks,
		devices: make(map[string]string), groups: make(map[string]*group), processes: make(map[processKey]*running),
		accounts: make(map[accountKey]*account), ended: make(map[accountKey]*ended), dropped: make(map[string]uint64),
	}
	if o.Kubelet != nil {
		m.kubelet = &told{client: o.Kubelet}
	}
	var err error
	if m.tree, err = findTree(filepath.Join(m.proc, m.first(), "mountinfo"), o.Root); err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	if o.Delays {
		if m.tasks, err = findTaskstats(); err != nil {
			m.log.Warn("how long processes wait for processors and disks is not known", "err", err)
		}
	}
	return m, nil
}

// first is the process whose mounts and network are the machine's.
func (m *Meter) first() string {
	if m.options.Root == "/" {
		return "self"
	}
	return "1"
}

// refresh reads everything, unless that was just done.
func (m *Meter) refresh() {
	now := m.options.Now()
	if m.rounds > 0 && now.Sub(m.now) < atMostEvery {
		return
	}
	if m.rounds == 0 {
		m.since = now
	} else {
		m.since = m.now
	}
	m.now = now
	began := time.Now()
	m.readClocks()
	m.covered = make(map[string]uint8)
	m.netns = netnsOf(filepath.Join(m.proc, m.first()))
	m.readNode()
	m.budget = describeBudget
	m.readProcesses()
	whole := m.readGroups()
	m.programs()
	m.countRestarts()
	m.expire()
	m.rounds++
	m.whole = whole
	m.spent += time.Since(began)
}

// readGroups walks the cgroups and adds what they did: containers first, for they tell the names of their pods.
func (m *Meter) readGroups() bool {
	list, whole := m.tree.walk()
	if !whole {
		m.dropped[dropGroups]++
	}
	m.addTold(list)
	pods := make(map[string]*group) // of each pod with a cgroup of its own, by uid: a container that has its name, or nil
	for _, f := range list {
		if f.pod != "" {
			pods[f.pod] = nil
		}
	}
	for path, f := range list {
		g := m.groups[path]
		if g == nil || g.inode != f.inode {
			g = &group{inode: f.inode, early: m.rounds == 0 || !m.whole || f.early, owned: f.told != nil, seen: m.now}
			m.groups[path] = g
		}
		g.round = m.rounds
		if f.pod != "" {
			continue
		}
		_, inPod := pods[f.place.PodUID]
		m.readGroup(f, g, inPod)
		if inPod && g.identity.Pod != "" && (pods[f.place.PodUID] == nil || g.pid != "") {
			pods[f.place.PodUID] = g
		}
	}
	for path, f := range list {
		if f.pod != "" {
			m.readPod(f, m.groups[path], pods[f.pod])
		}
	}
	for path, g := range m.groups {
		if g.round != m.rounds {
			delete(m.groups, path)
		}
	}
	return whole
}

// readGroup adds what a container or unit did. What is in a pod with a cgroup of its own counts there for its workload.
func (m *Meter) readGroup(f *found, g *group, inPod bool) {
	if !m.isOurs(f, g) {
		return
	}
	var r reading
	m.read(&f.dirs, &g.last, &r, g.age%limitsEvery == 0)
	toldReading(f.told, nil, &r)
	if m.options.Kills {
		r.count(memoryKills, 0) // Killed counts them
	}
	g.identity = m.namer.Of(f.place)
	if container, ok := containerOf(g.identity); ok {
		m.spaceOf(f.place.PodUID, container, &r)
	}
	if f.place.Container != "" {
		m.findProcess(f, g)
	}
	to := isContainer | isWorkload
	if inPod {
		to = isContainer
	} else {
		if g.identity.Pod != "" {
			to |= isPod
		}
		m.readNetwork(g, g, &r)
	}
	h := m.homes[homeKey(f.place)]
	m.takeDelays(g, h, &r)
	m.settle(g, &r)
	if g.identity.Provisional && m.now.Sub(g.seen) < awaitName {
		return // what it does until then is not lost: the last reading stays
	}
	if g.identity.Sandbox || g.identity.Provisional && g.identity.Pod != "" {
		to &^= isContainer
	}
	for c, known := range [...]bool{cpuController: r.counts(cpuUsed), memoryController: r.has(memoryWorking)} {
		if known {
			m.covered[g.identity.ContainerID] |= 1 << c
		}
	}
	m.give(g.identity, &r, &g.last, to)
	if to&isContainer != 0 {
		m.settleIn(h, g.identity, f.place)
		if h != nil {
			h.invocation = invocationOf(f)
		}
	}
	g.last = r
	g.age++
}

// containerOf is the name of a container within its pod.
func containerOf(id process.Identity) (name string, ok bool) {
	if id.Pod == "" || id.Sandbox {
		return "", false
	}
	name = id.ContainerID[strings.LastIndexByte(id.ContainerID, '/')+1:]
	return name, name != ""
}

// readPod adds what a pod did, all of its containers and what holds its namespaces. of is one of its containers; nil where none is known.
func (m *Meter) readPod(f *found, g, of *group) {
	if of == nil {
		if g.identity.Pod == "" {
			return
		}
		of = g // its last container is gone, and it will be
	}
	g.identity = of.identity
	var r reading
	m.read(&f.dirs, &g.last, &r, g.age%limitsEvery == 0)
	toldReading(f.told, f.network, &r)
	m.spaceOf(f.pod, "", &r)
	m.readNetwork(g, of, &r)
	m.settle(g, &r)
	m.give(g.identity, &r, &g.last, isPod|isWorkload)
	g.last = r
	g.age++
}

// settle takes the first reading of what was there before us as the zero of its counters.
func (m *Meter) settle(g *group, r *reading) {
	if g.early {
		g.last, g.early = *r, false
	}
}

// isOurs reports whether a cgroup belongs to this machine, and not to another that shares the kernel: then none of its processes can be seen.
func (m *Meter) isOurs(f *found, g *group) bool {
	if !g.owned {
		g.owned = !m.options.Nested || m.anyProcess(f) != ""
	}
	return g.owned
}

// anyProcess gives a process of a cgroup; "" where none is to be seen.
func (m *Meter) anyProcess(f *found) string {
	for _, dir := range f.dirs {
		if dir == "" {
			continue
		}
		for line := range strings.Lines(m.text(dir, "cgroup.procs")) {
			if pid := strings.TrimSpace(line); pid != "" && pid != "0" { // 0 is one of another pid namespace
				return pid
			}
		}
		break // its processes are in all hierarchies
	}
	return ""
}

// device names a block device by its numbers.
func (m *Meter) device(numbers string) string {
	if name := m.devices[numbers]; name != "" {
		return name
	}
	major, minor, _ := strings.Cut(numbers, ":")
	if _, err := strconv.ParseUint(major, 10, 32); err != nil {
		return ""
	}
	if _, err := strconv.ParseUint(minor, 10, 32); err != nil {
		return ""
	}
	return numbers
}
