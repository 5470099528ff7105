package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// scaling is what the simulated cluster is made of, and how long it is watched.
type scaling struct {
	nodes, pods, churn int // churn: pods deleted, and made anew by their ReplicaSet, in a second
	length             time.Duration
	out                string // page that the figures go to; empty: they are only printed
}

const (
	podsOfDeployment = 100
	scaleNamespace   = "scale"
	quiet            = 15 * time.Second // after which what the beginning made to do is done
)

// scale runs a control plane without real nodes, simulates nodes and pods on it by kwok, and measures what "vetch watcher" takes, and how long
// names take to every agent: there is a subscriber to the real feed for each node.
func (c *cluster) scale(ctx context.Context, s scaling) (err error) {
	if err := c.build(ctx, append(needed(), "kwok")...); err != nil {
		return err
	}
	held, err := lock(c.state, false)
	if err != nil {
		return err
	}
	defer held.Close()
	if err := c.clear(); err != nil {
		return err
	}
	defer func() {
		if !c.keep {
			err = errors.Join(err, c.clear())
		}
	}()
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	w := &simulated{cluster: c, scaling: s}
	if err := inOrder([]func() error{
		func() error { return makeCertificates(c.path("pki")) },
		c.makeNetwork,
		func() error { return c.startControlPlane(ctx) },
		func() error { return w.makeNodes(ctx) },
		func() error { return w.startWatcher(ctx) },
	}); err != nil {
		return err
	}
	figures, err := w.measure(ctx)
	if err != nil {
		return err
	}
	fmt.Print(figures.text(s))
	if s.out == "" {
		return nil
	}
	return figures.write(s)
}

// simulated is a cluster whose nodes and pods are only objects.
type simulated struct {
	*cluster
	scaling   scaling
	api, feed string // of the watcher: URLs
}

func nodeOf(i int) string { return fmt.Sprintf("kwok-%d", i) }

