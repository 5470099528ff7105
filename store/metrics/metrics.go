// Package metrics keeps metric samples on this machine: Prometheus's time-series database behind a lock, a format version and a guard of the free space.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/store/directory"
)

// What Open and the appenders return, always wrapped with the directory and what to do.
var (
	ErrInUse        = directory.ErrInUse
	ErrNewerVersion = directory.ErrNewerVersion
	ErrDiskFull     = directory.ErrDiskFull
	ErrTooFarAhead  = errors.New("timestamp is too far in the future")
)

// formatVersion is the layout of the data directory that this program writes; see docs/formats/metric-store.md.
const formatVersion = 1

const (
	blockDuration     = 2 * time.Hour
	defaultRetention  = 15 * 24 * time.Hour
	defaultOutOfOrder = 2 * time.Hour
	defaultAhead      = 10 * time.Minute
	defaultMaintain   = time.Minute
	defaultMaxSeries  = 1_000_000
	maxExemplars      = 100_000
	closeTimeout      = 2 * time.Second
	never             = 365 * 24 * time.Hour // we do by ourselves what the database would do by its clock, see maintain.go
)

// Options say where and how much is stored. Dir is needed, all else has a default.
type Options struct {
	Dir            string
	RetentionAge   time.Duration // default 15 days
	RetentionBytes int64         // 0 is no limit
	OutOfOrder     time.Duration // how late a sample may come, default 2 h
	MaxSeries      int           // in memory, at 1 KB each, default 1 million
	ReserveBytes   int64         // free space under which nothing is taken in; default 2 % of the file system, 16 to 256 MiB
	Log            *slog.Logger
	Registerer     prometheus.Registerer

	now      func() time.Time // tests
	maintain time.Duration    // tests: how often maintenance runs
}

// DB is an open store. Close it to let go of the directory.
type DB struct {
	opts     Options
	log      *slog.Logger
	lock     *directory.Lock
	tsdb     *tsdb.DB
	stats    *tsdb.DBStats
	counters *counters
	metrics  *recorder
	metadata *metadataCache
	guard    *directory.Guard
	setAside int

	readers   readers
	stop      context.CancelFunc
	done      chan struct{}
	closeOnce sync.Once
	closeErr  error
	closed    atomic.Bool
}

var (
	_ store.Metrics = (*DB)(nil)
	_ store.Sink    = (*DB)(nil)
)

// Open locks the directory (made if it is not there), sets aside what is corrupt, and reads the write-ahead log.
// Errors: ErrInUse, ErrNewerVersion, ErrDiskFull, or what the file system said.
func Open(o Options) (*DB, error) {
	o = withDefaults(o)
	lock, err := directory.NewLock(o.Dir)
	if err != nil {
		return nil, err
	}
	db := &DB{opts: o, log: o.Log, lock: lock, stats: tsdb.NewDBStats(), metadata: newMetadataCache(), done: make(chan struct{})}
	if err := db.open(); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	return db, nil
}

func withDefaults(o Options) Options {
	if o.RetentionAge <= 0 {
		o.RetentionAge = defaultRetention
	}
	if o.OutOfOrder <= 0 {
		o.OutOfOrder = defaultOutOfOrder
	}
	if o.MaxSeries <= 0 {
		o.MaxSeries = defaultMaxSeries
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.maintain <= 0 {
		o.maintain = defaultMaintain
	}
	return o
}

func (db *DB) open() error {
	// The replay of the log writes head chunks, and a head chunk that cannot be written ends the process.
	var err error
	if db.guard, err = directory.NewGuard(db.opts.Dir, db.opts.ReserveBytes); err != nil {
		return err
	}
	if err := db.guard.Check(); err != nil {
		return err
	}
	if err := directory.CheckVersion(db.opts.Dir, formatVersion); err != nil {
		return err
	}
	aside := newAside(db.opts.Dir, db.opts.now(), db.log)
	if err := aside.blocks(); err != nil {
		return err
	}
	if err := aside.keepLogs(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	db.stop = cancel
	if err := db.openTSDB(ctx, aside); err != nil {
		cancel()
		return fmt.Errorf("open metrics in %s: %w", db.opts.Dir, err)
	}
	if db.setAside, err = aside.settle(); err != nil {
		cancel()
		db.metrics.unregisterAll()
		return errors.Join(err, db.tsdb.Close())
	}
	db.counters = newCounters(db.metrics, db)
	db.counters.setAside.Add(float64(db.setAside))
	go db.maintain(ctx)
	return nil
}

// openTSDB opens the database, and opens it again without its logs where they are beyond repair.
func (db *DB) openTSDB(ctx context.Context, aside *aside) error {
	for try := 0; ; try++ {
		db.metrics = &recorder{Registerer: db.opts.Registerer}
		var err error
		options, limit := tsdbOptions(ctx, db.opts), &seriesLimit{max: uint64(db.opts.MaxSeries)}
		options.SeriesLifecycleCallback = limit
		db.tsdb, err = tsdb.Open(db.opts.Dir, db.log, db.metrics, options, db.stats)
		if err == nil {
			limit.open(db.tsdb.Head())
			db.tsdb.DisableCompactions() // maintain.go decides
			return nil
		}
		db.metrics.unregisterAll()
		if try > 0 || directory.IsMachine(err) {
			return err
		}
		if err := aside.logs(err); err != nil {
			return err
		}
	}
}

func tsdbOptions(ctx context.Context, o Options) *tsdb.Options {
	to := tsdb.DefaultOptions()
	to.RetentionDuration = o.RetentionAge.Milliseconds()
	to.MaxBytes = o.RetentionBytes
	to.MinBlockDuration = blockDuration.Milliseconds()
	// As Prometheus does it: a block never spans more than a tenth of the retention, or 31 days.
	to.MaxBlockDuration = max(blockDuration, min(o.RetentionAge/10, 31*24*time.Hour)).Milliseconds()
	to.NoLockfile = true // lock.go: theirs is removed at the end and says nothing of who holds it
	to.WALCompression = compression.Snappy
	to.OutOfOrderTimeWindow = o.OutOfOrder.Milliseconds()
	to.EnableExemplarStorage = true
	to.MaxExemplars = maxExemplars
	to.EnableSTAsZeroSample = true
	to.BlockReloadInterval = never
	to.NewCompactorFunc = func(_ context.Context, r prometheus.Registerer, l *slog.Logger, ranges []int64, pool chunkenc.Pool, t *tsdb.Options) (tsdb.Compactor, error) {
		// With our own context, so that Close can end a compaction before it waits for it.
		return tsdb.NewLeveledCompactorWithOptions(ctx, r, l, ranges, pool, tsdb.LeveledCompactorOptions{
			MaxBlockChunkSegmentSize:    t.MaxBlockChunkSegmentSize,
			EnableOverlappingCompaction: t.EnableOverlappingCompaction,
		})
	}
	return to
}

// Close writes what is to be written and lets go of the directory. Queriers that are open have 2 s to be closed; appenders must be done.
// A second call returns what the first one did.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.closed.Store(true)
		if !db.readers.end(closeTimeout) {
			db.log.Warn("queries were still running when the store was closed")
		}
		db.stop()
		<-db.done
		db.metrics.unregisterAll()
		db.closeErr = errors.Join(db.tsdb.Close(), db.lock.Release())
	})
	return db.closeErr
}

// Cardinality counts the series in memory by label, the limit heaviest first. An empty label counts by metric name.
func (db *DB) Cardinality(label string, limit int) *tsdb.Stats {
	if label == "" {
		label = labels.MetricName
	}
	return db.tsdb.Head().Stats(label, limit)
}
