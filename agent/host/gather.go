package host

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/model"
)

// families describes every metric of a Meter.
type families struct {
	nodeCPU, nodeCores                                                                  *model.Family
	nodeMemory                                                                          map[string]*model.Family
	diskReads, diskWrites, diskRead, diskWritten, diskReadTime, diskWriteTime, diskTime *model.Family
	netReceived, netReceivedPackets, netSent, netSentPackets, netUp                     *model.Family
	filesystems                                                                         []filesystemFamily

	accounts []accountFamily
	info     *model.Family

	dropped, failures, spent, groups, processes, kubelet *model.Family
}

// accountFamily is a metric of an account.
type accountFamily struct {
	*model.Family
	level   level
	counter counter
	gauge   gauge
	scale   float64           // counters are divided by it
	part    int               // of its labels; -1: its labels
	disk    func(disk) uint64 // of a device
}

// filesystemFamily is a metric of a file system; ok is false where that has it not.
type filesystemFamily struct {
	*model.Family
	of func(*filesystem) (v uint64, ok bool)
}

const nanoseconds = 1e9 // in a second

func newFamilies() families {
	counterOf := func(name, unit, help string) *model.Family {
		return &model.Family{Name: name, Unit: unit, Help: help, Type: model.Counter}
	}
	gaugeOf := func(name, unit, help string) *model.Family {
		return &model.Family{Name: name, Unit: unit, Help: help, Type: model.Gauge}
	}
	f := families{
		nodeCPU:            counterOf("node_resources_cpu_usage_seconds_total", "seconds", "Processor time of the machine by mode."),
		nodeCores:          gaugeOf("node_resources_cpu_logical_cores", "", "Logical processors of the machine."),
		nodeMemory:         make(map[string]*model.Family),
		diskReads:          counterOf("node_resources_disk_reads_total", "", "Reads from a disk."),
		diskWrites:         counterOf("node_resources_disk_writes_total", "", "Writes to a disk."),
		diskRead:           counterOf("node_resources_disk_read_bytes_total", "bytes", "Bytes read from a disk."),
		diskWritten:        counterOf("node_resources_disk_written_bytes_total", "bytes", "Bytes written to a disk."),
		diskReadTime:       counterOf("node_resources_disk_read_time_seconds_total", "seconds", "Time that all reads of a disk took together."),
		diskWriteTime:      counterOf("node_resources_disk_write_time_seconds_total", "seconds", "Time that all writes of a disk took together."),
		diskTime:           counterOf("node_resources_disk_io_time_seconds_total", "seconds", "Time in which a disk had something to do."),
		netReceived:        counterOf("node_net_received_bytes_total", "bytes", "Bytes received by a network interface."),
		netReceivedPackets: counterOf("node_net_received_packets_total", "", "Packets received by a network interface."),
		netSent:            counterOf("node_net_transmitted_bytes_total", "bytes", "Bytes sent by a network interface."),
		netSentPackets:     counterOf("node_net_transmitted_packets_total", "", "Packets sent by a network interface."),
		netUp:              gaugeOf("node_net_interface_up", "", "1 for a network interface that is up."),

		dropped:   counterOf("vetch_host_dropped_total", "", "What is not in the figures of resources, by the limit that was met: cgroups (readings that met it), processes, programs (readings of processes under ~other), series, devices, delays (processes whose delays were not asked for)."),
		failures:  counterOf("vetch_host_failures_total", "", "Readings of /proc that did not work."),
		spent:     counterOf("vetch_host_seconds_total", "seconds", "Time spent reading cgroups and /proc."),
		groups:    gaugeOf("vetch_host_cgroups", "", "Containers, pods and units whose cgroups are read."),
		kubelet:   counterOf("vetch_host_kubelet_requests_total", "", "Questions to the kubelet of the node by result: answered, failed."),
		processes: gaugeOf("vetch_host_processes", "", "Processes that are looked at."),
	}
	for _, n := range memoryNames {
		f.nodeMemory[n[0]] = gaugeOf("node_resources_memory_"+n[0]+"_bytes", "bytes", "Memory of the machine: "+n[1]+" of /proc/meminfo.")
	}
	f.ofFilesystems(gaugeOf)
	f.containers(counterOf, gaugeOf)
	f.pods(counterOf, gaugeOf)
	return f
}

