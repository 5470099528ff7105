package inventory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/servicemap"
)

// Pod answers /api/pod: the pod of that name at the end of the range, or the last one that was there in the range. Errors: servicemap.ErrNotFound, and
// those of servicemap.Service.Map.
func (i *Inventory) Pod(ctx context.Context, id string, q servicemap.Query) (*PodDetail, error) {
	at, err := i.parse(id, 2, "namespace/pod, or cluster:namespace/pod")
	if err != nil {
		return nil, err
	}
	return servicemap.Answer(ctx, i.services, servicemap.Asked{Answer: "pod", Query: q, Default: DefaultRange, Detail: at.id()},
		func(ctx context.Context, sp servicemap.Span) (*PodDetail, int, error) {
			d, err := i.readPod(ctx, at, sp)
			if err != nil {
				return nil, 0, err
			}
			return d, 30 + 10*len(d.Containers), nil
		})
}

func (i *Inventory) readPod(ctx context.Context, at place, sp servicemap.Span) (*PodDetail, error) {
	inNamespace := selection{[]string{i.services.ClusterMatcher(at.cluster), is("namespace", at.namespace)}}
	s := inNamespace.with(is("pod", at.name))
	d := &PodDetail{Start: sp.Start().UTC(), End: sp.End().UTC()}
	for _, past := range []bool{false, true} {
		r, err := i.readPods(ctx, sp, s, past)
		if err != nil {
			return nil, err
		}
		f := r.newest()
		if f == nil || !f.hasState && !past { // what agents measured stays for a while: it may be gone all the same
			continue
		}
		d.Gone, d.Pod = past && f.hasState, r.shape(f, sp)
		if d.Containers, err = i.readContainers(ctx, sp, s, f, past); err != nil {
			return nil, err
		}
		if err := i.chartContainers(ctx, sp, s, at, d.Containers); err != nil {
			return nil, err
		}
		restarts := steady("restarts", "sum("+maxBy(containerLabels, s.of("kube_pod_container_status_restarts_total"))+")")
		d.Charts, err = i.charts(ctx, sp, append(podsCharts(s), restarts))
		return d, err
	}
	return nil, fmt.Errorf("%w: nothing was known of a pod %q between %s and %s; try a longer range", servicemap.ErrNotFound, at.id(),
		d.Start.Format(time.RFC3339), d.End.Format(time.RFC3339))
}

// newest of the pods of one name; nil where there is none.
func (r *reading) newest() *figures {
	var out *figures
	for _, f := range r.pods {
		if (f.hasState || f.key.uid == "") && (out == nil || later(f, out)) {
			out = f
		}
	}
	return out
}

