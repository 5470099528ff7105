package columnar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// replay gives the engine what is in the log and not in its files, and begins a new segment.
//
// A crash may come between the two steps of a checkpoint, or in the middle of the first: then some records of the log are in files already. Each
// has a number that no other has, so the engine is asked which of them it knows, and those are left out.
func (db *DB) replay() error {
	dir := filepath.Join(db.opts.Dir, walDir)
	numbers, err := segments(dir)
	if err != nil {
		return err
	}
	db.wal = &wal{dir: dir}
	// Above all that were given out, should a part of the log be gone: nobody stores a million records a second for long.
	db.next = uint64(db.opts.now().UnixMicro())
	var batches []batch
	for i, n := range numbers {
		read, next, err := db.readSegment(n, i == len(numbers)-1)
		if err != nil {
			return err
		}
		db.next = max(db.next, next)
		batches = append(batches, read...)
		db.wal.number = n
	}
	if err := db.restore(batches); err != nil {
		return err
	}
	if err := db.wal.begin(db.next); err != nil {
		return err
	}
	if db.unflushed > 0 {
		if err := db.engine.flush(db.unflushedDays); err != nil {
			return errors.Join(err, db.wal.close())
		}
		db.unflushed = 0
		clear(db.unflushedDays)
	}
	db.flushed = time.Now()
	return db.dropLog()
}

// readSegment reads what can be read of a segment, and the number that follows on its records. The last segment may end in the middle
// of a batch, that of a crash: it was not acknowledged. Anything else that does not fit marks the segment as damaged.
func (db *DB) readSegment(n int, last bool) (batches []batch, next uint64, err error) {
	path := filepath.Join(db.wal.dir, segmentName(n))
	if info, err := os.Stat(path); err != nil || info.Size() > maxSegmentSize {
		if err == nil {
			db.damage(n, fmt.Errorf("%w: %d bytes are too many", errCorrupt, info.Size()))
		}
		return nil, 0, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, fmt.Errorf("read a segment of the log: %w", err)
	}
	batches, next, err = readFrames(text)
	switch {
	case err == nil:
	case last && errors.Is(err, errTorn):
		db.torn.Inc()
		db.log.Warn("the write-ahead log ends in the middle of a batch, which was not acknowledged", "store", db.opts.Name, "segment", segmentName(n))
	default:
		db.damage(n, err)
	}
	return batches, next, nil
}

// readFrames reads the batches of a segment up to the first that cannot be read.
func readFrames(text []byte) (batches []batch, next uint64, err error) {
	if next, err = readSegmentHeader(text); err != nil {
		return nil, 0, err
	}
	for text = text[segmentHeader:]; ; {
		var b batch
		b, text, err = readFrame(text)
		if errors.Is(err, io.EOF) {
			return batches, next, nil
		}
		if err != nil {
			return batches, next, err
		}
		if b.first < next || b.first+uint64(len(b.records)) < b.first {
			return batches, next, errCorrupt
		}
		next = b.first + uint64(len(b.records))
		batches = append(batches, b)
	}
}

// damage remembers to set a segment aside.
func (db *DB) damage(n int, why error) {
	db.damaged[n] = true
	db.log.Error("a segment of the write-ahead log is damaged; what follows the damage in it is lost", "store", db.opts.Name, "segment", segmentName(n), "err", why)
}

// dropLog drops the segments that are no longer needed, and sets the damaged ones aside.
func (db *DB) dropLog() error {
	for n := range db.damaged {
		name := segmentName(n)
		if err := db.aside.Move(filepath.Join(walDir, name), "wal."+name, errCorrupt); err != nil {
			return err
		}
		delete(db.damaged, n)
	}
	return db.wal.drop()
}

// restore gives the engine those of the records that it does not have.
func (db *DB) restore(batches []batch) error {
	if len(batches) == 0 {
		return nil
	}
	oldestKept := db.opts.now().Add(-db.opts.RetentionAge)
	first, from, to := batches[0].first, time.Time{}, time.Time{}
	for _, b := range batches {
		first = min(first, b.first)
		for i := range b.records {
			at := b.records[i].Time
			if from.IsZero() || at.Before(from) {
				from = at
			}
			if at.After(to) {
				to = at
			}
		}
	}
	known, err := db.known(first, from, to)
	if err != nil {
		return err
	}
	for _, b := range batches {
		b.records = b.records[:len(b.records):len(b.records)]
		db.engine.add(b.first, b.records, func(number uint64) bool {
			r := &b.records[number-b.first]
			if _, there := known[number]; there {
				db.replayedKnown.Inc()
				return true
			}
			if r.Time.Before(oldestKept) {
				return true
			}
			db.replayed.Inc()
			db.unflushed += int64(r.size()) + 1
			db.unflushedDays[r.Time.UTC().Format(dayFormat)] = true
			return false
		})
	}
	return nil
}

// known lists the numbers from first on of the records that the engine has between two times.
func (db *DB) known(first uint64, from, to time.Time) (map[uint64]struct{}, error) {
	known := map[uint64]struct{}{}
	var bad error
	err := db.engine.run(context.Background(), fmt.Sprintf("%s:>=%d | fields %s", fieldNumber, first, fieldNumber), from, to, func(columns []column) bool {
		for _, c := range columns {
			for _, v := range c.values {
				number, err := strconv.ParseUint(v, 10, 64)
				if err != nil {
					bad = err
					return false
				}
				known[number] = struct{}{}
			}
		}
		return true
	})
	return known, errors.Join(err, bad)
}
