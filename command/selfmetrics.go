package command

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/model"
)

// selfMetrics hands out what vetch tells of itself, so that it is stored beside what it watches. It is for one goroutine.
type selfMetrics struct {
	from     prometheus.Gatherer
	log      *slog.Logger
	job      string                   // label that tells the processes of one node apart
	node     string                   // label of the same name; empty: whoever collects adds it
	families map[string]*model.Family // by name; samples of one name share one Family
}

func newSelfMetrics(from prometheus.Gatherer, log *slog.Logger, job string) *selfMetrics {
	return &selfMetrics{from: from, log: log, job: job, families: map[string]*model.Family{}}
}

// Gather emits counters, gauges, and histograms and summaries as the series of the text format (_bucket, _sum, _count). What could not
// be gathered is logged, the rest is emitted.
func (s *selfMetrics) Gather(emit func(model.Sample)) {
	families, err := s.from.Gather()
	if err != nil {
		s.log.Warn("some of vetch's own metrics could not be gathered", "err", err)
	}
	for _, f := range families {
		e := emitter{s, f, emit}
		for _, m := range f.GetMetric() {
			e.metric(m)
		}
	}
}

// emitter emits the series of one family.
type emitter struct {
	s    *selfMetrics
	f    *dto.MetricFamily
	emit func(model.Sample)
}

func (e emitter) metric(m *dto.Metric) {
	switch {
	case m.Counter != nil:
		e.sample("", model.Counter, m, m.Counter.GetValue(), m.Counter.GetCreatedTimestamp().AsTime())
	case m.Gauge != nil:
		e.sample("", model.Gauge, m, m.Gauge.GetValue(), time.Time{})
	case m.Untyped != nil:
		e.sample("", model.Gauge, m, m.Untyped.GetValue(), time.Time{})
	case m.Summary != nil:
		created := m.Summary.GetCreatedTimestamp().AsTime()
		for _, q := range m.Summary.GetQuantile() {
			e.sample("", model.Gauge, m, q.GetValue(), time.Time{}, "quantile", number(q.GetQuantile()))
		}
		e.sample("_sum", model.Counter, m, m.Summary.GetSampleSum(), created)
		e.sample("_count", model.Counter, m, float64(m.Summary.GetSampleCount()), created)
	case m.Histogram != nil:
		e.histogram(m)
	}
}

func (e emitter) histogram(m *dto.Metric) {
	h := m.GetHistogram()
	created := h.GetCreatedTimestamp().AsTime()
	for _, b := range h.GetBucket() {
		if le := number(b.GetUpperBound()); le != "+Inf" {
			e.sample("_bucket", model.Counter, m, float64(b.GetCumulativeCount()), created, "le", le)
		}
	}
	e.sample("_bucket", model.Counter, m, float64(h.GetSampleCount()), created, "le", "+Inf")
	e.sample("_sum", model.Counter, m, h.GetSampleSum(), created)
	e.sample("_count", model.Counter, m, float64(h.GetSampleCount()), created)
}

func (e emitter) sample(suffix string, kind model.MetricType, m *dto.Metric, value float64, created time.Time, extra ...string) {
	name := e.f.GetName() + suffix
	family := e.s.families[name]
	if family == nil {
		family = &model.Family{Name: name, Help: e.f.GetHelp(), Unit: e.f.GetUnit(), Type: kind}
		e.s.families[name] = family
	}
	b := labels.NewScratchBuilder(len(m.GetLabel()) + 2)
	if e.s.job != "" {
		b.Add("job", e.s.job)
	}
	if e.s.node != "" {
		b.Add("node", e.s.node)
	}
	for _, l := range m.GetLabel() {
		b.Add(l.GetName(), l.GetValue())
	}
	for i := 0; i+1 < len(extra); i += 2 {
		b.Add(extra[i], extra[i+1])
	}
	b.Sort()
	if created.Unix() <= 0 { // the zero timestamp of protobuf is 1970
		created = time.Time{}
	}
	e.emit(model.Sample{Family: family, Labels: b.Labels(), Value: value, Created: created})
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// gatherers are several as one.
type gatherers []model.Gatherer

// Gather asks each in turn.
func (g gatherers) Gather(emit func(model.Sample)) {
	for _, one := range g {
		one.Gather(emit)
	}
}
