package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// result is one line of `go test -bench`: values by their unit.
type result struct {
	name   string
	values map[string]float64
}

var cpuSuffix = regexp.MustCompile(`-\d+$`) // the number of CPUs, which go test appends

var benchLine = regexp.MustCompile(`^(Benchmark\S+)\s+\d+\s+(.*)$`)

// goBench runs benchmarks of a package, by the command that it returns too.
func goBench(ctx context.Context, pkg, pattern, benchtime string) (all []result, command string, err error) {
	args := []string{"test", pkg, "-run", "^$", "-bench", pattern, "-benchtime", benchtime}
	command = "go " + strings.Join(args, " ")
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return nil, command, fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	for line := range strings.Lines(string(out)) {
		found := benchLine.FindStringSubmatch(strings.TrimSpace(line))
		if found == nil {
			continue
		}
		r := result{cpuSuffix.ReplaceAllString(found[1], ""), map[string]float64{}}
		fields := strings.Fields(found[2])
		for i := 0; i+1 < len(fields); i += 2 {
			if r.values[fields[i+1]], err = strconv.ParseFloat(fields[i], 64); err != nil {
				return nil, command, fmt.Errorf("%s: read %q: %w", command, line, err)
			}
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, command, fmt.Errorf("%s printed no figures:\n%s", command, out)
	}
	return all, command, nil
}

// ingest measures remote write into a real store, beside Prometheus's own handler and store in the same run.
func ingest(ctx context.Context, _ *tools, _ settings, p *page) error {
	all, command, err := goBench(ctx, "./transport", "BenchmarkIngest", "20x")
	if err != nil {
		return err
	}
	for _, r := range all {
		name := strings.TrimPrefix(r.name, "BenchmarkIngest/")
		var figures []string
		for _, unit := range []string{"samples/s", "samples/cpu-s"} {
			if v, found := r.values[unit]; found {
				figures = append(figures, fmt.Sprintf("%.2f M %s", v/1e6, unit))
			}
		}
		p.plain("remote write, "+name, strings.Join(figures, ", "), command)
	}
	return ship(ctx, p)
}

// ship measures what an agent pays for sending 10,000 series.
func ship(ctx context.Context, p *page) error {
	all, command, err := goBench(ctx, "./transport", "BenchmarkShip", "200x")
	if err != nil {
		return err
	}
	for _, r := range all {
		ms := r.values["cpu-ms/round"]
		p.plain("an agent sends 10,000 series, a fifth of them histograms, once",
			fmt.Sprintf("%.1f ms of CPU, %.0f KB; every 5 s that is %.2f %% of a CPU", ms, r.values["KB/round"], ms/5000*100), command)
	}
	return nil
}

// mapAtScale measures what a viewer of a large map waits for.
func mapAtScale(ctx context.Context, _ *tools, _ settings, p *page) error {
	all, command, err := goBench(ctx, "./test/load", "BenchmarkMapAtScale", "3x")
	if err != nil {
		return err
	}
	for _, r := range all {
		name := strings.TrimPrefix(r.name, "BenchmarkMapAtScale/")
		p.plain("1,000 workloads, 3,000 edges: "+name, fmt.Sprintf("%.1f ms, %.2f MB", r.values["ns/op"]/1e6, r.values["MB"]), command)
	}
	return nil
}

// webPage measures the page in a real browser by its own script, which ends badly where a budget is missed.
func webPage(ctx context.Context, _ *tools, _ settings, p *page) error {
	const command = "npm --prefix web run bench"
	out, failed := exec.CommandContext(ctx, "npm", "--prefix", "web", "run", "--silent", "bench").Output()
	var figures struct {
		FirstPaintMs float64
		Moves        map[string]struct{ FramesPerSecond float64 }
	}
	if err := json.Unmarshal(out, &figures); err != nil {
		return fmt.Errorf("%s: %w (%w): %s", command, err, failed, out)
	}
	p.below("page: first paint with 1,000 workloads and 3,000 edges", figures.FirstPaintMs/1000, 1, "%.2f s", command)
	slowest, worst := "", 0.0
	for move, f := range figures.Moves {
		if slowest == "" || f.FramesPerSecond < worst {
			slowest, worst = move, f.FramesPerSecond
		}
	}
	p.above("page: frames a second, slowest of the moves ("+slowest+")", worst, 50, "%.1f", command)
	return nil
}
