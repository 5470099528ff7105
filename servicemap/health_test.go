package servicemap

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
)

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name     string
		failures float64 // in a minute
		share    float64
		want     Health
	}{
		{"nothing", 0, 0, OK},
		{"one of one at night", 1, 1, OK},
		{"two of two", 2, 1, OK},
		{"three of three", 3, 1, Warning},
		{"ten of ten", 10, 1, Critical},
		{"nearly three after extrapolation", 2.6, 1, Warning},
		{"many, but few of all", 1000, 0.009, OK},
		{"one in a hundred", 1000, 0.01, Warning},
		{"one in twenty", 1000, 0.05, Critical},
		{"one in twenty of little", 9, 0.05, Warning},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, judge(test.failures/60, test.share, time.Minute, ""))
		})
	}
}

// TestLevelsHold: a level that was reached holds a little below what it takes, and no longer.
func TestLevelsHold(t *testing.T) {
	for _, test := range []struct {
		held     Health
		failures float64
		share    float64
		want     Health
	}{
		{"", 1000, 0.049, Warning},
		{OK, 1000, 0.049, Warning},
		{Warning, 1000, 0.049, Warning},
		{Critical, 1000, 0.049, Critical},
		{Critical, 1000, 0.041, Critical},
		{Critical, 1000, 0.039, Warning},
		{Critical, 8, 1, Critical},
		{Critical, 7, 1, Warning},
		{Warning, 1000, 0.0081, Warning},
		{Critical, 1000, 0.0081, Warning},
		{Warning, 1000, 0.0079, OK},
		{Idle, 1000, 0.0081, OK},
	} {
		require.Equal(t, test.want, judge(test.failures/60, test.share, time.Minute, test.held), "%+v", test)
	}
}

// TestLiveMapDoesNotFlicker: a share of failures that lies now just above and now just below 5 % is one level in live answers. The past depends on
// nothing that was asked before.
func TestLiveMapDoesNotFlicker(t *testing.T) {
	rate := func(code, values string) string {
		return "vetch_workload_requests_total" + strings.ReplaceAll(labels.FromStrings("kind", "Process", "workload", "web", "protocol", "http", "code", code).String(), ", ", ",") + values + "\n"
	}
	db := promqltest.LoadedStorage(t, "load 5s\n"+rate("200", " 0+948x24 23704+952x24 47504+948x24")+rate("503", " 0+52x24 1296+48x24 2500+52x24"))
	clock := time.Unix(0, 0)
	s, err := New(Options{Engine: engineOver(t, db), Now: func() time.Time { return clock }})
	require.NoError(t, err)
	var live, past []Health
	for _, at := range []int64{115, 235, 350} {
		clock = time.Unix(at, 0)
		live = append(live, mapOf(t, s, Query{}).node(t, "/Process/web").Health)
		past = append(past, mapOf(t, s, Query{End: clock}).node(t, "/Process/web").Health)
	}
	require.Equal(t, []Health{Critical, Critical, Critical}, live)
	require.Equal(t, []Health{Critical, Warning, Critical}, past)
}

// TestFailingCalls: a workload that only calls says that its calls fail; one that serves is judged by what it serves.
func TestFailingCalls(t *testing.T) {
	s := loaded(t, `load 5s
		vetch_edge_requests_total`+pair("cron", "db", "5432", "postgres", "code", "ok")+` 0+80x20
		vetch_edge_requests_total`+pair("cron", "db", "5432", "postgres", "code", "40001")+` 0+20x20
		vetch_edge_failed_requests_total`+pair("cron", "db", "5432", "postgres")+` 0+20x20
		vetch_edge_requests_total`+pair("web", "db", "5432", "postgres", "code", "ok")+` 0+80x20
		vetch_edge_requests_total`+pair("web", "db", "5432", "postgres", "code", "40001")+` 0+20x20
		vetch_edge_failed_requests_total`+pair("web", "db", "5432", "postgres")+` 0+20x20
		vetch_edge_requests_total`+pair("browser", "web", "80", "http", "code", "200")+` 0+80x20`, 100)
	m := mapOf(t, s, Query{})
	require.Equal(t, Warning, m.node(t, "/Process/cron").Health)
	require.Equal(t, []string{"20 % of calls to db:5432 fail"}, m.node(t, "/Process/cron").Reasons)
	require.Equal(t, OK, m.node(t, "/Process/web").Health)
	require.Equal(t, OK, m.node(t, "/Process/browser").Health)
	require.Equal(t, Critical, m.node(t, "/Process/db").Health)
}

