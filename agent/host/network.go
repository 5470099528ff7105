package host

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// findProcess finds a process by which a container's network can be read.
func (m *Meter) findProcess(f *found, g *group) {
	if g.pid != "" && netnsOf(filepath.Join(m.proc, g.pid)) != 0 {
		return
	}
	g.pid = m.anyProcess(f)
}

// readNetwork reads the devices of the network namespace that a container lives in, unless that is the machine's.
func (m *Meter) readNetwork(g, of *group, r *reading) {
	if of.pid == "" {
		return
	}
	dir := filepath.Join(m.proc, of.pid)
	netns := netnsOf(dir)
	if netns == 0 || netns == m.netns {
		return
	}
	received, sent, ok := parseNetwork(m.text(dir, "net/dev"))
	if !ok {
		return
	}
	r.count(netReceived, received)
	r.count(netSent, sent)
	if g.netns != netns {
		if g.netns != 0 { // another one, which counts from zero
			g.last.counters[netReceived], g.last.counters[netSent] = 0, 0
		}
		g.netns = netns
	}
}

// parseNetwork adds up the bytes of all devices but the loopback in /proc/PID/net/dev.
func parseNetwork(text string) (received, sent uint64, ok bool) {
	for line := range strings.Lines(text) {
		name, rest, found := strings.Cut(line, ":")
		words := strings.Fields(rest)
		if !found || len(words) < 9 {
			continue
		}
		if strings.TrimSpace(name) == "lo" {
			ok = true
			continue
		}
		in, ok1 := parseUint(words[0])
		out, ok2 := parseUint(words[8])
		if ok1 && ok2 {
			received, sent, ok = received+in, sent+out, true
		}
	}
	return received, sent, ok
}

// netnsOf is the inode of a process's network namespace; 0 where it cannot be read.
func netnsOf(dir string) uint64 {
	var st unix.Stat_t
	if unix.Stat(dir+"/ns/net", &st) != nil {
		return 0
	}
	return st.Ino
}
