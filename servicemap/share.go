package servicemap

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/model"
)

// Span is the part of the past that an answer is about.
type Span struct{ span }

// Start of the span.
func (s Span) Start() time.Time { return s.start }

// End of the span, at which instant questions are asked.
func (s Span) End() time.Time { return s.end }

// Length of the span.
func (s Span) Length() time.Duration { return s.length() }

// Asked is a question of another package about the same store.
type Asked struct {
	Answer  string // its name in vetch_servicemap_computed_total
	Query   Query
	Default time.Duration // of the range
	Detail  string        // what tells it from other questions of the name about the span
}

// Span resolves the times of the question. Error: ErrBadQuery.
func (s *Service) Span(a Asked) (Span, error) {
	sp, err := s.spanOf(a.Query, a.Default)
	return Span{sp}, err
}

// Answer computes an answer, or takes that of another viewer, within the bounds that the map's own answers have. compute returns the weight of its
// answer too, about one for each KiB. It must not wait for another answer. Errors: as of Map.
func Answer[T any](ctx context.Context, s *Service, a Asked, compute func(context.Context, Span) (T, int, error)) (T, error) {
	sp, err := s.spanOf(a.Query, a.Default)
	if err != nil {
		var none T
		return none, err
	}
	return cached(ctx, s.cache, s.question(a.Answer, sp, a.Detail), func(ctx context.Context) (T, int, error) { return compute(ctx, Span{sp}) })
}

// Question is one instant question. Fill is called for each sample, in the order of the questions.
type Question struct {
	Expr string
	Fill func(ls labels.Labels, value float64)
}

// Ask evaluates the questions at t, a few at once.
func (s *Service) Ask(ctx context.Context, t time.Time, questions []Question) error {
	list := make([]instantQuestion, len(questions))
	for i, q := range questions {
		list[i] = instantQuestion{q.Expr, func(_ sampleKey, smp promql.Sample) { q.Fill(smp.Metric, smp.F) }}
	}
	return s.ask(ctx, t, list)
}

// Chart is one question over the time of a page's chart.
type Chart struct {
	Expr func(window time.Duration) string
	Fill func(ls labels.Labels, s Series)
}

// AskCharts evaluates the charts over a span. Their series all have the same times.
func (s *Service) AskCharts(ctx context.Context, sp Span, charts []Chart) error {
	g := gridOf(sp.span, chartPoints)
	answers := make([]promql.Matrix, len(charts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelQueries)
	for i, c := range charts {
		group.Go(func() error {
			expr := c.Expr(g.window)
			var err error
			if answers[i], err = s.engine.Range(ctx, expr, g.start, g.end(), g.step); err != nil {
				return fmt.Errorf("query %s: %w", expr, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, c := range charts {
		for _, ser := range answers[i] {
			c.Fill(ser.Metric, g.floats(ser.Floats))
		}
	}
	return nil
}

// NoValues is the series of a chart that nothing is known of.
func NoValues(sp Span) Series { return gridOf(sp.span, chartPoints).empty() }

// Cluster of a series as ids have it: "" for the one that this process is in.
func (s *Service) Cluster(ls labels.Labels) string { return s.away(ls.Get("cluster")) }

func (s *Service) away(cluster string) string {
	if cluster == s.home {
		return ""
	}
	return cluster
}

// Away makes a workload's cluster what ids have.
func (s *Service) Away(w model.Workload) model.Workload {
	w.Cluster = s.away(w.Cluster)
	return w
}

// ClusterName is the name of the cluster that ids have so.
func (s *Service) ClusterName(cluster string) string { return cmp.Or(cluster, s.home) }

// ClusterMatcher selects the series of the cluster that ids have so.
func (s *Service) ClusterMatcher(cluster string) string { return clusterMatcher(cluster, s.home) }

// Figure makes a number ready for JSON: six significant digits; what is no number is not known.
func Figure(v float64) *float64 { return figure(v) }

// Window writes a duration as PromQL reads it.
func Window(d time.Duration) string { return duration(d) }

// Severity orders levels of health; the worst is the highest.
func Severity(h Health) int { return severity(h) }
