package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/servicemap"
)

// How long a pod may take before somebody should look.
const (
	slowStart   = 2 * time.Minute // pending, or running and not ready
	unplacedFor = 5 * time.Minute // without a node
	nearLimit   = 0.9             // of the memory that a container may take
)

// shape judges a pod and makes it ready for the API.
func (r *reading) shape(f *figures, sp servicemap.Span) Pod {
	s := r.i.services
	p := Pod{
		ID: f.key.id(), Cluster: s.ClusterName(f.key.cluster), Namespace: f.key.namespace, Name: f.key.name, UID: f.key.uid,
		Node: f.node, Phase: f.phase, Status: f.phase, Containers: len(f.containers), IP: f.ip, HostNetwork: f.hostNetwork, Created: f.created,
		Reasons: []string{}, CPUThrottled: tidy(f.throttled), owner: r.follow(f),
		ended: f.phase == "Succeeded" || f.phase == "Failed",
	}
	if p.Node != "" {
		p.NodeID = place{cluster: f.key.cluster, name: p.Node}.id()
	}
	p.Workload = model.Workload{Cluster: f.key.cluster, Namespace: p.Namespace, Kind: model.Kind(p.owner.kind), Name: p.owner.name}.QualifiedID()
	p.CPU, p.Memory = f.resources()
	for name, c := range f.containers {
		p.Restarts += c.restarts
		p.Restarted += f.restarted(name, sp.Start())
		if c.ready {
			p.Ready++
		}
	}
	if names := slices.Sorted(maps.Keys(f.containers)); len(names) > 0 {
		for _, name := range names {
			p.LastEnd = cmp.Or(p.LastEnd, f.containers[name].lastEnd)
		}
	}
	p.judge(f, sp.End())
	return p
}

// restarted is how often a container was started again since the start of the range. Of an older pod that was not known then it is not told.
func (f *figures) restarted(container string, start time.Time) float64 {
	before, known := f.restartedBefore[container]
	if !known && (f.created == nil || f.created.Before(start)) {
		return 0
	}
	return max(0, f.containers[container].restarts-before)
}

// follow is the top owner of a pod: as it was told, else as far as ReplicaSets and Jobs lead, else the pod itself.
func (r *reading) follow(f *figures) owner {
	if f.top != (owner{}) {
		return f.top
	}
	at := place{f.key.cluster, f.key.namespace, f.direct.name}
	switch above := f.direct; above.kind {
	case "ReplicaSet":
		return cmp.Or(r.sets[at], above)
	case "Job":
		return cmp.Or(r.jobs[at], above)
	case "", "Node", "<none>":
		return owner{string(model.KindPod), f.key.name}
	default:
		return above
	}
}

// resources sums what the containers ask for. A pod is limited only where all of its containers are.
func (f *figures) resources() (cpu, memory Resource) {
	cpu.Used, memory.Used = tidy(f.cpuUsed), tidy(f.memoryUsed)
	for _, c := range f.containers {
		for _, one := range []struct {
			from *float64
			to   **float64
		}{{c.cpuRequest, &cpu.Requests}, {c.memRequest, &memory.Requests}, {c.cpuLimit, &cpu.Limits}, {c.memLimit, &memory.Limits}} {
			if one.from != nil {
				add(one.to, *one.from)
			}
		}
	}
	for _, c := range f.containers {
		if c.cpuLimit == nil {
			cpu.Limits = nil
		}
		if c.memLimit == nil {
			memory.Limits = nil
		}
	}
	return cpu, memory
}

// blame adds a reason; the worst one decides.
func (p *Pod) blame(h servicemap.Health, status, reason string) {
	if servicemap.Severity(h) > servicemap.Severity(p.Health) {
		p.Health = h
		p.Status = cmp.Or(status, p.Status)
	}
	p.failing++
	p.Reasons = append(p.Reasons, reason)
}

func (p *Pod) judge(f *figures, now time.Time) {
	p.Health = servicemap.OK
	age := time.Duration(0)
	if f.created != nil {
		age = now.Sub(*f.created)
	}
	switch f.phase {
	case "Succeeded":
		p.Health, p.Status = servicemap.Idle, "Succeeded"
		return
	case "Failed":
		p.blame(servicemap.Warning, cmp.Or(f.endedBy, "Failed"), "it failed"+because(f.endedBy))
		return
	case "Unknown":
		p.blame(servicemap.Warning, "Unknown", "its node does not say how it is")
	}
	p.judgeContainers(f)
	switch {
	case f.phase == "Pending" && f.unschedulable && age > unplacedFor:
		p.blame(servicemap.Critical, "Unschedulable", "no node is found for it since "+sayAge(age))
	case f.phase == "Pending" && f.unschedulable:
		p.blame(servicemap.Warning, "Unschedulable", "no node is found for it")
	case f.phase == "Pending" && p.Health == servicemap.OK && age > slowStart:
		p.blame(servicemap.Warning, "", "it is pending since "+sayAge(age))
	case f.phase == "Running" && f.readyKnown && !f.ready && p.Health == servicemap.OK && age > slowStart:
		p.blame(servicemap.Warning, "NotReady", fmt.Sprintf("%d of %d containers are ready", p.Ready, p.Containers))
	}
	if p.Restarted > 0 {
		last := ""
		if p.LastEnd != "" {
			last = ", last after " + p.LastEnd
		}
		p.blame(servicemap.Warning, "", "it was started again "+sayTimes(p.Restarted)+last)
	}
	if limit := p.Memory.Limits; limit != nil && *limit > 0 && value(p.Memory.Used) >= nearLimit**limit {
		p.blame(servicemap.Warning, "", fmt.Sprintf("its memory is at %.0f %% of its limit", 100**p.Memory.Used / *limit))
	}
}

// judgeContainers blames containers that wait for something other than their turn.
func (p *Pod) judgeContainers(f *figures) {
	for _, name := range slices.Sorted(maps.Keys(f.containers)) {
		switch c := f.containers[name]; {
		case c.state == "waiting" && (strings.HasSuffix(c.reason, "BackOff") || strings.HasPrefix(c.reason, "Err") ||
			strings.HasSuffix(c.reason, "Error") || strings.HasPrefix(c.reason, "Invalid")):
			p.blame(servicemap.Critical, c.reason, fmt.Sprintf("container %s waits: %s", name, c.reason))
		case c.state == "terminated" && c.reason != "Completed" && f.phase == "Running":
			p.blame(servicemap.Warning, c.reason, fmt.Sprintf("container %s ended: %s", name, c.reason))
		}
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func sayTimes(n float64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%.0f times", n)
}

// sayAge writes a length of time for people: "12 min", "3 h", "5 d".
func sayAge(d time.Duration) string {
	switch {
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	default:
		return fmt.Sprintf("%.0f d", d.Hours()/24)
	}
}
