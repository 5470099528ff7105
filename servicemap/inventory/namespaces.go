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

// Namespaces answers /api/namespaces: all namespaces that have a workload or a pod, or that the watcher knows, those with most trouble first.
// Errors: as of servicemap.Service.Map.
func (i *Inventory) Namespaces(ctx context.Context, q servicemap.Query) (*NamespaceList, error) {
	pods, err := i.allPods(ctx, q)
	if err != nil {
		return nil, err
	}
	workloads, err := i.services.Workloads(ctx, q)
	if err != nil {
		return nil, err
	}
	return servicemap.Answer(ctx, i.services, servicemap.Asked{Answer: "namespaces", Query: q, Default: DefaultRange},
		func(ctx context.Context, sp servicemap.Span) (*NamespaceList, int, error) {
			r := &namespaceReading{i: i, of: map[place]*Namespace{}, calls: map[place]*calls{}}
			if err := i.services.Ask(ctx, sp.End(), r.questions()); err != nil {
				return nil, 0, err
			}
			r.addPods(pods)
			r.addWorkloads(workloads)
			l := &NamespaceList{Start: sp.Start().UTC(), End: sp.End().UTC(), Namespaces: r.list()}
			return l, 2 * len(l.Namespaces), nil
		})
}

// Namespace answers /api/namespace. Errors: servicemap.ErrNotFound, and those of Namespaces.
func (i *Inventory) Namespace(ctx context.Context, id string, q servicemap.Query) (*NamespaceDetail, error) {
	at, err := i.parse(id, 1, "namespace, or cluster:namespace")
	if err != nil {
		return nil, err
	}
	all, err := i.Namespaces(ctx, q)
	if err != nil {
		return nil, err
	}
	n := slices.IndexFunc(all.Namespaces, func(n Namespace) bool { return n.ID == at.id() })
	if n < 0 {
		return nil, fmt.Errorf("%w: no namespace %q has a pod at %s, or a workload in the range before it", servicemap.ErrNotFound, at.id(), all.End.Format(time.RFC3339))
	}
	return servicemap.Answer(ctx, i.services, servicemap.Asked{Answer: "namespace", Query: q, Default: DefaultRange, Detail: at.id()},
		func(ctx context.Context, sp servicemap.Span) (*NamespaceDetail, int, error) {
			d := &NamespaceDetail{Start: sp.Start().UTC(), End: sp.End().UTC(), Namespace: all.Namespaces[n]}
			var err error
			d.Charts, err = i.charts(ctx, sp, podsCharts(selection{[]string{i.services.ClusterMatcher(at.cluster), is("namespace", at.name)}}))
			return d, 30, err
		})
}

type namespaceReading struct {
	i     *Inventory
	of    map[place]*Namespace
	calls map[place]*calls
}

// calls add up what the workloads of a namespace serve, and which are unwell.
type calls struct {
	rate, failed      float64
	known             bool
	critical, warning []string
	status            map[string]int // of pods that are not well
}

func (r *namespaceReading) questions() []servicemap.Question {
	return []servicemap.Question{{
		Expr: maxBy("cluster,namespace,phase", "kube_namespace_status_phase == 1"),
		Fill: func(ls labels.Labels, _ float64) {
			n, _ := r.namespace(place{cluster: r.i.services.Cluster(ls), name: ls.Get("namespace")})
			n.Phase = ls.Get("phase")
		},
	}}
}

func (r *namespaceReading) namespace(at place) (*Namespace, *calls) {
	n := r.of[at]
	if n == nil {
		n = &Namespace{ID: at.id(), Cluster: r.i.services.ClusterName(at.cluster), Name: at.name, Health: servicemap.Idle, Reasons: []string{}}
		r.of[at], r.calls[at] = n, &calls{status: map[string]int{}}
	}
	return n, r.calls[at]
}

func (n *Namespace) worsen(h servicemap.Health) {
	if servicemap.Severity(h) > servicemap.Severity(n.Health) {
		n.Health = h
	}
}

