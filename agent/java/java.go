// Package java looks into the TLS that Java does itself (JSSE): it loads a library into JVMs that were chosen, which shows their plain text to
// the kernel programs. Nothing else of vetch runs inside of other programs.
package java

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vetch-dev/vetch/agent/tls"
)

const (
	maxJVMs    = 1024 // as many as the kernel's map holds
	atOnce     = 4    // JVMs that are attached to at a time
	lookEvery  = 250 * time.Millisecond
	lookLeast  = 4 * time.Second // how often one JVM is looked at that is not ready
	sweepEvery = 10 * time.Second
	readyAfter = 3 * time.Second  // a JVM that begins is left alone for so long
	readyIn    = time.Minute      // in which it takes signals
	attachIn   = 45 * time.Second // from the first signal to the last answer
)

// Options say which JVMs are looked into, and how.
type Options struct {
	Log    *slog.Logger // nil: nothing is logged
	Chosen []string     // All, or globs of names: of the workload, of the program (main class or jar) or of the executable
	// Workload names a process's workload. nil: by the program alone.
	Workload func(pid uint32) string
	// Attach puts kernel programs into a file. What it returns is closed when the process is gone.
	Attach func(path string, points []tls.Point) (io.Closer, error)
	See    func(pid uint32) error // all that the process says is seen from now on
	Forget func(pid uint32)       // the process is gone
	Off    func(pid uint32) bool  // what is in the process has switched itself off
	Proc   string                 // "" is /proc
}

// All chooses every JVM.
const All = "all"

// Attacher keeps the chosen JVMs looked into while they run.
type Attacher struct {
	log     *slog.Logger
	options Options
	wake    chan struct{}
	group   sync.WaitGroup // attachments under way
	mu      sync.Mutex
	jvms    map[uint32]*jvm
	busy    int // attachments under way
	counts  map[string]uint64
}

// state is how far a JVM is.
type state string

const (
	waiting   state = "waiting" // it begins, or is being attached to
	seen      state = "seen"
	failed    state = "failed"
	notChosen state = "not_chosen"
)

type jvm struct {
	pid     uint32
	started uint64 // in ticks after the machine was: with the pid, who it is
	since   time.Time
	state   state
	tries   int
	next    time.Time // not to be looked at before
	busy    bool
	closer  io.Closer
}

// New makes an Attacher that knows of no JVM yet.
func New(o Options) *Attacher {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	a := &Attacher{log: o.Log, options: o, wake: make(chan struct{}, 1), jvms: map[uint32]*jvm{}, counts: map[string]uint64{}}
	for _, r := range append(reasons(), other) {
		a.counts[r.name] = 0
	}
	return a
}

// Saw says that a process has mapped libjvm.so. It may be called from any goroutine, any number of times, and does not wait.
func (a *Attacher) Saw(pid uint32) {
	started, err := startTime(a.options.Proc, pid)
	if err != nil || int(pid) == os.Getpid() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.jvms[pid]; known != nil {
		if known.started == started || known.busy {
			return
		}
		a.drop(known)
	}
	if len(a.jvms) >= maxJVMs {
		a.counts[reasonOf(errTooMany)]++
		return
	}
	a.jvms[pid] = &jvm{pid: pid, started: started, since: time.Now(), next: time.Now().Add(readyAfter), state: waiting}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// drop forgets a JVM that is gone.
func (a *Attacher) drop(j *jvm) {
	delete(a.jvms, j.pid)
	if j.closer != nil {
		a.options.Forget(j.pid)
		if err := j.closer.Close(); err != nil {
			a.log.Warn("cannot end looking into a JVM", "pid", j.pid, "error", err)
		}
	}
}

// Run attaches to what Saw tells of until ctx ends, and waits for what is under way.
func (a *Attacher) Run(ctx context.Context) error {
	defer a.group.Wait()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	look := time.NewTimer(0)
	defer look.Stop()
	looking := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
			if !looking {
				looking = true
				look.Reset(lookEvery)
			}
		case <-look.C:
			if looking = a.next(ctx); looking {
				look.Reset(lookEvery)
			}
		case <-tick.C:
			a.sweep()
		}
	}
}

// next goes on with the JVMs that wait, and reports whether there are more.
func (a *Attacher) next(ctx context.Context) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*jvm
	for _, j := range a.jvms {
		if j.state == waiting {
			list = append(list, j)
		}
	}
	slices.SortFunc(list, func(x, y *jvm) int { return x.since.Compare(y.since) })
	for _, j := range list {
		if j.busy || a.busy >= atOnce || time.Now().Before(j.next) {
			continue
		}
		j.busy = true
		j.tries++
		j.next = time.Now().Add(min(lookEvery<<min(j.tries, 8), lookLeast))
		a.busy++
		a.group.Go(func() { a.try(ctx, j) })
	}
	return len(list) > 0
}

// try looks at a JVM, and attaches to it when it is ready.
func (a *Attacher) try(ctx context.Context, j *jvm) {
	next, closer, err := a.attach(ctx, j)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy--
	j.busy, j.state, j.closer = false, next, closer
	switch {
	case errors.Is(err, errGone) || ctx.Err() != nil:
		a.drop(j)
	case err != nil:
		a.counts[reasonOf(err)]++
		a.log.Warn("cannot look into the TLS of a JVM", "pid", j.pid, "reason", reasonOf(err), "error", err)
	}
}

