package probe

import (
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// hook is one place in the kernel and the program that runs there.
type hook struct {
	name    string // the tracepoint, or what stands for it, as exported in vetch_probe_hook_attached
	program string
	kind    hookKind
}

type hookKind uint8

const (
	tracing hookKind = iota
	rawTracepoint
	walk // runs once at start
)

// chooseHooks lists what to attach, in the order of attaching: connections first, so that none falls between the walk and the hooks.
func chooseHooks(want string, k kernel) ([]hook, error) {
	hooks := []hook{
		{"inet_sock_set_state", "tcp_state", tracing},
		{"inet_sock_set_state", "tcp_state_within", tracing},
		{"tcp_retransmit_skb", "tcp_retransmit", tracing},
		{"tcp_destroy_sock", pick(k.loop && want != HookSyscallOld, "tcp_destroy", "tcp_destroy_old"), tracing},
		{"iter_listeners", "walk_listeners", walk},
		{"iter_connections", "walk_connections", walk},
		{"iter_pairs", "walk_pairs", walk},
	}
	if k.errorReport {
		hooks = append(hooks, hook{"inet_sk_error_report", "tcp_error", tracing})
	}
	if k.threadExit {
		hooks = append(hooks, hook{hookThreadExit, "thread_exit", tracing})
	}
	socket := []hook{{"sock_send_length", "sock_sent", tracing}, {"sock_recv_length", "sock_received", tracing}}
	syscall := []hook{{"sys_exit", pick(k.loop, "syscall_end", "syscall_end_old"), rawTracepoint}}
	switch want {
	case "", HookAuto:
		if k.socketHooks {
			return append(hooks, socket...), nil
		}
		return append(hooks, syscall...), nil
	case HookSocket:
		if !k.socketHooks {
			return nil, fmt.Errorf("%w: the tracepoints sock_send_length and sock_recv_length are missing (Linux 6.3 has them); use the hook %q", ErrUnsupported, HookSyscall)
		}
		return append(hooks, socket...), nil
	case HookSyscall:
		return append(hooks, syscall...), nil
	case HookSyscallOld:
		return append(hooks, hook{"sys_exit", "syscall_end_old", rawTracepoint}), nil
	}
	return nil, fmt.Errorf("unknown hook %q: use %s, %s or %s", want, HookAuto, HookSocket, HookSyscall)
}

func pick(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// attach attaches what load has chosen, and walks the open sockets in between.
func (p *Probe) attach() error {
	k := surveyKernel()
	hooks, err := chooseHooks(p.options.Hook, k)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		program := p.coll.Programs[h.program]
		if program == nil {
			return fmt.Errorf("attach %s: program %s is not loaded", h.name, h.program)
		}
		if h.kind == walk {
			err = runIterator(program)
		} else {
			err = p.attachOne(h, program)
		}
		if err != nil {
			return fmt.Errorf("attach %s: %w: %w", h.name, cause(err), err)
		}
		p.hooks[h.name] = true
	}
	return nil
}

func (p *Probe) attachOne(h hook, program *ebpf.Program) error {
	var l link.Link
	var err error
	if h.kind == rawTracepoint {
		l, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: h.name, Program: program})
	} else {
		l, err = link.AttachTracing(link.TracingOptions{Program: program})
	}
	if err != nil {
		return err
	}
	p.links = append(p.links, l)
	return nil
}

// runIterator runs a program of type iter to its end.
func runIterator(program *ebpf.Program) error {
	it, err := link.AttachIter(link.IterOptions{Program: program})
	if err != nil {
		return err
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return fmt.Errorf("open iterator: %w", err)
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}
