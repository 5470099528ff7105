package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/store"
)

// counters are the store's own figures beside those of the database (prometheus_tsdb_*).
type counters struct {
	appended           prometheus.Counter
	failures           *prometheus.CounterVec
	setAside           prometheus.Counter
	compactionFailures prometheus.Counter
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func newCounters(r prometheus.Registerer, db *DB) *counters {
	c := &counters{
		appended:           counter("vetch_store_appended_samples_total", "Samples that were stored."),
		failures:           prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vetch_store_append_failures_total", Help: "Samples and exemplars that were not stored, by reason."}, []string{"reason"}),
		setAside:           counter("vetch_store_corrupt_files_total", "Corrupt files and blocks that were set aside."),
		compactionFailures: counter("vetch_store_compaction_failures_total", "Compactions that failed; they are tried again."),
	}
	for _, reason := range reasons() {
		c.failures.WithLabelValues(reason.name)
	}
	c.failures.WithLabelValues("other")
	r.MustRegister(c.appended, c.failures, c.setAside, c.compactionFailures,
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "vetch_store_metadata_dropped_total", Help: "Times that metadata of a metric was not kept, for the bound was reached."}, db.metadata.droppedNames),
		gauge("vetch_store_series", "Series in memory.", func() float64 { return float64(db.tsdb.Head().NumSeries()) }),
		gauge("vetch_store_max_series", "Series over which new ones are refused.", func() float64 { return float64(db.opts.MaxSeries) }),
		gauge("vetch_store_bytes", "Bytes on disk, with the write-ahead log.", func() float64 { return float64(db.bytes()) }),
		gauge("vetch_store_limit_bytes", "Bytes over which the oldest blocks are dropped; 0 is no limit.", func() float64 { return float64(db.opts.RetentionBytes) }),
		gauge("vetch_store_retention_seconds", "Age over which blocks are dropped.", db.opts.RetentionAge.Seconds),
		gauge("vetch_store_oldest_time_seconds", "Unix time of the oldest sample; 0 if there is none.", func() float64 { return unixSeconds(db.oldest()) }),
		gauge("vetch_store_free_bytes", "Free space of the file system.", db.freeBytes),
		gauge("vetch_store_reserve_bytes", "Free space under which nothing is taken in.", func() float64 { return float64(db.guard.Reserve()) }),
	)
	return c
}

func gauge(name, help string, f func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
}

// failed counts n samples that were not kept.
func (c *counters) failed(err error, n int) {
	c.failures.WithLabelValues(reasonOf(err)).Add(float64(n))
}

// Stats implements store.Metrics.
func (db *DB) Stats() store.Stats {
	head := db.tsdb.Head()
	s := store.Stats{
		Series:    head.NumSeries(),
		Chunks:    int64(db.metrics.value("prometheus_tsdb_head_chunks")),
		Bytes:     db.bytes(),
		Oldest:    db.oldest(),
		Retention: db.opts.RetentionAge,
		MaxBytes:  db.opts.RetentionBytes,
		SetAside:  db.setAside,
	}
	if t := head.MaxTime(); t != math.MinInt64 {
		s.Newest = time.UnixMilli(t)
	}
	return s
}

// Replay implements store.Metrics.
func (db *DB) Replay() (first, last, current int) {
	s := db.stats.Head.WALReplayStatus.GetWALReplayStatus()
	return s.Min, s.Max, s.Current
}

func (db *DB) bytes() int64 {
	sum := db.tsdb.Head().Size()
	for _, b := range db.tsdb.Blocks() {
		sum += b.Size()
	}
	return sum
}

// oldest is the time of the oldest sample, or zero.
func (db *DB) oldest() time.Time {
	t, err := db.tsdb.StartTime()
	if err != nil || t == math.MaxInt64 || t == math.MinInt64 {
		return time.Time{}
	}
	return time.UnixMilli(t)
}

func (db *DB) freeBytes() float64 {
	n, err := db.guard.Free()
	if err != nil {
		return math.NaN()
	}
	return float64(n)
}

func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
