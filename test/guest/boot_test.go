package guest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestMain runs the tests, or, as the first process of a virtual machine, prepares it, runs itself again and powers off.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 {
		boot()
	}
	os.Exit(m.Run())
}

// boot does not return. The tests run in a child, because libraries look at /proc before main.
func boot() {
	if err := prepare(); err != nil {
		fmt.Println("guest: prepare:", err)
	}
	pattern, _ := os.ReadFile("/run-pattern") // test/kernel puts it there
	cmd := exec.Command("/init", "-test.v", "-test.timeout=15m", "-test.run="+string(pattern))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	cmd.Env = []string{"PATH=/", "TMPDIR=/", "VETCH_GUEST=1"}
	if err := cmd.Run(); err != nil {
		fmt.Println("guest: tests:", err)
	}
	fmt.Println("guest: done")
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	runtime.Goexit()
}

func prepare() error {
	for _, m := range []struct{ dir, kind string }{
		{"/proc", "proc"}, {"/sys", "sysfs"}, {"/sys/kernel/tracing", "tracefs"}, {"/sys/fs/bpf", "bpf"}, {"/sys/fs/cgroup", "cgroup2"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", m.dir, err)
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	return netlink.LinkSetUp(lo)
}
