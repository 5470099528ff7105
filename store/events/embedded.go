// Package events keeps events: crashes, OOM kills, what Kubernetes tells. Its driver for one machine is the columnar engine.
package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/store/columnar"
)

const (
	maxPage  = 1000
	maxAsked = 500            // IDs that one query looks for
	maxLater = 24 * time.Hour // by which First of what is told again may be later than before
)

// Embedded is the driver on store/columnar.
//
// The engine only appends. So each time that an event happens again is a record of its own, with the number that it adds, and all records of
// one event have the same key; answers merge them. See docs/decisions/0009-events-are-merged-at-read.md.
type Embedded struct {
	db      *columnar.DB
	opts    columnar.Options
	dropped *prometheus.CounterVec

	mu     sync.Mutex // of the one who appends what has an ID
	totals *recent[uint64]
	ends   *recent[end]
}

var _ store.Events = (*Embedded)(nil)

// Open opens the store in o.Dir; o.Name is set here. Errors as of columnar.Open.
func Open(o columnar.Options) (*Embedded, error) { return OpenContext(context.Background(), o) }

// OpenContext is Open that ends with an error when the context ends before. The store does not keep the context.
func OpenContext(ctx context.Context, o columnar.Options) (*Embedded, error) {
	o.Name = "events"
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	db, err := columnar.OpenContext(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("open events: %w", err)
	}
	e := &Embedded{db: db, opts: o, totals: newRecent[uint64](), ends: newRecent[end](), dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vetch_events_not_stored_total", Help: "Events that were not stored as records of their own, by reason; known: the store had them already.",
	}, []string{"reason"})}
	for _, reason := range []string{"known", "no_time"} {
		e.dropped.WithLabelValues(reason)
	}
	if err := o.Registerer.Register(e.dropped); err != nil {
		return nil, errors.Join(fmt.Errorf("register the metrics of events: %w", err), db.Close())
	}
	return e, nil
}

// Close writes what is to be written and lets go of the directory.
func (e *Embedded) Close() error {
	e.opts.Registerer.Unregister(e.dropped)
	return e.db.Close()
}

// Capabilities implements store.Events.
func (e *Embedded) Capabilities() store.EventCapabilities {
	return store.EventCapabilities{
		Driver: "embedded", Retention: e.opts.RetentionAge, MaxBytes: e.opts.RetentionBytes, MaxPage: maxPage, MaxMessage: maxMessage,
	}
}

// Append implements store.Events.
func (e *Embedded) Append(ctx context.Context, events []model.Event) error {
	timed := make([]model.Event, 0, len(events))
	for i := range events {
		if event := clean(events[i]); event.Last.IsZero() {
			e.dropped.WithLabelValues("no_time").Inc()
		} else {
			timed = append(timed, event)
		}
	}
	var known appending
	if ids := idsOf(timed); len(ids) > 0 {
		// What is known is looked up and moved on in one step with what is stored, or the same difference could be stored twice.
		e.mu.Lock()
		defer e.mu.Unlock()
		var err error
		if known, err = e.known(ctx, timed, ids); err != nil {
			return err
		}
	}
	records := make([]columnar.Record, 0, len(timed))
	for i := range timed {
		if r, ok := known.record(&timed[i]); ok {
			records = append(records, r)
		} else {
			e.dropped.WithLabelValues("known").Inc()
		}
	}
	if len(records) > 0 {
		err := e.db.Append(ctx, records)
		var rejected *columnar.RejectedError
		if err != nil && !errors.As(err, &rejected) {
			return fmt.Errorf("store events: %w", err)
		}
	}
	for id, total := range known.totals {
		e.totals.put(id, total)
	}
	for id, end := range known.ends {
		e.ends.put(id, end)
	}
	return nil
}

// appending is what is known of the events that are being stored, by ID, and what becomes of that.
type appending struct {
	totals map[string]uint64 // how often they are in the store
	ends   map[string]end
}

// record gives what is to be stored of an event; false if the store has it.
func (a *appending) record(event *model.Event) (r columnar.Record, ok bool) {
	switch {
	case event.ID == "":
	case model.IsContainerEnd(event.ID):
		return a.recordOfEnd(*event)
	default:
		if ok = a.add(event); !ok {
			return r, false
		}
	}
	return encode(event, keyOf(event)), true
}

// add leaves of an event with an ID what it adds to what is in the store; false if that is nothing.
func (a *appending) add(event *model.Event) bool {
	before := a.totals[event.ID]
	if event.Count <= before {
		return false
	}
	a.totals[event.ID] = event.Count
	event.Count -= before
	return true
}

