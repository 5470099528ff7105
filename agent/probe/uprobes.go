package probe

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"

	"github.com/vetch-dev/vetch/agent/clock"
	"github.com/vetch-dev/vetch/bpf"
)

const (
	hookTLS = "uprobe_tls"
	// hookThreadExit is on the same tracepoint as hookExits, for all threads.
	hookThreadExit = "thread_exit"
	oldTwin        = "_old" // how the twin of a program for kernels before 5.17 is called
	// plainPoint stands for all programs in cookies on newer kernels. The places are told apart by a number.
	plainPoint = "plain_point"
)

// cookies are those of enum POINT_* in bpf/java.bpf.c.
var cookies = map[string]uint64{"tls_return": 1, "go_tls_read_end": 2, "go_tls_write": 3, "rustls_return": 4, "rustls_consume": 5, "java_plain": 6}

// ErrNoUprobes says that this kernel does not take programs in user-space functions.
var ErrNoUprobes = errors.New("this kernel cannot trace functions of programs")

// Point is one place in an executable or shared library, and the kernel program that is to run there.
type Point struct {
	Program string // without the suffix of a kernel's flavour: "tls_read"
	Offset  uint64 // bytes from the beginning of the file
	Return  bool   // run it when the function that begins there returns
	Counter uint64 // where in the file, and so in each process, the kernel counts (16 bits) how many run it; 0: nowhere
}

// Attachment is what runs in one file, in all processes that map it. Its zero value is of no use; see AttachPoints.
type Attachment struct{ links []link.Link }

// Close takes the programs out of the file. Calls that are under way are forgotten. The kernel lets each link wait until nobody runs its
// program any more (0.1 s), so they wait together.
func (a *Attachment) Close() error {
	errs := make([]error, len(a.links))
	var all sync.WaitGroup
	for i, l := range a.links {
		all.Go(func() { errs[i] = l.Close() })
	}
	all.Wait()
	a.links = nil
	return errors.Join(errs...)
}

// CanAttach reports whether this kernel takes programs in user-space functions.
func (p *Probe) CanAttach() bool { return p.uprobesErr == nil && !p.options.NoUprobes }

// SeeJava says that all of what a JVM's own TLS says is seen from now on: AttachPoints has put programs into the library that it has loaded.
func (p *Probe) SeeJava(pid uint32) error {
	if err := p.java.Put(pid, bpf.VetchJavaProcessT{SeenNs: uint64(clock.Monotonic())}); err != nil {
		return fmt.Errorf("remember JVM %d: %w", pid, err)
	}
	return nil
}

// ForgetJava takes back what SeeJava said, when the process is gone.
func (p *Probe) ForgetJava(pid uint32) { p.java.Delete(pid) } //nolint:errcheck // it may not be there

// JavaOff reports whether what runs inside of a JVM has switched itself off.
func (p *Probe) JavaOff(pid uint32) bool {
	var v bpf.VetchJavaProcessT
	return p.java.Lookup(pid, &v) == nil && v.Off != 0
}

// UnseenTLS gives the processes that had TLS on a connection since the last call of which no program saw the plain text.
func (p *Probe) UnseenTLS() []uint32 {
	var pids []uint32
	var pid uint32
	var since uint64
	entries := p.unseen.Iterate()
	for entries.Next(&pid, &since) {
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		p.unseen.Delete(pid) //nolint:errcheck // it may be gone already
	}
	return pids
}

// AttachPoints puts programs into a file by its path as this process sees it ("/proc/7/root/usr/lib/libssl.so.3"), in the order of points,
// where all of one program go with the first of it: those that tell of new sessions belong at the end, so that nothing of a session that
// they told of goes unseen. All or none are attached. It may be called from any goroutine, until Close. The caller closes the Attachment.
func (p *Probe) AttachPoints(path string, points []Point) (*Attachment, error) {
	if p.uprobesErr != nil {
		return nil, p.uprobesErr
	}
	file, err := link.OpenExecutable(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	a := &Attachment{}
	for _, group := range groupPoints(points) {
		links, err := p.attachGroup(file, group)
		a.links = append(a.links, links...)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("attach %s at %#x of %s: %w", group[0].Program, group[0].Offset, path, err), a.Close())
		}
	}
	return a, nil
}

