package probe

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
)

// limit is the room of one map: large where entries take memory only when used (6.1+), small where all of it is taken at the start.
type limit struct {
	dynamic, fixed uint32
}

var limits = map[string]limit{
	"conns":       {65536, 8192},
	"sources":     {16384, 4096},
	"owners":      {4096, 512},
	"pairs":       {16384, 2048},
	"series":      {16384, 3072},
	"routes":      {16384, 3072},
	"listeners":   {4096, 1024},
	"pending":     {16384, 2048},
	"partials":    {1024, 128},
	"ignored":     {4096, 1024},
	"verdicts":    {8192, 1024},
	"words":       {1024, 1024},
	"udp_sockets": {8192, 2048},

	"java_processes": {1024, 1024},
	"own_addresses":  {1024, 1024},
}

// leastRecent are the bounds of the maps that forget what was not used for long. Each CPU keeps some free entries of them to itself.
// Threads that end take theirs along (thread_exit), for one that waits in a call is not used meanwhile and would go before them. Processes leave their
// sessions: all of the memory is taken at the start, what is used least goes first, and whoever gets the same pid takes nothing for its own: a session
// begins anew with SSL_new, and names its connection by socket and the time that it was opened.
var leastRecent = map[string]limit{
	"tls_threads":  {4096, 1024},
	"tls_sessions": {16384, 2048},
	"go_reads":     {16384, 2048},
	"go_waits":     {1024, 1024},
	"tls_unseen":   {1024, 1024},
	"statements":   {16384, 2048},
	"java_prints":  {4096, 1024},
}

// setLimits sizes the maps for the kernel and the machine. A machine under 2 GiB gets a quarter.
// Before 6.1 entries made at run time come from the slab allocator under a tracepoint, which the kernel warns of, so there all is taken at the start.
func setLimits(spec *ebpf.CollectionSpec, k kernel, cpus int, memory uint64) {
	for name, l := range leastRecent {
		m := spec.Maps[name]
		m.MaxEntries = l.fixed
		if k.dynamicMaps && memory >= 2<<30 {
			m.MaxEntries = l.dynamic
		}
		m.MaxEntries = max(m.MaxEntries, uint32(cpus)*256)
	}
	for name, l := range limits {
		m := spec.Maps[name]
		m.MaxEntries = l.dynamic
		if !k.dynamicMaps {
			m.MaxEntries = l.fixed
			m.Flags &^= unixBPFNoPrealloc
		}
		if memory > 0 && memory < 2<<30 {
			m.MaxEntries /= 4
		}
		// A hash map that is allocated at the start keeps a spare element a CPU.
		m.MaxEntries = max(m.MaxEntries, uint32(cpus)*4)
	}
}

const unixBPFNoPrealloc = 1 // BPF_F_NO_PREALLOC

// totalMemory is MemTotal of /proc/meminfo in bytes, 0 if it cannot be read.
func totalMemory() uint64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(data), "\n") {
		rest, ok := strings.CutPrefix(line, "MemTotal:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0
		}
		return kib << 10
	}
	return 0
}

// setNamespace says by which numbers processes go, and whether that is all that is watched.
func (p *Probe) setNamespace(spec *ebpf.CollectionSpec) error {
	var only uint8
	if p.options.OnlyBelow && p.options.PIDNamespace != 0 {
		only = 1
	}
	if err := errors.Join(spec.Variables["pid_namespace"].Set(p.options.PIDNamespace), spec.Variables["only_pid_namespace"].Set(only)); err != nil {
		return fmt.Errorf("set the namespace of processes: %w", err)
	}
	return nil
}

const ringBytes = 4 << 20

// setRing sizes the ring of records: small where nobody reads it.
func (p *Probe) setRing(spec *ebpf.CollectionSpec) error {
	size := uint32(os.Getpagesize())
	if p.options.Records {
		size = ringBytes
		if err := spec.Variables["ship_streams"].Set(uint8(1)); err != nil {
			return fmt.Errorf("switch the shipping of streams on: %w", err)
		}
	}
	if err := spec.Variables["ring_bytes"].Set(size); err != nil {
		return fmt.Errorf("set the size of the ring: %w", err)
	}
	spec.Maps["records"].MaxEntries = size
	return nil
}
