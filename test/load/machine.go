package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// describeMachine says what matters for the figures, without names.
func describeMachine() string {
	var name unix.Utsname
	release := "unknown"
	if unix.Uname(&name) == nil {
		release, _, _ = strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	}
	load := strings.Fields(readAll("/proc/loadavg") + " ? ? ?")
	return fmt.Sprintf("Machine: %d CPUs (%s), %s of memory, Linux %s, %s, Go %s. Load when the run began: %s (1 min), %s (5 min).", runtime.NumCPU(),
		field("/proc/cpuinfo", "model name"), field("/proc/meminfo", "MemTotal"), release, distribution(), strings.TrimPrefix(runtime.Version(), "go"), load[0], load[1])
}

// field returns the value of a line "key : value".
func field(path, key string) string {
	for line := range strings.Lines(readAll(path)) {
		if k, v, found := strings.Cut(line, ":"); found && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func distribution() string {
	for line := range strings.Lines(readAll("/etc/os-release")) {
		if v, found := strings.CutPrefix(line, "PRETTY_NAME="); found {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return "unknown distribution"
}

func readAll(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data)
}
