package columnar

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestNewest(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	var want []string
	for i := range 60 { // pairs share a time
		put(t, db, record(start.Add(time.Duration(i/2)*time.Nanosecond), strconv.Itoa(i), "s"+strconv.Itoa(i%3)))
		want = append(want, strconv.Itoa(i))
	}
	slices.Reverse(want)
	wait(t, db, 60)
	for _, size := range []int{1, 7, 59, 60, 100} {
		var got []string
		for after := (Position{}); ; {
			rows, err := db.Newest(context.Background(), lately(Filter{}), size, after)
			require.NoError(t, err)
			for _, r := range rows {
				got = append(got, r.Fields["id"])
				require.Equal(t, "record "+r.Fields["id"]+" of "+r.Fields["source"], r.Message)
				require.Len(t, r.Fields, 3)
			}
			if len(rows) < size {
				break
			}
			after = Position{rows[len(rows)-1].Time, rows[len(rows)-1].Number}
		}
		require.Equal(t, want, got, "by pages of %d", size)
	}
	rows, err := db.Newest(context.Background(), Range{Start: start.Add(3), End: start.Add(4)}, 100, Position{})
	require.NoError(t, err)
	require.Len(t, rows, 4, "both ends are included")
	require.True(t, rows[0].Time.Equal(start.Add(4)), "exact to a nanosecond")
	for _, limit := range []int{0, -1, maxRows + 1} {
		_, err = db.Newest(context.Background(), lately(Filter{}), limit, Position{})
		require.ErrorIs(t, err, ErrInvalid)
	}
}

func TestFilters(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	put(t, db, record(time.Now(), "1", "kernel"), record(time.Now(), "2", "kubernetes"), record(time.Now(), `"3" or *`, `a,"b"})`))
	put(t, db, Record{Time: time.Now(), Fields: []Field{{"id", "4"}, {"a name: with (all)", "x|y"}}, Message: "Back-off PULLING image \"a\\b\"\nnext ü"})
	wait(t, db, 4)
	contains := func(s string) Filter { f, err := Contains(s); require.NoError(t, err); return f }
	matches := func(s string) Filter { f, err := Matches(s); require.NoError(t, err); return f }
	tests := map[string]struct {
		filter Filter
		want   []string
	}{
		"stream":              {FromStream("source", "kernel"), []string{"1"}},
		"streams":             {FromStream("source", "kernel", "kubernetes", "none"), []string{"1", "2"}},
		"odd stream":          {FromStream("source", `a,"b"})`), []string{`"3" or *`}},
		"field of a stream":   {Is("source", "kernel"), []string{"1"}},
		"field":               {Is("id", "1", "4"), []string{"1", "4"}},
		"odd field":           {Is("a name: with (all)", "x|y"), []string{"4"}},
		"hostile value":       {Is("id", `"3" or *`), []string{`"3" or *`}},
		"hostile name":        {Is(`id:* or x`, "1"), nil},
		"nothing":             {Is("id", ""), nil},
		"text in any case":    {contains("back-OFF pulling"), []string{"4"}},
		"text with signs":     {contains(`image "a\b"`), []string{"4"}},
		"text with a newline": {contains("\"\nnext Ü"), []string{"4"}},
		"text is no pattern":  {contains(`.*`), nil},
		"text of a query":     {contains(`") or *:*`), nil},
		"pattern":             {matches(`^record \d of ker`), []string{"1"}},
		"all of them":         {All(Is("source", "kernel", "kubernetes"), Filter{}, contains("RECORD 2")), []string{"2"}},
		"none of them":        {All(), []string{"1", "2", `"3" or *`, "4"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ids(t, db, tt.filter)
			slices.Sort(got)
			slices.Sort(tt.want)
			require.Equal(t, tt.want, got, tt.filter.String())
		})
	}
	for _, bad := range []string{"(", "a{2000}", "((a{100}){100}){100}", strings.Repeat("(a?){20}", 40) + "z", strings.Repeat("x", maxPattern+1)} {
		_, err := Matches(bad)
		require.ErrorIs(t, err, ErrInvalid, bad)
	}
	_, err := Contains(strings.Repeat("x", maxText+1))
	require.ErrorIs(t, err, ErrInvalid)
}

