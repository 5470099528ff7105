package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// Bounds of one series. Real ones have some 20 labels and 500 bytes.
const (
	maxLabels     = 128
	maxLabelBytes = 16 << 10
)

// scratch is the memory in which one series after another is decoded. All of it points into the body.
type scratch struct {
	labelBytes     [][]byte // 1.0
	symbols        [][]byte // 2.0
	labelRefs      []uint64 // 2.0
	key            []byte   // 2.0
	metadataBytes  []byte   // 2.0
	histogramBytes [][]byte
	exemplarBytes  [][]byte
	samples        []sample
	histograms     []histogramSample
	exemplars      []exemplar.Exemplar
	builder        labels.ScratchBuilder
	fresh          []freshSeries
}

type histogramSample struct {
	timestamp, start int64
	integer          *histogram.Histogram
	float            *histogram.FloatHistogram
}

// freshSeries is to be remembered once its samples are written.
type freshSeries struct {
	hash seriesHash
	knownSeries
}

// reset lets go of the body, and of memory that only an odd request needs.
func (s *scratch) reset() {
	const keep = 1 << 16
	if cap(s.symbols) > keep || cap(s.samples) > keep || cap(s.fresh) > keep || cap(s.labelRefs) > keep {
		*s = scratch{}
		return
	}
	clear(s.symbols[:cap(s.symbols)])
	clear(s.labelBytes[:cap(s.labelBytes)])
	s.symbols, s.fresh = s.symbols[:0], s.fresh[:0]
}

// batch writes the samples of one request.
type batch struct {
	*scratch
	w         *RemoteWrite
	app       storage.AppenderV2
	labels    func() (labels.Labels, error) // decodes those of the present series
	scattered bool                          // the labels of the present series are not in one run, so their bytes cannot be its key
	outcome   outcome
	broken    error // the store's own trouble, not the sender's
}

func newBatch(ctx context.Context, w *RemoteWrite, b *buffers) *batch {
	return &batch{scratch: &b.batch, w: w, app: w.opts.Store.AppenderV2(ctx)}
}

// begin forgets the series before.
func (b *batch) begin() {
	b.labelBytes, b.labelRefs, b.key, b.metadataBytes = b.labelBytes[:0], b.labelRefs[:0], b.key[:0], nil
	b.histogramBytes, b.exemplarBytes = b.histogramBytes[:0], b.exemplarBytes[:0]
	b.samples, b.histograms, b.exemplars = b.samples[:0], b.histograms[:0], b.exemplars[:0]
	b.scattered = false
}

// write stores the present series, which raw stands for; its labels are built only if it is not known yet.
func (b *batch) write(raw []byte) {
	hash := b.w.refs.hash(raw)
	known, ok := b.w.refs.get(hash)
	ls := labels.EmptyLabels()
	if !ok || b.scattered || len(b.exemplars) > 0 {
		var err error
		if ls, err = b.checked(); err != nil {
			b.rejectSeries("labels", err.Error())
			return
		}
		if b.scattered {
			known = knownSeries{}
		}
		b.describe(ls)
	}
	now := known
	for i := range b.samples {
		s := &b.samples[i]
		now = b.append(now, &ls, s.start, s.timestamp, s.value, nil, nil)
	}
	for _, h := range b.histograms {
		if err := h.reduce(); err != nil {
			b.outcome.reject("invalid", 1, "%v", err)
			continue
		}
		now = b.append(now, &ls, h.start, h.timestamp, 0, h.integer, h.float)
	}
	b.appendExemplars(now.ref, ls)
	if now != known && now.ref != 0 && !b.scattered {
		b.fresh = append(b.fresh, freshSeries{hash, now})
	}
}

// append stores one sample. ls is empty while the reference is good; a series that the store has dropped is given again with its labels.
func (b *batch) append(k knownSeries, ls *labels.Labels, start, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram) knownSeries {
	zero := start
	if start == k.start || start >= t {
		zero = 0 // written before, or makes no sense
	}
	ref, err := b.app.Append(k.ref, *ls, zero, t, v, h, fh, storage.AOptions{})
	if err != nil && ls.IsEmpty() && errors.Is(err, tsdb.ErrInvalidSample) {
		if *ls, err = b.checked(); err != nil {
			err = fmt.Errorf("%w: %w", tsdb.ErrInvalidSample, err)
		} else {
			k = knownSeries{}
			if start < t {
				zero = start
			}
			ref, err = b.app.Append(0, *ls, zero, t, v, h, fh, storage.AOptions{})
		}
	}
	if err != nil {
		if reason := reasonOf(err); reason != "" {
			b.outcome.reject(reason, 1, "%s: %v", b.name(*ls), err)
		} else {
			b.broken = err
		}
		return k
	}
	if h != nil || fh != nil {
		b.outcome.histograms++
	} else {
		b.outcome.samples++
	}
	k.ref = ref
	if zero != 0 {
		k.start = zero
	}
	return k
}

