package servicemap

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/model"
)

// parallelQueries bounds how much of the engine one answer takes.
const parallelQueries = 4

// questionOf is one question whose answer fill reads, one sample or series at a time.
type questionOf[S any] struct {
	expr string
	fill func(key sampleKey, s S)
}

type (
	instantQuestion = questionOf[promql.Sample]
	rangeQuestion   = questionOf[promql.Series]
)

// sampleKey is what the labels of a sample say, for edges and workloads alike.
type sampleKey struct {
	client, server            model.Workload // of an edge; server is also the workload of a workload metric
	port, protocol            string
	code, direction, errorMsg string
	method, route             string
}

func (k sampleKey) edge() edgeKey {
	port, err := strconv.ParseUint(k.port, 10, 16)
	if err != nil {
		port = 0
	}
	return edgeKey{client: k.client, server: k.server, port: uint16(port)}
}

// keyOf reads all labels in one pass, because there are tens of thousands of samples in an answer.
func (s *Service) keyOf(ls labels.Labels) sampleKey {
	var k sampleKey
	ls.Range(func(l labels.Label) {
		switch l.Name {
		case "cluster":
			if l.Value != s.home {
				k.client.Cluster, k.server.Cluster = l.Value, l.Value
			}
		case "client_namespace":
			k.client.Namespace = l.Value
		case "client_kind":
			k.client.Kind = model.Kind(l.Value)
		case "client":
			k.client.Name = l.Value
		case "server_namespace", "namespace":
			k.server.Namespace = l.Value
		case "server_kind", "kind":
			k.server.Kind = model.Kind(l.Value)
		case "server", "workload":
			k.server.Name = l.Value
		case "port":
			k.port = l.Value
		case "protocol":
			k.protocol = l.Value
		case "code":
			k.code = l.Value
		case "direction":
			k.direction = l.Value
		case "error":
			k.errorMsg = l.Value
		case "method":
			k.method = l.Value
		case "route":
			k.route = l.Value
		}
	})
	k.client, k.server = named(k.client), named(k.server)
	return k
}

// named gives a workload whose labels are empty a form that an id can express.
func named(w model.Workload) model.Workload {
	if w.Kind == "" {
		w.Kind = model.KindExternal
	}
	if w.Name == "" {
		w.Name = unknownName
	}
	return w
}

// ask evaluates the questions at t.
func (s *Service) ask(ctx context.Context, t time.Time, questions []instantQuestion) error {
	return askAll(ctx, questions,
		func(ctx context.Context, expr string) ([]promql.Sample, error) { return s.engine.Instant(ctx, expr, t) },
		func(one promql.Sample) sampleKey { return s.keyOf(one.Metric) })
}

// askRange is ask for the points of a grid.
func (s *Service) askRange(ctx context.Context, g grid, questions []rangeQuestion) error {
	return askAll(ctx, questions,
		func(ctx context.Context, expr string) ([]promql.Series, error) {
			return s.engine.Range(ctx, expr, g.start, g.end(), g.step)
		},
		func(one promql.Series) sampleKey { return s.keyOf(one.Metric) })
}

// askAll evaluates questions, a few at once, and fills in order so that the result does not depend on timing.
func askAll[S any](ctx context.Context, questions []questionOf[S], evaluate func(context.Context, string) ([]S, error), keyOf func(S) sampleKey) error {
	answers := make([][]S, len(questions))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelQueries)
	for i, q := range questions {
		g.Go(func() error {
			var err error
			if answers[i], err = evaluate(ctx, q.expr); err != nil {
				return fmt.Errorf("query %s: %w", q.expr, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, q := range questions {
		for _, one := range answers[i] {
			q.fill(keyOf(one), one)
		}
	}
	return nil
}

// requests are the request figures of one node, edge or route, as rates over a window.
type requests struct {
	known            bool
	all, failed, cut float64 // of HTTP; failed: 5xx, cut: ended before a response
	errored          float64 // of other protocols, for whatever reason
	duration         *histogram.FloatHistogram
}

// count adds requests of a protocol and code.
func (r *requests) count(k sampleKey, rate float64) {
	r.known = true
	r.all += rate
	if !isHTTP(k.protocol) {
		return // only the counter of failures tells which codes are errors
	}
	switch classOf(k.code) {
	case "5xx":
		r.failed += rate
	case classNone:
		r.cut += rate
	}
}

// fail adds failed requests, which count has already. Those of HTTP are told by their codes, so that reasons can say which.
func (r *requests) fail(k sampleKey, rate float64) {
	if !isHTTP(k.protocol) {
		r.errored += rate
	}
}

// add merges figures of the same requests-per-second kind; histograms are summed, never their quantiles.
func (r *requests) add(o requests) {
	r.known = r.known || o.known
	r.all += o.all
	r.failed += o.failed
	r.cut += o.cut
	r.errored += o.errored
	if o.duration == nil {
		return
	}
	if r.duration == nil {
		r.duration = o.duration.Copy()
		return
	}
	if _, _, _, err := r.duration.Add(o.duration); err != nil {
		r.duration = nil // of an incompatible kind: then the sum is not known
	}
}

func (r requests) errors() float64 { return r.failed + r.cut + r.errored }

func (r requests) signals() Signals {
	var out Signals
	if r.known {
		out.Rate = figure(r.all)
		if r.all > 0 {
			out.ErrorShare = figure(r.errors() / r.all)
		}
	}
	out.P50, out.P95, out.P99 = quantile(0.5, r.duration), quantile(0.95, r.duration), quantile(0.99, r.duration)
	return out
}

// Classes of requests beside those of HTTP statuses.
const (
	classNone   = "none"
	classOK     = "ok"     // of protocols other than HTTP
	classFailed = "failed" // the same
)

// isHTTP reports whether the codes of a protocol are HTTP statuses. Others have numbers that look like them: an AMQP reply of 404.
func isHTTP(protocol string) bool {
	return protocol == "http" || protocol == "http2" || protocol == "tcp" || protocol == ""
}

// classOf names the class of an HTTP status: 1xx to 5xx, none for a connection that ended before the response, other for anything else.
func classOf(code string) string {
	if code == classNone {
		return classNone
	}
	if len(code) == 3 && code[0] >= '1' && code[0] <= '5' {
		return code[:1] + "xx"
	}
	return "other"
}
