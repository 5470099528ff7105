package inventory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/servicemap"
)

// Bounds of a list of pods.
const (
	DefaultPods = 5000
	MaxPods     = 20_000
)

// PodFilter chooses pods; what is empty chooses all.
type PodFilter struct {
	Cluster   string // name
	Namespace string
	Node      string // id
	Workload  string // id
	Limit     int    // 0: DefaultPods
}

// Pods answers /api/pods: the pods at the end of the range that are chosen, those with most trouble first. Errors: as of servicemap.Service.Map.
func (i *Inventory) Pods(ctx context.Context, q servicemap.Query, f PodFilter) (*PodList, error) {
	if f.Limit < 0 || f.Limit > MaxPods {
		return nil, fmt.Errorf("%w: limit %d is not between 1 and %d", servicemap.ErrBadQuery, f.Limit, MaxPods)
	}
	if f.Workload != "" {
		w, ok := model.ParseID(f.Workload)
		if !ok || len(f.Workload) > maxID {
			return nil, fmt.Errorf("%w: the id %.100q of the workload is not of the form namespace/kind/name", servicemap.ErrBadQuery, f.Workload)
		}
		f.Workload = i.services.Away(w).QualifiedID()
	}
	if f.Node != "" {
		n, err := i.parse(f.Node, 1, "node, or cluster:node")
		if err != nil {
			return nil, err
		}
		f.Node = n.id()
	}
	all, err := i.allPods(ctx, q)
	if err != nil || f == (PodFilter{}) && len(all.Pods) <= DefaultPods {
		return all, err
	}
	return servicemap.Answer(ctx, i.services, servicemap.Asked{Answer: "pods", Query: q, Default: DefaultRange, Detail: fmt.Sprintf("%q %q %q %q %d", f.Cluster, f.Namespace, f.Node, f.Workload, f.Limit)},
		func(context.Context, servicemap.Span) (*PodList, int, error) {
			l := all.chosen(f)
			return l, 2 * len(l.Pods), nil
		})
}

func (l *PodList) chosen(f PodFilter) *PodList {
	out := &PodList{Start: l.Start, End: l.End, Known: l.Known, Pods: []Pod{}}
	limit := cmp.Or(f.Limit, DefaultPods)
	for _, p := range l.Pods {
		if f.Cluster != "" && p.Cluster != f.Cluster || f.Namespace != "" && p.Namespace != f.Namespace ||
			f.Node != "" && p.NodeID != f.Node || f.Workload != "" && p.Workload != f.Workload {
			continue
		}
		out.Total++
		if len(out.Pods) < limit {
			out.Pods = append(out.Pods, p)
		}
	}
	return out
}

// allPods is the list of all pods that the other lists are made of.
func (i *Inventory) allPods(ctx context.Context, q servicemap.Query) (*PodList, error) {
	return servicemap.Answer(ctx, i.services, servicemap.Asked{Answer: "pods", Query: q, Default: DefaultRange, Detail: "all"},
		func(ctx context.Context, sp servicemap.Span) (*PodList, int, error) {
			r, err := i.readPods(ctx, sp, selection{}, false)
			if err != nil {
				return nil, 0, err
			}
			l := &PodList{Start: sp.Start().UTC(), End: sp.End().UTC(), Known: len(r.known) > 0, Pods: r.list(sp)}
			l.Total = len(l.Pods)
			return l, 2 * len(l.Pods), nil
		})
}

// owner is who made a pod, as far as that was followed.
type owner struct{ kind, name string }

// podKey tells pods apart. A pod that only an agent knows has no uid.
type podKey struct {
	place
	uid string
}

// figures are what the metrics say about one pod.
type figures struct {
	key                  podKey
	node, ip, phase      string
	hostNetwork          bool
	direct, top          owner // of kube_pod_owner, of vetch_pod_info or vetch_pod_*
	created              *time.Time
	ready, unschedulable bool
	endedBy              string // of kube_pod_status_reason
	containers           map[string]*containerFigures
	cpuUsed, memoryUsed  *float64
	throttled            *float64
	restartedBefore      map[string]float64
	hasState, readyKnown bool
}

// containerFigures are what the metrics say about one container.
type containerFigures struct {
	ready                                      bool
	state, reason, lastEnd                     string
	restarts                                   float64
	cpuRequest, cpuLimit, memRequest, memLimit *float64
}

func (f *figures) container(ls labels.Labels) *containerFigures {
	name := ls.Get("container")
	c := f.containers[name]
	if c == nil {
		c = &containerFigures{}
		f.containers[name] = c
	}
	return c
}

// reading is what a read of many pods has found so far.
type reading struct {
	i     *Inventory
	pods  map[podKey]*figures
	known map[string]bool // clusters that a watcher tells of the objects of
	jobs  map[place]owner
	sets  map[place]owner
}

func (i *Inventory) placeOf(ls labels.Labels, name string) place {
	return place{i.services.Cluster(ls), ls.Get("namespace"), ls.Get(name)}
}

