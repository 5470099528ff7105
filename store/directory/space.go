package directory

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	minReserve = 16 << 20
	maxReserve = 256 << 20
)

// Guard keeps a part of the file system free. A write-ahead log is torn when a write to it ends in the middle, and the embedded databases panic when
// they cannot write a file; so nothing is taken in, flushed or compacted while too little is left.
type Guard struct {
	dir     string
	reserve uint64
}

// NewGuard works out the reserve if none is given: 2 % of the file system, 16 to 256 MiB.
func NewGuard(dir string, reserve int64) (*Guard, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil, fmt.Errorf("read free space of %s: %w", dir, err)
	}
	if reserve <= 0 {
		reserve = min(max(int64(st.Blocks)*st.Bsize/50, minReserve), maxReserve)
	}
	return &Guard{dir: dir, reserve: uint64(reserve)}, nil
}

// Reserve is how much must stay free, in bytes.
func (g *Guard) Reserve() uint64 { return g.reserve }

// Free is the space that is left for this process, in bytes.
func (g *Guard) Free() (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(g.dir, &st); err != nil {
		return 0, fmt.Errorf("read free space of %s: %w", g.dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// Check is nil, or wraps ErrDiskFull.
func (g *Guard) Check() error {
	free, err := g.Free()
	if err != nil {
		return err
	}
	if free < g.reserve {
		return fmt.Errorf("%w: %d MiB are free for %s and %d MiB must stay free; make room or keep less", ErrDiskFull, free>>20, g.dir, g.reserve>>20)
	}
	return nil
}