// readContainers adds to what is known of the containers of a pod what only its page shows.
func (i *Inventory) readContainers(ctx context.Context, sp servicemap.Span, s selection, f *figures, past bool) ([]Container, error) {
	list := map[string]*Container{}
	for name, c := range f.containers {
		list[name] = &Container{
			Name: name, State: c.state, Reason: c.reason, Ready: c.ready, Restarts: c.restarts, LastEnd: c.lastEnd,
			CPU: Resource{Requests: tidy(c.cpuRequest), Limits: tidy(c.cpuLimit)}, Memory: Resource{Requests: tidy(c.memRequest), Limits: tidy(c.memLimit)},
			Charts: map[string]servicemap.Series{},
		}
	}
	s = s.with(is("uid", f.key.uid))
	state := func(metric string, by string, fill func(c *Container, ls labels.Labels, v float64)) servicemap.Question {
		expr := s.of(metric)
		if past {
			expr = last(expr, sp.Length())
		}
		return servicemap.Question{Expr: maxBy("container"+by, expr), Fill: func(ls labels.Labels, v float64) {
			if c := list[ls.Get("container")]; c != nil {
				fill(c, ls, v)
			}
		}}
	}
	used := func(expr string, fill func(c *Container) **float64) servicemap.Question {
		return servicemap.Question{Expr: sumBy("container_id", expr), Fill: func(ls labels.Labels, v float64) {
			name := ls.Get("container_id")[len(containerPath(f.key.place)):]
			if list[name] == nil {
				list[name] = &Container{Name: name, Charts: map[string]servicemap.Series{}}
			}
			*fill(list[name]) = servicemap.Figure(v)
		}}
	}
	cgroups := i.cgroupsOf(f.key.place)
	err := i.services.Ask(ctx, sp.End(), []servicemap.Question{
		state("kube_pod_container_info", ",image,image_spec", func(c *Container, ls labels.Labels, _ float64) {
			c.Image = cmp.Or(ls.Get("image_spec"), ls.Get("image"))
		}),
		state("kube_pod_container_state_started", "", func(c *Container, _ labels.Labels, v float64) { c.Started = moment(v) }),
		state("kube_pod_container_status_last_terminated_exitcode", "", func(c *Container, _ labels.Labels, v float64) { c.LastCode = &v }),
		state("kube_pod_container_status_last_terminated_timestamp", "", func(c *Container, _ labels.Labels, v float64) { c.LastEnded = moment(v) }),
		used(rate(cgroups.of("container_resources_cpu_usage_seconds_total"), window(sp)), func(c *Container) **float64 { return &c.CPU.Used }),
		used(cgroups.of("container_resources_memory_working_set_bytes"), func(c *Container) **float64 { return &c.Memory.Used }),
	})
	out := make([]Container, 0, len(list))
	for _, name := range slices.Sorted(maps.Keys(list)) {
		out = append(out, *list[name])
	}
	return out, err
}

// chartContainers asks for the lines of each container of a pod: what agents measured, and what the watcher knows of requests, limits and restarts.
func (i *Inventory) chartContainers(ctx context.Context, sp servicemap.Span, s selection, pod place, list []Container) error {
	into := func(container, line string, values servicemap.Series) {
		if n := slices.IndexFunc(list, func(c Container) bool { return c.Name == container }); n >= 0 {
			list[n].Charts[line] = values
		}
	}
	cgroups := i.cgroupsOf(pod)
	measured := func(line string, expr func(window time.Duration) string) servicemap.Chart {
		return servicemap.Chart{Expr: func(w time.Duration) string { return sumBy("container_id", expr(w)) }, Fill: func(ls labels.Labels, values servicemap.Series) {
			into(strings.TrimPrefix(ls.Get("container_id"), containerPath(pod)), line, values)
		}}
	}
	counter := func(line, metric string) servicemap.Chart {
		return measured(line, func(w time.Duration) string { return rate(cgroups.of(metric), max(w, minFlow)) })
	}
	gauge := func(line, metric string) servicemap.Chart {
		return measured(line, func(time.Duration) string { return cgroups.of(metric) })
	}
	told := func(by, expr string, line func(ls labels.Labels) string) servicemap.Chart {
		return servicemap.Chart{Expr: func(time.Duration) string { return maxBy("container"+by, expr) }, Fill: func(ls labels.Labels, values servicemap.Series) {
			into(ls.Get("container"), line(ls), values)
		}}
	}
	return i.services.AskCharts(ctx, sp, []servicemap.Chart{
		counter("cpuUsed", "container_resources_cpu_usage_seconds_total"),
		counter("cpuThrottled", "container_resources_cpu_throttled_seconds_total"),
		gauge("memoryUsed", "container_resources_memory_working_set_bytes"),
		gauge("memoryRSS", "container_resources_memory_rss_bytes"),
		told(",__name__,resource", s.of("", boundMetrics, `resource=~"cpu|memory"`), requestedName),
		told("", s.of("kube_pod_container_status_restarts_total"), func(labels.Labels) string { return "restarts" }),
	})
}

// cgroupsOf selects what agents measured of the containers of a pod.
func (i *Inventory) cgroupsOf(pod place) selection {
	return selection{[]string{i.services.ClusterMatcher(pod.cluster), startsWith("container_id", containerPath(pod))}}
}

// containerPath is what the container_id of a pod's containers begins with.
func containerPath(pod place) string { return "/k8s/" + pod.namespace + "/" + pod.name + "/" }
