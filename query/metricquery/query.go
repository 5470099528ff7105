package metricquery

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/stats"
)

// maxPoints is how many points of one series a range query may give, as in Prometheus: 60 s steps for a week, 1 h for a year.
const maxPoints = 11_000

// queryResult is the data of query and query_range.
type queryResult struct {
	value parser.Value
	stats stats.QueryStats
}

func (e *Engine) serveQuery(r *http.Request) (*reply, error) {
	t, err := timeOf(r, "time", time.Now())
	if err != nil {
		return nil, err
	}
	return e.run(r, func(ctx context.Context, o promql.QueryOpts) (promql.Query, error) {
		return e.engine.NewInstantQuery(ctx, e.db, o, r.FormValue("query"), t)
	})
}

func (e *Engine) serveQueryRange(r *http.Request) (*reply, error) {
	start, err := neededTime(r, "start")
	if err != nil {
		return nil, err
	}
	end, err := neededTime(r, "end")
	if err != nil {
		return nil, err
	}
	step, err := durationOf(r, "step")
	if err != nil {
		return nil, err
	}
	switch {
	case end.Before(start):
		return nil, badParameter("end", errors.New("the end is before the start"))
	case step < time.Millisecond:
		return nil, badParameter("step", errors.New("the step must be at least 1 ms"))
	case end.Sub(start)/step > maxPoints:
		return nil, badData("exceeded maximum resolution of %d points per timeseries: ask for a longer step or a shorter range", maxPoints)
	}
	return e.run(r, func(ctx context.Context, o promql.QueryOpts) (promql.Query, error) {
		return e.engine.NewRangeQuery(ctx, e.db, o, r.FormValue("query"), start, end, step)
	})
}

func neededTime(r *http.Request, name string) (time.Time, error) {
	if r.FormValue(name) == "" {
		return time.Time{}, badParameter(name, errors.New("it is missing"))
	}
	return timeOf(r, name, time.Time{})
}

// run parses and evaluates one query under all limits. The reply's done gives the engine its memory back.
func (e *Engine) run(r *http.Request, prepare func(context.Context, promql.QueryOpts) (promql.Query, error)) (_ *reply, err error) {
	limit, err := limitOf(r, "limit")
	if err != nil {
		return nil, err
	}
	var lookbackDelta time.Duration
	if r.FormValue("lookback_delta") != "" {
		if lookbackDelta, err = durationOf(r, "lookback_delta"); err != nil {
			return nil, err
		}
	}
	ctx, cancel, err := deadline(r)
	if err != nil {
		return nil, err
	}
	defer cancel()
	ctx, leave, err := e.admit(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	q, err := prepare(ctx, promql.NewPrometheusQueryOpts(r.FormValue("stats") == "all", lookbackDelta))
	if err != nil {
		return nil, badParameter("query", err)
	}
	res := q.Exec(ctx)
	if res.Err != nil {
		q.Close()
		return nil, res.Err
	}
	out := &queryResult{value: res.Value}
	notes := res.Warnings
	if limit > 0 {
		out.value, notes = truncate(res.Value, limit, notes)
	}
	if r.FormValue("stats") != "" {
		out.stats = stats.NewQueryStats(q.Stats())
	}
	return &reply{data: out, notes: notes, query: r.FormValue("query"), done: q.Close}, nil
}

func truncate(v parser.Value, limit int, notes annotations.Annotations) (parser.Value, annotations.Annotations) {
	switch all := v.(type) {
	case promql.Vector:
		if len(all) > limit {
			return all[:limit], notes.Add(errTruncated)
		}
	case promql.Matrix:
		if len(all) > limit {
			return all[:limit], notes.Add(errTruncated)
		}
	}
	return v, notes
}

func (e *Engine) serveExemplars(r *http.Request) (*reply, error) {
	start, err := timeOf(r, "start", minTime())
	if err != nil {
		return nil, err
	}
	end, err := timeOf(r, "end", maxTime())
	if err != nil {
		return nil, err
	}
	if end.Before(start) {
		return nil, badParameter("end", errors.New("the end is before the start"))
	}
	expr, err := e.parser.ParseExpr(r.FormValue("query"))
	if err != nil {
		return nil, badParameter("query", err)
	}
	selectors := parser.ExtractSelectors(expr)
	if len(selectors) == 0 {
		return &reply{data: exemplarResult(nil)}, nil
	}
	q, err := e.db.ExemplarQuerier(r.Context())
	if err != nil {
		return nil, promql.ErrStorage{Err: err}
	}
	found, err := q.Select(start.UnixMilli(), end.UnixMilli(), selectors...)
	if err != nil {
		return nil, promql.ErrStorage{Err: err}
	}
	return &reply{data: exemplarResult(found)}, nil
}

func (e *Engine) serveFormat(r *http.Request) (*reply, error) {
	expr, err := e.parser.ParseExpr(r.FormValue("query"))
	if err != nil {
		return nil, badParameter("query", err)
	}
	return &reply{data: expr.Pretty(0)}, nil
}

func (e *Engine) serveParse(r *http.Request) (*reply, error) {
	expr, err := e.parser.ParseExpr(r.FormValue("query"))
	if err != nil {
		return nil, badParameter("query", err)
	}
	return &reply{data: describe(expr)}, nil
}
