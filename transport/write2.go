package transport

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// decode2 reads an io.prometheus.write.v2.Request: symbols=4, timeseries=5. Symbols may come after the series that use them, so they are gathered first.
func (b *batch) decode2(msg []byte) error {
	b.labels = b.labels2
	for m := msg; len(m) > 0; {
		f, rest, err := next(m)
		if err != nil {
			return malformed(err)
		}
		m = rest
		isSymbol, err := f.is(4, protowire.BytesType)
		if err != nil {
			return malformed(err)
		}
		if isSymbol {
			b.symbols = append(b.symbols, f.bytes)
		}
	}
	if len(b.symbols) > 0 && len(b.symbols[0]) > 0 {
		return refuse(400, "symbols", "the first symbol must be empty")
	}
	for len(msg) > 0 {
		f, rest, err := next(msg)
		if err != nil {
			return malformed(err)
		}
		msg = rest
		if f.number != 5 {
			continue
		}
		if err := b.series2(f); err != nil {
			return malformed(err)
		}
	}
	return nil
}

// series2 reads a TimeSeries: labels_refs=1, samples=2, histograms=3, exemplars=4, metadata=5.
func (b *batch) series2(f field) error {
	if f.kind != protowire.BytesType {
		return fmt.Errorf("%w: a series has kind %d", errWire, f.kind)
	}
	b.begin()
	for msg := f.bytes; len(msg) > 0; {
		f, rest, err := next(msg)
		if err != nil {
			return err
		}
		msg = rest
		if f.number == 1 && f.kind == protowire.VarintType { // a list that is not packed
			b.labelRefs = append(b.labelRefs, f.bits)
			continue
		}
		if f.number <= 5 && f.kind != protowire.BytesType {
			return fmt.Errorf("%w: field %d of a series has kind %d", errWire, f.number, f.kind)
		}
		switch f.number {
		case 1:
			if b.labelRefs, err = unpack(f.bytes, b.labelRefs); err != nil {
				return err
			}
		case 2:
			s, err := decodeSample(f.bytes)
			if err != nil {
				return err
			}
			b.samples = append(b.samples, s)
		case 3:
			b.histogramBytes = append(b.histogramBytes, f.bytes)
		case 4:
			b.exemplarBytes = append(b.exemplarBytes, f.bytes)
		case 5:
			b.metadataBytes = f.bytes
		}
	}
	if err := b.decodeHistograms2(); err != nil {
		return err
	}
	if !b.resolve() {
		b.rejectSeries("symbols", "a label of the series refers to a symbol that is not there")
		return nil
	}
	b.write(b.key)
	return nil
}

// unpack reads a packed list of varints.
func unpack(raw []byte, into []uint64) ([]uint64, error) {
	for len(raw) > 0 {
		v, n := binary.Uvarint(raw)
		if n <= 0 {
			return into, fmt.Errorf("%w: bad varint in a list", errWire)
		}
		into, raw = append(into, v), raw[n:]
	}
	return into, nil
}

// resolve turns the references into the bytes that stand for the series: lengths and texts, one after another.
func (b *batch) resolve() bool {
	if len(b.labelRefs)%2 != 0 {
		return false
	}
	for _, ref := range b.labelRefs {
		if ref >= uint64(len(b.symbols)) {
			return false
		}
		s := b.symbols[ref]
		b.key = binary.AppendUvarint(b.key, uint64(len(s)))
		b.key = append(b.key, s...)
	}
	return true
}

// labels2 builds the labels of the present series; resolve has checked the references.
func (b *batch) labels2() (labels.Labels, error) {
	b.builder.Reset()
	for i := 0; i < len(b.labelRefs); i += 2 {
		b.builder.Add(text(b.symbols[b.labelRefs[i]]), text(b.symbols[b.labelRefs[i+1]]))
	}
	b.builder.Sort()
	return b.builder.Labels(), nil
}

func (b *batch) decodeHistograms2() error {
	for _, raw := range b.histogramBytes {
		var p writev2.Histogram
		if err := p.Unmarshal(raw); err != nil {
			return fmt.Errorf("%w: histogram: %w", errWire, err)
		}
		h := histogramSample{timestamp: p.Timestamp, start: p.StartTimestamp}
		if p.IsFloatHistogram() {
			h.float = p.ToFloatHistogram()
		} else {
			h.integer = p.ToIntHistogram()
		}
		b.histograms = append(b.histograms, h)
	}
	for _, raw := range b.exemplarBytes {
		var p writev2.Exemplar
		if err := p.Unmarshal(raw); err != nil {
			return fmt.Errorf("%w: exemplar: %w", errWire, err)
		}
		ls, ok := b.exemplarLabels(p.LabelsRefs)
		if !ok {
			b.outcome.reject("symbols", 1, "a label of an exemplar refers to a symbol that is not there")
			continue
		}
		b.exemplars = append(b.exemplars, exemplar.Exemplar{Labels: ls, Value: p.Value, Ts: p.Timestamp, HasTs: p.Timestamp != 0})
	}
	return nil
}

func (b *batch) exemplarLabels(refs []uint32) (labels.Labels, bool) {
	if len(refs)%2 != 0 {
		return labels.EmptyLabels(), false
	}
	b.builder.Reset()
	for i := 0; i < len(refs); i += 2 {
		if int(refs[i]) >= len(b.symbols) || int(refs[i+1]) >= len(b.symbols) {
			return labels.EmptyLabels(), false
		}
		b.builder.Add(text(b.symbols[refs[i]]), text(b.symbols[refs[i+1]]))
	}
	b.builder.Sort()
	return b.builder.Labels(), true
}

// metadata2 reads the metadata of the present series: type=1, help_ref=3, unit_ref=4. What makes no sense is left out: it costs no sample.
func (b *batch) metadata2() metadata.Metadata {
	var typ, help, unit uint64
	for msg := b.metadataBytes; len(msg) > 0; {
		f, rest, err := next(msg)
		if err != nil {
			return metadata.Metadata{}
		}
		msg = rest
		switch f.number {
		case 1:
			typ = f.bits
		case 3:
			help = f.bits
		case 4:
			unit = f.bits
		}
	}
	if help >= uint64(len(b.symbols)) || unit >= uint64(len(b.symbols)) || typ > math.MaxInt32 {
		return metadata.Metadata{}
	}
	return metadata.Metadata{Type: metricType(int32(typ)), Help: string(b.symbols[help]), Unit: string(b.symbols[unit])}
}
