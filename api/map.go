package api

import (
	"net/http"
	"net/url"

	"github.com/vetch-dev/vetch/servicemap"
)

// MapHandler serves /api/map, /api/map/stream, /api/workloads and /api/workload, as described in openapi.yaml. The stream needs svc.Run.
func MapHandler(svc *servicemap.Service) http.Handler {
	mux := http.NewServeMux()
	registerMap(mux, svc)
	return mux
}

// registerMap adds the handlers of the service map to mux.
func registerMap(mux *http.ServeMux, svc *servicemap.Service) {
	h := mapHandlers{svc}
	mux.HandleFunc("GET /api/map", h.serveMap)
	mux.HandleFunc("GET /api/map/stream", h.serveStream)
	mux.HandleFunc("GET /api/workloads", h.serveWorkloads)
	mux.HandleFunc("GET /api/workload", h.serveWorkload)
}

type mapHandlers struct{ svc *servicemap.Service }

// encoder is an answer that keeps its JSON form for the next viewer.
type encoder interface{ JSON() ([]byte, error) }

func (h mapHandlers) serveMap(w http.ResponseWriter, r *http.Request) {
	h.answer(w, r, func(q servicemap.Query, _ url.Values) (encoder, error) { return h.svc.Map(r.Context(), q) })
}

func (h mapHandlers) serveWorkloads(w http.ResponseWriter, r *http.Request) {
	h.answer(w, r, func(q servicemap.Query, _ url.Values) (encoder, error) { return h.svc.Workloads(r.Context(), q) })
}

func (h mapHandlers) serveWorkload(w http.ResponseWriter, r *http.Request) {
	h.answer(w, r, func(q servicemap.Query, v url.Values) (encoder, error) {
		return h.svc.Workload(r.Context(), v.Get("id"), q)
	})
}

// answer reads the time range, asks, and writes the answer or the error.
func (h mapHandlers) answer(w http.ResponseWriter, r *http.Request, ask func(servicemap.Query, url.Values) (encoder, error)) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		writeMapError(w, r, badParameter("query string", err.Error()))
		return
	}
	q, err := mapQuery(values)
	if err != nil {
		writeMapError(w, r, err)
		return
	}
	a, err := ask(q, values)
	if err != nil {
		writeMapError(w, r, err)
		return
	}
	data, err := a.JSON()
	if err != nil {
		writeMapError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(data) // a viewer who has gone is nobody's error
}
