package host

import "strings"

// counter is one of the cumulative figures of a cgroup.
type counter uint8

// The counters. Times are in nanoseconds, kills and restarts are numbers, the rest is in bytes.
const (
	cpuUsed counter = iota
	cpuUser
	cpuSystem
	cpuThrottled
	cpuWaitingSome
	cpuWaitingFull
	memoryWaitingSome
	memoryWaitingFull
	ioWaitingSome
	ioWaitingFull
	diskRead
	diskWritten
	netReceived
	netSent
	cpuDelayed // by taskstats
	diskDelayed
	memoryKills // of processes
	restarts    // of containers and units
	counters
)

// gauge is one of the figures of a cgroup that go up and down.
type gauge uint8

// The gauges. Memory and space are in bytes.
const (
	cpuLimit gauge = iota // cores
	memoryLimit
	memoryRSS
	memoryCache
	memoryWorking
	ephemeral // on the node's disk
	gauges
)

// reading is what the kernel says of one cgroup, or of several together.
type reading struct {
	counters [counters]uint64
	gauges   [gauges]float64
	// counted and gauged have a bit for each figure that is known.
	counted, gauged uint32
	disks           map[string]disk // by device
}

// disk is what went to and from one device.
type disk struct{ reads, writes, read, written uint64 }

func (r *reading) count(c counter, v uint64) {
	r.counters[c] = v
	r.counted |= 1 << c
}

func (r *reading) counts(c counter) bool { return r.counted&(1<<c) != 0 }

func (r *reading) gauge(g gauge, v float64) {
	r.gauges[g] = v
	r.gauged |= 1 << g
}

func (r *reading) has(g gauge) bool { return r.gauged&(1<<g) != 0 }

// add adds the gauges of another; where only one of both is limited, there is no limit.
func (r *reading) addGauges(o *reading, first bool) {
	for g := range gauges {
		switch {
		case !o.has(g):
			if g == cpuLimit || g == memoryLimit {
				r.gauged &^= 1 << g
			}
		case r.has(g) || first || g != cpuLimit && g != memoryLimit:
			r.gauge(g, r.gauges[g]+o.gauges[g])
		}
	}
}

// field returns the value after a name in a text of lines "NAME VALUE".
func field(text, name string) (uint64, bool) {
	for line := range strings.Lines(text) {
		key, rest, ok := strings.Cut(strings.TrimRight(line, "\n"), " ")
		if ok && key == name {
			return parseUint(strings.TrimSpace(rest))
		}
	}
	return 0, false
}

// fields calls got with each line "NAME VALUE" of a text.
func fields(text string, got func(name string, value uint64)) {
	for line := range strings.Lines(text) {
		key, rest, ok := strings.Cut(strings.TrimRight(line, "\n"), " ")
		if !ok {
			continue
		}
		if v, ok := parseUint(strings.TrimSpace(rest)); ok {
			got(key, v)
		}
	}
}

// parseUint reads a whole decimal number that fits 64 bits.
func parseUint(s string) (uint64, bool) {
	if s == "" || len(s) > 20 {
		return 0, false
	}
	var v uint64
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 || v > (1<<64-1)/10 || v*10 > 1<<64-1-uint64(c) {
			return 0, false
		}
		v = v*10 + uint64(c)
	}
	return v, true
}
