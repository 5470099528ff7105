package probe

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

const (
	hookTLS = "uprobe_tls"
	oldTwin = "_old" // how the twin of a program for kernels before 5.17 is called
)

// ErrNoUprobes says that this kernel does not take programs in user-space functions.
var ErrNoUprobes = errors.New("this kernel cannot trace functions of programs")

// Point is one place in an executable or shared library, and the kernel program that is to run there.
type Point struct {
	Program string // without the suffix of a kernel's flavour: "tls_read"
	Offset  uint64 // bytes from the beginning of the file
	Return  bool   // run it when the function that begins there returns
}

// Attachment is what runs in one file, in all processes that map it. Its zero value is of no use; see AttachPoints.
type Attachment struct{ links []link.Link }

// Close takes the programs out of the file. Calls that are under way are forgotten.
func (a *Attachment) Close() error {
	var errs []error
	for _, l := range a.links {
		errs = append(errs, l.Close())
	}
	a.links = nil
	return errors.Join(errs...)
}

// AttachPoints puts programs into a file by its path as this process sees it ("/proc/7/root/usr/lib/libssl.so.3"), in the order of points:
// those that tell of new sessions belong at the end, so that nothing of a session that they told of goes unseen. All or none are attached.
// It may be called from any goroutine, until Close. The caller closes the Attachment.
func (p *Probe) AttachPoints(path string, points []Point) (*Attachment, error) {
	if p.uprobesErr != nil {
		return nil, p.uprobesErr
	}
	file, err := link.OpenExecutable(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	a := &Attachment{}
	for _, point := range points {
		l, err := p.attachPoint(file, point)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("attach %s at %#x of %s: %w", point.Program, point.Offset, path, err), a.Close())
		}
		a.links = append(a.links, l)
	}
	return a, nil
}

func (p *Probe) attachPoint(file *link.Executable, point Point) (link.Link, error) {
	program := p.uprobes[point.Program]
	if program == nil {
		return nil, errors.New("there is no such program")
	}
	options := &link.UprobeOptions{Address: point.Offset}
	if point.Return {
		return file.Uretprobe(point.Program, program, options)
	}
	return file.Uprobe(point.Program, program, options)
}

// chooseUprobes lists the programs for user-space functions by name, each in the flavour for this kernel.
func chooseUprobes(spec *ebpf.CollectionSpec, loop bool) map[string]string {
	out := map[string]string{}
	for name, program := range spec.Programs {
		if program.Type != ebpf.Kprobe || strings.HasSuffix(name, oldTwin) {
			continue
		}
		if spec.Programs[name+oldTwin] != nil && !loop {
			out[name] = name + oldTwin
		} else {
			out[name] = name
		}
	}
	return out
}

// loadPrograms loads the programs in keep and those for user-space functions. A kernel that does not take the latter does without.
func (p *Probe) loadPrograms(spec *ebpf.CollectionSpec, keep map[string]bool, loop bool) error {
	uprobes := chooseUprobes(spec, loop)
	loaded := map[string]bool{}
	for _, name := range uprobes {
		loaded[name] = true
	}
	for name := range spec.Programs {
		if !keep[name] && !loaded[name] {
			delete(spec.Programs, name)
		}
	}
	var err error
	if p.coll, err = ebpf.NewCollection(spec); err == nil {
		p.uprobes = map[string]*ebpf.Program{}
		for name, flavour := range uprobes {
			p.uprobes[name] = p.coll.Programs[flavour]
		}
		p.hooks[hookTLS] = true
		return nil
	}
	p.uprobesErr = fmt.Errorf("%w: %w", ErrNoUprobes, err)
	for name := range spec.Programs {
		if loaded[name] {
			delete(spec.Programs, name)
		}
	}
	if p.coll, err = ebpf.NewCollection(spec); err != nil {
		return fmt.Errorf("load kernel programs: %w: %w", cause(err), err)
	}
	p.log.Warn("cannot look into TLS", "error", p.uprobesErr)
	return nil
}
