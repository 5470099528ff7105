package inventory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/servicemap"
)

// Nodes answers /api/nodes: all nodes at the end of the range, those with most trouble first. Errors: as of servicemap.Service.Map.
func (i *Inventory) Nodes(ctx context.Context, q servicemap.Query) (*NodeList, error) {
	pods, err := i.allPods(ctx, q)
	if err != nil {
		return nil, err
	}
	return servicemap.Answer(ctx, i.services, servicemap.Asked{Answer: "nodes", Query: q, Default: DefaultRange},
		func(ctx context.Context, sp servicemap.Span) (*NodeList, int, error) {
			nodes, err := i.readNodes(ctx, sp, selection{}, pods)
			if err != nil {
				return nil, 0, err
			}
			return &NodeList{Start: sp.Start().UTC(), End: sp.End().UTC(), Nodes: nodes}, 2 * len(nodes), nil
		})
}

// Node answers /api/node. Errors: servicemap.ErrNotFound, and those of Nodes.
func (i *Inventory) Node(ctx context.Context, id string, q servicemap.Query) (*NodeDetail, error) {
	at, err := i.parse(id, 1, "node, or cluster:node")
	if err != nil {
		return nil, err
	}
	pods, err := i.allPods(ctx, q)
	if err != nil {
		return nil, err
	}
	return servicemap.Answer(ctx, i.services, servicemap.Asked{Answer: "node", Query: q, Default: DefaultRange, Detail: at.id()},
		func(ctx context.Context, sp servicemap.Span) (*NodeDetail, int, error) {
			s := selection{[]string{i.services.ClusterMatcher(at.cluster), is("node", at.name)}}
			nodes, err := i.readNodes(ctx, sp, s, pods)
			if err != nil {
				return nil, 0, err
			}
			n := slices.IndexFunc(nodes, func(n Node) bool { return n.ID == at.id() })
			if n < 0 {
				return nil, 0, fmt.Errorf("%w: no node %q at %s; take a time at which it was there", servicemap.ErrNotFound, at.id(), sp.End().UTC().Format(time.RFC3339))
			}
			d := &NodeDetail{Start: sp.Start().UTC(), End: sp.End().UTC(), Node: nodes[n]}
			d.Charts, err = i.charts(ctx, sp, nodeCharts(s, selection{s.matchers[:1]}))
			return d, 30, err
		})
}

// readNodes asks for the nodes of a selection. What pods request of them is in the list of pods.
func (i *Inventory) readNodes(ctx context.Context, sp servicemap.Span, s selection, pods *PodList) ([]Node, error) {
	r := &nodeReading{i: i, nodes: map[place]*Node{}}
	if err := i.services.Ask(ctx, sp.End(), slices.Concat(r.objectQuestions(s), r.machineQuestions(s, window(sp)))); err != nil {
		return nil, err
	}
	byID := make(map[string]*Node, len(r.nodes))
	for _, n := range r.nodes {
		byID[n.ID] = n
	}
	for k := range pods.Pods {
		p := &pods.Pods[k]
		if n := byID[p.NodeID]; n != nil && !p.ended {
			n.Pods++
			addTo(&n.CPU, &p.CPU)
			addTo(&n.Memory, &p.Memory)
		}
	}
	failing := map[string]int{}
	out := make([]Node, 0, len(r.nodes))
	for _, n := range r.nodes {
		n.judge()
		n.tidy()
		failing[n.ID] = len(n.Reasons)
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b Node) int {
		return cmp.Or(
			servicemap.Severity(b.Health)-servicemap.Severity(a.Health), cmp.Compare(failing[b.ID], failing[a.ID]),
			cmp.Compare(share(b.CPU), share(a.CPU)), cmp.Compare(a.ID, b.ID),
		)
	})
	return out, nil
}

// addTo adds what a pod asks for to its node.
func addTo(n, pod *Resource) {
	if pod.Requests != nil {
		add(&n.Requests, *pod.Requests)
	}
	if pod.Limits != nil {
		add(&n.Limits, *pod.Limits)
	}
}

func share(r Resource) float64 {
	if of := cmp.Or(value(r.Capacity), value(r.Allocatable)); of > 0 {
		return value(r.Used) / of
	}
	return 0
}

type nodeReading struct {
	i     *Inventory
	nodes map[place]*Node
}

func (r *nodeReading) node(ls labels.Labels) *Node {
	at := place{cluster: r.i.services.Cluster(ls), name: ls.Get("node")}
	n := r.nodes[at]
	if n == nil {
		n = &Node{
			ID: at.id(), Cluster: r.i.services.ClusterName(at.cluster), Name: at.name,
			Reasons: []string{}, Roles: []string{}, IPs: []string{}, Conditions: map[string]string{},
		}
		r.nodes[at] = n
	}
	return n
}