func (r *namespaceReading) addPods(pods *PodList) {
	for k := range pods.Pods {
		p := &pods.Pods[k]
		at := place{cluster: r.i.services.Away(model.Workload{Cluster: p.Cluster}).Cluster, name: p.Namespace}
		n, c := r.namespace(at)
		n.worsen(p.Health)
		if servicemap.Severity(p.Health) > servicemap.Severity(servicemap.OK) {
			n.Troubled++
			c.status[p.trouble()]++
		}
		n.Restarted += p.Restarted
		if p.ended {
			continue
		}
		n.Pods++
		addTo(&n.CPU, &p.CPU)
		addTo(&n.Memory, &p.Memory)
		if p.CPU.Used != nil {
			add(&n.CPU.Used, *p.CPU.Used)
		}
		if p.Memory.Used != nil {
			add(&n.Memory.Used, *p.Memory.Used)
		}
	}
}

// trouble is one word for what is wrong with a pod that is not well.
func (p *Pod) trouble() string {
	if p.Status == p.Phase {
		return string(p.Health)
	}
	return p.Status
}

// addWorkloads adds what is on the map. What is outside of Kubernetes has no namespace.
func (r *namespaceReading) addWorkloads(list *servicemap.WorkloadList) {
	for k := range list.Workloads {
		w := &list.Workloads[k]
		if w.Namespace == "" {
			continue
		}
		n, c := r.namespace(place{cluster: r.i.services.Away(model.Workload{Cluster: w.Cluster}).Cluster, name: w.Namespace})
		n.Workloads++
		n.worsen(w.Health)
		switch w.Health {
		case servicemap.Critical:
			c.critical = append(c.critical, w.Name)
		case servicemap.Warning:
			c.warning = append(c.warning, w.Name)
		}
		if w.Signals.Rate != nil {
			c.known = true
			c.rate += *w.Signals.Rate
			c.failed += *w.Signals.Rate * value(w.Signals.ErrorShare)
		}
	}
}

func (r *namespaceReading) list() []Namespace {
	out := make([]Namespace, 0, len(r.of))
	for at, n := range r.of {
		c := r.calls[at]
		if c.known {
			n.Rate = servicemap.Figure(c.rate)
			if c.rate > 0 {
				n.ErrorShare = servicemap.Figure(c.failed / c.rate)
			}
		}
		n.failing = float64(n.Troubled + len(c.critical) + len(c.warning))
		n.Reasons = c.reasons()
		for _, v := range []**float64{&n.CPU.Requests, &n.CPU.Limits, &n.CPU.Used, &n.Memory.Requests, &n.Memory.Limits, &n.Memory.Used} {
			*v = tidy(*v)
		}
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b Namespace) int {
		return cmp.Or(
			servicemap.Severity(b.Health)-servicemap.Severity(a.Health), cmp.Compare(b.failing, a.failing),
			cmp.Compare(value(b.Rate), value(a.Rate)), cmp.Compare(b.Pods, a.Pods), cmp.Compare(a.ID, b.ID),
		)
	})
	return out
}

// maxNamed is how many workloads a sentence names.
const maxNamed = 3

func (c *calls) reasons() []string {
	out := []string{}
	for _, one := range []struct {
		names []string
		what  string
	}{{c.critical, "critical"}, {c.warning, "warning"}} {
		if len(one.names) == 0 {
			continue
		}
		named := strings.Join(one.names[:min(maxNamed, len(one.names))], ", ")
		if more := len(one.names) - maxNamed; more > 0 {
			named += fmt.Sprintf(" and %d more", more)
		}
		out = append(out, one.what+": "+named)
	}
	status := make([]string, 0, len(c.status))
	for s := range c.status {
		status = append(status, s)
	}
	slices.SortFunc(status, func(a, b string) int { return cmp.Or(cmp.Compare(c.status[b], c.status[a]), cmp.Compare(a, b)) })
	for _, s := range status[:min(maxNamed, len(status))] {
		pods := "pods"
		if c.status[s] == 1 {
			pods = "pod"
		}
		out = append(out, fmt.Sprintf("%d %s: %s", c.status[s], pods, s))
	}
	return out
}
