// Package servicemap turns the edge and workload metrics of any PromQL engine into a graph with health, sparklines and stable positions.
package servicemap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrBadQuery   = errors.New("bad query") // the times or the id cannot be answered; the message says why
	ErrNotFound   = errors.New("not found") // nothing is known of it in the range
	ErrBusy       = errors.New("too many questions at once")
	ErrNotRunning = errors.New("service map updates are not running")
)

// Limits of the ranges that are answered.
const (
	MinRange = 10 * time.Second // a rate needs two samples, and agents send one every 5 s
	MaxRange = 366 * 24 * time.Hour

	DefaultMapRange      = time.Minute
	DefaultWorkloadRange = 15 * time.Minute
)

// Engine answers PromQL. The vectors and matrices belong to the caller.
type Engine interface {
	Instant(ctx context.Context, expr string, t time.Time) (promql.Vector, error)
	Range(ctx context.Context, expr string, start, end time.Time, step time.Duration) (promql.Matrix, error)
}

// Options of a Service. Engine is required.
type Options struct {
	Engine        Engine
	Cluster       string // the one that this process is in: its workloads have ids without a cluster. Empty: that of the series without a label cluster
	PositionsFile string // where the picture survives a restart; empty keeps it in memory only
	Log           *slog.Logger
	Registerer    prometheus.Registerer
	Now           func() time.Time
}

// Service answers questions about the map. Its methods may be called at once from many goroutines.
type Service struct {
	engine    Engine
	home      string // Options.Cluster
	log       *slog.Logger
	now       func() time.Time
	metrics   *metrics
	cache     *cache
	positions *positions
	fanout    *fanout
	levels    levels
}

// New reads the remembered positions. A positions file that cannot be understood is set aside, never deleted, and is no error.
func New(o Options) (*Service, error) {
	if o.Engine == nil {
		return nil, errors.New("create service map: no engine given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := newMetrics()
	if o.Registerer != nil {
		if err := m.register(o.Registerer); err != nil {
			return nil, fmt.Errorf("register service map metrics: %w", err)
		}
	}
	p, err := newPositions(o.PositionsFile, o.Log, o.Now)
	if err != nil {
		return nil, err
	}
	return &Service{
		engine: o.Engine, home: o.Cluster, log: o.Log, now: o.Now, metrics: m,
		cache: newCache(o.Now, o.Log, m), positions: p, fanout: newFanout(),
	}, nil
}

// Query says which part of the past is asked for. End zero means now; Start zero means Range before the end; Range zero means the
// default of the method.
type Query struct {
	Start, End time.Time
	Range      time.Duration
	Namespace  string // only this namespace and what it talks to; empty means all
}

// span is a Query made definite. live spans move with the clock, so that all viewers of "the last minute" share one answer.
type span struct {
	start, end time.Time
	live       bool
}

func (s span) length() time.Duration { return s.end.Sub(s.start) }

// key names the answer in the cache.
func (s span) key() string {
	if s.live {
		return "live " + s.length().String()
	}
	return fmt.Sprintf("%d %d", s.start.UnixMilli(), s.end.UnixMilli())
}

// spanOf resolves a Query. Times are cut to whole seconds for ranges that follow the clock, so that near-simultaneous questions are one.
func (s *Service) spanOf(q Query, defaultRange time.Duration) (span, error) {
	now := s.now()
	out := span{start: q.Start, end: q.End, live: q.End.IsZero()}
	if out.live {
		out.end = now
	}
	if out.start.IsZero() {
		length := q.Range
		if length == 0 {
			length = defaultRange
		}
		out.start = out.end.Add(-length)
	}
	if out.live {
		out.start = out.end.Add(-out.length().Truncate(time.Second))
	}
	switch length := out.length(); {
	case length <= 0:
		return span{}, fmt.Errorf("%w: the start %s is not before the end %s", ErrBadQuery,
			out.start.UTC().Format(time.RFC3339), out.end.UTC().Format(time.RFC3339))
	case length < MinRange:
		return span{}, fmt.Errorf("%w: the range is %s long, but rates need at least %s", ErrBadQuery, length, MinRange)
	case length > MaxRange:
		return span{}, fmt.Errorf("%w: the range is longer than %d days", ErrBadQuery, int(MaxRange.Hours()/24))
	}
	return out, nil
}

// ttl says how long an answer may be reused: a fraction of the range while it follows the clock, longer once the range lies in the past.
func (s *Service) ttl(sp span) time.Duration {
	switch {
	case sp.live:
		return min(max(sp.length()/180, 1500*time.Millisecond), 15*time.Second)
	case s.now().Sub(sp.end) > 10*time.Minute:
		return time.Minute
	default:
		return 5 * time.Second
	}
}
