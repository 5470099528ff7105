package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"
)

const agentCommand = "go run ./test/load -only agent"

// agentCost measures the agent's own CPU and memory at rest and under load.
func agentCost(ctx context.Context, t *tools, _ settings, p *page) error {
	nginx, _, err := t.startNginx(ctx)
	if err != nil {
		return err
	}
	defer nginx.stop()
	for _, role := range []string{"agent", "run"} {
		if err := t.costOf(ctx, role, nginx.address, p); err != nil {
			return fmt.Errorf("vetch %s: %w", role, err)
		}
	}
	return nil
}

func (t *tools) costOf(ctx context.Context, role, target string, p *page) (err error) {
	vetch, err := t.startVetch(ctx, role, "auto")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vetch.stop()) }()
	const rest = 10 * time.Second
	if _, err := t.ask(ctx, target, 5000, 5000); err != nil { // its route is known from here on
		return err
	}
	_, startPeak := memoryOf(vetch.pid())
	idle, err := spent(vetch, func() error { return wait(ctx, rest) })
	if err != nil {
		return err
	}
	quiet, _ := memoryOf(vetch.pid())
	var took time.Duration
	busy, err := spent(vetch, func() (err error) {
		took, err = t.ask(ctx, target, 100_000, 10_000)
		return err
	})
	if err != nil {
		return err
	}
	net := max(0, busy.Seconds()-idle.Seconds()*took.Seconds()/rest.Seconds()) // it may drown in what the rest varies by
	var samples []float64
	watching, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for wait(watching, 500*time.Millisecond) == nil {
			now, _ := memoryOf(vetch.pid())
			samples = append(samples, now)
		}
	}()
	fast, err := t.ask(ctx, target, 200_000, 20_000)
	stop()
	<-done
	if err != nil {
		return err
	}
	if len(samples) == 0 {
		return errors.New("no sample of its memory")
	}
	steady := median(samples)
	_, peak := memoryOf(vetch.pid())
	total, perCPU := mapsOf(vetch.pid())
	fmt.Fprintf(os.Stderr, "   vetch %s: idle %v in %v, busy %v in %v; RSS %.0f idle, %.0f steady, %.0f peak; maps %.2f MiB\n", role, idle, rest, busy, took, quiet, steady, peak, total)
	if role == "run" { // the budgets are the agent's: this is with the store, the queries and the page
		p.plain("vetch run: RSS idle, at 20,000 requests/s, peak", fmt.Sprintf("%.0f, %.0f, %.0f MiB", quiet, steady, peak), agentCommand)
		p.plain("vetch run: CPU for 100,000 requests of known routes", fmt.Sprintf("%.3f CPU-s; at rest %.4f CPU-s a second", net, idle.Seconds()/rest.Seconds()), agentCommand)
		return nil
	}
	p.below("agent CPU for 100,000 requests of known routes, at 10,000/s", net, 0.05, "%.3f CPU-s", agentCommand)
	p.plain("agent CPU at rest", fmt.Sprintf("%.4f CPU-s a second", idle.Seconds()/rest.Seconds()), agentCommand)
	p.plain("agent RSS idle", fmt.Sprintf("%.0f MiB", quiet), agentCommand)
	p.below(fmt.Sprintf("agent RSS at 20,000 requests/s (sent: %.0f/s)", 200_000/fast.Seconds()), steady, 100, "%.0f MiB", agentCommand)
	p.below("agent RSS, peak at the start / steady", startPeak/steady, 1.5, "%.2f x", agentCommand)
	p.below("BPF map memory at that load, fdinfo memlock, as on 16 CPUs", total+perCPU*(16/float64(runtime.NumCPU())-1), 32, "%.2f MiB", agentCommand)
	p.note("The agent used %.4f CPU-s in the %.1f s in which it counted 100,000 requests, and %.4f CPU-s in %.0f s without any: the difference is its cost.", busy.Seconds(), took.Seconds(), idle.Seconds(), rest.Seconds())
	p.note("BPF map memory here: %.2f MiB, of which %.3f MiB grow with the number of CPUs (%d here).", total, perCPU, runtime.NumCPU())
	return nil
}

// spent is the CPU time that vetch used while work ran.
func spent(vetch *process, work func() error) (time.Duration, error) {
	before, err := cpuOf(vetch.pid())
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	after, err := cpuOf(vetch.pid())
	return after - before, err
}

// ask sends requests at a rate over 32 connections, and says how long it took.
func (t *tools) ask(ctx context.Context, target string, requests, rate int) (time.Duration, error) {
	began := time.Now()
	out, err := exec.CommandContext(ctx, t.traffic, "client", "-mode", "raw", "-addr", target, "-targets", "GET /bench/known", "-concurrency", "32",
		"-requests", fmt.Sprint(requests), "-rate", fmt.Sprint(rate)).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("traffic client: %w: %s", err, out)
	}
	return time.Since(began), nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
