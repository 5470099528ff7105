package columnar

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/VictoriaLogs/lib/logstorage"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/store/directory"
)

// This file is all that knows VictoriaLogs' lib/logstorage. Its ways: it ends the process (panics) where it cannot read or write a file; it has
// settings in the flags of the process; it keeps what it was given in memory until it is told to write it.
const (
	engineDir     = "engine"
	partitionsDir = "partitions" // below engineDir: one folder for each day (UTC), named by dayFormat
	dayFormat     = "20060102"
	parkedPrefix  = "."                  // the library does not look at names that begin so
	droppedPrefix = ".dropped-"          // a day that is being deleted, or was when the process ended
	neverFlush    = 365 * 24 * time.Hour // by itself: checkpoints do it, while there is room on the disk
	flushTimeout  = 10 * time.Second
	flushPoll     = 5 * time.Millisecond

	fieldTime    = "_time"
	fieldMessage = "_msg"
	fieldNumber  = "_seq" // of the record: unique, and rising in the order in which records were acknowledged
)

// setProcess makes the library's settings, once for the process: only errors are printed, and caches and queries have a share of the memory.
var setProcess = sync.OnceValue(func() error {
	if !flag.Parsed() {
		// The library asks whether flags were parsed. Ours are not in that set.
		if err := flag.CommandLine.Parse(nil); err != nil {
			return err
		}
	}
	return errors.Join(
		flag.Set("loggerLevel", "ERROR"), // warnings hold records
		flag.Set("memory.allowedBytes", strconv.FormatInt(engineMemory(), 10)),
	)
})

// engineMemory bounds caches and what queries hold: an eighth of the memory, 128 MiB to 1 GiB.
func engineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 128 << 20
	}
	total := int64(info.Totalram) * int64(info.Unit)
	return min(max(total/8, 128<<20), 1<<30)
}

// checkpointBytes is how much may be in memory alone. The library writes parts in memory to files by itself once they are larger than
// a two-hundredth of engineMemory; that must not come before their streams are on disk, so stay well below.
func checkpointBytes() int64 { return engineMemory() / 400 }

// engine is an open database of the library.
type engine struct {
	storage *logstorage.Storage
	tenants []logstorage.TenantID
	reading sync.RWMutex // held for writing while a day is closed that will be opened again
	unread  bool         // not all that has checksums was compared with them at the start

	// Days that are closed while their folder is there. The library would skip their records in silence, so none may be added while there are any.
	// Of the writer's goroutine.
	detached map[string]bool
}

// openEngine opens the database in dir. What is damaged is set aside, as far as limit bytes of files show it, those of the newest days first.
func openEngine(ctx context.Context, dir string, retention time.Duration, aside *directory.Aside, limit int64) (_ *engine, err error) {
	if err := setProcess(); err != nil {
		return nil, fmt.Errorf("set up the engine: %w", err)
	}
	root := filepath.Join(dir, engineDir)
	days, err := park(root, aside)
	if err != nil {
		return nil, err
	}
	e := &engine{tenants: []logstorage.TenantID{{}}, detached: map[string]bool{}}
	err = caught(func() {
		e.storage = logstorage.MustOpenStorage(root, &logstorage.StorageConfig{
			Retention: retention, FutureRetention: 2 * maxAhead, FlushInterval: neverFlush,
		})
	})
	if err != nil {
		return nil, fmt.Errorf("open the engine in %s: %w", root, err)
	}
	expired := time.Now().Add(-retention).UTC().Format(dayFormat)
	look := &budget{left: limit}
	slices.Sort(days)
	for _, day := range slices.Backward(days) {
		if day < expired { // the library looks only once an hour
			if err := os.RemoveAll(filepath.Join(root, partitionsDir, parkedPrefix+day)); err != nil {
				e.close()
				return nil, fmt.Errorf("drop an old day: %w", err)
			}
			continue
		}
		if err := e.show(ctx, dir, day, aside, look); err != nil {
			e.close()
			return nil, err
		}
	}
	e.unread = look.short
	for _, path := range e.storage.PartitionSnapshotList() { // of a checkpoint that was cut short
		if err := e.storage.PartitionSnapshotDelete(path); err != nil {
			e.close()
			return nil, fmt.Errorf("drop a snapshot: %w", err)
		}
	}
	return e, nil
}

