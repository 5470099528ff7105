package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// How long things may take on a machine that does something else too.
const (
	bootLimit = 3 * time.Minute
	endLimit  = 10 * time.Second
)

// up starts a cluster: network, certificates, control plane, nodes, DNS. What a crash left is cleared away before.
func (c *cluster) up(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("it makes namespaces and cgroups, and needs root")
	}
	if err := prerequisites(); err != nil {
		return err
	}
	held, err := lock(c.state, false)
	if err != nil {
		return err
	}
	defer held.Close()
	if names := c.running(); len(names) > 0 {
		return fmt.Errorf("it is up already (%s), or half of it: end it by down", strings.Join(names, ", "))
	}
	if err := c.clear(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	steps := []func() error{
		func() error { return makeCertificates(c.path("pki")) },
		c.makeNetwork,
		func() error { return c.startControlPlane(ctx) },
		func() error { return c.startNodes(ctx) },
		func() error { return c.startDNS(ctx) },
	}
	if err := inOrder(steps); err != nil {
		return fmt.Errorf("%w\n(logs are in %s and %s/NODE; down clears it away)", err, c.path("log"), c.dir)
	}
	c.say("up: export KUBECONFIG=%s", c.kubeconfig())
	return nil
}

// prerequisites says what this machine lacks.
func prerequisites() error {
	for _, name := range []string{"containerd", "ctr", "runc", "nft", "iptables", "conntrack", "nsenter"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("no %s here: scripts/deps.sh cluster installs it", name)
		}
	}
	if _, err := pluginFolder(); err != nil {
		return err
	}
	for _, controller := range []string{"memory", "cpuset"} {
		if _, err := os.Stat(filepath.Join(cgroupRoot, controller)); err != nil {
			return errors.New("nodes need the cgroup controllers of version 1: boot with systemd.unified_cgroup_hierarchy=0")
		}
	}
	return nil
}

// inControlPlane starts a process in the control plane's network.
func (c *cluster) inControlPlane(name string, args ...string) error {
	return c.start(name, 0, append([]string{"nsenter", "--net=" + c.namespace(controlPlane)}, args...)...)
}

func (c *cluster) startControlPlane(ctx context.Context) error {
	const etcd = "http://127.0.0.1:2379"
	hyper, pki := c.program("hyper"), c.path("pki")
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	port := c.path("relay")
	err = inOrder([]func() error{
		func() error {
			return c.inControlPlane("etcd", c.program("etcd"), "--data-dir="+c.path("etcd"), "--unsafe-no-fsync",
				"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd, "--listen-peer-urls=http://127.0.0.1:2380")
		},
		func() error {
			return c.inControlPlane("kube-apiserver", append([]string{hyper, "kube-apiserver", "--etcd-servers=" + etcd}, apiServerFlags(pki)...)...)
		},
		func() error {
			return c.start("relay", 0, self, "relay", c.namespace(controlPlane), "127.0.0.1:6443", port)
		},
		func() error { return c.wait(endLimit, "relay", func() error { _, err := os.Stat(port); return err }) },
	})
	if err != nil {
		return err
	}
	address, err := os.ReadFile(port)
	if err != nil {
		return fmt.Errorf("read the relay's port: %w", err)
	}
	if err := writeKubeconfig(c.kubeconfig(), "https://"+string(address), pki, "admin"); err != nil {
		return err
	}
	ready := func() error { _, err := c.kubectl(ctx, "get", "--raw", "/readyz"); return err }
	if err := c.wait(bootLimit, "kube-apiserver", ready); err != nil {
		return err
	}
	c.say("API server ready")
	manager, scheduler := pki+"/kube-controller-manager", pki+"/kube-scheduler"
	return errors.Join(
		c.inControlPlane("kube-controller-manager", append(append([]string{hyper, "kube-controller-manager"}, authenticated(manager)...),
			"--service-account-private-key-file="+pki+"/sa.key", "--root-ca-file="+pki+"/ca.crt", "--use-service-account-credentials=true",
			"--kube-api-qps=500", "--kube-api-burst=1000", "--cluster-signing-cert-file="+pki+"/ca.crt", "--cluster-signing-key-file="+pki+"/ca.key", "--node-monitor-grace-period=20s",
			"--tls-cert-file="+manager+".crt", "--tls-private-key-file="+manager+".key")...),
		c.inControlPlane("kube-scheduler", append([]string{hyper, "kube-scheduler"}, append(authenticated(scheduler), "--kube-api-qps=500", "--kube-api-burst=1000")...)...),
	)
}

// authenticated are the flags of a part of the control plane that asks the API server as itself and is the only one of its kind.
func authenticated(file string) []string {
	config := file + ".kubeconfig"
	return []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--leader-elect=false", "--bind-address=127.0.0.1",
	}
}

