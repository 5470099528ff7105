package state

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// rolePrefix is of labels that say what a node is for.
const rolePrefix = "node-role.kubernetes.io/"

func nodes(o Options) *Kind {
	families := []family[*corev1.Node]{
		info("kube_node_info", "The node: its kernel, system, runtime and kubelet.", nodeInfo),
		created[*corev1.Node]("kube_node"),
		deleting[*corev1.Node]("kube_node"),
		many("kube_node_status_addresses", "Addresses and names of the node.", func(n *corev1.Node, e *emitter) {
			for _, a := range n.Status.Addresses {
				e.add(1, "type", string(a.Type), "address", a.Address)
			}
		}),
		many("kube_node_role", "What the node is for.", func(n *corev1.Node, e *emitter) {
			var roles []string
			for name := range n.Labels {
				if role, ok := strings.CutPrefix(name, rolePrefix); ok {
					roles = append(roles, role)
				}
			}
			slices.Sort(roles)
			for _, role := range roles {
				e.add(1, "role", role)
			}
		}),
		many("kube_node_spec_taint", "Taints that keep pods off the node.", func(n *corev1.Node, e *emitter) {
			for _, t := range n.Spec.Taints {
				e.add(1, "key", t.Key, "value", t.Value, "effect", string(t.Effect))
			}
		}),
		number("kube_node_spec_unschedulable", "Whether the node takes no new pods.", func(n *corev1.Node) float64 { return yes(n.Spec.Unschedulable) }),
		many("kube_node_status_condition", "Whether a condition of the node holds.", func(n *corev1.Node, e *emitter) {
			for _, c := range n.Status.Conditions {
				e.condition("status", c.Status, "condition", string(c.Type))
			}
		}),
		many("kube_node_status_capacity", "What the node has.", func(n *corev1.Node, e *emitter) { e.resources(n.Status.Capacity) }),
		many("kube_node_status_allocatable", "What of it pods may take.", func(n *corev1.Node, e *emitter) { e.resources(n.Status.Allocatable) }),
	}
	families = append(families, chosen[*corev1.Node]("kube_node", "nodes", o)...)
	return kindOf("nodes", func(n *corev1.Node) []string { return []string{"node", n.Name} }, families)
}

func nodeInfo(n *corev1.Node) []string {
	i, internal := n.Status.NodeInfo, ""
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			internal = a.Address
		}
	}
	return []string{
		"kernel_version", i.KernelVersion, "os_image", i.OSImage, "container_runtime_version", i.ContainerRuntimeVersion, "kubelet_version", i.KubeletVersion,
		"kubeproxy_version", "deprecated", "provider_id", n.Spec.ProviderID, "pod_cidr", n.Spec.PodCIDR, "system_uuid", i.SystemUUID, "internal_ip", internal,
	}
}

func namespaces(o Options) *Kind {
	families := []family[*corev1.Namespace]{
		created[*corev1.Namespace]("kube_namespace"),
		many("kube_namespace_status_phase", "1 for the phase that the namespace is in, 0 for the other.", func(n *corev1.Namespace, e *emitter) {
			e.oneOf("phase", string(n.Status.Phase), "Active", "Terminating")
		}),
		many("kube_namespace_status_condition", "What keeps the namespace from being deleted.", func(n *corev1.Namespace, e *emitter) {
			for _, c := range n.Status.Conditions {
				e.condition("status", c.Status, "condition", string(c.Type))
			}
		}),
	}
	families = append(families, chosen[*corev1.Namespace]("kube_namespace", "namespaces", o)...)
	return kindOf("namespaces", func(n *corev1.Namespace) []string { return []string{"namespace", n.Name} }, families)
}