// park hides the days from the library, which would end the process over one that it cannot open, and lists them.
func park(root string, aside *directory.Aside) ([]string, error) {
	folder := filepath.Join(root, partitionsDir)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list days: %w", err)
	}
	var days []string
	for _, entry := range entries {
		if day, dropped := strings.CutPrefix(entry.Name(), droppedPrefix); dropped && isDay(day) {
			if err := os.RemoveAll(filepath.Join(folder, entry.Name())); err != nil {
				return nil, fmt.Errorf("delete the rest of a day: %w", err)
			}
			continue
		}
		day := strings.TrimPrefix(entry.Name(), parkedPrefix)
		if !isDay(day) || !entry.IsDir() {
			if err := aside.Move(filepath.Join(engineDir, partitionsDir, entry.Name()), "engine."+day, errors.New("not the folder of a day")); err != nil {
				return nil, err
			}
			continue
		}
		days = append(days, day)
		if day == entry.Name() {
			if err := os.Rename(filepath.Join(folder, day), filepath.Join(folder, parkedPrefix+day)); err != nil {
				return nil, fmt.Errorf("hide a day: %w", err)
			}
		}
	}
	return days, nil
}

// isDay tells the name of a day's folder from others.
func isDay(name string) bool {
	_, err := time.Parse(dayFormat, name)
	return err == nil
}

// show opens a day that park has hidden, or sets it aside.
func (e *engine) show(ctx context.Context, dir, day string, aside *directory.Aside, look *budget) error {
	folder := filepath.Join(dir, engineDir, partitionsDir)
	if err := os.Rename(filepath.Join(folder, parkedPrefix+day), filepath.Join(folder, day)); err != nil {
		return fmt.Errorf("show a day: %w", err)
	}
	return e.open(dir, day, aside, setDamagedAside(ctx, dir, day, aside, look))
}

// reopen closes a day and opens it again without what is damaged of it. Nothing may be added meanwhile; queries wait. Where the machine does not let it
// set that aside, the day is opened as it is; where that fails too it is in detached, and reopen can be tried again.
func (e *engine) reopen(ctx context.Context, dir, day string, aside *directory.Aside) error {
	e.reading.Lock()
	defer e.reading.Unlock()
	if !e.detached[day] {
		if err := e.storage.PartitionDetach(day); err != nil {
			return fmt.Errorf("close a day: %w", err)
		}
		e.detached[day] = true
	}
	found := setDamagedAside(ctx, dir, day, aside, nil)
	if found != nil && isMachine(found) {
		if err := e.attach(day); err != nil {
			return errors.Join(found, err)
		}
		delete(e.detached, day)
		return found
	}
	if err := e.open(dir, day, aside, found); err != nil {
		return err
	}
	delete(e.detached, day)
	return nil
}

// open opens a day whose damaged parts are set aside; where that could not be done (err), or the library refuses it, the whole day is.
func (e *engine) open(dir, day string, aside *directory.Aside, err error) error {
	if err == nil {
		err = e.attach(day)
	}
	if err == nil {
		return nil
	}
	name := filepath.Join(engineDir, partitionsDir, day)
	if isMachine(err) {
		return fmt.Errorf("open %s: %w", filepath.Join(dir, name), err)
	}
	return aside.Move(name, "day."+day, err)
}

// attach gives the library a day.
func (e *engine) attach(day string) error {
	var refused error
	return errors.Join(caught(func() { refused = e.storage.PartitionAttach(day) }), refused)
}

// caught turns a panic of the library into an error. It sees only those of its own goroutine.
func caught(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the engine gave up: %v", v)
		}
	}()
	f()
	return nil
}

// isMachine is directory.IsMachine for errors of which only the text is left, and for work that was called off. What is known to be damaged is not, even
// where an errno tells it: see unreadable.
func isMachine(err error) bool {
	switch {
	case errors.Is(err, errCorrupt):
		return false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return true
	}
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EACCES, unix.EPERM, unix.EROFS, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EIO} {
		if strings.Contains(err.Error(), errno.Error()) {
			return true
		}
	}
	return directory.IsMachine(err)
}

// add gives records to the engine: they can be found within a second, and are on disk after flush. The first has the number first.
func (e *engine) add(first uint64, records []Record, skip func(uint64) bool) {
	rows := logstorage.GetLogRows(nil, nil, nil, nil, "")
	defer func() { logstorage.PutLogRows(rows) }()
	var fields []logstorage.Field
	for i := range records {
		r, number := &records[i], first+uint64(i)
		if skip != nil && skip(number) {
			continue
		}
		fields = fields[:0]
		for _, list := range [2][]Field{r.Stream, r.Fields} {
			for _, f := range list {
				fields = append(fields, logstorage.Field(f))
			}
		}
		fields = append(fields, logstorage.Field{Name: fieldMessage, Value: r.Message},
			logstorage.Field{Name: fieldNumber, Value: strconv.FormatUint(number, 10)})
		rows.MustAdd(e.tenants[0], r.Time.UnixNano(), fields, len(r.Stream))
		if rows.NeedFlush() {
			e.storage.MustAddRows(rows)
			rows.ResetKeepSettings()
		}
	}
	e.storage.MustAddRows(rows)
}

