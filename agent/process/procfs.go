package process

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/vetch-dev/vetch/agent/probe"
)

// maxProcFile bounds what is read of one file under /proc.
const maxProcFile = 64 << 10

// maxExe is how much of an executable's name the kernel's record holds.
const maxExe = 63

// procfs reads what /proc tells of processes that still live.
type procfs struct{ root string }

func (p procfs) path(pid uint32, name string) string {
	return filepath.Join(p.root, strconv.FormatUint(uint64(pid), 10), name)
}

// is reports whether the process that has the owner's pid now is still one of the owner's.
func (p procfs) is(o probe.Owner) bool {
	if o.PID == 0 {
		return false
	}
	if ns, err := p.netns(o.PID); err != nil || (o.NetNS != 0 && ns != o.NetNS) {
		return false
	}
	exe, err := os.Readlink(p.path(o.PID, "exe"))
	if err != nil || o.Exe == "" {
		return err == nil
	}
	name := filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	return name == o.Exe || (len(o.Exe) >= maxExe && strings.HasPrefix(name, o.Exe))
}

// netns gives the inode of a process's network namespace.
func (p procfs) netns(pid uint32) (uint32, error) { return inode(p.path(pid, "ns/net")) }

func inode(path string) (uint32, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, os.ErrInvalid
	}
	return uint32(stat.Ino), nil
}

// cgroups holds the paths of a process by hierarchy, as /proc/PID/cgroup lists them.
type cgroups struct {
	unified string   // version 2; "" where it is not mounted
	systemd string   // version 1, name=systemd
	memory  string   // version 1
	others  []string // version 1, the other controllers
}

// cgroups reads the whole paths of a process; ok is false when it is gone.
func (p procfs) cgroups(pid uint32) (cgroups, bool) {
	text, err := readBounded(p.path(pid, "cgroup"), maxProcFile)
	if err != nil {
		return cgroups{}, false
	}
	return parseCgroups(string(text)), true
}

// parseCgroups reads lines of "ID:CONTROLLERS:PATH".
func parseCgroups(text string) cgroups {
	var c cgroups
	for line := range strings.Lines(text) {
		_, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			continue
		}
		controllers, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		path = strings.TrimSuffix(path, " (deleted)")
		switch {
		case controllers == "":
			c.unified = path
		case controllers == "name=systemd":
			c.systemd = path
		case hasWord(controllers, "memory"):
			c.memory = path
		case len(c.others) < 16:
			c.others = append(c.others, path)
		}
	}
	return c
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// place takes the most telling of the paths: one that names a container, else one that names a unit.
func (c cgroups) place() Place {
	var best Place
	for _, path := range append([]string{c.unified, c.systemd, c.memory}, c.others...) {
		place := ParseCgroup(path)
		if place.Container != "" {
			return place
		}
		if best.IsZero() {
			best = place
		}
	}
	return best
}

// matches reports whether the process is still in the cgroups that the kernel recorded. The record may lack the head of a path.
func (c cgroups) matches(o probe.Owner) bool {
	return sameTail(o.PathV1, c.memory) && sameTail(o.PathV2, c.unified)
}

func sameTail(recorded, whole string) bool {
	if recorded == "" || whole == "" {
		return true
	}
	a, b := filepath.Base(recorded), filepath.Base(whole)
	return a == b || (len(a) >= 32 && strings.HasPrefix(b, a))
}

// placeOf finds the cgroup of an owner: from /proc where one of its processes is still there, else from the kernel's record alone.
func (p procfs) placeOf(o probe.Owner) Place {
	if p.is(o) {
		if c, ok := p.cgroups(o.PID); ok && c.matches(o) {
			if place := c.place(); !place.IsZero() {
				return place
			}
		}
	}
	v2, v1 := ParseCgroup(o.PathV2), ParseCgroup(o.PathV1)
	switch {
	case v2.Container != "":
		return v2
	case v1.Container != "" || v2.IsZero():
		return v1
	}
	return v2
}

// anyIn finds a live process in a network namespace by looking through /proc; 0 when there is none.
func (p procfs) anyIn(netns uint32) uint32 {
	dir, err := os.Open(p.root)
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, err := dir.Readdirnames(1 << 16)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	for _, name := range names {
		pid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		if ns, err := p.netns(uint32(pid)); err == nil && ns == netns {
			return uint32(pid)
		}
	}
	return 0
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