func (r *nodeReading) ask(expr string, fill func(n *Node, ls labels.Labels, v float64)) servicemap.Question {
	return servicemap.Question{Expr: expr, Fill: func(ls labels.Labels, v float64) {
		if ls.Get("node") != "" {
			fill(r.node(ls), ls, v)
		}
	}}
}

// addIP adds an address of a node, unless it is there.
func (n *Node) addIP(text string) {
	if text == "" || slices.Contains(n.IPs, text) {
		return
	}
	n.IPs = append(n.IPs, text)
	slices.SortFunc(n.IPs, func(a, b string) int {
		x, _ := netip.ParseAddr(a) // what is none goes first
		y, _ := netip.ParseAddr(b)
		return x.Compare(y)
	})
}

const nodeLabels = "cluster,node"

// objectQuestions ask what the watcher tells.
func (r *nodeReading) objectQuestions(s selection) []servicemap.Question {
	amount := func(metric, resource string, fill func(n *Node, v float64)) servicemap.Question {
		return r.ask(maxBy(nodeLabels, s.of(metric, is("resource", resource))), func(n *Node, _ labels.Labels, v float64) { fill(n, v) })
	}
	const capacity, allocatable = "kube_node_status_capacity", "kube_node_status_allocatable"
	return []servicemap.Question{
		r.ask(maxBy(nodeLabels+",kernel_version,os_image,container_runtime_version,kubelet_version,internal_ip", s.of("kube_node_info")), func(n *Node, ls labels.Labels, _ float64) {
			n.Kubernetes, n.Version, n.Kernel, n.System = true, ls.Get("kubelet_version"), ls.Get("kernel_version"), ls.Get("os_image")
			n.Runtime = ls.Get("container_runtime_version")
			n.addIP(ls.Get("internal_ip"))
		}),
		// The label above has one address, the last of them: of two families that of the second.
		r.ask(maxBy(nodeLabels+",address", s.of("kube_node_status_addresses", is("type", "InternalIP"))), func(n *Node, ls labels.Labels, _ float64) { n.addIP(ls.Get("address")) }),
		r.ask(maxBy(nodeLabels, s.of("kube_node_created")), func(n *Node, _ labels.Labels, v float64) { n.Created = moment(v) }),
		r.ask(maxBy(nodeLabels+",role", s.of("kube_node_role")), func(n *Node, ls labels.Labels, _ float64) {
			n.Roles = append(n.Roles, ls.Get("role"))
			slices.Sort(n.Roles)
		}),
		r.ask(maxBy(nodeLabels, s.of("kube_node_spec_unschedulable")), func(n *Node, _ labels.Labels, v float64) { n.Unschedulable = v == 1 }),
		r.ask(maxBy(nodeLabels+",condition,status", s.of("kube_node_status_condition")+" == 1"), func(n *Node, ls labels.Labels, _ float64) {
			n.Conditions[ls.Get("condition")] = ls.Get("status")
		}),
		amount(capacity, "cpu", func(n *Node, v float64) { n.CPU.Capacity = &v }),
		amount(capacity, "memory", func(n *Node, v float64) { n.Memory.Capacity = &v }),
		amount(allocatable, "cpu", func(n *Node, v float64) { n.CPU.Allocatable = &v }),
		amount(allocatable, "memory", func(n *Node, v float64) { n.Memory.Allocatable = &v }),
		amount(allocatable, "pods", func(n *Node, v float64) { n.PodLimit = &v }),
	}
}

// busyModes are what a processor does when it works.
const busyModes = `mode!~"idle|iowait"`

