package probe

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Feature is one thing of the kernel or machine that vetch makes use of.
type Feature struct {
	Name      string `json:"name"`
	Available bool   `json:"available"`
	Required  bool   `json:"required"`      // without it nothing works
	Why       string `json:"why,omitempty"` // why it is not available
	Cost      string `json:"cost"`          // what is lost, or slower, without it
}

// Capabilities is what this kernel and machine offer.
type Capabilities struct {
	Kernel   string    `json:"kernel"` // release, as uname -r says
	Features []Feature `json:"features"`
}

// kernel is what choosing programs and maps depends on.
type kernel struct {
	socketHooks bool // sock_send_length and sock_recv_length, 6.3
	loop        bool // bpf_loop and atomic exchange, 5.17
	errorReport bool // inet_sk_error_report, 5.14
	threadExit  bool // sched_process_exit
	dynamicMaps bool // hash maps may allocate entries under any tracepoint, 6.1
}

func surveyKernel() kernel {
	return kernel{
		socketHooks: hasTracepoint("sock_send_length") == nil && hasTracepoint("sock_recv_length") == nil &&
			features.HaveProgramHelper(ebpf.RawTracepoint, asm.FnTaskPtRegs) == nil,
		loop:        features.HaveProgramHelper(ebpf.RawTracepoint, asm.FnLoop) == nil,
		errorReport: hasTracepoint("inet_sk_error_report") == nil,
		threadExit:  hasTracepoint(hookExits) == nil,
		dynamicMaps: atLeast(6, 1),
	}
}

// hasTracepoint looks a tracepoint up in the kernel's BTF.
func hasTracepoint(name string) error {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return err
	}
	var t *btf.Typedef
	return spec.TypeByName("btf_trace_"+name, &t)
}

// loadTracing loads the smallest program of the kind that we use. (features.HaveProgramType tries a trampoline, which we do not need and some kernels refuse.)
func loadTracing() error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: "inet_sock_set_state", License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return err
	}
	return p.Close()
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

func atLeast(major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(release(), "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

// Survey says what this kernel and machine offer, without attaching anything.
func Survey() Capabilities {
	rlimit.RemoveMemlock() //nolint:errcheck // what that costs shows below
	c := Capabilities{Kernel: release()}
	add := func(name string, required bool, cost string, err error) {
		f := Feature{Name: name, Available: err == nil, Required: required, Cost: cost}
		if err != nil {
			f.Why = reason(err)
		}
		c.Features = append(c.Features, f)
	}
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	add("kernel type information (BTF)", true, "the programs cannot be fitted to this kernel", err)
	add("BPF tracing programs", true, "no connection or request can be seen", loadTracing())
	for _, t := range []string{"inet_sock_set_state", "tcp_destroy_sock"} {
		add("tracepoint "+t, true, "connections cannot be followed", hasTracepoint(t))
	}
	add("tracepoint tcp_retransmit_skb", true, "retransmissions are not counted", hasTracepoint("tcp_retransmit_skb"))
	add("tracepoint inet_sk_error_report", false, "connects that the network calls unreachable count as canceled", hasTracepoint("inet_sk_error_report"))
	add("tracepoint sock_send_length", false, "the hook on every system call stands in: about 0.1 µs more for each", hasTracepoint("sock_send_length"))
	add("tracepoint sock_recv_length", false, "the hook on every system call stands in: about 0.1 µs more for each", hasTracepoint("sock_recv_length"))
	add("tracepoints sched_process_exit and signal_generate", false, "crashes and kills for want of memory are no events; threads that wait in a call of TLS may be forgotten", errors.Join(hasTracepoint(hookExits), hasTracepoint("signal_generate")))
	add("helper bpf_task_pt_regs", false, "the hook on every system call stands in", features.HaveProgramHelper(ebpf.RawTracepoint, asm.FnTaskPtRegs))
	add("helper bpf_loop", false, "system calls with many or long HTTP headers are followed for about 200 steps only, the rest is counted as lost", features.HaveProgramHelper(ebpf.RawTracepoint, asm.FnLoop))
	var dynamic error
	if !atLeast(6, 1) {
		dynamic = errors.New("only Linux 6.1 and newer have it")
	}
	add("hash maps that grow under tracepoints", false, "maps are small and take all their memory at the start", dynamic)
	add("file /proc/net/nf_conntrack or netlink conntrack", false, "connections through NAT show the address before translation unless both ends are on this machine", conntrack())
	return c
}

func conntrack() error {
	_, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_max")
	return err
}

// reason is an error in words for a person.
func reason(err error) string {
	switch {
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, btf.ErrNotFound):
		return "this kernel does not have it"
	case errors.Is(err, os.ErrPermission), errors.Is(err, unix.EPERM):
		return "not permitted; run as root"
	case errors.Is(err, os.ErrNotExist):
		return "this kernel does not have it"
	}
	return err.Error()
}
