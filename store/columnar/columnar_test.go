package columnar

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/store/directory"
)

const childDir = "VETCH_TEST_COLUMNAR_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	flag.Parse()
	if err := warmUp(); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	const table = "github.com/VictoriaMetrics/VictoriaMetrics/lib/mergeset.(*Table)."
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), // and what a day leaves behind that the library gave up on half way
		goleak.IgnoreAnyFunction(table+"pendingItemsFlusher"), goleak.IgnoreAnyFunction(table+"inmemoryPartsFlusher"),
		goleak.IgnoreAnyFunction(table+"startFlushCallbackWorker.func1"))
}

// warmUp makes the library start what it starts once for the process.
func warmUp() error {
	dir, err := os.MkdirTemp("", "columnar")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := Open(Options{Dir: dir})
	if err != nil {
		return err
	}
	return errors.Join(db.Append(context.Background(), []Record{record(time.Now(), "1", "a")}), db.Close())
}

// child stores records for ever, with checkpoints all the time, and says on its standard output how many were acknowledged.
func child(dir string) {
	db, err := Open(Options{Dir: dir, checkpoint: 20 * time.Millisecond})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	prefix := strconv.Itoa(os.Getpid())
	for i := 0; ; i++ {
		records := make([]Record, 10)
		for j := range records {
			records[j] = record(time.Now(), fmt.Sprintf("%s-%d", prefix, 10*i+j), "child")
		}
		if err := db.Append(context.Background(), records); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(prefix, 10*(i+1))
	}
}

func record(at time.Time, id, source string) Record {
	return Record{
		Time: at, Stream: []Field{{"source", source}}, Fields: []Field{{"id", id}, {"count", "1"}},
		Message: "record " + id + " of " + source,
	}
}

func open(t *testing.T, o Options) *DB {
	t.Helper()
	if o.Name == "" {
		o.Name = "test"
	}
	db, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func put(t *testing.T, db *DB, records ...Record) {
	t.Helper()
	require.NoError(t, db.Append(context.Background(), records))
}

func lately(f Filter) Range {
	return Range{Start: time.Now().Add(-30 * 24 * time.Hour), End: time.Now().Add(time.Hour), Filter: f}
}

// ids lists the field id of all records that the filter takes, newest first.
func ids(t *testing.T, db *DB, f Filter) []string {
	t.Helper()
	var list []string
	for after := (Position{}); ; {
		rows, err := db.Newest(context.Background(), lately(f), 1000, after)
		require.NoError(t, err)
		for _, r := range rows {
			list = append(list, r.Fields["id"])
		}
		if len(rows) < 1000 {
			return list
		}
		after = Position{rows[len(rows)-1].Time, rows[len(rows)-1].Number}
	}
}

// wait waits until n records can be found.
func wait(t *testing.T, db *DB, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(ids(t, db, Filter{})) >= n }, time.Minute, 20*time.Millisecond)
}

// metric is the present value of one of the store's own metrics.
func metric(t *testing.T, g prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.GetMetric() {
			for i := 0; i < len(labels); i += 2 {
				for _, l := range m.GetLabel() {
					if l.GetName() == labels[i] && l.GetValue() != labels[i+1] {
						continue next
					}
				}
			}
			if m.Counter != nil {
				return m.GetCounter().GetValue()
			}
			return m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s %v", name, labels)
	return 0
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	db := open(t, Options{Dir: dir})
	_, err := Open(Options{Dir: dir})
	require.ErrorIs(t, err, directory.ErrInUse)
	require.NoError(t, db.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, directory.VersionName), []byte("2\n"), 0o600))
	_, err = Open(Options{Dir: dir})
	require.ErrorIs(t, err, directory.ErrNewerVersion)
}

