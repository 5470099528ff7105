package protocol

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// The bytes of real servers, recorded by the tests of the servers with VETCH_RECORD=1. Passwords and values in them are MARKER.
var sqlRecorded = []struct {
	name string
	p    func() Protocol
	path string
	want map[string]int
}{
	{"pgbench simple", PostgreSQL, "postgres/pgbench-simple", pgbenchCounts},
	{"pgbench extended", PostgreSQL, "postgres/pgbench-extended", pgbenchCounts},
	{"pgbench prepared", PostgreSQL, "postgres/pgbench-prepared", pgbenchCounts},
	{"pgx", PostgreSQL, "postgres/pgx", map[string]int{"CREATE TABLE mythings ok": 1, "INSERT mythings ok": 20, "SELECT mythings ok": 10, "INSERT mythings 23505": 2,
		"SELECT nothing 42P01": 1, "COPY mythings ok": 1, "SELECT ok": 1, "EMPTY ok": 1}},
	{"command line", MySQL, "mysql/command-line", map[string]int{"CREATE TABLE things ok": 1, "SELECT things ok": 3, "DELETE things ok": 1, "SHOW ok": 1}},
	{"prepared", MySQL, "mysql/prepared", map[string]int{"PREPARE SELECT orders ok": 3, "SELECT orders ok": 3, "COM_STMT_CLOSE one way": 3}},
	{"many results", MySQL, "mysql/multi-and-infile", map[string]int{"DELETE users ok": 1, "CALL two 1146": 1, "LOAD lined ok": 1}},
	{"compressed", MySQL, "mysql/compressed", map[string]int{}},
}

var pgbenchCounts = map[string]int{"BEGIN ok": 3, "UPDATE pgbench_accounts ok": 3, "SELECT pgbench_accounts ok": 3, "INSERT pgbench_history ok": 3, "END ok": 3}

// However the bytes are cut, the exchanges are the same, and nothing of the content shows.
func TestSQLReplay(t *testing.T) {
	for _, r := range sqlRecorded {
		t.Run(r.name, func(t *testing.T) {
			chunks := recorded(t, filepath.Join("testdata", r.path+".hex"))
			whole := replay(r.p(), chunks, 0)
			expect(t, whole, r.want)
			for _, size := range []int{1, 2, 3, 7, 64, 1000} {
				if got := replay(r.p(), chunks, size); !maps.Equal(count(got), count(whole)) {
					t.Errorf("in pieces of %d: %v, want %v", size, count(got), count(whole))
				}
			}
			for i, e := range replay(r.p(), chunks, 1) {
				if e.RequestBytes != whole[i].RequestBytes || e.ResponseBytes != whole[i].ResponseBytes || e.Begin != whole[i].Begin || e.End != whole[i].End {
					t.Errorf("in single bytes: %+v, want %+v", e, whole[i])
				}
			}
			sum := 0
			for n := range chunks {
				got := replay(r.p(), chunks[:n], 0)
				expect(t, got, nil)
				sum += len(got)
			}
			t.Logf("%d exchanges, %d in all prefixes", len(whole), sum)
		})
	}
}

// Without any one of the reads in the middle the others are still told, none with a wrong name and not many wrongly.
func TestSQLGap(t *testing.T) {
	for _, r := range sqlRecorded {
		t.Run(r.name, func(t *testing.T) {
			chunks := recorded(t, filepath.Join("testdata", r.path+".hex"))
			whole := count(replay(r.p(), chunks, 0))
			names := map[string]bool{"EXECUTE": true, "COMMIT": true} // what the server calls END
			for key := range whole {
				names[strings.Fields(key)[0]] = true
			}
			for missing := 4; missing < len(chunks); missing++ {
				f := newFeeder(r.p())
				for i, c := range chunks {
					if i == missing {
						continue
					}
					if i == missing+2 && !f.conn.Resync(c.d, c.b) && f.err == nil && len(c.b) > 40 {
						t.Logf("no new start at %d %q", c.d, c.b[:20])
					}
					f.feed(c.d, c.b, c.at)
				}
				f.close(chunks[len(chunks)-1].at)
				for _, e := range f.got {
					if !names[strings.Fields(e.Operation)[0]] {
						t.Errorf("without %d: %+v", missing, e)
					}
				}
			}
		})
	}
}

func seedSQL(f *testing.F, p func() Protocol) {
	for _, r := range sqlRecorded {
		if r.p().Name == p().Name {
			seed := fuzzSeed(recorded(f, filepath.Join("testdata", r.path+".hex")))
			f.Add(seed[:min(len(seed), 3<<10)])
		}
	}
}

func FuzzPostgreSQL(f *testing.F) {
	seedSQL(f, PostgreSQL)
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzSplit(t, PostgreSQL(), data)
		detectPostgres(FromClient, data)
		detectPostgres(FromServer, data)
	})
}

func FuzzMySQL(f *testing.F) {
	seedSQL(f, MySQL)
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzSplit(t, MySQL(), data)
		detectMySQL(FromClient, data)
		detectMySQL(FromServer, data)
	})
}

// Cost of one statement: go test ./agent/protocol -run XXX -bench SQLReplay
func BenchmarkSQLReplay(b *testing.B) {
	for _, r := range sqlRecorded {
		chunks := recorded(b, filepath.Join("testdata", r.path+".hex"))
		n := len(replay(r.p(), chunks, 0))
		if n == 0 {
			continue
		}
		b.Run(r.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				replay(r.p(), chunks, 0)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/exchange")
		})
	}
}
