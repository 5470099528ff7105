// Package transport takes in what other processes send: Prometheus remote write 1.0 and 2.0.
package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
)

const (
	defaultMaxBody    = 32 << 20
	defaultMaxDecoded = 128 << 20
	defaultMaxSeries  = 1_000_000
	retryAfterSeconds = 5
)

// Store is where samples go. Its appenders may also have AppendExemplar, as storage.ExemplarAppender; it is used for exemplars that come without a
// sample. A sample given with a reference and without labels must fail with tsdb.ErrInvalidSample if the reference is of no series.
type Store interface {
	storage.AppendableV2
	SetMetadata(name string, md metadata.Metadata)
}

// Options of a RemoteWrite. Store is needed, all else has a default.
type Options struct {
	Store      Store
	Log        *slog.Logger
	Registerer prometheus.Registerer
	MaxBody    int64 // bytes of a request as it is sent, default 32 MiB
	MaxDecoded int64 // bytes of a request without compression, default 128 MiB
	MaxSeries  int   // whose references are remembered, at 50 bytes each; default 1 million
	MaxRunning int   // requests at a time, default 4 a CPU; more wait
}

// RemoteWrite is the receiver of remote write, an http.Handler for POST.
//
// Answers: 204; 400 for samples that can never be accepted (those that can be are kept) and for bodies that make no sense; 413 over a limit; 415 for
// another format; 503 where the store cannot take samples now: nothing of the request was kept, and it may be sent again. Version 2.0 answers carry the
// X-Prometheus-Remote-Write-*-Written headers.
type RemoteWrite struct {
	opts    Options
	log     *slog.Logger
	metrics *writeMetrics
	refs    *refCache
	running chan struct{}
	buffers sync.Pool // of *buffers
}

// NewRemoteWrite makes a receiver. It has nothing to close.
func NewRemoteWrite(o Options) (*RemoteWrite, error) {
	if o.Store == nil {
		return nil, errors.New("remote write: no store given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.MaxBody <= 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.MaxDecoded <= 0 {
		o.MaxDecoded = defaultMaxDecoded
	}
	if o.MaxSeries <= 0 {
		o.MaxSeries = defaultMaxSeries
	}
	if o.MaxRunning <= 0 {
		o.MaxRunning = 4 * runtime.GOMAXPROCS(0)
	}
	w := &RemoteWrite{opts: o, log: o.Log, refs: newRefCache(o.MaxSeries), running: make(chan struct{}, o.MaxRunning)}
	w.buffers.New = func() any { return new(buffers) }
	w.metrics = newWriteMetrics(o.Registerer, w.refs)
	return w, nil
}

// ServeHTTP implements http.Handler.
func (w *RemoteWrite) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	version, err := negotiate(r)
	if err == nil {
		select {
		case w.running <- struct{}{}:
			defer func() { <-w.running }()
		case <-r.Context().Done():
			return // who asked is gone
		}
	}
	var out outcome
	if err == nil {
		out, err = w.receive(rw, r, version)
	}
	w.answer(rw, version, out, err)
}

// receive decodes one request and writes its samples.
func (w *RemoteWrite) receive(rw http.ResponseWriter, r *http.Request, v version) (outcome, error) {
	b := w.buffers.Get().(*buffers)
	defer w.putBuffers(b)
	body, err := b.read(rw, r, w.opts.MaxBody, w.opts.MaxDecoded)
	if err != nil {
		return outcome{}, err
	}
	batch := newBatch(r.Context(), w, b)
	if v == version2 {
		err = batch.decode2(body)
	} else {
		err = batch.decode1(body)
	}
	if err != nil {
		// A body that breaks off in the middle was damaged on its way: what came before is not trusted either.
		return outcome{}, errors.Join(err, batch.app.Rollback())
	}
	if batch.broken != nil {
		return outcome{}, &refusal{status: http.StatusServiceUnavailable, reason: "store", err: errors.Join(batch.broken, batch.app.Rollback())}
	}
	if err := batch.app.Commit(); err != nil {
		return outcome{}, &refusal{status: http.StatusServiceUnavailable, reason: "store", err: err}
	}
	batch.remember()
	return batch.outcome, batch.outcome.err()
}

// refusal is an error with the status that it is answered with.
type refusal struct {
	status int
	reason string // label of vetch_remote_write_refused_total
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(status int, reason, format string, args ...any) *refusal {
	return &refusal{status: status, reason: reason, err: fmt.Errorf(format, args...)}
}

func (w *RemoteWrite) answer(rw http.ResponseWriter, v version, out outcome, err error) {
	w.metrics.count(v, out)
	if v == version2 {
		h := rw.Header()
		h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(out.samples))
		h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(out.histograms))
		h.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(out.exemplars))
	}
	if err == nil {
		w.metrics.requests.WithLabelValues(v.String(), "204").Inc()
		rw.WriteHeader(http.StatusNoContent)
		return
	}
	status := http.StatusInternalServerError
	var no *refusal
	if errors.As(err, &no) {
		status = no.status
		w.metrics.refused.WithLabelValues(no.reason).Inc()
	}
	w.metrics.requests.WithLabelValues(v.String(), strconv.Itoa(status)).Inc()
	if status == http.StatusServiceUnavailable {
		rw.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	w.log.Debug("remote write refused", "status", status, "err", err)
	http.Error(rw, err.Error(), status)
}
