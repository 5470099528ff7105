package servicemap

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/promql"

	"github.com/vetch-dev/vetch/model"
)

// maxID bounds the length of an id that is asked for.
const maxID = 2048

// Workload answers /api/workload for the node with that id: figures, charts, neighbours and routes over the range, default the last 15 minutes.
// Errors: ErrNotFound where nothing is known of it in the range, and those of Map.
func (s *Service) Workload(ctx context.Context, id string, q Query) (*WorkloadDetail, error) {
	w, ok := model.ParseID(id)
	switch {
	case id == "":
		return nil, fmt.Errorf("%w: the id is missing; give namespace/kind/name", ErrBadQuery)
	case len(id) > maxID || !utf8.ValidString(id):
		return nil, fmt.Errorf("%w: the id is longer than %d bytes or is not UTF-8", ErrBadQuery, maxID)
	case !ok:
		return nil, fmt.Errorf("%w: the id %q is not of the form namespace/kind/name (the namespace may be empty: /Process/nginx)", ErrBadQuery, id)
	}
	w = s.Away(w)
	sp, err := s.spanOf(q, DefaultWorkloadRange)
	if err != nil {
		return nil, err
	}
	return cached(ctx, s.cache, s.question(answerWorkload, sp, w.QualifiedID()), func(ctx context.Context) (*WorkloadDetail, int, error) {
		d, err := s.readDetail(ctx, w, sp)
		if err != nil {
			return nil, 0, err
		}
		return d, 20 + len(d.Callers) + len(d.Callees) + len(d.Routes) + len(d.TLS), nil
	})
}

func (s *Service) readDetail(ctx context.Context, w model.Workload, sp span) (*WorkloadDetail, error) {
	g, err := s.readGraph(ctx, answerWorkloads, selection{&w, s.home}, sp)
	if err != nil {
		return nil, err
	}
	n, ok := g.nodes[w]
	if !ok {
		return nil, fmt.Errorf("%w: nothing was seen of %q between %s and %s; try a longer range", ErrNotFound, w.QualifiedID(),
			sp.start.UTC().Format(time.RFC3339), sp.end.UTC().Format(time.RFC3339))
	}
	src := servingEnd(&w, s.home)
	if n.callers {
		src = callersOf(w, s.home)
	}
	node, _ := n.shape(g)
	d := &WorkloadDetail{Start: sp.start.UTC(), End: sp.end.UTC(), Callers: shapes(n.in, g.window), Callees: shapes(n.out, g.window)}
	if d.Workload, err = s.sparkOne(ctx, node, src, gridOf(sp, sparkPoints)); err != nil {
		return nil, err
	}
	if d.Charts, err = s.readCharts(ctx, src, gridOf(sp, chartPoints)); err != nil {
		return nil, err
	}
	if d.Routes, err = s.readRoutes(ctx, w, sp); err != nil {
		return nil, err
	}
	if d.TLS, err = s.readTLS(ctx, w, sp); err != nil {
		return nil, err
	}
	return d, nil
}

// shapes puts the worst edge first, then the busiest.
func shapes(edges []*edgeFigures, window time.Duration) []Edge {
	out := make([]Edge, len(edges))
	for i, e := range edges {
		out[i] = e.shape(window)
	}
	slices.SortStableFunc(out, func(a, b Edge) int {
		return cmp.Or(
			severity(b.Health)-severity(a.Health),
			cmp.Compare(valueOf(b.Signals.Rate), valueOf(a.Signals.Rate)),
			cmp.Compare(valueOf(b.BytesSentRate)+valueOf(b.BytesReceivedRate), valueOf(a.BytesSentRate)+valueOf(a.BytesReceivedRate)),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return out
}

func (s *Service) sparkOne(ctx context.Context, n Node, src source, g grid) (WorkloadSummary, error) {
	one := newSparks(g)
	if err := s.askRange(ctx, g, sparkQuestions(g, src, func(model.Workload) *sparks { return one })); err != nil {
		return WorkloadSummary{}, err
	}
	return n.summary(g, one), nil
}

func (s *Service) readCharts(ctx context.Context, src source, g grid) (Charts, error) {
	requests := timeline{grid: g, byClass: map[string][]*float64{}}
	charts := Charts{RateByClass: map[string]Series{}, P50: g.empty(), P95: g.empty(), P99: g.empty()}
	err := s.askRange(ctx, g, []rangeQuestion{
		{src.requestRate(g.window), func(k sampleKey, ser promql.Series) { requests.add(k, ser.Floats) }},
		{src.failureRate(g.window), func(k sampleKey, ser promql.Series) { requests.fail(k, ser.Floats) }},
		{src.durationRate(g.window), func(_ sampleKey, ser promql.Series) {
			charts.P50, charts.P95, charts.P99 = g.quantiles(0.5, ser.Histograms), g.quantiles(0.95, ser.Histograms), g.quantiles(0.99, ser.Histograms)
		}},
	})
	if err != nil {
		return Charts{}, err
	}
	for class := range requests.byClass {
		charts.RateByClass[class] = g.filled(requests.values(class))
	}
	charts.ErrorShare = requests.errorShare()
	return charts, nil
}

type routeKey struct{ protocol, method, route string }

// readRoutes lists the routes that had requests or are known, the busiest first.
func (s *Service) readRoutes(ctx context.Context, w model.Workload, sp span) ([]Route, error) {
	const by = "protocol,method,route"
	figures, codes := map[routeKey]*requests{}, map[routeKey]map[string]float64{}
	of := func(k sampleKey) (routeKey, *requests) {
		key := routeKey{k.protocol, k.method, k.route}
		if figures[key] == nil {
			figures[key], codes[key] = &requests{}, map[string]float64{}
		}
		return key, figures[key]
	}
	sel := selection{&w, s.home}
	err := s.ask(ctx, sp.end, []instantQuestion{
		{sel.workloadRate("vetch_workload_requests_total", by+",code", sp.length()), func(k sampleKey, smp promql.Sample) {
			key, r := of(k)
			r.count(k, smp.F)
			codes[key][k.code] += round(smp.F, 6)
		}},
		{sel.workloadRate("vetch_workload_failed_requests_total", by, sp.length()), func(k sampleKey, smp promql.Sample) {
			_, r := of(k)
			r.fail(k, smp.F)
		}},
		{sel.workloadRate("vetch_workload_request_duration_seconds", by, sp.length()), func(k sampleKey, smp promql.Sample) {
			_, r := of(k)
			r.duration = smp.H
		}},
	})
	if err != nil {
		return nil, err
	}
	out := make([]Route, 0, len(figures))
	for key, r := range figures {
		out = append(out, Route{key.protocol, key.method, key.route, r.signals(), codes[key]})
	}
	slices.SortFunc(out, func(a, b Route) int {
		return cmp.Or(cmp.Compare(valueOf(b.Signals.Rate), valueOf(a.Signals.Rate)),
			cmp.Compare(a.Route, b.Route), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out, nil
}
