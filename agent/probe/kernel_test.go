package probe

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/vetch-dev/vetch/bpf"
)

// kernelParts is the kernel's own code under test, run by BPF_PROG_TEST_RUN. It needs root and Linux 5.17.
type kernelParts struct {
	coll *ebpf.Collection
}

func loadParts(t testing.TB) *kernelParts {
	t.Helper()
	return loadPartsWith(t, func(*ebpf.CollectionSpec) {})
}

func loadPartsWith(t testing.TB, change func(*ebpf.CollectionSpec)) *kernelParts {
	t.Helper()
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	spec, err := bpf.LoadVetch()
	if err != nil {
		t.Fatal(err)
	}
	for name := range spec.Programs {
		if name != "try_parse" && name != "try_bucket" {
			delete(spec.Programs, name)
		}
	}
	spec.Maps["conns"].MaxEntries = 1 << 15 // the tests never close
	change(spec)
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("load the kernel's parts (needs root): %v", err)
	}
	t.Cleanup(coll.Close)
	return &kernelParts{coll}
}

// run gives a structure to a program as its context and reads it back.
func run[T any](t testing.TB, p *ebpf.Program, arg *T) {
	t.Helper()
	if err := tryRun(p, arg); err != nil {
		t.Fatal(err)
	}
}

// tryRun is run for goroutines other than the test's.
func tryRun[T any](p *ebpf.Program, arg *T) error {
	ret, err := p.Run(&ebpf.RunOptions{Context: arg, ContextOut: arg})
	if err != nil || ret != 0 {
		return fmt.Errorf("run %s: returned %d, %v", p, ret, err)
	}
	return nil
}

// conversation is one connection that only the parser sees.
type conversation struct {
	t     testing.TB
	parts *kernelParts
	sk    uint64
	now   uint64
}

const (
	sent     = 0
	received = 1
)

// converse makes a connection of a client or server in the kernel's map.
func (k *kernelParts) converse(t testing.TB, sk uint64, role Role) *conversation {
	t.Helper()
	conn := bpf.VetchConnT{Role: uint8(role), Owner: 7, Pair: sk, Synced: 1, Bound: 1, Owned: 1}
	if err := k.coll.Maps["conns"].Put(sk, &conn); err != nil {
		t.Fatal(err)
	}
	if err := k.coll.Maps["owners"].Put(uint64(7), &bpf.VetchOwnerT{Pid: 1}); err != nil {
		t.Fatal(err)
	}
	return &conversation{t: t, parts: k, sk: sk, now: uint64(time.Second)}
}

// say lets the parser see bytes of one direction, as one system call would show them.
func (c *conversation) say(direction uint32, data string) {
	c.t.Helper()
	if err := c.trySay(direction, data); err != nil {
		c.t.Fatal(err)
	}
}

// trySay is say for goroutines other than the test's.
func (c *conversation) trySay(direction uint32, data string) error {
	if len(data) == 0 {
		return nil
	}
	c.now += uint64(time.Millisecond)
	buf := append([]byte(data), make([]byte, 8)...)
	var pin runtime.Pinner
	pin.Pin(&buf[0])
	defer pin.Unpin()
	arg := bpf.VetchTryParseT{Sk: c.sk, Address: uint64(uintptr(unsafe.Pointer(&buf[0]))), Length: uint64(len(data)), Now: c.now, Direction: direction}
	return tryRun(c.parts.coll.Programs["try_parse"], &arg)
}

// miss lets n bytes pass that no hook saw the content of.
func (c *conversation) miss(direction uint32, n int) {
	c.t.Helper()
	c.now += uint64(time.Millisecond)
	arg := bpf.VetchTryParseT{Sk: c.sk, Length: uint64(n), Now: c.now, Direction: direction}
	run(c.t, c.parts.coll.Programs["try_parse"], &arg)
}

// misread lets the parser see a call whose bytes, or whose list of buffers, cannot be read.
func (c *conversation) misread(direction uint32, iovecs uint32) {
	c.t.Helper()
	c.now += uint64(time.Millisecond)
	arg := bpf.VetchTryParseT{Sk: c.sk, Address: 8, Iovecs: iovecs, Length: 100, Now: c.now, Direction: direction}
	run(c.t, c.parts.coll.Programs["try_parse"], &arg)
}

// counted takes out of the map what the kernel counted for the connection: "GET /a 200" -> requests.
func (c *conversation) counted() map[string]int {
	c.t.Helper()
	out := map[string]int{}
	c.takeSeries(func(key bpf.VetchSeriesKeyT, requests int) {
		out[method(key.Method)+" "+c.route(key.Route)+" "+itoa(int(key.Code))] += requests
	})
	return out
}

// takeSeries takes the series of the connection out of the map.
func (c *conversation) takeSeries(each func(key bpf.VetchSeriesKeyT, requests int)) {
	c.t.Helper()
	series := c.parts.coll.Maps["series"]
	var key bpf.VetchSeriesKeyT
	var value bpf.VetchSeriesT
	var keys []bpf.VetchSeriesKeyT
	it := series.Iterate()
	for it.Next(&key, &value) {
		if key.Pair != c.sk {
			continue
		}
		keys = append(keys, key)
		requests := 0
		for _, n := range value.Buckets {
			requests += int(n)
		}
		each(key, requests)
	}
	if err := it.Err(); err != nil {
		c.t.Fatal(err)
	}
	for _, key := range keys {
		if err := series.Delete(key); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *conversation) route(id uint64) string {
	s := shipping{routes: c.parts.coll.Maps["routes"]}
	return s.route(id)
}

// conn is the connection as the kernel holds it.
func (c *conversation) conn() bpf.VetchConnT {
	c.t.Helper()
	var conn bpf.VetchConnT
	if err := c.parts.coll.Maps["conns"].Lookup(c.sk, &conn); err != nil {
		c.t.Fatal(err)
	}
	return conn
}

// lost sums one reason over all CPUs.
func (k *kernelParts) lost(t testing.TB, reason string) uint64 {
	t.Helper()
	for i, name := range lostReasons {
		if name != reason {
			continue
		}
		var perCPU []uint64
		if err := k.coll.Maps["lost"].Lookup(uint32(i), &perCPU); err != nil {
			t.Fatal(err)
		}
		var n uint64
		for _, v := range perCPU {
			n += v
		}
		return n
	}
	t.Fatalf("no such reason: %s", reason)
	return 0
}
