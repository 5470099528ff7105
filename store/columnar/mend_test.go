package columnar

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// unreadableSector makes a file of a day one that can be opened, and answers EIO when it is read.
func unreadableSector(t *testing.T, dir, day, name string) {
	t.Helper()
	path := filepath.Join(dir, engineDir, partitionsDir, day, name)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Symlink("/proc/self/mem", path)) // nothing is at address 0
	_, err := os.ReadFile(path)
	require.ErrorIs(t, err, unix.EIO)
	s, err := readSums(sumsPath(dir, day))
	require.NoError(t, err)
	require.Contains(t, s, name)
	s[name] = fileSum{0, 1} // the size that it tells
	require.NoError(t, s.write(sumsPath(dir, day)))
}

func oneOf(t *testing.T, dir, day, pattern string) (name string) {
	t.Helper()
	root := filepath.Join(dir, engineDir, partitionsDir, day)
	found, err := filepath.Glob(filepath.Join(root, pattern))
	require.NoError(t, err)
	require.NotEmpty(t, found)
	name, err = filepath.Rel(root, found[0])
	require.NoError(t, err)
	return name
}

// One sector that cannot be read costs its part or its day, and not each start.
func TestUnreadableSector(t *testing.T) {
	for pattern, aside := range map[string]string{"datadb/*/message_values.bin": "part.*", "datadb/*/metadata.json": "part.*", "indexdb/*/items.bin": "day.*"} {
		t.Run(pattern[:7]+filepath.Base(pattern), func(t *testing.T) {
			dir, day := twoDays(t)
			unreadableSector(t, dir, day, oneOf(t, dir, day, pattern))
			db := open(t, Options{Dir: dir})
			require.Len(t, ids(t, db, Filter{}), 10)
			kept, err := filepath.Glob(filepath.Join(dir, aside+".corrupt-*"))
			require.NoError(t, err)
			require.Len(t, kept, 1)
		})
	}
}

// noInodes leaves room on a disk, but none for another file.
func noInodes(t *testing.T, disk string) (free func()) {
	t.Helper()
	folder := filepath.Join(disk, "many")
	require.NoError(t, os.Mkdir(folder, 0o700))
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), nil, 0o600); err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			break
		}
	}
	return func() { require.NoError(t, os.RemoveAll(folder)) }
}

// What is damaged while the machine does not let it be set aside costs no record that is acknowledged: the day is open again as it was, or nothing is
// taken in until it is.
func TestMendFails(t *testing.T) {
	for name, opens := range map[string]bool{"message_values.bin": true, "metadata.json": false} {
		t.Run(name, func(t *testing.T) {
			disk := smallDisk(t, "256m,nr_inodes=2000")
			first, day := twoDays(t)
			dir := filepath.Join(disk, "store")
			require.NoError(t, os.CopyFS(dir, os.DirFS(first)))
			reg := prometheus.NewRegistry()
			db := open(t, Options{Dir: dir, Registerer: reg, checkpoint: 200 * time.Millisecond, verify: time.Hour})
			require.Len(t, ids(t, db, Filter{}), 20)
			free := noInodes(t, disk)
			part := oneOf(t, dir, day, "datadb/*/"+name)
			if opens {
				flip(t, filepath.Join(dir, engineDir, partitionsDir, day, part))
			} else {
				require.NoError(t, os.Truncate(filepath.Join(dir, engineDir, partitionsDir, day, part), 3))
			}
			db.mends <- day
			yesterday := record(time.Now().Add(-24*time.Hour), "again", "a")
			err := db.Append(t.Context(), []Record{yesterday}) // the writer comes to it behind the mend
			free()
			if opens {
				require.NoError(t, err)
				db.mends <- day // as the next look does
			} else {
				require.ErrorContains(t, err, "could not be opened")
				require.Eventually(t, func() bool { return db.Append(t.Context(), []Record{yesterday}) == nil }, time.Minute, 20*time.Millisecond)
			}
			require.Eventually(t, func() bool { return metric(t, reg, "vetch_columnar_corrupt_files_total") == 1 }, time.Minute, 5*time.Millisecond)
			wait(t, db, 11)
			require.Contains(t, ids(t, db, Filter{}), "again")
			kept, err := filepath.Glob(filepath.Join(dir, "part."+day+".*.corrupt-*"))
			require.NoError(t, err)
			require.Len(t, kept, 1)
		})
	}
}

