package probe

import (
	"net"
	"testing"

	"github.com/cilium/ebpf"
)

// TestStatesWithin: what tcp_state is left out of, because it is at work on that CPU, the second program counts. Here the first one is away, and said to be
// at work everywhere and always.
func TestStatesWithin(t *testing.T) {
	p, err := New(Options{})
	if err != nil {
		t.Fatalf("start the probe (needs root): %v", err)
	}
	defer p.Close()
	pollOnce(t, p)
	if err := p.links[0].Close(); err != nil {
		t.Fatal(err)
	}
	everywhere := make([]uint8, ebpf.MustPossibleCPU())
	for i := range everywhere {
		everywhere[i] = 1
	}
	if err := p.coll.Maps["state_running"].Put(uint32(0), everywhere); err != nil {
		t.Fatal(err)
	}

	l, addr := listen(t, "tcp4")
	client, server := connected(t, l, net.Dial)
	converse(t, client, server)

	opened := map[Role]uint64{}
	for _, d := range pollOnce(t, p).Pairs {
		if d.Key.Peer != 0 && (d.Key.Local == addr || d.Key.Remote == addr) {
			opened[d.Key.Role] += d.Opened
		}
	}
	if opened[RoleClient] != 1 || opened[RoleServer] != 1 {
		t.Errorf("opened %v, want one at each end, by its name", opened)
	}
	p.stats.mu.Lock()
	defer p.stats.mu.Unlock()
	if n, err := p.stats.count(countStatesWithin); err != nil || n < 4 { // it listens, connects, and is established at both ends
		t.Errorf("%d changes were seen by the second program: %v", n, err)
	}
}
