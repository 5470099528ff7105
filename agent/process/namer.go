package process

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

// Namer tells the workloads of processes apart from a Book, at once. It may be used from any goroutine.
type Namer struct {
	mu   sync.Mutex
	book *Book
}

// NewNamer makes a Namer for the host's file system at root; "" is "/". cluster tells the names of pods; nil: there is none.
func NewNamer(root string, cluster *Cluster) *Namer {
	if root == "" {
		root = "/"
	}
	return &Namer{book: &Book{
		proc: procfs{root: filepath.Join(root, "proc")}, runtimes: newRuntimes(root), cluster: cluster, called: make(map[calledKey]string),
	}}
}

// Name is the workload of a process that runs. It may ask container runtimes, for a few seconds at the most.
func (n *Namer) Name(pid uint32) model.Workload {
	return n.Identify(pid).Workload
}

// Of says who lives in a cgroup of a container or unit, as a Book would.
func (n *Namer) Of(place Place) Identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.book.runtimes.spent = 0
	return n.book.identify(probe.Owner{}, place)
}

// PlaceOf reads the cgroups of a process that runs; ok is false when it is gone.
func (n *Namer) PlaceOf(pid uint32) (place Place, ok bool) {
	c, ok := n.book.proc.cgroups(pid)
	return c.place(), ok
}

// Identify says who a process that runs is, as Name does.
func (n *Namer) Identify(pid uint32) Identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.book.runtimes.spent = 0
	o := probe.Owner{PID: pid}
	if exe, err := os.Readlink(n.book.proc.path(pid, "exe")); err == nil {
		o.Exe = filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	}
	if comm, err := readBounded(n.book.proc.path(pid, "comm"), maxProcFile); err == nil {
		o.Comm = strings.TrimSpace(string(comm))
	}
	return n.book.identify(o, n.book.proc.placeOf(o))
}
