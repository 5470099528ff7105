package events

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
)

// driver is a kind of store that passes the suite.
type driver struct {
	// open gives an empty store, which the test closes by itself. reopen closes it and opens it again with what it holds.
	open   func(t *testing.T) store.Events
	reopen func(t *testing.T, s store.Events) store.Events
}

// conformance is the suite that every driver of store.Events passes.
func conformance(t *testing.T, d driver) {
	for name, test := range map[string]func(*testing.T, driver){
		"an event comes back whole":           comesBackWhole,
		"again is counted up":                 countedUp,
		"what is told again counts once":      toldAgain,
		"two sources of one end are one":      joinedEnds,
		"ends count once":                     countedEnds,
		"two processes of one container":      processesOfOne,
		"chosen by properties":                chosen,
		"text and patterns":                   texts,
		"pages":                               pages,
		"counted over time":                   countedOverTime,
		"what cannot be asked":                badQueries,
		"what cannot be stored is left out":   leftOut,
		"hostile text is text":                hostile,
		"a context that ended ends a query":   canceled,
		"capabilities are those of the pages": capabilities,
	} {
		t.Run(name, func(t *testing.T) { test(t, d) })
	}
}

var base = time.Now().Add(-3 * time.Hour).Truncate(time.Hour)

func backOff(minutes int, pod string) model.Event {
	at := base.Add(time.Duration(minutes) * time.Minute)
	return model.Event{
		First: at, Last: at, Count: 1, Type: model.EventWarning, Reason: "BackOff", Message: fmt.Sprintf("Back-off %ds restarting container app", minutes),
		Source: model.SourceKubernetes, Object: model.Object{Namespace: "shop", Kind: "Pod", Name: pod, UID: "uid-" + pod},
		Workload: model.Workload{Cluster: "east", Namespace: "shop", Kind: "Deployment", Name: "cart"}, Node: "node-a",
		Fields: map[string]string{"container": "app"},
	}
}

func put(t *testing.T, s store.Events, events ...model.Event) {
	t.Helper()
	require.NoError(t, s.Append(context.Background(), events))
}

func all() store.EventQuery {
	return store.EventQuery{Start: base.Add(-time.Hour), End: time.Now().Add(time.Hour), Limit: 100, Step: time.Hour}
}

// find waits until the answer has occurrences of n, for what was stored is found within seconds.
func find(t *testing.T, s store.Events, q store.EventQuery, n uint64) []model.Event {
	t.Helper()
	var found []model.Event
	require.Eventually(t, func() bool {
		page, err := s.Find(context.Background(), q)
		require.NoError(t, err)
		found = page.Events
		var sum uint64
		for _, e := range found {
			sum += e.Count
		}
		return sum >= n
	}, time.Minute, 20*time.Millisecond)
	return found
}

func comesBackWhole(t *testing.T, d driver) {
	s := d.open(t)
	want := backOff(1, "cart-1")
	put(t, s, want)
	kernel := model.Event{
		First: base, Last: base.Add(1500 * time.Microsecond), Count: 7, Type: model.EventWarning, Reason: "OOMKilled", Message: "stress was killed: out of memory",
		Source: model.SourceKernel, Object: model.Object{Kind: "Process", Name: "stress"}, Workload: model.Workload{Kind: model.KindProcess, Name: "stress"}, Node: "host",
	}
	put(t, s, kernel)
	found := find(t, s, all(), 8)
	require.Len(t, found, 2)
	same(t, want, found[0])
	same(t, kernel, found[1])
	s = d.reopen(t, s)
	found = find(t, s, all(), 8)
	same(t, want, found[0])
	same(t, kernel, found[1])
}

func same(t *testing.T, want, got model.Event) {
	t.Helper()
	require.True(t, want.First.Equal(got.First), "%s %s", want.First, got.First)
	require.True(t, want.Last.Equal(got.Last), "%s %s", want.Last, got.Last)
	want.First, want.Last, want.ID, got.First, got.Last = time.Time{}, time.Time{}, "", time.Time{}, time.Time{}
	require.Equal(t, want, got)
}

func countedUp(t *testing.T, d driver) {
	s := d.open(t)
	put(t, s, backOff(1, "cart-1"), backOff(2, "cart-1"), backOff(30, "cart-2"))
	put(t, s, backOff(40, "cart-1"))
	last := backOff(90, "cart-1")
	last.Count = 5
	put(t, s, last)
	found := find(t, s, all(), 9)
	require.Len(t, found, 2)
	want := last
	want.First, want.Count = base.Add(time.Minute), 8
	same(t, want, found[0])
	q := all()
	q.Start, q.End = base.Add(2*time.Minute), base.Add(40*time.Minute)
	found = find(t, s, q, 3)
	require.Len(t, found, 2)
	require.EqualValues(t, 2, found[0].Count, "of the range")
	require.True(t, base.Add(2*time.Minute).Equal(found[0].First))
}