// makeNodes starts kwok, and waits until the nodes are ready.
func (w *simulated) makeNodes(ctx context.Context) error {
	config := w.path("kwok.kubeconfig")
	if err := writeKubeconfig(config, "https://"+apiAddress+":6443", w.path("pki"), "admin"); err != nil {
		return err
	}
	if err := w.inControlPlane("kwok", w.program("kwok"), "--kubeconfig="+config, "--manage-all-nodes=true",
		"--config="+filepath.Join(w.bin, "kwok-stages.yaml"), "--node-lease-duration-seconds=40", "--server-address=127.0.0.1:10247"); err != nil {
		return err
	}
	var objects strings.Builder
	for i := range w.scaling.nodes {
		fmt.Fprintf(&objects, "---\n{apiVersion: v1, kind: Node, metadata: {name: %[1]s, labels: {kubernetes.io/hostname: %[1]s, type: kwok}}, spec: {podCIDR: 10.%[2]d.%[3]d.0/24, podCIDRs: [10.%[2]d.%[3]d.0/24]}}\n",
			nodeOf(i), 64+i/256, i%256)
	}
	if err := w.apply(ctx, objects.String()); err != nil {
		return err
	}
	return w.wait(bootLimit, "kwok", func() error {
		out, err := w.kubectl(ctx, "get", "nodes", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`)
		if n := strings.Count(out, "True"); err == nil && n < w.scaling.nodes {
			err = fmt.Errorf("%d of %d nodes are ready", n, w.scaling.nodes)
		}
		return err
	})
}

// startWatcher builds vetch and starts its watcher on this machine's loopback.
func (w *simulated) startWatcher(ctx context.Context) error {
	binary := w.path("vetch")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build vetch: %w\n%s", err, out)
	}
	ports, err := freeAddresses(2)
	if err != nil {
		return err
	}
	w.api, w.feed = "http://"+ports[0], "http://"+ports[1]
	if err := w.start("watcher", 0, binary, "watcher", "--listen", ports[0], "--watcher-listen", ports[1], "--watcher-kubeconfig", w.kubeconfig()); err != nil {
		return err
	}
	return w.wait(bootLimit, "watcher", func() error {
		resp, err := http.Get(w.api + "/-/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// freeAddresses are of loopback, and nobody listens there now.
func freeAddresses(n int) (out []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // when all are known
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// measure fills the cluster with pods, and then replaces some of them all the time.
func (w *simulated) measure(ctx context.Context) (*figures, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	truth, err := newPodWatch(w.path("pki"), w.kubeconfig())
	if err != nil {
		return nil, err
	}
	g.Go(func() error { return truth.run(ctx) })
	agents, err := w.subscribe(ctx, g)
	if err != nil {
		return nil, err
	}
	f := &figures{}
	began := time.Now()
	if err := w.fill(ctx, truth); err != nil {
		return nil, err
	}
	w.say("%d pods run, %v after the first Deployment", w.scaling.pods, time.Since(began).Round(time.Second))
	time.Sleep(quiet)
	if f.idle, err = w.use(w.scaling.length / 2); err != nil {
		return nil, err
	}
	for _, a := range agents {
		a.record()
	}
	g.Go(func() error { return w.replace(ctx, truth) })
	if f.busy, err = w.use(w.scaling.length); err != nil {
		return nil, err
	}
	f.replaced = truth.deleted.Load()
	time.Sleep(2 * time.Second) // what is under way
	f.latencies, f.came, f.unknown = latencies(truth, agents)
	if f.memory, err = memoryOf(w.pid("watcher")); err != nil {
		return nil, err
	}
	if _, f.calls, err = w.used(); err != nil {
		return nil, err
	}
	stop()
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return f, nil
}

// fill makes Deployments, and waits until their pods run.
func (w *simulated) fill(ctx context.Context, truth *podWatch) error {
	objects := "{apiVersion: v1, kind: Namespace, metadata: {name: " + scaleNamespace + "}}\n"
	for i := 0; i*podsOfDeployment < w.scaling.pods; i++ {
		objects += fmt.Sprintf("---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: app-%[1]d, namespace: %[2]s}, spec: {replicas: %[3]d, selector: {matchLabels: {app: app-%[1]d}}, "+
			"template: {metadata: {labels: {app: app-%[1]d}}, spec: {automountServiceAccountToken: false, containers: [{name: web, image: web, ports: [{containerPort: 8080}], resources: {requests: {cpu: 10m, memory: 16Mi}}}]}}}}\n",
			i, scaleNamespace, min(podsOfDeployment, w.scaling.pods-i*podsOfDeployment))
	}
	if err := w.apply(ctx, objects); err != nil {
		return err
	}
	limit := bootLimit + time.Duration(w.scaling.pods)*50*time.Millisecond
	if !until(limit, func() bool { return truth.count() >= w.scaling.pods || ctx.Err() != nil }) {
		return fmt.Errorf("%d of %d pods run after %v", truth.count(), w.scaling.pods, limit)
	}
	return ctx.Err()
}

// replace deletes pods at an even pace; their ReplicaSets make others.
func (w *simulated) replace(ctx context.Context, truth *podWatch) error {
	tick := time.NewTicker(time.Second / time.Duration(w.scaling.churn))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			go truth.deleteOne(ctx)
		}
	}
}

// taken is what the watcher took in a span of time.
type taken struct {
	length time.Duration
	cpu    time.Duration
	calls  map[string]float64 // to the API server, by verb
}

func (w *simulated) use(length time.Duration) (taken, error) {
	u := taken{length: length, calls: map[string]float64{}}
	cpu, calls, err := w.used()
	if err != nil {
		return u, err
	}
	time.Sleep(length)
	cpuAfter, callsAfter, err := w.used()
	u.cpu = cpuAfter - cpu
	for verb, n := range callsAfter {
		u.calls[verb] = n - calls[verb]
	}
	return u, err
}

func (w *simulated) used() (time.Duration, map[string]float64, error) {
	cpu, err := cpuOf(w.pid("watcher"))
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.Get(w.api + "/metrics")
	if err != nil {
		return 0, nil, fmt.Errorf("read the watcher's metrics: %w", err)
	}
	defer resp.Body.Close()
	m, err := parseMetrics(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	calls := map[string]float64{}
	m.series("vetch_kube_api_requests_total", func(labels map[string]string, value float64) { calls[labels["verb"]] += value })
	return cpu, calls, nil
}

// cpuOf reads the CPU time of a process, user and system: proc(5), in ticks of 10 ms.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("read CPU time: too few fields")
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// memoryOf reads the resident memory of a process in bytes: now, and at most.
func memoryOf(pid int) (out [2]int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return out, fmt.Errorf("read memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if at := slices.Index([]string{"VmRSS:", "VmHWM:"}, strings.SplitN(line, "\t", 2)[0]); at >= 0 {
			kib, err := strconv.Atoi(strings.Fields(line)[1])
			if err != nil {
				return out, fmt.Errorf("read memory: %w", err)
			}
			out[at] = kib << 10
		}
	}
	return out, nil
}
