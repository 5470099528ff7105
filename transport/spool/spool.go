// Package spool keeps batches on disk, in order, until the next hop has taken them.
package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What Open and Append return, wrapped with the directory and what to do.
var (
	ErrInUse        = errors.New("spool is in use")
	ErrNewerVersion = errors.New("spool was written by a newer version")
	ErrDiskFull     = errors.New("disk is full")
	ErrTooLarge     = errors.New("batch is larger than the spool")
)

const (
	suffix     = ".spool"
	maxSegment = 8 << 20
	minSegment = 64 << 10
	minReserve = 16 << 20
	maxReserve = 256 << 20
)

// Options say where and how much is kept. Dir and Limit are needed.
type Options struct {
	Dir     string
	Limit   int64 // bytes; what is over it drops the oldest
	Reserve int64 // free space under which nothing is written; default 2 % of the file system, 16 to 256 MiB
	Log     *slog.Logger
	// Dropped is told the samples that are lost: reason "spool_full". Corrupt is told of each file that was set aside.
	Dropped func(reason string, samples int)
	Corrupt func()
}

// Spool is a queue on disk. It is for one goroutine at a time.
type Spool struct {
	opts     Options
	log      *slog.Logger
	lock     *os.File
	segments []*segment
	active   *os.File // the last segment, if this process made it and may write to it
	reader   *os.File // the first segment, if it is open
	bytes    int64
	last     uint64 // number of a segment
	lastID   ID     // of a batch
	buffer   []byte
}

// segment is one file. Everything before next is done with.
type segment struct {
	number     uint64
	size, next int64
}

// ID names a batch in the spool.
type ID struct {
	segment uint64
	offset  int64
}