type familyOf func(name, unit, help string) *model.Family

// ofFilesystems are the metrics of the machine's file systems, under the names of Prometheus's node_exporter: coroot-node-agent has none.
func (f *families) ofFilesystems(gaugeOf familyOf) {
	g := func(name, unit, help string, of func(*filesystem) (uint64, bool)) {
		f.filesystems = append(f.filesystems, filesystemFamily{gaugeOf("node_filesystem_"+name, unit, help), of})
	}
	g("size_bytes", "bytes", "Size of a file system.", func(f *filesystem) (uint64, bool) { return f.size, true })
	g("free_bytes", "bytes", "Free space of a file system.", func(f *filesystem) (uint64, bool) { return f.free, true })
	g("avail_bytes", "bytes", "Space of a file system that is free for others than root.", func(f *filesystem) (uint64, bool) { return f.avail, true })
	g("files", "", "Inodes of a file system.", func(f *filesystem) (uint64, bool) { return f.inodes, f.inodes > 0 })
	g("files_free", "", "Free inodes of a file system.", func(f *filesystem) (uint64, bool) { return f.freeInodes, f.inodes > 0 })
	g("readonly", "", "1 for a file system that is mounted to be read only.", func(f *filesystem) (uint64, bool) {
		if f.readOnly {
			return 1, true
		}
		return 0, true
	})
}

// containers are the metrics of containers, units and programs.
func (f *families) containers(counterOf, gaugeOf familyOf) {
	const prefix = "container_resources_"
	g := func(name, unit, help string, of gauge) {
		f.accounts = append(f.accounts, accountFamily{Family: gaugeOf(prefix+name, unit, help), level: isContainer, gauge: of, counter: counters, part: -1})
	}
	c := func(name, help string, of ...counter) {
		family := counterOf(prefix+name, "seconds", help)
		for i, one := range of {
			part := -1
			if len(of) > 1 {
				part = 2 + i
			}
			f.accounts = append(f.accounts, accountFamily{Family: family, level: isContainer, counter: one, scale: nanoseconds, part: part})
		}
	}
	g("cpu_limit_cores", "", "Processors that a container may use.", cpuLimit)
	c("cpu_usage_seconds_total", "Processor time that a container used.", cpuUsed)
	c("cpu_throttled_seconds_total", "Time for which a container's limit kept it from running.", cpuThrottled)
	g("memory_limit_bytes", "bytes", "Memory that a container may use.", memoryLimit)
	g("memory_rss_bytes", "bytes", "Resident memory of a container: anonymous, and mapped files.", memoryRSS)
	g("memory_cache_bytes", "bytes", "Page cache of a container.", memoryCache)
	g("memory_working_set_bytes", "bytes", "Memory of a container without the page cache that was not used lately, as the kubelet counts it.", memoryWorking)
	g("ephemeral_storage_bytes", "bytes", "What a container has on the node's disk by the kubelet's count: its writable layer and logs.", ephemeral)
	c("cpu_pressure_waiting_seconds_total", "Time for which some or all runnable tasks of a container waited for a processor.", cpuWaitingSome, cpuWaitingFull)
	c("memory_pressure_waiting_seconds_total", "Time for which some or all tasks of a container waited for memory.", memoryWaitingSome, memoryWaitingFull)
	c("io_pressure_waiting_seconds_total", "Time for which some or all tasks of a container waited for disks.", ioWaitingSome, ioWaitingFull)
	c("cpu_delay_seconds_total", "Time for which threads of a container could run and waited for a processor.", cpuDelayed)
	c("disk_delay_seconds_total", "Time for which threads of a container waited for disks.", diskDelayed)
	f.info = gaugeOf("container_info", "", "1; the image of a container, or what systemd knows of a unit.")
	again := counterOf("container_restarts_total", "", "Times that a container or unit began again.")
	f.accounts = append(f.accounts, accountFamily{Family: again, level: isContainer, counter: restarts, scale: 1, part: -1})
	kills := counterOf("container_oom_kills_total", "", "Processes of a container that were killed for want of memory.")
	f.accounts = append(f.accounts, accountFamily{Family: kills, level: isContainer, counter: memoryKills, scale: 1, part: -1})
	for _, d := range []struct {
		name, unit, help string
		of               func(disk) uint64
	}{
		{"reads_total", "", "Reads of a container from a device.", func(d disk) uint64 { return d.reads }},
		{"writes_total", "", "Writes of a container to a device.", func(d disk) uint64 { return d.writes }},
		{"read_bytes_total", "bytes", "Bytes that a container read from a device.", func(d disk) uint64 { return d.read }},
		{"written_bytes_total", "bytes", "Bytes that a container wrote to a device.", func(d disk) uint64 { return d.written }},
	} {
		f.accounts = append(f.accounts, accountFamily{Family: counterOf(prefix+"disk_"+d.name, d.unit, d.help), level: isContainer, disk: d.of})
	}
}

