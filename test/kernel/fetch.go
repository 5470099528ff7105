package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// packages says which package of Debian has the kernel: the suite is only needed to tell where to look.
var packages = map[string]*regexp.Regexp{
	"5.10": regexp.MustCompile(`^linux-image-5\.10\.0-\d+-cloud-amd64$`),
	"6.1":  regexp.MustCompile(`^linux-image-6\.1\.0-\d+-cloud-amd64$`),
	"6.12": regexp.MustCompile(`^linux-image-6\.12\.\d+\+deb13(\.\d+)?-cloud-amd64$`),
}

const sources = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bullseye-security main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bullseye main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bookworm-security main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security trixie-security main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main
`

// fetch returns the path of the kernel's image, from the cache or from Debian, whose package lists are kept apart from the system's.
func fetch(ctx context.Context, cache, version string) (string, error) {
	name, known := packages[version]
	if !known {
		return "", fmt.Errorf("no package is known for it")
	}
	kept, err := filepath.Glob(filepath.Join(cache, "vmlinuz-"+version+".*"))
	if err == nil && len(kept) > 0 {
		return kept[0], nil
	}
	a, err := newApt(cache)
	if err != nil {
		return "", err
	}
	newest, err := a.newest(ctx, name)
	if err != nil {
		return "", err
	}
	fmt.Printf("    downloading %s\n", newest)
	dir, err := os.MkdirTemp(cache, "download-")
	if err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	if _, err := a.run(ctx, dir, "apt-get", "download", newest); err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("apt-get download left %d packages", len(debs))
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0], dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack %s: %w\n%s", newest, err, out)
	}
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return "", fmt.Errorf("%s holds %d kernels", newest, len(images))
	}
	path := filepath.Join(cache, filepath.Base(images[0]))
	return path, os.Rename(images[0], path)
}

// apt is the system's apt with package lists of its own.
type apt struct{ options []string }

func newApt(cache string) (*apt, error) {
	dir, err := filepath.Abs(filepath.Join(cache, "apt"))
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("make folders for apt: %w", err)
		}
	}
	list := filepath.Join(dir, "sources.list")
	if err := os.WriteFile(list, []byte(sources), 0o644); err != nil {
		return nil, fmt.Errorf("write %s: %w", list, err)
	}
	return &apt{[]string{"-o", "Dir::Etc::sourcelist=" + list, "-o", "Dir::Etc::sourceparts=/nonexistent", "-o", "Dir::State::lists=" + filepath.Join(dir, "lists"),
		"-o", "Dir::Cache=" + dir, "-o", "APT::Sandbox::User=root"}}, nil
}

func (a *apt) run(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, append(slices.Clone(a.options), args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// newest returns the package with the highest version of its name.
func (a *apt) newest(ctx context.Context, name *regexp.Regexp) (string, error) {
	if _, err := a.run(ctx, "", "apt-get", "update"); err != nil {
		return "", err
	}
	all, err := a.run(ctx, "", "apt-cache", "pkgnames", "linux-image-")
	if err != nil {
		return "", err
	}
	var newest string
	for _, p := range strings.Fields(all) {
		if name.MatchString(p) && (newest == "" || exec.CommandContext(ctx, "dpkg", "--compare-versions", versionOf(p), "gt", versionOf(newest)).Run() == nil) {
			newest = p
		}
	}
	if newest == "" {
		return "", errors.New("no suite of Debian that can be reached has a package " + name.String())
	}
	return newest, nil
}

func versionOf(name string) string { return strings.TrimPrefix(name, "linux-image-") }
