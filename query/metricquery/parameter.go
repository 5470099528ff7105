package metricquery

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// The widest range that fits Unix milliseconds with room for offsets; what clients send as "all time" is cut to it.
const (
	minMilli = -1 << 60
	maxMilli = 1 << 60
)

func minTime() time.Time { return time.UnixMilli(minMilli) }
func maxTime() time.Time { return time.UnixMilli(maxMilli) }

// timeOf reads a parameter as Unix seconds, with a fraction, or RFC 3339.
func timeOf(r *http.Request, name string, otherwise time.Time) (time.Time, error) {
	s := r.FormValue(name)
	if s == "" {
		return otherwise, nil
	}
	t, err := parseTime(s)
	if err != nil {
		return t, badParameter(name, err)
	}
	return t, nil
}

func parseTime(s string) (time.Time, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if math.IsNaN(f) {
			return time.Time{}, errors.New("NaN is not a time")
		}
		return time.UnixMilli(int64(math.Round(min(max(f*1000, minMilli), maxMilli)))).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	// Prometheus's own bounds of "all time" have years that RFC 3339 cannot say; clients send them as they got them.
	switch {
	case len(s) > 20 && s[0] == '-':
		return minTime(), nil
	case len(s) > 20 && s[4] != '-' && s[len(s)-1] == 'Z' && isDigits(s[:6]):
		return maxTime(), nil
	}
	return time.Time{}, fmt.Errorf("cannot read %.60q as Unix seconds or RFC 3339", s)
}

func isDigits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// durationOf reads a parameter as seconds or in PromQL's own form, 1h30m.
func durationOf(r *http.Request, name string) (time.Duration, error) {
	s := r.FormValue(name)
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		ns := f * float64(time.Second)
		if !(math.Abs(ns) < math.MaxInt64) {
			return 0, badParameter(name, fmt.Errorf("%q is too long a time", s))
		}
		return time.Duration(ns), nil
	}
	d, err := commonmodel.ParseDuration(s)
	if err != nil {
		return 0, badParameter(name, fmt.Errorf("cannot read %.60q as seconds or as a duration such as 1h30m", s))
	}
	return time.Duration(d), nil
}

// limitOf reads a parameter as a count of results; 0 is no limit.
func limitOf(r *http.Request, name string) (int, error) {
	s := r.FormValue(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, badParameter(name, fmt.Errorf("%.60q is not a count", s))
	}
	return n, nil
}

// deadline applies the parameter timeout.
func deadline(r *http.Request) (context.Context, context.CancelFunc, error) {
	if r.FormValue("timeout") == "" {
		return r.Context(), func() {}, nil
	}
	d, err := durationOf(r, "timeout")
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), d)
	return ctx, cancel, nil
}

// selection is what the endpoints that list series and labels have in common.
type selection struct {
	start, end time.Time
	matchers   [][]*labels.Matcher
	limit      int
}

func (e *Engine) selectionOf(r *http.Request) (s selection, err error) {
	if s.start, err = timeOf(r, "start", minTime()); err != nil {
		return s, err
	}
	if s.end, err = timeOf(r, "end", maxTime()); err != nil {
		return s, err
	}
	if s.end.Before(s.start) {
		return s, badParameter("end", errors.New("the end is before the start"))
	}
	if s.limit, err = limitOf(r, "limit"); err != nil {
		return s, err
	}
	if s.matchers, err = e.parser.ParseMetricSelectors(r.Form["match[]"]); err != nil {
		return s, badParameter("match[]", err)
	}
	for _, set := range s.matchers {
		if !selective(set) {
			return s, badParameter("match[]", errors.New("a selector needs at least one matcher that does not match the empty string"))
		}
	}
	return s, nil
}

func selective(set []*labels.Matcher) bool {
	for _, m := range set {
		if !m.Matches("") {
			return true
		}
	}
	return false
}

// hint is the limit as a store takes it: one more than asked for, so that it shows whether there is more.
func (s selection) hint() int {
	if s.limit == 0 {
		return 0
	}
	return s.limit + 1
}

var errTruncated = errors.New("results truncated due to limit")
