package metrics

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/wlog"

	"github.com/vetch-dev/vetch/store/directory"
)

// logDirs are the folders whose files the database repairs by deleting what it cannot read.
func logDirs() []string { return []string{"wal", wlog.WblDirName, "chunks_head"} }

const keepSuffix = ".keep"

// aside keeps what is corrupt under another name, NAME.corrupt-TIME, in the data directory.
//
// Blocks are tried before the database opens them. The files of the write-ahead log are too large to be read twice, so
// they get a second name (a hard link) in DIR.keep first; where the database then replaced or removed a file, the second name is all
// that is left of it and becomes DIR.corrupt-TIME.
type aside struct {
	*directory.Aside
	dir string
	log *slog.Logger
}

func newAside(dir string, now time.Time, log *slog.Logger) *aside {
	return &aside{Aside: directory.NewAside(dir, now, log), dir: dir, log: log}
}

// blocks renames the blocks that cannot be opened.
func (a *aside) blocks() error {
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return fmt.Errorf("list blocks: %w", err)
	}
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err != nil || !e.IsDir() {
			continue
		}
		block, err := tsdb.OpenBlock(a.log, filepath.Join(a.dir, e.Name()), nil, nil)
		if err == nil {
			err = block.Close()
		}
		if err == nil {
			continue
		}
		if directory.IsMachine(err) {
			return fmt.Errorf("open block %s: %w", e.Name(), err)
		}
		if err := a.Rename(e.Name(), err); err != nil {
			return err
		}
	}
	return nil
}

// keepLogs gives second names to the files of the logs. What an earlier start kept and did not settle is kept for good.
func (a *aside) keepLogs() error {
	for _, name := range logDirs() {
		if _, err := os.Stat(filepath.Join(a.dir, name+keepSuffix)); err == nil {
			if err := a.settleDir(name, ".corrupt-unsettled"+strings.TrimPrefix(a.Suffix, ".corrupt")); err != nil {
				return err
			}
		}
		err := filepath.WalkDir(filepath.Join(a.dir, name), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			rel, err := filepath.Rel(a.dir, path)
			if err != nil {
				return err
			}
			keep := filepath.Join(a.dir, strings.Replace(rel, name, name+keepSuffix, 1))
			if err := os.MkdirAll(filepath.Dir(keep), 0o750); err != nil {
				return err
			}
			return os.Link(path, keep)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			// A file system without hard links: the store works, but a repair would leave no copy.
			a.log.Warn("no second names for the write-ahead log", "dir", name, "err", err)
		}
	}
	return nil
}

// settle looks what the database did to the logs, and returns how many files and blocks were set aside since newAside.
func (a *aside) settle() (int, error) {
	for _, name := range logDirs() {
		if err := a.settleDir(name, a.Suffix); err != nil {
			return a.Count, err
		}
	}
	return a.Count, nil
}

// settleDir removes the second names of the files that are as they were, and keeps those of the others for good.
func (a *aside) settleDir(name, suffix string) error {
	keepDir := filepath.Join(a.dir, name+keepSuffix)
	lost := 0
	err := filepath.WalkDir(keepDir, func(keep string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		kept, err := e.Info()
		if err != nil {
			return err
		}
		now, err := os.Stat(filepath.Join(a.dir, name) + strings.TrimPrefix(keep, keepDir))
		if kept.Size() == 0 || (err == nil && os.SameFile(kept, now)) {
			return os.Remove(keep)
		}
		lost++
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("settle %s: %w", name, err)
	}
	if lost == 0 {
		return os.RemoveAll(keepDir)
	}
	a.Count += lost
	a.log.Error("corrupt write-ahead log was repaired, its files are set aside", "files", lost, "kept_as", name+suffix)
	return os.Rename(keepDir, filepath.Join(a.dir, name+suffix))
}

// logs sets aside what the database cannot repair by itself: the segments behind a hole, or if there is none all of the logs.
// What they hold is no longer answered.
func (a *aside) logs(why error) error {
	for _, name := range logDirs() {
		if err := os.RemoveAll(filepath.Join(a.dir, name+keepSuffix)); err != nil {
			return err
		}
	}
	before := a.Count
	for _, name := range logDirs()[:2] {
		if err := a.behindHole(name, why); err != nil {
			return err
		}
	}
	if a.Count > before {
		return nil
	}
	for _, name := range logDirs() {
		if _, err := os.Stat(filepath.Join(a.dir, name)); err != nil {
			continue
		}
		if err := a.Rename(name, why); err != nil {
			return err
		}
	}
	return nil
}

// behindHole renames the segments of a log that do not follow on those before.
func (a *aside) behindHole(name string, why error) error {
	entries, err := os.ReadDir(filepath.Join(a.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list segments: %w", err)
	}
	next, hole := -1, false
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		hole = hole || (next >= 0 && n != next)
		next = n + 1
		if !hole {
			continue
		}
		if err := os.MkdirAll(filepath.Join(a.dir, name+a.Suffix), 0o750); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(a.dir, name, e.Name()), filepath.Join(a.dir, name+a.Suffix, e.Name())); err != nil {
			return fmt.Errorf("set segment aside: %w", err)
		}
		a.Count++
		a.log.Error("segment behind a hole set aside", "log", name, "segment", e.Name(), "kept_in", name+a.Suffix, "err", why)
	}
	return nil
}