func (a *Attacher) attach(ctx context.Context, j *jvm) (state, io.Closer, error) {
	p, err := inspect(a.options.Proc, j.pid)
	if err != nil {
		return failed, nil, err
	}
	if p.started != j.started {
		return failed, nil, errGone
	}
	if !a.chosen(p) {
		return notChosen, nil, nil
	}
	switch err := p.usable(); {
	case errors.Is(err, errNoSignal) && time.Since(j.since) < readyIn:
		return waiting, nil, nil // it has just begun
	case err != nil:
		return failed, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, attachIn)
	defer cancel()
	begin := time.Now()
	closer, err := a.load(ctx, p)
	if errors.Is(err, errEarly) && time.Since(j.since) < readyIn {
		return waiting, nil, nil
	}
	if err != nil {
		return failed, nil, err
	}
	if err := a.options.See(j.pid); err != nil {
		return failed, nil, errors.Join(err, closer.Close())
	}
	a.log.Info("looking into the TLS of a JVM", "pid", j.pid, "took", time.Since(begin))
	return seen, closer, nil
}

// load has the JVM load the library, unless it did already, and puts the kernel's probes into it before.
func (a *Attacher) load(ctx context.Context, p *process) (io.Closer, error) {
	switch err := p.findLoaded(); {
	case err != nil:
		return nil, err
	case p.loaded != "":
		return a.probe(p)
	}
	in, err := openAttachment(p)
	if err != nil {
		return nil, err
	}
	defer in.close()
	points, err := library.points()
	if err != nil {
		return nil, err
	}
	closer, err := a.options.Attach(in.libraryPath(), points)
	if err != nil {
		return nil, errors.Join(errProbes, err)
	}
	err = in.load(ctx)
	if err == nil {
		return closer, nil
	}
	err = errors.Join(err, closer.Close())
	if !errors.Is(err, errAlready) {
		return nil, err
	}
	if p, err = inspect(a.options.Proc, p.pid); err != nil { // another vetch was faster
		return nil, err
	}
	return a.probe(p)
}

// probe puts the kernel's probes into a library that a vetch before this one, or beside it, has loaded.
func (a *Attacher) probe(p *process) (io.Closer, error) {
	if err := p.findLoaded(); err != nil {
		return nil, err
	}
	if p.loaded == "" {
		return nil, errAlready
	}
	f, err := os.Open(p.path("map_files/" + p.loaded))
	if err != nil {
		return nil, fmt.Errorf("open the library in process %d: %w", p.pid, err)
	}
	defer f.Close()
	points, err := library.points()
	if err != nil {
		return nil, err
	}
	closer, err := a.options.Attach(fdPath(int(f.Fd())), points)
	if err != nil {
		return nil, errors.Join(errProbes, err)
	}
	return closer, nil
}

// chosen reports whether a JVM is to be looked into.
func (a *Attacher) chosen(p *process) bool {
	workload := ""
	if a.options.Workload != nil && !slices.Contains(a.options.Chosen, All) {
		workload = a.options.Workload(p.pid)
	}
	return p.isChosen(a.options.Chosen, workload)
}

// sweep forgets the JVMs that are gone.
func (a *Attacher) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, j := range a.jvms {
		if started, err := startTime(a.options.Proc, j.pid); !j.busy && (err != nil || started != j.started) {
			a.drop(j)
		}
	}
}

// Close takes the probes out of all JVMs, in which nothing of ours is done from then on. It is called once, after Run.
func (a *Attacher) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, j := range a.jvms {
		if j.closer != nil {
			errs = append(errs, j.closer.Close())
		}
	}
	clear(a.jvms)
	return errors.Join(errs...)
}

// JVM is one that runs now.
type JVM struct {
	Executable string // as it sees it itself
	Program    string // main class or jar
	Processes  int
	Loaded     bool  // the library is in it
	Err        error // why its TLS is not seen
}

// List looks at processes with libjvm.so in them, and attaches to none. Those that are alike are one.
func List(o Options, pids []uint32) []JVM {
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	a := &Attacher{options: o}
	var out []JVM
	for _, pid := range pids {
		p, err := inspect(o.Proc, pid)
		if err != nil {
			continue // it is gone
		}
		found := p.findLoaded()
		one := JVM{Executable: p.exe, Program: p.program, Processes: 1, Loaded: p.loaded != ""}
		switch {
		case !a.chosen(p):
			one.Err = errNotChosen
		case found != nil:
			one.Err = found
		case !one.Loaded:
			one.Err = cmp.Or(p.usable(), p.writable(), errNotLoaded)
		}
		same := slices.IndexFunc(out, func(j JVM) bool {
			return j.Executable == one.Executable && j.Program == one.Program && j.Loaded == one.Loaded && errorText(j.Err) == errorText(one.Err)
		})
		if same >= 0 {
			out[same].Processes++
		} else {
			out = append(out, one)
		}
	}
	return out
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
