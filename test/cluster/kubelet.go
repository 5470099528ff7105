package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// askKubelets lets the chart's agents ask the kubelets, whose certificates they verify. What they then say of space on the disk is what the API server
// gets of the kubelets, and they have no other rights of the API.
func askKubelets(ctx context.Context, t *trial) error {
	if _, err := t.installed(ctx, "--set", "agent.kubelet.enabled=true,agent.kubelet.verified=true"); err != nil {
		return err
	}
	if err := errors.Join(t.trace(ctx), t.hear(ctx), t.mayAsk(ctx)); err != nil {
		return err
	}
	failures := map[string]float64{} // until the look before; a kubelet may be slow once
	return t.besideKubelets(ctx, func(said map[string]usedPod, all map[string]metrics) error {
		var wrong []error
		for node, m := range all {
			if answered, failed := m.sum(kubeletAnswers, "result", "answered"), m.sum(kubeletAnswers, "result", "failed"); answered == 0 || failed > failures[node] {
				failures[node] = failed
				wrong = append(wrong, fmt.Errorf("the kubelet of %s answered %v times, and not %v times", node, answered, failed))
			}
		}
		pods, err := t.running(ctx)
		if err != nil {
			return err
		}
		for _, p := range pods {
			m, want := all[p.Spec.NodeName], said["shop/"+p.Metadata.Name].disk
			pod := m.sum("vetch_pod_ephemeral_storage_bytes", "namespace", "shop", "pod", p.Metadata.Name)
			container := m.sum("container_resources_ephemeral_storage_bytes", "container_id", p.container())
			if want == 0 || !near(pod, want, want) || container == 0 || container > pod {
				wrong = append(wrong, fmt.Errorf("%s: %v bytes on disk, of which %v in its container; the kubelet says %v", p.Metadata.Name, pod, container, want))
			}
		}
		return errors.Join(wrong...)
	})
}

const kubeletAnswers = "vetch_host_kubelet_requests_total"

// running are the pods of the shop that are there now and serve.
func (t *trial) running(ctx context.Context) ([]pod, error) {
	pods, err := t.pods(ctx, "shop", "app in (front, catalog, cart, postgres, redis)")
	if err != nil {
		return nil, err
	}
	for _, p := range pods {
		if !p.ready() {
			return nil, fmt.Errorf("%s is not ready", p.Metadata.Name)
		}
	}
	if len(pods) < len(shopRollouts) {
		return nil, fmt.Errorf("only %d pods of the shop", len(pods))
	}
	return pods, nil
}

// mayAsk holds what the account of the agents may do: to ask kubelets for figures, and not for more.
func (t *trial) mayAsk(ctx context.Context) error {
	var wrong []error
	for what, want := range map[string]string{"nodes/stats": "true", "nodes/metrics": "true", "nodes/proxy": "false", "nodes": "false", "pods": "false", "secrets": "false"} {
		resource, sub, _ := strings.Cut(what, "/")
		review := fmt.Sprintf("{apiVersion: authorization.k8s.io/v1, kind: SubjectAccessReview, spec: {user: 'system:serviceaccount:vetch:vetch-agent', "+
			"resourceAttributes: {verb: get, resource: %s, subresource: '%s'}}}", resource, sub)
		got, err := t.kubectlWith(ctx, review, "create", "-f", "-", "-o", "jsonpath={.status.allowed}")
		if err == nil && got != want {
			err = fmt.Errorf("agents may get %s: %s, not %s", what, got, want)
		}
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// The agent that sees no cgroups, beside the chart's own on a node.
const (
	blindNode = "node1"
	blindPort = "4790"
)

// startBlind starts an agent on a node with the cgroups hidden from it, as a sandbox may do, and with the chart's right to ask the kubelet. It ends by the
// function that is returned.
func (t *trial) startBlind(ctx context.Context) (end func(), err error) {
	dir := t.path("blind")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	binary := filepath.Join(dir, "vetch")
	if err := buildVetch(ctx, binary); err != nil {
		return nil, err
	}
	token, err := t.kubectl(ctx, "-n", "vetch", "create", "token", "vetch-agent")
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, "token"), token); err != nil {
		return nil, err
	}
	command, err := t.enter(blindNode)
	if err != nil {
		return nil, err
	}
	hide := fmt.Sprintf(`mount -t tmpfs none %s && mount -t tmpfs none %s && exec "$@"`, cgroupRoot, t.path(blindNode, "cgroup"))
	command = append(command, "unshare", "--mount", "sh", "-c", hide, "sh", binary, "agent", "--listen", "127.0.0.1:"+blindPort, "--data-dir", dir, "--node", blindNode,
		"--agent-kubelet-address", ipv4.node(blindNode), "--agent-kubelet-token-file", filepath.Join(dir, "token"), "--agent-kubelet-unverified")
	log, err := os.Create(t.logFile("blind"))
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // nsenter waits for the agent, and hands no signal on to it
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start an agent without cgroups: %w", err)
	}
	return func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) //nolint:errcheck // it ended before
		cmd.Wait()                                      //nolint:errcheck // by the signal
		os.RemoveAll(dir)
	}, nil
}