// Open locks the directory (made if it is not there) and finds what an earlier process left. Errors: ErrInUse, ErrNewerVersion, or what the file
// system said.
func Open(o Options) (*Spool, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dropped == nil {
		o.Dropped = func(string, int) {}
	}
	if o.Corrupt == nil {
		o.Corrupt = func() {}
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	s := &Spool{opts: o, log: o.Log}
	if err := s.reserve(); err != nil {
		return nil, err
	}
	if err := s.lockDir(); err != nil {
		return nil, err
	}
	if err := s.find(); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	for s.bytes > s.opts.Limit && len(s.segments) > 0 {
		s.dropOldest()
	}
	return s, nil
}

// reserve works out how much of the disk is left alone if nothing is said.
func (s *Spool) reserve() error {
	if s.opts.Reserve > 0 {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.opts.Dir, &st); err != nil {
		return fmt.Errorf("read free space of %s: %w", s.opts.Dir, err)
	}
	s.opts.Reserve = min(max(int64(st.Blocks)*st.Bsize/50, minReserve), maxReserve)
	return nil
}

func (s *Spool) lockDir() error {
	f, err := os.OpenFile(filepath.Join(s.opts.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open lock of the spool: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		err = fmt.Errorf("lock %s: %w", s.opts.Dir, err)
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%w: another process uses %s; stop it or choose another data directory", ErrInUse, s.opts.Dir)
		}
		return errors.Join(err, f.Close())
	}
	s.lock = f
	return nil
}

// find lists the segments, and sets aside what is none.
func (s *Spool) find() error {
	entries, err := os.ReadDir(s.opts.Dir) // sorted, and so are numbers of one length
	if err != nil {
		return fmt.Errorf("list spool: %w", err)
	}
	for _, e := range entries {
		text, ok := strings.CutSuffix(e.Name(), suffix)
		number, err := strconv.ParseUint(text, 16, 63)
		g := &segment{number: number, next: int64(headerSize)}
		if !ok || err != nil || filepath.Base(s.path(g)) != e.Name() || !e.Type().IsRegular() {
			continue
		}
		if g.size, err = s.check(g); errors.Is(err, errCorrupt) {
			s.setAside(g, err)
			continue
		} else if err != nil {
			return err
		}
		s.segments = append(s.segments, g)
		s.bytes += g.size
		s.last = number
	}
	return nil
}

// check reads the header of a segment and returns the size of the file.
func (s *Spool) check(g *segment) (int64, error) {
	f, err := os.Open(s.path(g))
	if err != nil {
		return 0, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("open segment: %w", err)
	}
	var head [headerSize]byte
	if n, err := f.ReadAt(head[:], 0); n < headerSize {
		return 0, fmt.Errorf("%w: %s has no header: %w", errCorrupt, s.path(g), ended(err))
	}
	if string(head[:len(magic)]) != magic || head[len(magic)] == 0 {
		return 0, fmt.Errorf("%w: %s is no segment of a spool", errCorrupt, s.path(g))
	}
	if v := head[len(magic)]; v > formatVersion {
		return 0, fmt.Errorf("%w: %s has format %d and this program knows formats up to %d; use the newer vetch, or another data directory",
			ErrNewerVersion, s.path(g), v, formatVersion)
	}
	return info.Size(), nil
}

func (s *Spool) path(g *segment) string {
	return filepath.Join(s.opts.Dir, fmt.Sprintf("%016x%s", g.number, suffix))
}

// setAside renames a file that cannot be read, so that it is kept and never looked at again.
func (s *Spool) setAside(g *segment, why error) {
	to := s.path(g) + ".corrupt-" + time.Now().UTC().Format("20060102T150405.000Z")
	if err := os.Rename(s.path(g), to); err != nil {
		s.log.Error("corrupt spool file cannot be set aside", "file", s.path(g), "err", err)
	}
	s.opts.Corrupt()
	s.log.Error("corrupt spool file set aside; the samples behind the damage are not sent", "kept_as", to, "err", why)
}

// Bytes is the size of the spool on disk.
func (s *Spool) Bytes() int64 { return s.bytes }

// Empty reports whether nothing is left to be sent.
func (s *Spool) Empty() bool { return len(s.segments) == 0 }

// Oldest reads the batch that is first in turn; ok is false if there is none. What is corrupt is set aside on the way. An error is the disk's.
func (s *Spool) Oldest() (b Batch, id ID, ok bool, err error) {
	h, id, ok, err := s.head(readRecord)
	return h.Batch, id, ok, err
}

// OldestTime is the Time of the batch that is first in turn, 0 if there is none.
func (s *Spool) OldestTime() int64 {
	h, _, ok, err := s.head(headerOnly)
	if !ok || err != nil {
		return 0
	}
	return h.Time
}

// head finds the first record that is not done, with the reader given.
func (s *Spool) head(read func(io.ReaderAt, int64, int64) (header, error)) (h header, id ID, ok bool, err error) {
	for len(s.segments) > 0 {
		g := s.segments[0]
		if g.next == g.size {
			s.remove()
			continue
		}
		if s.reader == nil {
			if s.reader, err = os.OpenFile(s.path(g), os.O_RDWR, 0); errors.Is(err, fs.ErrNotExist) {
				s.log.Error("a file of the spool is gone", "file", s.path(g))
				s.forget()
				continue
			} else if err != nil {
				return h, id, false, fmt.Errorf("open segment: %w", err)
			}
		}
		h, err = read(s.reader, g.next, g.size)
		switch {
		case errors.Is(err, errCorrupt):
			s.setAside(g, err)
			s.forget()
		case err != nil:
			return h, id, false, err
		case h.done:
			g.next += h.size()
		default:
			return h, ID{g.number, g.next}, true, nil
		}
	}
	return h, id, false, nil
}

// Done says that the batch was taken, or refused for good. One that is not first in turn any more was dropped meanwhile; that is no error.
func (s *Spool) Done(id ID) error {
	h, first, ok, err := s.head(headerOnly)
	if err != nil || !ok || first != id {
		return err
	}
	g := s.segments[0]
	if _, err := s.reader.WriteAt([]byte{1}, g.next+atDone); err != nil {
		s.log.Warn("a batch that was sent cannot be marked, and may be sent again after a restart", "err", err)
	}
	g.next += h.size()
	if g.next == g.size {
		s.remove()
	}
	return nil
}

// remove deletes the first segment, of which nothing is left to be sent.
func (s *Spool) remove() {
	if err := os.Remove(s.path(s.segments[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("a file of the spool that was sent cannot be removed", "err", err)
	}
	s.forget()
}

// forget lets go of the first segment.
func (s *Spool) forget() {
	s.closeReader()
	if len(s.segments) == 1 {
		s.closeActive()
	}
	s.bytes -= s.segments[0].size
	s.segments = s.segments[1:]
}

// Close lets go of the directory. What is in it stays.
func (s *Spool) Close() error {
	s.closeReader()
	s.closeActive()
	return s.lock.Close()
}

func (s *Spool) closeReader() {
	if s.reader != nil {
		_ = s.reader.Close() // nothing that matters is in its buffers: a mark that is lost costs a batch sent twice
		s.reader = nil
	}
}

func (s *Spool) closeActive() {
	if s.active != nil {
		if err := s.active.Close(); err != nil {
			s.log.Warn("close a file of the spool", "err", err)
		}
		s.active = nil
	}
}
