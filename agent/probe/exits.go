package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/vetch-dev/vetch/agent/clock"
	"github.com/vetch-dev/vetch/bpf"
)

const (
	hookExits = "sched_process_exit"
	exitSize  = 32 // bytes of struct exit_t
)

// Exit is a process that ended by a fault, for want of memory, or as the first of a container and not with 0.
type Exit struct {
	Owner    OwnerID
	Started  time.Duration // since boot; with PID it tells the process from all others
	Ended    time.Duration // by the clock of Started; when that was heard of, which is a little later
	PID      uint32
	Code     uint32 // as wait(2) has it
	NoMemory bool   // the kernel killed it, for its cgroup or the machine had no memory left
	First    bool   // it was the first process of a pid namespace
}

// Signal is the number of the signal that ended it, 0 if none did.
func (e Exit) Signal() int { return int(e.Code & 0x7f) }

// Core says that a core was written.
func (e Exit) Core() bool { return e.Code&0x80 != 0 }

// Status is what it ended with, if no signal ended it.
func (e Exit) Status() int { return int(e.Code>>8) & 0xff }

// exits are the programs of ends of processes. They are loaded apart from the others, so that a kernel that refuses them has all the others.
type exits struct {
	SignalSent  *ebpf.Program `ebpf:"signal_sent"`
	ProcessExit *ebpf.Program `ebpf:"process_exit"`
	Exits       *ebpf.Map     `ebpf:"exits"`
}

// withoutExits takes what only these programs need out of a collection.
func withoutExits(spec *ebpf.CollectionSpec) {
	for _, name := range []string{"signalled", "exit_ids", "exit_owner", "exits"} {
		delete(spec.Maps, name)
	}
}

// watchExits loads and attaches the programs. A kernel that does not take them does without.
func (p *Probe) watchExits() error {
	spec, err := bpf.LoadVetch()
	if err != nil {
		return fmt.Errorf("read the embedded kernel programs: %w", err)
	}
	spec.Maps["signalled"].MaxEntries = max(spec.Maps["signalled"].MaxEntries, uint32(runtime.NumCPU())*256) // each CPU keeps some free entries to itself
	var e exits
	shared := map[string]*ebpf.Map{}
	for _, name := range []string{"owners", "ignored", "lost"} {
		shared[name] = p.coll.Maps[name]
		spec.Maps[name].MaxEntries, spec.Maps[name].Flags = shared[name].MaxEntries(), shared[name].Flags()
	}
	if err := spec.LoadAndAssign(&e, &ebpf.CollectionOptions{MapReplacements: shared}); err != nil {
		return fmt.Errorf("load the programs of ends of processes: %w", err)
	}
	if p.exitRing, err = ringbuf.NewReader(e.Exits); err != nil {
		return errors.Join(fmt.Errorf("open the ring of exits: %w", err), e.SignalSent.Close(), e.ProcessExit.Close(), e.Exits.Close())
	}
	p.exits = &e
	for _, program := range []*ebpf.Program{e.SignalSent, e.ProcessExit} {
		l, err := link.AttachTracing(link.TracingOptions{Program: program})
		if err != nil {
			return fmt.Errorf("attach the programs of ends of processes: %w", err)
		}
		p.links = append(p.links, l)
	}
	p.hooks[hookExits] = true
	return nil
}

func (e *exits) close() error {
	if e == nil {
		return nil
	}
	return errors.Join(e.SignalSent.Close(), e.ProcessExit.Close(), e.Exits.Close())
}

// ReadExits gives every end of a process to take, until ctx ends. Options.Exits must have been set; where the kernel has not the hooks nothing comes.
func (p *Probe) ReadExits(ctx context.Context, take func(Exit)) error {
	if !p.hooks[hookExits] {
		<-ctx.Done()
		return nil
	}
	ring := p.exitRing
	unhook := context.AfterFunc(ctx, func() { ring.Close() }) // ends the reading
	defer unhook()
	var raw ringbuf.Record
	for {
		err := ring.ReadInto(&raw)
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the ring of exits: %w", err)
		}
		if e, ok := decodeExit(raw.RawSample); ok {
			e.Ended = clock.Monotonic()
			take(e)
		}
	}
}

// decodeExit reads struct exit_t.
func decodeExit(b []byte) (Exit, bool) {
	if len(b) < exitSize {
		return Exit{}, false
	}
	return Exit{
		Owner: OwnerID(binary.NativeEndian.Uint64(b)), Started: time.Duration(binary.NativeEndian.Uint64(b[8:])),
		PID: binary.NativeEndian.Uint32(b[16:]), Code: binary.NativeEndian.Uint32(b[20:]), NoMemory: b[24] != 0, First: b[25] != 0,
	}, true
}
