package columnar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vetch-dev/vetch/store/directory"
)

// defaultVerify is how often all files are read and compared with their checksums, beside the start and, where that did not get to all, soon after it.
const defaultVerify = 6 * time.Hour

// watch makes checksums of what the engine has written, and looks now and then whether all is as it was.
func (db *DB) watch(ctx context.Context) {
	seal, verify := time.NewTicker(db.opts.checkpoint), time.NewTicker(db.opts.verify)
	defer seal.Stop()
	defer verify.Stop()
	if db.engine.unread {
		db.verify(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-seal.C:
			db.seal(ctx)
		case <-verify.C:
			db.verify(ctx)
		}
	}
}

// seal makes the checksums of parts that have none yet, and logs what goes wrong; it is tried again after a while.
func (db *DB) seal(ctx context.Context) {
	err := db.guard.Check()
	if err == nil {
		err = sealDays(ctx, db.opts.Dir)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, directory.ErrDiskFull) {
		db.log.Error("make checksums of files", "store", db.opts.Name, "err", err)
	}
}

func sealDays(ctx context.Context, dir string) error {
	days, err := os.ReadDir(filepath.Join(dir, engineDir, partitionsDir))
	if err != nil {
		return fmt.Errorf("list days: %w", err)
	}
	var errs []error
	there := map[string]bool{}
	for _, day := range days {
		if !isDay(day.Name()) { // being dropped
			continue
		}
		there[day.Name()] = true
		errs = append(errs, sealDay(ctx, dir, day.Name()))
	}
	kept, err := os.ReadDir(filepath.Join(dir, sumsDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, fmt.Errorf("list checksums: %w", err))
	}
	for _, day := range kept {
		if !there[day.Name()] {
			errs = append(errs, os.Remove(filepath.Join(dir, sumsDir, day.Name())))
		}
	}
	return errors.Join(errs...)
}

func sealDay(ctx context.Context, dir, day string) error {
	s, err := readSums(sumsPath(dir, day))
	if errors.Is(err, errCorrupt) { // they can be made again, of what has not been found damaged
		s, err = sums{}, nil
	}
	if err != nil {
		return err
	}
	changed, err := s.seal(ctx, filepath.Join(dir, engineDir, partitionsDir, day))
	if changed {
		err = errors.Join(err, s.write(sumsPath(dir, day)))
	}
	return err
}

// verify reads all files that have checksums, and tells the writer of days that hold a damaged one.
func (db *DB) verify(ctx context.Context) {
	for _, day := range db.engine.days() {
		root := filepath.Join(db.opts.Dir, engineDir, partitionsDir, day)
		s, err := readSums(sumsPath(db.opts.Dir, day))
		var parts map[string]error
		var read int64
		if err == nil {
			parts, read, err = s.damaged(ctx, root, nil)
		}
		db.verified.Add(float64(read))
		if ctx.Err() != nil {
			return
		}
		if !slices.Contains(db.engine.days(), day) { // dropped meanwhile
			continue
		}
		if err != nil {
			db.log.Error("compare files with their checksums", "store", db.opts.Name, "day", day, "err", err)
			continue
		}
		if len(parts) == 0 {
			continue
		}
		select {
		case db.mends <- day:
		case <-ctx.Done():
			return
		}
	}
}

// mend opens a day again, which sets aside what is damaged of it. Nothing is added and nothing is asked meanwhile. The next look comes to what
// could not be mended.
func (db *DB) mend(ctx context.Context, day string) {
	if !slices.Contains(db.engine.days(), day) { // dropped meanwhile
		return
	}
	if err := db.reopen(ctx, day); err != nil && ctx.Err() == nil {
		db.log.Error("set damaged files aside", "store", db.opts.Name, "day", day, "still_open", !db.engine.detached[day], "err", err)
	}
}

// reattach tries again to open the days that mend or drop had to leave closed. Until then room lets nothing in.
func (db *DB) reattach(ctx context.Context) {
	for day := range db.engine.detached {
		if err := db.reopen(ctx, day); err == nil || !db.engine.detached[day] {
			db.log.Info("a day that was closed for trouble on disk is open again", "store", db.opts.Name, "day", day)
		}
	}
}

// reopen closes and opens a day, but not where the disk is full: the engine may write when it does so.
func (db *DB) reopen(ctx context.Context, day string) error {
	if err := db.guard.Check(); err != nil {
		return err
	}
	aside := directory.NewAside(db.opts.Dir, db.opts.now(), db.log)
	err := db.engine.reopen(ctx, db.opts.Dir, day, aside)
	db.setAside.Add(float64(aside.Count))
	return err
}
