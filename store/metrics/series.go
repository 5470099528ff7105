package metrics

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// ErrTooManySeries is returned for a sample of a new series while there are MaxSeries in memory. It is refused for good: series leave memory only when
// a block is written, every 2 h.
var ErrTooManySeries = errors.New("too many series")

// errRefusedSeries is ErrTooManySeries and, for callers that know only the database's errors, an invalid sample.
var errRefusedSeries = fmt.Errorf("%w: %w", ErrTooManySeries, tsdb.ErrInvalidSample)

// seriesLimit bounds the series in memory. It lets all in until open is called: the replay of the log must lose nothing.
type seriesLimit struct {
	max  uint64
	head atomic.Pointer[tsdb.Head]
}

func (l *seriesLimit) open(h *tsdb.Head) { l.head.Store(h) }

// PreCreation implements tsdb.SeriesLifecycleCallback.
func (l *seriesLimit) PreCreation(labels.Labels) error {
	if h := l.head.Load(); h != nil && h.NumSeries() >= l.max {
		return errRefusedSeries
	}
	return nil
}

// PostCreation implements tsdb.SeriesLifecycleCallback.
func (*seriesLimit) PostCreation(labels.Labels) {}

// PostDeletion implements tsdb.SeriesLifecycleCallback.
func (*seriesLimit) PostDeletion(map[chunks.HeadSeriesRef]labels.Labels) {}
