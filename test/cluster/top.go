package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
)

// usedPod is what a pod uses, of either side.
type usedPod struct {
	cpu    float64 // cores
	memory float64 // bytes of its working set
	disk   float64 // bytes on the disk of its node; summaries only
}

// topAgrees holds what "vetch top" says of every pod against the kubelets' own summaries, read before and after it: it must be within 5 % of either, or
// between both. Kubelets measure anew while that goes on.
func topAgrees(ctx context.Context, t *trial) error {
	binary := t.path("vetch-top")
	if err := buildVetch(ctx, binary); err != nil {
		return err
	}
	defer os.Remove(binary)
	return eventually(ctx, settle, func() error {
		before, err := t.summaries(ctx)
		if err != nil {
			return err
		}
		top, err := t.top(ctx, binary)
		if err != nil {
			return err
		}
		after, err := t.summaries(ctx)
		if err != nil {
			return err
		}
		var wrong []error
		compared := 0
		for name := range t.shop.pods {
			got, ok := top["shop/"+name]
			a, b := before["shop/"+name], after["shop/"+name]
			if a.memory == 0 || b.memory == 0 {
				continue // it has ended, or was not measured yet
			}
			if compared++; !ok {
				wrong = append(wrong, fmt.Errorf("vetch top does not show %s", name))
				continue
			}
			if !near(got.memory, a.memory, b.memory) {
				wrong = append(wrong, fmt.Errorf("%s: working set of %v, and not of %v or %v", name, got.memory, a.memory, b.memory))
			}
			if !near(got.cpu, a.cpu, b.cpu) {
				wrong = append(wrong, fmt.Errorf("%s: %v cores, and not %v or %v", name, got.cpu, a.cpu, b.cpu))
			}
		}
		if running := len(t.shop.of("front")) + len(t.shop.of("catalog")); compared < running {
			wrong = append(wrong, fmt.Errorf("only %d pods to compare", compared))
		}
		return errors.Join(wrong...)
	})
}

// buildVetch builds the program of this repository.
func buildVetch(ctx context.Context, to string) error {
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", to, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("build vetch: %w\n%s", err, out)
	}
	return nil
}

// near reports whether a value is within 5 % of the range of two others.
func near(v, a, b float64) bool {
	return v >= math.Min(a, b)*0.95 && v <= math.Max(a, b)*1.05
}

// summaries reads the summary of each kubelet by kubectl, by namespace and name of the pod.
func (t *trial) summaries(ctx context.Context) (map[string]usedPod, error) {
	used := map[string]usedPod{}
	for _, node := range nodeNames {
		text, err := t.kubectl(ctx, "get", "--raw", "/api/v1/nodes/"+node+"/proxy/stats/summary")
		if err != nil {
			return nil, err
		}
		var s struct {
			Pods []struct {
				PodRef struct{ Name, Namespace string }
				CPU    struct{ UsageNanoCores float64 }
				Memory struct{ WorkingSetBytes float64 }
				Disk   struct{ UsedBytes float64 } `json:"ephemeral-storage"`
			}
		}
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			return nil, fmt.Errorf("read the summary of %s: %w", node, err)
		}
		for _, p := range s.Pods {
			used[p.PodRef.Namespace+"/"+p.PodRef.Name] = usedPod{p.CPU.UsageNanoCores / 1e9, p.Memory.WorkingSetBytes, p.Disk.UsedBytes}
		}
	}
	return used, nil
}

// top runs "vetch top pods --once -o json".
func (t *trial) top(ctx context.Context, binary string) (map[string]usedPod, error) {
	cmd := exec.CommandContext(ctx, filepath.Clean(binary), "top", "pods", "--kubeconfig", t.kubeconfig(), "--once", "-o", "json")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("vetch top: %w", err)
	}
	var d struct {
		Nodes []struct {
			Name    string
			Answers bool
		}
		Rows []struct {
			Namespace, Name string
			CPU             float64 `json:"cpu_cores"`
			Memory          float64 `json:"memory_working_set_bytes"`
		}
	}
	if err := json.Unmarshal(out, &d); err != nil {
		return nil, fmt.Errorf("read what vetch top says: %w", err)
	}
	if len(d.Nodes) != len(nodeNames) {
		return nil, fmt.Errorf("vetch top shows %d nodes", len(d.Nodes))
	}
	used := map[string]usedPod{}
	for _, n := range d.Nodes {
		if !n.Answers {
			return nil, fmt.Errorf("%s does not answer vetch top", n.Name)
		}
	}
	for _, r := range d.Rows {
		used[r.Namespace+"/"+r.Name] = usedPod{cpu: r.CPU, memory: r.Memory}
	}
	return used, nil
}

// besideKubelets compares until it agrees: what the kubelets say of pods, by namespace/name, and what the agents do, by node.
func (t *trial) besideKubelets(ctx context.Context, compare func(said map[string]usedPod, all map[string]metrics) error) error {
	return eventually(ctx, settle, func() error {
		said, err := t.summaries(ctx)
		if err != nil {
			return err
		}
		all, err := t.scrape(ctx)
		if err != nil {
			return err
		}
		return compare(said, all)
	})
}

// agentsMeasure holds that the agent of each node, and no other, shows what the shop's containers use, and that it is about what the kubelet says.
func agentsMeasure(ctx context.Context, t *trial) error {
	return t.besideKubelets(ctx, func(said map[string]usedPod, all map[string]metrics) error {
		var wrong []error
		for name, p := range t.shop.pods {
			if said["shop/"+name].memory == 0 {
				continue // it has ended
			}
			for node, m := range all {
				pod := m.sum("vetch_pod_memory_working_set_bytes", "namespace", "shop", "pod", name)
				container := m.sum("container_resources_memory_working_set_bytes", "container_id", p.container())
				switch {
				case node != p.Spec.NodeName && pod+container != 0:
					wrong = append(wrong, fmt.Errorf("%s measures %s of another node", node, name))
				case node == p.Spec.NodeName && (container == 0 || container > pod):
					wrong = append(wrong, fmt.Errorf("%s: %v bytes in %s, of which %v in its container", node, pod, name, container))
				case node == p.Spec.NodeName && math.Abs(pod-said["shop/"+name].memory) > 0.1*pod:
					wrong = append(wrong, fmt.Errorf("%s: %v bytes in %s, the kubelet says %v", node, pod, name, said["shop/"+name].memory))
				}
			}
		}
		return errors.Join(wrong...)
	})
}
