// Command load measures the budgets of DESIGN section 11 on this machine and writes docs/benchmarks.md. It needs root, nginx and wrk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings is what the flags say.
type settings struct {
	out    string
	pairs  int
	window time.Duration
	only   []string
}

// bench is one measured thing: it appends rows and notes to the page.
type bench struct {
	name    string
	measure func(context.Context, *tools, settings, *page) error
}

var benches = []bench{
	{"closed", closedLoop}, {"protocols", otherProtocols}, {"java", javaTLS}, {"agent", agentCost}, {"ingest", ingest}, {"map", mapAtScale}, {"web", webPage},
}

func main() {
	if address := os.Getenv(echoAddress); address != "" {
		fmt.Fprintln(os.Stderr, serveEcho(address))
		os.Exit(1)
	}
	var s settings
	var only string
	flag.StringVar(&s.out, "o", filepath.Join("docs", "benchmarks.md"), "file to write; - is standard output")
	flag.IntVar(&s.pairs, "pairs", 5, "rounds of the closed loop")
	flag.DurationVar(&s.window, "window", 4*time.Second, "length of one measurement of the closed loop")
	flag.StringVar(&only, "only", "", "comma-separated: closed, protocols, java, agent, ingest, map, web")
	flag.Parse()
	if only != "" {
		s.only = strings.Split(only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures everything. What cannot be measured is told on the page, and in the exit code.
func run(ctx context.Context, s settings) error {
	if os.Geteuid() != 0 {
		return errors.New("the kernel programs need root: run it with sudo")
	}
	t, err := newTools(ctx)
	if err != nil {
		return err
	}
	defer t.remove()
	p := &page{machine: describeMachine()}
	var failed []error
	for _, b := range benches {
		if len(s.only) > 0 && !slices.Contains(s.only, b.name) {
			continue
		}
		began := time.Now()
		fmt.Fprintf(os.Stderr, "== %s\n", b.name)
		if err := b.measure(ctx, t, s, p); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", b.name, err))
			p.missing = append(p.missing, fmt.Sprintf("%s: %v", b.name, err))
			fmt.Fprintln(os.Stderr, "  ", err)
		}
		fmt.Fprintf(os.Stderr, "   took %v\n", time.Since(began).Round(time.Second))
	}
	text := p.text()
	if s.out == "-" {
		fmt.Print(text)
	} else if err := os.WriteFile(s.out, []byte(text+rest(s.out)), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return errors.Join(failed...)
}

// rest is what other commands wrote at the end of the page: test/cluster, on Kubernetes.
func rest(page string) string {
	old, err := os.ReadFile(page)
	if err != nil {
		return ""
	}
	if at := strings.Index(string(old), "\n## "); at >= 0 {
		return string(old[at:])
	}
	return ""
}

// tools are the programs that are measured and that make load.
type tools struct {
	dir, vetch, traffic string
	leftovers           []string // folders of other users
}

func (t *tools) remove() {
	for _, dir := range append(t.leftovers, t.dir) {
		os.RemoveAll(dir)
	}
}

func newTools(ctx context.Context) (*tools, error) {
	for _, program := range []string{"nginx", "wrk", "redis-server", "redis-benchmark", "pgbench"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w: apt-get install %s", err, program)
		}
	}
	dir, err := os.MkdirTemp("", "vetch-bench-")
	if err != nil {
		return nil, err
	}
	t := &tools{dir: dir, vetch: filepath.Join(dir, "vetch"), traffic: filepath.Join(dir, "traffic")}
	for path, source := range map[string]string{t.vetch: ".", t.traffic: "./test/traffic"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			os.RemoveAll(dir)
			return nil, fmt.Errorf("build %s: %w\n%s", source, err, out)
		}
	}
	return t, nil
}