// measure is what both agents tell of a pod, or of its container.
type measure struct {
	name      string
	container bool    // by container_id, not by pod
	counter   bool    // what it rose by is compared
	slack     float64 // beside a tenth: what goes on while nothing is asked for, as the kubelet's figures are up to half a minute old
}

var measures = []measure{
	{"container_resources_cpu_usage_seconds_total", true, true, 0.1},
	{"container_resources_memory_working_set_bytes", true, false, 0},
	{"container_resources_memory_rss_bytes", true, false, 0},
	{"vetch_pod_cpu_seconds_total", false, true, 0.1},
	{"vetch_pod_memory_working_set_bytes", false, false, 0},
	{"vetch_pod_network_received_bytes_total", false, true, 64 << 10},
	{"vetch_pod_network_transmitted_bytes_total", false, true, 64 << 10},
}

func (f measure) of(m metrics, p pod) float64 {
	if f.container {
		return m.sum(f.name, "container_id", p.container())
	}
	return m.sum(f.name, "namespace", "shop", "pod", p.Metadata.Name)
}

// agrees says how an agent's figure differs from another's by more than a tenth; began are what they were before.
func (f measure) agrees(p pod, began, now [2]metrics) error {
	cgroups, kubelet := f.of(now[0], p), f.of(now[1], p)
	if f.counter {
		cgroups -= f.of(began[0], p)
		kubelet -= f.of(began[1], p)
	}
	if kubelet == 0 || math.Abs(cgroups-kubelet) > 0.1*cgroups+f.slack {
		return fmt.Errorf("%s of %s: %v by cgroups, %v by the kubelet", f.name, p.Metadata.Name, cgroups, kubelet)
	}
	return nil
}

// kubeletAgrees runs an agent that has the figures of pods from the kubelet alone beside the chart's, which has them from cgroups, and compares what they
// say of the same work.
func kubeletAgrees(ctx context.Context, t *trial) error {
	end, err := t.startBlind(ctx)
	if err != nil {
		return err
	}
	defer end()
	both := func() (list [2]metrics, err error) {
		for i, port := range []string{agentPort, blindPort} {
			if list[i], err = t.scrapeAt(ctx, blindNode, port); err != nil {
				return list, err
			}
		}
		return list, nil
	}
	pods, err := t.running(ctx)
	if err != nil {
		return err
	}
	var began [2]metrics
	err = eventually(ctx, settle, func() error {
		if began, err = both(); err != nil {
			return err
		}
		return t.compare(pods, func(p pod) error {
			if began[1].sum("vetch_pod_memory_working_set_bytes", "namespace", "shop", "pod", p.Metadata.Name) == 0 {
				return fmt.Errorf("the agent without cgroups has no figures of %s", p.Metadata.Name)
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, tail(t.logFile("blind")))
	}
	const requests = 4000
	if _, err := t.job(ctx, "measured", "node2", []string{"-requests", fmt.Sprint(requests), "drive", "http://front.shop.svc.cluster.local/items/1"}); err != nil {
		return err
	}
	return eventually(ctx, settle, func() error {
		now, err := both()
		if err != nil {
			return err
		}
		return t.compare(pods, func(p pod) error {
			var wrong []error
			for _, f := range measures {
				wrong = append(wrong, f.agrees(p, began, now))
			}
			return errors.Join(wrong...)
		})
	})
}

// compare runs a comparison for each of the pods that are on the node of both agents.
func (t *trial) compare(pods []pod, one func(pod) error) error {
	var wrong []error
	compared := 0
	for _, p := range pods {
		if p.Spec.NodeName == blindNode {
			compared++
			wrong = append(wrong, one(p))
		}
	}
	if compared == 0 {
		wrong = append(wrong, errors.New("no pod to compare"))
	}
	return errors.Join(wrong...)
}
