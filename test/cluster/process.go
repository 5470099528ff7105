package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process of the cluster is recorded in the folder pids, as its pid and the time that it started at: a pid that was used again is never
// taken for ours, and only what is recorded is ended.

// start starts a process that outlives this one, in a session of its own. Its output goes to log/NAME.log.
func (c *cluster) start(name string, flags uintptr, args ...string) error {
	for _, dir := range []string{"pids", "log"} {
		if err := os.MkdirAll(c.path(dir), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	log, err := os.OpenFile(c.logFile(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: flags}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	go cmd.Wait() //nolint:errcheck // only so that it leaves no zombie while this process lives
	began, _ := processStat(cmd.Process.Pid)
	record := fmt.Sprintf("%d %s", cmd.Process.Pid, began)
	if err := os.WriteFile(c.path("pids", name), []byte(record), 0o644); err != nil {
		return errors.Join(fmt.Errorf("record %s: %w", name, err), cmd.Process.Kill())
	}
	return nil
}

func (c *cluster) logFile(name string) string { return c.path("log", name+".log") }

// processStat reads when a process started, in clock ticks, and its state; both are empty when there is none.
func processStat(pid int) (began, state string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", ""
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return "", ""
	}
	return fields[19], fields[0]
}

// pid is that of a process that still runs, else 0.
func (c *cluster) pid(name string) int {
	text, err := os.ReadFile(c.path("pids", name))
	if err != nil {
		return 0
	}
	first, began, _ := strings.Cut(string(text), " ")
	pid, err := strconv.Atoi(first)
	if now, state := processStat(pid); err != nil || began == "" || now != began || state == "Z" {
		return 0
	}
	return pid
}

// recorded lists the names of all processes that were started.
func (c *cluster) recorded() []string {
	files, _ := filepath.Glob(c.path("pids", "*"))
	for i, f := range files {
		files[i] = filepath.Base(f)
	}
	return files
}

// running lists the names of those that still run.
func (c *cluster) running() []string {
	var names []string
	for _, name := range c.recorded() {
		if c.pid(name) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// signal sends a signal to a process and the session that it leads.
func (c *cluster) signal(name string, s syscall.Signal) {
	if pid := c.pid(name); pid != 0 {
		if syscall.Kill(-pid, s) != nil {
			syscall.Kill(pid, s) //nolint:errcheck // it ended meanwhile
		}
	}
}

// until polls a condition; false when the limit passed first.
func until(limit time.Duration, condition func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		if condition() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// wait polls a condition that a process is to bring about. It gives up when the process has ended, and shows the end of its log.
func (c *cluster) wait(limit time.Duration, process string, condition func() error) error {
	var err error
	ended := false
	if until(limit, func() bool {
		if err = condition(); err != nil {
			ended = c.pid(process) == 0
		}
		return err == nil || ended
	}) && !ended {
		return nil
	}
	if ended {
		return fmt.Errorf("%s has ended:\n%s", process, tail(c.logFile(process)))
	}
	return fmt.Errorf("waited %v for %s: %w\n%s", limit, process, err, tail(c.logFile(process)))
}

// tail gives the last lines of a file, for an error.
func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
