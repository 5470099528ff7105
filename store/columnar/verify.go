package columnar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/vetch-dev/vetch/store/directory"
)

// defaultVerify is how often all files are read and compared with their checksums, beside each start.
const defaultVerify = 6 * time.Hour

// watch makes checksums of what the engine has written, and looks now and then whether all is as it was.
func (db *DB) watch(ctx context.Context) {
	seal, verify := time.NewTicker(db.opts.checkpoint), time.NewTicker(db.opts.verify)
	defer seal.Stop()
	defer verify.Stop()
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
			parts, read, err = s.damaged(ctx, root)
		}
		db.verified.Add(float64(read))
		if ctx.Err() != nil {
			return
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

// mend opens a day again, which sets aside what is damaged of it. Nothing is added and nothing is asked meanwhile.
func (db *DB) mend(day string) {
	aside := directory.NewAside(db.opts.Dir, db.opts.now(), db.log)
	err := db.engine.reopen(db.opts.Dir, day, aside)
	db.setAside.Add(float64(aside.Count))
	if err != nil {
		db.log.Error("set damaged files aside", "store", db.opts.Name, "day", day, "err", err)
	}
}
