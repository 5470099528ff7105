package metrics

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/store/directory"
)

const (
	childDir   = "VETCH_TEST_STORE_CHILD"
	childStart = "VETCH_TEST_STORE_START"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// child stores samples for ever and says on its standard output how many were acknowledged.
func child(dir string) {
	db, err := Open(Options{Dir: dir})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	start, err := time.Parse(time.RFC3339, os.Getenv(childStart))
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		if err := put(db, start.Add(time.Duration(i)*time.Millisecond), 100, float64(i)); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(i + 1)
	}
}

// put appends one sample to each of n series.
func put(db *DB, t time.Time, n int, v float64) error {
	app := db.AppenderV2(context.Background())
	for i := range n {
		ls := labels.FromStrings(labels.MetricName, "test_total", "series", strconv.Itoa(i))
		if _, err := app.Append(0, ls, 0, t.UnixMilli(), v, nil, nil, storage.AOptions{}); err != nil {
			return err
		}
	}
	return app.Commit()
}

func open(t *testing.T, o Options) *DB {
	t.Helper()
	db, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

type point struct {
	t int64
	v float64
}

// read gives all float samples of the series that match, by the text of their labels; histograms count with their count.
func read(t *testing.T, db *DB, name string) map[string][]point {
	t.Helper()
	q, err := db.Querier(0, time.Now().Add(time.Hour).UnixMilli())
	require.NoError(t, err)
	defer q.Close()
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name))
	out := make(map[string][]point)
	for set.Next() {
		it := set.At().Iterator(nil)
		key := set.At().Labels().String()
		for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
			switch vt {
			case chunkenc.ValFloat:
				ts, v := it.At()
				out[key] = append(out[key], point{ts, v})
			default:
				ts, h := it.AtFloatHistogram(nil)
				out[key] = append(out[key], point{ts, h.Count})
			}
		}
		require.NoError(t, it.Err())
	}
	require.NoError(t, set.Err())
	return out
}

func count(all map[string][]point) int {
	n := 0
	for _, points := range all {
		n += len(points)
	}
	return n
}

// metric is the present value of one of the store's own metrics.
func metric(t *testing.T, g prometheus.Gatherer, name string, labelValue ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(labelValue) == 0 || m.GetLabel()[0].GetValue() == labelValue[0] {
				return figure(m)
			}
		}
	}
	t.Fatalf("no metric %s %v", name, labelValue)
	return 0
}

func figure(m *dto.Metric) float64 {
	if m.Counter != nil {
		return m.GetCounter().GetValue()
	}
	return m.GetGauge().GetValue()
}

func TestOpenRefuses(t *testing.T) {
	t.Run("a directory in use", func(t *testing.T) {
		dir := t.TempDir()
		open(t, Options{Dir: dir})
		_, err := Open(Options{Dir: dir})
		require.ErrorIs(t, err, ErrInUse)
		require.ErrorContains(t, err, dir)
		require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	})
	t.Run("a newer format", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, directory.VersionName), []byte("2\n"), 0o600))
		_, err := Open(Options{Dir: dir})
		require.ErrorIs(t, err, ErrNewerVersion)
		require.ErrorContains(t, err, "has format 2 and this program knows formats up to 1")
	})
	t.Run("a version file of something else", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, directory.VersionName), []byte("Debian 12\n"), 0o600))
		_, err := Open(Options{Dir: dir})
		require.ErrorContains(t, err, `"Debian 12\n", not a number`)
	})
	t.Run("and holds no lock after that", func(t *testing.T) {
		dir := t.TempDir()
		version := filepath.Join(dir, directory.VersionName)
		require.NoError(t, os.WriteFile(version, []byte("2\n"), 0o600))
		_, err := Open(Options{Dir: dir})
		require.Error(t, err)
		require.NoError(t, os.WriteFile(version, nil, 0o600), "an empty file is that of a crash")
		open(t, Options{Dir: dir})
	})
}

func TestReopenWithTheSameRegistry(t *testing.T) {
	dir, reg := t.TempDir(), prometheus.NewRegistry()
	for i := range 3 {
		db, err := Open(Options{Dir: dir, Registerer: reg})
		require.NoError(t, err)
		require.NoError(t, put(db, time.Now(), 2, 1))
		require.Equal(t, 2*(i+1), count(read(t, db, "test_total")))
		require.Equal(t, float64(2), metric(t, reg, "vetch_store_series"))
		require.EqualValues(t, 2, db.Stats().Chunks)
		require.NoError(t, db.Close())
		require.NoError(t, db.Close(), "a second close")
	}
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
}

func TestKilledProcessLosesNothing(t *testing.T) {
	dir := t.TempDir()
	start := time.Now().Add(-time.Hour)
	acknowledged := 0
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir, childStart+"="+start.Add(time.Duration(round)*20*time.Minute).Format(time.RFC3339))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		last := 0
		for last < 200 && lines.Scan() {
			last, err = strconv.Atoi(lines.Text())
			require.NoError(t, err, "round %d: %s", round, lines.Text())
		}
		if round == 0 {
			_, err := Open(Options{Dir: dir})
			require.ErrorIs(t, err, ErrInUse)
			require.ErrorContains(t, err, fmt.Sprintf("process %d", cmd.Process.Pid))
		}
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() { // what it had written before it died
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				last = n
			}
		}
		require.Error(t, cmd.Wait(), "it was killed")
		acknowledged += last * 100
	}
	db := open(t, Options{Dir: dir})
	require.GreaterOrEqual(t, count(read(t, db, "test_total")), acknowledged)
}

