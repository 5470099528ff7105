package state

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// workload names what all series of a namespaced kind have.
func workload[T object](label string) func(o T) []string {
	return func(o T) []string { return []string{"namespace", o.GetNamespace(), label, o.GetName()} }
}

func deployments(o Options) *Kind {
	const prefix = "kube_deployment"
	families := []family[*appsv1.Deployment]{
		created[*appsv1.Deployment](prefix),
		deleting[*appsv1.Deployment](prefix),
		generation[*appsv1.Deployment](prefix),
		owners[*appsv1.Deployment](prefix, false),
		number(prefix+"_spec_replicas", "Pods that are wanted.", func(d *appsv1.Deployment) float64 { return wanted(d.Spec.Replicas) }),
		number(prefix+"_spec_paused", "Whether changes wait to be rolled out.", func(d *appsv1.Deployment) float64 { return yes(d.Spec.Paused) }),
		many(prefix+"_spec_strategy_rollingupdate_max_unavailable", "Pods that may be missing during a rollout.", func(d *appsv1.Deployment, e *emitter) {
			if r := d.Spec.Strategy.RollingUpdate; r != nil {
				e.share(r.MaxUnavailable, d.Spec.Replicas, false)
			}
		}),
		many(prefix+"_spec_strategy_rollingupdate_max_surge", "Pods that may be there beyond those wanted during a rollout.", func(d *appsv1.Deployment, e *emitter) {
			if r := d.Spec.Strategy.RollingUpdate; r != nil {
				e.share(r.MaxSurge, d.Spec.Replicas, true)
			}
		}),
		number(prefix+"_status_replicas", "Pods that are there.", func(d *appsv1.Deployment) float64 { return float64(d.Status.Replicas) }),
		number(prefix+"_status_replicas_ready", "Pods that are ready.", func(d *appsv1.Deployment) float64 { return float64(d.Status.ReadyReplicas) }),
		number(prefix+"_status_replicas_available", "Pods that have been ready for long enough.", func(d *appsv1.Deployment) float64 { return float64(d.Status.AvailableReplicas) }),
		number(prefix+"_status_replicas_unavailable", "Pods that are missing.", func(d *appsv1.Deployment) float64 { return float64(d.Status.UnavailableReplicas) }),
		number(prefix+"_status_replicas_updated", "Pods of the present version.", func(d *appsv1.Deployment) float64 { return float64(d.Status.UpdatedReplicas) }),
		whole(prefix+"_status_terminating_replicas", "Pods that are ending.", func(d *appsv1.Deployment) *int32 { return d.Status.TerminatingReplicas }),
		number(prefix+"_status_observed_generation", "Version that the controller knows.", func(d *appsv1.Deployment) float64 { return float64(d.Status.ObservedGeneration) }),
		many(prefix+"_status_condition", "Whether a condition of the deployment holds, and why.", func(d *appsv1.Deployment, e *emitter) {
			for _, c := range d.Status.Conditions {
				e.condition("status", c.Status, "condition", string(c.Type), "reason", deploymentReason(c.Reason))
			}
		}),
	}
	families = append(families, chosen[*appsv1.Deployment](prefix, "deployments", o)...)
	return kindOf("deployments", workload[*appsv1.Deployment]("deployment"), families)
}

// deploymentReason keeps the reasons that Kubernetes' own controller gives.
func deploymentReason(reason string) string {
	switch reason {
	case "", "ReplicaSetUpdated", "ReplicaSetCreateError", "NewReplicaSetCreated", "FoundNewReplicaSet", "NewReplicaSetAvailable", "ProgressDeadlineExceeded",
		"DeploymentPaused", "DeploymentResumed", "MinimumReplicasAvailable", "MinimumReplicasUnavailable":
		return reason
	}
	return "unknown"
}

// wanted is 1 where nothing is said, as the API has it.
func wanted(replicas *int32) float64 {
	if replicas == nil {
		return 1
	}
	return float64(*replicas)
}

// share emits a number of pods, or of so many in a hundred.
func (e *emitter) share(of *intstr.IntOrString, replicas *int32, up bool) {
	if of == nil {
		return
	}
	if n, err := intstr.GetScaledValueFromIntOrPercent(of, int(wanted(replicas)), up); err == nil {
		e.add(float64(n))
	}
}

func replicaSets(o Options) *Kind {
	const prefix = "kube_replicaset"
	families := []family[*appsv1.ReplicaSet]{
		created[*appsv1.ReplicaSet](prefix),
		generation[*appsv1.ReplicaSet](prefix),
		owners[*appsv1.ReplicaSet](prefix, true),
		whole(prefix+"_spec_replicas", "Pods that are wanted.", func(r *appsv1.ReplicaSet) *int32 { return r.Spec.Replicas }),
		number(prefix+"_status_replicas", "Pods that are there.", func(r *appsv1.ReplicaSet) float64 { return float64(r.Status.Replicas) }),
		number(prefix+"_status_fully_labeled_replicas", "Pods that have all labels of the template.", func(r *appsv1.ReplicaSet) float64 { return float64(r.Status.FullyLabeledReplicas) }),
		number(prefix+"_status_ready_replicas", "Pods that are ready.", func(r *appsv1.ReplicaSet) float64 { return float64(r.Status.ReadyReplicas) }),
		whole(prefix+"_status_terminating_replicas", "Pods that are ending.", func(r *appsv1.ReplicaSet) *int32 { return r.Status.TerminatingReplicas }),
		number(prefix+"_status_observed_generation", "Version that the controller knows.", func(r *appsv1.ReplicaSet) float64 { return float64(r.Status.ObservedGeneration) }),
	}
	families = append(families, chosen[*appsv1.ReplicaSet](prefix, "replicasets", o)...)
	return kindOf("replicasets", workload[*appsv1.ReplicaSet]("replicaset"), families)
}

