package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// cpuOf is the time that all threads of a process have run, from the scheduler's own count in nanoseconds. Threads that ended are not in it.
func cpuOf(pid int) (time.Duration, error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(paths) == 0 {
		return 0, fmt.Errorf("read the CPU time of process %d: it is gone", pid)
	}
	var total time.Duration
	for _, path := range paths {
		fields := strings.Fields(readAll(path))
		if len(fields) > 0 {
			ns, err := strconv.ParseInt(fields[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("parse %s: %w", path, err)
			}
			total += time.Duration(ns)
		}
	}
	return total, nil
}

// machineCPU is the time that all CPUs were busy, in ticks of 10 ms.
func machineCPU() time.Duration {
	fields := strings.Fields(strings.SplitN(readAll("/proc/stat"), "\n", 2)[0])
	var busy int64
	for i, f := range fields[1:] {
		if i == 3 || i == 4 || i > 7 { // idle, iowait; guest time is in user time already
			continue
		}
		ticks, _ := strconv.ParseInt(f, 10, 64)
		busy += ticks
	}
	return time.Duration(busy) * 10 * time.Millisecond
}

// memoryOf reads VmRSS and VmHWM in MiB.
func memoryOf(pid int) (now, peak float64) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	read := func(key string) float64 {
		kib, _ := strconv.ParseFloat(strings.TrimSuffix(field(path, key), " kB"), 64)
		return kib / 1024
	}
	return read("VmRSS"), read("VmHWM")
}

var mapLine = regexp.MustCompile(`(?m)^(map_type|map_id|memlock|max_entries):\s*(\d+)`)

// mapsOf sums the memory of all BPF maps that the process holds, as fdinfo tells it, in MiB. perCPU is the part that grows with the number of CPUs.
func mapsOf(pid int) (total, perCPU float64) {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	seen := map[string]bool{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), "map_id:") {
			continue
		}
		values := map[string]string{}
		for _, m := range mapLine.FindAllStringSubmatch(string(data), -1) {
			values[m[1]] = m[2]
		}
		if seen[values["map_id"]] {
			continue
		}
		seen[values["map_id"]] = true
		bytes, _ := strconv.ParseFloat(values["memlock"], 64)
		total += bytes / (1 << 20)
		if t := values["map_type"]; t == "5" || t == "6" || t == "10" { // BPF_MAP_TYPE_PERCPU_HASH, _PERCPU_ARRAY, _LRU_PERCPU_HASH
			perCPU += bytes / (1 << 20)
		}
	}
	return total, perCPU
}
