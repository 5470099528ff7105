package process

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// firstPIDNamespace is the inode of the kernel's first pid namespace (PROC_PID_INIT_INO in include/linux/proc_ns.h).
const firstPIDNamespace = 0xEFFFFFFC

// Host is the machine as it can be seen from where the agent runs, which may be a container that shares the machine's processes (hostPID).
type Host struct {
	Name         string // host name
	Root         string // the machine's file system: "/", or by way of its first process
	PIDNamespace uint32 // inode of the agent's; 0 where it is the kernel's first
	// Nested: the machine is a container itself, as a node of kind is. Other machines share its kernel, and the pid namespace is what they do not share.
	Nested bool
}

// FindHost looks at the first process that the agent can see: if that lives in other mounts than the agent, it is the machine's.
func FindHost() (Host, error) { return findHost("/proc") }

func findHost(proc string) (Host, error) {
	h := Host{Root: "/"}
	var err error
	if h.Name, err = os.Hostname(); err != nil {
		return h, fmt.Errorf("read host name: %w", err)
	}
	own, err := inode(filepath.Join(proc, "self/ns/pid"))
	if err != nil {
		return h, fmt.Errorf("read own pid namespace: %w", err)
	}
	if own != firstPIDNamespace {
		h.PIDNamespace = own
	}
	mounts, err := inode(filepath.Join(proc, "self/ns/mnt"))
	if err != nil {
		return h, fmt.Errorf("read own mount namespace: %w", err)
	}
	root := filepath.Join(proc, "1/root")
	first, err := inode(filepath.Join(proc, "1/ns/mnt"))
	if err != nil || first == mounts {
		return h, nil // it may not look, or there is nothing else to see
	}
	h.Nested = h.PIDNamespace != 0
	if _, err := os.Stat(filepath.Join(root, "proc/self")); err == nil {
		h.Root = root
	}
	if name, err := nameIn(filepath.Join(proc, "1/ns/uts")); err == nil {
		h.Name = name
	}
	return h, nil
}

// nameIn reads the host name in another UTS namespace.
func nameIn(namespace string) (string, error) {
	f, err := os.Open(namespace)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var uts unix.Utsname
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends in the other namespace
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWUTS); err != nil {
			done <- err
			return
		}
		done <- unix.Uname(&uts)
	}()
	if err := <-done; err != nil {
		return "", fmt.Errorf("read host name in %s: %w", namespace, err)
	}
	return unix.ByteSliceToString(uts.Nodename[:]), nil
}