// pods are the metrics of pods and of workloads, which are the same.
func (f *families) pods(counterOf, gaugeOf familyOf) {
	for _, of := range []struct {
		prefix, noun string
		level        level
	}{{"vetch_pod_", "a pod", isPod}, {"vetch_workload_", "a workload", isWorkload}} {
		c := func(name, unit, help string, scale float64, part int, of2 counter, family *model.Family) *model.Family {
			if family == nil {
				family = counterOf(of.prefix+name, unit, help+" of "+of.noun+".")
			}
			f.accounts = append(f.accounts, accountFamily{Family: family, level: of.level, counter: of2, scale: scale, part: part})
			return family
		}
		g := func(name, help string, of2 gauge) {
			f.accounts = append(f.accounts, accountFamily{Family: gaugeOf(of.prefix+name, "bytes", help+" of "+of.noun+"."), level: of.level, gauge: of2, counter: counters, part: -1})
		}
		cpu := c("cpu_seconds_total", "seconds", "Processor time", nanoseconds, 0, cpuUser, nil)
		c("", "", "", nanoseconds, 1, cpuSystem, cpu)
		c("cpu_throttled_seconds_total", "seconds", "Time for which limits kept from running, all containers", nanoseconds, -1, cpuThrottled, nil)
		g("memory_working_set_bytes", "Memory without the page cache that was not used lately,", memoryWorking)
		g("memory_rss_bytes", "Resident memory", memoryRSS)
		g("memory_cache_bytes", "Page cache", memoryCache)
		g("ephemeral_storage_bytes", "Space on the node's disk, by the kubelet's count: writable layers, logs, emptyDir volumes,", ephemeral)
		c("disk_read_bytes_total", "bytes", "Bytes read from disks", 1, -1, diskRead, nil)
		c("disk_written_bytes_total", "bytes", "Bytes written to disks", 1, -1, diskWritten, nil)
		c("network_received_bytes_total", "bytes", "Bytes received by the network namespaces", 1, -1, netReceived, nil)
		c("network_transmitted_bytes_total", "bytes", "Bytes sent by the network namespaces", 1, -1, netSent, nil)
	}
}

// Gather hands out all series, family by family. What was read in the last second is not read again.
func (m *Meter) Gather(emit func(model.Sample)) {
	var list []model.Sample
	m.mu.Lock()
	m.refresh()
	counterOf := func(f *model.Family, l labels.Labels, v float64, born time.Time) {
		list = append(list, model.Sample{Family: f, Labels: l, Value: v, Created: born})
	}
	gaugeOf := func(f *model.Family, l labels.Labels, v float64) {
		list = append(list, model.Sample{Family: f, Labels: l, Value: v})
	}
	m.gatherNode(counterOf, gaugeOf)
	for i := range m.families.accounts {
		f := &m.families.accounts[i]
		for _, a := range m.ordered {
			if a.level == f.level {
				a.gather(f, m.rounds-1, counterOf, gaugeOf)
			}
		}
	}
	for _, a := range m.ordered {
		if a.round == m.rounds-1 && !a.info.IsEmpty() {
			gaugeOf(m.families.info, a.info, 1)
		}
	}
	for _, reason := range []string{dropGroups, dropProcesses, dropPrograms, dropAccounts, dropDevices, dropDelays} {
		counterOf(m.families.dropped, labelSet("reason", reason), float64(m.dropped[reason]), m.started)
	}
	counterOf(m.families.failures, labels.EmptyLabels(), float64(m.failed), m.started)
	counterOf(m.families.spent, labels.EmptyLabels(), m.spent.Seconds(), m.started)
	if m.kubelet != nil {
		m.kubelet.mu.Lock()
		for i, result := range []string{"answered", "failed"} {
			counterOf(m.families.kubelet, labelSet("result", result), float64(m.kubelet.asked[i]), m.started)
		}
		m.kubelet.mu.Unlock()
	}
	gaugeOf(m.families.groups, labels.EmptyLabels(), float64(len(m.groups)))
	gaugeOf(m.families.processes, labels.EmptyLabels(), float64(len(m.processes)))
	m.mu.Unlock()
	for _, s := range list {
		emit(s)
	}
}

