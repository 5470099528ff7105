package host

import (
	"math"
	"strings"
	"time"
)

// noLimit is above what version 1 writes for no limit of memory: the largest number of whole pages.
const noLimit = 1 << 62

// maxDevices bounds the devices of one cgroup.
const maxDevices = 64

// controllers of a cgroup that are read.
const (
	cpuController = iota
	memoryController
	ioController
	controllers
)

// read takes all figures of a cgroup. dirs are its folders by controller, "" where it has none. Limits are read each limitsEvery readings, and for
// the time between they are as last: they seldom change, and each file costs as much as any other.
func (m *Meter) read(dirs *[controllers]string, last, r *reading, limits bool) {
	m.limits, m.throttles = limits, last.has(cpuLimit)
	for c, readers := range [controllers][2]func(string, *reading){
		cpuController:    {m.cpuV1, m.cpuV2},
		memoryController: {m.memoryV1, m.memoryV2},
		ioController:     {m.ioV1, m.ioV2},
	} {
		if dirs[c] == "" {
			continue
		}
		if m.tree.mounts[c].unified {
			readers[1](dirs[c], r)
		} else {
			readers[0](dirs[c], r)
		}
	}
	if dirs[cpuController] != "" && m.tree.mounts[cpuController].unified {
		m.pressure(dirs[cpuController], r)
	}
	if limits {
		return
	}
	for _, g := range []gauge{cpuLimit, memoryLimit} {
		if last.has(g) {
			r.gauge(g, last.gauges[g])
		}
	}
	if !r.counts(cpuThrottled) && last.counts(cpuThrottled) {
		r.count(cpuThrottled, last.counters[cpuThrottled])
	}
}

// limitsEvery is how many readings limits are believed.
const limitsEvery = 6

// cpuV1 reads the controllers cpuacct and cpu of version 1. Kernels before 4.11 tell user and system in ticks only.
func (m *Meter) cpuV1(dir string, r *reading) {
	if v, ok := m.number(dir, "cpuacct.usage"); ok {
		r.count(cpuUsed, v)
	}
	user, ok1 := m.number(dir, "cpuacct.usage_user")
	system, ok2 := m.number(dir, "cpuacct.usage_sys")
	if !ok1 || !ok2 {
		text := m.text(dir, "cpuacct.stat")
		user, ok1 = field(text, "user")
		system, ok2 = field(text, "system")
		user, system = user*tick, system*tick
	}
	if ok1 && ok2 {
		r.count(cpuUser, user)
		r.count(cpuSystem, system)
	}
	if !m.limits && !m.throttles {
		return // what has no limit is not throttled
	}
	limits := dir
	if m.tree.cpuLimits != "" { // cpu is mounted apart from cpuacct
		limits = m.tree.cpuLimits + strings.TrimPrefix(dir, m.tree.mounts[cpuController].dir)
	}
	if v, ok := field(m.text(limits, "cpu.stat"), "throttled_time"); ok {
		r.count(cpuThrottled, v)
	}
	if !m.limits {
		return
	}
	quota, ok1 := m.number(limits, "cpu.cfs_quota_us") // -1 is none
	period, ok2 := m.number(limits, "cpu.cfs_period_us")
	if ok1 && ok2 && period > 0 {
		r.gauge(cpuLimit, float64(quota)/float64(period))
	}
}

// cpuV2 reads cpu.stat, which every cgroup has, and the limit, which those with the controller have.
func (m *Meter) cpuV2(dir string, r *reading) {
	fields(m.text(dir, "cpu.stat"), func(name string, v uint64) {
		switch name {
		case "usage_usec":
			r.count(cpuUsed, v*1000)
		case "user_usec":
			r.count(cpuUser, v*1000)
		case "system_usec":
			r.count(cpuSystem, v*1000)
		case "throttled_usec":
			r.count(cpuThrottled, v*1000)
		}
	})
	if !m.limits {
		return
	}
	quota, period, _ := strings.Cut(strings.TrimSpace(m.text(dir, "cpu.max")), " ")
	q, ok1 := parseUint(quota)
	p, ok2 := parseUint(period)
	if ok1 && ok2 && p > 0 {
		r.gauge(cpuLimit, float64(q)/float64(p))
	}
}

// memoryFiles are how a version of cgroups calls what is read of its controller memory: files, and lines of memory.stat.
type memoryFiles struct {
	usage, limit                  string
	anon, mapped, cache, inactive string
}

// memoryV1 reads the controller memory of version 1, with what lies below.
func (m *Meter) memoryV1(dir string, r *reading) {
	m.memory(dir, r, memoryFiles{"memory.usage_in_bytes", "memory.limit_in_bytes", "total_rss", "total_mapped_file", "total_cache", "total_inactive_file"})
}

// memoryV2 reads the controller memory of version 2.
func (m *Meter) memoryV2(dir string, r *reading) {
	m.memory(dir, r, memoryFiles{"memory.current", "memory.max", "anon", "file_mapped", "file", "inactive_file"})
}

