package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// bootLimit is for emulation without KVM on a busy machine.
const bootLimit = 12 * time.Minute

// result counts the innermost tests that one kernel ran.
type result struct {
	passed, failed, skipped int
	done                    bool
}

// boot runs the initramfs under the kernel and reads the tests' output from its serial line.
// -cx16 off is needed: Linux 6.12 panics with plain "-cpu max" on QEMU 7.2.
func boot(ctx context.Context, kernel, image, arguments string, verbose bool) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max,-cx16", "-smp", "2", "-m", "1024", "-nographic", "-no-reboot", "-nic", "none",
		"-kernel", kernel, "-initrd", image, "-append", "console=ttyS0 panic=-1 nokaslr mitigations=off "+arguments)
	output, err := cmd.StdoutPipe()
	if err != nil {
		return result{}, fmt.Errorf("start QEMU: %w", err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return result{}, fmt.Errorf("start QEMU (install qemu-system-x86): %w", err)
	}
	r, tail := readResults(output, verbose)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("stopped after %v; the last lines:\n%s", bootLimit, tail)
	case !r.done:
		return r, fmt.Errorf("the machine ended before the tests did (%w); the last lines:\n%s", errors.Join(err), tail)
	case r.passed == 0:
		return r, fmt.Errorf("no test passed; the last lines:\n%s", tail)
	}
	return r, nil
}

// readResults counts tests that have no subtests, and prints those that failed or were skipped with what they said.
func readResults(output io.Reader, verbose bool) (r result, tail string) {
	var last []string
	var current string
	said, parents := map[string][]string{}, map[string]bool{}
	scanner := bufio.NewScanner(output)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := strings.TrimRight(scanner.Text(), "\r")
		if last = append(last, line); len(last) > 40 {
			last = last[1:]
		}
		if verbose {
			fmt.Println(line)
		}
		if name, found := begun(line); found {
			for current = name; strings.Contains(name, "/"); {
				name = name[:strings.LastIndexByte(name, '/')]
				parents[name] = true
			}
			continue
		}
		verdict, name, found := verdictOf(line)
		switch {
		case !found:
			r.done = r.done || strings.Contains(line, "guest: done")
			if len(said[current]) < 30 {
				said[current] = append(said[current], line)
			}
		case !parents[name]:
			r.count(verdict, name, said[name])
		}
	}
	return r, strings.Join(last, "\n")
}

// begun reads "=== RUN   Name", and "=== NAME  Name" which comes before later lines of a test.
func begun(line string) (name string, found bool) {
	rest, found := strings.CutPrefix(line, "=== ")
	if !found {
		return "", false
	}
	_, name, _ = strings.Cut(rest, " ")
	return strings.TrimSpace(name), true
}

func (r *result) count(verdict, name string, said []string) {
	switch verdict {
	case "PASS":
		r.passed++
		return
	case "FAIL":
		r.failed++
	case "SKIP":
		r.skipped++
	}
	fmt.Printf("    %s %s\n", verdict, name)
	for _, line := range said {
		fmt.Println("      |", line)
	}
}

// verdictOf reads "--- PASS: Name (0.00s)".
func verdictOf(line string) (verdict, name string, found bool) {
	rest, found := strings.CutPrefix(strings.TrimSpace(line), "--- ")
	if !found {
		return "", "", false
	}
	verdict, rest, found = strings.Cut(rest, ": ")
	name, _, _ = strings.Cut(rest, " ")
	return verdict, name, found
}
