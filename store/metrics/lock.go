package metrics

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// formatVersion is the layout of the data directory that this program writes; see docs/formats/metric-store.md.
const formatVersion = 1

const (
	lockName    = "lock"
	versionName = "VERSION"
)

// dirLock is a lock on a directory that the kernel takes back when the process ends, however it ends.
type dirLock struct{ file *os.File }

// lockDir makes the directory if it is not there and locks it. The file holds the process id, for people only.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		return nil, fmt.Errorf("%w: %s is used by %s; stop it or choose another directory", ErrInUse, dir, holder(f))
	}
	if err := f.Truncate(0); err == nil {
		// On a full disk the lock holds all the same, only its note is missing.
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &dirLock{file: f}, nil
}

func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return "process " + pid
	}
	return "another process"
}

// release lets go. The file stays: if it were removed, two processes could hold locks on two files of one name.
func (l *dirLock) release() error { return l.file.Close() }

// checkVersion refuses what a newer program wrote, and marks a directory that has no mark yet.
func checkVersion(dir string) error {
	path := filepath.Join(dir, versionName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || (err == nil && len(b) == 0) {
		// An empty file is what a full disk or a crash left of an earlier start.
		if err := os.WriteFile(path, []byte(strconv.Itoa(formatVersion)+"\n"), 0o640); err != nil {
			return fmt.Errorf("write format version: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read format version: %w", err)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || v < 1 {
		return fmt.Errorf("read format version: %s holds %.40q, not a number; is this a directory of vetch?", path, b)
	}
	if v > formatVersion {
		return fmt.Errorf("%w: %s has format %d and this program knows formats up to %d; use the newer vetch or another directory", ErrNewerVersion, dir, v, formatVersion)
	}
	return nil
}
