package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"
)

// versionOfKubernetes is that of the modules in programs/hyper and programs/kubectl.
const versionOfKubernetes = "1.36.3"

// program is one that is built from Go modules: a folder below programs, with a module of its own so that its requirements never reach
// the product's, or a package at a version.
type program struct {
	name    string
	folder  string
	module  string // PACKAGE@VERSION
	stamped bool   // says the version of Kubernetes
	always  bool   // every cluster needs it
}

var programs = []program{
	{name: "hyper", folder: "hyper", stamped: true, always: true},
	{name: "etcd", folder: "etcd", always: true},
	{name: "kubectl", folder: "kubectl", stamped: true, always: true},
	{name: "pause", folder: "pause", always: true},
	{name: "coredns", folder: "coredns", always: true},
	{name: "kwok", module: "sigs.k8s.io/kwok/cmd/kwok@v0.8.0"},
	{name: "helm", module: "helm.sh/helm/v3/cmd/helm@v3.22.0"},
}

func programNames() []string {
	var names []string
	for _, p := range programs {
		names = append(names, p.name)
	}
	return names
}

// needed are the programs of every cluster.
func needed() []string {
	var names []string
	for _, p := range programs {
		if p.always {
			names = append(names, p.name)
		}
	}
	return names
}

// build builds the named programs, and the images of pause and CoreDNS. What is there and made of the same is left alone.
func (c *cluster) build(ctx context.Context, names ...string) error {
	for _, dir := range []string{c.bin, c.image} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	held, err := lock(c.bin, true)
	if err != nil {
		return err
	}
	defer held.Close()
	for _, name := range names {
		at := slices.IndexFunc(programs, func(p program) bool { return p.name == name })
		if at < 0 {
			return fmt.Errorf("no program %q, there are %v", name, programNames())
		}
		if err := c.buildOne(ctx, programs[at]); err != nil {
			return err
		}
	}
	return c.baseImages()
}

func (c *cluster) buildOne(ctx context.Context, p program) error {
	key, err := p.key(ctx)
	if err != nil {
		return err
	}
	mark := filepath.Join(c.bin, "."+p.name+".key")
	if kept, err := os.ReadFile(mark); err == nil && string(kept) == key {
		if _, err := os.Stat(c.program(p.name)); err == nil {
			return nil
		}
	}
	c.say("building %s", p.name)
	began := time.Now()
	if err := p.compile(ctx, c.bin); err != nil {
		return err
	}
	if p.name == "kwok" {
		if err := kwokStages(ctx, p, filepath.Join(c.bin, "kwok-stages.yaml")); err != nil {
			return err
		}
	}
	c.say("built %s in %v", p.name, time.Since(began).Round(time.Second))
	return os.WriteFile(mark, []byte(key), 0o644)
}

// source is the folder of a program's module.
func (p program) source() string { return filepath.Join("test", "cluster", "programs", p.folder) }

func (p program) flags() []string {
	link := "-s -w"
	if p.stamped {
		major, rest, _ := strings.Cut(versionOfKubernetes, ".")
		minor, _, _ := strings.Cut(rest, ".")
		for _, pair := range [][2]string{
			{"gitVersion", "v" + versionOfKubernetes}, {"gitMajor", major}, {"gitMinor", minor},
			{"gitCommit", "0000000"}, {"gitTreeState", "clean"}, {"buildDate", "2026-01-01T00:00:00Z"},
		} {
			link += " -X k8s.io/component-base/version." + pair[0] + "=" + pair[1]
		}
	}
	return []string{"-trimpath", "-buildvcs=false", "-ldflags=" + link}
}

// key is a hash of all that decides what a program is.
func (p program) key(ctx context.Context) (string, error) {
	version, err := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("ask go for its version: %w", err)
	}
	h := sha256.New()
	fmt.Fprintln(h, string(version), p.flags(), p.module)
	if p.folder == "" {
		return hex.EncodeToString(h.Sum(nil)), nil
	}
	files, err := filepath.Glob(filepath.Join(p.source(), "*"))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("no sources in %s: run this in the root of the repository", p.source())
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read source: %w", err)
		}
		fmt.Fprintln(h, filepath.Base(file))
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("read source: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (p program) compile(ctx context.Context, bin string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", filepath.Join(bin, p.name+".new")}, append(p.flags(), ".")...)...)
	cmd.Dir = p.source()
	if p.module != "" {
		cmd = exec.CommandContext(ctx, "go", append(append([]string{"install"}, p.flags()...), p.module)...)
		cmd.Dir = bin // outside of any module
		cmd.Env = append(cmd.Env, "GOBIN="+bin)
	}
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off"), cmd.Env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", p.name, err, out)
	}
	if p.module != "" {
		return nil
	}
	return os.Rename(filepath.Join(bin, p.name+".new"), filepath.Join(bin, p.name))
}

// kwokStages writes what simulated nodes and pods do, from kwok's own module.
func kwokStages(ctx context.Context, p program, to string) error {
	_, version, _ := strings.Cut(p.module, "@")
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", "sigs.k8s.io/kwok@"+version)
	cmd.Dir = os.TempDir()
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("find kwok's module: %w", err)
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(out, &found); err != nil {
		return fmt.Errorf("find kwok's module: %w", err)
	}
	var text strings.Builder
	for _, stage := range []string{"node/fast", "node/heartbeat-with-lease", "pod/fast"} {
		files, err := filepath.Glob(filepath.Join(found.Dir, "kustomize", "stage", stage, "*.yaml"))
		if err != nil || len(files) == 0 {
			return errors.New("kwok's module has no " + stage)
		}
		sort.Strings(files)
		for _, file := range files {
			if filepath.Base(file) == "kustomization.yaml" {
				continue
			}
			part, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("read stage: %w", err)
			}
			fmt.Fprintf(&text, "---\n%s\n", part)
		}
	}
	return writeFile(to, text.String())
}
