package state

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
)

func autoscalers(o Options) *Kind {
	type hpa = autoscalingv2.HorizontalPodAutoscaler
	const prefix = "kube_horizontalpodautoscaler"
	families := []family[*hpa]{
		info(prefix+"_info", "The autoscaler: what it scales.", func(a *hpa) []string {
			to := a.Spec.ScaleTargetRef
			return []string{"scaletargetref_kind", to.Kind, "scaletargetref_name", to.Name, "scaletargetref_api_version", to.APIVersion}
		}),
		created[*hpa](prefix),
		deleting[*hpa](prefix),
		generation[*hpa](prefix),
		number(prefix+"_spec_max_replicas", "Pods that there may be at most.", func(a *hpa) float64 { return float64(a.Spec.MaxReplicas) }),
		number(prefix+"_spec_min_replicas", "Pods that there must be at least.", func(a *hpa) float64 { return wanted(a.Spec.MinReplicas) }),
		many(prefix+"_spec_target_metric", "What a metric is to be brought to.", func(a *hpa, e *emitter) {
			for i := range a.Spec.Metrics {
				if name, t := scaleTarget(&a.Spec.Metrics[i]); t != nil {
					e.scaled(name, t.Value, t.AverageValue, t.AverageUtilization)
				}
			}
		}),
		many(prefix+"_status_target_metric", "What the metric is now.", func(a *hpa, e *emitter) {
			for i := range a.Status.CurrentMetrics {
				if name, v := scaleStatus(&a.Status.CurrentMetrics[i]); v != nil {
					e.scaled(name, v.Value, v.AverageValue, v.AverageUtilization)
				}
			}
		}),
		number(prefix+"_status_current_replicas", "Pods that are there.", func(a *hpa) float64 { return float64(a.Status.CurrentReplicas) }),
		number(prefix+"_status_desired_replicas", "Pods that the autoscaler wants.", func(a *hpa) float64 { return float64(a.Status.DesiredReplicas) }),
		many(prefix+"_status_condition", "Whether a condition of the autoscaler holds.", func(a *hpa, e *emitter) {
			for _, c := range a.Status.Conditions {
				e.condition("status", c.Status, "condition", string(c.Type))
			}
		}),
	}
	families = append(families, chosen[*hpa](prefix, "horizontalpodautoscalers", o)...)
	return kindOf("horizontalpodautoscalers", workload[*hpa]("horizontalpodautoscaler"), families)
}

func (e *emitter) scaled(name string, value, average *resource.Quantity, utilization *int32) {
	if value != nil {
		e.add(amount(*value), "metric_name", name, "metric_target_type", "value")
	}
	if average != nil {
		e.add(amount(*average), "metric_name", name, "metric_target_type", "average")
	}
	if utilization != nil {
		e.add(float64(*utilization), "metric_name", name, "metric_target_type", "utilization")
	}
}

// scaleTarget is the metric that an autoscaler follows, and what it is to be.
func scaleTarget(m *autoscalingv2.MetricSpec) (string, *autoscalingv2.MetricTarget) {
	switch {
	case m.Object != nil:
		return m.Object.Metric.Name, &m.Object.Target
	case m.Pods != nil:
		return m.Pods.Metric.Name, &m.Pods.Target
	case m.Resource != nil:
		return string(m.Resource.Name), &m.Resource.Target
	case m.ContainerResource != nil:
		return string(m.ContainerResource.Name), &m.ContainerResource.Target
	case m.External != nil:
		return m.External.Metric.Name, &m.External.Target
	}
	return "", nil
}

func scaleStatus(m *autoscalingv2.MetricStatus) (string, *autoscalingv2.MetricValueStatus) {
	switch {
	case m.Object != nil:
		return m.Object.Metric.Name, &m.Object.Current
	case m.Pods != nil:
		return m.Pods.Metric.Name, &m.Pods.Current
	case m.Resource != nil:
		return string(m.Resource.Name), &m.Resource.Current
	case m.ContainerResource != nil:
		return string(m.ContainerResource.Name), &m.ContainerResource.Current
	case m.External != nil:
		return m.External.Metric.Name, &m.External.Current
	}
	return "", nil
}