func TestRetention(t *testing.T) {
	tests := map[string]struct {
		options Options
		oldest  time.Duration // at least this young
	}{
		"age":  {Options{RetentionAge: 6 * time.Hour}, 11 * time.Hour},
		"size": {Options{RetentionBytes: 600_000}, 13 * time.Hour},
		"none": {Options{}, 21 * time.Hour},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.options.Dir, tt.options.maintain = t.TempDir(), 20*time.Millisecond
			db := open(t, tt.options)
			start := time.Now().Add(-20 * time.Hour)
			for at := start; at.Before(time.Now()); at = at.Add(time.Minute) {
				require.NoError(t, put(db, at, 40, rand.Float64()))
			}
			require.Eventually(t, func() bool {
				s := db.Stats()
				young := time.Since(s.Oldest) < tt.oldest
				return young && len(db.tsdb.Blocks()) > 0 && db.tsdb.Head().MinTime() > start.Add(12*time.Hour).UnixMilli()
			}, time.Minute, 20*time.Millisecond)
			if name == "none" {
				require.Equal(t, 40*1201, count(read(t, db, "test_total")))
			}
		})
	}
}

func TestAppendRefuses(t *testing.T) {
	reg := prometheus.NewRegistry()
	db := open(t, Options{Dir: t.TempDir(), Registerer: reg})
	now := time.Now()
	require.NoError(t, put(db, now, 1, 1))
	tests := map[string]struct {
		at   time.Time
		v    float64
		want error
	}{
		"too_far_ahead":       {now.Add(time.Hour), 1, ErrTooFarAhead},
		"too_old":             {now.Add(-24 * time.Hour), 1, storage.ErrTooOldSample},
		"duplicate_timestamp": {now, 2, storage.ErrDuplicateSampleForTimestamp},
	}
	for reason, tt := range tests {
		t.Run(reason, func(t *testing.T) {
			require.ErrorIs(t, put(db, tt.at, 1, tt.v), tt.want)
			require.Equal(t, 1.0, metric(t, reg, "vetch_store_append_failures_total", reason))
		})
	}
	require.NoError(t, put(db, now.Add(-time.Hour), 1, 7), "out of order, within the window")
	require.Equal(t, 2, count(read(t, db, "test_total")))
	require.Equal(t, 2.0, metric(t, reg, "vetch_store_appended_samples_total"))
}

func TestCloseWaitsForReaders(t *testing.T) {
	db, err := Open(Options{Dir: t.TempDir()})
	require.NoError(t, err)
	require.NoError(t, put(db, time.Now(), 1, 1))
	q, err := db.Querier(0, time.Now().UnixMilli())
	require.NoError(t, err)
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	require.Eventually(t, func() bool {
		late, err := db.Querier(0, 1)
		if err == nil {
			require.NoError(t, late.Close())
		}
		return err != nil
	}, time.Second, time.Millisecond)
	select {
	case <-closed:
		t.Fatal("closed under a reader")
	default:
	}
	require.NoError(t, q.Close())
	require.NoError(t, <-closed)
	require.ErrorIs(t, put(db, time.Now(), 1, 1), errClosed)
	_, err = db.ExemplarQuerier(context.Background())
	require.ErrorIs(t, err, errClosed)
}

func TestSeriesAreBounded(t *testing.T) {
	dir, reg := t.TempDir(), prometheus.NewRegistry()
	db, err := Open(Options{Dir: dir})
	require.NoError(t, err)
	now := time.Now()
	require.NoError(t, put(db, now, 20, 1))
	require.NoError(t, db.Close())
	db = open(t, Options{Dir: dir, MaxSeries: 10, Registerer: reg})
	require.Equal(t, 20, count(read(t, db, "test_total")), "a lower limit costs nothing that is stored")
	require.NoError(t, put(db, now.Add(time.Second), 20, 2), "series that are there go on")
	require.ErrorIs(t, put(db, now.Add(2*time.Second), 21, 3), ErrTooManySeries)
	require.Equal(t, 1.0, metric(t, reg, "vetch_store_append_failures_total", "too_many_series"))
}

func TestMetadataIsBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	db := open(t, Options{Dir: t.TempDir(), Registerer: reg})
	for i := range maxMetadata + 5 {
		db.SetMetadata(fmt.Sprint("m", i), metadata.Metadata{Help: "x"})
	}
	db.SetMetadata("m0", metadata.Metadata{Help: "y"})
	require.Len(t, db.Metadata("", 0), maxMetadata)
	require.Equal(t, "y", db.Metadata("m0", 0)["m0"].Help)
	require.Equal(t, 5.0, metric(t, reg, "vetch_store_metadata_dropped_total"))
}
