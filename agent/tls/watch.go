package tls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/clock"
)

const (
	defaultMaxFiles = 512
	maxKnown        = 4     // times as many files as may be probed are remembered
	maxUsers        = 1024  // of one file that are known by their pids
	maxSeen         = 16384 // files of which is known that there is nothing to do
	seenFor         = time.Minute
	sweepEvery      = 30 * time.Second
	keepFor         = 2 * time.Minute // a file without users stays probed: what runs for a moment once a minute is seen from its second time on
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
	root     string    // see machineRoot
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
	probed   uint64          // when, on the clock of mapping.at; 0: it is not
	users    map[uint32]bool // by pid: whether the kernel told of it, for it may be met in a list first
	idle     time.Time       // since when it was found to have no users; zero while it has

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
	w := newWatcher(o)
	for _, g := range o.IgnoreCgroups {
		if _, err := path.Match(g, "/"); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", g, err)
		}
	}
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

func newWatcher(o Options) *Watcher {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = defaultMaxFiles
	}
	return &Watcher{
		log: o.Log, options: o, root: machineRoot(o.Proc),
		files: map[fileID]*watched{}, seen: map[mappedFile]seen{}, unseen: newUnseen(), counts: newCounts(),
	}
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
	known, ok := w.seen[m.file]
	if !ok || now.Sub(known.at) >= seenFor {
		f, err := w.open(m, closely)
		if err == nil {
			known = seen{w.lookAt(f, m.file.path), now}
			f.Close()
			if len(w.seen) >= maxSeen {
				clear(w.seen)
			}
			w.seen[m.file] = known
		} else if !ok && errors.Is(err, errLeft) {
			w.counts.missed[missedNotFound]++
		}
	}
	w.use(known.file, m)
}

var (
	// errNotWanted says that a mapped file need not be looked into.
	errNotWanted = errors.New("no program, and no library that may hold TLS")
	// errLeft says that a process ended before its file was opened, and the file is not to be found without it.
	errLeft = errors.New("the process has ended")
)

// open opens a mapped file as the process sees it, or, where that has ended since, as the machine does.
func (w *Watcher) open(m mapping, closely bool) (*os.File, error) {
	library := strings.Contains(path.Base(m.file.path), ".so")
	if library && !closely && !mayHoldTLS(m.file.path) || m.pid == 0 { // 0: in a pid namespace that is not seen from here
		return nil, errNotWanted
	}
	if w.gone(m.pid) {
		return w.openLeft(m)
	}
	if !library && !isProgram(w.options.Proc, m.pid, m.file.path) || ignored(w.options.Proc, m.pid, w.options.IgnoreCgroups) {
		return nil, errNotWanted
	}
	f, err := openMapped(w.options.Proc, m.pid, m.file.path, !library)
	if err != nil && w.gone(m.pid) { // in the meantime
		return w.openLeft(m)
	}
	return f, err
}

// openLeft opens what a process has left that ended before its file was opened. In which cgroup it was is not known any more.
func (w *Watcher) openLeft(m mapping) (*os.File, error) {
	if m.at == 0 {
		return nil, errNotWanted
	}
	if len(w.options.IgnoreCgroups) > 0 {
		return nil, errLeft
	}
	f, err := openInode(w.root, m.file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLeft, err)
	}
	return f, nil
}

// gone reports whether a process has ended, as far as may be seen.
func (w *Watcher) gone(pid uint32) bool {
	_, err := os.Readlink(procPath(w.options.Proc, pid, "exe"))
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
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
	if len(w.files) >= maxKnown*w.options.MaxFiles && !w.releaseIdle(func(*watched) bool { return true }) {
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
	if w.probed() >= w.options.MaxFiles && !w.releaseIdle((*watched).isProbed) {
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
		file.probed = uint64(clock.Monotonic())
		w.log.Debug("looking into TLS", "path", file.path, "library", found.Library, "version", found.Version, "places", len(found.Points), "took", time.Since(begin))
	}
}

// errAttach says that the kernel did not take the programs.
var errAttach = errors.New("the kernel does not let it be probed")

// probed is how many files are.
func (w *Watcher) probed() (n int) {
	for _, f := range w.files {
		if f.isProbed() {
			n++
		}
	}
	return n
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
