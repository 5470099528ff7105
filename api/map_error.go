package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/prometheus/prometheus/promql"

	"github.com/vetch-dev/vetch/servicemap"
)

// writeMapError turns an error of the service map into a status code and a sentence. Nothing is written to a viewer who has gone.
func writeMapError(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	code, kind, text := mapErrorKind(err)
	w.Header().Set("Cache-Control", "no-store")
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	writeError(w, code, kind, text)
}

func mapErrorKind(err error) (code int, kind, text string) {
	var (
		timeout  promql.ErrQueryTimeout
		canceled promql.ErrQueryCanceled
		tooMany  promql.ErrTooManySamples
	)
	switch {
	case errors.Is(err, servicemap.ErrBadQuery):
		return http.StatusBadRequest, "bad_data", err.Error()
	case errors.Is(err, servicemap.ErrNotFound):
		return http.StatusNotFound, "not_found", err.Error()
	case errors.Is(err, servicemap.ErrBusy), errors.Is(err, servicemap.ErrNotRunning):
		return http.StatusServiceUnavailable, "unavailable", err.Error()
	case errors.As(err, &tooMany):
		return http.StatusUnprocessableEntity, "execution", "the range holds more samples than one query may read; choose a shorter range"
	case errors.As(err, &timeout), errors.As(err, &canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable, "timeout", "the store did not answer in time; choose a shorter range or try again"
	default:
		return http.StatusInternalServerError, "internal", err.Error()
	}
}
