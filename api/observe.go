package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// promLogPause is how long the metrics handler is silent after a line: it says the same of each family when a client goes away midway.
const promLogPause = time.Minute

// promLog lets the metrics handler log through slog, one line at a time.
type promLog struct {
	log    *slog.Logger
	mu     sync.Mutex
	next   time.Time
	silent int // lines since the last one
}

// Println implements promhttp.Logger.
func (l *promLog) Println(v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.next) {
		l.silent++
		return
	}
	l.log.Warn("gather metrics", "err", fmt.Sprint(v...), "left_out", l.silent)
	l.next, l.silent = now.Add(promLogPause), 0
}

type httpMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	running  prometheus.Gauge
	panics   prometheus.Counter
}

func newHTTPMetrics(r prometheus.Registerer) *httpMetrics {
	m := &httpMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vetch_http_requests_total", Help: "HTTP requests that were answered."}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vetch_http_request_duration_seconds", Help: "Time to answer HTTP requests, but for streams.",
			Buckets: []float64{0.005, 0.05, 0.5, 5}, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"route"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "vetch_http_requests_running", Help: "HTTP requests that are being answered, streams too."}),
		panics:  prometheus.NewCounter(prometheus.CounterOpts{Name: "vetch_http_panics_total", Help: "Requests whose handler panicked."}),
	}
	r.MustRegister(m.requests, m.duration, m.running, m.panics)
	return m
}

// routeOf names the route with few enough words for a label.
func routeOf(path string) string {
	rest, v1 := strings.CutPrefix(path, "/api/v1/")
	switch {
	case strings.HasPrefix(rest, "label/") && strings.HasSuffix(rest, "/values") && v1:
		return "/api/v1/label/{name}/values"
	case v1:
		switch rest {
		case "query", "query_range", "query_exemplars", "format_query", "parse_query", "series", "labels", "metadata", "write",
			"status/config", "status/flags", "status/runtimeinfo", "status/buildinfo", "status/tsdb", "status/walreplay":
			return path
		}
		return "/api/v1/other"
	}
	switch path {
	case "/metrics", "/-/ready", "/-/healthy", "/api/map", streamPath, "/api/workloads", "/api/workload", "/api/status", "/api/events", "/api/events/counts", "/v1/logs":
		return path
	}
	if strings.HasPrefix(path, "/api/") {
		return "/api/other"
	}
	return "/"
}

func methodOf(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return m
	}
	return "other"
}

// observe counts requests and turns panics into 500.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &statusRecorder{ResponseWriter: w}
		route, start := routeOf(r.URL.Path), time.Now()
		s.metrics.running.Inc()
		defer func() {
			aborted := s.recovered(recover(), rec, r)
			s.metrics.running.Dec()
			s.metrics.requests.WithLabelValues(route, methodOf(r.Method), strconv.Itoa(rec.status())).Inc()
			if route != streamPath {
				s.metrics.duration.WithLabelValues(route).Observe(time.Since(start).Seconds())
			}
			if aborted {
				panic(http.ErrAbortHandler) // the server closes the connection and says nothing
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// recovered deals with what recover returned. It reports whether the connection is to be cut, because part of an answer is out.
func (s *Server) recovered(p any, rec *statusRecorder, r *http.Request) bool {
	if p == nil {
		return false
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return true
	}
	s.metrics.panics.Inc()
	s.log.Error("handler panicked", "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if rec.code != 0 {
		return true
	}
	writeError(rec, http.StatusInternalServerError, "internal", "this is a fault of vetch; its log says where")
	return false
}

// statusRecorder remembers the status code. http.ResponseController finds the rest through Unwrap.
type statusRecorder struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (r *statusRecorder) WriteHeader(code int) {
	if r.code == 0 && code >= http.StatusOK {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (r *statusRecorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Flush implements http.Flusher.
func (r *statusRecorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *statusRecorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

// bound gives every request its deadlines: to send its body, and to read its answer. A stream has none, but ends when the server stops.
func (s *Server) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if r.URL.Path == streamPath {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(s.stopping, cancel)()
			next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		now := time.Now()
		_ = control.SetWriteDeadline(now.Add(answerTimeout)) // a connection that cannot have a deadline is a test's
		if r.ContentLength != 0 {
			_ = control.SetReadDeadline(now.Add(bodyTimeout))
			r.Body = &deadlineBody{ReadCloser: r.Body, control: control}
		}
		next.ServeHTTP(w, r)
		_ = control.SetReadDeadline(time.Time{})
		_ = control.SetWriteDeadline(time.Time{})
	})
}

// deadlineBody lifts the read deadline at the end of the body: it would cancel the request otherwise, while it is being answered.
type deadlineBody struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements io.Reader.
func (b *deadlineBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
