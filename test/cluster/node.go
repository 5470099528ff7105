package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const cgroupRoot = "/sys/fs/cgroup"

// A node is one process that is the first of a pid namespace, with all that it starts.
func nodeProcess(node string) string    { return "node-" + node }
func isNodeProcess(process string) bool { return strings.HasPrefix(process, "node-") }

// hierarchies lists the cgroup hierarchies of this machine.
func hierarchies() []string {
	roots, _ := filepath.Glob(filepath.Join(cgroupRoot, "*"))
	var list []string
	for _, root := range roots {
		if info, err := os.Lstat(root); err == nil && info.IsDir() {
			list = append(list, root)
		}
	}
	return list
}

// makeCgroups makes the cgroups of a node: one for its pods, below which kubelet makes its own, and one for its daemons.
func (c *cluster) makeCgroups(node string) error {
	for _, root := range hierarchies() {
		names := []string{c.group, filepath.Join(c.group, node)}
		if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil { // version 2 has no controllers here, and no daemons in it
			names = append(names, filepath.Join(c.group, node+"-sys"))
		}
		for _, name := range names {
			dir := filepath.Join(root, name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("make cgroup: %w", err)
			}
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // begin empty, and nothing runs in an empty one
				text, err := os.ReadFile(filepath.Join(root, file))
				if err != nil {
					continue // another controller
				}
				if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil {
					return fmt.Errorf("fill cgroup: %w", err)
				}
			}
		}
	}
	return nil
}

// removeCgroups removes the cluster's cgroups and returns those that are left: one empties itself a moment after its last process ended.
func (c *cluster) removeCgroups() []string {
	var left []string
	for _, root := range hierarchies() {
		top := filepath.Join(root, c.group)
		var dirs []string
		filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error { //nolint:errcheck // what vanishes meanwhile is gone
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- { // the deepest first
			syscall.Rmdir(dirs[i]) //nolint:errcheck // looked at below
		}
		if _, err := os.Stat(top); err == nil {
			left = append(left, top)
		}
	}
	return left
}

// startNode boots a node. It goes on when this process ends.
func (c *cluster) startNode(node string) error {
	if err := c.makeCgroups(node); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	flags := syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID
	return c.start(nodeProcess(node), uintptr(flags), "nsenter", "--net="+c.namespace(node), self, "node-init",
		"-cache", c.cache, "-state", c.state, "-proxy-mode", c.proxy, node)
}

// bootNode starts a node that was killed.
func (c *cluster) bootNode(node string) error {
	if nodeNumber(node) == 0 {
		return fmt.Errorf("no node %q, there are %v", node, nodeNames)
	}
	if c.pid(nodeProcess(node)) != 0 {
		return fmt.Errorf("%s is running", node)
	}
	return c.startNode(node)
}

// killNode ends all that runs in a node at once.
func (c *cluster) killNode(node string) error {
	process := nodeProcess(node)
	if c.pid(process) == 0 {
		return fmt.Errorf("%s is not running", node)
	}
	c.signal(process, syscall.SIGKILL)
	if !until(endLimit, func() bool { return c.pid(process) == 0 }) {
		return fmt.Errorf("%s does not end", node)
	}
	return nil
}

// enter gives the words before a command that make it run in all namespaces of a node.
func (c *cluster) enter(node string) ([]string, error) {
	pid := c.pid(nodeProcess(node))
	if pid == 0 {
		return nil, fmt.Errorf("%s is not running", node)
	}
	return []string{"nsenter", "--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}, nil
}

// inNode runs a command in a node and returns what it prints.
func (c *cluster) inNode(ctx context.Context, node string, args ...string) (string, error) {
	command, err := c.enter(node)
	if err != nil {
		return "", err
	}
	if c.verbose {
		c.say("%s: %s", node, strings.Join(args, " "))
	}
	command = append(command, args...)
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s in %s: %w: %s", strings.Join(args, " "), node, err, out)
	}
	return string(out), nil
}

// load imports images into all nodes that run.
func (c *cluster) load(ctx context.Context, files ...string) error {
	for _, node := range nodeNames {
		if c.pid(nodeProcess(node)) == 0 {
			continue
		}
		for _, file := range files {
			path, err := filepath.Abs(file)
			if err != nil {
				return fmt.Errorf("find image: %w", err)
			}
			if _, err := c.inNode(ctx, node, importCommand(path)...); err != nil {
				return err
			}
		}
	}
	return nil
}

func importCommand(file string) []string {
	return []string{"ctr", "-a", containerdSocket, "-n", "k8s.io", "images", "import", file}
}

// pluginFolder is where the CNI plugins are.
func pluginFolder() (string, error) {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no CNI plugins here: scripts/deps.sh cluster installs them")
}
