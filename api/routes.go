package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// streamPath is the one answer that never ends.
const streamPath = "/api/map/stream"

// handler puts the routes together. From outside in: metrics and panics, headers, tokens, cross-origin check, deadlines, gzip, routes.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /-/healthy", http.HandlerFunc(s.serveHealthy))
	mux.Handle("GET /-/ready", http.HandlerFunc(s.serveReady))
	switch {
	case s.opts.Stream != nil:
		mux.Handle("GET /metrics", streamed(s.opts.Gatherer, s.opts.Stream, &promLog{log: s.log}))
	case s.opts.Gatherer != nil:
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{
			ErrorLog:                            &promLog{log: s.log},
			ErrorHandling:                       promhttp.ContinueOnError,
			Registry:                            s.opts.Registerer,
			DisableCompression:                  true, // done for all answers below
			EnableOpenMetrics:                   true,
			EnableOpenMetricsTextCreatedSamples: true,
		}))
	}
	if s.opts.Query != nil {
		mux.Handle("/api/v1/", s.opts.Query.Handler())
	}
	if s.opts.Write != nil {
		mux.Handle("POST /api/v1/write", s.opts.Write)
	}
	if s.opts.Logs != nil {
		mux.Handle("POST /v1/logs", s.opts.Logs)
	}
	if s.opts.Map != nil {
		for _, path := range []string{"/api/map", streamPath, "/api/workloads", "/api/workload"} {
			mux.Handle("GET "+path, s.opts.Map)
		}
	}
	if s.opts.Inventory != nil {
		for _, path := range inventoryPaths() {
			mux.Handle("GET "+path, s.opts.Inventory)
		}
	}
	if s.opts.Events != nil {
		for _, path := range []string{"/api/events", "/api/events/counts"} {
			mux.Handle("GET "+path, s.opts.Events)
		}
	}
	if s.opts.Status != nil {
		mux.HandleFunc("GET /api/status", s.serveStatus)
	}
	mux.HandleFunc("/api/", serveNotFound)
	if s.opts.Web != nil {
		mux.Handle("/", s.opts.Web)
	} else {
		mux.HandleFunc("/", s.serveLanding)
	}
	return s.observe(secure(s.authorize(http.NewCrossOriginProtection().Handler(s.bound(compress(mux))))))
}

// compress packs what is large enough, but never the stream: its events must leave at once.
func compress(next http.Handler) http.Handler {
	packed := gzhttp.GzipHandler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == streamPath {
			next.ServeHTTP(w, r)
			return
		}
		packed.ServeHTTP(w, r)
	})
}

// secure sets the headers that tell browsers what the page may do. Styles may be inline because Mantine sets them so.
func secure(next http.Handler) http.Handler {
	const policy = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
		"connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

func (s *Server) serveHealthy(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "vetch is healthy\n")
}

func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	if s.stopping.Err() != nil {
		writeText(w, http.StatusServiceUnavailable, "vetch is stopping\n")
		return
	}
	if s.opts.Ready != nil {
		if err := s.opts.Ready(); err != nil {
			writeText(w, http.StatusServiceUnavailable, "vetch is not ready: "+err.Error()+"\n")
			return
		}
	}
	writeText(w, http.StatusOK, "vetch is ready\n")
}

// serveLanding is all there is to see where no page is served, as on an agent.
func (s *Server) serveLanding(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		writeText(w, http.StatusNotFound, "not found; see /metrics, /-/ready, /-/healthy\n")
		return
	}
	writeText(w, http.StatusOK, "vetch: see /metrics, /-/ready, /-/healthy\n")
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // a client that is gone cannot be told
}

func (s *Server) serveStatus(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(s.opts.Status())
	if err != nil {
		writeError(w, http.StatusInternalServerError, "internal", "encode status: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // a client that is gone cannot be told
}

// serveNotFound answers under /api/ in JSON. A path that exists comes here with a method that it does not have.
func serveNotFound(w http.ResponseWriter, r *http.Request) {
	text := fmt.Sprintf("no such endpoint: %s %s", r.Method, r.URL.Path)
	if strings.HasPrefix(r.URL.Path, "/api/v1/") {
		text += "; this process stores no metrics"
	}
	writeError(w, http.StatusNotFound, "not_found", text)
}

// writeError writes the Error of openapi.yaml.
func writeError(w http.ResponseWriter, code int, kind, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A client that is gone cannot be told.
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": kind, "error": text})
}
