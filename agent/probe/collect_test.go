package probe

import (
	"reflect"
	"strings"
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

// TestRequestsWithoutResponses: what was asked before a gap, and on connections that are gone, does not stay in the kernel's map for ever.
func TestRequestsWithoutResponses(t *testing.T) {
	k := loadParts(t)
	maps := bpf.VetchMaps{Conns: k.coll.Maps["conns"], Owners: k.coll.Maps["owners"], Pending: k.coll.Maps["pending"]}
	const request, response = "GET /a HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	gapped, waiting, gone := k.converse(t, 1, RoleClient), k.converse(t, 2, RoleClient), k.converse(t, 3, RoleClient)
	for _, c := range []*conversation{gapped, waiting, gone} {
		c.say(sent, strings.Repeat(request, 10))
	}
	gapped.miss(received, 1000)
	gapped.say(sent, strings.Repeat(request, 6)) // responses are counted from here on
	if err := maps.Conns.Delete(gone.sk); err != nil {
		t.Fatal(err)
	}
	figures := &stats{entries: map[string]int{}}
	newReader(&maps, time.Minute, figures).collectStrays(time.Now())
	left := map[uint64]int{}
	var key bpf.VetchPendingKeyT
	var slot bpf.VetchSlotT
	for it := maps.Pending.Iterate(); it.Next(&key, &slot); {
		left[key.Sk]++
	}
	if want := map[uint64]int{gapped.sk: 2, waiting.sk: 6}; !reflect.DeepEqual(left, want) {
		t.Errorf("requests that wait: %v, want %v", left, want)
	}
	if n := figures.entries["pending"]; n != 8 {
		t.Errorf("the figure is %d, want 8", n)
	}
	for _, c := range []*conversation{gapped, waiting} {
		c.counted()
		c.say(received, strings.Repeat(response, 10))
	}
	if got := waiting.counted()["GET /a 200"]; got != 10 {
		t.Errorf("%d requests were counted, want 10", got)
	}
	if got := gapped.counted()["GET /a 200"]; got != 6 {
		t.Errorf("%d requests were counted behind the gap, want 6", got)
	}
}
