package digest

import (
	"math"
	"time"

	"github.com/prometheus/prometheus/model/histogram"

	"github.com/vetch-dev/vetch/agent/probe"
)

// scale is a layout of buckets in the kernel: element i counts up to 2^((i+first) / 2^schema) seconds. The first and last are open.
type scale struct {
	schema int32
	first  int
}

var (
	durationScale = scale{schema: probe.HistogramSchema, first: probe.FirstBucket}
	rttScale      = scale{schema: 0, first: -20}
)

// buckets accumulates counts; it holds only the range that was hit.
type buckets struct {
	low    int // element of counts[0]
	counts []uint64
	count  uint64
	sum    time.Duration
}

// add takes the counts of one reading.
func (b *buckets) add(delta []uint32, sum time.Duration) {
	low, high := 0, len(delta)
	for low < high && delta[low] == 0 {
		low++
	}
	for high > low && delta[high-1] == 0 {
		high--
	}
	b.sum += sum
	if low == high {
		return
	}
	b.cover(low, high)
	for i, n := range delta[low:high] {
		b.counts[low+i-b.low] += uint64(n)
		b.count += uint64(n)
	}
}

// cover widens the range to [low, high).
func (b *buckets) cover(low, high int) {
	if len(b.counts) == 0 {
		b.low = low
	}
	from, to := min(low, b.low), max(high, b.low+len(b.counts))
	if from == b.low && to == b.low+len(b.counts) {
		return
	}
	wider := make([]uint64, to-from)
	copy(wider[b.low-from:], b.counts)
	b.low, b.counts = from, wider
}

// mergeGap is how many empty buckets are cheaper to list than to begin a new span.
const mergeGap = 2

// native writes the histogram in the form that Prometheus stores. The open first bucket becomes the zero bucket, whose width is its upper
// bound: it holds all that was faster. The open last bucket keeps its place, so that quantiles in it stay finite.
func (b *buckets) native(s scale, spans *[]histogram.Span, deltas *[]int64) histogram.Histogram {
	h := histogram.Histogram{
		Schema: s.schema, Count: b.count, Sum: b.sum.Seconds(),
		ZeroThreshold: math.Exp2(math.Ldexp(float64(s.first), -int(s.schema))),
	}
	spansFrom, deltasFrom := len(*spans), len(*deltas)
	var last uint64
	end := 0 // bucket index after the last one listed
	for i, n := range b.counts {
		element := b.low + i
		if element == 0 {
			h.ZeroCount = n
			continue
		}
		if n == 0 {
			continue
		}
		index := element + s.first
		if gap := index - end; len(*spans) == spansFrom || gap > mergeGap {
			*spans = append(*spans, histogram.Span{Offset: int32(gap), Length: 1})
		} else {
			for range gap {
				*deltas = append(*deltas, -int64(last))
				last = 0
			}
			(*spans)[len(*spans)-1].Length += uint32(gap) + 1
		}
		*deltas = append(*deltas, int64(n)-int64(last))
		last, end = n, index+1
	}
	h.PositiveSpans = (*spans)[spansFrom:len(*spans):len(*spans)]
	h.PositiveBuckets = (*deltas)[deltasFrom:len(*deltas):len(*deltas)]
	return h
}
