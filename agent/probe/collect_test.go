package probe

import (
	"testing"
	"time"

	"github.com/vetch-dev/vetch/bpf"
)

// TestOwnersWithoutConnections: owners that no pair and no listener has, as those of ignored cgroups, do not stay in the kernel's map for ever.
func TestOwnersWithoutConnections(t *testing.T) {
	p, err := New(Options{IdleTimeout: time.Minute})
	if err != nil {
		t.Fatalf("start the probe (needs root): %v", err)
	}
	defer p.Close()
	const stray = uint64(77)
	now := time.Now()
	read := func(after time.Duration) bool {
		t.Helper()
		if _, err := p.reader.read(now.Add(after)); err != nil {
			t.Fatal(err)
		}
		var o bpf.VetchOwnerT
		return p.objects.Owners.Lookup(stray, &o) == nil
	}
	read(0)
	if err := p.objects.Owners.Put(stray, &bpf.VetchOwnerT{Ignored: 1}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after time.Duration
		there bool
	}{{30 * time.Second, true}, {time.Minute, true}, {2 * time.Minute, true}, {3 * time.Minute, false}} {
		if there := read(step.after); there != step.there {
			t.Errorf("after %v: there is %v, want %v", step.after, there, step.there)
		}
	}
	listens := 0
	for id := range p.reader.owners {
		var o bpf.VetchOwnerT
		if p.objects.Owners.Lookup(uint64(id), &o) == nil {
			listens++
		}
	}
	if listens != len(p.reader.owners) {
		t.Errorf("%d of %d owners that are in use are there", listens, len(p.reader.owners))
	}
}
