package spool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Append writes a batch behind all others, and drops the oldest where it would not fit. Once it has returned nil, the batch survives the death of
// this process. Errors: ErrDiskFull, ErrTooLarge, or what the file system said; the batch is then not in the spool.
func (s *Spool) Append(b *Batch) error {
	size := b.Size()
	if size+int64(headerSize) > s.opts.Limit || len(b.Body) > maxBody {
		return fmt.Errorf("%w: it has %d bytes and the limit is %d", ErrTooLarge, size, s.opts.Limit)
	}
	if err := s.room(size); err != nil {
		return err
	}
	for len(s.segments) > 0 && s.bytes+size+int64(headerSize) > s.opts.Limit {
		s.dropOldest()
	}
	if s.active != nil && s.segments[len(s.segments)-1].size+size > s.segmentLimit() {
		s.closeActive()
	}
	if s.active == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	g := s.segments[len(s.segments)-1]
	s.buffer = appendRecord(s.buffer[:0], b)
	if _, err := s.active.WriteAt(s.buffer, g.size); err != nil {
		if cut := s.active.Truncate(g.size); cut != nil {
			// What is torn stays behind the good records of this file; what comes next goes to another one.
			s.closeActive()
		}
		return s.full("write to the spool", err)
	}
	s.lastID = ID{g.number, g.size}
	g.size += size
	s.bytes += size
	return nil
}

// segmentLimit keeps what is dropped at once small against the whole.
func (s *Spool) segmentLimit() int64 { return min(max(s.opts.Limit/16, minSegment), maxSegment) }

// room fails where the disk would be filled up to the last byte.
func (s *Spool) room(size int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.opts.Dir, &st); err != nil {
		return fmt.Errorf("read free space of %s: %w", s.opts.Dir, err)
	}
	if free := int64(st.Bavail) * st.Bsize; free-size < s.opts.Reserve {
		return fmt.Errorf("%w: %s has %d MiB free and %d MiB are kept free", ErrDiskFull, s.opts.Dir, free>>20, s.opts.Reserve>>20)
	}
	return nil
}

// begin makes a new segment.
func (s *Spool) begin() error {
	g := &segment{number: s.last + 1, size: int64(headerSize), next: int64(headerSize)}
	f, err := os.OpenFile(s.path(g), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return s.full("make a file of the spool", err)
	}
	if _, err := f.WriteAt([]byte(magic+string(rune(formatVersion))), 0); err != nil {
		return errors.Join(s.full("make a file of the spool", err), f.Close(), os.Remove(s.path(g)))
	}
	s.active, s.last = f, g.number
	s.segments = append(s.segments, g)
	s.bytes += g.size
	return nil
}

func (s *Spool) full(what string, err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %s: %w", ErrDiskFull, what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// dropOldest gives up the first segment and tells how many samples that costs.
func (s *Spool) dropOldest() {
	g := s.segments[0]
	lost := 0
	f, err := os.Open(s.path(g))
	if err == nil {
		for at := g.next; at < g.size; {
			h, _, err := readHeader(f, at, g.size)
			if err != nil {
				break
			}
			if !h.done {
				lost += h.Count()
			}
			at += h.size()
		}
		_ = f.Close() // it was only read
	}
	s.opts.Dropped("spool_full", lost)
	s.remove()
}

// LastID names the batch that was appended last.
func (s *Spool) LastID() ID { return s.lastID }
