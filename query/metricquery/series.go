package metricquery

import (
	"context"
	"net/http"
	"slices"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

func (e *Engine) serveSeries(r *http.Request) (*reply, error) {
	sel, err := e.selectionOf(r)
	if err != nil {
		return nil, err
	}
	if len(sel.matchers) == 0 {
		return nil, badData("no match[] parameter provided")
	}
	ctx, leave, err := e.admit(r.Context())
	if err != nil {
		return nil, err
	}
	defer leave()
	q, err := e.db.Querier(sel.start.UnixMilli(), sel.end.UnixMilli())
	if err != nil {
		return nil, promql.ErrStorage{Err: err}
	}
	defer q.Close()
	set := selectSeries(ctx, q, sel)
	found, notes := []labels.Labels{}, annotations.Annotations{}
	for set.Next() {
		if sel.limit > 0 && len(found) == sel.limit {
			notes.Add(errTruncated)
			break
		}
		if len(found)%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		found = append(found, set.At().Labels().Copy()) // out of the querier's memory, which is closed before we write
	}
	if err := set.Err(); err != nil {
		return nil, promql.ErrStorage{Err: err}
	}
	return &reply{data: found, notes: notes.Merge(set.Warnings())}, nil
}

func selectSeries(ctx context.Context, q storage.Querier, sel selection) storage.SeriesSet {
	// "series" is the word by which stores know that no samples are needed.
	hints := &storage.SelectHints{Start: sel.start.UnixMilli(), End: sel.end.UnixMilli(), Func: "series", Limit: sel.hint()}
	if len(sel.matchers) == 1 {
		return q.Select(ctx, false, hints, sel.matchers[0]...)
	}
	sets := make([]storage.SeriesSet, len(sel.matchers))
	for i, m := range sel.matchers {
		sets[i] = q.Select(ctx, true, hints, m...)
	}
	return storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
}

func (e *Engine) serveLabels(r *http.Request) (*reply, error) {
	return e.list(r, func(ctx context.Context, q storage.LabelQuerier, h *storage.LabelHints, m []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelNames(ctx, h, m...)
	})
}

func (e *Engine) serveLabelValues(r *http.Request) (*reply, error) {
	name := r.PathValue("name")
	if len(name) > 3 && name[:3] == "U__" {
		name = commonmodel.UnescapeName(name, commonmodel.ValueEncodingEscaping)
	}
	if !commonmodel.UTF8Validation.IsValidLabelName(name) {
		return nil, badData("invalid label name: %q", name)
	}
	return e.list(r, func(ctx context.Context, q storage.LabelQuerier, h *storage.LabelHints, m []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(ctx, name, h, m...)
	})
}

// list asks once for each selector, once without one if there is none, and gives the union, sorted.
func (e *Engine) list(r *http.Request, ask func(context.Context, storage.LabelQuerier, *storage.LabelHints, []*labels.Matcher) ([]string, annotations.Annotations, error)) (*reply, error) {
	sel, err := e.selectionOf(r)
	if err != nil {
		return nil, err
	}
	ctx, leave, err := e.admit(r.Context())
	if err != nil {
		return nil, err
	}
	defer leave()
	q, err := e.db.Querier(sel.start.UnixMilli(), sel.end.UnixMilli())
	if err != nil {
		return nil, promql.ErrStorage{Err: err}
	}
	defer q.Close()
	if len(sel.matchers) == 0 {
		sel.matchers = [][]*labels.Matcher{nil}
	}
	all, notes := []string{}, annotations.Annotations{}
	for _, m := range sel.matchers {
		some, n, err := ask(ctx, q, &storage.LabelHints{Limit: sel.hint()}, m)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, promql.ErrStorage{Err: err}
		}
		notes.Merge(n)
		for _, s := range some {
			all = append(all, string([]byte(s))) // out of the querier's memory
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if sel.limit > 0 && len(all) > sel.limit {
		all = all[:sel.limit]
		notes.Add(errTruncated)
	}
	return &reply{data: all, notes: notes}, nil
}

// metricMetadata is metadata as this API writes it.
type metricMetadata struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

func (e *Engine) serveMetadata(r *http.Request) (*reply, error) {
	limit, err := limitOf(r, "limit")
	if err != nil {
		return nil, err
	}
	if _, err := limitOf(r, "limit_per_metric"); err != nil {
		return nil, err // there is never more than one, so it has nothing to do
	}
	out := make(map[string][]metricMetadata)
	for name, md := range e.db.Metadata(r.FormValue("metric"), limit) {
		out[name] = []metricMetadata{asJSON(md)}
	}
	return &reply{data: out}, nil
}

func asJSON(md metadata.Metadata) metricMetadata {
	return metricMetadata{Type: string(md.Type), Help: md.Help, Unit: md.Unit}
}
