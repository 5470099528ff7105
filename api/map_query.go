package api

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	prommodel "github.com/prometheus/common/model"

	"github.com/vetch-dev/vetch/servicemap"
)

// Bounds of parameters.
const (
	maxTimeText      = 64
	maxNamespaceText = 256
	maxUnixSeconds   = 253402300799 // the end of the year 9999, which RFC 3339 cannot exceed
)

func badParameter(name, problem string) error {
	return fmt.Errorf("%w: %s: %s", servicemap.ErrBadQuery, name, problem)
}

// mapQuery reads start, end and namespace. A start relative to now without an end follows the clock, so that its answers are shared.
func mapQuery(v url.Values) (servicemap.Query, error) {
	q, now := servicemap.Query{}, time.Now()
	var err error
	if q.Namespace, err = namespaceOf(v); err != nil {
		return q, err
	}
	start, end := v.Get("start"), v.Get("end")
	if end != "" && end != "now" {
		if q.End, err = parseTime("end", end, now); err != nil {
			return q, err
		}
	}
	switch back, relative, err := parseRelative("start", start); {
	case err != nil:
		return q, err
	case start == "":
		return q, nil
	case relative && q.End.IsZero():
		if back <= 0 {
			return q, badParameter("start", fmt.Sprintf("%q is not before now", start))
		}
		q.Range = back
		return q, nil
	}
	q.Start, err = parseTime("start", start, now)
	return q, err
}

func namespaceOf(v url.Values) (string, error) {
	n := v.Get("namespace")
	if len(n) > maxNamespaceText {
		return "", badParameter("namespace", fmt.Sprintf("longer than %d bytes", maxNamespaceText))
	}
	return n, nil
}

// parseTime reads "now", a time relative to now such as -15m, RFC 3339, or Unix seconds with or without a fraction.
func parseTime(name, text string, now time.Time) (time.Time, error) {
	back, relative, err := parseRelative(name, text)
	switch {
	case err != nil:
		return time.Time{}, err
	case relative:
		return now.Add(-back), nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && !strings.ContainsAny(text, "xX_") {
		if math.IsNaN(seconds) || seconds < 1 || seconds > maxUnixSeconds {
			return time.Time{}, badParameter(name, fmt.Sprintf("%q is not a time in Unix seconds", text))
		}
		return time.UnixMilli(int64(math.Round(seconds * 1000))), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Unix() < 1 || t.Unix() > maxUnixSeconds {
		return time.Time{}, badParameter(name, fmt.Sprintf("%q is not a time; use RFC 3339, Unix seconds, or relative such as -15m", text))
	}
	return t, nil
}

// parseRelative reads how long before now "now", "-15m" or "now-15m" is.
func parseRelative(name, text string) (back time.Duration, relative bool, err error) {
	if len(text) > maxTimeText {
		return 0, false, badParameter(name, fmt.Sprintf("longer than %d characters", maxTimeText))
	}
	if text == "now" {
		return 0, true, nil
	}
	length, ok := strings.CutPrefix(strings.TrimPrefix(text, "now"), "-")
	if !ok {
		return 0, false, nil
	}
	d, err := prommodel.ParseDuration(length)
	if err != nil {
		return 0, false, badParameter(name, fmt.Sprintf("%q is not a relative time; use a number with s, m, h, d or w, such as -15m", text))
	}
	if time.Duration(d) > servicemap.MaxRange {
		return 0, false, badParameter(name, fmt.Sprintf("%q is more than %d days ago", text, int(servicemap.MaxRange.Hours()/24)))
	}
	return time.Duration(d), true, nil
}

// streamQuery reads range and namespace.
func streamQuery(v url.Values) (servicemap.Query, error) {
	namespace, err := namespaceOf(v)
	if err != nil {
		return servicemap.Query{}, err
	}
	text := v.Get("range")
	if text == "" {
		return servicemap.Query{Namespace: namespace}, nil
	}
	if len(text) > maxTimeText {
		return servicemap.Query{}, badParameter("range", fmt.Sprintf("longer than %d characters", maxTimeText))
	}
	d, err := prommodel.ParseDuration(text)
	if err != nil || d <= 0 {
		return servicemap.Query{}, badParameter("range", fmt.Sprintf("%q is not a length of time; use a number with s, m, h, d or w, such as 5m", text))
	}
	return servicemap.Query{Namespace: namespace, Range: time.Duration(d)}, nil
}
