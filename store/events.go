package store

import (
	"context"
	"errors"
	"time"

	"github.com/vetch-dev/vetch/model"
)

// What stores of events return, always wrapped.
var (
	ErrBadQuery = errors.New("query cannot be answered")  // the one who asks can mend it
	ErrTooMuch  = errors.New("answer would be too large") // ask for less
	ErrTimeout  = errors.New("query took too long")
)

// Events is a store of events as its writers and readers see it. All methods may be called from several goroutines. Every driver passes the suite in
// store/events.
type Events interface {
	// Append stores events, all or none. When it returns nil they survive the death of the process and of the machine, and are found within a few seconds. An
	// event that happened again is stored with what was added (Event.Count, or what it is more than before under the same Event.ID), and answers add it up.
	// Events that can never be stored (no time, before the retention, far in the future) are left out and counted.
	Append(ctx context.Context, events []model.Event) error

	// Find returns the events of a range, those that happened last first. What happened again is one event, with the count, first and last time of
	// what is in the range, and all else of the last time. Errors: ErrBadQuery, ErrTooMuch, ErrTimeout, or the context's.
	Find(ctx context.Context, q EventQuery) (EventPage, error)

	// Count adds up how often events happened, over stretches of q.Step that begin at whole multiples of it since 1970, by the values of a
	// property (EventProperties). Stretches without events are not there. Errors as of Find.
	Count(ctx context.Context, q EventQuery, by string) ([]EventCount, error)

	// Capabilities says what this driver can do.
	Capabilities() EventCapabilities
}

// EventQuery chooses events: those that happened from Start to End, both included, and have one of the values of each property that is given.
type EventQuery struct {
	Start, End time.Time
	Is         map[string][]string // by property (EventProperties)
	Text       string              // that the message contains, in letters of any case; at most 250 bytes
	Match      string              // regular expression (RE2) that the message matches; at most 1000 bytes
	Limit      int                 // of Find: events of a page, 1 to 1000
	After      string              // of Find: EventPage.Next of the page before
	Step       time.Duration       // of Count: at least a second
}

// The properties that events are chosen and counted by.
const (
	EventCluster   = "cluster"
	EventNamespace = "namespace" // of the object, or of its workload where it has none
	EventKind      = "kind"      // of the object
	EventName      = "name"      // of the object
	EventUID       = "uid"       // of the object
	EventWorkload  = "workload"  // Workload.ID
	EventReason    = "reason"
	EventKindOf    = "type"
	EventSource    = "source"
	EventNode      = "node"
)

// EventProperties lists them.
func EventProperties() []string {
	return []string{EventCluster, EventNamespace, EventKind, EventName, EventUID, EventWorkload, EventReason, EventKindOf, EventSource, EventNode}
}

// EventPage is a part of an answer.
type EventPage struct {
	Events []model.Event
	Next   string // for EventQuery.After; "" after the last page
}

// EventCount is how often events with one value happened in a stretch of time.
type EventCount struct {
	Start time.Time
	Value string
	Count uint64
}

// EventCapabilities are what drivers differ in.
type EventCapabilities struct {
	Driver     string        // "embedded"
	Retention  time.Duration // older events are dropped
	MaxBytes   int64         // over which the oldest are dropped; 0 is no limit
	MaxPage    int           // the highest EventQuery.Limit
	MaxMessage int           // bytes of a message; longer ones are cut
}