func TestReopenWithTheSameRegistry(t *testing.T) {
	dir, reg := t.TempDir(), prometheus.NewRegistry()
	now := time.Now()
	for i := range 3 {
		db, err := Open(Options{Dir: dir, Name: "test", Registerer: reg})
		require.NoError(t, err)
		put(t, db, record(now.Add(time.Duration(i)), strconv.Itoa(i), "a"))
		wait(t, db, i+1)
		require.Equal(t, float64(i+1), metric(t, reg, "vetch_columnar_records"))
		require.NoError(t, db.Close())
		require.NoError(t, db.Close(), "a second close")
		require.ErrorIs(t, db.Append(context.Background(), []Record{record(now, "x", "a")}), ErrClosed)
		_, err = db.Newest(context.Background(), lately(Filter{}), 1, Position{})
		require.ErrorIs(t, err, ErrClosed)
	}
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
}

func TestKilledProcessLosesNothing(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]int{}
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		prefix, last := "", 0
		read := func() bool {
			if !lines.Scan() {
				return false
			}
			_, err := fmt.Sscan(lines.Text(), &prefix, &last)
			require.NoError(t, err, lines.Text())
			return true
		}
		for last < 300+170*round && read() {
		}
		require.NoError(t, cmd.Process.Kill())
		for read() { // what it had written before it died
		}
		require.Error(t, cmd.Wait(), "it was killed")
		acknowledged[prefix] = last
	}
	reg := prometheus.NewRegistry()
	db := open(t, Options{Dir: dir, Registerer: reg})
	found := map[string]int{}
	seen := map[string]bool{}
	for _, id := range ids(t, db, Filter{}) {
		require.False(t, seen[id], "%s is there twice", id)
		seen[id] = true
		prefix, _, _ := strings.Cut(id, "-")
		found[prefix]++
	}
	require.Len(t, acknowledged, 6)
	for prefix, n := range acknowledged {
		require.GreaterOrEqual(t, found[prefix], n, "of process %s", prefix)
		require.LessOrEqual(t, found[prefix], n+10, "of process %s", prefix)
		for i := range n {
			require.True(t, seen[fmt.Sprintf("%s-%d", prefix, i)], "%s-%d", prefix, i)
		}
	}
	streams := FromStream("source", "child")
	require.Len(t, ids(t, db, streams), len(seen), "its streams are known")
	require.Zero(t, metric(t, reg, "vetch_columnar_corrupt_files_total"))
}

func TestCrashWithinACheckpoint(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(Options{Dir: dir, Name: "test"})
	require.NoError(t, err)
	start := time.Now().Add(-26 * time.Hour)
	for i := range 100 { // over two days
		put(t, db, record(start.Add(time.Duration(i)*15*time.Minute), strconv.Itoa(i), "a"))
	}
	segment := filepath.Join(dir, walDir, segmentName(1))
	log, err := os.ReadFile(segment)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.NoFileExists(t, segment)
	require.NoError(t, os.WriteFile(segment, log, 0o600)) // as if it had been killed before the log was dropped

	reg := prometheus.NewRegistry()
	db = open(t, Options{Dir: dir, Registerer: reg})
	require.Len(t, ids(t, db, Filter{}), 100)
	require.Equal(t, 100.0, metric(t, reg, "vetch_columnar_replayed_known_records_total"))
	require.Zero(t, metric(t, reg, "vetch_columnar_replayed_records_total"))
	require.NoFileExists(t, segment)
}

