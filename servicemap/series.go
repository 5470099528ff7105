package servicemap

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/vetch-dev/vetch/model"
)

// Grids: sparklines are small, charts are as wide as a page.
const (
	sparkPoints = 30
	chartPoints = 120

	sampleInterval = 5 * time.Second    // at which agents send
	rateWindow     = 4 * sampleInterval // the shortest that gives a steady rate
)

// grid is the times of a series. The value at each covers the window before it; windows overlap only where steps are shorter than rateWindow.
type grid struct {
	start  time.Time
	step   time.Duration
	points int
	window time.Duration
}

func (g grid) end() time.Time { return g.start.Add(time.Duration(g.points-1) * g.step) }

// gridOf splits a span into at most so many steps of whole seconds. It ends on a multiple of the sample interval, so that a live chart
// changes only when there is something new.
func gridOf(sp span, points int) grid {
	step := max(sp.length()/time.Duration(points), sampleInterval)
	step = (step + time.Second - 1).Truncate(time.Second)
	n := max(1, int(sp.length()/step))
	end := sp.end.Truncate(sampleInterval)
	return grid{start: end.Add(-time.Duration(n-1) * step), step: step, points: n, window: max(step, rateWindow)}
}

// empty is a series of unknown values.
func (g grid) empty() Series {
	return Series{Start: float64(g.start.UnixMilli()) / 1000, Step: g.step.Seconds(), Values: make([]*float64, g.points)}
}

// index of a time in milliseconds, or -1 where it is not on the grid.
func (g grid) index(ms int64) int {
	i := (ms - g.start.UnixMilli()) / g.step.Milliseconds()
	if i < 0 || i >= int64(g.points) {
		return -1
	}
	return int(i)
}

// timeline sums the rates of requests over a grid: by status class for HTTP, for other protocols those that are ok and those that failed.
type timeline struct {
	grid    grid
	byClass map[string][]*float64
}

// add takes requests of a protocol and code.
func (t *timeline) add(k sampleKey, points []promql.FPoint) {
	class := classOK
	if isHTTP(k.protocol) {
		class = classOf(k.code)
	}
	t.addClass(class, points, 1)
}

// fail moves requests that were added before from those that are ok to those that failed.
func (t *timeline) fail(k sampleKey, points []promql.FPoint) {
	if !isHTTP(k.protocol) {
		t.addClass(classOK, points, -1)
		t.addClass(classFailed, points, 1)
	}
}

func (t *timeline) addClass(class string, points []promql.FPoint, factor float64) {
	sums := t.byClass[class]
	if sums == nil {
		sums = make([]*float64, t.grid.points)
		t.byClass[class] = sums
	}
	for _, p := range points {
		if i := t.grid.index(p.T); i >= 0 {
			addTo(&sums[i], factor*p.F)
		}
	}
}

// values of a class. Rounding of rates may leave a trace below zero of what all failed.
func (t *timeline) values(class string) []*float64 {
	for _, v := range t.byClass[class] {
		if v != nil && *v < 1e-9 {
			*v = 0
		}
	}
	return t.byClass[class]
}

// sum of the classes at each time; nil names all of them. Unknown where no class is known.
func (t *timeline) sum(classes []string) []*float64 {
	out := make([]*float64, t.grid.points)
	if classes == nil {
		classes = slices.Sorted(maps.Keys(t.byClass))
	}
	for _, class := range classes {
		for i, v := range t.values(class) {
			if v != nil {
				addTo(&out[i], *v)
			}
		}
	}
	return out
}

func (t *timeline) rate() Series { return t.grid.filled(t.sum(nil)) }

func (t *timeline) errorShare() Series {
	all, failed := t.sum(nil), t.sum([]string{"5xx", classNone, classFailed})
	share := make([]*float64, t.grid.points)
	for i, v := range all {
		if v == nil || *v <= 0 {
			continue
		}
		share[i] = new(float64)
		if failed[i] != nil {
			*share[i] = *failed[i] / *v
		}
	}
	return t.grid.filled(share)
}

// filled is a series of the values, cut to what a chart can show.
func (g grid) filled(values []*float64) Series {
	s := g.empty()
	for i, v := range values {
		if v != nil {
			s.Values[i] = figure(round(*v, 4))
		}
	}
	return s
}

// quantiles of a histogram series at each time.
func (g grid) quantiles(q float64, points []promql.HPoint) Series {
	s := g.empty()
	for _, p := range points {
		if i := g.index(p.T); i >= 0 {
			s.Values[i] = quantile(q, p.H)
		}
	}
	return s
}

// floats puts the points of a series on the grid.
func (g grid) floats(points []promql.FPoint) Series {
	values := make([]*float64, g.points)
	for _, p := range points {
		if i := g.index(p.T); i >= 0 {
			values[i] = &p.F
		}
	}
	return g.filled(values)
}

// source is where the requests of workloads are read: at the serving end, or from the edges for servers that nobody watches from inside.
type source struct {
	requests, failures, durations string // metric names with matchers
	by                            string
}

// servingEnd reads all workloads, or one.
func servingEnd(w *model.Workload, home string) source {
	matchers := ""
	if w != nil {
		matchers = matchersOf(*w, home, "namespace", "kind", "workload")
	}
	return source{
		"vetch_workload_requests_total" + matchers, "vetch_workload_failed_requests_total" + matchers,
		"vetch_workload_request_duration_seconds" + matchers, workloadLabels,
	}
}

const serverLabels = "cluster,server_namespace,server_kind,server"

// callersOf reads one server as its callers see it.
func callersOf(w model.Workload, home string) source {
	return edgeSource(matchersOf(w, home, "server_namespace", "server_kind", "server"))
}

// callersOfKinds reads all servers of some kinds as their callers see them.
func callersOfKinds(kinds []string) source {
	return edgeSource("{server_kind=~" + strconv.Quote(kindsPattern(kinds)) + "}")
}

func edgeSource(matchers string) source {
	return source{
		"vetch_edge_requests_total" + matchers, "vetch_edge_failed_requests_total" + matchers,
		"vetch_edge_request_duration_seconds" + matchers, serverLabels,
	}
}

func (s source) requestRate(window time.Duration) string {
	return sumRate(s.by+",protocol,code", rateOf(s.requests, "", window))
}

func (s source) failureRate(window time.Duration) string {
	return sumRate(s.by+",protocol", rateOf(s.failures, "", window))
}

func (s source) durationRate(window time.Duration) string {
	return sumRate(s.by, rateOf(s.durations, "", window))
}
