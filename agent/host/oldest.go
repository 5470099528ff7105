package host

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Oldest tells when the oldest process that lives now began, by the id of the container that it lives in and by CLOCK_MONOTONIC. What is younger than that
// and has ended was not the main process: without that one no other lives. It may be called from any goroutine.
func (m *Meter) Oldest() map[string]time.Duration {
	oldest := make(map[string]time.Duration)
	dir, err := os.Open(m.proc)
	if err != nil {
		return oldest
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxProcesses + 1024) // what could be read counts
	_, slept := m.clocks()
	for _, name := range names {
		pid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		place, ok := m.namer.PlaceOf(uint32(pid))
		if !ok || place.Container == "" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.proc, name, "stat"))
		s, ok := parseStat(string(text))
		if err != nil || !ok || hasEnded(string(text)) {
			continue
		}
		began := time.Duration(s.started*tick) - slept
		if known, ok := oldest[place.Container]; !ok || began < known {
			oldest[place.Container] = began
		}
	}
	return oldest
}

// hasEnded tells by /proc/PID/stat that a process only waits for its parent to hear of its end.
func hasEnded(stat string) bool {
	state := strings.TrimLeft(stat[strings.LastIndexByte(stat, ')')+1:], " ")
	return state != "" && strings.ContainsRune("ZXx", rune(state[0]))
}
