// Package directory is what the embedded stores need of the folder that they write: a lock, a format version, a guard of the free space, and other names
// for what is corrupt.
package directory

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

// What the functions here return, always wrapped with the directory and what to do.
var (
	ErrInUse        = errors.New("data directory is in use")
	ErrNewerVersion = errors.New("data directory was written by a newer version")
	ErrDiskFull     = errors.New("disk is full")
)

// The names of the files that each directory has.
const (
	LockName    = "lock"
	VersionName = "VERSION"
)

// Lock is a lock on a directory that the kernel takes back when the process ends, however it ends.
type Lock struct{ file *os.File }

// NewLock makes the directory if it is not there and locks it. The file holds the process id, for people only. Errors: ErrInUse, or what the
// file system said.
func NewLock(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDWR|os.O_CREATE, 0o640)
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
	return &Lock{file: f}, nil
}

func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return "process " + pid
	}
	return "another process"
}

// Release lets go. The file stays: if it were removed, two processes could hold locks on two files of one name.
func (l *Lock) Release() error { return l.file.Close() }

// CheckVersion refuses what a newer program wrote (ErrNewerVersion), and marks a directory that has no mark yet with the format that this
// program writes.
func CheckVersion(dir string, format int) error {
	path := filepath.Join(dir, VersionName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || (err == nil && len(b) == 0) {
		// An empty file is what a full disk or a crash left of an earlier start.
		if err := os.WriteFile(path, []byte(strconv.Itoa(format)+"\n"), 0o640); err != nil {
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
	if v > format {
		return fmt.Errorf("%w: %s has format %d and this program knows formats up to %d; use the newer vetch or another directory", ErrNewerVersion, dir, v, format)
	}
	return nil
}
