package servicemap

import (
	"cmp"
	"context"
	"slices"

	"github.com/prometheus/prometheus/promql"

	"github.com/vetch-dev/vetch/model"
)

// sparks are the small charts of one workload.
type sparks struct {
	requests timeline
	latency  Series
}

func newSparks(g grid) *sparks {
	return &sparks{requests: timeline{grid: g, byClass: map[string][]*float64{}}, latency: g.empty()}
}

// Workloads answers /api/workloads: all nodes of the map of the range (default the last 15 minutes), most trouble first. The Namespace of
// the query is not used. Errors as of Map.
func (s *Service) Workloads(ctx context.Context, q Query) (*WorkloadList, error) {
	sp, err := s.spanOf(q, DefaultWorkloadRange)
	if err != nil {
		return nil, err
	}
	return cached(ctx, s.cache, s.question(answerWorkloads, sp, ""), func(ctx context.Context) (*WorkloadList, int, error) {
		list, err := s.listWorkloads(ctx, sp)
		if err != nil {
			return nil, 0, err
		}
		return list, 4 * len(list.Workloads), nil
	})
}

func (s *Service) listWorkloads(ctx context.Context, sp span) (*WorkloadList, error) {
	nodes, err := s.readNodes(ctx, sp)
	if err != nil {
		return nil, err
	}
	grid := gridOf(sp, sparkPoints)
	charts, err := s.readSparks(ctx, grid, nodes)
	if err != nil {
		return nil, err
	}
	levels := make(map[string]Health, len(nodes.nodes))
	list := &WorkloadList{Start: sp.start.UTC(), End: sp.end.UTC(), Workloads: make([]WorkloadSummary, 0, len(nodes.nodes))}
	failing := make(map[string]float64, len(nodes.nodes))
	for w, n := range nodes.nodes {
		node, rate := n.shape(nodes)
		failing[node.ID] = rate
		levels[node.ID] = node.Health
		list.Workloads = append(list.Workloads, node.summary(grid, charts[w]))
	}
	s.levels.keep(answerWorkloads, sp, levels)
	slices.SortFunc(list.Workloads, func(a, b WorkloadSummary) int {
		return cmp.Or(
			severity(b.Health)-severity(a.Health),
			cmp.Compare(failing[b.ID], failing[a.ID]),
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
		ID: n.ID, Cluster: n.Cluster, Namespace: n.Namespace, Kind: n.Kind, Name: n.Name, Health: n.Health, Reasons: n.Reasons, Signals: n.Signals,
		RateSpark: g.empty(), ErrorSpark: g.empty(), LatencySpark: g.empty(),
	}
	if sp != nil {
		out.RateSpark, out.ErrorSpark, out.LatencySpark = sp.requests.rate(), sp.requests.errorShare(), sp.latency
	}
	return out
}

// readSparks asks for the sparks of all workloads at once: two questions for those that are watched, and two for those that only their
// callers tell about.
func (s *Service) readSparks(ctx context.Context, g grid, nodes *graph) (map[model.Workload]*sparks, error) {
	all := map[model.Workload]*sparks{}
	want := func(byCaller bool) func(model.Workload) *sparks {
		return func(w model.Workload) *sparks {
			if n := nodes.nodes[w]; n == nil || n.callers != byCaller {
				return nil
			}
			sp := all[w]
			if sp == nil {
				sp = newSparks(g)
				all[w] = sp
			}
			return sp
		}
	}
	questions := sparkQuestions(g, servingEnd(nil, s.home), want(false))
	if kinds := nodes.kindsByCaller(); len(kinds) > 0 {
		questions = append(questions, sparkQuestions(g, callersOfKinds(kinds), want(true))...)
	}
	if err := s.askRange(ctx, g, questions); err != nil {
		return nil, err
	}
	return all, nil
}

// sparkQuestions reads one source. of returns nil for a workload that is read elsewhere.
func sparkQuestions(g grid, src source, of func(model.Workload) *sparks) []rangeQuestion {
	return []rangeQuestion{
		{src.requestRate(g.window), func(k sampleKey, ser promql.Series) {
			if sp := of(k.server); sp != nil {
				sp.requests.add(k, ser.Floats)
			}
		}},
		{src.failureRate(g.window), func(k sampleKey, ser promql.Series) {
			if sp := of(k.server); sp != nil {
				sp.requests.fail(k, ser.Floats)
			}
		}},
		{"histogram_quantile(0.95, " + src.durationRate(g.window) + ")", func(k sampleKey, ser promql.Series) {
			if sp := of(k.server); sp != nil {
				sp.latency = g.floats(ser.Floats)
			}
		}},
	}
}
