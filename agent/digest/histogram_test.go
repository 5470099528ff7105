package digest

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/histogram"

	"github.com/vetch-dev/vetch/agent/probe"
)

// kernelBucket is the element that the kernel counts a duration in, by the contract of probe.RequestDelta.
func kernelBucket(seconds float64) int {
	i := int(math.Ceil(math.Log2(seconds)*8)) - probe.FirstBucket
	return min(max(i, 0), probe.NumBuckets-1)
}

// TestNativeAgreesWithPrometheus fills the same durations into our histogram and into one of Prometheus' client library.
func TestNativeAgreesWithPrometheus(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	reference := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "x", NativeHistogramBucketFactor: math.Exp2(1.0 / 8), NativeHistogramZeroThreshold: math.Exp2(-20),
	})
	var b buckets
	for range 20 {
		var delta [probe.NumBuckets]uint32
		var sum time.Duration
		for range 500 {
			seconds := math.Exp2(random.Float64()*20 - 16) // 15 µs to 16 s
			reference.Observe(seconds)
			delta[kernelBucket(seconds)]++
			sum += time.Duration(seconds * float64(time.Second))
		}
		b.add(delta[:], sum)
	}
	var written dto.Metric
	if err := reference.Write(&written); err != nil {
		t.Fatal(err)
	}
	want := written.GetHistogram()
	var spans []histogram.Span
	var deltas []int64
	h := b.native(durationScale, &spans, &deltas)
	if err := h.Validate(); err != nil {
		t.Fatal(err)
	}
	if h.Schema != want.GetSchema() || h.Count != want.GetSampleCount() || h.ZeroThreshold != want.GetZeroThreshold() || math.Abs(h.Sum-want.GetSampleSum()) > 1e-4 {
		t.Fatalf("got %+v\nwant %v", h, want)
	}
	reconstructed := histogram.Histogram{Schema: want.GetSchema(), Count: want.GetSampleCount(), Sum: h.Sum, ZeroThreshold: want.GetZeroThreshold(), ZeroCount: want.GetZeroCount(), PositiveBuckets: want.GetPositiveDelta()}
	for _, s := range want.GetPositiveSpan() {
		reconstructed.PositiveSpans = append(reconstructed.PositiveSpans, histogram.Span{Offset: s.GetOffset(), Length: s.GetLength()})
	}
	if got, want := h.ToFloat(nil).Compact(0), reconstructed.ToFloat(nil).Compact(0); !got.Equals(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestNativeEdges(t *testing.T) {
	for _, tc := range []struct {
		name     string
		elements []int
		zero     uint64
		bounds   []float64 // upper bounds of the buckets that hold something
	}{
		{"nothing", nil, 0, nil},
		{"only the first, which is open", []int{0}, 1, nil},
		{"only the last, which is open", []int{probe.NumBuckets - 1}, 0, []float64{64}},
		{"both ends", []int{0, probe.NumBuckets - 1}, 1, []float64{64}},
		{"one second", []int{-probe.FirstBucket}, 0, []float64{1}},
		{"neighbours and small gaps", []int{100, 101, 104, 110}, 0, []float64{math.Exp2(-60.0 / 8), math.Exp2(-59.0 / 8), math.Exp2(-56.0 / 8), math.Exp2(-50.0 / 8)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var delta [probe.NumBuckets]uint32
			for _, i := range tc.elements {
				delta[i] = 1
			}
			var b buckets
			b.add(delta[:], time.Second)
			var spans []histogram.Span
			var deltas []int64
			h := b.native(durationScale, &spans, &deltas)
			if err := h.Validate(); err != nil {
				t.Fatal(err)
			}
			if h.ZeroCount != tc.zero || h.Count != uint64(len(tc.elements)) || h.ZeroThreshold != math.Exp2(-20) {
				t.Errorf("got %+v", h)
			}
			var bounds []float64
			for it := h.PositiveBucketIterator(); it.Next(); {
				if bucket := it.At(); bucket.Count > 0 {
					bounds = append(bounds, bucket.Upper)
				}
			}
			if len(bounds) != len(tc.bounds) {
				t.Fatalf("bounds %v, want %v", bounds, tc.bounds)
			}
			for i := range bounds {
				if math.Abs(bounds[i]/tc.bounds[i]-1) > 1e-12 {
					t.Errorf("bound %v, want %v", bounds[i], tc.bounds[i])
				}
			}
		})
	}
}

func TestRTTScale(t *testing.T) {
	var delta [probe.NumRTTBuckets]uint32
	delta[0], delta[10], delta[20], delta[23] = 1, 2, 3, 4
	var b buckets
	b.add(delta[:], time.Second)
	var spans []histogram.Span
	var deltas []int64
	h := b.native(rttScale, &spans, &deltas)
	if err := h.Validate(); err != nil {
		t.Fatal(err)
	}
	got := map[float64]uint64{}
	for it := h.PositiveBucketIterator(); it.Next(); {
		if bucket := it.At(); bucket.Count > 0 {
			got[bucket.Upper] = bucket.Count
		}
	}
	if h.ZeroCount != 1 || got[math.Exp2(-10)] != 2 || got[1] != 3 || got[8] != 4 {
		t.Errorf("zero %d, buckets %v", h.ZeroCount, got)
	}
}

// FuzzNative: whatever the kernel counts, the histogram is valid, holds every count and never loses one.
func FuzzNative(f *testing.F) {
	f.Add([]byte{0, 1, 208, 2}, []byte{5, 5})
	f.Add([]byte{}, []byte{255, 255, 100, 0})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var b buckets
		var want uint64
		for _, data := range [][]byte{first, second} {
			var delta [probe.NumBuckets]uint32
			for i := 0; i+1 < len(data); i += 2 {
				delta[int(data[i])%probe.NumBuckets] += uint32(data[i+1])
				want += uint64(data[i+1])
			}
			b.add(delta[:], 0)
		}
		var spans []histogram.Span
		var deltas []int64
		h := b.native(durationScale, &spans, &deltas)
		if err := h.Validate(); err != nil {
			t.Fatalf("%v: %+v", err, h)
		}
		if h.Count != want {
			t.Fatalf("count %d, want %d", h.Count, want)
		}
	})
}
