package transport

import (
	"math"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/vetch-dev/vetch/transport/spool"
)

// Bounds of one batch. Proxies refuse bodies over 1 MiB by default (nginx's client_max_body_size).
const (
	batchSeries = 5000
	batchBytes  = 1 << 20 // before compression
)

// encoder writes series one after another into an io.prometheus.write.v2.Request. Symbols come before the series that use them, as in all
// requests of Prometheus.
type encoder struct {
	refs    map[string]uint32
	symbols []byte // fields 4
	series  []byte // fields 5
	one     []byte // the series that is being written
	part    []byte // a message in it
	count   int
	batch   spool.Batch
}

// point is one sample of a series.
type point struct {
	start, time int64 // Unix ms; start 0: not known
	value       float64
	integer     *histogram.Histogram
	float       *histogram.FloatHistogram
}

// full reports whether the batch is to be finished before the next series.
func (e *encoder) full() bool {
	return e.count >= batchSeries || len(e.symbols)+len(e.series) >= batchBytes
}

// add writes one series. Nothing of what it is given is kept.
func (e *encoder) add(ls labels.Labels, p point, md metadata.Metadata) error {
	if e.refs == nil {
		e.refs = make(map[string]uint32)
	}
	if len(e.refs) == 0 {
		e.symbol("")
	}
	e.part = e.part[:0]
	ls.Range(func(l labels.Label) {
		e.part = protowire.AppendVarint(e.part, uint64(e.symbol(l.Name)))
		e.part = protowire.AppendVarint(e.part, uint64(e.symbol(l.Value)))
	})
	e.one = appendMessage(e.one[:0], 1, e.part)
	if err := e.point(p); err != nil {
		return err
	}
	e.metadata(md)
	e.series = appendMessage(e.series, 5, e.one)
	e.count++
	if e.batch.Time == 0 || p.time < e.batch.Time {
		e.batch.Time = p.time
	}
	return nil
}

func appendMessage(out []byte, number protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), message)
}

// symbol is the number of a text in this batch.
func (e *encoder) symbol(text string) uint32 {
	ref, ok := e.refs[text]
	if !ok {
		ref = uint32(len(e.refs))
		e.refs[text] = ref
		e.symbols = protowire.AppendString(protowire.AppendTag(e.symbols, 4, protowire.BytesType), text)
	}
	return ref
}

// point writes a Sample (value=1, timestamp=2, start_timestamp=3) or a Histogram.
func (e *encoder) point(p point) error {
	if p.integer != nil || p.float != nil {
		var message writev2.Histogram
		if p.integer != nil {
			message = writev2.FromIntHistogram(p.start, p.time, p.integer)
		} else {
			message = writev2.FromFloatHistogram(p.start, p.time, p.float)
		}
		size := message.Size()
		if cap(e.part) < size {
			e.part = make([]byte, size)
		}
		if _, err := message.MarshalToSizedBuffer(e.part[:size]); err != nil {
			return err
		}
		e.one = appendMessage(e.one, 3, e.part[:size])
		e.batch.Histograms++
		return nil
	}
	e.part = e.part[:0]
	if p.value != 0 || math.Signbit(p.value) {
		e.part = protowire.AppendFixed64(protowire.AppendTag(e.part, 1, protowire.Fixed64Type), math.Float64bits(p.value))
	}
	e.part = protowire.AppendVarint(protowire.AppendTag(e.part, 2, protowire.VarintType), uint64(p.time))
	if p.start != 0 {
		e.part = protowire.AppendVarint(protowire.AppendTag(e.part, 3, protowire.VarintType), uint64(p.start))
	}
	e.one = appendMessage(e.one, 2, e.part)
	e.batch.Samples++
	return nil
}

// metadata writes a Metadata: type=1, help_ref=3, unit_ref=4.
func (e *encoder) metadata(md metadata.Metadata) {
	if md.IsEmpty() {
		return
	}
	e.part = protowire.AppendVarint(protowire.AppendTag(e.part[:0], 1, protowire.VarintType), uint64(writev2.FromMetadataType(md.Type)))
	e.part = protowire.AppendVarint(protowire.AppendTag(e.part, 3, protowire.VarintType), uint64(e.symbol(md.Help)))
	e.part = protowire.AppendVarint(protowire.AppendTag(e.part, 4, protowire.VarintType), uint64(e.symbol(md.Unit)))
	e.one = appendMessage(e.one, 5, e.part)
}

// finish returns what was added since the last time, or nil.
func (e *encoder) finish() *spool.Batch {
	if e.count == 0 {
		return nil
	}
	e.symbols = append(e.symbols, e.series...)
	b := e.batch
	b.Body = snappy.Encode(nil, e.symbols)
	clear(e.refs)
	e.symbols, e.series, e.count, e.batch = e.symbols[:0], e.series[:0], 0, spool.Batch{}
	return &b
}
