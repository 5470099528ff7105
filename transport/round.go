package transport

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"

	"github.com/vetch-dev/vetch/transport/spool"
)

const maxMetadata = 10_000 // metrics whose type and help are known

// AppenderV2 begins a round of samples, which is for one goroutine and ends with Commit or Rollback. Commit hands the samples over to be sent and does not
// wait for that. Labels must always be given; the references that Append returns mean nothing.
func (s *Sender) AppenderV2(context.Context) storage.AppenderV2 {
	return &round{sender: s, encoder: s.encoders.Get().(*encoder)}
}

// SetMetadata says what is told of a metric with each of its samples.
func (s *Sender) SetMetadata(name string, md metadata.Metadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.metadata[name]; known || len(s.metadata) < maxMetadata {
		s.metadata[name] = md
	}
}

// Reject counts samples that a collector could not make out.
func (s *Sender) Reject(_ error, samples int) { s.metrics.drop("duplicate", samples) }

// round encodes samples as they come.
type round struct {
	sender  *Sender
	encoder *encoder
	batches []*spool.Batch
}

var errNoName = errors.New("a series has no __name__")

// Append implements storage.AppenderV2. Nothing of what it is given is kept.
func (r *round) Append(_ storage.SeriesRef, ls labels.Labels, start, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, _ storage.AOptions) (storage.SeriesRef, error) {
	name := ls.Get(labels.MetricName)
	if name == "" {
		return 0, errNoName
	}
	if r.encoder.full() {
		r.batches = append(r.batches, r.encoder.finish())
	}
	r.sender.mu.Lock()
	md := r.sender.metadata[name]
	r.sender.mu.Unlock()
	return 0, r.encoder.add(ls, point{start: start, time: t, value: v, integer: h, float: fh}, md)
}

// Commit implements storage.AppenderV2.
func (r *round) Commit() error {
	if b := r.encoder.finish(); b != nil {
		r.batches = append(r.batches, b)
	}
	for _, b := range r.batches {
		r.sender.queue.put(b)
	}
	r.sender.rounds.Inc()
	return r.Rollback()
}

// Rollback implements storage.AppenderV2.
func (r *round) Rollback() error {
	r.encoder.finish()
	r.sender.encoders.Put(r.encoder)
	r.encoder, r.batches = nil, nil
	return nil
}
