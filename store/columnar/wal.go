package columnar

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	walDir         = "wal"
	segmentSuffix  = ".wal"
	maxSegmentSize = 256 << 20 // of one that is read; a segment is ended long before
)

// wal is the write-ahead log. It belongs to one goroutine.
type wal struct {
	dir    string
	number int      // of the open segment
	file   *os.File // nil after a failure that left the end of the segment unknown
	size   int64    // of the open segment
	older  int64    // bytes of the segments before it
	buf    []byte
}

func segmentName(n int) string { return fmt.Sprintf("%08d%s", n, segmentSuffix) }

// segments lists the numbers of the segments in dir, lowest first.
func segments(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the write-ahead log: %w", err)
	}
	var numbers []int
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if n, err := strconv.Atoi(digits); ok && err == nil && n >= 0 && segmentName(n) == e.Name() && e.Type().IsRegular() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// begin starts a segment in which the first record has the number next. It is on disk, with its name, when begin returns.
func (w *wal) begin(next uint64) error {
	f, err := os.OpenFile(filepath.Join(w.dir, segmentName(w.number+1)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("begin a segment of the log: %w", err)
	}
	header := appendSegmentHeader(nil, next)
	_, err = f.Write(header)
	if err == nil {
		err = errors.Join(f.Sync(), syncDir(w.dir))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("begin a segment of the log: %w", err), f.Close(), os.Remove(f.Name()))
	}
	if w.file != nil {
		if err := w.file.Close(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	w.older += w.size
	w.file, w.number, w.size = f, w.number+1, int64(len(header))
	return nil
}

// write appends frames and waits until they are on disk. After an error none of them is there, as far as the disk let us see to that.
func (w *wal) write(frames []byte, next uint64) error {
	if w.file == nil {
		if err := w.begin(next); err != nil {
			return err
		}
	}
	_, err := w.file.Write(frames)
	if err == nil {
		if err = unix.Fdatasync(int(w.file.Fd())); err == nil {
			w.size += int64(len(frames))
			return nil
		}
	}
	// What the disk holds now is not known: cut it off, and go on in another segment.
	cut := errors.Join(w.file.Truncate(w.size), w.file.Sync(), w.file.Close())
	w.file = nil
	return errors.Join(fmt.Errorf("write the log: %w", err), cut)
}

// drop deletes the segments before the open one.
func (w *wal) drop() error {
	numbers, err := segments(w.dir)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if n >= w.number {
			continue
		}
		if err := os.Remove(filepath.Join(w.dir, segmentName(n))); err != nil {
			return fmt.Errorf("drop a segment of the log: %w", err)
		}
	}
	w.older = 0
	return nil
}

func (w *wal) bytes() int64 { return w.older + w.size }

func (w *wal) close() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return f.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
