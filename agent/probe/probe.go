package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/vetch-dev/vetch/bpf"
)

// The ways to see what sockets send and receive.
const (
	HookAuto    = "auto"    // the best that this kernel has
	HookSocket  = "socket"  // tracepoints sock_send_length and sock_recv_length, Linux 6.3
	HookSyscall = "syscall" // raw tracepoint sys_exit
	// HookSyscallOld is HookSyscall with the programs for kernels before 5.17, which HookAuto takes there; by name it is for tests on newer ones.
	HookSyscallOld = "syscall-old"
)

var (
	// ErrNotPermitted says that the process may not load kernel programs.
	ErrNotPermitted = errors.New("loading kernel programs needs root or the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")
	// ErrUnsupported says that the kernel lacks what nothing can stand in for; `vetch doctor` tells what.
	ErrUnsupported = errors.New("this kernel lacks what vetch needs")
)

// Options says how to probe. The zero value is usable.
type Options struct {
	Log           *slog.Logger  // default: discard
	Hook          string        // HookAuto (also ""), HookSocket or HookSyscall
	IgnoreCgroups []string      // globs over cgroup paths, "/system.slice/backup.service", "/kubepods/*/pod*"; their traffic is dropped in the kernel
	PollInterval  time.Duration // how often the maps are read; default 1 s
	RoutesLimit   int           // distinct routes of one owner that the kernel tells apart; default 250
	Records       bool          // ship what connections other than HTTP/1 say: see ReadRecords
	Exits         bool          // watch for ends of processes: see ReadExits
	NoUprobes     bool          // leave out the programs for user-space functions
	PIDNamespace  uint32        // inode of the agent's, by whose numbers processes are reported; 0 is the kernel's first
	OnlyBelow     bool          // leave out what is not in PIDNamespace or below it
	Words         []Words       // of the protocols that the kernel matches where user space wants it: see Matches
	IdleTimeout   time.Duration // after which the kernel forgets pairs and series without change; default 5 min
}

// Probe is the loaded and attached set of kernel programs.
type Probe struct {
	options    Options
	log        *slog.Logger
	objects    *bpf.VetchMaps
	coll       *ebpf.Collection
	links      []link.Link // a link that nothing references is closed by the garbage collector
	hooks      map[string]bool
	uprobes    map[string]*ebpf.Program // by name without flavour
	uprobesErr error                    // why there are none
	unseen     *ebpf.Map                // processes with TLS that no program sees
	java       *ebpf.Map                // JVMs whose own TLS is seen
	// uprobeMulti: one link may hold many places (Linux 6.6), which attaches and detaches faster.
	uprobeMulti bool
	filter      *filter
	own         map[netip.Addr]bool // what the kernel knows as the machine's addresses
	reader      *reader
	stats       stats
	shipping    shipping
	exitRing    *ringbuf.Reader
	matches     bool
	exits       *exits // nil: not wanted, or the kernel has them not
}

// New loads the programs, attaches them and looks at the sockets that are open already.
// It returns ErrNotPermitted or ErrUnsupported, wrapped, where that is the cause.
func New(options Options) (*Probe, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.PollInterval <= 0 {
		options.PollInterval = time.Second
	}
	if options.RoutesLimit <= 0 {
		options.RoutesLimit = 250
	}
	if options.IdleTimeout <= 0 {
		options.IdleTimeout = 5 * time.Minute
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("lift the limit of locked memory: %w: %w", ErrNotPermitted, err)
	}
	p := &Probe{options: options, log: options.Log, hooks: map[string]bool{}}
	if err := p.load(); err != nil {
		p.Close()
		return nil, err
	}
	if err := p.attach(); err != nil {
		p.Close()
		return nil, err
	}
	if options.Exits {
		if err := p.watchExits(); err != nil {
			p.log.Warn("crashes and kills for want of memory are not seen", "err", err)
		}
	}
	p.reader = newReader(p.objects, options.IdleTimeout, &p.stats)
	for i := range options.Words {
		p.reader.words[options.Words[i].Number] = &options.Words[i]
	}
	return p, nil
}

