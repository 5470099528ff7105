package tls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	defaultMaxFiles = 512
	maxKnown        = 4     // times as many files as may be probed are remembered
	maxUsers        = 1024  // of one file that are known by their pids
	maxSeen         = 16384 // files of which is known that there is nothing to do
	seenFor         = time.Minute
	sweepEvery      = 30 * time.Second
	rescanAfter     = 2 * time.Second // when mappings were lost
	scanEvery       = 5 * time.Second // where the kernel does not tell of mappings
)

// Options say how to watch.
type Options struct {
	Log *slog.Logger // nil: nothing is logged
	// Attach puts kernel programs into a file. What it returns is closed when nobody uses the file any more. nil only looks.
	Attach func(path string, points []Point) (io.Closer, error)
	// Unseen gives processes that do TLS which is not seen, each some time after it began. nil: nobody knows.
	Unseen        func() []uint32
	JVM           func(pid uint32) // is told of processes that have mapped libjvm.so, some more than once; nil: nobody wants to know
	IgnoreCgroups []string         // globs; what only processes in them use is not probed
	MaxFiles      int              // that are probed at once; 0 is 512
	Proc          string           // "" is /proc
}

// Watcher keeps every program and library that speaks TLS probed while a process uses it.
type Watcher struct {
	log      *slog.Logger
	options  Options
	mappings *mappings // nil where the kernel has none
	mu       sync.Mutex
	files    map[fileID]*watched
	seen     map[mappedFile]seen
	unseen   unseen
	counts   counts
}

// watched is a file with TLS in it, probed or not.
type watched struct {
	path     string // as the process that it was met with sees it
	stamp    stamp
	found    []Found
	err      error // why not all, or nothing, of it is probed
	attached []io.Closer
	users    map[uint32]bool

	installed bool // see keepInstalled
}

// seen is what was last learned of a mapped file.
type seen struct {
	file *watched // nil: there is no TLS in it
	at   time.Time
}

// errTooMany says that as many files as may be are probed.
var errTooMany = errors.New("too many files are probed")

// New looks at all processes that run, and probes what they use, and what libraries are installed. Run goes on with what comes.
func New(o Options) (*Watcher, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = defaultMaxFiles
	}
	for _, g := range o.IgnoreCgroups {
		if _, err := path.Match(g, "/"); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", g, err)
		}
	}
	w := &Watcher{log: o.Log, options: o, files: map[fileID]*watched{}, seen: map[mappedFile]seen{}, unseen: newUnseen(), counts: newCounts()}
	if o.Attach != nil {
		var err error
		if w.mappings, err = openMappings(); err != nil {
			w.log.Warn("the kernel does not tell of new processes; TLS in them is found some seconds late", "error", err)
		}
	}
	if err := w.scan(); err != nil {
		return w, err
	}
	w.keepInstalled()
	return w, nil
}

// Run probes what new processes use, and what old ones load, until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	events := make(chan mapping, 256)
	reading := make(chan error, 1)
	every := scanEvery
	if w.mappings != nil {
		every = sweepEvery
		ctx, cancel := context.WithCancel(ctx)
		defer func() {
			cancel()
			<-reading //nolint:errcheck // what ended it early was returned
		}()
		go func() {
			reading <- w.mappings.read(ctx, func(m mapping) {
				select {
				case events <- m:
				case <-ctx.Done():
				}
			})
		}()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	hurry := time.NewTicker(rescanAfter)
	defer hurry.Stop()
	var lost uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-reading:
			reading <- nil
			return err
		case m := <-events:
			w.mu.Lock()
			w.mapped(m, false)
			w.mu.Unlock()
		case <-hurry.C:
			if n := w.lost(); n > lost {
				lost = n
				w.tryScan()
			}
			w.lookCloser()
		case <-tick.C:
			if w.mappings == nil {
				w.tryScan()
			}
			w.keepInstalled()
			w.sweep()
		}
	}
}

func (w *Watcher) lost() uint64 {
	if w.mappings == nil {
		return 0
	}
	return w.mappings.lost.Load()
}

// tryScan is scan where the next one may succeed.
func (w *Watcher) tryScan() {
	if err := w.scan(); err != nil {
		w.log.Warn("cannot look for TLS in the processes", "error", err)
	}
}

// scan looks at what all processes have mapped.
func (w *Watcher) scan() error {
	pids, err := processes(w.options.Proc)
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	for _, pid := range pids {
		list := mappedBy(w.options.Proc, pid)
		w.mu.Lock()
		for _, m := range list {
			w.mapped(m, false)
		}
		w.mu.Unlock()
	}
	return nil
}