func toldAgain(t *testing.T, d driver) {
	s := d.open(t)
	at := func(id string, minutes int, total uint64) model.Event {
		e := backOff(minutes, "cart-1")
		e.First, e.Count, e.ID = base, total, id
		return e
	}
	put(t, s, at("a", 1, 3))
	put(t, s, at("a", 1, 3), at("a", 2, 4)) // seen again, and then once more
	find(t, s, all(), 4)
	s = d.reopen(t, s)
	put(t, s, at("a", 2, 4), at("a", 5, 10), at("a", 5, 10))
	put(t, s, at("a", 1, 3)) // late
	put(t, s, at("b", 6, 2)) // the same under another name
	found := find(t, s, all(), 12)
	require.Len(t, found, 1)
	want := at("", 6, 10)
	want.Count = 12
	same(t, want, found[0])

	s = d.reopen(t, s)
	put(t, s, at("a", 1, 3), at("b", 6, 2)) // all of it is known
	var many []model.Event
	for i := range 1200 {
		e := at(fmt.Sprint("c", i), 6, 1)
		e.First = e.Last
		many = append(many, e)
	}
	put(t, s, many...)
	find(t, s, all(), 1212)
	s = d.reopen(t, s)
	put(t, s, append(many, at("d", 7, 1))...)
	require.EqualValues(t, 1213, find(t, s, all(), 1213)[0].Count)
}

func chosen(t *testing.T, d driver) {
	s := d.open(t)
	oom := model.Event{
		First: base, Last: base, Type: model.EventWarning, Reason: "OOMKilled", Source: model.SourceKernel, Node: "node-b", Message: "killed",
		Object: model.Object{Kind: "Unit", Name: "db"}, Workload: model.Workload{Kind: model.KindUnit, Name: "db"},
	}
	normal := backOff(3, "cart-3")
	normal.Type, normal.Reason = model.EventNormal, "Pulled"
	put(t, s, backOff(1, "cart-1"), backOff(2, "cart-2"), normal, oom)
	find(t, s, all(), 4)
	tests := []struct {
		property string
		values   []string
		want     int
	}{
		{store.EventCluster, []string{"east"}, 3}, {store.EventNamespace, []string{"shop"}, 3}, {store.EventKind, []string{"Unit"}, 1},
		{store.EventName, []string{"cart-1", "db", "none"}, 2}, {store.EventUID, []string{"uid-cart-2"}, 1}, {store.EventWorkload, []string{"shop/Deployment/cart"}, 3},
		{store.EventWorkload, []string{"/Unit/db"}, 1}, {store.EventReason, []string{"OOMKilled"}, 1}, {store.EventKindOf, []string{"Normal"}, 1},
		{store.EventSource, []string{model.SourceKernel, model.SourceKubernetes}, 4}, {store.EventSource, []string{"other"}, 0}, {store.EventNode, []string{"node-a"}, 3},
		{store.EventReason, nil, 4},
	}
	for _, tt := range tests {
		q := all()
		q.Is = map[string][]string{tt.property: tt.values}
		page, err := s.Find(context.Background(), q)
		require.NoError(t, err)
		require.Len(t, page.Events, tt.want, "%s %v", tt.property, tt.values)
	}
	q := all()
	q.Is = map[string][]string{store.EventKindOf: {"Warning"}, store.EventNamespace: {"shop"}, store.EventName: {"cart-2", "cart-3"}}
	page, err := s.Find(context.Background(), q)
	require.NoError(t, err)
	require.Len(t, page.Events, 1, "all properties must fit")
}

func texts(t *testing.T, d driver) {
	s := d.open(t)
	put(t, s, backOff(1, "cart-1"))
	find(t, s, all(), 1)
	for _, tt := range []struct {
		text, match string
		want        int
	}{
		{"RESTARTING container", "", 1}, {"restarted", "", 0}, {".*", "", 0}, {"", "^Back-off \\d+s ", 1}, {"", "^restarting", 0}, {"app", "^Back", 1},
	} {
		q := all()
		q.Text, q.Match = tt.text, tt.match
		page, err := s.Find(context.Background(), q)
		require.NoError(t, err)
		require.Len(t, page.Events, tt.want, "%+v", tt)
	}
}