func (r *reading) pod(ls labels.Labels) *figures {
	key := podKey{r.i.placeOf(ls, "pod"), ls.Get("uid")}
	f := r.pods[key]
	if f == nil {
		f = &figures{key: key, containers: map[string]*containerFigures{}, restartedBefore: map[string]float64{}}
		r.pods[key] = f
	}
	return f
}

// readPods asks for all of a selection. past: also what is gone by the end of the span.
func (i *Inventory) readPods(ctx context.Context, sp servicemap.Span, s selection, past bool) (*reading, error) {
	r := &reading{i: i, pods: map[podKey]*figures{}, known: map[string]bool{}, jobs: map[place]owner{}, sets: map[place]owner{}}
	state := func(metric string, more ...string) string {
		if past {
			return last(s.of(metric, more...), sp.Length())
		}
		return s.of(metric, more...)
	}
	restartsBefore := servicemap.Question{
		Expr: maxBy(containerLabels, before(s.of("kube_pod_container_status_restarts_total"), sp.Length())), Fill: r.fillBefore,
	}
	questions := append(slices.Concat(r.podQuestions(state), r.containerQuestions(state)), restartsBefore)
	if err := i.services.Ask(ctx, sp.End(), questions); err != nil {
		return nil, err
	}
	if err := i.services.Ask(ctx, sp.End(), slices.Concat(r.ownerQuestions(s), r.usageQuestions(s, window(sp)))); err != nil {
		return nil, err
	}
	return r, nil
}

// podQuestions ask for the objects. An agent's node label says where the watcher runs, so it is taken from kube_pod_info, which has its own.
func (r *reading) podQuestions(state func(string, ...string) string) []servicemap.Question {
	ask := func(expr string, fill func(f *figures, ls labels.Labels, v float64)) servicemap.Question {
		return servicemap.Question{Expr: expr, Fill: func(ls labels.Labels, v float64) { fill(r.pod(ls), ls, v) }}
	}
	return []servicemap.Question{
		ask(maxBy(podLabels+",node,pod_ip,host_network", state("kube_pod_info")), func(f *figures, ls labels.Labels, _ float64) {
			r.known[f.key.cluster], f.hasState = true, true
			f.node, f.ip, f.hostNetwork = cmp.Or(ls.Get("node"), f.node), cmp.Or(ls.Get("pod_ip"), f.ip), ls.Get("host_network") == "true"
		}),
		ask(maxBy(podLabels+",phase", state("kube_pod_status_phase")+" == 1"), func(f *figures, ls labels.Labels, _ float64) { f.phase = ls.Get("phase") }),
		ask(maxBy(podLabels, state("kube_pod_status_ready", is("condition", "true"))), func(f *figures, _ labels.Labels, v float64) { f.ready, f.readyKnown = v == 1, true }),
		ask(maxBy(podLabels+",reason", state("kube_pod_status_reason")+" == 1"), func(f *figures, ls labels.Labels, _ float64) { f.endedBy = ls.Get("reason") }),
		ask(maxBy(podLabels, state("kube_pod_status_unschedulable")+" == 1"), func(f *figures, _ labels.Labels, _ float64) { f.unschedulable = true }),
		ask(maxBy(podLabels, state("kube_pod_created")), func(f *figures, _ labels.Labels, v float64) { f.created = moment(v) }),
		ask(maxBy(podLabels+",workload_kind,workload", state("vetch_pod_info")), func(f *figures, ls labels.Labels, _ float64) {
			f.top = owner{ls.Get("workload_kind"), ls.Get("workload")}
		}),
		ask(maxBy(podLabels+",owner_kind,owner_name", state("kube_pod_owner", `owner_is_controller="true"`)), func(f *figures, ls labels.Labels, _ float64) {
			f.direct = owner{ls.Get("owner_kind"), ls.Get("owner_name")}
		}),
	}
}

// fillBefore takes the restarts of a container at the start of the range.
func (r *reading) fillBefore(ls labels.Labels, v float64) {
	if f, ok := r.pods[podKey{r.i.placeOf(ls, "pod"), ls.Get("uid")}]; ok {
		f.restartedBefore[ls.Get("container")] = v
	}
}

