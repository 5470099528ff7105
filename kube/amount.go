package kube

import (
	"time"

	"github.com/vetch-dev/vetch/transport/kubelet"
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

// usageOf is what a part of a kubelet's summary uses.
func usageOf(p *kubelet.Stats) (u Usage) {
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
