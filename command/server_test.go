package command

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/config"
)

// TestServerTakesADayOfSpool stores what agents kept while a server was away, although it has newer samples of its own by then.
func TestServerTakesADayOfSpool(t *testing.T) {
	l := &config.Loaded{Config: config.Default()}
	l.DataDir = t.TempDir()
	db, err := openMetrics(l, newLog(program{stderr: t.Output()}, l), newRegistry(), lateBy)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	now := time.Now()
	count, seconds := labels.FromStrings("__name__", "late_total"), labels.FromStrings("__name__", "late_seconds")
	write := func(at time.Time) {
		app := db.AppenderV2(t.Context())
		_, err := app.Append(0, count, 0, at.UnixMilli(), 1, nil, nil, storage.AOptions{})
		require.NoError(t, err)
		h := &histogram.Histogram{Schema: 3, Count: 1, Sum: 1, PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []int64{1}}
		_, err = app.Append(0, seconds, 0, at.UnixMilli(), 0, h, nil, storage.AOptions{})
		require.NoError(t, err)
		require.NoError(t, app.Commit())
	}
	write(now)
	const late = 100
	for i := range late {
		write(now.Add(-23*time.Hour + time.Duration(i)*time.Minute))
	}
	q, err := db.Querier(0, now.UnixMilli())
	require.NoError(t, err)
	defer q.Close()
	for _, name := range []string{"late_total", "late_seconds"} {
		set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name))
		require.True(t, set.Next())
		n := 0
		for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; {
			n++
		}
		require.Equal(t, late+1, n, name)
		require.False(t, set.Next())
	}
}
