package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Pace of the live map on the wire.
const (
	streamComment = 15 * time.Second // a comment keeps proxies from closing a quiet stream
	streamWrite   = 20 * time.Second // a reader that takes longer for one event has gone
)

// serveStream sends the live map as server-sent events until the viewer or the service goes.
func (h mapHandlers) serveStream(w http.ResponseWriter, r *http.Request) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		writeMapError(w, r, badParameter("query string", err.Error()))
		return
	}
	q, err := streamQuery(values)
	if err != nil {
		writeMapError(w, r, err)
		return
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	sub, err := h.svc.Subscribe(q)
	if err != nil {
		writeMapError(w, r, err)
		return
	}
	defer sub.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx in front must not collect events
	if sendEvent(w, "retry: 3000\n\n") != nil {
		return
	}
	comments := time.NewTicker(streamComment)
	defer comments.Stop()
	for {
		select {
		case data, ok := <-sub.Updates:
			if !ok || sendEvent(w, "event: map\ndata: %s\n\n", data) != nil {
				return
			}
		case <-comments.C:
			if sendEvent(w, ": still here\n\n") != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// sendEvent writes and flushes within streamWrite.
func sendEvent(w http.ResponseWriter, format string, args ...any) error {
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := fmt.Fprintf(w, format, args...); err != nil {
		return err
	}
	return control.Flush()
}
