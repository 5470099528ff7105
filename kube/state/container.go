package state

import (
	corev1 "k8s.io/api/core/v1"
)

func containerStatuses(p *corev1.Pod) []corev1.ContainerStatus { return p.Status.ContainerStatuses }
func specContainers(p *corev1.Pod) []corev1.Container          { return p.Spec.Containers }
func initStatuses(p *corev1.Pod) []corev1.ContainerStatus      { return p.Status.InitContainerStatuses }
func initContainers(p *corev1.Pod) []corev1.Container          { return p.Spec.InitContainers }

// containers are the families that containers and init containers both have.
func containers(prefix string, statuses func(*corev1.Pod) []corev1.ContainerStatus, spec func(*corev1.Pod) []corev1.Container) []family[*corev1.Pod] {
	status := func(name, help string, emit func(c *corev1.ContainerStatus, e *emitter)) family[*corev1.Pod] {
		return each(prefix+"_status_"+name, help, statuses, emit)
	}
	restarts := status("restarts_total", "How often the container was started again.", func(c *corev1.ContainerStatus, e *emitter) {
		e.add(float64(c.RestartCount), "container", c.Name)
	})
	restarts.counter = true
	return []family[*corev1.Pod]{
		many(prefix+"_info", "The container: what it runs of, and its id.", func(p *corev1.Pod, e *emitter) {
			for _, c := range spec(p) {
				for _, s := range statuses(p) {
					if s.Name == c.Name {
						e.add(1, "container", c.Name, "image_spec", c.Image, "image", s.Image, "image_id", s.ImageID, "container_id", s.ContainerID,
							"restart_policy", initPolicy(prefix, c))
					}
				}
			}
		}),
		status("ready", "Whether the container is ready to serve.", func(c *corev1.ContainerStatus, e *emitter) { e.add(yes(c.Ready), "container", c.Name) }),
		status("running", "Whether the container runs.", func(c *corev1.ContainerStatus, e *emitter) { e.add(yes(c.State.Running != nil), "container", c.Name) }),
		status("waiting", "Whether the container waits to be started.", func(c *corev1.ContainerStatus, e *emitter) { e.add(yes(c.State.Waiting != nil), "container", c.Name) }),
		status("waiting_reason", "Why the container waits.", func(c *corev1.ContainerStatus, e *emitter) {
			if c.State.Waiting != nil {
				e.add(1, "container", c.Name, "reason", c.State.Waiting.Reason)
			}
		}),
		status("terminated", "Whether the container has ended.", func(c *corev1.ContainerStatus, e *emitter) {
			e.add(yes(c.State.Terminated != nil), "container", c.Name)
		}),
		status("terminated_reason", "Why the container has ended.", func(c *corev1.ContainerStatus, e *emitter) {
			if c.State.Terminated != nil {
				e.add(1, "container", c.Name, "reason", c.State.Terminated.Reason)
			}
		}),
		status("last_terminated_reason", "Why the container ended before it was last started again.", func(c *corev1.ContainerStatus, e *emitter) {
			if ended := c.LastTerminationState.Terminated; ended != nil {
				e.add(1, "container", c.Name, "reason", ended.Reason)
			}
		}),
		restarts,
		many(prefix+"_resource_requests", "What is set aside for the container of its node.", func(p *corev1.Pod, e *emitter) {
			for _, c := range spec(p) {
				e.resources(c.Resources.Requests, "container", c.Name, "node", p.Spec.NodeName)
			}
		}),
		many(prefix+"_resource_limits", "What the container may take of its node at most.", func(p *corev1.Pod, e *emitter) {
			for _, c := range spec(p) {
				e.resources(c.Resources.Limits, "container", c.Name, "node", p.Spec.NodeName)
			}
		}),
	}
}

// onlyContainers are the families that init containers do not have.
func onlyContainers() []family[*corev1.Pod] {
	return []family[*corev1.Pod]{
		each("kube_pod_container_state_started", "When the container was started last, in seconds since 1970.", containerStatuses, func(c *corev1.ContainerStatus, e *emitter) {
			switch {
			case c.State.Running != nil:
				e.add(float64(c.State.Running.StartedAt.Unix()), "container", c.Name)
			case c.State.Terminated != nil:
				e.add(float64(c.State.Terminated.StartedAt.Unix()), "container", c.Name)
			}
		}),
		each("kube_pod_container_status_last_terminated_exitcode", "Exit code of the container before it was last started again.", containerStatuses, func(c *corev1.ContainerStatus, e *emitter) {
			if ended := c.LastTerminationState.Terminated; ended != nil {
				e.add(float64(ended.ExitCode), "container", c.Name)
			}
		}),
		each("kube_pod_container_status_last_terminated_timestamp", "When the container ended before it was last started again, in seconds since 1970.", containerStatuses, func(c *corev1.ContainerStatus, e *emitter) {
			if ended := c.LastTerminationState.Terminated; ended != nil {
				e.add(float64(ended.FinishedAt.Unix()), "container", c.Name)
			}
		}),
	}
}

// each is a family of the statuses of containers.
func each(name, help string, statuses func(*corev1.Pod) []corev1.ContainerStatus, emit func(c *corev1.ContainerStatus, e *emitter)) family[*corev1.Pod] {
	return many(name, help, func(p *corev1.Pod, e *emitter) {
		list := statuses(p)
		for i := range list {
			emit(&list[i], e)
		}
	})
}

// initPolicy is how an init container is started again, which makes it a sidecar. The info of other containers has no such label.
func initPolicy(prefix string, c corev1.Container) string {
	if prefix != "kube_pod_init_container" {
		return ""
	}
	return text(c.RestartPolicy)
}