func TestWordsForRequests(t *testing.T) {
	for _, test := range []struct {
		r    requests
		want string
	}{
		{requests{all: 1000, failed: 42}, "4.2 % of requests fail (5xx)"},
		{requests{all: 100, failed: 42}, "42 % of requests fail (5xx)"},
		{requests{all: 100, cut: 100}, "100 % of requests fail (cut before the response)"},
		{requests{all: 100000, failed: 99999}, "more than 99 % of requests fail (5xx)"},
		{requests{all: 100, failed: 3, cut: 2}, "5.0 % of requests fail (3.0 % 5xx, 2.0 % cut before the response)"},
	} {
		require.Equal(t, test.want, sayRequests(test.r))
	}
}

func TestWordsForConnects(t *testing.T) {
	db := model.Workload{Kind: model.KindExternal, Name: "10.0.0.5"}
	for _, test := range []struct {
		failed map[string]float64
		done   float64
		want   []string
		health Health
	}{
		{map[string]float64{"refused": 12}, 0, []string{"12 connects/s refused by 10.0.0.5:5432"}, Critical},
		{map[string]float64{"refused": 0.2}, 0, []string{"12 connects/min refused by 10.0.0.5:5432"}, Critical},
		{map[string]float64{"reset": 2.5}, 100, []string{"2.5 connects/s reset by 10.0.0.5:5432"}, Warning},
		{map[string]float64{"timed_out": 1}, 0, []string{"1 connects/s to 10.0.0.5:5432 time out"}, Critical},
		{map[string]float64{"unreachable": 1}, 0, []string{"1 connects/s to 10.0.0.5:5432 find it unreachable"}, Critical},
		{map[string]float64{"other": 1}, 0, []string{"1 connects/s to 10.0.0.5:5432 fail"}, Critical},
		{map[string]float64{"refused": 3, "timed_out": 2}, 0, []string{"5 connects/s to 10.0.0.5:5432 fail, most refused"}, Critical},
		{map[string]float64{"canceled": 50}, 1, []string{}, OK},
		{map[string]float64{"canceled": 50, "refused": 1}, 1, []string{"1 connects/s refused by 10.0.0.5:5432"}, Critical},
		{map[string]float64{"refused": 1}, 1000, []string{}, OK},
		{nil, 0, []string{}, Idle},
	} {
		e := &edgeFigures{key: edgeKey{server: db, port: 5432}, failed: test.failed, connects: &test.done}
		v := e.verdict(time.Minute)
		require.Equal(t, test.want, v.reasons)
		require.Equal(t, test.health, v.health, "%v", test.failed)
	}
}

func TestWhoIsToBlame(t *testing.T) {
	s := loaded(t, `load 5s
		vetch_edge_failed_connections_total`+pair("api", "db", "5432", "tcp", "error", "refused")+` 0+60x20
		vetch_edge_connections_total`+pair("api", "cache", "6379", "tcp")+` 0+60x20
		vetch_edge_bytes_total`+pair("idler", "cache", "6379", "tcp", "direction", "sent")+` 0+0x20`, 100)
	m := mapOf(t, s, Query{})
	for id, want := range map[string]struct {
		health  Health
		reasons []string
	}{
		"/Process/db":    {Critical, []string{"12 connects/s refused on port 5432"}},
		"/Process/api":   {Warning, []string{"12 connects/s refused by db:5432"}},
		"/Process/cache": {OK, []string{}},
		"/Process/idler": {Idle, []string{}},
	} {
		n := m.node(t, id)
		require.Equal(t, want.health, n.Health, id)
		require.Equal(t, want.reasons, n.Reasons, id)
	}
	e := m.edge(t, "/Process/api", "/Process/db")
	require.Zero(t, value(t, e.ConnectRate), "who counts failures would have counted connects")
	require.Equal(t, Idle, m.edge(t, "/Process/idler", "/Process/cache").Health)
	require.Nil(t, m.edge(t, "/Process/idler", "/Process/cache").ConnectRate)
}

func TestManyFailingCalleesAreSummedUp(t *testing.T) {
	script := "load 5s\n"
	for _, server := range []string{"a", "b", "c", "d", "e"} {
		script += "vetch_edge_failed_connections_total" + pair("api", server, "1", "tcp", "error", "refused") + " 0+5x20\n"
	}
	n := mapOf(t, loaded(t, script, 100), Query{}).node(t, "/Process/api")
	require.Len(t, n.Reasons, maxCalleeReasons+1)
	require.Equal(t, "connects to 2 more places fail", n.Reasons[maxCalleeReasons])
}