// A day whose deletion was cut short is no damage; nor is one that is dropped while a look reads it.
func TestDroppedDay(t *testing.T) {
	dir, day := twoDays(t)
	folder := filepath.Join(dir, engineDir, partitionsDir)
	rest := filepath.Join(folder, droppedPrefix+day)
	require.NoError(t, os.Rename(filepath.Join(folder, day), rest))
	require.NoError(t, os.RemoveAll(filepath.Join(rest, recordsDir)))
	reg := prometheus.NewRegistry()
	db := open(t, Options{Dir: dir, Registerer: reg, checkpoint: time.Hour})
	require.NoDirExists(t, rest)
	require.Len(t, ids(t, db, Filter{}), 10)

	put(t, db, record(time.Now().Add(-24*time.Hour), "again", "a"))
	wait(t, db, 11)
	require.NoError(t, os.Mkdir(rest, 0o700)) // of a deletion that failed
	require.NoError(t, db.engine.drop(dir, day))
	require.NoDirExists(t, rest)
	require.NoDirExists(t, filepath.Join(folder, day))
	db.mends <- day
	put(t, db, record(time.Now(), "behind the mend", "a"))
	wait(t, db, 11)
	require.Equal(t, 0.0, metric(t, reg, "vetch_columnar_corrupt_files_total"))
}

// A start reads no more than it may, and a look at all files soon after it does the rest. Files that are cut off are found without reading.
func TestStartIsBounded(t *testing.T) {
	dir, day := twoDays(t)
	values := filepath.Join(dir, engineDir, partitionsDir, day, oneOf(t, dir, day, "datadb/*/message_values.bin"))
	flip(t, values)
	looked := &budget{left: 1}
	s, err := readSums(sumsPath(dir, day))
	require.NoError(t, err)
	parts, read, err := s.damaged(t.Context(), filepath.Join(dir, engineDir, partitionsDir, day), looked)
	require.NoError(t, err)
	require.Empty(t, parts)
	require.Positive(t, read, "what the engine reads itself")
	require.True(t, looked.short)

	reg := prometheus.NewRegistry()
	db := open(t, Options{Dir: dir, Registerer: reg, firstLook: 1})
	require.Eventually(t, func() bool { return metric(t, reg, "vetch_columnar_corrupt_files_total") == 1 }, time.Minute, 5*time.Millisecond)
	require.Len(t, ids(t, db, Filter{}), 10)

	dir, day = twoDays(t)
	values = filepath.Join(dir, engineDir, partitionsDir, day, oneOf(t, dir, day, "datadb/*/message_values.bin"))
	require.NoError(t, os.Truncate(values, 1))
	reg = prometheus.NewRegistry()
	db = open(t, Options{Dir: dir, Registerer: reg, firstLook: 1, verify: time.Hour})
	require.Equal(t, 1.0, metric(t, reg, "vetch_columnar_corrupt_files_total"))
	require.Len(t, ids(t, db, Filter{}), 10)
}

// A start that is called off while it reads sets nothing aside.
func TestStartIsCalledOff(t *testing.T) {
	dir, _ := twoDays(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := OpenContext(ctx, Options{Dir: dir, Name: "test"})
	require.ErrorIs(t, err, context.Canceled)
	db := open(t, Options{Dir: dir})
	require.Len(t, ids(t, db, Filter{}), 20)
	kept, err := filepath.Glob(filepath.Join(dir, "*.corrupt-*"))
	require.NoError(t, err)
	require.Empty(t, kept)
}
