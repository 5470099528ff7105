package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// kernelTrace is what one agent holds in the kernel, by id.
type kernelTrace struct {
	container      string
	programs, maps map[int]bool
	links          map[int]bool
}

// traceOf reads what the processes of a pod's container hold.
func (t *trial) traceOf(p pod) (*kernelTrace, error) {
	trace := &kernelTrace{container: p.containerID(), programs: map[int]bool{}, maps: map[int]bool{}, links: map[int]bool{}}
	pids, err := t.processesOf(trace.container)
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if err := trace.read(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("read %s: %w", file, err)
			}
		}
	}
	if len(trace.programs) == 0 || len(trace.maps) == 0 {
		return nil, fmt.Errorf("the agent in %s (processes %v) holds no kernel programs", p.Metadata.Name, pids)
	}
	return trace, nil
}

// processesOf lists the processes in the cgroup of a container of this cluster.
func (t *trial) processesOf(container string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(filepath.Join(cgroupRoot, "memory", t.group), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != container {
			return err
		}
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for word := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find the processes of a container: %w", err)
	}
	return pids, nil
}

// read notes the ids in what the kernel says of an open file.
func (k *kernelTrace) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		id, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			continue
		}
		switch key {
		case "prog_id":
			k.programs[id] = true
		case "map_id":
			k.maps[id] = true
		case "link_id":
			k.links[id] = true
		}
	}
	return lines.Err()
}

// left counts what of it is still in the kernel.
func (k *kernelTrace) left() (programs, maps, links int) {
	for id := range k.programs {
		if p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id)); err == nil {
			p.Close()
			programs++
		}
	}
	for id := range k.maps {
		if m, err := ebpf.NewMapFromID(ebpf.MapID(id)); err == nil {
			m.Close()
			maps++
		}
	}
	for id := range k.links {
		if l, err := link.NewFromID(link.ID(id)); err == nil {
			l.Close()
			links++
		}
	}
	return programs, maps, links
}

// leaveNothing uninstalls the release, and looks for its objects, for what the agents held in the kernel, and for their cgroups.
func leaveNothing(ctx context.Context, t *trial) error {
	for node, trace := range t.traces {
		if programs, maps, _ := trace.left(); programs != len(trace.programs) || maps != len(trace.maps) {
			return fmt.Errorf("%s: only %d of %d programs and %d of %d maps are there before", node, programs, len(trace.programs), maps, len(trace.maps))
		}
	}
	if _, err := t.helm(ctx, "uninstall", releaseName, "--namespace", "vetch", "--wait", "--timeout", settle.String()); err != nil {
		return err
	}
	return errors.Join(t.nothingOfRelease(ctx), eventually(ctx, settle, func() error {
		var wrong []error
		for node, trace := range t.traces {
			if programs, maps, links := trace.left(); programs+maps+links > 0 {
				wrong = append(wrong, fmt.Errorf("%s: %d programs, %d maps and %d links are left", node, programs, maps, links))
			}
			if dirs, err := t.cgroupsOf(trace.container); err != nil || len(dirs) > 0 {
				wrong = append(wrong, errors.Join(fmt.Errorf("%s: cgroups %v are left", node, dirs), err))
			}
		}
		return errors.Join(wrong...)
	}))
}

// cgroupsOf lists the cgroups of a container of this cluster, in all hierarchies.
func (t *trial) cgroupsOf(container string) ([]string, error) {
	var dirs []string
	for _, root := range hierarchies() {
		err := filepath.WalkDir(filepath.Join(root, t.group), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it goes while it is looked at
			}
			if err == nil && d.Name() == container {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("look for cgroups: %w", err)
		}
	}
	return dirs, nil
}

// nothingOfRelease looks for objects of any kind that the release has left. Its volume is to stay, and so is what Kubernetes makes in each namespace.
func (t *trial) nothingOfRelease(ctx context.Context) error {
	resources, err := t.kubectl(ctx, "api-resources", "--verbs=list", "-o", "name")
	if err != nil {
		return err
	}
	kept := map[string]bool{
		"PersistentVolume <none> vetch": true, "PersistentVolumeClaim vetch data-vetch-server-0": true, "Namespace <none> vetch": true,
		"ConfigMap vetch kube-root-ca.crt": true, "ServiceAccount vetch default": true,
	}
	return eventually(ctx, settle, func() error {
		out, err := t.kubectl(ctx, "get", strings.Join(strings.Fields(resources), ","), "-A", "--ignore-not-found", "--no-headers",
			"-o", "custom-columns=kind:.kind,namespace:.metadata.namespace,name:.metadata.name")
		if err != nil {
			return err
		}
		var wrong []error
		for line := range strings.Lines(out) {
			words := strings.Fields(line)
			if len(words) == 3 && words[0] != "Event" && (words[1] == "vetch" || strings.Contains(words[2], "vetch")) && !kept[strings.Join(words, " ")] {
				wrong = append(wrong, fmt.Errorf("%s is left", strings.Join(words, " ")))
			}
		}
		return errors.Join(wrong...)
	})
}