func (r *reading) containerQuestions(state func(string, ...string) string) []servicemap.Question {
	ask := func(expr string, fill func(c *containerFigures, ls labels.Labels, v float64)) servicemap.Question {
		return servicemap.Question{Expr: expr, Fill: func(ls labels.Labels, v float64) { fill(r.pod(ls).container(ls), ls, v) }}
	}
	resource := func(kind, of string, fill func(c *containerFigures) **float64) servicemap.Question {
		return ask(maxBy(containerLabels, state("kube_pod_container_resource_"+kind, of)), func(c *containerFigures, _ labels.Labels, v float64) { *fill(c) = &v })
	}
	const status = "kube_pod_container_status_"
	return []servicemap.Question{
		ask(maxBy(containerLabels, state(status+"ready")), func(c *containerFigures, _ labels.Labels, v float64) { c.ready = v == 1 }),
		ask(maxBy(containerLabels, state(status+"running")+" == 1"), func(c *containerFigures, _ labels.Labels, _ float64) { c.state = "running" }),
		ask(maxBy(containerLabels+",reason", state(status+"terminated_reason")+" == 1"), func(c *containerFigures, ls labels.Labels, _ float64) {
			c.state, c.reason = "terminated", ls.Get("reason")
		}),
		ask(maxBy(containerLabels+",reason", state(status+"waiting_reason")+" == 1"), func(c *containerFigures, ls labels.Labels, _ float64) {
			c.state, c.reason = "waiting", ls.Get("reason")
		}),
		ask(maxBy(containerLabels+",reason", state(status+"last_terminated_reason")+" == 1"), func(c *containerFigures, ls labels.Labels, _ float64) {
			c.lastEnd = ls.Get("reason")
		}),
		ask(maxBy(containerLabels, state(status+"restarts_total")), func(c *containerFigures, _ labels.Labels, v float64) { c.restarts = v }),
		resource("requests", ofCPU, func(c *containerFigures) **float64 { return &c.cpuRequest }),
		resource("limits", ofCPU, func(c *containerFigures) **float64 { return &c.cpuLimit }),
		resource("requests", ofMemory, func(c *containerFigures) **float64 { return &c.memRequest }),
		resource("limits", ofMemory, func(c *containerFigures) **float64 { return &c.memLimit }),
	}
}

// ownerQuestions follow owners of pods whose top owner nobody names: kube-state-metrics alone does not.
func (r *reading) ownerQuestions(s selection) []servicemap.Question {
	var sets, jobs bool
	for _, f := range r.pods {
		if f.top == (owner{}) {
			sets, jobs = sets || f.direct.kind == "ReplicaSet", jobs || f.direct.kind == "Job"
		}
	}
	var out []servicemap.Question
	follow := func(metric, name string, into map[place]owner) {
		expr := maxBy("cluster,namespace,"+name+",owner_kind,owner_name", s.of(metric, `owner_is_controller="true"`))
		out = append(out, servicemap.Question{Expr: expr, Fill: func(ls labels.Labels, _ float64) {
			into[r.i.placeOf(ls, name)] = owner{ls.Get("owner_kind"), ls.Get("owner_name")}
		}})
	}
	s = s.withoutPod()
	if sets {
		follow("kube_replicaset_owner", "replicaset", r.sets)
	}
	if jobs {
		follow("kube_job_owner", "job_name", r.jobs)
	}
	return out
}

// withoutPod leaves the matchers out that only pods have.
func (s selection) withoutPod() selection {
	return selection{slices.DeleteFunc(slices.Clone(s.matchers), func(m string) bool { return strings.HasPrefix(m, "pod=") || strings.HasPrefix(m, "pod=~") })}
}

// usageQuestions ask what agents measured. Their pods have no uid: a name is one pod at a time.
func (r *reading) usageQuestions(s selection, over time.Duration) []servicemap.Question {
	newest := map[place]*figures{}
	for _, f := range r.pods {
		if before := newest[f.key.place]; before == nil || later(f, before) {
			newest[f.key.place] = f
		}
	}
	const by = "cluster,namespace,pod,node,kind,workload"
	ask := func(expr string, fill func(f *figures, v float64)) servicemap.Question {
		return servicemap.Question{Expr: expr, Fill: func(ls labels.Labels, v float64) {
			at := r.i.placeOf(ls, "pod")
			f := newest[at]
			if f == nil {
				f = r.pod(ls)
				newest[at] = f
			}
			if !f.hasState {
				f.node, f.top = ls.Get("node"), owner{ls.Get("kind"), ls.Get("workload")}
			}
			fill(f, v)
		}}
	}
	return []servicemap.Question{
		ask(sumBy(by, rate(s.of("vetch_pod_cpu_seconds_total"), over)), func(f *figures, v float64) { add(&f.cpuUsed, v) }),
		ask(sumBy(by, rate(s.of("vetch_pod_cpu_throttled_seconds_total"), over)), func(f *figures, v float64) { add(&f.throttled, v) }),
		ask(maxBy(by, s.of("vetch_pod_memory_working_set_bytes")), func(f *figures, v float64) { f.memoryUsed = &v }),
	}
}

func later(a, b *figures) bool {
	if a.created == nil || b.created == nil || a.created.Equal(*b.created) {
		return a.key.uid > b.key.uid
	}
	return a.created.After(*b.created)
}

// list puts the pods in order. What only an agent tells of is a pod where no watcher tells of any: else it is gone, and its last figures are still there.
func (r *reading) list(sp servicemap.Span) []Pod {
	out := make([]Pod, 0, len(r.pods))
	for _, f := range r.pods {
		if f.hasState || f.key.uid == "" && !r.known[f.key.cluster] {
			out = append(out, r.shape(f, sp))
		}
	}
	slices.SortFunc(out, func(a, b Pod) int {
		return cmp.Or(
			servicemap.Severity(b.Health)-servicemap.Severity(a.Health), cmp.Compare(b.failing, a.failing),
			cmp.Compare(value(b.CPU.Used), value(a.CPU.Used)), cmp.Compare(a.ID, b.ID), cmp.Compare(a.UID, b.UID),
		)
	})
	return out
}
