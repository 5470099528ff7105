package metricquery

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimes(t *testing.T) {
	tests := map[string]struct {
		want time.Time
		ok   bool
	}{
		"1700000000":                            {time.Unix(1_700_000_000, 0), true},
		"1700000000.1234":                       {time.UnixMilli(1_700_000_000_123), true},
		"-5":                                    {time.Unix(-5, 0), true},
		"1e300":                                 {maxTime(), true},
		"-Inf":                                  {minTime(), true},
		"2026-11-21T04:00:00.5+01:00":           {time.Date(2026, 11, 21, 3, 0, 0, 500_000_000, time.UTC), true},
		"-292273086-05-16T16:47:06Z":            {minTime(), true},
		"292277025-08-18T07:12:54.999999999Z":   {maxTime(), true},
		"NaN":                                   {},
		"":                                      {},
		"now":                                   {},
		"2026-11-21":                            {},
		"2026-11-21T04:00:00 and more and more": {},
	}
	for text, tt := range tests {
		got, err := parseTime(text)
		require.Equal(t, tt.ok, err == nil, text)
		if tt.ok {
			require.True(t, tt.want.Equal(got), "%s: %v", text, got)
		}
	}
}

// FuzzParameters holds that no text of a parameter does harm, and that times stay where milliseconds can be reckoned with.
func FuzzParameters(f *testing.F) {
	f.Add("1700000000.5", "1h30m", "up")
	f.Add("2026-11-21T04:00:00Z", "-1e99", `{a=~"("}`)
	f.Add("-292273086-05-16T16:47:06Z", "NaN", `{__name__="a",b!=""}`)
	e := &Engine{parser: newParser()}
	f.Fuzz(func(t *testing.T, at, length, match string) {
		r := &http.Request{Form: url.Values{"start": {at}, "end": {at}, "step": {length}, "limit": {length}, "match[]": {match}}}
		if got, err := timeOf(r, "start", time.Time{}); err == nil && at != "" {
			require.True(t, !got.Before(minTime()) && !got.After(maxTime()), at)
		}
		_, _ = durationOf(r, "step")
		_, _ = limitOf(r, "limit")
		if s, err := e.selectionOf(r); err == nil {
			require.False(t, s.end.Before(s.start))
		}
		if expr, err := e.parser.ParseExpr(match); err == nil {
			require.NotNil(t, describe(expr))
		}
	})
}
