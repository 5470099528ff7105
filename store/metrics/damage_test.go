package metrics

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fill makes a store with blocks, a write-ahead log and mapped chunks, and returns its directory and the samples in it.
func fill(t *testing.T) (dir string, samples int) {
	t.Helper()
	dir = t.TempDir()
	db, err := Open(Options{Dir: dir, maintain: 10 * time.Millisecond})
	require.NoError(t, err)
	for at := time.Now().Add(-10 * time.Hour); at.Before(time.Now()); at = at.Add(30 * time.Second) {
		require.NoError(t, put(db, at, 20, 1))
		samples += 20
	}
	require.Eventually(t, func() bool { return len(db.tsdb.Blocks()) >= 3 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, db.Close())
	return dir, samples
}

// corrupt overwrites 200 bytes at the offset, or in the middle if that is 0, of the last file that matches.
func corrupt(t *testing.T, pattern string, at int) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	for i := len(files) - 1; i >= 0; i-- {
		b, err := os.ReadFile(files[i])
		require.NoError(t, err)
		if len(b) < 1000 {
			continue
		}
		if at == 0 {
			at = len(b) / 2
		}
		copy(b[at:], strings.Repeat("\xde\xad", 100))
		require.NoError(t, os.WriteFile(files[i], b, 0o600))
		return files[i]
	}
	t.Fatalf("nothing to corrupt in %v", files)
	return ""
}

func TestCorruptFilesAreSetAside(t *testing.T) {
	block := "01*"
	tests := map[string]struct {
		damage func(t *testing.T, dir string)
		aside  string // what must be there afterwards
		keeps  float64
	}{
		"WAL segment": {func(t *testing.T, dir string) { corrupt(t, filepath.Join(dir, "wal", "0*"), 0) }, "wal.corrupt-*/0*", 0.6},
		"WAL with a hole": {func(t *testing.T, dir string) {
			last := filepath.Join(dir, "wal", "00000099")
			require.NoError(t, os.WriteFile(last, make([]byte, 100), 0o600))
		}, "wal.corrupt-*/00000099", 0.99},
		"mapped chunks": {func(t *testing.T, dir string) { corrupt(t, filepath.Join(dir, "chunks_head", "0*"), 300) }, "chunks_head.corrupt-*/0*", 0.9},
		"block index": {func(t *testing.T, dir string) {
			truncate(t, filepath.Join(dir, block, "index"))
		}, "01*.corrupt-*/index", 0.5},
		"block without meta": {func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, block, "meta.json"))
		}, "01*.corrupt-*/index", 0.5},
		"block without chunks": {func(t *testing.T, dir string) {
			truncate(t, filepath.Join(dir, block, "chunks", "0*"))
		}, "01*.corrupt-*/index", 0.5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir, samples := fill(t)
			tt.damage(t, dir)
			reg := prometheus.NewRegistry()
			db := open(t, Options{Dir: dir, Registerer: reg})
			kept, err := filepath.Glob(filepath.Join(dir, tt.aside))
			require.NoError(t, err)
			require.NotEmpty(t, kept)
			require.GreaterOrEqual(t, metric(t, reg, "vetch_store_corrupt_files_total"), 1.0)
			require.GreaterOrEqual(t, db.Stats().SetAside, 1)
			require.Greater(t, float64(count(read(t, db, "test_total"))), tt.keeps*float64(samples))
			require.NoError(t, put(db, time.Now(), 1, 5), "it takes samples again")
			left, err := filepath.Glob(filepath.Join(dir, "*"+keepSuffix))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func first(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files[0]
}

func truncate(t *testing.T, pattern string) { require.NoError(t, os.Truncate(first(t, pattern), 3)) }
func remove(t *testing.T, pattern string)   { require.NoError(t, os.Remove(first(t, pattern))) }

func TestCrashBeforeLogsAreSettled(t *testing.T) {
	dir, samples := fill(t)
	// As if the start before had ended between the second names and the look at them; meanwhile a segment was truncated as usual.
	a := newAside(dir, time.Now(), open(t, Options{Dir: t.TempDir()}).log)
	require.NoError(t, a.keepLogs())
	db := open(t, Options{Dir: dir})
	require.Equal(t, samples, count(read(t, db, "test_total")))
	require.Zero(t, db.Stats().SetAside)
}

// smallDisk mounts a file system of that many MiB, or skips the test where that is not allowed.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	if errors.Is(err, unix.EPERM) {
		t.Fatal("mounting a small disk needs root")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// occupy fills the file system up to its last page.
func occupy(t *testing.T, dir string) (free func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	require.NoError(t, err)
	chunk := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(chunk)
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, f.Close())
	return func() { require.NoError(t, os.Remove(f.Name())) }
}

func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, "64m")
	dir := filepath.Join(disk, "metrics")
	reg := prometheus.NewRegistry()
	o := Options{Dir: dir, Registerer: reg, maintain: 5 * time.Millisecond}
	db, err := Open(o)
	require.NoError(t, err)

	start := time.Now().Add(-8 * time.Hour)
	var mu sync.Mutex
	stored, refused := 0, 0
	write := func(i int) error {
		err := put(db, start.Add(time.Duration(i)*time.Second), 100, float64(i))
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			stored += 100
		} else {
			require.ErrorIs(t, err, ErrDiskFull)
			refused += 100
		}
		return err
	}
	i := 0
	for range 3 { // the disk fills and empties while samples come and maintenance runs
		for range 2000 {
			require.NoError(t, write(i))
			i++
		}
		free := occupy(t, disk)
		for range 500 {
			require.ErrorContains(t, write(i), "make room or keep less")
			i++
		}
		require.Equal(t, float64(refused), metric(t, reg, "vetch_store_append_failures_total", "disk_full"))
		require.Equal(t, stored, count(read(t, db, "test_total")), "what is there can be read while the disk is full")
		free()
		require.NoError(t, write(i))
		i++
	}
	require.Equal(t, stored, count(read(t, db, "test_total")))
	free := occupy(t, disk)
	require.ErrorIs(t, db.Close(), unix.ENOSPC, "its chunks could not be written; they are in the log too")
	_, err = Open(o)
	require.ErrorIs(t, err, ErrDiskFull)
	require.ErrorContains(t, err, dir)
	free()
	db = open(t, o)
	require.Equal(t, stored, count(read(t, db, "test_total")), "nothing acknowledged is lost")
	require.LessOrEqual(t, db.Stats().SetAside, 1, "at most the file of chunks that Close could not end")
}
