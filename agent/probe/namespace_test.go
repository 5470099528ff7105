package probe

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// inNamespaceOfPIDs is set in the environment of a test process that is the first of a pid namespace.
const inNamespaceOfPIDs = "VETCH_TEST_PID_NAMESPACE"

// On a node that is a container itself, processes go by the node's numbers, and those of other machines on the same kernel are left out.
func TestOnlyPIDNamespace(t *testing.T) {
	if os.Getenv(inNamespaceOfPIDs) != "" {
		listenInNamespace(t)
	}
	before, outside := listen(t, "tcp")
	go closeAll(before)
	inside, namespace := startNamespace(t)
	snapshots := watch(t, Options{PIDNamespace: namespace, OnlyBelow: true})
	after, later := listen(t, "tcp")
	go closeAll(after)
	requireOnlyInside(t, snapshots, inside, outside, later)
	// Without the restriction the numbers stay those of the namespace: 0 for what is not in it.
	until(t, watch(t, Options{PIDNamespace: namespace}), "the listener outside", func(s Snapshot) bool {
		for _, o := range s.Owners {
			if o.PID > 1 {
				t.Errorf("%s goes by number %d", o.Exe, o.PID)
			}
		}
		return has(s, outside) && has(s, inside)
	})
}

// listenInNamespace is the process that is the first one of a namespace. It does not return.
func listenInNamespace(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	go closeAll(l)
	fmt.Println(l.Addr())
	io.Copy(io.Discard, os.Stdin) //nolint:errcheck // until it is closed
	os.Exit(0)
}

// startNamespace starts a process that listens as the first one of a pid namespace, and says where it does, and the namespace's inode.
func startNamespace(t *testing.T) (inside netip.AddrPort, namespace uint32) {
	t.Helper()
	node := exec.Command("/proc/self/exe", "-test.run", "^TestOnlyPIDNamespace$")
	node.Env = append(os.Environ(), inNamespaceOfPIDs+"=1")
	node.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	stdin, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatalf("start the first process of a pid namespace (needs root): %v", err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := node.Wait(); err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d/ns/pid", node.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort(line[:len(line)-1]), uint32(info.Sys().(*syscall.Stat_t).Ino)
}

// requireOnlyInside connects to all three addresses, and wants only the process inside of the namespace to be reported.
func requireOnlyInside(t *testing.T, snapshots <-chan Snapshot, inside, outside, later netip.AddrPort) {
	t.Helper()
	owners := map[OwnerID]Owner{}
	until(t, snapshots, "the listener in the namespace", func(s Snapshot) bool {
		for _, o := range s.Owners {
			owners[o.ID] = o
		}
		if has(s, outside) {
			t.Error("a listener outside of the namespace is reported")
		}
		for _, l := range s.Listeners {
			if l.Addr == inside {
				if got := owners[l.Owner].PID; got != 1 {
					t.Errorf("process %d listens, want 1", got)
				}
				return true
			}
		}
		return false
	})
	// Connections between others, on which nothing is said, and one to the process inside.
	for _, addr := range []netip.AddrPort{outside, later, inside} {
		connectAndClose(t, addr)
	}
	until(t, snapshots, "the connection to the namespace", func(s Snapshot) bool {
		for _, p := range s.Pairs {
			if p.Key.Local != inside {
				t.Errorf("a connection to %s from %s is reported", p.Key.Local, p.Key.Remote)
			}
		}
		return len(s.Pairs) > 0
	})
	for _, o := range owners {
		if o.PID != 1 {
			t.Errorf("%s with process %d is reported", o.Exe, o.PID)
		}
	}
}

func connectAndClose(t *testing.T, addr netip.AddrPort) {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// closeAll accepts connections and closes them without a word, until the listener is closed.
func closeAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}
