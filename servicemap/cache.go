package servicemap

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Bounds of the cache. An answer weighs about one for each node and edge, of which each takes 1 to 2 KiB with its JSON.
const (
	maxCachedAnswers = 128
	maxCachedWeight  = 60_000
	maxWaiting       = 256              // viewers that wait for an answer
	maxComputing     = 2                // answers over short ranges computed at once; each asks several queries at once
	maxComputingLong = 1                // answers over long ranges, which must not keep the live map waiting
	longRange        = time.Hour        // longer than this is long
	maxComputeTime   = 30 * time.Second // of one answer
)

// cache shares answers between viewers: equal questions at the same time are computed once, and a short while later too. A computation
// lives as long as somebody waits for it.
type cache struct {
	now     func() time.Time
	log     *slog.Logger
	metrics *metrics
	short   chan struct{} // slots for computations
	long    chan struct{}

	mu      sync.Mutex
	entries map[string]*entry
	waiting int
}

type entry struct {
	done    chan struct{} // closed when value and err are set
	cancel  context.CancelFunc
	waiters int
	value   any
	err     error
	weight  int
	expires time.Time // zero while computing
	used    time.Time
}

func newCache(now func() time.Time, log *slog.Logger, m *metrics) *cache {
	return &cache{now: now, log: log, metrics: m, entries: map[string]*entry{}, short: make(chan struct{}, maxComputing), long: make(chan struct{}, maxComputingLong)}
}

// question is what an answer is known by.
type question struct {
	answer string // for metrics
	key    string // equal questions have equal keys
	ttl    time.Duration
	long   bool
}

// question about a span; detail tells it from others about the same span.
func (s *Service) question(answer string, sp span, detail string) question {
	return question{answer, answer + " " + sp.key() + " " + detail, s.ttl(sp), sp.length() > longRange}
}

// cached returns the answer to q, computing it where no fresh one is there. compute returns the weight of its answer.
func cached[T any](ctx context.Context, c *cache, q question, compute func(context.Context) (T, int, error)) (T, error) {
	var none T
	e, err := c.join(ctx, q.key, func(ctx context.Context, e *entry) {
		c.run(ctx, e, q, func(ctx context.Context) (any, int, error) { return compute(ctx) })
	})
	if err != nil {
		return none, err
	}
	defer c.leave(q.key, e)
	select {
	case <-e.done:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	if e.err != nil {
		return none, e.err
	}
	return e.value.(T), nil
}

// join finds the entry of key, or makes one and starts its computation.
func (c *cache) join(ctx context.Context, key string, start func(context.Context, *entry)) (*entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if e, ok := c.entries[key]; ok && (e.expires.IsZero() || now.Before(e.expires)) {
		e.waiters++
		e.used = now
		c.waiting++
		c.metrics.shared.Inc()
		return e, nil
	}
	if c.waiting >= maxWaiting {
		c.metrics.busy.Inc()
		return nil, fmt.Errorf("%w: %d viewers are waiting; try again in a few seconds", ErrBusy, c.waiting)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxComputeTime)
	e := &entry{done: make(chan struct{}), cancel: cancel, waiters: 1, used: now}
	c.entries[key] = e
	c.waiting++
	go start(ctx, e)
	return e, nil
}

// leave ends the computation when the last who waits goes.
func (c *cache) leave(key string, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.waiters--
	c.waiting--
	if e.waiters == 0 && e.expires.IsZero() {
		e.cancel()
		if c.entries[key] == e {
			delete(c.entries, key)
		}
	}
}

func (c *cache) run(ctx context.Context, e *entry, q question, compute func(context.Context) (any, int, error)) {
	defer e.cancel()
	slots := c.short
	if q.long {
		slots = c.long
	}
	value, weight, took, err := c.compute(ctx, slots, compute)
	result := "ok"
	if err != nil {
		result = "error"
	}
	c.metrics.computed.WithLabelValues(q.answer, result).Inc()
	c.metrics.seconds.WithLabelValues(q.answer).Add(took.Seconds())

	c.mu.Lock()
	defer c.mu.Unlock()
	e.value, e.weight, e.err = value, weight, err
	e.expires = c.now().Add(max(q.ttl, min(4*took, time.Minute))) // what is costly is kept longer
	if err != nil {
		e.expires = c.now()
		if c.entries[q.key] == e {
			delete(c.entries, q.key)
		}
	}
	c.evict()
	close(e.done)
}

// compute waits for its turn. A panic becomes an error, because it would take down more than the viewer who asked.
func (c *cache) compute(ctx context.Context, slots chan struct{}, compute func(context.Context) (any, int, error)) (value any, weight int, took time.Duration, err error) {
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, 0, 0, ctx.Err()
	}
	start := time.Now()
	defer func() {
		took = time.Since(start)
		if r := recover(); r != nil {
			c.log.Error("computing an answer panicked", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("compute service map: %v", r)
		}
	}()
	value, weight, err = compute(ctx)
	return value, weight, took, err
}

// evict drops expired answers, then the longest unused, until the bounds hold. Answers under way stay.
func (c *cache) evict() {
	now, weight := c.now(), 0
	for key, e := range c.entries {
		if !e.expires.IsZero() && !now.Before(e.expires) {
			delete(c.entries, key)
			continue
		}
		weight += e.weight
	}
	for len(c.entries) > maxCachedAnswers || weight > maxCachedWeight {
		oldest := ""
		for key, e := range c.entries {
			if !e.expires.IsZero() && (oldest == "" || e.used.Before(c.entries[oldest].used)) {
				oldest = key
			}
		}
		if oldest == "" {
			return
		}
		weight -= c.entries[oldest].weight
		delete(c.entries, oldest)
	}
}