func statefulSets(o Options) *Kind {
	const prefix = "kube_statefulset"
	families := []family[*appsv1.StatefulSet]{
		created[*appsv1.StatefulSet](prefix),
		deleting[*appsv1.StatefulSet](prefix),
		generation[*appsv1.StatefulSet](prefix),
		whole(prefix+"_replicas", "Pods that are wanted.", func(s *appsv1.StatefulSet) *int32 { return s.Spec.Replicas }),
		many(prefix+"_ordinals_start", "Number of the first pod.", func(s *appsv1.StatefulSet, e *emitter) {
			if s.Spec.Ordinals != nil {
				e.add(float64(s.Spec.Ordinals.Start))
			}
		}),
		many(prefix+"_persistentvolumeclaim_retention_policy", "What becomes of the claims of pods that are deleted or scaled away.", func(s *appsv1.StatefulSet, e *emitter) {
			if p := s.Spec.PersistentVolumeClaimRetentionPolicy; p != nil && (p.WhenDeleted != "" || p.WhenScaled != "") {
				e.add(1, "when_deleted", string(p.WhenDeleted), "when_scaled", string(p.WhenScaled))
			}
		}),
		number(prefix+"_status_replicas", "Pods that are there.", func(s *appsv1.StatefulSet) float64 { return float64(s.Status.Replicas) }),
		number(prefix+"_status_replicas_available", "Pods that have been ready for long enough.", func(s *appsv1.StatefulSet) float64 { return float64(s.Status.AvailableReplicas) }),
		number(prefix+"_status_replicas_current", "Pods of the version before a rollout.", func(s *appsv1.StatefulSet) float64 { return float64(s.Status.CurrentReplicas) }),
		number(prefix+"_status_replicas_ready", "Pods that are ready.", func(s *appsv1.StatefulSet) float64 { return float64(s.Status.ReadyReplicas) }),
		number(prefix+"_status_replicas_updated", "Pods of the version that is rolled out.", func(s *appsv1.StatefulSet) float64 { return float64(s.Status.UpdatedReplicas) }),
		number(prefix+"_status_observed_generation", "Version that the controller knows.", func(s *appsv1.StatefulSet) float64 { return float64(s.Status.ObservedGeneration) }),
		info(prefix+"_status_current_revision", "The version before a rollout.", func(s *appsv1.StatefulSet) []string { return []string{"revision", s.Status.CurrentRevision} }),
		info(prefix+"_status_update_revision", "The version that is rolled out.", func(s *appsv1.StatefulSet) []string { return []string{"revision", s.Status.UpdateRevision} }),
	}
	families = append(families, chosen[*appsv1.StatefulSet](prefix, "statefulsets", o)...)
	return kindOf("statefulsets", workload[*appsv1.StatefulSet]("statefulset"), families)
}

func daemonSets(o Options) *Kind {
	const prefix = "kube_daemonset"
	families := []family[*appsv1.DaemonSet]{
		created[*appsv1.DaemonSet](prefix),
		deleting[*appsv1.DaemonSet](prefix),
		generation[*appsv1.DaemonSet](prefix),
		number(prefix+"_status_current_number_scheduled", "Nodes that have its pod and should.", func(d *appsv1.DaemonSet) float64 { return float64(d.Status.CurrentNumberScheduled) }),
		number(prefix+"_status_desired_number_scheduled", "Nodes that should have its pod.", func(d *appsv1.DaemonSet) float64 { return float64(d.Status.DesiredNumberScheduled) }),
		number(prefix+"_status_number_available", "Nodes whose pod has been ready for long enough.", func(d *appsv1.DaemonSet) float64 { return float64(d.Status.NumberAvailable) }),
		number(prefix+"_status_number_misscheduled", "Nodes that have its pod and should not.", func(d *appsv1.DaemonSet) float64 { return float64(d.Status.NumberMisscheduled) }),
		number(prefix+"_status_number_ready", "Nodes whose pod is ready.", func(d *appsv1.DaemonSet) float64 { return float64(d.Status.NumberReady) }),
		number(prefix+"_status_number_unavailable", "Nodes whose pod is missing or not ready for long enough.", func(d *appsv1.DaemonSet) float64 { return float64(d.Status.NumberUnavailable) }),
		number(prefix+"_status_updated_number_scheduled", "Nodes that have the pod of the present version.", func(d *appsv1.DaemonSet) float64 { return float64(d.Status.UpdatedNumberScheduled) }),
		number(prefix+"_status_observed_generation", "Version that the controller knows.", func(d *appsv1.DaemonSet) float64 { return float64(d.Status.ObservedGeneration) }),
	}
	families = append(families, chosen[*appsv1.DaemonSet](prefix, "daemonsets", o)...)
	return kindOf("daemonsets", workload[*appsv1.DaemonSet]("daemonset"), families)
}
