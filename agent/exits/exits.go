// Package exits makes events of the processes that ended by a fault, for want of memory, or as the first of a container and not with 0.
package exits

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

// The bounds. A storm of exits of one program is one event with a count; these are for storms of different ones.
const (
	maxPending  = 4096        // exits that wait for the next reading of the kernel's maps
	maxASecond  = 30          // events that begin to be stored, on average
	maxBurst    = 300         // at once
	maxQueue    = 1000        // events that wait to be stored
	maxLately   = 1024        // processes that are known to have ended
	firstRetry  = time.Second // after an error of the store
	lastRetry   = time.Minute
	storeTime   = 10 * time.Second
	closingTime = 2 * time.Second
)

// Options say where events go. Store is needed.
type Options struct {
	Log        *slog.Logger
	Node       string                                     // this machine
	Store      func(context.Context, []model.Event) error // stores all or none
	Registerer prometheus.Registerer                      // nil: not exported
	Ended      func(process.Identity, probe.Exit)         // hears of each whose owner is known; nil: nobody does
	Oldest     func() map[string]time.Duration            // when the oldest process that lives began, by Identity.Run and as Exit.Started; nil: not known
	Now        func() time.Time                           // nil: time.Now
}

// Watcher turns exits into events. Take and Name may be called from two goroutines, and Run runs on a third.
type Watcher struct {
	opts    Options
	seen    *prometheus.CounterVec
	dropped *prometheus.CounterVec

	mu      sync.Mutex
	pending []taken
	lately  map[processID]struct{}
	order   []processID // of lately, oldest first
	tokens  float64
	refill  time.Time
	queue   []model.Event
	wake    chan struct{}
}

// taken is an exit that has no name yet.
type taken struct {
	probe.Exit
	at     time.Time
	waited bool // for its owner, which came after those of its snapshot
}

type processID struct {
	pid     uint32
	started time.Duration
}

// New makes a watcher.
func New(o Options) (*Watcher, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Watcher{
		opts: o, lately: map[processID]struct{}{}, tokens: maxBurst, refill: o.Now(), wake: make(chan struct{}, 1),
		seen:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vetch_exits_total", Help: "Processes that ended so that an event tells of it, by its reason."}, []string{"reason"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vetch_exits_dropped_total", Help: "Ends of processes that no event tells of, by the limit that was met."}, []string{"reason"}),
	}
	for _, reason := range []string{reasonNoMemory, reasonCrashed, reasonExited} {
		w.seen.WithLabelValues(reason)
	}
	for _, reason := range []string{"pending", "rate", "queue", "closing", "sandbox"} {
		w.dropped.WithLabelValues(reason)
	}
	if o.Registerer != nil {
		for _, c := range []prometheus.Collector{w.seen, w.dropped} {
			if err := o.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("register the metrics of exits: %w", err)
			}
		}
	}
	return w, nil
}

// Take is given each exit as it comes. The last two threads of a process may both seem to be the last.
func (w *Watcher) Take(e probe.Exit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := processID{e.PID, e.Started}
	if _, twice := w.lately[id]; twice {
		return
	}
	if len(w.order) >= maxLately {
		delete(w.lately, w.order[0])
		w.order = w.order[1:]
	}
	w.lately[id] = struct{}{}
	w.order = append(w.order, id)
	if len(w.pending) >= maxPending {
		w.dropped.WithLabelValues("pending").Inc()
		return
	}
	w.pending = append(w.pending, taken{Exit: e, at: w.opts.Now()})
}

// Owners calls add with the owners of the exits that wait for a name, so that they are in the snapshot that is applied before Name.
func (w *Watcher) Owners(add func(probe.OwnerID)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.pending {
		add(t.Owner)
	}
}

// Name makes events of the exits that wait; identity says who an owner is. Those that are alike become one.
func (w *Watcher) Name(identity func(probe.OwnerID) (process.Identity, bool)) {
	pending, mains := w.takePending(identity)
	if len(pending) == 0 {
		return
	}
	merged := map[likeness]int{}
	var events []model.Event
	for _, t := range pending {
		who, _ := identity(t.Owner)
		if isSandbox(t, who) {
			w.dropped.WithLabelValues("sandbox").Inc()
			continue
		}
		t.First = t.First && mains.has(t, who)
		e := eventOf(t, who, w.opts.Node)
		w.seen.WithLabelValues(e.Reason).Inc()
		if who.ContainerID != "" && w.opts.Ended != nil {
			w.opts.Ended(who, t.Exit)
		}
		like := likeness{e.ID, e.Reason, e.Message, e.Object, e.Workload}
		if i, ok := merged[like]; ok {
			events[i].Count++
			events[i].Last = t.at
			events[i].Fields = e.Fields
			continue
		}
		merged[like] = len(events)
		events = append(events, e)
	}
	w.enqueue(events)
}

// isSandbox tells the end of what holds a pod's namespaces: it is ended with the pod, and nothing has crashed.
func isSandbox(t taken, who process.Identity) bool { return who.Sandbox && t.First && !t.NoMemory }

// likeness is what events have in common that are one with a count.
type likeness struct {
	id, reason, message string
	object              model.Object
	workload            model.Workload
}

// enqueue takes the events that the rate allows.
func (w *Watcher) enqueue(events []model.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.opts.Now()
	w.tokens = min(maxBurst, w.tokens+max(0, now.Sub(w.refill).Seconds())*maxASecond)
	w.refill = now
	for _, e := range events {
		switch {
		case w.tokens < 1:
			w.dropped.WithLabelValues("rate").Add(float64(e.Count))
		case len(w.queue) >= maxQueue:
			w.dropped.WithLabelValues("queue").Add(float64(e.Count))
		default:
			w.tokens--
			w.queue = append(w.queue, e)
		}
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run stores what is queued until ctx ends, and then what is left. While the store refuses, events wait.
func (w *Watcher) Run(ctx context.Context) error {
	retry := firstRetry
	for {
		select {
		case <-ctx.Done():
			w.flush()
			return nil
		case <-w.wake:
		}
		for w.store(ctx) != nil && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(retry):
			}
			retry = min(2*retry, lastRetry)
		}
		retry = firstRetry
	}
}

// store gives the store what is queued.
func (w *Watcher) store(ctx context.Context) error {
	w.mu.Lock()
	events := w.queue
	w.mu.Unlock()
	if len(events) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if err := w.opts.Store(ctx, events); err != nil {
		w.opts.Log.Warn("store events", "events", len(events), "err", err)
		return err
	}
	w.mu.Lock()
	w.queue = append([]model.Event(nil), w.queue[len(events):]...)
	w.mu.Unlock()
	return nil
}

// flush stores what is left at the end, or counts it as lost.
func (w *Watcher) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	if w.store(ctx) == nil {
		return
	}
	for _, e := range w.queue {
		w.dropped.WithLabelValues("closing").Add(float64(e.Count))
	}
}
