package columnar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vetch-dev/vetch/store/directory"
)

// RejectedError says that some records of a batch can never be kept. The others were stored.
type RejectedError struct {
	Count int
	First error // of the first of them: ErrInvalid, ErrTooOld or ErrTooFarAhead
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("%d records were not stored: %v", e.Count, e.First)
}
func (e *RejectedError) Unwrap() error { return e.First }

// appending is a batch on its way to the writer.
type appending struct {
	records []Record
	body    []byte // the same, encoded
	bytes   int64
	result  chan error
}

// Append stores records. When it returns nil they are on disk, and can be found within a second. Records that can never be kept are left out, the
// error is then a *RejectedError. With any other error nothing was stored: directory.ErrDiskFull and ErrFull (try again later), ErrInvalid for more than
// 10,000 records or 4 MiB, ErrClosed, or what the disk or the context said; of a context that ends meanwhile the records may be stored all the same.
func (db *DB) Append(ctx context.Context, records []Record) error {
	good, rejected := db.sieve(records)
	if len(good) == 0 {
		return rejected.orNil()
	}
	a := &appending{records: good, result: make(chan error, 1)}
	for i := range good {
		a.bytes += int64(good[i].size())
	}
	if len(good) > maxBatch || a.bytes > maxBatchBytes {
		err := fmt.Errorf("%w: a batch of %d records and %d bytes, more than %d or %d", ErrInvalid, len(good), a.bytes, maxBatch, maxBatchBytes)
		db.refused(err, len(good))
		return err
	}
	_, leave, err := db.readers.enter(ctx)
	if err != nil {
		db.refused(err, len(good))
		return err
	}
	defer leave()
	a.body = encodeRecords(good)
	select {
	case db.appends <- a:
	case <-ctx.Done():
		db.refused(ctx.Err(), len(good))
		return ctx.Err()
	}
	select {
	case err := <-a.result:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	return rejected.orNil()
}

func (e *RejectedError) orNil() error {
	if e.Count == 0 {
		return nil
	}
	return e
}

// sieve leaves out and counts what can never be kept.
func (db *DB) sieve(records []Record) ([]Record, *RejectedError) {
	rejected := &RejectedError{}
	now := db.opts.now()
	oldest, newest := now.Add(-db.opts.RetentionAge), now.Add(maxAhead)
	good := records
	for i := range records {
		err := records[i].check(oldest, newest)
		if err == nil {
			if rejected.Count > 0 {
				good = append(good, records[i])
			}
			continue
		}
		db.refused(err, 1)
		if rejected.Count++; rejected.Count == 1 {
			rejected.First = err
			good = slices.Clone(records[:i])
		}
	}
	return good, rejected
}

// write is the one goroutine that writes: to the log, then to the engine, and now and then a checkpoint.
func (db *DB) write(ctx context.Context) {
	tick := time.NewTicker(max(db.opts.checkpoint/10, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			db.tryCheckpoint()
			return
		case a := <-db.appends:
			group := []*appending{a}
			for bytes := a.bytes; len(group) < maxGroup && bytes < maxBatchBytes && len(db.appends) > 0; {
				a := <-db.appends
				bytes += a.bytes
				group = append(group, a)
			}
			db.commit(group)
		case day := <-db.mends:
			db.mend(ctx, day)
		case <-tick.C:
			db.reattach(ctx)
			db.retain()
		}
		if db.unflushed >= db.opts.checkpointBytes || db.unflushed > 0 && time.Since(db.flushed) >= db.opts.checkpoint {
			db.tryCheckpoint()
		}
	}
}

// commit writes the batches to the log at once, gives them to the engine, and tells those who wait.
func (db *DB) commit(group []*appending) {
	err := db.room()
	first := db.next
	if err == nil {
		db.wal.buf = db.wal.buf[:0]
		number := first
		for _, a := range group {
			db.wal.buf = appendFrame(db.wal.buf, number, a.body)
			number += uint64(len(a.records))
		}
		db.next = number // also after an error: some of it may be in the log
		start := time.Now()
		err = db.wal.write(db.wal.buf, first)
		db.syncs.Observe(time.Since(start).Seconds())
	}
	for _, a := range group {
		if err != nil {
			db.refused(err, len(a.records))
			a.result <- err
			continue
		}
		db.engine.add(first, a.records, nil)
		for i := range a.records {
			db.unflushedDays[a.records[i].Time.UTC().Format(dayFormat)] = true
		}
		first += uint64(len(a.records))
		db.unflushed += a.bytes + int64(len(a.records))
		db.appended.Add(float64(len(a.records)))
		a.result <- nil
	}
	db.walBytes.Store(db.wal.bytes())
}

// room is nil, or says why nothing can be taken in now.
func (db *DB) room() error {
	if err := db.guard.Check(); err != nil {
		return err
	}
	if db.over.Load() {
		return fmt.Errorf("%w: the records of today alone take %d bytes, the limit; allow more or send less", ErrFull, db.opts.RetentionBytes)
	}
	for day := range db.engine.detached {
		return fmt.Errorf("the day %s has files that are damaged or could not be opened, see the log: nothing is taken in until it is open again", day)
	}
	if db.unflushed > maxUnflushed {
		return fmt.Errorf("%w: %d MiB of records could not be written to their files yet", ErrFull, db.unflushed>>20)
	}
	return nil
}

// maxUnflushed bounds the log, and what the engine has in memory, where checkpoints do not work out.
const maxUnflushed = 64 << 20

// tryCheckpoint counts and logs what goes wrong; it is tried again after a while.
func (db *DB) tryCheckpoint() {
	start := time.Now()
	db.flushed = start
	if db.unflushed == 0 {
		return
	}
	err := db.guard.Check()
	if err == nil {
		err = db.doCheckpoint()
	}
	if err != nil {
		db.checkpointFailures.Inc()
		if !errors.Is(err, directory.ErrDiskFull) || !db.full {
			db.log.Error("write records to their files", "store", db.opts.Name, "err", err)
		}
		db.full = errors.Is(err, directory.ErrDiskFull)
		return
	}
	db.full = false
	db.checkpoints.Observe(time.Since(start).Seconds())
}

// doCheckpoint makes the engine write what it has in memory, and drops the log of it.
func (db *DB) doCheckpoint() error {
	if err := db.engine.flush(db.unflushedDays); err != nil {
		return err
	}
	if err := db.wal.begin(db.next); err != nil {
		return err
	}
	db.unflushed = 0
	clear(db.unflushedDays)
	if err := db.dropLog(); err != nil {
		return err
	}
	db.walBytes.Store(db.wal.bytes())
	return nil
}
