package command

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
)

func TestSelfMetricsAreTheSeriesOfTheTextFormat(t *testing.T) {
	reg := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "c_total", Help: "c"}, []string{"reason"})
	counter.WithLabelValues("full").Add(3)
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "g"})
	gauge.Set(-1.5)
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h_seconds", Buckets: []float64{1, 2}})
	histogram.Observe(1.5)
	summary := prometheus.NewSummary(prometheus.SummaryOpts{Name: "s", Objectives: map[float64]float64{0.5: 0.1}})
	summary.Observe(4)
	untyped := prometheus.NewUntypedFunc(prometheus.UntypedOpts{Name: "u"}, func() float64 { return 7 })
	reg.MustRegister(counter, gauge, histogram, summary, untyped)

	self := newSelfMetrics(reg, slog.New(slog.DiscardHandler), "")
	type got struct {
		kind    model.MetricType
		value   float64
		created bool
	}
	samples := func() (map[string]got, map[string]*model.Family) {
		all, families := map[string]got{}, map[string]*model.Family{}
		gatherers{self}.Gather(func(s model.Sample) {
			all[s.Family.Name+s.Labels.String()] = got{s.Family.Type, s.Value, !s.Created.IsZero()}
			families[s.Family.Name] = s.Family
		})
		return all, families
	}
	all, families := samples()
	require.Equal(t, map[string]got{
		`c_total{reason="full"}`:      {model.Counter, 3, true},
		`g{}`:                         {model.Gauge, -1.5, false},
		`h_seconds_bucket{le="1"}`:    {model.Counter, 0, true},
		`h_seconds_bucket{le="2"}`:    {model.Counter, 1, true},
		`h_seconds_bucket{le="+Inf"}`: {model.Counter, 1, true},
		`h_seconds_sum{}`:             {model.Counter, 1.5, true},
		`h_seconds_count{}`:           {model.Counter, 1, true},
		`s{quantile="0.5"}`:           {model.Gauge, 4, false},
		`s_sum{}`:                     {model.Counter, 4, true},
		`s_count{}`:                   {model.Counter, 1, true},
		`u{}`:                         {model.Gauge, 7, false},
	}, all)
	_, again := samples()
	for name, f := range families {
		require.Same(t, f, again[name], "families are the same in each round")
	}
}

func TestSelfMetricsGiveWhatTheyCan(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fine"}, func() float64 { return 1 }), broken{})
	n := 0
	newSelfMetrics(reg, slog.New(slog.DiscardHandler), "").Gather(func(model.Sample) { n++ })
	require.Equal(t, 1, n)
}

type broken struct{}

func (broken) Describe(chan<- *prometheus.Desc) {}
func (broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(errors.New("x")), errors.New("x"))
}
