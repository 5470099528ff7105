package columnar

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/store/directory"
)

// crashed makes a store whose process was killed with records only in its log: n batches of one record each, in one segment.
func crashed(t *testing.T, n int) (dir, segment string) {
	t.Helper()
	dir = t.TempDir()
	db, err := Open(Options{Dir: dir, Name: "test", checkpoint: time.Hour})
	require.NoError(t, err)
	for i := range n {
		put(t, db, record(time.Now(), strconv.Itoa(i), "a"))
	}
	log, err := os.ReadFile(filepath.Join(dir, walDir, segmentName(1)))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.NoError(t, os.RemoveAll(filepath.Join(dir, engineDir)))
	segment = filepath.Join(dir, walDir, segmentName(1))
	require.NoError(t, os.WriteFile(segment, log, 0o600))
	require.NoError(t, os.Remove(filepath.Join(dir, walDir, segmentName(2))))
	return dir, segment
}

func TestDamagedLog(t *testing.T) {
	tests := map[string]struct {
		damage func(text []byte) []byte
		kept   int // of 20
		torn   float64
		aside  float64
	}{
		"whole":         {func(b []byte) []byte { return b }, 20, 0, 0},
		"torn tail":     {func(b []byte) []byte { return b[:len(b)-3] }, 19, 1, 0},
		"torn header":   {func(b []byte) []byte { return append(b, 1, 2, 3) }, 20, 1, 0},
		"only a header": {func(b []byte) []byte { return b[:segmentHeader] }, 0, 0, 0},
		"empty file":    {func([]byte) []byte { return nil }, 0, 1, 0},
		"zeros behind":  {func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, 20, 0, 1},
		"a flipped bit": {func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, 10, 0, 1},
		"not a segment": {func(b []byte) []byte { b[0] ^= 1; return b }, 0, 0, 1},
		"a huge length": {func(b []byte) []byte { b[segmentHeader+3] = 0xff; return b }, 0, 0, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir, segment := crashed(t, 20)
			text, err := os.ReadFile(segment)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(segment, tt.damage(text), 0o600))
			reg := prometheus.NewRegistry()
			db := open(t, Options{Dir: dir, Registerer: reg})
			require.InDelta(t, tt.kept, len(ids(t, db, Filter{})), 1)
			require.Equal(t, tt.torn, metric(t, reg, "vetch_columnar_torn_batches_total"))
			require.Equal(t, tt.aside, metric(t, reg, "vetch_columnar_corrupt_files_total"))
			aside, err := filepath.Glob(filepath.Join(dir, "wal.*.corrupt-*"))
			require.NoError(t, err)
			require.Len(t, aside, int(tt.aside))
			require.NoFileExists(t, segment)
			put(t, db, record(time.Now(), "new", "a"))
			wait(t, db, len(ids(t, db, Filter{})))
		})
	}
}

func TestDamagedSegmentBeforeOthers(t *testing.T) {
	dir, segment := crashed(t, 20)
	text, err := os.ReadFile(segment)
	require.NoError(t, err)
	second := appendSegmentHeader(nil, 1<<52)
	second = appendFrame(second, 1<<52, encodeRecords([]Record{record(time.Now(), "later", "a")}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, walDir, segmentName(2)), second, 0o600))
	require.NoError(t, os.WriteFile(segment, text[:len(text)-3], 0o600))
	reg := prometheus.NewRegistry()
	db := open(t, Options{Dir: dir, Registerer: reg})
	require.Len(t, ids(t, db, Filter{}), 20, "19 and the one of the second segment")
	require.Equal(t, 1.0, metric(t, reg, "vetch_columnar_corrupt_files_total"), "only the last segment may end so")
	require.Greater(t, db.next, uint64(1<<52))
}

