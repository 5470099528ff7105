package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/store/columnar"
	"github.com/vetch-dev/vetch/store/events"
)

// eventStore is a real store with 30 crashes of one unit, 3 of another, and one pod.
func eventStore(t *testing.T) store.Events {
	t.Helper()
	s, err := events.Open(columnar.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	now := time.Now()
	var list []model.Event
	for i := range 33 {
		unit := map[bool]string{true: "nginx", false: "db"}[i < 30]
		w := model.Workload{Kind: model.KindUnit, Name: unit}
		list = append(list, model.Event{
			First: now.Add(-time.Duration(i) * time.Minute), Last: now.Add(-time.Duration(i) * time.Minute), Type: model.EventWarning, Reason: "Crashed",
			Message: unit + " was ended by SIGSEGV", Source: model.SourceKernel, Workload: w, Object: model.Object{Kind: "Unit", Name: unit},
			Fields: map[string]string{"signal": "SIGSEGV"},
		})
	}
	list = append(list, model.Event{
		Last: now, Reason: "Scheduled", Message: "Successfully assigned", Source: model.SourceKubernetes,
		Object: model.Object{Namespace: "shop", Kind: "Pod", Name: "cart-1", UID: "u1"}, Workload: model.Workload{Cluster: "east"},
	})
	require.NoError(t, s.Append(context.Background(), list))
	require.Eventually(t, func() bool {
		page, err := s.Find(context.Background(), store.EventQuery{Start: now.Add(-time.Hour), End: now.Add(time.Minute), Limit: 10})
		require.NoError(t, err)
		return len(page.Events) == 3
	}, time.Minute, 20*time.Millisecond)
	return s
}

func TestEventsAnswersAreAsDescribed(t *testing.T) {
	router, h := specRouter(t), EventsHandler(eventStore(t), "west")
	list := func(query string) (l eventList) {
		w := get(t, router, h, "/api/events"+query)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &l))
		return l
	}
	l := list("")
	require.Len(t, l.Events, 3)
	require.Equal(t, "cart-1", l.Events[0].Object.Name)
	require.Nil(t, l.Events[0].Workload)
	require.Equal(t, "east", l.Events[0].Cluster)
	require.Equal(t, "/Unit/nginx", *l.Events[1].Workload)
	require.EqualValues(t, 30, l.Events[1].Count)
	require.Equal(t, map[string]string{"signal": "SIGSEGV"}, l.Events[1].Fields)
	require.Nil(t, l.Next)
	for query, want := range map[string]int{
		"?workload=/Unit/db": 1, "?reason=Crashed&name=db&name=nginx": 2, "?namespace=shop": 1, "?type=Warning&source=kernel": 2, "?text=sigsegv": 2, "?match=^db": 1,
		"?start=-2h&end=now-20m": 2, "?start=-10m&reason=Crashed": 1, "?uid=u1&cluster=east&kind=Pod": 1, "?node=x": 0, "?start=-1d": 3,
	} {
		require.Len(t, list(query).Events, want, query)
	}
	first := list("?limit=2")
	require.Len(t, first.Events, 2)
	require.NotNil(t, first.Next)
	rest := list("?limit=2&after=" + url.QueryEscape(*first.Next))
	require.Len(t, rest.Events, 1)
	require.Equal(t, "db", rest.Events[0].Object.Name)

	var c eventCounts
	w := get(t, router, h, "/api/events/counts?by=name&step=10m&reason=Crashed")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &c))
	require.InDelta(t, 600, c.Step, 0)
	require.Len(t, c.Groups, 2)
	require.Equal(t, "nginx", c.Groups[0].Value)
	require.EqualValues(t, 30, c.Groups[0].Total)
	sum := uint64(0)
	for _, n := range c.Groups[0].Counts {
		sum += n
	}
	require.EqualValues(t, 30, sum)
	for _, query := range []string{"", "?start=-30d", "?start=-1m", "?by=workload&start=-2d&step=1h", "?reason=none"} {
		require.Equal(t, http.StatusOK, get(t, router, h, "/api/events/counts"+query).Code, query)
	}
}

