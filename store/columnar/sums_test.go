package columnar

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// twoDays makes a store with ten records of today and ten of yesterday, and names the folder of yesterday.
func twoDays(t *testing.T) (dir, day string) {
	t.Helper()
	dir = t.TempDir()
	db, err := Open(Options{Dir: dir, Name: "test"})
	require.NoError(t, err)
	now := time.Now()
	for day := range 2 {
		for i := range 10 {
			at := now.Add(-time.Duration(day)*24*time.Hour - time.Duration(i*i*i)*time.Microsecond) // uneven, so that there is something to store of it
			put(t, db, record(at, strconv.Itoa(10*day+i), "a"))
		}
	}
	require.NoError(t, db.Close())
	return dir, now.Add(-24 * time.Hour).UTC().Format(dayFormat)
}

// flip changes a bit in the middle of a file, in place: an open store has it mapped.
func flip(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	require.Positive(t, info.Size())
	var b [1]byte
	_, err = f.ReadAt(b[:], info.Size()/2)
	require.NoError(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], info.Size()/2)
	require.NoError(t, err)
}

// files lists those below a folder, by their names there.
func files(t *testing.T, root string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			name, err := filepath.Rel(root, path)
			require.NoError(t, err)
			names = append(names, name)
		}
		return err
	}))
	return names
}

// A flipped bit, wherever it is, costs what is in the same part or day, and nothing is deleted.
func TestFlippedBit(t *testing.T) {
	first, day := twoDays(t)
	names := files(t, filepath.Join(first, engineDir, partitionsDir, day))
	require.Greater(t, len(names), 15)
	for _, name := range names {
		t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			require.NoError(t, os.CopyFS(dir, os.DirFS(first)))
			flip(t, filepath.Join(dir, engineDir, partitionsDir, day, name))
			reg := prometheus.NewRegistry()
			db := open(t, Options{Dir: dir, Registerer: reg})
			require.Len(t, ids(t, db, Filter{}), 10)
			require.Equal(t, 1.0, metric(t, reg, "vetch_columnar_corrupt_files_total"))
			aside, err := filepath.Glob(filepath.Join(dir, "*.corrupt-*"))
			require.NoError(t, err)
			require.Len(t, aside, 1)
			if strings.HasPrefix(name, recordsDir+"/") && filepath.Base(name) != partsList {
				require.Len(t, files(t, aside[0]), len(files(t, filepath.Join(first, engineDir, partitionsDir, day, filepath.Dir(name)))), "the part is kept")
			} else {
				require.Len(t, files(t, aside[0]), len(names), "the day is kept")
			}
		})
	}
}

// A bit that flips while the store is open is found by the look at all files.
func TestFlippedBitOfAnOpenStore(t *testing.T) {
	dir, day := twoDays(t)
	reg := prometheus.NewRegistry()
	db := open(t, Options{Dir: dir, Registerer: reg, verify: 5 * time.Millisecond})
	require.Eventually(t, func() bool { return metric(t, reg, "vetch_columnar_verified_bytes_total") > 0 }, time.Minute, 5*time.Millisecond)
	require.Equal(t, 0.0, metric(t, reg, "vetch_columnar_corrupt_files_total"))
	values, err := filepath.Glob(filepath.Join(dir, engineDir, partitionsDir, day, recordsDir, "*", "message_values.bin"))
	require.NoError(t, err)
	require.Len(t, values, 1)
	flip(t, values[0])
	require.Eventually(t, func() bool { return metric(t, reg, "vetch_columnar_corrupt_files_total") == 1 }, time.Minute, 5*time.Millisecond)
	require.Len(t, ids(t, db, Filter{}), 10)
	put(t, db, record(time.Now().Add(-24*time.Hour), "again", "a"))
	wait(t, db, 11)
	aside, err := filepath.Glob(filepath.Join(dir, "part."+day+".*.corrupt-*"))
	require.NoError(t, err)
	require.Len(t, aside, 1)
}

// Parts get their sums while the store is open, so that a killed process has them too; those of days that are gone go.
func TestSumsOfAnOpenStore(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	gone := sumsPath(dir, "20000101")
	require.NoError(t, sums{}.write(gone))
	db := open(t, Options{Dir: dir, checkpoint: 5 * time.Millisecond})
	put(t, db, record(now, "1", "a"))
	require.Eventually(t, func() bool {
		s, err := readSums(sumsPath(dir, now.UTC().Format(dayFormat)))
		require.NoError(t, err)
		return len(s) > 0
	}, time.Minute, 5*time.Millisecond)
	require.Eventually(t, func() bool { _, err := os.Stat(gone); return os.IsNotExist(err) }, time.Minute, 5*time.Millisecond)
}

// Damaged checksums are no reason to set aside what they are of.
func TestDamagedSums(t *testing.T) {
	dir, day := twoDays(t)
	flip(t, sumsPath(dir, day))
	reg := prometheus.NewRegistry()
	db, err := Open(Options{Dir: dir, Name: "test", Registerer: reg})
	require.NoError(t, err)
	require.Len(t, ids(t, db, Filter{}), 20)
	require.Equal(t, 1.0, metric(t, reg, "vetch_columnar_corrupt_files_total"))
	require.NoError(t, db.Close())
	s, err := readSums(sumsPath(dir, day))
	require.NoError(t, err)
	require.NotEmpty(t, s, "they are made again")
}

// FuzzSums reads hostile bytes as checksums, and writes what it could read again.
func FuzzSums(f *testing.F) {
	f.Add(string(sums{"datadb/1/index.bin": {12, 34}, "indexdb/2/\n\xff": {0, 0xffffffff}}.text()))
	f.Add(string(sums{}.text()))
	f.Add("00000000\n")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := parseSums(text); err == nil {
			again, err := parseSums(string(s.text()))
			require.NoError(t, err)
			require.Equal(t, s, again)
		}
	})
}