func pages(t *testing.T, d driver) {
	s := d.open(t)
	var list []model.Event
	for i := range 25 { // fives share a time, and each is there twice
		for n := range 2 {
			e := backOff(60*n, fmt.Sprintf("cart-%d", i))
			e.Last = e.Last.Add(time.Duration(i/5) * time.Second)
			e.First = e.Last
			list = append(list, e)
		}
	}
	put(t, s, list...)
	find(t, s, all(), 50)
	for _, size := range []int{1, 4, 24, 25, 26} {
		q := all()
		q.Limit = size
		seen := map[string]bool{}
		last := time.Now()
		for {
			page, err := s.Find(context.Background(), q)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page.Events), size)
			for _, e := range page.Events {
				require.False(t, seen[e.Object.Name], "%s is on two pages of %d", e.Object.Name, size)
				seen[e.Object.Name] = true
				require.False(t, e.Last.After(last), "newest first")
				last = e.Last
				require.EqualValues(t, 2, e.Count)
			}
			if page.Next == "" {
				break
			}
			q.After = page.Next
		}
		require.Len(t, seen, 25, "by pages of %d", size)
	}
}

func countedOverTime(t *testing.T, d driver) {
	s := d.open(t)
	many := backOff(70, "cart-1")
	many.Count = 40
	normal := backOff(75, "cart-1")
	normal.Reason = "Pulled"
	put(t, s, backOff(1, "cart-1"), backOff(59, "cart-2"), many, normal)
	find(t, s, all(), 43)
	counts, err := s.Count(context.Background(), all(), store.EventReason)
	require.NoError(t, err)
	got := map[string]uint64{}
	for _, c := range counts {
		got[fmt.Sprint(c.Start.Sub(base), " ", c.Value)] += c.Count
	}
	require.Equal(t, map[string]uint64{"0s BackOff": 2, "1h0m0s BackOff": 40, "1h0m0s Pulled": 1}, got)
}

func badQueries(t *testing.T, d driver) {
	s := d.open(t)
	for name, change := range map[string]func(*store.EventQuery){
		"turned range": func(q *store.EventQuery) { q.Start, q.End = q.End, q.Start },
		"no limit":     func(q *store.EventQuery) { q.Limit = 0 },
		"large page":   func(q *store.EventQuery) { q.Limit = s.Capabilities().MaxPage + 1 },
		"property":     func(q *store.EventQuery) { q.Is = map[string][]string{"colour": {"red"}} },
		"many values":  func(q *store.EventQuery) { q.Is = map[string][]string{store.EventName: make([]string, 101)} },
		"long text":    func(q *store.EventQuery) { q.Text = strings.Repeat("x", 300) },
		"pattern":      func(q *store.EventQuery) { q.Match = "(" },
		"huge pattern": func(q *store.EventQuery) { q.Match = "(a{30}){30}" },
		"cursor":       func(q *store.EventQuery) { q.After = "1-2-x" },
	} {
		q := all()
		change(&q)
		_, err := s.Find(context.Background(), q)
		require.ErrorIs(t, err, store.ErrBadQuery, name)
	}
	_, err := s.Count(context.Background(), all(), "colour")
	require.ErrorIs(t, err, store.ErrBadQuery)
	q := all()
	q.Step = time.Millisecond
	_, err = s.Count(context.Background(), q, store.EventReason)
	require.ErrorIs(t, err, store.ErrBadQuery)
}

func leftOut(t *testing.T, d driver) {
	s := d.open(t)
	none, future, old := backOff(1, "none"), backOff(1, "future"), backOff(1, "old")
	none.Last, future.Last, old.Last = time.Time{}, time.Now().Add(time.Hour), time.Now().Add(-10*365*24*time.Hour)
	put(t, s, none, future, backOff(2, "good"), old)
	put(t, s)
	require.Len(t, find(t, s, all(), 1), 1)
}

func hostile(t *testing.T, d driver) {
	s := d.open(t)
	for i, text := range []string{
		`") or *:*`, `'; DROP TABLE events; --`, "a\x00b\n\t\\", "\xff\xfe", strings.Repeat("ü", 5000), `{"json": ["x"]}`, `} | delete *`,
	} {
		e := backOff(i, "cart-1")
		e.Message, e.Reason, e.Object.Name, e.Fields = text, text, text, map[string]string{text: text}
		put(t, s, e)
		q := all()
		name := strings.ToValidUTF8(text, "\uFFFD")
		if len(name) > 253 {
			name = name[:252]
		}
		q.Is = map[string][]string{store.EventName: {name}, store.EventReason: {name}}
		found := find(t, s, q, 1)
		require.Len(t, found, 1, text)
		require.LessOrEqual(t, len(found[0].Message), s.Capabilities().MaxMessage)
		require.Len(t, found[0].Fields, 1)
	}
}

func canceled(t *testing.T, d driver) {
	s := d.open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Find(ctx, all())
	require.ErrorIs(t, err, context.Canceled)
}

func capabilities(t *testing.T, d driver) {
	s := d.open(t)
	c := s.Capabilities()
	require.NotEmpty(t, c.Driver)
	require.GreaterOrEqual(t, c.MaxPage, 100)
	require.GreaterOrEqual(t, c.MaxMessage, 1024)
	require.Positive(t, c.Retention)
}
