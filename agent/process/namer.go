package process

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

// Namer tells the workloads of processes apart from a Book, at once. It may be used from any goroutine.
type Namer struct {
	mu    sync.Mutex
	book  *Book
	units *units
}

// NewNamer makes a Namer for the host's file system at root; "" is "/". cluster tells the names of pods; nil: there is none.
func NewNamer(root string, cluster *Cluster) *Namer {
	if root == "" {
		root = "/"
	}
	return newNamer(root, &Book{proc: procfs{root: filepath.Join(root, "proc")}, runtimes: newRuntimes(root), cluster: cluster})
}

// Namer names as the book does, which it shares the knowledge of runtimes and the cluster with.
func (b *Book) Namer() *Namer {
	return newNamer(b.runtimes.root, &Book{proc: b.proc, runtimes: b.runtimes, cluster: b.cluster})
}

func newNamer(root string, of *Book) *Namer {
	of.called = make(map[calledKey]string)
	return &Namer{book: of, units: newUnits(root)}
}

// Description is what is known of a container or unit beside its name. Fields are empty where nobody tells.
type Description struct {
	Image string // of a container
	Unit         // of a systemd service
}

// Describe asks about what lives in a cgroup. What that takes goes off budget; when nothing is left of it nobody is asked, and a later call finds out.
func (n *Namer) Describe(place Place, budget *time.Duration) Description {
	switch {
	case place.Container != "":
		return Description{Image: n.book.runtimes.of(place, budget).Image}
	case place.Unit != "":
		return Description{Unit: n.units.of(place.Unit, budget)}
	}
	return Description{}
}

// Name is the workload of a process that runs. It may ask container runtimes, for a few seconds at the most.
func (n *Namer) Name(pid uint32) model.Workload {
	return n.Identify(pid).Workload
}

// Of says who lives in a cgroup of a container or unit, as a Book would.
func (n *Namer) Of(place Place) Identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.book.budget = lookupBudget
	return n.book.identify(probe.Owner{}, place)
}

// Learn takes the names of a container from somebody else, where no runtime of this machine has told them.
func (n *Namer) Learn(place Place, names Names) { n.book.runtimes.learn(place.Container, names) }

// PlaceOf reads the cgroups of a process that runs; ok is false when it is gone.
func (n *Namer) PlaceOf(pid uint32) (place Place, ok bool) {
	c, ok := n.book.proc.cgroups(pid)
	return c.place(), ok
}

// Identify says who a process that runs is, as Name does.
func (n *Namer) Identify(pid uint32) Identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.book.budget = lookupBudget
	o := probe.Owner{PID: pid}
	if exe, err := os.Readlink(n.book.proc.path(pid, "exe")); err == nil {
		o.Exe = filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	}
	if comm, err := readBounded(n.book.proc.path(pid, "comm"), maxProcFile); err == nil {
		o.Comm = strings.TrimSpace(string(comm))
	}
	return n.book.identify(o, n.book.proc.placeOf(o))
}
