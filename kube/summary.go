package kube

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

// Usage is what something uses now. A field is nil where that is not known.
type Usage struct {
	At         time.Time // when the kubelet measured the processor; zero where it did not
	CPU        *float64  // cores
	WorkingSet *float64  // bytes
	RSS        *float64  // bytes
	Carried    time.Time // when it measured the network
	Received   *float64  // bytes since the network namespace was made
	Sent       *float64
	Ephemeral  *float64 // bytes on the node's disk: writable layers, logs, emptyDir volumes
}

// summary is the answer of a kubelet's /stats/summary, as far as it is read (k8s.io/kubelet/pkg/apis/stats/v1alpha1).
type summary struct {
	Node struct {
		statsPart
		Name string `json:"nodeName"`
	} `json:"node"`
	Pods []struct {
		statsPart
		Ref struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
			UID       string `json:"uid"`
		} `json:"podRef"`
		Ephemeral  *usedBytes `json:"ephemeral-storage"`
		Containers []struct {
			statsPart
			Name   string     `json:"name"`
			Rootfs *usedBytes `json:"rootfs"`
			Logs   *usedBytes `json:"logs"`
		} `json:"containers"`
	} `json:"pods"`
}

type usedBytes struct {
	Used *uint64 `json:"usedBytes"`
}

// statsPart is what nodes, pods and containers have in common.
type statsPart struct {
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

// readSummary reads a kubelet's answer.
func readSummary(r io.Reader) (*summary, error) {
	limited := &io.LimitedReader{R: r, N: maxSummary + 1}
	s := new(summary)
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

func (p *statsPart) usage() (u Usage) {
	if p.CPU != nil {
		u.At, u.CPU = p.CPU.Time, number(p.CPU.UsageNanoCores, 1e9)
	}
	if p.Memory != nil {
		u.WorkingSet, u.RSS = number(p.Memory.WorkingSet, 1), number(p.Memory.RSS, 1)
	}
	if p.Network != nil {
		u.Carried = p.Network.Time
		u.Received, u.Sent = number(p.Network.Received, 1), number(p.Network.Sent, 1)
	}
	return u
}

func number(v *uint64, scale float64) *float64 {
	if v == nil {
		return nil
	}
	f := float64(*v) / scale
	return &f
}

// ephemeral adds up what a container has on the node's disk.
func ephemeral(parts ...*usedBytes) *float64 {
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