func TestMergedAndSum(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	start := time.Now().Add(-time.Hour).Truncate(time.Hour)
	for i := range 30 { // ten keys with three records each
		at := start.Add(time.Duration(i) * time.Minute)
		last := strconv.FormatInt(at.UnixMicro(), 10)
		put(t, db, Record{
			Time: at, Stream: []Field{{"source", "s" + strconv.Itoa(i%2)}}, Message: fmt.Sprint("record ", i),
			Fields: []Field{{"key", "k" + strconv.Itoa(i%10)}, {"count", strconv.Itoa(i)}, {"first", last}, {"last", last}},
		})
	}
	wait(t, db, 30)
	merge := Merge{Key: "key", Count: "count", First: "first", Last: "last"}
	var all []Merged
	for after := (MergedPosition{}); ; {
		found, err := db.Merged(context.Background(), lately(Filter{}), merge, 3, after)
		require.NoError(t, err)
		all = append(all, found...)
		if len(found) < 3 {
			break
		}
		after = MergedPosition{found[2].Last, found[2].Number}
	}
	require.Len(t, all, 10)
	for i, m := range all {
		n := 29 - i
		require.Equal(t, fmt.Sprint("record ", n), m.Row.Message, "the newest of each")
		require.Equal(t, "k"+strconv.Itoa(n%10), m.Row.Fields["key"])
		require.EqualValues(t, n+n-10+n-20, m.Count)
		require.Equal(t, start.Add(time.Duration(n-20)*time.Minute).UnixMicro(), m.First)
		require.Equal(t, start.Add(time.Duration(n)*time.Minute).UnixMicro(), m.Last)
	}

	groups, err := db.Sum(context.Background(), lately(Filter{}), "count", "", 10*time.Minute, "source")
	require.NoError(t, err)
	require.Len(t, groups, 6)
	sums := map[string]uint64{}
	for _, g := range groups {
		sums[fmt.Sprint(g.Start.Sub(start), " ", g.Values)] = g.Sum
	}
	require.Equal(t, map[string]uint64{"0s [s0]": 20, "0s [s1]": 25, "10m0s [s0]": 70, "10m0s [s1]": 75, "20m0s [s0]": 120, "20m0s [s1]": 125}, sums)
	_, err = db.Sum(context.Background(), lately(Filter{}), "count", "", time.Minute, "n")
	require.ErrorIs(t, err, ErrInvalid)
	_, err = db.Sum(context.Background(), lately(Filter{}), "count", "", 0)
	require.ErrorIs(t, err, ErrInvalid)
}

func TestOnce(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	start := time.Now().Add(-time.Hour).Truncate(time.Hour)
	for i, r := range []struct{ once, name, count string }{{"a", "", "0"}, {"b", "x", "0"}, {"a", "x", "0"}, {"", "x", "5"}, {"c", "", "0"}, {"", "y", "2"}, {"d", "x", "0"}, {"d", "x", "0"}} {
		at := start.Add(time.Duration(i/6) * 20 * time.Minute)
		last := strconv.FormatInt(at.UnixMicro(), 10)
		put(t, db, Record{
			Time: at, Stream: []Field{{"source", "s"}}, Message: fmt.Sprint("record ", i),
			Fields: []Field{{"key", "k"}, {"once", r.once}, {"name", r.name}, {"count", r.count}, {"first", last}, {"last", last}},
		})
	}
	wait(t, db, 8)
	count := func(f Filter) (merged uint64, sums map[string]uint64) {
		found, err := db.Merged(t.Context(), lately(f), Merge{Key: "key", Count: "count", Once: "once", First: "first", Last: "last"}, 3, MergedPosition{})
		require.NoError(t, err)
		require.Len(t, found, 1)
		groups, err := db.Sum(t.Context(), lately(f), "count", "once", 10*time.Minute, "name")
		require.NoError(t, err)
		sums = map[string]uint64{}
		for _, g := range groups {
			sums[fmt.Sprint(g.Start.Sub(start), " ", g.Values[0])] = g.Sum
		}
		return found[0].Count, sums
	}
	n, sums := count(Filter{})
	require.EqualValues(t, 11, n, "7 and a, b, c, d")
	require.Equal(t, map[string]uint64{"0s x": 7, "0s y": 2, "0s ": 1, "20m0s x": 1}, sums)
	n, sums = count(Is("name", "x"))
	require.EqualValues(t, 8, n)
	require.Equal(t, map[string]uint64{"0s x": 7, "20m0s x": 1}, sums)
}

func TestQueriesEnd(t *testing.T) {
	reg := prometheus.NewRegistry()
	db := open(t, Options{Dir: t.TempDir(), Registerer: reg, QueryTimeout: 50 * time.Millisecond})
	line := strings.Repeat("a", 20_000)
	for range 40 {
		records := make([]Record, 100)
		for i := range records {
			records[i] = record(time.Now(), line, "a")
		}
		put(t, db, records...)
	}
	slow, err := Matches(`(x+x+)+y|(a|aa)+$b|(a?){40}z`)
	require.NoError(t, err, "it is linear, but slow")
	began := time.Now()
	require.Eventually(t, func() bool {
		_, err = db.Newest(context.Background(), lately(slow), 10, Position{})
		return err != nil
	}, time.Minute, time.Millisecond)
	require.ErrorIs(t, err, ErrTimeout)
	require.Less(t, time.Since(began), 30*time.Second)
	require.Positive(t, metric(t, reg, "vetch_columnar_query_failures_total", "reason", "timeout"))
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = db.Newest(canceled, lately(Filter{}), 10, Position{})
	require.ErrorIs(t, err, context.Canceled)
	db.opts.QueryTimeout = time.Minute
	_, err = db.Newest(context.Background(), lately(Filter{}), maxRows, Position{})
	require.ErrorIs(t, err, ErrTooLarge)
	require.Positive(t, metric(t, reg, "vetch_columnar_query_failures_total", "reason", "too_large"))
}
