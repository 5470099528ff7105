package transport

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// maxMessages is how many reasons an answer spells out.
const maxMessages = 5

// outcome is what became of a request's samples.
type outcome struct {
	samples, histograms, exemplars int // written
	rejected                       map[string]int
	messages                       []string
}

// reject counts n samples that can never be accepted.
func (o *outcome) reject(reason string, n int, format string, args ...any) {
	if o.rejected == nil {
		o.rejected = make(map[string]int)
	}
	o.rejected[reason] += n
	if len(o.messages) < maxMessages {
		text := fmt.Sprintf(format, args...)
		o.messages = append(o.messages, text[:min(len(text), 500)])
	}
}

// err is nil if nothing was rejected.
func (o *outcome) err() error {
	if len(o.rejected) == 0 {
		return nil
	}
	n := 0
	for _, count := range o.rejected {
		n += count
	}
	return refuse(http.StatusBadRequest, "samples", "%d samples were not accepted and %d were: %s", n, o.samples+o.histograms+o.exemplars, strings.Join(o.messages, "; "))
}

// reasonOf is the label value for an error by which a store refuses a sample for good, or "" for all others: such a sample may be sent again.
func reasonOf(err error) string {
	for name, known := range map[string]error{
		"out_of_order":        storage.ErrOutOfOrderSample,
		"too_old":             storage.ErrTooOldSample,
		"out_of_bounds":       storage.ErrOutOfBounds,
		"duplicate_timestamp": storage.ErrDuplicateSampleForTimestamp,
		"invalid":             tsdb.ErrInvalidSample,
	} {
		if errors.Is(err, known) {
			return name
		}
	}
	var bad histogram.Error
	if errors.As(err, &bad) {
		return "invalid"
	}
	return ""
}

type writeMetrics struct {
	requests *prometheus.CounterVec
	refused  *prometheus.CounterVec
	written  *prometheus.CounterVec
	rejected *prometheus.CounterVec
}

func newWriteMetrics(r prometheus.Registerer, refs *refCache) *writeMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &writeMetrics{
		requests: counter("vetch_remote_write_requests_total", "Remote write requests by version and status.", "version", "code"),
		refused:  counter("vetch_remote_write_refused_total", "Remote write requests that were not accepted as a whole, by reason.", "reason"),
		written:  counter("vetch_remote_write_written_total", "What was written of remote write requests, by kind.", "version", "kind"),
		rejected: counter("vetch_remote_write_rejected_total", "Samples, histograms and exemplars of remote write requests that can never be accepted, by reason.", "reason"),
	}
	for _, reason := range []string{"body", "content_type", "encoding", "method", "protobuf", "samples", "snappy", "store", "symbols", "too_large"} {
		m.refused.WithLabelValues(reason)
	}
	for _, reason := range []string{"duplicate_timestamp", "exemplar", "invalid", "labels", "out_of_bounds", "out_of_order", "symbols", "too_old"} {
		m.rejected.WithLabelValues(reason)
	}
	r.MustRegister(m.requests, m.refused, m.written, m.rejected, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "vetch_remote_write_known_series", Help: "Series whose references are remembered.",
	}, func() float64 { return float64(refs.len()) }))
	return m
}

func (m *writeMetrics) count(v version, o outcome) {
	for kind, n := range map[string]int{"sample": o.samples, "histogram": o.histograms, "exemplar": o.exemplars} {
		if n > 0 {
			m.written.WithLabelValues(v.String(), kind).Add(float64(n))
		}
	}
	for reason, n := range o.rejected {
		m.rejected.WithLabelValues(reason).Add(float64(n))
	}
}