func apiServerFlags(pki string) []string {
	return []string{
		"--bind-address=0.0.0.0", "--advertise-address=" + apiAddress, "--secure-port=6443",
		"--service-cluster-ip-range=" + inAll(func(f family) string { return f.services }), "--authorization-mode=Node,RBAC", "--allow-privileged=true",
		"--client-ca-file=" + pki + "/ca.crt", "--tls-cert-file=" + pki + "/apiserver.crt", "--tls-private-key-file=" + pki + "/apiserver.key",
		"--kubelet-client-certificate=" + pki + "/apiserver-kubelet-client.crt", "--kubelet-client-key=" + pki + "/apiserver-kubelet-client.key",
		"--kubelet-certificate-authority=" + pki + "/ca.crt", "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + pki + "/sa.pub", "--service-account-signing-key-file=" + pki + "/sa.key",
		"--requestheader-client-ca-file=" + pki + "/ca.crt", "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--enable-aggregator-routing=true",
		"--proxy-client-cert-file=" + pki + "/front-proxy-client.crt", "--proxy-client-key-file=" + pki + "/front-proxy-client.key",
	}
}

// startNodes makes the objects of the nodes, because each has its fixed pod network, boots them, and waits until they are ready.
func (c *cluster) startNodes(ctx context.Context) error {
	for _, node := range nodeNames {
		object := fmt.Sprintf("{apiVersion: v1, kind: Node, metadata: {name: %[1]s, labels: {kubernetes.io/hostname: %[1]s}}, spec: {podCIDR: '%[2]s', podCIDRs: ['%[3]s']}}",
			node, ipv4.podsOf(node), strings.ReplaceAll(inAll(func(f family) string { return f.podsOf(node) }), ",", "','"))
		if err := c.apply(ctx, object); err != nil {
			return err
		}
		if err := c.startNode(node); err != nil {
			return err
		}
	}
	err := c.wait(bootLimit, "kube-controller-manager", func() error {
		_, err := c.kubectl(ctx, "get", "serviceaccount", "default")
		return err
	})
	for _, node := range nodeNames {
		if err == nil {
			err = c.wait(bootLimit, nodeProcess(node), func() error { return c.isReady(ctx, node) })
		}
	}
	if err == nil {
		c.say("nodes ready: %s, with %s", strings.Join(nodeNames, ", "), inAll(func(f family) string { return f.name }))
	}
	return err
}

func (c *cluster) isReady(ctx context.Context, node string) error {
	out, err := c.kubectl(ctx, "get", "node", node, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
	if err == nil && out != "True" {
		err = fmt.Errorf("%s is not ready", node)
	}
	return err
}

func (c *cluster) startDNS(ctx context.Context) error {
	if err := c.applyFile(ctx, "coredns.yaml"); err != nil {
		return err
	}
	_, err := c.kubectl(ctx, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout="+bootLimit.String())
	if err == nil {
		c.say("DNS ready")
	}
	return err
}

// down ends the cluster and clears away what it left.
func (c *cluster) down() error {
	held, err := lock(c.state, false)
	if err != nil {
		return err
	}
	defer held.Close()
	return c.clear()
}

// clear ends every process of the cluster, whether it is whole or what is left of one that crashed, and removes its namespaces, cgroups
// and files.
func (c *cluster) clear() error {
	for _, name := range c.recorded() {
		if isNodeProcess(name) {
			c.signal(name, syscall.SIGKILL) // the first of its pid namespace: all others in it end too
		} else {
			c.signal(name, syscall.SIGTERM)
		}
	}
	ended := func() bool { return len(c.running()) == 0 }
	if !until(2*time.Second, ended) {
		for _, name := range c.recorded() {
			c.signal(name, syscall.SIGKILL)
		}
		if !until(endLimit, ended) {
			return fmt.Errorf("these do not end: %v", c.running())
		}
	}
	if err := c.dropNamespaces(); err != nil {
		return err
	}
	if !until(endLimit, func() bool { return len(c.removeCgroups()) == 0 }) {
		return fmt.Errorf("cgroups are left: %v", c.removeCgroups())
	}
	var err error
	if !until(endLimit, func() bool { err = os.RemoveAll(c.dir); return err == nil }) {
		return fmt.Errorf("remove %s: %w", c.dir, err)
	}
	return nil
}

// exec runs a command inside of a node, as if it had been typed there.
func (c *cluster) exec(ctx context.Context, node string, args []string) error {
	if len(args) == 0 {
		return errors.New("exec: no command")
	}
	command := []string{"nsenter", "--net=" + c.namespace(controlPlane)}
	if node != controlPlane {
		enter, err := c.enter(node)
		if err != nil {
			return err
		}
		command = enter
	}
	command = append(command, args...)
	return c.passThrough(ctx, command[0], command[1:]...)
}

// passThrough runs a program with this one's input and output, and the cluster's kubeconfig.
func (c *cluster) passThrough(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(slices.Clone(os.Environ()), "KUBECONFIG="+c.kubeconfig())
	return cmd.Run()
}
