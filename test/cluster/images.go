package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"

	"github.com/vetch-dev/vetch/scripts/oci"
)

// baseImages makes the images that every node has, where their programs are newer.
func (c *cluster) baseImages() error {
	for _, name := range []string{"pause", "coredns"} {
		file := filepath.Join(c.image, name+".tar")
		program, err := os.Stat(c.program(name))
		if err != nil {
			continue // not wanted so far
		}
		if made, err := os.Stat(file); err == nil && made.ModTime().After(program.ModTime()) {
			continue
		}
		if err := image(file, name+":1", "/"+name, oci.File{Path: "/" + name, Source: c.program(name), Mode: 0o755}); err != nil {
			return err
		}
	}
	return nil
}

// image writes an image for this machine whose entrypoint is a path in it.
func image(file, name, entrypoint string, files ...oci.File) error {
	files = append(files,
		oci.File{Path: "/etc/passwd", Text: "root:x:0:0:root:/:/\npostgres:x:999:999:postgres:/:/\n"},
		oci.File{Path: "/etc/group", Text: "root:x:0:\npostgres:x:999:\n"},
		oci.File{Path: "/tmp", Dir: true, Mode: 0o777 | os.ModeSticky},
	)
	i := oci.Image{Name: "localhost/" + name, Entrypoint: []string{entrypoint}, Platforms: []oci.Platform{{Architecture: runtime.GOARCH, Files: files}}}
	if err := i.Write(file); err != nil {
		return fmt.Errorf("make image %s: %w", name, err)
	}
	return nil
}

// testImages makes the images of vetch and of the shop, and returns their files.
func (c *cluster) testImages(ctx context.Context) ([]string, error) {
	dir := filepath.Join(c.state, "images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	if made, err := filepath.Glob(filepath.Join(dir, "*.tar")); err == nil && len(made) > 0 && c.reuse {
		return made, nil
	}
	shop := filepath.Join(dir, "shop")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", shop, "./test/shop")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the shop: %w\n%s", err, out)
	}
	var files []string
	file := func(name string) string {
		files = append(files, filepath.Join(dir, name+".tar"))
		return files[len(files)-1]
	}
	vetch := exec.CommandContext(ctx, "go", "run", "./scripts/image", "-o", file("vetch"), "-name", "localhost/vetch:test", "-arch", runtime.GOARCH)
	if out, err := vetch.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make vetch's image: %w\n%s", err, out)
	}
	return files, errors.Join(
		image(file("shop"), "shop:1", "/shop", oci.File{Path: "/shop", Source: shop, Mode: 0o755}),
		debian(ctx, file("nginx"), "shop-nginx:1", nginx()),
		debian(ctx, file("redis"), "shop-redis:1", redis()),
		debian(ctx, file("postgres"), "shop-postgres:1", postgres()),
	)
}

// debianPackage is one of Debian's, as far as an image needs it; the first program is the entrypoint.
type debianPackage struct {
	programs []string
	files    []oci.File
	folders  []string // copied whole
}

func nginx() debianPackage {
	return debianPackage{programs: []string{"/usr/sbin/nginx"}, files: []oci.File{{Path: "/var/log/nginx", Dir: true}, {Path: "/var/lib/nginx", Dir: true}}}
}

// redis is a link to a program of another name, as Debian has it.
func redis() debianPackage {
	return debianPackage{programs: []string{"/usr/bin/redis-server", "/usr/bin/redis-check-rdb"}, files: []oci.File{{Path: "/usr/bin/redis-server", Link: "redis-check-rdb"}}}
}

// postgres finds its files relative to itself: /usr/lib/postgresql/VERSION is /usr/lib/postgresql in the image, for a manifest that knows no version.
func postgres() debianPackage {
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(versions) == 0 {
		return debianPackage{programs: []string{"/usr/lib/postgresql/bin/postgres"}} // an error that names it
	}
	home := filepath.Dir(filepath.Dir(versions[len(versions)-1]))
	version := filepath.Base(home)
	p := debianPackage{
		programs: []string{filepath.Join(home, "bin/postgres"), filepath.Join(home, "bin/initdb"), "/bin/sh"},
		files:    []oci.File{{Path: "/usr/lib/postgresql/bin", Link: version + "/bin"}, {Path: "/data", Dir: true, Owner: 999}},
		folders:  []string{"/usr/share/postgresql/" + version},
	}
	for _, module := range []string{"dict_snowball.so", "plpgsql.so"} {
		p.files = append(p.files, oci.File{Path: filepath.Join(home, "lib", module), Source: filepath.Join(home, "lib", module), Mode: 0o755})
	}
	for _, zone := range []string{"UTC", "GMT"} {
		p.files = append(p.files, oci.File{Path: "/usr/share/zoneinfo/" + zone, Source: "/usr/share/zoneinfo/" + zone})
	}
	return p
}

// debian makes an image of programs of this machine with the libraries that they need.
func debian(ctx context.Context, file, name string, p debianPackage) error {
	var files []oci.File
	for _, program := range p.programs {
		libraries, err := librariesOf(ctx, program)
		if err != nil {
			return err
		}
		for _, path := range append(libraries, program) {
			files = append(files, oci.File{Path: path, Source: path, Mode: 0o755})
		}
	}
	for _, folder := range p.folders {
		err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, oci.File{Path: path, Source: path})
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", folder, err)
		}
	}
	return image(file, name, p.programs[0], append(files, p.files...)...)
}

// libraryPath finds the paths in what ldd prints: "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f...)", "/lib64/ld-linux-x86-64.so.2 (0x...)".
var libraryPath = regexp.MustCompile(`(?m)(/\S+) \(0x[0-9a-f]+\)$`)

func librariesOf(ctx context.Context, program string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", program).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("find the libraries of %s: %w\n%s", program, err, out)
	}
	var paths []string
	for _, match := range libraryPath.FindAllStringSubmatch(string(out), -1) {
		paths = append(paths, match[1])
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}