// memory sets the gauges. As with coroot-node-agent, mapped files are part of the resident set. The working set is what the kubelet takes for it: all
// that is charged but the page cache that was not used lately.
func (m *Meter) memory(dir string, r *reading, names memoryFiles) {
	var anon, mapped, cache, inactive uint64
	stat := m.text(dir, "memory.stat")
	fields(stat, func(name string, v uint64) {
		switch name {
		case names.anon:
			anon = v
		case names.mapped:
			mapped = v
		case names.cache:
			cache = v
		case names.inactive:
			inactive = v
		}
	})
	if usage, ok := m.number(dir, names.usage); ok && stat != "" {
		r.gauge(memoryRSS, float64(anon+mapped))
		r.gauge(memoryCache, float64(cache))
		r.gauge(memoryWorking, float64(usage-min(usage, inactive)))
	}
	if !m.limits {
		return
	}
	if limit, ok := m.number(dir, names.limit); ok && limit < noLimit { // "max", which is no number, is none
		r.gauge(memoryLimit, float64(limit))
	}
}

// ioV1 reads what the throttling layer of version 1 counts, which is there whatever the scheduler.
func (m *Meter) ioV1(dir string, r *reading) {
	for _, file := range []struct {
		name   string
		add    func(d *disk, reads, writes uint64)
		legacy string // before Linux 4.15 there is only what does not lie below
	}{
		{"blkio.throttle.io_service_bytes_recursive", func(d *disk, n, w uint64) { d.read += n; d.written += w }, "blkio.throttle.io_service_bytes"},
		{"blkio.throttle.io_serviced_recursive", func(d *disk, n, w uint64) { d.reads += n; d.writes += w }, "blkio.throttle.io_serviced"},
	} {
		text, ok := m.file(dir, file.name)
		if !ok {
			text, ok = m.file(dir, file.legacy)
		}
		if !ok {
			continue
		}
		r.diskKnown()
		for line := range strings.Lines(text) { // "8:0 Read 4096"
			words := strings.Fields(line)
			if len(words) != 3 {
				continue
			}
			v, ok := parseUint(words[2])
			switch {
			case !ok:
			case words[1] == "Read":
				r.disk(m.device(words[0]), func(d *disk) { file.add(d, v, 0) })
			case words[1] == "Write":
				r.disk(m.device(words[0]), func(d *disk) { file.add(d, 0, v) })
			}
		}
	}
	r.sumDisks()
}

// ioV2 reads lines of "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0".
func (m *Meter) ioV2(dir string, r *reading) {
	text, ok := m.file(dir, "io.stat")
	if !ok {
		return
	}
	r.diskKnown()
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || !strings.Contains(words[0], ":") {
			continue
		}
		r.disk(m.device(words[0]), func(d *disk) {
			for _, word := range words[1:] {
				key, value, _ := strings.Cut(word, "=")
				v, ok := parseUint(value)
				switch {
				case !ok:
				case key == "rbytes":
					d.read += v
				case key == "wbytes":
					d.written += v
				case key == "rios":
					d.reads += v
				case key == "wios":
					d.writes += v
				}
			}
		})
	}
	r.sumDisks()
}

// diskKnown says that a cgroup's devices are counted, though it may not have used one yet.
func (r *reading) diskKnown() {
	if r.disks == nil {
		r.disks = make(map[string]disk)
	}
}

func (r *reading) disk(device string, change func(*disk)) {
	d, known := r.disks[device]
	if device == "" || !known && len(r.disks) >= maxDevices {
		return
	}
	change(&d)
	r.disks[device] = d
}

func (r *reading) sumDisks() {
	if r.disks == nil {
		return
	}
	var read, written uint64
	for _, d := range r.disks {
		read += d.read
		written += d.written
	}
	r.count(diskRead, read)
	r.count(diskWritten, written)
}

// pressure reads the three files of pressure stall information, where the kernel keeps them.
func (m *Meter) pressure(dir string, r *reading) {
	for _, p := range []struct {
		file       string
		some, full counter
	}{
		{"cpu.pressure", cpuWaitingSome, cpuWaitingFull},
		{"memory.pressure", memoryWaitingSome, memoryWaitingFull},
		{"io.pressure", ioWaitingSome, ioWaitingFull},
	} {
		text, ok := m.file(dir, p.file)
		if !ok {
			continue
		}
		for line := range strings.Lines(text) { // "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234", in microseconds
			kind, _, _ := strings.Cut(line, " ")
			_, total, _ := strings.Cut(line, "total=")
			v, ok := parseUint(strings.TrimSpace(total))
			if !ok || v > math.MaxUint64/1000 {
				continue
			}
			switch kind {
			case "some":
				r.count(p.some, v*1000)
			case "full":
				r.count(p.full, v*1000)
			}
		}
	}
}

// tick is the unit of times in /proc and cpuacct.stat (USER_HZ, which is 100 on every architecture that we are built for).
const tick = uint64(time.Second / 100)
