package kube

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vetch-dev/vetch/model"
)

// templateHashes are the labels with what controllers append to their own name to name a ReplicaSet, by the kind of the controller.
var templateHashes = []struct {
	label string
	kind  model.Kind
}{
	{"pod-template-hash", "Deployment"},
	{"rollouts-pod-template-hash", "Rollout"}, // Argo Rollouts
}

// ownerOf is the workload of a pod as far as the pod itself tells: its controller, and above a ReplicaSet the Deployment, above a Job with the time
// in its name the CronJob.
func ownerOf(pod *corev1.Pod) model.Workload {
	owner := controller(pod.OwnerReferences)
	if owner == nil {
		return model.Workload{Namespace: pod.Namespace, Kind: model.KindPod, Name: pod.Name}
	}
	w := model.Workload{Namespace: pod.Namespace, Kind: model.Kind(owner.kind), Name: owner.name}
	switch owner.kind {
	case "ReplicaSet":
		for _, t := range templateHashes {
			if name, ok := strings.CutSuffix(owner.name, "-"+pod.Labels[t.label]); ok && pod.Labels[t.label] != "" {
				w.Kind, w.Name = t.kind, name
			}
		}
	case "Job":
		// The CronJob controller appends the minutes since 1970, which have 8 digits until the year 2160.
		if at := strings.LastIndexByte(owner.name, '-'); at > 0 && len(owner.name)-at == 9 && strings.Trim(owner.name[at+1:], "0123456789") == "" {
			w.Kind, w.Name = "CronJob", owner.name[:at]
		}
	}
	return w
}

// amounts are those of processor and memory in a list.
func amounts(list corev1.ResourceList) (r Resources) {
	if q, ok := list[corev1.ResourceCPU]; ok {
		v := q.AsApproximateFloat64()
		r.CPU = &v
	}
	if q, ok := list[corev1.ResourceMemory]; ok {
		v := q.AsApproximateFloat64()
		r.Memory = &v
	}
	return r
}

func containerResources(pod *corev1.Pod, name string) (requests, limits Resources) {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return amounts(list[i].Resources.Requests), amounts(list[i].Resources.Limits)
			}
		}
	}
	return Resources{}, Resources{}
}

// podResources are what a pod's containers ask for and may use together while it runs: those of the pod itself where it has some, else the sum of its
// containers and sidecars. A pod of which a container has no limit has none.
func podResources(pod *corev1.Pod) (requests, limits Resources) {
	limited := struct{ cpu, memory bool }{true, true}
	add := func(c *corev1.Container) {
		r, l := amounts(c.Resources.Requests), amounts(c.Resources.Limits)
		requests.CPU, requests.Memory = sum(requests.CPU, r.CPU), sum(requests.Memory, r.Memory)
		limits.CPU, limits.Memory = sum(limits.CPU, l.CPU), sum(limits.Memory, l.Memory)
		limited.cpu, limited.memory = limited.cpu && l.CPU != nil, limited.memory && l.Memory != nil
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		if p := pod.Spec.InitContainers[i].RestartPolicy; p != nil && *p == corev1.ContainerRestartPolicyAlways {
			add(&pod.Spec.InitContainers[i])
		}
	}
	if !limited.cpu {
		limits.CPU = nil
	}
	if !limited.memory {
		limits.Memory = nil
	}
	if own := pod.Spec.Resources; own != nil {
		requests, limits = amounts(own.Requests).or(requests), amounts(own.Limits).or(limits)
	}
	return requests, limits
}

func (r Resources) or(other Resources) Resources {
	if r.CPU == nil {
		r.CPU = other.CPU
	}
	if r.Memory == nil {
		r.Memory = other.Memory
	}
	return r
}

func sum(a, b *float64) *float64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	v := *a + *b
	return &v
}

// requestsOn adds up what the pods of a node that have not ended ask for.
func (u *UsageReader) requestsOn(node string) (r Resources) {
	r = Resources{new(float64), new(float64)}
	for _, pod := range u.pods {
		if pod.Spec.NodeName != node || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		requests, _ := podResources(pod)
		r.CPU, r.Memory = sum(r.CPU, requests.CPU), sum(r.Memory, requests.Memory)
	}
	return r
}
