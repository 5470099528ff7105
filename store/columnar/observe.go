package columnar

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/store/directory"
)

// counters are the store's figures, all with the label store.
type counters struct {
	appended, replayed, replayedKnown, torn, setAside, verified, droppedDays, checkpointFailures prometheus.Counter

	failures, queryFailures *prometheus.CounterVec
	syncs, checkpoints      prometheus.Histogram
	collectors              []prometheus.Collector

	walBytes atomic.Int64
	over     atomic.Bool // the limit is exceeded by what cannot be dropped
	full     bool        // the last checkpoint found no room; of the writer's goroutine
}

// reason is a value of a label, with the error that it stands for.
type reason struct {
	name string
	err  error
}

// reasons are why records are not stored, narrow before wide; anything else is "other", mostly the disk.
func reasons() []reason {
	return []reason{
		{"invalid", ErrInvalid}, {"too_old", ErrTooOld}, {"too_far_ahead", ErrTooFarAhead}, {"disk_full", directory.ErrDiskFull},
		{"full", ErrFull}, {"closed", ErrClosed}, {"canceled", context.Canceled}, {"timeout", context.DeadlineExceeded},
	}
}

// queryReasons are why queries are not answered.
func queryReasons() []reason {
	return []reason{
		{"invalid", ErrInvalid}, {"too_large", ErrTooLarge}, {"timeout", ErrTimeout}, {"timeout", context.DeadlineExceeded},
		{"closed", ErrClosed}, {"canceled", context.Canceled},
	}
}

func nameOf(list []reason, err error) string {
	for _, r := range list {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "other"
}

// refused counts n records that were not stored.
func (c *counters) refused(err error, n int) {
	c.failures.WithLabelValues(nameOf(reasons(), err)).Add(float64(n))
}

// failed counts a query that was not answered.
func (c *counters) failed(err error) {
	c.queryFailures.WithLabelValues(nameOf(queryReasons(), err)).Inc()
}

func newCounters(db *DB) *counters {
	label := prometheus.Labels{"store": db.opts.Name}
	c := &counters{}
	counter := func(name, help string) prometheus.Counter {
		one := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: label})
		c.collectors = append(c.collectors, one)
		return one
	}
	vector := func(name, help string, list []reason) *prometheus.CounterVec {
		one := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: label}, []string{"reason"})
		for _, r := range append(list, reason{name: "other"}) {
			one.WithLabelValues(r.name)
		}
		c.collectors = append(c.collectors, one)
		return one
	}
	histogram := func(name, help string) prometheus.Histogram {
		one := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, ConstLabels: label, NativeHistogramBucketFactor: 1.1})
		c.collectors = append(c.collectors, one)
		return one
	}
	gauge := func(name, help string, f func() float64) {
		c.collectors = append(c.collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: label}, f))
	}
	c.appended = counter("vetch_columnar_appended_records_total", "Records that were stored.")
	c.failures = vector("vetch_columnar_append_failures_total", "Records that were not stored, by reason.", reasons())
	c.queryFailures = vector("vetch_columnar_query_failures_total", "Queries that were not answered, by reason.", queryReasons())
	c.replayed = counter("vetch_columnar_replayed_records_total", "Records that were read from the write-ahead log at the start.")
	c.replayedKnown = counter("vetch_columnar_replayed_known_records_total", "Records in the write-ahead log at the start that were in the other files too.")
	c.torn = counter("vetch_columnar_torn_batches_total", "Batches in whose middle the write-ahead log ended at the start; they were not acknowledged.")
	c.setAside = counter("vetch_columnar_corrupt_files_total", "Corrupt files and days that were set aside.")
	c.verified = counter("vetch_columnar_verified_bytes_total", "Bytes of files that agreed with their checksums, in the look at all of them every 6 hours.")
	c.droppedDays = counter("vetch_columnar_dropped_days_total", "Days that were dropped, for the store was over its limit.")
	c.checkpointFailures = counter("vetch_columnar_checkpoint_failures_total", "Times that records could not be written to their files; they stay in the log.")
	c.syncs = histogram("vetch_columnar_sync_seconds", "Time to write a group of batches to the write-ahead log, and to the disk.")
	c.checkpoints = histogram("vetch_columnar_checkpoint_seconds", "Time to write to their files what is in memory; nothing is taken in meanwhile.")
	gauge("vetch_columnar_records", "Records stored.", func() float64 {
		s := db.engine.stats()
		return float64(s.RowsCount() + s.PendingRows)
	})
	gauge("vetch_columnar_bytes", "Bytes on disk without the write-ahead log.", func() float64 { return float64(bytes(db.engine.stats())) })
	gauge("vetch_columnar_wal_bytes", "Bytes of the write-ahead log.", func() float64 { return float64(c.walBytes.Load()) })
	gauge("vetch_columnar_limit_bytes", "Bytes over which the oldest days are dropped; 0 is no limit.", func() float64 { return float64(db.opts.RetentionBytes) })
	gauge("vetch_columnar_retention_seconds", "Age over which days are dropped.", db.opts.RetentionAge.Seconds)
	gauge("vetch_columnar_oldest_time_seconds", "Unix time of the oldest record; 0 if there is none.", func() float64 {
		if at := oldest(db.engine.stats()); !at.IsZero() {
			return float64(at.UnixMilli()) / 1000
		}
		return 0
	})
	gauge("vetch_columnar_free_bytes", "Free space of the file system.", func() float64 {
		free, err := db.guard.Free()
		if err != nil {
			return math.NaN()
		}
		return float64(free)
	})
	gauge("vetch_columnar_reserve_bytes", "Free space under which nothing is taken in.", func() float64 { return float64(db.guard.Reserve()) })
	return c
}

func (c *counters) register(to prometheus.Registerer) error {
	for i, one := range c.collectors {
		if err := to.Register(one); err != nil {
			for _, done := range c.collectors[:i] {
				to.Unregister(done)
			}
			return fmt.Errorf("register the metrics of the store: %w", err)
		}
	}
	return nil
}

func (c *counters) unregister(from prometheus.Registerer) {
	for _, one := range c.collectors {
		from.Unregister(one)
	}
}