// reduce brings a histogram with finer buckets than the store knows to the finest that it does.
func (h *histogramSample) reduce() error {
	if h.integer != nil && histogram.IsExponentialSchemaReserved(h.integer.Schema) && h.integer.Schema > histogram.ExponentialSchemaMax {
		return h.integer.ReduceResolution(histogram.ExponentialSchemaMax)
	}
	if h.float != nil && histogram.IsExponentialSchemaReserved(h.float.Schema) && h.float.Schema > histogram.ExponentialSchemaMax {
		return h.float.ReduceResolution(histogram.ExponentialSchemaMax)
	}
	return nil
}

func (b *batch) appendExemplars(ref storage.SeriesRef, ls labels.Labels) {
	if len(b.exemplars) == 0 {
		return
	}
	app, ok := b.app.(storage.ExemplarAppender)
	for _, e := range b.exemplars {
		if !ok {
			b.outcome.reject("exemplar", 1, "the store takes no exemplars")
			continue
		}
		if _, err := app.AppendExemplar(ref, ls, e); err != nil {
			b.outcome.reject("exemplar", 1, "exemplar of %s: %v", ls, err)
			continue
		}
		b.outcome.exemplars++
	}
}

// checked decodes the labels and holds them to the rules of Prometheus and to our bounds.
func (b *batch) checked() (labels.Labels, error) {
	ls, err := b.labels()
	if err != nil {
		return ls, err
	}
	if ls.Len() > maxLabels || ls.ByteSize() > maxLabelBytes {
		return labels.EmptyLabels(), fmt.Errorf("series has %d labels in %d bytes; the limits are %d and %d", ls.Len(), ls.ByteSize(), maxLabels, maxLabelBytes)
	}
	ls = ls.WithoutEmpty()
	if !ls.Has(labels.MetricName) {
		return labels.EmptyLabels(), fmt.Errorf("series %s has no __name__", ls)
	}
	if !ls.IsValid(commonmodel.UTF8Validation) {
		return labels.EmptyLabels(), fmt.Errorf("series %q has a label name that is empty, or text that is not UTF-8", ls.String())
	}
	if name, twice := ls.HasDuplicateLabelNames(); twice {
		return labels.EmptyLabels(), fmt.Errorf("series %s has the label %q twice", ls, name)
	}
	return ls, nil
}

// describe records the metadata that came with a series of version 2.0.
func (b *batch) describe(ls labels.Labels) {
	if len(b.metadataBytes) == 0 {
		return
	}
	md := b.metadata2()
	name := ls.Get(labels.MetricName)
	if md.Type == commonmodel.MetricTypeHistogram || md.Type == commonmodel.MetricTypeSummary {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if family, cut := strings.CutSuffix(name, suffix); cut {
				name = family
				break
			}
		}
	}
	b.setMetadata(name, md)
}

func (b *batch) setMetadata(name string, md metadata.Metadata) {
	const longest = 4096 // bytes of a help text
	if len(name) > maxLabelBytes || len(md.Help) > longest || len(md.Unit) > longest {
		return
	}
	b.w.opts.Store.SetMetadata(strings.Clone(name), metadata.Metadata{Type: md.Type, Unit: strings.Clone(md.Unit), Help: strings.Clone(md.Help)})
}

// rejectSeries counts all samples of the present series.
func (b *batch) rejectSeries(reason, why string) {
	b.outcome.reject(reason, max(len(b.samples)+len(b.histograms)+len(b.exemplars), 1), "%s", why)
}

// remember keeps the references of new series, now that they are written.
func (b *batch) remember() {
	for _, f := range b.fresh {
		b.w.refs.put(f.hash, f.knownSeries)
	}
}

func malformed(err error) error {
	var no *refusal
	if errors.As(err, &no) {
		return no
	}
	return refuse(http.StatusBadRequest, "protobuf", "decode remote write: %w", err)
}

// name is for messages; the labels of a known series are decoded only for that.
func (b *batch) name(ls labels.Labels) string {
	if ls.IsEmpty() {
		var err error
		if ls, err = b.labels(); err != nil {
			return "series"
		}
	}
	return ls.String()
}