func TestRefusesRecords(t *testing.T) {
	reg := prometheus.NewRegistry()
	db := open(t, Options{Dir: t.TempDir(), Registerer: reg, RetentionAge: 48 * time.Hour})
	now := time.Now()
	good := record(now, "good", "a")
	tests := map[string]struct {
		change func(*Record)
		want   error
		reason string
	}{
		"old":         {func(r *Record) { r.Time = now.Add(-49 * time.Hour) }, ErrTooOld, "too_old"},
		"future":      {func(r *Record) { r.Time = now.Add(time.Hour) }, ErrTooFarAhead, "too_far_ahead"},
		"reserved":    {func(r *Record) { r.Fields = []Field{{"_msg", "x"}} }, ErrInvalid, "invalid"},
		"no name":     {func(r *Record) { r.Fields = []Field{{"", "x"}} }, ErrInvalid, "invalid"},
		"long name":   {func(r *Record) { r.Fields = []Field{{strings.Repeat("n", 129), "x"}} }, ErrInvalid, "invalid"},
		"twice":       {func(r *Record) { r.Fields = []Field{{"source", "x"}} }, ErrInvalid, "invalid"},
		"large":       {func(r *Record) { r.Message = strings.Repeat("m", maxRecordBytes) }, ErrInvalid, "invalid"},
		"many fields": {func(r *Record) { r.Fields = make([]Field, maxFields) }, ErrInvalid, "invalid"},
		"wide stream": {func(r *Record) { r.Stream = make([]Field, maxStream+1) }, ErrInvalid, "invalid"},
	}
	i := 0
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bad := good
			tt.change(&bad)
			before := metric(t, reg, "vetch_columnar_append_failures_total", "reason", tt.reason)
			err := db.Append(context.Background(), []Record{good, bad, good})
			require.ErrorIs(t, err, tt.want)
			var rejected *RejectedError
			require.ErrorAs(t, err, &rejected)
			require.Equal(t, 1, rejected.Count)
			require.Equal(t, before+1, metric(t, reg, "vetch_columnar_append_failures_total", "reason", tt.reason))
			i += 2
		})
	}
	wait(t, db, i)
	require.Len(t, ids(t, db, Filter{}), i, "the others of each batch were stored")
	require.ErrorIs(t, db.Append(context.Background(), make([]Record, 0)), nil)
	many := make([]Record, maxBatch+1)
	for i := range many {
		many[i] = good
	}
	require.ErrorIs(t, db.Append(context.Background(), many), ErrInvalid)
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, db.Append(canceled, []Record{good}), context.Canceled)
}

func TestRetentionBySize(t *testing.T) {
	reg := prometheus.NewRegistry()
	db := open(t, Options{Dir: t.TempDir(), Registerer: reg, RetentionBytes: 200_000, checkpoint: 10 * time.Millisecond})
	for day := 9; day >= 0; day-- {
		for range 10 {
			at := time.Now().Add(-time.Duration(day) * 24 * time.Hour)
			r := record(at, noise(5_000), "a")
			put(t, db, r)
		}
	}
	require.Eventually(t, func() bool { return metric(t, reg, "vetch_columnar_dropped_days_total") > 0 }, time.Minute, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		return metric(t, reg, "vetch_columnar_bytes")+metric(t, reg, "vetch_columnar_wal_bytes") <= 200_000
	}, time.Minute, 10*time.Millisecond)
	require.NotEmpty(t, ids(t, db, Filter{}))
	// Today alone is over the limit: it is refused, and said.
	var err error
	require.Eventually(t, func() bool {
		err = db.Append(context.Background(), []Record{record(time.Now(), noise(20_000), "a")})
		return err != nil
	}, time.Minute, time.Millisecond)
	require.ErrorIs(t, err, ErrFull)
	require.ErrorContains(t, err, "allow more or send less")
	require.Positive(t, metric(t, reg, "vetch_columnar_append_failures_total", "reason", "full"))
}

func TestRetentionByAge(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(Options{Dir: dir, Name: "test"})
	require.NoError(t, err)
	for day := range 10 {
		put(t, db, record(time.Now().Add(-time.Duration(day)*24*time.Hour), strconv.Itoa(day), "a"))
	}
	wait(t, db, 10)
	require.NoError(t, db.Close())
	db = open(t, Options{Dir: dir, RetentionAge: 3 * 24 * time.Hour})
	require.Eventually(t, func() bool { return len(ids(t, db, Filter{})) == 4 }, time.Minute, 10*time.Millisecond, "whole days")
}

// noise is text of n bytes that does not compress well.
func noise(n int) string {
	b := make([]byte, n/2)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return hex.EncodeToString(b)
}
