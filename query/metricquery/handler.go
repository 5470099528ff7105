package metricquery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/annotations"
)

// statusClientClosed is nginx's number for a client that went away, which Prometheus uses too.
const statusClientClosed = 499

// maxForm bounds the body of a POST, in bytes. A query of that length is a mistake.
const maxForm = 4 << 20

// maxNotes bounds the warnings, and the infos, of one answer.
const maxNotes = 10

// reply is what an endpoint has to say. done, if there, is called when data has been written: it may still point into the store.
type reply struct {
	data  any // written by writeData
	notes annotations.Annotations
	query string // to point at places in it from the notes
	done  func()
}

// apiError is an error with its place in Prometheus's table of error types.
type apiError struct {
	kind   string
	status int
	err    error
}

func (e *apiError) Error() string { return e.err.Error() }
func (e *apiError) Unwrap() error { return e.err }

func badData(format string, args ...any) *apiError {
	return &apiError{kind: "bad_data", status: http.StatusBadRequest, err: fmt.Errorf(format, args...)}
}

func badParameter(name string, err error) *apiError {
	return badData("invalid parameter %q: %w", name, err)
}

// Handler serves the Prometheus HTTP API v1 under /api/v1/, as https://prometheus.io/docs/prometheus/latest/querying/api/ describes it. Errors are JSON
// with errorType bad_data (400), execution (422), canceled (499), internal (500), timeout and unavailable (503), not_found (404).
func (e *Engine) Handler() http.Handler {
	mux := http.NewServeMux()
	both := map[string]func(*http.Request) (*reply, error){
		"query":           e.serveQuery,
		"query_range":     e.serveQueryRange,
		"query_exemplars": e.serveExemplars,
		"format_query":    e.serveFormat,
		"parse_query":     e.serveParse,
		"series":          e.serveSeries,
		"labels":          e.serveLabels,
	}
	get := map[string]func(*http.Request) (*reply, error){
		"label/{name}/values": e.serveLabelValues,
		"metadata":            e.serveMetadata,
		"status/config":       e.serveConfig,
		"status/flags":        e.serveFlags,
		"status/runtimeinfo":  e.serveRuntimeInfo,
		"status/buildinfo":    e.serveBuildInfo,
		"status/tsdb":         e.serveTSDB,
		"status/walreplay":    e.serveReplay,
	}
	for path, f := range both {
		mux.Handle("GET /api/v1/"+path, e.endpoint(f))
		mux.Handle("POST /api/v1/"+path, e.endpoint(f))
	}
	for path, f := range get {
		mux.Handle("GET /api/v1/"+path, e.endpoint(f))
	}
	mux.HandleFunc("/api/v1/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, &apiError{kind: "not_found", status: http.StatusNotFound, err: fmt.Errorf("no such endpoint: %s %s", r.Method, r.URL.Path)})
	})
	return mux
}

func (e *Engine) endpoint(f func(*http.Request) (*reply, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			writeError(w, badData("read parameters: %w", err))
			return
		}
		out, err := f(r)
		if err != nil {
			e.countRefusal(err)
			writeError(w, err)
			return
		}
		if out.done != nil {
			defer out.done()
		}
		w.Header().Set("Content-Type", "application/json")
		if err := writeReply(w, out); err != nil {
			e.log.Debug("answer was not read to its end", "path", r.URL.Path, "err", err)
		}
	})
}

func (e *Engine) countRefusal(err error) {
	var tooMany promql.ErrTooManySamples
	var timeout promql.ErrQueryTimeout
	switch {
	case errors.As(err, &tooMany):
		e.metrics.refused.WithLabelValues("samples").Inc()
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrBusy):
		e.metrics.refused.WithLabelValues("timeout").Inc()
	}
}

// classify finds the error type and the HTTP status of what an engine or a store returned.
func classify(err error) *apiError {
	var known *apiError
	var canceled promql.ErrQueryCanceled
	var timeout promql.ErrQueryTimeout
	var storage promql.ErrStorage
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, ErrBusy), errors.Is(err, tsdb.ErrNotReady):
		return &apiError{"unavailable", http.StatusServiceUnavailable, err}
	case errors.As(err, &canceled), errors.Is(err, context.Canceled):
		return &apiError{"canceled", statusClientClosed, err}
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		return &apiError{"timeout", http.StatusServiceUnavailable, err}
	case errors.As(err, &storage):
		return &apiError{"internal", http.StatusInternalServerError, err}
	}
	return &apiError{"execution", http.StatusUnprocessableEntity, err}
}

func writeError(w http.ResponseWriter, err error) {
	e := classify(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	// The status is out: a client that is gone cannot be told.
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": e.kind, "error": err.Error()})
}
