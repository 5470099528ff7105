package probe

import (
	"testing"

	"github.com/cilium/ebpf"
)

// All programs for user-space functions load, in both flavours.
func TestUprobesLoad(t *testing.T) {
	for _, hook := range []string{HookAuto, HookSyscallOld} {
		p, err := New(Options{Hook: hook, Records: true})
		if err != nil {
			t.Fatalf("start the probe (needs root): %v", err)
		}
		if p.uprobesErr != nil {
			t.Errorf("%s: %v", hook, p.uprobesErr)
		}
		for name, program := range p.uprobes {
			if program.Type() != ebpf.Kprobe {
				t.Errorf("%s is of type %s", name, program.Type())
			}
			if info, err := program.Info(); err == nil {
				n, _ := info.VerifiedInstructions()
				t.Logf("%s %s: %d instructions verified", hook, name, n)
			}
		}
		p.Close()
	}
}
