// Package columnar is the embedded engine of logs, traces and events: VictoriaLogs' lib/logstorage behind a write-ahead log, so that a
// record that was acknowledged survives the death of the process and of the machine.
package columnar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/store/directory"
)

// What Open, Append and the queries return, always wrapped with what to do.
var (
	ErrInvalid     = errors.New("not valid")
	ErrTooOld      = errors.New("time is before the retention")
	ErrTooFarAhead = errors.New("time is too far in the future")
	ErrFull        = errors.New("store is full")
	ErrClosed      = errors.New("store is closed")
	ErrTooLarge    = errors.New("answer is too large")
	ErrTimeout     = errors.New("query took too long")
)

// formatVersion is the layout of the data directory that this program writes; see docs/formats/columnar-store.md.
const formatVersion = 1

const (
	defaultRetention  = 15 * 24 * time.Hour
	minRetention      = 24 * time.Hour
	defaultCheckpoint = time.Minute
	defaultTimeout    = 30 * time.Second
	maxGroup          = 64 // batches that one write to the log takes
)

// Options say where and how much is stored. Dir and Name are needed, all else has a default.
type Options struct {
	Dir            string
	Name           string        // value of the label store of all metrics: "events"
	RetentionAge   time.Duration // at least a day, default 15 days. Days (UTC) are dropped as a whole
	RetentionBytes int64         // of all files; the oldest days are dropped above it. 0 is no limit
	ReserveBytes   int64         // free space under which nothing is taken in; default 2 % of the file system, 16 to 256 MiB
	QueryTimeout   time.Duration // default 30 s
	Log            *slog.Logger
	Registerer     prometheus.Registerer

	now             func() time.Time // tests
	checkpoint      time.Duration    // tests: how long a record is in the log and in memory alone
	checkpointBytes int64            // tests
	verify          time.Duration    // tests: how often all files are compared with their checksums
	firstLook       int64            // tests: bytes that a start reads at most to compare them with their checksums
}

// DB is an open store. All methods may be called from several goroutines. Close it to let go of the directory.
type DB struct {
	opts   Options
	log    *slog.Logger
	lock   *directory.Lock
	guard  *directory.Guard
	engine *engine
	wal    *wal
	next   uint64 // number of the next record
	*counters

	appends chan *appending
	queries chan struct{} // a place for each that may run
	readers readers

	// Of what is in the log and not yet in the engine's files; of the writer's goroutine.
	unflushed     int64 // bytes of records
	unflushedDays map[string]bool
	flushed       time.Time
	damaged       map[int]bool // segments of the log that are to be set aside
	aside         *directory.Aside

	mends chan string // days with damaged files, for the writer

	stop      context.CancelFunc
	work      sync.WaitGroup // of the goroutines that stop ends
	closeOnce sync.Once
	closeErr  error
}

// Open locks the directory (made if it is not there), sets aside what is corrupt, and gives the engine what is in the log alone.
// Errors: directory.ErrInUse, ErrNewerVersion, ErrDiskFull, or what the file system said.
func Open(o Options) (*DB, error) { return OpenContext(context.Background(), o) }

// OpenContext is Open that ends with an error when the context ends while files are compared with their checksums. The store does not keep the context.
func OpenContext(ctx context.Context, o Options) (*DB, error) {
	o = withDefaults(o)
	lock, err := directory.NewLock(o.Dir)
	if err != nil {
		return nil, err
	}
	db := &DB{
		opts: o, log: o.Log, lock: lock, appends: make(chan *appending, maxGroup), queries: make(chan struct{}, max(4, 2*runtime.GOMAXPROCS(0))),
		unflushedDays: map[string]bool{}, damaged: map[int]bool{}, mends: make(chan string),
	}
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	return db, nil
}

