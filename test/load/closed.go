package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// window is one run of wrk against nginx.
type window struct {
	hook                   string // "" is without vetch
	requests               int
	rate                   float64
	machine, traced, agent time.Duration // CPU: of the whole machine, of nginx's worker and wrk, of vetch
	disturbed              bool          // another vetch traced sockets too
}

func (w window) each(d time.Duration) float64 {
	return float64(d) / float64(time.Microsecond) / float64(w.requests)
}

const closedCommand = "wrk -t1 -c16"

// closedLoop compares throughput and CPU without vetch and with it, on both hooks, one after the other in each round.
func closedLoop(ctx context.Context, t *tools, s settings, p *page) error {
	nginx, worker, err := t.startNginx(ctx)
	if err != nil {
		return err
	}
	defer nginx.stop()
	hooks := []string{"", "socket", "syscall"}
	rounds := map[string][]window{}
	for range s.pairs {
		for _, hook := range hooks {
			w, err := t.loop(ctx, s, nginx, worker, hook)
			if err != nil {
				return fmt.Errorf("with hook %q: %w", hook, err)
			}
			rounds[hook] = append(rounds[hook], w)
			fmt.Fprintf(os.Stderr, "   %-8s %7.0f requests/s, CPU for one: machine %5.2f µs, nginx and wrk %5.2f µs, vetch %5.3f µs\n", name(hook), w.rate, w.each(w.machine), w.each(w.traced), w.each(w.agent))
			if w.disturbed {
				fmt.Fprintln(os.Stderr, "            disturbed: another vetch traced sockets too")
			}
		}
	}
	for _, hook := range hooks[1:] {
		off, on := undisturbed(rounds[""], rounds[hook])
		if len(on) == 0 {
			p.note("Every round of the hook %s was disturbed: another vetch traced sockets too. Its figures decide nothing.", hook)
			off, on = rounds[""], rounds[hook]
		}
		kept := medianOf(len(on), func(i int) float64 { return on[i].rate / off[i].rate * 100 })
		added := medianOf(len(on), func(i int) float64 { return on[i].each(on[i].traced) - off[i].each(off[i].traced) })
		whole := medianOf(len(on), func(i int) float64 { return on[i].each(on[i].machine) - off[i].each(off[i].machine) })
		own := medianOf(len(on), func(i int) float64 { return on[i].each(on[i].agent) })
		command := fmt.Sprintf("%s -d%ds, go run ./test/load -only closed", closedCommand, int(s.window.Seconds()))
		p.above("throughput kept by wrk -> nginx, closed loop, hook "+hook, kept, 90, "%.1f %%", command)
		p.below("CPU added to both ends for one request, hook "+hook, added, 1.2, "%.2f µs", command)
		p.plain("CPU of the whole machine added for one request, hook "+hook, fmt.Sprintf("%.2f µs, of which the agent %.3f µs", whole, own), command)
	}
	p.note("%s", table(hooks, rounds))
	return nil
}

// undisturbed keeps the rounds in which nobody else traced sockets, neither with vetch nor without.
func undisturbed(off, on []window) (keptOff, keptOn []window) {
	for i := range on {
		if !off[i].disturbed && !on[i].disturbed {
			keptOff, keptOn = append(keptOff, off[i]), append(keptOn, on[i])
		}
	}
	return keptOff, keptOn
}

// loop runs wrk once, after a second of warming up.
func (t *tools) loop(ctx context.Context, s settings, nginx *process, worker int, hook string) (w window, err error) {
	var vetch *process
	if hook != "" {
		if vetch, err = t.startVetch(ctx, "agent", hook); err != nil {
			return w, err
		}
		defer func() { err = errors.Join(err, vetch.stop()) }()
	}
	ours := 0
	if vetch != nil {
		ours = 1
	}
	w.hook = hook
	w.disturbed = alone(ctx, ours) != nil
	if _, _, err := wrk(ctx, nginx.address, time.Second); err != nil {
		return w, err
	}
	machine := machineCPU()
	before, err := cpuOf(worker)
	if err != nil {
		return w, err
	}
	var own time.Duration
	if vetch != nil {
		if own, err = cpuOf(vetch.pid()); err != nil {
			return w, err
		}
	}
	printed, used, err := wrk(ctx, nginx.address, s.window)
	if err != nil {
		return w, err
	}
	w.machine = machineCPU() - machine
	after, err := cpuOf(worker)
	if err != nil {
		return w, err
	}
	w.traced = after - before + used
	if vetch != nil {
		now, err := cpuOf(vetch.pid())
		if err != nil {
			return w, err
		}
		w.agent = now - own
	}
	w.disturbed = w.disturbed || probing() != ours
	w.requests, w.rate, err = readWrk(printed)
	return w, err
}

// wrk returns what it prints and the CPU it used.
func wrk(ctx context.Context, address string, length time.Duration) (string, time.Duration, error) {
	cmd := exec.CommandContext(ctx, "wrk", "-t1", "-c16", fmt.Sprintf("-d%ds", int(length.Seconds())), "http://"+address+"/bench")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	return string(out), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

var wrkTotals = regexp.MustCompile(`(\d+) requests in [\s\S]*Requests/sec:\s+([0-9.]+)`)

func readWrk(printed string) (requests int, rate float64, err error) {
	found := wrkTotals.FindStringSubmatch(printed)
	if found == nil {
		return 0, 0, fmt.Errorf("wrk printed no totals: %s", printed)
	}
	requests, _ = strconv.Atoi(found[1])
	rate, err = strconv.ParseFloat(found[2], 64)
	return requests, rate, err
}

func name(hook string) string {
	if hook == "" {
		return "off"
	}
	return hook
}

func medianOf(n int, value func(int) float64) float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = value(i)
	}
	return median(all)
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	if len(all)%2 == 1 {
		return all[len(all)/2]
	}
	return (all[len(all)/2-1] + all[len(all)/2]) / 2
}

func table(hooks []string, rounds map[string][]window) string {
	var b strings.Builder
	b.WriteString("The rounds of the closed loop, in the order they ran. Ratios are medians over the rounds in which no other vetch traced sockets on this machine.\n\n" +
		"| round | vetch | requests/s | machine µs/request | nginx and wrk µs/request | vetch µs/request |\n|---|---|---|---|---|---|\n")
	for i := range rounds[hooks[0]] {
		for _, hook := range hooks {
			w := rounds[hook][i]
			fmt.Fprintf(&b, "| %d | %s | %.0f | %.2f | %.2f | %.3f |\n", i+1, name(hook)+map[bool]string{true: " (disturbed)"}[w.disturbed], w.rate, w.each(w.machine), w.each(w.traced), w.each(w.agent))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}