func TestDamagedDayIsSetAside(t *testing.T) {
	tests := map[string]func(t *testing.T, day string){
		"list of parts": func(t *testing.T, day string) {
			require.NoError(t, os.WriteFile(filepath.Join(day, "datadb", "parts.json"), []byte("{"), 0o600))
		},
		"part is missing": func(t *testing.T, day string) {
			parts, err := filepath.Glob(filepath.Join(day, "datadb", "*", "metadata.json"))
			require.NoError(t, err)
			require.NotEmpty(t, parts)
			require.NoError(t, os.RemoveAll(filepath.Dir(parts[0])))
		},
		"no metadata, no checksums": func(t *testing.T, day string) {
			parts, err := filepath.Glob(filepath.Join(day, "datadb", "*", "metadata.json"))
			require.NoError(t, err)
			require.NoError(t, os.Truncate(parts[0], 3))
			require.NoError(t, os.RemoveAll(filepath.Join(filepath.Dir(day), "..", "..", sumsDir)))
		},
		"no index": func(t *testing.T, day string) {
			require.NoError(t, os.RemoveAll(filepath.Join(day, "indexdb")))
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			db, err := Open(Options{Dir: dir, Name: "test"})
			require.NoError(t, err)
			for day := range 3 {
				put(t, db, record(time.Now().Add(-time.Duration(day)*24*time.Hour), strconv.Itoa(day), "a"))
			}
			require.NoError(t, db.Close())
			day := time.Now().Add(-24 * time.Hour).UTC().Format(dayFormat)
			damage(t, filepath.Join(dir, engineDir, partitionsDir, day))
			require.NoError(t, os.Mkdir(filepath.Join(dir, engineDir, partitionsDir, "lost+found"), 0o700))
			reg := prometheus.NewRegistry()
			db, err = Open(Options{Dir: dir, Name: "test", Registerer: reg})
			require.NoError(t, err)
			require.Equal(t, []string{"0", "2"}, ids(t, db, Filter{}))
			require.Equal(t, 2.0, metric(t, reg, "vetch_columnar_corrupt_files_total"))
			aside, err := filepath.Glob(filepath.Join(dir, "day."+day+".corrupt-*"))
			require.NoError(t, err)
			require.Len(t, aside, 1)
			put(t, db, record(time.Now().Add(-24*time.Hour), "again", "a"))
			wait(t, db, 3)
			require.NoError(t, db.Close())
		})
	}
}

// smallDisk mounts a file system of that size, or skips the test where that is not allowed.
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

// occupy fills the file system but for free bytes.
func occupy(t *testing.T, dir string, free int64) (empty func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	require.NoError(t, err)
	chunk := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(chunk)
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	at, err := f.Seek(0, 1)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(at-free))
	require.NoError(t, f.Close())
	return func() { require.NoError(t, os.Remove(f.Name())) }
}

func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, "64m")
	dir := filepath.Join(disk, "store")
	reg := prometheus.NewRegistry()
	o := Options{Dir: dir, Name: "test", Registerer: reg, checkpoint: 5 * time.Millisecond}
	db, err := Open(o)
	require.NoError(t, err)
	stored, refused := 0, 0
	for range 3 { // the disk fills and empties while records come and checkpoints are made
		for range 50 {
			put(t, db, record(time.Now(), strconv.Itoa(stored), "a"))
			stored++
		}
		empty := occupy(t, disk, 0)
		for range 20 {
			err := db.Append(context.Background(), []Record{record(time.Now(), "refused", "a")})
			require.ErrorIs(t, err, directory.ErrDiskFull)
			require.ErrorContains(t, err, "make room or keep less")
			refused++
		}
		require.Equal(t, float64(refused), metric(t, reg, "vetch_columnar_append_failures_total", "reason", "disk_full"))
		wait(t, db, stored)
		require.Len(t, ids(t, db, Filter{}), stored, "what is there can be read while the disk is full")
		empty()
	}
	put(t, db, record(time.Now(), "last", "a"))
	wait(t, db, stored+1)
	empty := occupy(t, disk, 8<<20)
	require.NoError(t, db.Close(), "there is room for what is in memory")
	_, err = Open(o)
	require.ErrorIs(t, err, directory.ErrDiskFull)
	empty()
	db = open(t, o)
	require.Len(t, ids(t, db, Filter{}), stored+1, "nothing acknowledged is lost")
}

// FuzzLog reads hostile bytes as a segment, and writes what it could read again.
func FuzzLog(f *testing.F) {
	records := []Record{record(time.Unix(1, 2), "1", "a"), {Time: time.Unix(0, -5), Message: "plain"}}
	whole := appendFrame(appendFrame(appendSegmentHeader(nil, 7), 7, encodeRecords(records)), 9, encodeRecords(records[:1]))
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(encodeRecords(records))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, b := range readsAll(text) {
			again, err := decodeRecords(encodeRecords(b))
			require.NoError(t, err)
			require.Equal(t, b, again)
		}
	})
}

// readsAll reads the bytes as a segment, and as the body of a frame: checksums keep a fuzzer out of there.
func readsAll(text []byte) (found [][]Record) {
	batches, _, _ := readFrames(text)
	for _, b := range batches {
		found = append(found, b.records)
	}
	if records, err := decodeRecords(text); err == nil {
		found = append(found, records)
	}
	return found
}
