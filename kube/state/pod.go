package state

import (
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func pods(o Options) *Kind {
	families := []family[*corev1.Pod]{
		info("kube_pod_info", "The pod: where it runs, under which addresses, and what made it.", podInfo),
		many("kube_pod_ips", "Addresses of the pod.", podAddresses),
		owners[*corev1.Pod]("kube_pod", true),
		created[*corev1.Pod]("kube_pod"),
		deleting[*corev1.Pod]("kube_pod"),
		moment("kube_pod_start_time", "When the kubelet took the pod, in seconds since 1970.", func(p *corev1.Pod) *metav1.Time { return p.Status.StartTime }),
		moment("kube_pod_completion_time", "When the last container of the pod ended, in seconds since 1970.", podCompletion),
		info("kube_pod_restart_policy", "When containers of the pod are started again.", func(p *corev1.Pod) []string { return []string{"type", string(p.Spec.RestartPolicy)} }),
		info("kube_pod_service_account", "Service account of the pod.", func(p *corev1.Pod) []string { return []string{"service_account", p.Spec.ServiceAccountName} }),
		info("kube_pod_scheduler", "Scheduler of the pod.", func(p *corev1.Pod) []string { return []string{"name", p.Spec.SchedulerName} }),
		many("kube_pod_runtimeclass_name_info", "Runtime class of the pod, where it has one.", func(p *corev1.Pod, e *emitter) {
			if p.Spec.RuntimeClassName != nil {
				e.add(1, "runtimeclass_name", *p.Spec.RuntimeClassName)
			}
		}),
		many("kube_pod_overhead_cpu_cores", "CPU that the pod takes beside its containers.", func(p *corev1.Pod, e *emitter) {
			if q, ok := p.Spec.Overhead[corev1.ResourceCPU]; ok {
				e.add(amount(q))
			}
		}),
		many("kube_pod_overhead_memory_bytes", "Memory that the pod takes beside its containers.", func(p *corev1.Pod, e *emitter) {
			if q, ok := p.Spec.Overhead[corev1.ResourceMemory]; ok {
				e.add(float64(q.Value()))
			}
		}),
		many("kube_pod_tolerations", "Taints that the pod does not mind.", podTolerations),
	}
	families = append(families, podStatus()...)
	families = append(families, containers("kube_pod_container", containerStatuses, specContainers)...)
	families = append(families, onlyContainers()...)
	families = append(families, containers("kube_pod_init_container", initStatuses, initContainers)...)
	families = append(families,
		many("kube_pod_spec_volumes_persistentvolumeclaims_info", "Claims that the pod mounts.", func(p *corev1.Pod, e *emitter) {
			podClaims(p, func(v, claim string, _ bool) { e.add(1, "volume", v, "persistentvolumeclaim", claim) })
		}),
		many("kube_pod_spec_volumes_persistentvolumeclaims_readonly", "Whether a claim is mounted read-only.", func(p *corev1.Pod, e *emitter) {
			podClaims(p, func(v, claim string, readOnly bool) {
				e.add(yes(readOnly), "volume", v, "persistentvolumeclaim", claim)
			})
		}),
	)
	families = append(families, chosen[*corev1.Pod]("kube_pod", "pods", o)...)
	return kindOf("pods", func(p *corev1.Pod) []string {
		return []string{"namespace", p.Namespace, "pod", p.Name, "uid", string(p.UID)}
	}, families)
}

func podInfo(p *corev1.Pod) []string {
	pairs := []string{
		"host_ip", p.Status.HostIP, "pod_ip", p.Status.PodIP, "node", p.Spec.NodeName, "priority_class", p.Spec.PriorityClassName,
		"host_network", strconv.FormatBool(p.Spec.HostNetwork),
	}
	if owner := metav1.GetControllerOfNoCopy(p); owner != nil {
		pairs = append(pairs, "created_by_kind", owner.Kind, "created_by_name", owner.Name)
	}
	return pairs
}

func podAddresses(p *corev1.Pod, e *emitter) {
	for _, ip := range p.Status.PodIPs {
		a, err := netip.ParseAddr(ip.IP)
		switch {
		case err != nil:
		case a.Is4() || a.Is4In6():
			e.add(1, "ip", ip.IP, "ip_family", "4")
		default:
			e.add(1, "ip", ip.IP, "ip_family", "6")
		}
	}
}

func podCompletion(p *corev1.Pod) *metav1.Time {
	var last *metav1.Time
	for i := range p.Status.ContainerStatuses {
		if ended := p.Status.ContainerStatuses[i].State.Terminated; ended != nil && (last == nil || last.Before(&ended.FinishedAt)) {
			last = &ended.FinishedAt
		}
	}
	return last
}

func podTolerations(p *corev1.Pod, e *emitter) {
	for _, t := range p.Spec.Tolerations {
		seconds := ""
		if t.TolerationSeconds != nil {
			seconds = strconv.FormatInt(*t.TolerationSeconds, 10)
		}
		e.add(1, "key", t.Key, "operator", string(t.Operator), "value", t.Value, "effect", string(t.Effect), "toleration_seconds", seconds)
	}
}

func podClaims(p *corev1.Pod, emit func(volume, claim string, readOnly bool)) {
	for i := range p.Spec.Volumes {
		if c := p.Spec.Volumes[i].PersistentVolumeClaim; c != nil {
			emit(p.Spec.Volumes[i].Name, c.ClaimName, c.ReadOnly)
		}
	}
}

// podStatus are the families of what has become of a pod.
func podStatus() []family[*corev1.Pod] {
	since := func(name, help string, kind corev1.PodConditionType, status corev1.ConditionStatus) family[*corev1.Pod] {
		return moment(name, help, func(p *corev1.Pod) *metav1.Time {
			if c := podCondition(p, kind); c != nil && c.Status == status {
				return &c.LastTransitionTime
			}
			return nil
		})
	}
	condition := func(name, help string, kind corev1.PodConditionType) family[*corev1.Pod] {
		return many(name, help, func(p *corev1.Pod, e *emitter) {
			if c := podCondition(p, kind); c != nil {
				e.condition("condition", c.Status)
			}
		})
	}
	return []family[*corev1.Pod]{
		many("kube_pod_status_phase", "1 for the phase that the pod is in, 0 for the others.", func(p *corev1.Pod, e *emitter) {
			if p.Status.Phase != "" {
				e.oneOf("phase", string(p.Status.Phase), "Pending", "Running", "Succeeded", "Failed", "Unknown")
			}
		}),
		many("kube_pod_status_qos_class", "1 for the class of service of the pod, 0 for the others.", func(p *corev1.Pod, e *emitter) {
			if p.Status.QOSClass != "" {
				e.oneOf("qos_class", string(p.Status.QOSClass), "BestEffort", "Burstable", "Guaranteed")
			}
		}),
		many("kube_pod_status_reason", "1 for the reason why the pod ended, 0 for the others.", func(p *corev1.Pod, e *emitter) {
			for _, reason := range []string{"Evicted", "NodeAffinity", "NodeLost", "Shutdown", "UnexpectedAdmissionError"} {
				e.add(yes(podEndedBy(p, reason)), "reason", reason)
			}
		}),
		condition("kube_pod_status_ready", "Whether the pod is ready to serve.", corev1.PodReady),
		condition("kube_pod_status_scheduled", "Whether the pod has a node.", corev1.PodScheduled),
		since("kube_pod_status_ready_time", "Since when the pod is ready, in seconds since 1970.", corev1.PodReady, corev1.ConditionTrue),
		since("kube_pod_status_initialized_time", "When the pod's init containers had ended, in seconds since 1970.", corev1.PodInitialized, corev1.ConditionTrue),
		since("kube_pod_status_container_ready_time", "Since when all containers of the pod are ready, in seconds since 1970.", corev1.ContainersReady, corev1.ConditionTrue),
		since("kube_pod_status_scheduled_time", "When the pod was given a node, in seconds since 1970.", corev1.PodScheduled, corev1.ConditionTrue),
		since("kube_pod_status_unscheduled_time", "Since when no node is found for the pod, in seconds since 1970.", corev1.PodScheduled, corev1.ConditionFalse),
		many("kube_pod_status_unschedulable", "1 while no node is found for the pod.", func(p *corev1.Pod, e *emitter) {
			if c := podCondition(p, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionFalse {
				e.add(1)
			}
		}),
	}
}

func podCondition(p *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == kind {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

func podEndedBy(p *corev1.Pod, reason string) bool {
	return p.Status.Reason == reason ||
		slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Reason == reason }) ||
		slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
			return c.State.Terminated != nil && c.State.Terminated.Reason == reason
		})
}