// idsOf lists the IDs of events, and those that they may be stored with instead, each once.
func idsOf(events []model.Event) []string {
	var ids []string
	seen := map[string]bool{"": true}
	for i := range events {
		for _, id := range []string{events[i].ID, processID(&events[i])} {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// known looks up what the store has of events.
func (e *Embedded) known(ctx context.Context, events []model.Event, ids []string) (appending, error) {
	known := appending{totals: make(map[string]uint64, len(ids)), ends: make(map[string]end)}
	var unknown []string
	for _, id := range ids {
		total, ok := e.totals.get(id)
		last, isEnd := e.ends.get(id)
		if isEnd {
			known.ends[id] = last
		}
		if ok && (isEnd || !model.IsContainerEnd(id)) {
			known.totals[id] = total
		} else {
			unknown = append(unknown, id)
		}
	}
	r := columnar.Range{Start: time.Now(), End: time.Now()}
	for i := range events {
		if first := events[i].First; first.Before(r.Start) {
			r.Start = first
		}
		if last := events[i].Last; last.After(r.End) {
			r.End = last
		}
	}
	r.Start = r.Start.Add(-maxLater)
	if oldest := time.Now().Add(-e.lookback()); r.Start.Before(oldest) {
		r.Start = oldest
	}
	for some := range slices.Chunk(unknown, maxAsked) {
		r.Filter = columnar.Is(fieldID, some...)
		found, err := e.db.Merged(ctx, r, columnar.Merge{Key: fieldID, Count: fieldCount, Once: fieldEnd, First: fieldFirst, Last: fieldLast}, len(some), columnar.MergedPosition{})
		if err != nil {
			return known, translate(err)
		}
		for i := range found {
			id := found[i].Row.Fields[fieldID]
			known.totals[id] = found[i].Count
			if model.IsContainerEnd(id) {
				known.ends[id] = end{decode(&found[i]), found[i].Row.Fields[fieldKey]}
			}
		}
	}
	return known, nil
}

func (e *Embedded) lookback() time.Duration { return max(e.opts.RetentionAge, 24*time.Hour) }

var merge = columnar.Merge{Key: fieldKey, Count: fieldCount, Once: fieldEnd, First: fieldFirst, Last: fieldLast}

// Find implements store.Events.
func (e *Embedded) Find(ctx context.Context, q store.EventQuery) (store.EventPage, error) {
	if q.Limit < 1 || q.Limit > maxPage {
		return store.EventPage{}, fmt.Errorf("%w: a page of %d events, not 1 to %d", store.ErrBadQuery, q.Limit, maxPage)
	}
	r, err := rangeOf(q)
	if err != nil {
		return store.EventPage{}, err
	}
	after, err := parseCursor(q.After)
	if err != nil {
		return store.EventPage{}, err
	}
	found, err := e.db.Merged(ctx, r, merge, q.Limit, after)
	if err != nil {
		return store.EventPage{}, translate(err)
	}
	page := store.EventPage{Events: make([]model.Event, len(found))}
	for i := range found {
		page.Events[i] = decode(&found[i])
	}
	if n := len(found); n == q.Limit {
		page.Next = cursor(columnar.MergedPosition{Last: found[n-1].Last, Number: found[n-1].Number})
	}
	return page, nil
}

// Count implements store.Events.
func (e *Embedded) Count(ctx context.Context, q store.EventQuery, by string) ([]store.EventCount, error) {
	if q.Step < time.Second {
		return nil, fmt.Errorf("%w: a step of %s, less than a second", store.ErrBadQuery, q.Step)
	}
	r, err := rangeOf(q)
	if err != nil {
		return nil, err
	}
	if err := checkProperty(by); err != nil {
		return nil, err
	}
	groups, err := e.db.Sum(ctx, r, fieldCount, fieldEnd, q.Step, by)
	if err != nil {
		return nil, translate(err)
	}
	counts := make([]store.EventCount, 0, len(groups))
	for _, g := range groups {
		if g.Sum > 0 { // else all in it are ends, the newest records of which are in others
			counts = append(counts, store.EventCount{Start: g.Start, Value: g.Values[0], Count: g.Sum})
		}
	}
	return counts, nil
}

// translate gives the engine's errors the names that all drivers have.
func translate(err error) error {
	for of, to := range map[error]error{columnar.ErrInvalid: store.ErrBadQuery, columnar.ErrTooLarge: store.ErrTooMuch, columnar.ErrTimeout: store.ErrTimeout} {
		if errors.Is(err, of) {
			return fmt.Errorf("%w: %w", to, err)
		}
	}
	return err
}
