// Package metricquery answers PromQL, as Go functions and as the Prometheus HTTP API v1, by Prometheus's own engine.
package metricquery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/vetch-dev/vetch/store"
)

const (
	defaultTimeout     = 2 * time.Minute
	defaultMaxSamples  = 50_000_000
	defaultConcurrency = 20
	lookback           = 5 * time.Minute
)

// Options say what is read and what a query may cost. DB is needed, all else has a default.
type Options struct {
	DB             store.Metrics
	Log            *slog.Logger
	Registerer     prometheus.Registerer
	Timeout        time.Duration     // of one query, default 2 min
	MaxSamples     int               // that one query may hold in memory, default 50 million
	MaxConcurrency int               // queries at a time, default 20; more wait until their timeout
	Config         func() string     // for /status/config: the present configuration as YAML
	Flags          map[string]string // for /status/flags
	Version        string            // for /status/buildinfo
}

// Engine evaluates queries. It has nothing to close.
type Engine struct {
	opts    Options
	log     *slog.Logger
	db      store.Metrics
	engine  *promql.Engine
	parser  parser.Parser
	limiter *limiter
	metrics *queryMetrics
	started time.Time
}

// New makes an engine over the store.
func New(o Options) (*Engine, error) {
	if o.DB == nil {
		return nil, errors.New("metricquery: no store given")
	}
	o = withDefaults(o)
	p := newParser()
	e := &Engine{opts: o, log: o.Log, db: o.DB, parser: p, started: time.Now(), limiter: newLimiter(o.MaxConcurrency), metrics: newQueryMetrics(o.Registerer)}
	e.engine = promql.NewEngine(promql.EngineOpts{
		Logger:               o.Log,
		Reg:                  o.Registerer,
		MaxSamples:           o.MaxSamples,
		Timeout:              o.Timeout,
		LookbackDelta:        lookback,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               p,
		NoStepSubqueryIntervalFn: func(int64) int64 {
			return time.Minute.Milliseconds()
		},
	})
	return e, nil
}

// newParser reads PromQL as a Prometheus without feature flags does.
func newParser() parser.Parser { return parser.NewParser(parser.Options{}) }

func withDefaults(o Options) Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.MaxSamples <= 0 {
		o.MaxSamples = defaultMaxSamples
	}
	if o.MaxConcurrency <= 0 {
		o.MaxConcurrency = defaultConcurrency
	}
	return o
}

// Instant evaluates the expression at t. A scalar comes as one sample without labels. The samples are the caller's.
// Errors: those of the parser, promql.ErrQueryTimeout, ErrTooManySamples, ErrStorage, and ErrBusy.
func (e *Engine) Instant(ctx context.Context, expr string, t time.Time) (promql.Vector, error) {
	ctx, done, err := e.admit(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	q, err := e.engine.NewInstantQuery(ctx, e.db, promql.NewPrometheusQueryOpts(false, 0), expr, t)
	if err != nil {
		return nil, fmt.Errorf("parse query: %w", err)
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, res.Err
	}
	switch v := res.Value.(type) {
	case promql.Vector:
		return append(promql.Vector(nil), v...), nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	}
	return nil, fmt.Errorf("query gives a %s, not a vector", res.Value.Type())
}

// Range evaluates the expression at start, start+step, ... up to end. The points are the caller's.
func (e *Engine) Range(ctx context.Context, expr string, start, end time.Time, step time.Duration) (promql.Matrix, error) {
	ctx, done, err := e.admit(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	q, err := e.engine.NewRangeQuery(ctx, e.db, promql.NewPrometheusQueryOpts(false, 0), expr, start, end, step)
	if err != nil {
		return nil, fmt.Errorf("parse query: %w", err)
	}
	defer q.Close()
	m, err := q.Exec(ctx).Matrix()
	if err != nil {
		return nil, err
	}
	return copyMatrix(m), nil
}

// copyMatrix takes the points out of the engine's pools, to which Close gives them back.
func copyMatrix(m promql.Matrix) promql.Matrix {
	out := make(promql.Matrix, len(m))
	for i, s := range m {
		out[i] = promql.Series{Metric: s.Metric, Floats: append([]promql.FPoint(nil), s.Floats...)}
		for _, h := range s.Histograms {
			out[i].Histograms = append(out[i].Histograms, promql.HPoint{T: h.T, H: h.H.Copy()})
		}
	}
	return out
}
