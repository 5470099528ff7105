package kube

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/transport/names"
)

// mirrorOf is the uid that the kubelet itself gives to a pod of its own folder; the cgroup's path has that one.
const mirrorOf = "kubernetes.io/config.mirror"

// maxLabel bounds what of a label is kept; Kubernetes itself allows 63 bytes of a value.
const maxLabel = 128

// pod is what is kept of a pod: about half a kilobyte.
type pod struct {
	uid             types.UID // the API's
	cgroupUID       string    // the one in paths of cgroups
	namespace, name string
	node            string
	owner           *reference
	workload        *names.Workload // what it goes by; nil: not known yet
	addresses       []netip.Addr
	ports           []*names.Port // only in the network of the node
	hostNetwork     bool
	containers      []*names.Container
	labels          map[string]string
	from, until     time.Time
	started         time.Time // when its latest container began to run

	seen      time.Time // when it was first heard of
	published bool
	expired   bool // ended so long ago that the feed has forgotten it
}

// intern keeps one copy of a text that many objects have.
func intern(s string) string { return unique.Make(s).Value() }

// isKept says which labels tell of versions and parts.
func isKept(name string) bool {
	switch name {
	case "app", "k8s-app", "name", "version", "component", "tier", "release", "chart", "pod-template-hash", "controller-revision-hash":
		return true
	}
	return strings.HasPrefix(name, "app.kubernetes.io/")
}

func keepPod(_ string, o runtime.Object) any {
	from, ok := o.(*corev1.Pod)
	if !ok {
		return nil
	}
	p := &pod{
		uid: from.UID, cgroupUID: cmp.Or(from.Annotations[mirrorOf], string(from.UID)), namespace: intern(from.Namespace), name: from.Name,
		node: intern(from.Spec.NodeName), owner: controller(from.OwnerReferences), hostNetwork: from.Spec.HostNetwork,
	}
	for _, ip := range from.Status.PodIPs {
		p.addAddress(ip.IP)
	}
	if len(p.addresses) == 0 {
		p.addAddress(from.Status.PodIP)
	}
	p.keepContainers(from)
	for name, value := range from.Labels {
		if isKept(name) && len(name) <= maxLabel && len(value) <= maxLabel {
			if p.labels == nil {
				p.labels = make(map[string]string)
			}
			p.labels[intern(name)] = intern(value)
		}
	}
	p.from = beginning(from)
	if from.Status.Phase == corev1.PodSucceeded || from.Status.Phase == corev1.PodFailed {
		p.until = ending(from)
	}
	return p
}

func (p *pod) addAddress(text string) {
	if a, err := netip.ParseAddr(text); err == nil && len(p.addresses) < 8 {
		p.addresses = append(p.addresses, a.Unmap())
	}
}

func (p *pod) keepContainers(from *corev1.Pod) {
	ids := make(map[string]string)
	for _, list := range [][]corev1.ContainerStatus{from.Status.InitContainerStatuses, from.Status.ContainerStatuses, from.Status.EphemeralContainerStatuses} {
		for i := range list {
			_, id, _ := strings.Cut(list[i].ContainerID, "://")
			ids[list[i].Name] = id
			if running := list[i].State.Running; running != nil && running.StartedAt.After(p.started) {
				p.started = running.StartedAt.Time
			}
		}
	}
	add := func(name string) {
		p.containers = append(p.containers, &names.Container{Id: ids[name], Name: intern(name)})
	}
	for _, list := range [][]corev1.Container{from.Spec.InitContainers, from.Spec.Containers} {
		for i := range list {
			add(list[i].Name)
			p.keepPorts(list[i].Ports)
		}
	}
	for i := range from.Spec.EphemeralContainers {
		add(from.Spec.EphemeralContainers[i].Name)
	}
}

func (p *pod) keepPorts(list []corev1.ContainerPort) {
	if !p.hostNetwork {
		return
	}
	for _, port := range list {
		p.ports = append(p.ports, &names.Port{Protocol: protocolNumber(port.Protocol), Number: uint32(port.ContainerPort)})
	}
}

// protocolNumber is IANA's; a port without a protocol is TCP.
func protocolNumber(p corev1.Protocol) uint32 {
	switch p {
	case corev1.ProtocolUDP:
		return 17
	case corev1.ProtocolSCTP:
		return 132
	}
	return 6
}

// beginning is when a pod got its addresses, as near as the API tells.
func beginning(p *corev1.Pod) time.Time {
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		if c.Type == corev1.PodReadyToStartContainers && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	if p.Status.StartTime != nil {
		return p.Status.StartTime.Time
	}
	return p.CreationTimestamp.Time
}

// ending is when the last container of a pod ended that has run to its end; zero where that is not told.
func ending(p *corev1.Pod) (at time.Time) {
	for i := range p.Status.ContainerStatuses {
		if ended := p.Status.ContainerStatuses[i].State.Terminated; ended != nil && ended.FinishedAt.After(at) {
			at = ended.FinishedAt.Time
		}
	}
	if at.IsZero() {
		at = beginning(p)
		for i := range p.Status.Conditions {
			if t := p.Status.Conditions[i].LastTransitionTime.Time; t.After(at) {
				at = t
			}
		}
	}
	return at
}

func (c *cluster) putPod(uid types.UID, body any) {
	p, ok := body.(*pod)
	if !ok {
		return
	}
	p.seen = c.received
	if old := c.pods[uid]; old != nil {
		p.seen, p.published, p.expired = old.seen, old.published, old.expired
		if sameOwner(p.owner, old.owner) {
			p.workload = old.workload
		}
		if len(p.addresses) == 0 { // an ended pod may lose them in the API, but it had them
			p.addresses = old.addresses
		}
		if !p.until.IsZero() && !old.until.IsZero() {
			p.until = old.until
		}
		if old.published && !p.from.Equal(old.from) && len(old.addresses) > 0 && slices.Equal(p.addresses, old.addresses) && p.from.After(old.from) {
			p.from = old.from // the same addresses since before
		}
		if p.started.Equal(old.started) {
			p.started = time.Time{} // told of already
		}
	}
	c.pods[uid] = p
	if !p.until.IsZero() {
		c.ending(p)
	}
	c.publishPod(p)
}

func (c *cluster) dropPod(uid types.UID) {
	p := c.pods[uid]
	if p == nil {
		return
	}
	if c.named != nil {
		defer c.series.Delete(c.named, uid) // after what is told of it here for the last time
	}
	if p.expired {
		delete(c.pods, uid)
		return
	}
	if p.until.IsZero() {
		ended := *p
		p = &ended
		p.until = c.now()
		c.pods[uid] = p
	}
	c.publishPod(p)
	c.ending(p)
	c.deleted[uid] = struct{}{}
}
