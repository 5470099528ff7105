package servicemap

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/promql"
)

// sparks are the small charts of one workload.
type sparks struct {
	requests timeline
	latency  Series
}

// Workloads answers /api/workloads: all nodes of the map of the range (default the last 15 minutes), most trouble first. The Namespace of
// the query is not used. Errors as of Map.
func (s *Service) Workloads(ctx context.Context, q Query) (*WorkloadList, error) {
	sp, err := s.spanOf(q, DefaultWorkloadRange)
	if err != nil {
		return nil, err
	}
	whole, err := s.whole(ctx, sp)
	if err != nil {
		return nil, err
	}
	return cached(ctx, s.cache, answerWorkloads, "workloads "+sp.key(), s.ttl(sp), func(ctx context.Context) (*WorkloadList, int, error) {
		list, err := s.listWorkloads(ctx, whole)
		if err != nil {
			return nil, 0, err
		}
		return list, 4 * len(list.Workloads), nil
	})
}

func (s *Service) listWorkloads(ctx context.Context, whole *drawn) (*WorkloadList, error) {
	m := whole.answer
	g := gridOf(span{start: m.Start, end: m.End}, sparkPoints)
	byID, err := s.readSparks(ctx, g, whole.byCaller)
	if err != nil {
		return nil, err
	}
	list := &WorkloadList{Start: m.Start, End: m.End, Workloads: make([]WorkloadSummary, 0, len(m.Nodes))}
	for _, n := range m.Nodes {
		list.Workloads = append(list.Workloads, n.summary(g, byID[n.ID]))
	}
	slices.SortStableFunc(list.Workloads, func(a, b WorkloadSummary) int {
		return cmp.Or(
			severity(b.Health)-severity(a.Health),
			cmp.Compare(whole.failing[b.ID], whole.failing[a.ID]),
			cmp.Compare(valueOf(b.Signals.Rate), valueOf(a.Signals.Rate)),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return list, nil
}

func valueOf(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

// summary joins a node with its sparks, which may be nil.
func (n Node) summary(g grid, sp *sparks) WorkloadSummary {
	out := WorkloadSummary{
		ID: n.ID, Namespace: n.Namespace, Kind: n.Kind, Name: n.Name, Health: n.Health, Reasons: n.Reasons, Signals: n.Signals,
		RateSpark: g.empty(), ErrorSpark: g.empty(), LatencySpark: g.empty(),
	}
	if sp != nil {
		out.RateSpark, out.ErrorSpark, out.LatencySpark = sp.requests.rate(), sp.requests.errorShare(), sp.latency
	}
	return out
}

// readSparks asks for the sparks of all workloads at once: two questions for those that are watched, and two for those that only their
// callers (byCaller: node id -> kind) tell about.
func (s *Service) readSparks(ctx context.Context, g grid, byCaller map[string]string) (map[string]*sparks, error) {
	byID := map[string]*sparks{}
	want := func(id string, fromCallers bool) *sparks {
		if _, ok := byCaller[id]; ok != fromCallers {
			return nil
		}
		sp := byID[id]
		if sp == nil {
			sp = &sparks{requests: timeline{grid: g, byClass: map[string][]*float64{}}, latency: g.empty()}
			byID[id] = sp
		}
		return sp
	}
	questions := sparkQuestions(g, servingEnd(nil), func(id string) *sparks { return want(id, false) })
	if len(byCaller) > 0 {
		kinds := slices.Compact(slices.Sorted(maps.Values(byCaller)))
		questions = append(questions, sparkQuestions(g, callersOfKinds(kinds), func(id string) *sparks { return want(id, true) })...)
	}
	if err := s.askRange(ctx, g, questions); err != nil {
		return nil, err
	}
	return byID, nil
}

// sparkQuestions reads one source. of returns nil for a workload that is read elsewhere.
func sparkQuestions(g grid, src source, of func(id string) *sparks) []rangeQuestion {
	return []rangeQuestion{
		{src.requestRate(g.window), func(k sampleKey, ser promql.Series) {
			if sp := of(k.server.ID()); sp != nil {
				sp.requests.add(k.code, ser.Floats)
			}
		}},
		{"histogram_quantile(0.95, " + src.durationRate(g.window) + ")", func(k sampleKey, ser promql.Series) {
			if sp := of(k.server.ID()); sp != nil {
				sp.latency = g.floats(ser.Floats)
			}
		}},
	}
}
