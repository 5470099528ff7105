// Command image builds vetch for several machines and writes it as one OCI image, without Docker.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vetch-dev/vetch/scripts/oci"
)

// user is whom the image runs as unless told otherwise. Only the agent must be root: it loads kernel programs.
const user = 65532

func main() {
	out := flag.String("o", filepath.Join("bin", "vetch-image.tar"), "archive to write")
	name := flag.String("name", "localhost/vetch:latest", "of the image, with a tag")
	version := flag.String("version", "devel", "that the program says")
	architectures := flag.String("arch", "amd64,arm64", "machines to build for, as in GOARCH")
	flag.Parse()
	if err := write(*out, *name, *version, strings.Split(*architectures, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(out, name, version string, architectures []string) error {
	created, err := creation(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	work, err := os.MkdirTemp("", "vetch-image-")
	if err != nil {
		return fmt.Errorf("make a work folder: %w", err)
	}
	defer os.RemoveAll(work)
	image := oci.Image{
		Name: name, Entrypoint: []string{"/vetch"}, User: fmt.Sprintf("%d:%d", user, user), Ports: []string{"4780/tcp"}, Created: created,
		Labels: map[string]string{
			"org.opencontainers.image.title":       "vetch",
			"org.opencontainers.image.description": "Observability for Kubernetes and plain Linux, without a change to any application",
			"org.opencontainers.image.version":     version,
			"org.opencontainers.image.source":      "https://github.com/vetch-dev/vetch",
			"org.opencontainers.image.licenses":    "Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)",
		},
	}
	for _, arch := range architectures {
		binary := filepath.Join(work, "vetch-"+arch)
		if err := build(binary, version, arch); err != nil {
			return err
		}
		image.Platforms = append(image.Platforms, oci.Platform{Architecture: arch, Files: append(system(), oci.File{Path: "/vetch", Source: binary, Mode: 0o755})})
	}
	if err := image.Write(out); err != nil {
		return err
	}
	info, err := os.Stat(out)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s for %s, %d MB\n", out, name, strings.Join(architectures, ", "), info.Size()/1e6)
	return nil
}

// creation is the time that the image says it was made at, which is no present one: the same sources are the same bytes.
// https://reproducible-builds.org/specs/source-date-epoch/
func creation(epoch string) (time.Time, error) {
	if epoch == "" {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0), nil
}

// build compiles vetch as "make build" does.
func build(to, version, arch string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X github.com/vetch-dev/vetch/command.version="+version, "-o", to, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build for %s: %w\n%s", arch, err, text)
	}
	return nil
}

// system is what a program may expect of the file system that it runs in.
func system() []oci.File {
	return []oci.File{
		{Path: "/etc/passwd", Text: fmt.Sprintf("root:x:0:0:root:/:/\nvetch:x:%d:%d:vetch:/var/lib/vetch:/\n", user, user)},
		{Path: "/etc/group", Text: fmt.Sprintf("root:x:0:\nvetch:x:%d:\n", user)},
		{Path: "/tmp", Dir: true, Mode: 0o777 | os.ModeSticky},
		{Path: "/var/lib/vetch", Dir: true, Mode: 0o750, Owner: user},
	}
}