// gather hands out one metric of an account, as of a round.
func (a *account) gather(f *accountFamily, round uint64, counterOf func(*model.Family, labels.Labels, float64, time.Time), gaugeOf func(*model.Family, labels.Labels, float64)) {
	switch {
	case f.disk != nil:
		for _, d := range a.disks {
			counterOf(f.Family, d.labels, float64(f.disk(d.disk)), d.born)
		}
	case f.counter == counters:
		if a.round == round && a.gauges.has(f.gauge) {
			gaugeOf(f.Family, a.labels, a.gauges.gauges[f.gauge])
		}
	case !a.born[f.counter].IsZero():
		l := a.labels
		if f.part >= 0 {
			l = a.parts[f.part]
		}
		counterOf(f.Family, l, float64(a.sums[f.counter])/f.scale, a.born[f.counter])
	}
}

func (m *Meter) gatherNode(counterOf func(*model.Family, labels.Labels, float64, time.Time), gaugeOf func(*model.Family, labels.Labels, float64)) {
	f, n := &m.families, &m.node
	unknown := time.Time{} // they began when the machine did
	for _, mode := range cpuModes {
		if ticks, ok := n.cpu[mode]; ok {
			counterOf(f.nodeCPU, m.machineLabels("mode", mode), float64(ticks*tick)/nanoseconds, unknown)
		}
	}
	gaugeOf(f.nodeCores, m.machineLabels(), float64(n.cores))
	for _, name := range memoryNames {
		if v, ok := n.memory[name[0]]; ok {
			gaugeOf(f.nodeMemory[name[0]], m.machineLabels(), float64(v))
		}
	}
	for _, d := range []struct {
		*model.Family
		of    func(nodeDisk) uint64
		scale float64
	}{
		{f.diskReads, func(d nodeDisk) uint64 { return d.reads }, 1},
		{f.diskWrites, func(d nodeDisk) uint64 { return d.writes }, 1},
		{f.diskRead, func(d nodeDisk) uint64 { return d.read }, 1},
		{f.diskWritten, func(d nodeDisk) uint64 { return d.written }, 1},
		{f.diskReadTime, func(d nodeDisk) uint64 { return d.readTime }, 1e3},
		{f.diskWriteTime, func(d nodeDisk) uint64 { return d.writeTime }, 1e3},
		{f.diskTime, func(d nodeDisk) uint64 { return d.busyTimeMsec }, 1e3},
	} {
		for _, one := range n.disks {
			counterOf(d.Family, m.machineLabels("device", one.name), float64(d.of(one))/d.scale, unknown)
		}
	}
	for _, family := range f.filesystems {
		for i := range n.filesystems {
			one := &n.filesystems[i]
			if v, ok := family.of(one); ok {
				gaugeOf(family.Family, m.machineLabels("device", one.device, "fstype", one.kind, "mountpoint", one.dir), float64(v))
			}
		}
	}
	for _, i := range []struct {
		*model.Family
		of func(nodeInterface) uint64
	}{
		{f.netReceived, func(i nodeInterface) uint64 { return i.receivedBytes }},
		{f.netReceivedPackets, func(i nodeInterface) uint64 { return i.receivedPackets }},
		{f.netSent, func(i nodeInterface) uint64 { return i.bytes }},
		{f.netSentPackets, func(i nodeInterface) uint64 { return i.sends }},
	} {
		for _, one := range n.interfaces {
			counterOf(i.Family, m.machineLabels("interface", one.name), float64(i.of(one)), unknown)
		}
	}
	for _, one := range slices.DeleteFunc(slices.Clone(n.interfaces), func(i nodeInterface) bool { return !i.upKnown }) {
		up := 0.0
		if one.up {
			up = 1
		}
		gaugeOf(f.netUp, m.machineLabels("interface", one.name), up)
	}
}
