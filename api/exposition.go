package api

import (
	"math"
	"sort"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vetch-dev/vetch/model"
)

// Exposition lets /metrics read a model.Gatherer; put it beside the registry with prometheus.Gatherers. Histograms come with their native
// buckets, which only the protobuf format carries, and with a few classic ones for scrapers that read text.
func Exposition(g model.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families := make(map[string]*dto.MetricFamily)
		g.Gather(func(s model.Sample) {
			f := families[s.Family.Name]
			if f == nil {
				f = &dto.MetricFamily{Name: proto.String(s.Family.Name), Help: proto.String(s.Family.Help), Type: typeOf(s.Family.Type).Enum()}
				if s.Family.Unit != "" {
					f.Unit = proto.String(s.Family.Unit)
				}
				families[s.Family.Name] = f
			}
			f.Metric = append(f.Metric, metricOf(s))
		})
		out := make([]*dto.MetricFamily, 0, len(families))
		for _, f := range families {
			out = append(out, f)
		}
		sort.Slice(out, func(i, j int) bool { return out[i].GetName() < out[j].GetName() })
		return out, nil
	})
}

func typeOf(t model.MetricType) dto.MetricType {
	switch t {
	case model.Counter:
		return dto.MetricType_COUNTER
	case model.Histogram:
		return dto.MetricType_HISTOGRAM
	}
	return dto.MetricType_GAUGE
}

func metricOf(s model.Sample) *dto.Metric {
	m := &dto.Metric{Label: make([]*dto.LabelPair, 0, s.Labels.Len())}
	s.Labels.Range(func(l labels.Label) {
		// A process names itself as it likes, and one bad byte would spoil the whole answer.
		m.Label = append(m.Label, &dto.LabelPair{Name: proto.String(l.Name), Value: proto.String(strings.ToValidUTF8(l.Value, "\ufffd"))})
	})
	var created *timestamppb.Timestamp
	if !s.Created.IsZero() {
		created = timestamppb.New(s.Created)
	}
	switch {
	case s.Histogram != nil:
		m.Histogram = histogramOf(s.Histogram)
		m.Histogram.CreatedTimestamp = created
	case s.Family.Type == model.Counter:
		m.Counter = &dto.Counter{Value: proto.Float64(s.Value), CreatedTimestamp: created}
	default:
		m.Gauge = &dto.Gauge{Value: proto.Float64(s.Value)}
	}
	return m
}

// histogramOf copies the native histogram and counts it into the classic buckets.
func histogramOf(h *histogram.Histogram) *dto.Histogram {
	out := &dto.Histogram{
		SampleCount:   proto.Uint64(h.Count),
		SampleSum:     proto.Float64(h.Sum),
		Schema:        proto.Int32(h.Schema),
		ZeroThreshold: proto.Float64(h.ZeroThreshold),
		ZeroCount:     proto.Uint64(h.ZeroCount),
		PositiveSpan:  spansOf(h.PositiveSpans),
		PositiveDelta: append([]int64(nil), h.PositiveBuckets...),
		NegativeSpan:  spansOf(h.NegativeSpans),
		NegativeDelta: append([]int64(nil), h.NegativeBuckets...),
	}
	if h.ZeroThreshold == 0 && h.ZeroCount == 0 && len(out.PositiveSpan)+len(out.NegativeSpan) == 0 {
		// Without any bucket a scraper could not tell it from a classic histogram; this is what client_golang writes too.
		out.PositiveSpan = []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(0)}}
	}
	out.Bucket = classicBuckets(h)
	return out
}

func spansOf(spans []histogram.Span) []*dto.BucketSpan {
	out := make([]*dto.BucketSpan, len(spans))
	for i, s := range spans {
		out[i] = &dto.BucketSpan{Offset: proto.Int32(s.Offset), Length: proto.Uint32(s.Length)}
	}
	return out
}

// classicBounds are powers of two of a second, 61 µs to 8 s: they are bucket bounds of every native schema from 0 up, so that the counts are exact.
func classicBounds() []int { return []int{-14, -11, -9, -7, -6, -5, -4, -3, -2, -1, 0, 1, 3} }

// classicBuckets counts the observations up to each bound. It gives nothing for a schema with wider buckets than powers of two.
func classicBuckets(h *histogram.Histogram) []*dto.Bucket {
	if h.Schema < 0 || h.Schema > histogram.ExponentialSchemaMax {
		return nil
	}
	bounds := classicBounds()
	out := make([]*dto.Bucket, len(bounds))
	counts := make([]uint64, len(bounds))
	below := h.ZeroCount
	for it := h.NegativeBucketIterator(); it.Next(); {
		below += it.At().Count
	}
	for it := h.PositiveBucketIterator(); it.Next(); {
		b := it.At()
		for i, exp := range bounds {
			if int64(b.Index) <= int64(exp)<<h.Schema { // the bucket's upper bound is 2^(index / 2^schema)
				counts[i] += b.Count
				break
			}
		}
	}
	for i, exp := range bounds {
		below += counts[i]
		out[i] = &dto.Bucket{UpperBound: proto.Float64(math.Ldexp(1, exp)), CumulativeCount: proto.Uint64(below)}
	}
	return out
}