// Matches says whether the kernel can match requests of Options.Words, by the verdicts OfferMatch and ConfirmMatch. Kernels before 5.17 cannot.
func (p *Probe) Matches() bool { return p.matches }

// load chooses the programs for this kernel and loads them with maps of the right size.
func (p *Probe) load() error {
	spec, err := bpf.LoadVetch()
	if err != nil {
		return fmt.Errorf("read the embedded kernel programs: %w", err)
	}
	kernel := surveyKernel()
	hooks, err := chooseHooks(p.options.Hook, kernel)
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, h := range hooks {
		keep[h.program] = true
	}
	if err := spec.Variables["max_routes_per_owner"].Set(uint32(p.options.RoutesLimit)); err != nil {
		return fmt.Errorf("set the limit of routes: %w", err)
	}
	if err := errors.Join(p.setRing(spec), p.setNamespace(spec)); err != nil {
		return err
	}
	withoutExits(spec)
	setLimits(spec, kernel, runtime.NumCPU(), totalMemory())
	fitWords(spec.Maps["words"], p.options.Words)
	modern := kernel.loop && p.options.Hook != HookSyscallOld
	if err := p.loadPrograms(spec, keep, modern); err != nil {
		return err
	}
	if modern {
		for i := range p.options.Words {
			if err := p.options.Words[i].enter(p.coll.Maps["words"]); err != nil {
				return err
			}
		}
		p.matches = len(p.options.Words) > 0
	}
	m := p.coll.Maps // not Assign: the collection stays the owner
	p.objects = &bpf.VetchMaps{
		Pairs: m["pairs"], Series: m["series"], Owners: m["owners"], Routes: m["routes"], Listeners: m["listeners"],
		Ignored: m["ignored"], Lost: m["lost"], OwnAddresses: m["own_addresses"], TranslatedRoom: m["translated_room"],
		Conns: m["conns"], Pending: m["pending"],
	}
	p.shipping = shipping{records: m["records"], verdicts: m["verdicts"], routes: m["routes"], statements: m["statements"], told: map[uint64]bpf.VetchVerdictT{}}
	p.unseen, p.java = m["tls_unseen"], m["java_processes"]
	p.stats.init(p.coll)
	p.filter, err = newFilter(p.options.IgnoreCgroups, p.objects, p.log)
	if err != nil {
		return fmt.Errorf("read ignored cgroups: %w", err)
	}
	return nil
}

func cause(err error) error {
	if errors.Is(err, ebpf.ErrNotSupported) {
		return ErrUnsupported
	}
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		return ErrUnsupported
	}
	return ErrNotPermitted
}

// Run reads the maps every PollInterval and gives each reading to snapshot, on one goroutine, until ctx ends; then once more. Close comes
// when it and all other readers have returned.
func (p *Probe) Run(ctx context.Context, snapshot func(Snapshot)) error {
	tick := time.NewTicker(p.options.PollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return p.poll(snapshot)
		case <-tick.C:
			if err := p.poll(snapshot); err != nil {
				return err
			}
		}
	}
}

func (p *Probe) poll(snapshot func(Snapshot)) error {
	p.filter.refresh()
	s, err := p.reader.read(time.Now())
	if err != nil {
		return fmt.Errorf("read kernel maps: %w", err)
	}
	snapshot(s)
	return nil
}

// Close detaches and unloads all programs. It may be called twice.
func (p *Probe) Close() error {
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	p.links = nil
	if p.exitRing != nil {
		errs = append(errs, p.exitRing.Close())
	}
	errs = append(errs, p.exits.close())
	p.stats.stop()
	if p.coll != nil {
		p.coll.Close()
		p.coll = nil
	}
	return errors.Join(errs...)
}
