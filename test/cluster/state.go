package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Addresses that certificates and pods know; see family for all networks.
const (
	apiAddress  = "10.99.0.1"
	serviceCIDR = "10.96.0.0/16"
	apiService  = "10.96.0.1" // the first of serviceCIDR
	dnsService  = "10.96.0.10"
)

var nodeNames = []string{"node1", "node2"}

// cluster is one cluster and the folders that it lives in.
type cluster struct {
	settings
	bin   string // programs, the same for all clusters
	image string // images that every node has: pause, CoreDNS
	dir   string // all of the running cluster; gone when it is down
	group string // its cgroup, in every hierarchy
	began time.Time
}

func newCluster(s settings) (*cluster, error) {
	if s.proxy != "nftables" && s.proxy != "iptables" {
		return nil, fmt.Errorf("-proxy-mode must be nftables or iptables, not %q", s.proxy)
	}
	if s.state == "" {
		s.state = filepath.Join(s.cache, "state")
	}
	for _, dir := range []*string{&s.cache, &s.state} {
		path, err := filepath.Abs(*dir)
		if err != nil {
			return nil, fmt.Errorf("find folder: %w", err)
		}
		for _, hidden := range []string{"/run/", "/sys/", "/proc/", "/dev/", "/var/lib/kubelet/", "/var/log/"} {
			if strings.HasPrefix(path+"/", hidden) {
				return nil, fmt.Errorf("%s is hidden inside of nodes, take another folder", path)
			}
		}
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, fmt.Errorf("make folder: %w", err)
		}
		if *dir, err = filepath.EvalSymlinks(path); err != nil {
			return nil, fmt.Errorf("find folder: %w", err)
		}
	}
	sum := sha256.Sum256([]byte(s.state))
	return &cluster{
		settings: s, bin: filepath.Join(s.cache, "bin"), image: filepath.Join(s.cache, "images"), dir: filepath.Join(s.state, "run"),
		group: "vetch-test-" + hex.EncodeToString(sum[:4]), began: time.Now(),
	}, nil
}

// path is a file of the running cluster.
func (c *cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

// program is the path of a built program.
func (c *cluster) program(name string) string { return filepath.Join(c.bin, name) }

func (c *cluster) kubeconfig() string { return c.path("kubeconfig") }

// say prints a step with the time since the start.
func (c *cluster) say(format string, args ...any) {
	fmt.Printf("%4.0fs %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// errBusy says that another command works on the same folder.
var errBusy = errors.New("another command is at work there")

// lock keeps other commands out of a folder until the file is closed.
func lock(dir string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, errBusy)
		}
	}
}

// nodeNumber is the place of a node among nodeNames, from 1; 0 for none of them.
func nodeNumber(name string) int {
	for i, n := range nodeNames {
		if n == name {
			return i + 1
		}
	}
	return 0
}
