package transport

import (
	"fmt"
	"unsafe"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/protobuf/encoding/protowire"
)

// decode1 reads a prometheus.WriteRequest: timeseries=1, metadata=3.
func (b *batch) decode1(msg []byte) error {
	b.labels = b.labels1
	for len(msg) > 0 {
		f, rest, err := next(msg)
		if err != nil {
			return malformed(err)
		}
		msg = rest
		switch f.number {
		case 1:
			err = b.series1(f)
		case 3:
			err = b.metadata1(f)
		}
		if err != nil {
			return malformed(err)
		}
	}
	return nil
}

// series1 reads a TimeSeries: labels=1, samples=2, exemplars=3, histograms=4.
func (b *batch) series1(f field) error {
	if f.kind != protowire.BytesType {
		return fmt.Errorf("%w: a series has kind %d", errWire, f.kind)
	}
	b.begin()
	first, end := -1, 0 // of the labels, which every sender writes in one run
	whole := f.bytes
	for msg := whole; len(msg) > 0; {
		at := len(whole) - len(msg)
		f, rest, err := next(msg)
		if err != nil {
			return err
		}
		if f.number <= 4 && f.kind != protowire.BytesType {
			return fmt.Errorf("%w: field %d of a series has kind %d", errWire, f.number, f.kind)
		}
		switch f.number {
		case 1:
			if first < 0 {
				first, end = at, at
			}
			if at != end {
				b.scattered = true
			}
			end = len(whole) - len(rest)
			b.labelBytes = append(b.labelBytes, f.bytes)
		case 2:
			s, err := decodeSample(f.bytes)
			if err != nil {
				return err
			}
			s.start = 0
			b.samples = append(b.samples, s)
		case 3:
			b.exemplarBytes = append(b.exemplarBytes, f.bytes)
		case 4:
			b.histogramBytes = append(b.histogramBytes, f.bytes)
		}
		msg = rest
	}
	if first < 0 {
		first = 0
	}
	if err := b.decodeHistograms1(); err != nil {
		return err
	}
	b.write(whole[first:end])
	return nil
}

// labels1 decodes the labels of the present series.
func (b *batch) labels1() (labels.Labels, error) {
	b.builder.Reset()
	for _, msg := range b.labelBytes {
		var name, value []byte
		for len(msg) > 0 {
			f, rest, err := next(msg)
			if err != nil {
				return labels.EmptyLabels(), err
			}
			if f.number <= 2 && f.kind != protowire.BytesType {
				return labels.EmptyLabels(), fmt.Errorf("%w: field %d of a label has kind %d", errWire, f.number, f.kind)
			}
			switch f.number {
			case 1:
				name = f.bytes
			case 2:
				value = f.bytes
			}
			msg = rest
		}
		b.builder.Add(text(name), text(value))
	}
	b.builder.Sort()
	return b.builder.Labels(), nil
}

func (b *batch) decodeHistograms1() error {
	for _, raw := range b.histogramBytes {
		var p prompb.Histogram
		if err := p.Unmarshal(raw); err != nil {
			return fmt.Errorf("%w: histogram: %w", errWire, err)
		}
		h := histogramSample{timestamp: p.Timestamp}
		if p.IsFloatHistogram() {
			h.float = p.ToFloatHistogram()
		} else {
			h.integer = p.ToIntHistogram()
		}
		b.histograms = append(b.histograms, h)
	}
	for _, raw := range b.exemplarBytes {
		var p prompb.Exemplar
		if err := p.Unmarshal(raw); err != nil {
			return fmt.Errorf("%w: exemplar: %w", errWire, err)
		}
		b.exemplars = append(b.exemplars, p.ToExemplar(&b.builder, nil))
	}
	return nil
}

// metadata1 reads a MetricMetadata; these come apart from the series.
func (b *batch) metadata1(f field) error {
	if f.kind != protowire.BytesType {
		return fmt.Errorf("%w: metadata has kind %d", errWire, f.kind)
	}
	var m prompb.MetricMetadata
	if err := m.Unmarshal(f.bytes); err != nil {
		return fmt.Errorf("%w: metadata: %w", errWire, err)
	}
	b.setMetadata(m.MetricFamilyName, metadata.Metadata{Type: metricType(int32(m.Type)), Unit: m.Unit, Help: m.Help})
	return nil
}

// metricType maps the enumeration of both versions; they have the same numbers.
func metricType(n int32) commonmodel.MetricType {
	types := [...]commonmodel.MetricType{
		commonmodel.MetricTypeUnknown, commonmodel.MetricTypeCounter, commonmodel.MetricTypeGauge, commonmodel.MetricTypeHistogram,
		commonmodel.MetricTypeGaugeHistogram, commonmodel.MetricTypeSummary, commonmodel.MetricTypeInfo, commonmodel.MetricTypeStateset,
	}
	if n < 0 || int(n) >= len(types) {
		return commonmodel.MetricTypeUnknown
	}
	return types[n]
}

// text views bytes as a string without a copy; the builder makes one.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
