package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	prommodel "github.com/prometheus/common/model"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/servicemap"
	"github.com/vetch-dev/vetch/store"
)

// The bounds and defaults of what is asked of events.
const (
	defaultEventRange = time.Hour
	defaultEventLimit = 100
	wantedStretches   = 60   // of a count whose step is not given
	maxStretches      = 1000 // of a count
	maxGroups         = 50   // of a count; the rest is "~other"
	otherGroup        = "~other"
)

// EventsHandler serves /api/events and /api/events/counts, as described in openapi.yaml. Ids of workloads are those of the map: home is the cluster whose
// workloads have ids without it.
func EventsHandler(s store.Events, home string) http.Handler {
	h := eventHandlers{s, home}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/events", h.answer(h.list))
	mux.HandleFunc("GET /api/events/counts", h.answer(h.counts))
	return mux
}

type eventHandlers struct {
	store store.Events
	home  string
}

// event is the Event of openapi.yaml.
type event struct {
	First    time.Time         `json:"first"`
	Last     time.Time         `json:"last"`
	Count    uint64            `json:"count"`
	Type     model.EventType   `json:"type"`
	Reason   string            `json:"reason"`
	Message  string            `json:"message"`
	Source   string            `json:"source"`
	Object   model.Object      `json:"object"`
	Workload *string           `json:"workload"`
	Cluster  string            `json:"cluster"`
	Node     string            `json:"node"`
	Fields   map[string]string `json:"fields"`
}

type eventList struct {
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Events []event   `json:"events"`
	Next   *string   `json:"next"`
}

type eventGroup struct {
	Value  string   `json:"value"`
	Total  uint64   `json:"total"`
	Counts []uint64 `json:"counts"`
}

type eventCounts struct {
	Start  time.Time    `json:"start"`
	End    time.Time    `json:"end"`
	Step   float64      `json:"step"` // seconds
	By     string       `json:"by"`
	Groups []eventGroup `json:"groups"`
}

// answer reads the query, asks, and writes the answer or the error.
func (h eventHandlers) answer(ask func(context.Context, url.Values, store.EventQuery) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			writeEventError(w, r, badParameter("query string", err.Error()))
			return
		}
		q, err := eventQuery(values, time.Now())
		if err == nil {
			err = h.takeWorkloads(q.Is)
		}
		if err != nil {
			writeEventError(w, r, err)
			return
		}
		a, err := ask(r.Context(), values, q)
		if err != nil {
			writeEventError(w, r, err)
			return
		}
		body, err := json.Marshal(a)
		if err != nil {
			writeEventError(w, r, fmt.Errorf("encode events: %w", err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(body) // a viewer who has gone is nobody's error
	}
}

func (h eventHandlers) list(ctx context.Context, v url.Values, q store.EventQuery) (any, error) {
	q.Limit, q.After = defaultEventLimit, v.Get("after")
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if maximum := h.store.Capabilities().MaxPage; err != nil || n < 1 || n > maximum {
			return nil, badParameter("limit", fmt.Sprintf("%.20q is not a number from 1 to %d", text, maximum))
		}
		q.Limit = n
	}
	page, err := h.store.Find(ctx, q)
	if err != nil {
		return nil, err
	}
	answer := eventList{Start: q.Start.UTC(), End: q.End.UTC(), Events: make([]event, len(page.Events))}
	for i := range page.Events {
		answer.Events[i] = eventOf(&page.Events[i], h.home)
	}
	if page.Next != "" {
		answer.Next = &page.Next
	}
	return answer, nil
}

func eventOf(e *model.Event, home string) event {
	out := event{
		First: e.First.UTC(), Last: e.Last.UTC(), Count: e.Count, Type: e.Type, Reason: e.Reason, Message: e.Message, Source: e.Source,
		Object: e.Object, Cluster: e.Workload.Cluster, Node: e.Node, Fields: e.Fields,
	}
	if e.Workload.Name != "" {
		w := e.Workload
		if w.Cluster == home {
			w.Cluster = ""
		}
		id := w.QualifiedID()
		out.Workload = &id
	}
	if out.Fields == nil {
		out.Fields = map[string]string{}
	}
	return out
}

func (h eventHandlers) counts(ctx context.Context, v url.Values, q store.EventQuery) (any, error) {
	by := cmp.Or(v.Get("by"), store.EventReason)
	var err error
	if q.Step, err = stepOf(v.Get("step"), q.End.Sub(q.Start)); err != nil {
		return nil, err
	}
	found, err := h.store.Count(ctx, q, by)
	if err != nil {
		return nil, err
	}
	start := q.Start.Truncate(q.Step)
	answer := eventCounts{Start: start.UTC(), End: q.End.UTC(), Step: q.Step.Seconds(), By: by, Groups: []eventGroup{}}
	return answer, answer.fill(found, start, q.Step)
}

