// Command kernel boots Debian's kernels in QEMU and runs the tests of test/guest in each: the same BPF object must load and count there.
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
	"syscall"
	"time"
)

func main() {
	cache := flag.String("cache", filepath.Join(".cache", "kernels"), "folder that keeps kernels between runs")
	run := flag.String("run", "", "only tests that match, as in go test -run")
	arguments := flag.String("append", "quiet", "more arguments for the kernel, as loglevel=7")
	verbose := flag.Bool("v", false, "print all that the machines print")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: go run ./test/kernel [flags] [VERSION...]   default: 5.10 6.1 6.12")
		flag.PrintDefaults()
	}
	flag.Parse()
	versions := flag.Args()
	if len(versions) == 0 {
		versions = []string{"5.10", "6.1", "6.12"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := testAll(ctx, versions, *cache, *run, *arguments, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "test-kernel:", err)
		os.Exit(1)
	}
}

// testAll tests one kernel after the other and prints a total. A kernel that cannot be had or does not boot counts as a failure.
func testAll(ctx context.Context, versions []string, cache, run, arguments string, verbose bool) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	work, err := os.MkdirTemp("", "vetch-kernel-")
	if err != nil {
		return fmt.Errorf("make a work folder: %w", err)
	}
	defer os.RemoveAll(work)
	image, err := guestImage(ctx, work, run)
	if err != nil {
		return err
	}
	var passed, failed int
	var missing []error
	for _, version := range versions {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		began := time.Now()
		kernel, err := fetch(ctx, cache, version)
		if err != nil {
			missing = append(missing, fmt.Errorf("KERNEL %s WAS NOT TESTED: %w", version, err))
			continue
		}
		fmt.Printf("=== %s\n", filepath.Base(kernel))
		r, err := boot(ctx, kernel, image, arguments, verbose)
		if err != nil {
			missing = append(missing, fmt.Errorf("kernel %s: %w", version, err))
		}
		fmt.Printf("    %s: %d passed, %d failed, %d skipped in %v\n", version, r.passed, r.failed, r.skipped, time.Since(began).Round(time.Second))
		passed += r.passed
		failed += r.failed
	}
	for _, err := range missing {
		fmt.Println(err)
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed+len(missing))
	if failed > 0 || len(missing) > 0 {
		return errors.New("not all kernels passed")
	}
	return nil
}

// guestImage builds the test binary, static, and wraps it as the only file of an initramfs: it is its own init.
func guestImage(ctx context.Context, work, run string) (string, error) {
	binary := filepath.Join(work, "guest.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", binary, "./test/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build test/guest: %w\n%s", err, out)
	}
	image := filepath.Join(work, "initramfs")
	return image, writeArchive(image, binary, run)
}
