package state

// PodName is by which name a pod goes on the map: that of its top owner, of whatever kind.
type PodName struct {
	Namespace, Pod, UID, Node  string
	WorkloadKind, WorkloadName string
}

// PodNames is the kind of *PodName. Of the owners that kube_pod_owner names some have owners themselves, and custom resources have no series; this leads
// from a pod to its workload in one step.
func PodNames() *Kind {
	return kindOf("podnames", func(p *PodName) []string {
		return []string{"namespace", p.Namespace, "pod", p.Pod, "uid", p.UID}
	}, []family[*PodName]{
		info("vetch_pod_info", "1, with the workload that the pod belongs to, as it is named on the map, and its node.", func(p *PodName) []string {
			return []string{"node", p.Node, "workload_kind", p.WorkloadKind, "workload", p.WorkloadName}
		}),
	})
}
