package probe

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/bpf"
)

// What is noted of a thread that calls TLS libraries goes when the thread ends, and not before.
func TestThreadsEnd(t *testing.T) {
	const first = "pid:[4026531836]"
	if ns, err := os.Readlink("/proc/self/ns/pid"); err != nil || ns != first {
		t.Skipf("the kernel knows threads by the numbers of its first namespace of pids, and this is %s (%v)", ns, err)
	}
	p, err := New(Options{})
	if err != nil {
		t.Fatalf("start the probe (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	threads := p.coll.Maps["tls_threads"]
	key := func(tid int) uint64 { return uint64(os.Getpid())<<32 | uint64(tid) }
	enter := func() uint64 {
		k := key(unix.Gettid())
		if err := threads.Put(k, &bpf.VetchTlsThreadT{}); err != nil {
			t.Error(err)
		}
		return k
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	stays, ended := enter(), make(chan uint64)
	gone, value := key(os.Getpid()), bpf.VetchTlsThreadT{}
	for gone == key(os.Getpid()) { // the first thread does not end
		go func() {
			runtime.LockOSThread() // it is never given back: the thread ends with the goroutine
			ended <- enter()
		}()
		gone = <-ended
	}
	for deadline := time.Now().Add(20 * time.Second); !errors.Is(threads.Lookup(gone, &value), ebpf.ErrKeyNotExist); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the entry of a thread that ended is still there")
		}
	}
	if err := threads.Lookup(stays, &value); err != nil {
		t.Errorf("look for the entry of a thread that goes on: %v", err)
	}
}
