// Package kubelet asks the kubelet of a node what its pods use: /stats/summary and /metrics/cadvisor.
package kubelet

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// The bounds of what one kubelet may say.
const (
	maxSummary    = 64 << 20
	maxPods       = 5000 // of one node
	maxContainers = 200  // of one pod
)

// Summary is the answer of a kubelet's /stats/summary, as far as it is read (k8s.io/kubelet/pkg/apis/stats/v1alpha1).
type Summary struct {
	Node struct {
		Stats
		Name string `json:"nodeName"`
	} `json:"node"`
	Pods []struct {
		Stats
		Ref struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
			UID       string `json:"uid"`
		} `json:"podRef"`
		Ephemeral  *Space `json:"ephemeral-storage"`
		Containers []struct {
			Stats
			Name   string `json:"name"`
			Rootfs *Space `json:"rootfs"`
			Logs   *Space `json:"logs"`
		} `json:"containers"`
	} `json:"pods"`
}

// Space is what something takes on a disk; nil where the kubelet has not measured it.
type Space struct {
	Used *uint64 `json:"usedBytes"`
}

// Stats are what nodes, pods and containers have in common.
type Stats struct {
	CPU *struct {
		Time           time.Time `json:"time"`
		UsageNanoCores *uint64   `json:"usageNanoCores"`
	} `json:"cpu"`
	Memory *struct {
		WorkingSet *uint64 `json:"workingSetBytes"`
		RSS        *uint64 `json:"rssBytes"`
	} `json:"memory"`
	Network *struct {
		Time     time.Time `json:"time"`
		Received *uint64   `json:"rxBytes"`
		Sent     *uint64   `json:"txBytes"`
	} `json:"network"`
}

// ReadSummary reads a kubelet's answer, which it bounds.
func ReadSummary(r io.Reader) (*Summary, error) {
	limited := &io.LimitedReader{R: r, N: maxSummary + 1}
	s := new(Summary)
	err := json.NewDecoder(limited).Decode(s)
	switch {
	case limited.N <= 0:
		return nil, fmt.Errorf("read the kubelet's summary: more than %d MiB", maxSummary>>20)
	case err != nil:
		return nil, fmt.Errorf("read the kubelet's summary: %w", err)
	case len(s.Pods) > maxPods:
		return nil, fmt.Errorf("read the kubelet's summary: %d pods", len(s.Pods))
	}
	for i := range s.Pods {
		if n := len(s.Pods[i].Containers); n > maxContainers {
			return nil, fmt.Errorf("read the kubelet's summary: %d containers in one pod", n)
		}
	}
	return s, nil
}

// Sum adds up spaces, such as those that a container has on the node's disk; nil where none is known.
func Sum(parts ...*Space) *float64 {
	var sum *float64
	for _, p := range parts {
		if p == nil || p.Used == nil {
			continue
		}
		if sum == nil {
			sum = new(float64)
		}
		*sum += float64(*p.Used)
	}
	return sum
}
