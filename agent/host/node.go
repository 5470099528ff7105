package host

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	sector        = 512 // bytes, whatever the device
	maxInterfaces = 256
)

// node is what the machine as a whole did.
type node struct {
	cores      int
	cpu        map[string]uint64 // ticks by mode
	memory     map[string]uint64 // bytes
	disks      []nodeDisk
	interfaces []nodeInterface
	// filesystems are read each limitsEvery readings: they fill slowly
	filesystems []filesystem
}

type nodeDisk struct {
	name                              string
	reads, writes, read, written      uint64
	readTime, writeTime, busyTimeMsec uint64 // milliseconds
}

type nodeInterface struct {
	name                                         string
	receivedBytes, receivedPackets, bytes, sends uint64
	up                                           bool
	upKnown                                      bool
}

// cpuModes are the columns of /proc/stat (proc(5)). What guests used is in user and nice already.
var cpuModes = []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"}

// memoryNames are the lines of /proc/meminfo that are shown, by the word in the metric.
var memoryNames = [][2]string{{"total", "MemTotal"}, {"free", "MemFree"}, {"available", "MemAvailable"}, {"cached", "Cached"}}

func (m *Meter) readNode() {
	n := &m.node
	cores, cpu := parseCPU(m.text(m.proc, "stat"))
	n.cores = cores
	if n.cpu == nil {
		n.cpu = make(map[string]uint64)
	}
	for mode, ticks := range cpu {
		n.cpu[mode] = max(n.cpu[mode], ticks) // idle and iowait are estimates, and may go back
	}
	n.memory = parseMeminfo(m.text(m.proc, "meminfo"))
	n.disks = n.disks[:0]
	clear(m.devices)
	whole := func(name string) bool { return isFolder(filepath.Join(m.options.Root, "sys/block", name)) }
	parseDisks(m.text(m.proc, "diskstats"), func(numbers string, d nodeDisk) {
		m.devices[numbers] = d.name
		if len(n.disks) < maxDevices && !isVirtual(d.name) && whole(strings.ReplaceAll(d.name, "/", "!")) {
			n.disks = append(n.disks, d)
		}
	})
	if m.rounds%limitsEvery == 0 {
		m.readFilesystems()
	}
	n.interfaces = parseInterfaces(m.text(filepath.Join(m.proc, m.first()), "net/dev"), n.interfaces[:0])
	for i := range n.interfaces {
		at := &n.interfaces[i]
		dir := filepath.Join(m.options.Root, "sys/class/net", at.name)
		var flags uint64
		flags, at.upKnown = parseHex(strings.TrimSpace(m.text(dir, "flags")))
		state := strings.TrimSpace(m.text(dir, "operstate")) // "unknown" of drivers that do not tell
		at.up = flags&unix.IFF_UP != 0 && (state == "up" || state == "unknown")
	}
}

// parseHex reads "0x1003".
func parseHex(text string) (v uint64, ok bool) {
	text, ok = strings.CutPrefix(text, "0x")
	if !ok || text == "" || len(text) > 16 {
		return 0, false
	}
	for i := range len(text) {
		switch c := text[i] | 0x20; {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// parseCPU reads /proc/stat.
func parseCPU(text string) (cores int, ticks map[string]uint64) {
	ticks = make(map[string]uint64, len(cpuModes))
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 5 || !strings.HasPrefix(words[0], "cpu") {
			continue
		}
		if words[0] != "cpu" {
			cores++
			continue
		}
		for i, mode := range cpuModes {
			if i+1 >= len(words) {
				break
			}
			if v, ok := parseUint(words[i+1]); ok {
				ticks[mode] = v
			}
		}
	}
	return cores, ticks
}

// parseMeminfo reads the lines of memoryNames, in bytes.
func parseMeminfo(text string) map[string]uint64 {
	out := make(map[string]uint64, len(memoryNames))
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		for _, n := range memoryNames {
			if n[1] != name {
				continue
			}
			kb, ok := parseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if ok && kb < 1<<54 {
				out[n[0]] = kb * 1024
			}
		}
	}
	return out
}

// parseDisks reads /proc/diskstats (Documentation/admin-guide/iostats.rst).
func parseDisks(text string, got func(numbers string, d nodeDisk)) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 14 {
			continue
		}
		d := nodeDisk{name: words[2]}
		all := true
		for _, f := range []struct {
			word int
			to   *uint64
		}{{3, &d.reads}, {5, &d.read}, {6, &d.readTime}, {7, &d.writes}, {9, &d.written}, {10, &d.writeTime}, {12, &d.busyTimeMsec}} {
			v, ok := parseUint(words[f.word])
			*f.to, all = v, all && ok
		}
		if all {
			d.read, d.written = d.read*sector, d.written*sector
			got(words[0]+":"+words[1], d)
		}
	}
}

// isVirtual tells what is no disk: memory, files, and drives without a medium.
func isVirtual(name string) bool {
	for _, prefix := range []string{"loop", "ram", "zram", "sr", "fd", "nbd"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && strings.Trim(rest, "0123456789") == "" {
			return true
		}
	}
	return false
}

// physical are the beginnings of the names that systemd and the kernel give to devices that lead out of the machine; veth, bridges and tunnels
// would count what goes through them again.
var physical = []string{"en", "eth", "wl", "ww", "ib", "bond", "team", "usb", "sl", "venet"}

// parseInterfaces reads /proc/net/dev.
func parseInterfaces(text string, list []nodeInterface) []nodeInterface {
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		words := strings.Fields(rest)
		if !ok || len(words) < 10 || len(list) >= maxInterfaces || !isPhysical(name) {
			continue
		}
		i := nodeInterface{name: name}
		all := true
		for _, f := range []struct {
			word int
			to   *uint64
		}{{0, &i.receivedBytes}, {1, &i.receivedPackets}, {8, &i.bytes}, {9, &i.sends}} {
			v, ok := parseUint(words[f.word])
			*f.to, all = v, all && ok
		}
		if all {
			list = append(list, i)
		}
	}
	return list
}

func isPhysical(name string) bool {
	for _, prefix := range physical {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
