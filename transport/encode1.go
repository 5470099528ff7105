package transport

import (
	"fmt"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// maxPlain bounds a batch without compression. Ours have little more than batchBytes; one comes from a file.
const maxPlain = 64 << 20

// downgrade turns the body of a request of version 2.0 into one of version 1.0, for receivers that do not know the other. Start timestamps have no
// place there and are lost.
func downgrade(body []byte) ([]byte, error) {
	if n, err := snappy.DecodedLen(body); err != nil || n > maxPlain {
		return nil, fmt.Errorf("read a batch of %d bytes: it is not snappy, or of %d bytes without compression", len(body), n)
	}
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		return nil, fmt.Errorf("read a batch: %w", err)
	}
	var from writev2.Request
	if err := from.Unmarshal(plain); err != nil {
		return nil, fmt.Errorf("read a batch: %w", err)
	}
	to := prompb.WriteRequest{Timeseries: make([]prompb.TimeSeries, 0, len(from.Timeseries))}
	told := make(map[string]bool)
	builder := labels.NewScratchBuilder(16)
	for i := range from.Timeseries {
		series := &from.Timeseries[i]
		ls, err := series.ToLabels(&builder, from.Symbols)
		if err != nil {
			return nil, fmt.Errorf("read a batch: %w", err)
		}
		out := prompb.TimeSeries{Labels: prompb.FromLabels(ls, nil)}
		for _, s := range series.Samples {
			out.Samples = append(out.Samples, prompb.Sample{Value: s.Value, Timestamp: s.Timestamp})
		}
		for _, h := range series.Histograms {
			if h.IsFloatHistogram() {
				out.Histograms = append(out.Histograms, prompb.FromFloatHistogram(h.Timestamp, h.ToFloatHistogram()))
			} else {
				out.Histograms = append(out.Histograms, prompb.FromIntHistogram(h.Timestamp, h.ToIntHistogram()))
			}
		}
		to.Timeseries = append(to.Timeseries, out)
		if name := ls.Get(labels.MetricName); !told[name] {
			told[name] = true
			md, err := series.ToMetadata(from.Symbols)
			if err != nil {
				return nil, fmt.Errorf("read a batch: %w", err)
			}
			if !md.IsEmpty() {
				to.Metadata = append(to.Metadata, prompb.MetricMetadata{
					MetricFamilyName: name, Type: prompb.FromMetadataType(md.Type), Help: md.Help, Unit: md.Unit,
				})
			}
		}
	}
	plain, err = to.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write a batch: %w", err)
	}
	return snappy.Encode(nil, plain), nil
}