func TestEventsBadQuestions(t *testing.T) {
	router, h := specRouter(t), EventsHandler(eventStore(t), "west")
	for query, want := range map[string]string{
		"/api/events?start=soon":                        "not a time",
		"/api/events?start=-5m&end=-10m":                "not before the end",
		"/api/events?match=(":                           "missing closing",
		"/api/events?match=(a{30}){30}":                 "repeat less",
		"/api/events?limit=0":                           "not a number from 1 to 1000",
		"/api/events?limit=1001":                        "not a number from 1 to 1000",
		"/api/events?after=x":                           "not where a page ended",
		"/api/events?start=%zz":                         "query string",
		"/api/events/counts?by=colour":                  "events have no",
		"/api/events/counts?step=1ms":                   "not a length of time",
		"/api/events/counts?start=-30d&step=1s":         "at most 1000",
		"/api/events?text=" + strings.Repeat("x", 251):  "250",
		"/api/events?" + strings.Repeat("name=x&", 101): "100",
	} {
		r := httptest.NewRequest(http.MethodGet, "/api/events", nil)
		r.URL.RawQuery = query[strings.Index(query, "?")+1:]
		r.URL.Path = query[:strings.Index(query, "?")]
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, http.StatusBadRequest, w.Code, "%s: %s", query, w.Body)
		require.Contains(t, w.Body.String(), want, query)
	}
	require.Equal(t, http.StatusBadRequest, get(t, router, h, "/api/events?start=soon").Code)
}

func TestEventCountsHaveFewGroups(t *testing.T) {
	start := time.Unix(1_700_000_000, 0).Truncate(time.Minute)
	a := eventCounts{End: start.Add(10 * time.Minute)}
	var found []store.EventCount
	for i := range 200 {
		found = append(found, store.EventCount{Start: start.Add(time.Duration(i%10) * time.Minute), Value: fmt.Sprint(i), Count: uint64(i + 1)})
	}
	require.NoError(t, a.fill(found, start, time.Minute))
	require.Len(t, a.Groups, maxGroups)
	total := uint64(0)
	for _, g := range a.Groups {
		require.Len(t, g.Counts, 11)
		sum := uint64(0)
		for _, n := range g.Counts {
			sum += n
		}
		require.Equal(t, g.Total, sum, g.Value)
		total += sum
	}
	require.EqualValues(t, 200*201/2, total, "nothing is lost")
	require.Equal(t, otherGroup, a.Groups[maxGroups-1].Value)
}

// failingEvents is a store that answers with an error.
type failingEvents struct {
	store.Events
	err error
}

func (f failingEvents) Find(context.Context, store.EventQuery) (store.EventPage, error) {
	return store.EventPage{}, f.err
}
func (f failingEvents) Capabilities() store.EventCapabilities {
	return store.EventCapabilities{MaxPage: 10}
}

func TestEventErrors(t *testing.T) {
	router := specRouter(t)
	for err, code := range map[error]int{
		store.ErrTimeout: http.StatusServiceUnavailable, store.ErrTooMuch: http.StatusUnprocessableEntity, errors.New("disk"): http.StatusInternalServerError,
	} {
		require.Equal(t, code, get(t, router, EventsHandler(failingEvents{err: fmt.Errorf("ask: %w", err)}, ""), "/api/events").Code)
	}
}

// Two clusters have units of the same name: an id of the map is one of them.
func TestEventsOfAWorkloadAreOfItsCluster(t *testing.T) {
	s, err := events.Open(columnar.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	now := time.Now()
	for _, cluster := range []string{"", "west", "east"} {
		w := model.Workload{Cluster: cluster, Kind: model.KindUnit, Name: "nginx"}
		require.NoError(t, s.Append(t.Context(), []model.Event{{First: now, Last: now, Type: model.EventWarning, Reason: "Crashed", Message: "in " + cluster, Source: model.SourceKernel, Workload: w}}))
	}
	router, h := specRouter(t), EventsHandler(s, "west")
	of := func(query string) []string {
		var l eventList
		w := get(t, router, h, "/api/events"+query)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &l))
		ids := []string{}
		for _, e := range l.Events {
			ids = append(ids, e.Cluster+" "+*e.Workload)
		}
		slices.Sort(ids)
		return ids
	}
	require.Eventually(t, func() bool { return len(of("")) == 3 }, time.Minute, 20*time.Millisecond)
	require.Equal(t, []string{" /Unit/nginx", "east east:/Unit/nginx", "west /Unit/nginx"}, of(""))
	require.Equal(t, []string{" /Unit/nginx", "west /Unit/nginx"}, of("?workload=/Unit/nginx"))
	require.Equal(t, []string{"east east:/Unit/nginx"}, of("?workload=east:/Unit/nginx"))
	require.Empty(t, of("?workload=north:/Unit/nginx"))
	require.Equal(t, http.StatusBadRequest, get(t, router, h, "/api/events?workload=east:/Unit/nginx&workload=/Unit/nginx").Code)
	require.Equal(t, http.StatusBadRequest, get(t, router, h, "/api/events?workload=nginx").Code)
}
