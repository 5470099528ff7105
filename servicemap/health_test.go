package servicemap

import (
	"testing"
	"time"

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
			require.Equal(t, test.want, judge(test.failures/60, test.share, time.Minute))
		})
	}
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