func withDefaults(o Options) Options {
	if o.RetentionAge <= 0 {
		o.RetentionAge = defaultRetention
	}
	o.RetentionAge = max(o.RetentionAge, minRetention)
	if o.QueryTimeout <= 0 {
		o.QueryTimeout = defaultTimeout
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
	if o.checkpoint <= 0 {
		o.checkpoint = defaultCheckpoint
	}
	if o.checkpointBytes <= 0 {
		o.checkpointBytes = checkpointBytes()
	}
	if o.verify <= 0 {
		o.verify = defaultVerify
	}
	if o.firstLook <= 0 {
		o.firstLook = defaultFirstLook
	}
	return o
}

func (db *DB) open(starting context.Context) (err error) {
	if db.guard, err = directory.NewGuard(db.opts.Dir, db.opts.ReserveBytes); err != nil {
		return err
	}
	// Before anything is written: the engine ends the process when it cannot write a file.
	if err := db.guard.Check(); err != nil {
		return err
	}
	if err := directory.CheckVersion(db.opts.Dir, formatVersion); err != nil {
		return err
	}
	db.aside = directory.NewAside(db.opts.Dir, db.opts.now(), db.log)
	db.counters = newCounters(db)
	if err := os.MkdirAll(filepath.Join(db.opts.Dir, walDir), 0o750); err != nil {
		return fmt.Errorf("make the folder of the log: %w", err)
	}
	if db.engine, err = openEngine(starting, db.opts.Dir, db.opts.RetentionAge, db.aside, db.opts.firstLook); err != nil {
		return err
	}
	if err := db.replay(); err != nil {
		db.engine.close()
		return fmt.Errorf("read the log in %s: %w", db.opts.Dir, err)
	}
	if err := db.register(db.opts.Registerer); err != nil {
		db.engine.close()
		return errors.Join(err, db.wal.close())
	}
	db.setAside.Add(float64(db.aside.Count))
	ctx, cancel := context.WithCancel(context.Background())
	db.stop = cancel
	db.work.Go(func() { db.write(ctx) })
	db.work.Go(func() { db.watch(ctx) })
	return nil
}

// Close writes what is to be written and lets go of the directory. Queries that run are ended. Where the disk is full nothing is written: the
// records are in the log, and the next Open finds them there. A second call returns what the first one did.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.readers.end()
		db.stop()
		db.work.Wait()
		db.unregister(db.opts.Registerer)
		if free, err := db.guard.Free(); err != nil || int64(free) < 4*db.unflushed+minCloseBytes {
			db.closeErr = errors.Join(fmt.Errorf("close %s: %w: what is in memory stays in the log", db.opts.Dir, directory.ErrDiskFull), db.wal.close(), db.lock.Release())
			return
		}
		db.engine.close()
		db.seal(context.Background())
		db.closeErr = errors.Join(db.wal.close(), db.lock.Release())
	})
	return db.closeErr
}

// minCloseBytes is room for the files that the engine writes when it is closed.
const minCloseBytes = 1 << 20

// readers counts what reads, so that the engine is closed behind them.
type readers struct {
	mu    sync.Mutex
	ended bool
	group sync.WaitGroup
	ctx   context.Context //nolint:containedctx // ends all readers
	stop  context.CancelFunc
}

// enter returns a context that ends with the reader's own or when the store is closed, and what to call at the end.
func (r *readers) enter(ctx context.Context) (context.Context, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil, nil, ErrClosed
	}
	if r.ctx == nil {
		r.ctx, r.stop = context.WithCancel(context.Background())
	}
	r.group.Add(1)
	reading, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(r.ctx, func() { cancel(ErrClosed) })
	return reading, func() {
		unhook()
		cancel(nil)
		r.group.Done()
	}, nil
}

// end lets nobody in, ends those who read, and waits for them.
func (r *readers) end() {
	r.mu.Lock()
	r.ended = true
	if r.stop != nil {
		r.stop()
	}
	r.mu.Unlock()
	r.group.Wait()
}
