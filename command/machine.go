package command

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// minFree is how much a data directory should have: a day of a machine with some hundred edges.
const minFree = 1 << 30

// memory is the machine's RAM in bytes, 0 where the kernel does not tell.
func memory() uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // 32 bits wide on some architectures
}

// machineChecks looks at what is not the kernel's programs: cgroups, lockdown, room for data.
func machineChecks(dataDir string) []check {
	return []check{cgroupCheck(), lockdownCheck(), roomCheck(dataDir)}
}

func cgroupCheck() check {
	c := check{Group: "machine", Name: "cgroups", Cost: "containers and units have no names; workloads are named by their program"}
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory"} {
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) == nil && (fs.Type == unix.CGROUP2_SUPER_MAGIC || fs.Type == unix.CGROUP_SUPER_MAGIC) {
			c.Available = true
			return c
		}
	}
	c.Why = "no cgroup file system below /sys/fs/cgroup"
	return c
}

func lockdownCheck() check {
	c := check{Group: "machine", Name: "no lockdown of kernel reads", Cost: "nothing can be watched", Available: true, Required: true}
	text, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err == nil && strings.Contains(string(text), "[confidentiality]") {
		c.Available, c.Why = false, "the kernel is locked down for confidentiality"
	}
	return c
}

func roomCheck(dir string) check {
	c := check{Group: "machine", Name: "room for data", Cost: "little history can be kept"}
	existing := dir
	for {
		var fs unix.Statfs_t
		err := unix.Statfs(existing, &fs)
		if err == nil {
			free := fs.Bavail * uint64(fs.Bsize)
			c.Available = free >= minFree
			c.Why = fmt.Sprintf("%s has %.1f GiB free", dir, float64(free)/(1<<30))
			return c
		}
		if parent := filepath.Dir(existing); parent != existing {
			existing = parent
			continue
		}
		c.Why = err.Error()
		return c
	}
}