// mapped looks at one file of one process; at libraries of any name when it is to look close.
func (w *Watcher) mapped(m mapping, closely bool) {
	if w.options.JVM != nil && path.Base(m.file.path) == "libjvm.so" && !ignored(w.options.Proc, m.pid, w.options.IgnoreCgroups) {
		w.options.JVM(m.pid)
	}
	now := time.Now()
	if s, ok := w.seen[m.file]; ok && now.Sub(s.at) < seenFor {
		s.file.use(m.pid)
		return
	}
	library := strings.Contains(path.Base(m.file.path), ".so")
	if library && !closely && !mayHoldTLS(m.file.path) {
		return
	}
	if !library && !isProgram(w.options.Proc, m.pid, m.file.path) || ignored(w.options.Proc, m.pid, w.options.IgnoreCgroups) {
		return
	}
	f, err := openMapped(w.options.Proc, m.pid, m.file.path, !library)
	if err != nil { // the process is gone, or it is a thread of the kernel
		return
	}
	defer f.Close()
	if len(w.seen) >= maxSeen {
		clear(w.seen)
	}
	file := w.lookAt(f, m.file.path)
	file.use(m.pid)
	w.seen[m.file] = seen{file, now}
}

// mayHoldTLS goes by the names of libraries: those of TLS, and those that are known to have one built in. Programs are all looked into.
func mayHoldTLS(name string) bool {
	base := path.Base(name)
	return slices.ContainsFunc([]string{"ssl", "tls", "conscrypt", "tcnative", "cronet", "grpc", "libnode"}, func(word string) bool { return strings.Contains(base, word) })
}

// lookAt finds out what is in a file, and probes it when that was not done yet. nil: there is no TLS in it.
func (w *Watcher) lookAt(f *os.File, name string) *watched {
	id, stamp, err := identify(f)
	if err != nil {
		return nil
	}
	if known := w.files[id]; known != nil {
		if known.stamp == stamp {
			return known
		}
		w.release(id) // other bytes are there now
	}
	file := &watched{path: name, stamp: stamp, users: map[uint32]bool{}}
	begin := time.Now()
	file.found, file.err = Find(f)
	w.counts.inspected++
	w.counts.seconds += time.Since(begin).Seconds()
	if errors.Is(file.err, ErrNoTLS) {
		return nil
	}
	if len(w.files) >= maxKnown*w.options.MaxFiles {
		w.counts.errors[reasonOf(errTooMany)]++
		return nil
	}
	w.files[id] = file
	w.attach(f, file)
	if file.err != nil {
		w.counts.errors[reasonOf(file.err)]++
		w.log.Debug("cannot look into all TLS of a file", "path", name, "error", file.err)
	}
	return file
}

// attach probes what was found.
func (w *Watcher) attach(f *os.File, file *watched) {
	if w.options.Attach == nil || len(file.found) == 0 {
		return
	}
	if w.probed() >= w.options.MaxFiles {
		file.err = errors.Join(file.err, errTooMany)
		return
	}
	for _, found := range file.found {
		begin := time.Now()
		closer, err := w.options.Attach(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), found.Points)
		if err != nil {
			file.err = errors.Join(file.err, fmt.Errorf("%w: %w", errAttach, err))
			continue
		}
		file.attached = append(file.attached, closer)
		w.log.Debug("looking into TLS", "path", file.path, "library", found.Library, "version", found.Version, "places", len(found.Points), "took", time.Since(begin))
	}
}

// errAttach says that the kernel did not take the programs.
var errAttach = errors.New("the kernel does not let it be probed")

// probed is how many files are.
func (w *Watcher) probed() (n int) {
	for _, f := range w.files {
		if len(f.attached) > 0 {
			n++
		}
	}
	return n
}

func (f *watched) use(pid uint32) {
	if f != nil && len(f.users) < maxUsers {
		f.users[pid] = true
	}
}

// unused says that nobody is known to use a file which is not to be kept.
func (f *watched) unused() bool { return len(f.users) == 0 && !f.installed }

// sweep releases files that nobody uses any more. Processes may use a file without having been seen to map it, for they are forked; so when
// all that are known are gone, everybody is asked.
func (w *Watcher) sweep() {
	if w.forgetUsers() == 0 {
		return
	}
	w.tryScan()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, f := range w.files {
		if f.unused() {
			w.release(id)
		}
	}
}

// forgetUsers takes processes that are gone off all files, and returns how many files have none left.
func (w *Watcher) forgetUsers() (unused int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.files {
		for pid := range f.users {
			if _, err := os.Stat(procPath(w.options.Proc, pid, "")); err != nil {
				delete(f.users, pid)
			}
		}
		if f.unused() {
			unused++
		}
	}
	return unused
}

// release takes the probes out of a file and forgets it.
func (w *Watcher) release(id fileID) {
	f := w.files[id]
	delete(w.files, id)
	for key, s := range w.seen {
		if s.file == f {
			delete(w.seen, key)
		}
	}
	if err := closeAll(f.attached); err != nil {
		w.log.Warn("cannot end looking into TLS", "path", f.path, "error", err)
	}
	w.log.Debug("looking into TLS ends", "path", f.path)
}

// Close takes all probes out. It is called once, after Run.
func (w *Watcher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mappings != nil {
		w.mappings.close()
	}
	var all []io.Closer
	for _, f := range w.files {
		all = append(all, f.attached...)
		f.attached = nil
	}
	return closeAll(all)
}

// closeAll closes several at a time: each waits for the kernel, and holds some threads.
func closeAll(list []io.Closer) error {
	errs := make([]error, len(list))
	var group sync.WaitGroup
	room := make(chan struct{}, 32)
	for i, c := range list {
		room <- struct{}{}
		group.Go(func() {
			errs[i] = c.Close()
			<-room
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