// fill puts the sums into groups, the heaviest first, all with as many stretches.
func (a *eventCounts) fill(found []store.EventCount, start time.Time, step time.Duration) error {
	totals := map[string]uint64{}
	for _, c := range found {
		totals[c.Value] += c.Count
	}
	for value, total := range totals {
		a.Groups = append(a.Groups, eventGroup{Value: value, Total: total})
	}
	slices.SortFunc(a.Groups, func(x, y eventGroup) int { return cmp.Or(cmp.Compare(y.Total, x.Total), cmp.Compare(x.Value, y.Value)) })
	if len(a.Groups) > maxGroups {
		other := eventGroup{Value: otherGroup}
		for _, g := range a.Groups[maxGroups-1:] {
			other.Total += g.Total
		}
		a.Groups = append(a.Groups[:maxGroups-1], other)
	}
	n := int(a.End.Sub(start)/step) + 1
	place := map[string]int{}
	for i := range a.Groups {
		a.Groups[i].Counts = make([]uint64, n)
		place[a.Groups[i].Value] = i
	}
	for _, c := range found {
		i, ok := place[c.Value]
		if !ok {
			i = len(a.Groups) - 1
		}
		at := int(c.Start.Sub(start) / step)
		if at < 0 || at >= n {
			return fmt.Errorf("count events: %s is outside of the range", c.Start)
		}
		a.Groups[i].Counts[at] += c.Count
	}
	return nil
}

// eventQuery reads the time range and what events are chosen by.
func eventQuery(v url.Values, now time.Time) (q store.EventQuery, err error) {
	q.End, q.Start = now, now.Add(-defaultEventRange)
	if text := v.Get("end"); text != "" {
		if q.End, err = parseTime("end", text, now); err != nil {
			return q, err
		}
		q.Start = q.End.Add(-defaultEventRange)
	}
	if text := v.Get("start"); text != "" {
		if q.Start, err = parseTime("start", text, now); err != nil {
			return q, err
		}
	}
	if !q.Start.Before(q.End) {
		return q, badParameter("start", "is not before the end")
	}
	q.Is = map[string][]string{}
	for _, property := range store.EventProperties() {
		if values := v[property]; len(values) > 0 {
			q.Is[property] = values
		}
	}
	q.Text, q.Match = v.Get("text"), v.Get("match")
	return q, nil
}

// takeWorkloads turns ids of the map into what the store knows: an id within its cluster, and the cluster.
func (h eventHandlers) takeWorkloads(is map[string][]string) error {
	clusters := map[string]bool{}
	for i, id := range is[store.EventWorkload] {
		w, ok := model.ParseID(id)
		if !ok {
			return badParameter(store.EventWorkload, fmt.Sprintf("%.100q is not of the form namespace/kind/name", id))
		}
		clusters[cmp.Or(w.Cluster, h.home)] = true
		is[store.EventWorkload][i] = w.ID()
	}
	if len(clusters) > 1 {
		return badParameter(store.EventWorkload, "the workloads are of several clusters; ask for each by itself")
	}
	if len(clusters) == 0 || len(is[store.EventCluster]) > 0 {
		return nil
	}
	for c := range clusters {
		is[store.EventCluster] = []string{c}
		if c == h.home && c != "" {
			is[store.EventCluster] = []string{c, ""} // what was stored without a cluster is of this one
		}
	}
	return nil
}

// stepOf reads the length of a stretch, or takes one that makes about sixty of the range.
func stepOf(text string, length time.Duration) (time.Duration, error) {
	if text == "" {
		step := time.Second
		for _, next := range []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
			if length/step <= wantedStretches {
				break
			}
			step = next
		}
		return max(step, (length/maxStretches).Truncate(time.Second)+time.Second), nil
	}
	d, err := prommodel.ParseDuration(text)
	if step := time.Duration(d); len(text) <= maxTimeText && err == nil && step >= time.Second && length/step < maxStretches {
		return step, nil
	}
	return 0, badParameter("step", fmt.Sprintf("%.20q is not a length of time such as 5m, of which the range has at most %d", text, maxStretches))
}

// writeEventError turns an error into a status code and a sentence. Nothing is written to a viewer who has gone.
func writeEventError(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case errors.Is(err, store.ErrBadQuery), errors.Is(err, servicemap.ErrBadQuery):
		writeError(w, http.StatusBadRequest, "bad_data", err.Error())
	case errors.Is(err, store.ErrTooMuch):
		writeError(w, http.StatusUnprocessableEntity, "execution", "the range holds more than one query may read; choose a shorter one: "+err.Error())
	case errors.Is(err, store.ErrTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		w.Header().Set("Retry-After", "5")
		writeError(w, http.StatusServiceUnavailable, "timeout", "the store did not answer in time; choose a shorter range or try again")
	default:
		writeError(w, http.StatusInternalServerError, "internal", err.Error())
	}
}
