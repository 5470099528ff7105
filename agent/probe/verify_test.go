package probe

import (
	"maps"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"

	"github.com/vetch-dev/vetch/bpf"
)

// maxVerified leaves room below the verifier's limit of 1,000,000: older kernels need more instructions for the same program.
const maxVerified = 700_000

// Every program loads by itself, and none costs the verifier so much that an older kernel may refuse it. Needs root and Linux 5.16, which tells the number.
func TestVerifiedInstructions(t *testing.T) {
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	spec, err := bpf.LoadVetch()
	if err != nil {
		t.Fatal(err)
	}
	for name := range spec.Programs {
		t.Run(name, func(t *testing.T) {
			alone := spec.Copy()
			alone.Programs = map[string]*ebpf.ProgramSpec{name: alone.Programs[name]}
			coll, err := ebpf.NewCollection(alone)
			if err != nil {
				t.Fatalf("load %s: %v", name, err)
			}
			defer coll.Close()
			info, err := coll.Programs[name].Info()
			if err != nil {
				t.Fatal(err)
			}
			n, ok := info.VerifiedInstructions()
			t.Logf("%d instructions verified", n)
			if !ok || n > maxVerified {
				t.Errorf("%s: %d instructions verified, at most %d are allowed", name, n, maxVerified)
			}
		})
	}
}

// What is loaded before 5.12 has of the atomic operations only that which adds and gives nothing back: those kernels refuse a program with any other.
// The compiler makes such ones of what seems to add: `| 0` of `+ 0`.
func TestOldKernelsAtomics(t *testing.T) {
	spec, err := bpf.LoadVetch()
	if err != nil {
		t.Fatal(err)
	}
	hooks, err := chooseHooks(HookAuto, kernel{threadExit: true})
	if err != nil {
		t.Fatal(err)
	}
	var programs []string
	for _, h := range hooks {
		programs = append(programs, h.program)
	}
	programs = slices.AppendSeq(programs, maps.Values(chooseUprobes(spec, false)))
	for _, name := range programs {
		for _, i := range spec.Programs[name].Instructions {
			if op := i.OpCode; op.Class() == asm.StXClass && op.Mode() == asm.AtomicMode && op.AtomicOp() != asm.AddAtomic {
				t.Errorf("%s: %v", name, i)
			}
		}
	}
}
