package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const containerdSocket = "/run/containerd/containerd.sock"

// nodeInit is the first process of a node: it makes the file systems, starts the daemons, and reaps what is left to it, for ever.
func nodeInit(args []string) error {
	var s settings
	flags := flag.NewFlagSet("node-init", flag.ContinueOnError)
	flags.StringVar(&s.cache, "cache", "", "")
	flags.StringVar(&s.state, "state", "", "")
	flags.StringVar(&s.proxy, "proxy-mode", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := newCluster(s)
	if err != nil {
		return err
	}
	n := &bootingNode{cluster: c, name: flags.Arg(0), dir: c.path(flags.Arg(0))}
	if nodeNumber(n.name) == 0 || os.Getpid() != 1 {
		return errors.New("not in a node")
	}
	if err := inOrder([]func() error{n.joinCgroups, n.mounts, n.sysctls, n.configure, n.containers, n.daemons}); err != nil {
		return err
	}
	for {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(-1, &status, 0, nil); errors.Is(err, syscall.ECHILD) {
			return errors.New("nothing runs here any more")
		}
	}
}

// bootingNode is a node as its first process sees it.
type bootingNode struct {
	*cluster
	name string
	dir  string // what the node keeps over a boot
}

// joinCgroups puts this process and what it starts into the cgroup of the node's daemons, which kubelet wants to be the same in all hierarchies.
func (n *bootingNode) joinCgroups() error {
	if err := unix.Sethostname([]byte(n.name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	for _, root := range hierarchies() {
		file := filepath.Join(root, n.group, n.name+"-sys", "cgroup.procs")
		if err := os.WriteFile(file, []byte("0"), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}

// mounts gives the node its own /proc, /sys, /run, and private folders over those whose paths kubelet and CNI fix.
func (n *bootingNode) mounts() error {
	for _, dir := range []string{"kubelet", "containerd", "opt", "plugins", "cgroup", "sysctl", "cni-state", "log/pods", "log/containers", "cni", "addresses"} {
		if err := os.MkdirAll(filepath.Join(n.dir, dir), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	kept := filepath.Join(n.dir, "cgroup")
	mounts := []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{cgroupRoot, kept, "", unix.MS_BIND | unix.MS_REC},
		{"sysfs", "/sys", "sysfs", 0}, // of this network namespace
		{kept, cgroupRoot, "", unix.MS_BIND | unix.MS_REC},
		{"tmpfs", "/run", "tmpfs", 0},
		{filepath.Join(n.dir, "kubelet"), "/var/lib/kubelet", "", unix.MS_BIND},
		{"", "/var/lib/kubelet", "", unix.MS_REC | unix.MS_SHARED},
		{filepath.Join(n.dir, "cni-state"), "/var/lib/cni", "", unix.MS_BIND},
		{filepath.Join(n.dir, "log/pods"), "/var/log/pods", "", unix.MS_BIND},
		{filepath.Join(n.dir, "log/containers"), "/var/log/containers", "", unix.MS_BIND},
	}
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return fmt.Errorf("make mount point: %w", err)
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for _, dir := range []string{"/run/containerd", "/run/netns"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	return nil
}

// sysctls shows kubelet the values that it wants of those that are the whole machine's, so that it writes none.
func (n *bootingNode) sysctls() error {
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	} {
		file := filepath.Join(n.dir, "sysctl", strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("write sysctl: %w", err)
		}
		if err := unix.Mount(file, "/proc/sys/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount sysctl %s: %w", name, err)
		}
	}
	for _, f := range families() {
		if err := os.WriteFile(f.forwarding, []byte("1"), 0o644); err != nil {
			return fmt.Errorf("let %s be forwarded: %w", f.name, err)
		}
	}
	return nil
}

// podRanges and podRoutes are what the CNI plugin gives to each pod: an address and a route of each family, as JSON.
func podRanges(node string) string {
	return inAll(func(f family) string { return fmt.Sprintf(`[{"subnet": %q}]`, f.podsOf(node)) })
}

func podRoutes() string {
	return inAll(func(f family) string { return fmt.Sprintf(`{"dst": %q}`, f.everywhere) })
}

// configure writes the configurations of containerd, CNI and kubelet.
func (n *bootingNode) configure() error {
	plugins, err := pluginFolder()
	if err != nil {
		return err
	}
	words := strings.NewReplacer("$PLUGINS", plugins, "$RANGES", podRanges(n.name), "$ROUTES", podRoutes(), "$DNS", dnsService, "$SOCKET", containerdSocket,
		"$PKI", n.path("pki"), "$NODE", n.name, "$GROUP", n.group, "$DIR", n.dir)
	for from, to := range map[string]string{
		"containerd.toml": "containerd.toml", "kubelet.yaml": "kubelet.yaml", "cni.conflist": "cni/10-bridge.conflist", "resolv.conf": "resolv.conf",
	} {
		text, err := manifests.ReadFile("testdata/node/" + from)
		if err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
		if err := os.WriteFile(filepath.Join(n.dir, to), []byte(words.Replace(string(text))), 0o644); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	return nil
}

// containers starts containerd and gives it the images that every node has.
func (n *bootingNode) containers() error {
	if err := n.daemon("containerd", "containerd", "-c", filepath.Join(n.dir, "containerd.toml")); err != nil {
		return err
	}
	answers := func() bool { return exec.Command("ctr", "-a", containerdSocket, "version").Run() == nil }
	if !until(bootLimit, answers) {
		return errors.New("containerd does not answer")
	}
	files, err := filepath.Glob(filepath.Join(n.image, "*.tar"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no images in %s", n.image)
	}
	for _, file := range files {
		command := importCommand(file)
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("import %s: %w\n%s", file, err, out)
		}
	}
	return nil
}

func (n *bootingNode) daemons() error {
	hyper := n.program("hyper")
	return errors.Join(
		n.daemon("kubelet", hyper, "kubelet", "--config="+filepath.Join(n.dir, "kubelet.yaml"), "--kubeconfig="+n.path("pki", n.name+".kubeconfig"),
			"--hostname-override="+n.name, "--node-ip="+inAll(func(f family) string { return f.node(n.name) }), "--v=2"),
		// Without its limits of the connection tracker, which are the whole machine's.
		n.daemon("kube-proxy", hyper, "kube-proxy", "--kubeconfig="+n.path("pki", "kube-proxy.kubeconfig"), "--hostname-override="+n.name,
			"--oom-score-adj=0", "--proxy-mode="+n.proxy, "--cluster-cidr="+inAll(func(f family) string { return f.pods }), "--conntrack-max-per-core=0", "--conntrack-min=0",
			"--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0", "--v=2"),
	)
}

// daemon starts a process of the node. It ends with the node.
func (n *bootingNode) daemon(name, program string, args ...string) error {
	log, err := os.OpenFile(filepath.Join(n.dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	fmt.Println(time.Now().Format(time.TimeOnly), "starting", name)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}
