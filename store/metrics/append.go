package metrics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// errClosed is what an appender of a closed store returns.
var errClosed = errors.New("metrics store is closed")

// AppenderV2 starts a batch. It is for one goroutine and ends with Commit or Rollback; once Commit has returned nil, the samples survive the death
// of this process. Commit returns ErrDiskFull (nothing of the batch is kept; try again later) or what the disk said.
// A caller that knows a series' reference may leave out its labels; if the series is gone Append then returns tsdb.ErrInvalidSample and counts nothing.
// It has AppendExemplar too. Append returns storage.ErrOutOfOrderSample, ErrTooOldSample, ErrDuplicateSampleForTimestamp, ErrOutOfBounds (as ErrTooFarAhead
// too) or ErrTooManySeries for a sample that can
// never be kept; the rest of the batch is not touched by that.
func (db *DB) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &appender{AppenderV2: db.tsdb.AppenderV2(ctx), ctx: ctx, db: db, maxTime: db.opts.now().Add(defaultAhead).UnixMilli()}
}

// Reject counts samples that were never given to an appender.
func (db *DB) Reject(err error, samples int) { db.counters.failed(err, samples) }

type appender struct {
	storage.AppenderV2
	ctx       context.Context
	db        *DB
	maxTime   int64
	samples   int
	exemplars storage.Appender // made at the first exemplar that comes alone
}

// Append implements storage.AppenderV2.
func (a *appender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	if t > a.maxTime {
		// One such sample would move the head's time on, and all others would be too old.
		a.db.counters.failed(ErrTooFarAhead, 1)
		return 0, fmt.Errorf("%w: %w: %s", storage.ErrOutOfBounds, ErrTooFarAhead, time.UnixMilli(t).UTC().Format(time.RFC3339))
	}
	out, err := a.AppenderV2.Append(ref, ls, st, t, v, h, fh, o)
	if err != nil && ref != 0 && ls.IsEmpty() && !errors.Is(err, ErrTooManySeries) && errors.Is(err, tsdb.ErrInvalidSample) {
		return 0, err // the series is gone; the caller has its labels and comes again
	}
	if err != nil {
		var partial *storage.AppendPartialError
		if !errors.As(err, &partial) {
			a.db.counters.failed(err, 1)
			return out, err
		}
		for _, e := range partial.ExemplarErrors {
			a.db.counters.failed(e, 1)
		}
	}
	a.samples++
	return out, err
}

// AppendExemplar implements storage.ExemplarAppender: the exemplar of a series that is there, or that this batch has made. One that is known already
// is no error.
func (a *appender) AppendExemplar(ref storage.SeriesRef, ls labels.Labels, e exemplar.Exemplar) (storage.SeriesRef, error) {
	if a.exemplars == nil {
		a.exemplars = a.db.tsdb.Appender(a.ctx)
	}
	out, err := a.exemplars.AppendExemplar(ref, ls, e)
	if err != nil {
		a.db.counters.failed(err, 1)
	}
	return out, err
}

// Rollback implements storage.AppenderV2.
func (a *appender) Rollback() error {
	err := a.AppenderV2.Rollback()
	if a.exemplars != nil {
		err = errors.Join(err, a.exemplars.Rollback())
	}
	return err
}

// Commit implements storage.AppenderV2.
func (a *appender) Commit() error {
	err := a.db.guard.Check()
	if a.db.closed.Load() {
		err = errClosed
	}
	if err != nil {
		a.db.counters.failed(err, a.samples)
		return errors.Join(err, a.Rollback())
	}
	if err := a.AppenderV2.Commit(); err != nil {
		a.db.counters.failed(err, a.samples)
		if a.exemplars != nil {
			err = errors.Join(err, a.exemplars.Rollback())
		}
		return fmt.Errorf("write samples: %w", err)
	}
	if a.exemplars != nil { // after the samples: their series must be in the log first
		if err := a.exemplars.Commit(); err != nil {
			a.db.counters.failed(err, 1)
			a.db.log.Warn("write exemplars", "err", err)
		}
	}
	a.db.counters.appended.Add(float64(a.samples))
	return nil
}

// reasons are the values of the label of vetch_store_append_failures_total, with the error each stands for.
func reasons() []reason {
	return []reason{
		{"out_of_order", storage.ErrOutOfOrderSample},
		{"too_old", storage.ErrTooOldSample},
		{"too_far_ahead", ErrTooFarAhead}, // before the wider out_of_bounds
		{"out_of_bounds", storage.ErrOutOfBounds},
		{"duplicate_timestamp", storage.ErrDuplicateSampleForTimestamp},
		{"disk_full", ErrDiskFull},
		{"too_many_series", ErrTooManySeries}, // before the wider invalid
		{"invalid", tsdb.ErrInvalidSample},
		{"exemplar_out_of_order", storage.ErrOutOfOrderExemplar},
		{"exemplar_duplicate", storage.ErrDuplicateExemplar},
		{"exemplar_too_long", storage.ErrExemplarLabelLength},
		{"closed", errClosed},
	}
}

type reason struct {
	name string
	err  error
}

// reasonOf is the label value for the error; "other" is mostly the disk.
func reasonOf(err error) string {
	for _, r := range reasons() {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	var bad histogram.Error
	if errors.As(err, &bad) {
		return "invalid"
	}
	return "other"
}