// flush writes what is in memory to disk; days are those that have anything. Nothing may be added meanwhile.
//
// A snapshot is the one way that the library offers: first the streams and then the records are written and synced, and then linked to second
// names, which we do not need. Parts that are being merged just then stay in memory, so look, and do it again.
func (e *engine) flush(days map[string]bool) error {
	deadline := time.Now().Add(flushTimeout)
	for {
		e.storage.DebugFlush()
		for day := range days {
			for _, path := range e.storage.PartitionSnapshotMustCreate(day) {
				if err := e.storage.PartitionSnapshotDelete(path); err != nil {
					return fmt.Errorf("drop a snapshot: %w", err)
				}
			}
		}
		s := e.stats()
		if s.InmemoryParts == 0 && s.PendingRows == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("flush to disk: %d parts are still in memory after %s", s.InmemoryParts, flushTimeout)
		}
		time.Sleep(flushPoll)
	}
}

func (e *engine) stats() *logstorage.StorageStats {
	s := new(logstorage.StorageStats)
	e.storage.UpdateStats(s)
	return s
}

// bytes is what a look at the figures says of the disk.
func bytes(s *logstorage.StorageStats) int64 {
	return int64(s.CompressedSmallPartSize + s.CompressedBigPartSize + s.IndexdbSizeBytes)
}

// oldest is the time of the oldest record, or zero.
func oldest(s *logstorage.StorageStats) time.Time {
	if s.MinTimestamp == math.MinInt64 || s.MinTimestamp == math.MaxInt64 {
		return time.Time{}
	}
	return time.Unix(0, s.MinTimestamp)
}

// days lists the days that are open, oldest first.
func (e *engine) days() []string { return e.storage.PartitionList() }

// drop deletes a day. It waits for the queries that read it. Its folder gets a name that a start deletes: cut short, the rest must not look damaged.
func (e *engine) drop(root, day string) error {
	folder := filepath.Join(root, engineDir, partitionsDir)
	rest := filepath.Join(folder, droppedPrefix+day)
	if err := os.RemoveAll(rest); err != nil { // of a day that had the same name
		return fmt.Errorf("delete the rest of a day: %w", err)
	}
	if err := e.storage.PartitionDetach(day); err != nil {
		return fmt.Errorf("close a day: %w", err)
	}
	if err := os.Rename(filepath.Join(folder, day), rest); err != nil {
		err = fmt.Errorf("take a day out: %w", err)
		if again := e.attach(day); again != nil {
			e.detached[day] = true
			return errors.Join(err, again)
		}
		return err
	}
	if err := os.RemoveAll(rest); err != nil {
		return fmt.Errorf("delete a day: %w", err)
	}
	return nil
}

// close writes what is in memory and closes all files. No query may run.
func (e *engine) close() { e.storage.MustClose() }

// column is one field of the rows of an answer; all columns of a block have as many values.
type column struct {
	name   string
	values []string
}

// run answers a query in the library's language (LogsQL) over the records from start to end, both included, block by block, one at a
// time. What the columns hold is gone when each returns; false ends the query.
func (e *engine) run(ctx context.Context, text string, start, end time.Time, each func([]column) bool) error {
	q, err := logstorage.ParseQueryAtTimestamp(text, end.UnixNano())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	q.AddTimeFilter(start.UnixNano(), end.UnixNano())
	running, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	var columns []column
	done := false
	e.reading.RLock()
	defer e.reading.RUnlock()
	err = e.storage.RunQuery(logstorage.NewQueryContext(running, new(logstorage.QueryStats), e.tenants, q, false, nil), func(_ uint, block *logstorage.DataBlock) {
		mu.Lock()
		defer mu.Unlock()
		if done {
			return
		}
		columns = columns[:0]
		for _, c := range block.GetColumns(false) {
			columns = append(columns, column{c.Name, c.Values})
		}
		if !each(columns) {
			done = true
			stop()
		}
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case done:
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrTooLarge, err) // the one thing that the library says of a query that could be parsed
	}
	return nil
}