// groupPoints puts those that differ in their places only together, in the order of the first of each group.
func groupPoints(points []Point) [][]Point {
	type kind struct {
		program string
		returns bool
		counted bool
	}
	var groups [][]Point
	at := map[kind]int{}
	for _, p := range points {
		k := kind{p.Program, p.Return, p.Counter != 0}
		i, known := at[k]
		if !known {
			i, at[k] = len(groups), len(groups)
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], p)
	}
	return groups
}

// attachGroup puts one program at several places. The links that were made are returned with an error too.
func (p *Probe) attachGroup(file *link.Executable, group []Point) ([]link.Link, error) {
	program := p.uprobes[group[0].Program]
	if program == nil {
		return nil, errors.New("there is no such program")
	}
	var cookie uint64
	if program == p.uprobes[plainPoint] {
		cookie = cookies[group[0].Program]
	}
	attach, attachMulti := file.Uprobe, file.UprobeMulti
	if group[0].Return {
		attach, attachMulti = file.Uretprobe, file.UretprobeMulti
	}
	if p.uprobeMulti {
		options := &link.UprobeMultiOptions{}
		for _, point := range group {
			options.Addresses = append(options.Addresses, point.Offset)
			options.Cookies = append(options.Cookies, cookie)
			if point.Counter != 0 {
				options.RefCtrOffsets = append(options.RefCtrOffsets, point.Counter)
			}
		}
		l, err := attachMulti(nil, program, options)
		if err != nil {
			return nil, err
		}
		return []link.Link{l}, nil
	}
	var links []link.Link
	for _, point := range group {
		l, err := attach(point.Program, program, &link.UprobeOptions{Address: point.Offset, Cookie: cookie, RefCtrOffset: point.Counter})
		if err != nil {
			return links, err
		}
		links = append(links, l)
	}
	return links, nil
}

// chooseUprobes lists the programs for user-space functions by name, each in the flavour for this kernel.
func chooseUprobes(spec *ebpf.CollectionSpec, loop bool) map[string]string {
	out := map[string]string{}
	for name, program := range spec.Programs {
		switch base, old := strings.CutSuffix(name, oldTwin); {
		case program.Type != ebpf.Kprobe || name == plainPoint && !loop:
		case !old:
			out[name] = name
		case loop:
			out[base] = plainPoint
		default:
			out[base] = name
		}
	}
	return out
}

// loadPrograms loads the programs in keep and those for user-space functions. A kernel that does not take the latter in their flavour for it gets the older
// one (6.1 limits all frames of a chain of calls to 512 bytes together; 6.12 was seen to take more), and one that takes neither does without.
func (p *Probe) loadPrograms(spec *ebpf.CollectionSpec, keep map[string]bool, loop bool) error {
	all := maps.Clone(spec.Programs)
	p.uprobeMulti = features.HaveBPFLinkUprobeMulti() == nil
	flavours := []map[string]string{{}}
	if !p.options.NoUprobes {
		flavours = []map[string]string{chooseUprobes(spec, false), {}}
		if loop {
			flavours = slices.Insert(flavours, 0, chooseUprobes(spec, true))
		}
	}
	var err error
	for _, uprobes := range flavours {
		loaded := map[string]bool{}
		for _, name := range uprobes {
			loaded[name] = true
			if p.uprobeMulti {
				all[name].AttachType = ebpf.AttachTraceUprobeMulti
			}
		}
		spec.Programs = maps.Clone(all)
		maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return !keep[name] && !loaded[name] })
		if p.coll, err = ebpf.NewCollection(spec); err != nil {
			p.uprobesErr = fmt.Errorf("%w: %w", ErrNoUprobes, err)
			continue
		}
		p.uprobes = map[string]*ebpf.Program{}
		for name, flavour := range uprobes {
			p.uprobes[name] = p.coll.Programs[flavour]
		}
		if p.hooks[hookTLS] = len(uprobes) > 0; p.hooks[hookTLS] {
			p.uprobesErr = nil
		} else if p.uprobesErr != nil {
			p.log.Warn("cannot look into TLS", "error", p.uprobesErr)
		}
		return nil
	}
	return fmt.Errorf("load kernel programs: %w: %w", cause(err), err)
}
