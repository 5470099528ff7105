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

// NewNamer makes a Namer for the host's file system at root; "" is "/".
func NewNamer(root string) *Namer {
	if root == "" {
		root = "/"
	}
	return &Namer{book: &Book{proc: procfs{root: filepath.Join(root, "proc")}, runtimes: newRuntimes(root), called: make(map[calledKey]string)}}
}

// Name is the workload of a process that runs. It may ask container runtimes, for a few seconds at the most.
func (n *Namer) Name(pid uint32) model.Workload {
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
	return n.book.identify(o, n.book.proc.placeOf(o)).Workload
}