// machineQuestions ask what the agent of the node measures.
func (r *nodeReading) machineQuestions(s selection, over time.Duration) []servicemap.Question {
	figure := func(expr string, fill func(n *Node, v float64)) servicemap.Question {
		return r.ask(expr, func(n *Node, _ labels.Labels, v float64) {
			n.Watched = true
			fill(n, v)
		})
	}
	total := func(metric string, fill func(n *Node) **float64, more ...string) servicemap.Question {
		return figure(sumBy(nodeLabels, rate(s.of(metric, more...), over)), func(n *Node, v float64) { *fill(n) = &v })
	}
	memory := func(name string) string { return maxBy(nodeLabels, s.of("node_resources_memory_"+name+"_bytes")) }
	filled := func(share string) servicemap.Question {
		return figure(maxBy(nodeLabels, share+" unless "+s.of("node_filesystem_readonly")+" == 1"), func(n *Node, v float64) {
			if n.DiskUsed == nil || v > *n.DiskUsed {
				n.DiskUsed = &v
			}
		})
	}
	filesystem := func(name string) string { return s.of("node_filesystem_" + name) }
	used := "(" + filesystem("size_bytes") + " - " + filesystem("free_bytes") + ")"
	return []servicemap.Question{
		filled(used + " / (" + used + " + " + filesystem("avail_bytes") + ")"), // as df(1) has it: of what others than root may have
		filled("1 - " + filesystem("files_free") + " / " + filesystem("files")),
		total("node_resources_cpu_usage_seconds_total", func(n *Node) **float64 { return &n.CPU.Used }, busyModes),
		figure(maxBy(nodeLabels, s.of("node_resources_cpu_logical_cores")), func(n *Node, v float64) { n.CPU.Capacity = cmp.Or(n.CPU.Capacity, &v) }),
		figure(memory("total"), func(n *Node, v float64) { n.Memory.Capacity = cmp.Or(n.Memory.Capacity, &v) }),
		figure(memory("total")+" - "+memory("available"), func(n *Node, v float64) { n.Memory.Used = &v }),
		figure(maxBy(nodeLabels, rate(s.of("node_resources_disk_io_time_seconds_total"), over)), func(n *Node, v float64) { n.DiskBusy = &v }),
		total("node_resources_disk_read_bytes_total", func(n *Node) **float64 { return &n.DiskReadRate }),
		total("node_resources_disk_written_bytes_total", func(n *Node) **float64 { return &n.DiskWriteRate }),
		total("node_net_received_bytes_total", func(n *Node) **float64 { return &n.NetInRate }),
		total("node_net_transmitted_bytes_total", func(n *Node) **float64 { return &n.NetOutRate }),
		figure(maxBy(nodeLabels, s.of("node_uptime_seconds")), func(n *Node, v float64) { n.UptimeSeconds = &v }),
		r.ask(maxBy(nodeLabels+",kernel_version", s.of("node_info")), func(n *Node, ls labels.Labels, _ float64) { n.Kernel = cmp.Or(n.Kernel, ls.Get("kernel_version")) }),
	}
}

func (n *Node) tidy() {
	for _, v := range []**float64{
		&n.UptimeSeconds, &n.DiskBusy, &n.DiskUsed, &n.DiskReadRate, &n.DiskWriteRate, &n.NetInRate, &n.NetOutRate, &n.PodLimit,
		&n.CPU.Capacity, &n.CPU.Allocatable, &n.CPU.Requests, &n.CPU.Limits, &n.CPU.Used,
		&n.Memory.Capacity, &n.Memory.Allocatable, &n.Memory.Requests, &n.Memory.Limits, &n.Memory.Used,
	} {
		*v = tidy(*v)
	}
}

// From which share of its use on a node is short of something.
const (
	fullMemory, almostFullMemory = 0.97, 0.92
	fullCPU                      = 0.95
	fullDisk, almostFullDisk     = 0.97, 0.90
)

func (n *Node) judge() {
	n.Health = servicemap.OK
	blame := func(h servicemap.Health, reason string) {
		if servicemap.Severity(h) > servicemap.Severity(n.Health) {
			n.Health = h
		}
		n.Reasons = append(n.Reasons, reason)
	}
	switch n.Conditions["Ready"] {
	case "false":
		blame(servicemap.Critical, "it is not ready")
	case "unknown":
		blame(servicemap.Critical, "the cluster does not hear from it")
	}
	for _, condition := range slices.Sorted(maps.Keys(n.Conditions)) {
		if condition != "Ready" && n.Conditions[condition] == "true" {
			blame(servicemap.Warning, "it reports "+condition)
		}
	}
	switch used := share(n.Memory); {
	case used >= fullMemory:
		blame(servicemap.Critical, fmt.Sprintf("%.0f %% of its memory is in use", 100*used))
	case used >= almostFullMemory:
		blame(servicemap.Warning, fmt.Sprintf("%.0f %% of its memory is in use", 100*used))
	}
	if used := share(n.CPU); used >= fullCPU {
		blame(servicemap.Warning, fmt.Sprintf("its processors are %.0f %% busy", 100*min(1, used)))
	}
	if n.DiskUsed != nil && *n.DiskUsed >= almostFullDisk {
		h := servicemap.Warning
		if *n.DiskUsed >= fullDisk {
			h = servicemap.Critical
		}
		blame(h, fmt.Sprintf("a file system of it is %.0f %% full", 100**n.DiskUsed))
	}
}
