package servicemap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds and pace of the live streams.
const (
	maxReaders      = 256
	maxMissed       = 15 // updates in a row that a reader may leave unread before its stream ends
	updateInterval  = 2 * time.Second
	computeShare    = 10 // a stream spends at most this fraction (1/n) of the time computing
	saveInterval    = time.Minute
	dropSlow        = "slow"
	dropLimit       = "limit"
	bodyStartMarker = `"nodes":`
)

// fanout hands maps to readers: one goroutine for each distinct question, however many readers it has.
type fanout struct {
	mu      sync.Mutex
	ctx     context.Context // of Run; nil while it does not run
	wg      sync.WaitGroup
	topics  map[topicKey]*topic
	readers int
}

type topicKey struct {
	length    time.Duration
	namespace string
}

// topic is one question with its readers. fanout.mu guards it.
type topic struct {
	key     topicKey
	cancel  context.CancelFunc
	readers map[*Subscription]bool
	latest  []byte // the last map sent, in JSON
}

// Subscription is one reader of a live map.
type Subscription struct {
	// Updates gives maps as JSON, the newest only: what a reader leaves too long is replaced. The bytes are shared and must not be changed.
	// It is closed when the service stops or the reader is too slow.
	Updates <-chan []byte

	updates chan []byte
	missed  int
	close   func()
}

// Close ends the subscription. It may be called twice.
func (s *Subscription) Close() { s.close() }

func newFanout() *fanout { return &fanout{topics: map[topicKey]*topic{}} }

// Run drives the subscriptions and saves positions until ctx ends; then it ends all streams and saves once more.
func (s *Service) Run(ctx context.Context) error {
	h := s.fanout
	h.mu.Lock()
	if h.ctx != nil {
		h.mu.Unlock()
		return errors.New("run service map: it runs already")
	}
	h.ctx = ctx
	h.mu.Unlock()
	ticker := time.NewTicker(saveInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.positions.save(); err != nil {
				s.log.Warn("map positions were not saved", "error", err)
			}
		case <-ctx.Done():
			s.stopStreams()
			return s.positions.save()
		}
	}
}

func (s *Service) stopStreams() {
	h := s.fanout
	h.mu.Lock()
	h.ctx = nil
	for _, t := range h.topics {
		for r := range t.readers {
			s.remove(t, r)
		}
	}
	h.mu.Unlock()
	h.wg.Wait()
}

// Subscribe follows the map of the last q.Range (default a minute) in q.Namespace. The first update comes at once, later ones after a
// change and at most every 2 s. Errors: ErrBadQuery, ErrBusy at the limit of readers, ErrNotRunning.
func (s *Service) Subscribe(q Query) (*Subscription, error) {
	sp, err := s.spanOf(Query{Range: q.Range}, DefaultMapRange)
	if err != nil {
		return nil, err
	}
	h := s.fanout
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx == nil || h.ctx.Err() != nil {
		return nil, ErrNotRunning
	}
	if h.readers >= maxReaders {
		s.metrics.dropped.WithLabelValues(dropLimit).Inc()
		return nil, fmt.Errorf("%w: %d live maps are open already; close one", ErrBusy, h.readers)
	}
	t := s.topic(topicKey{sp.length(), q.Namespace})
	updates := make(chan []byte, 1)
	sub := &Subscription{Updates: updates, updates: updates}
	sub.close = func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		s.remove(t, sub)
	}
	t.readers[sub] = true
	h.readers++
	s.metrics.subscribers.Set(float64(h.readers))
	if t.latest != nil {
		updates <- t.latest
	}
	return sub, nil
}

// topic finds or starts a topic. The caller holds fanout.mu.
func (s *Service) topic(key topicKey) *topic {
	t := s.fanout.topics[key]
	if t == nil {
		ctx, cancel := context.WithCancel(s.fanout.ctx)
		t = &topic{key: key, cancel: cancel, readers: map[*Subscription]bool{}}
		s.fanout.topics[key] = t
		s.fanout.wg.Go(func() { s.drive(ctx, t) })
	}
	return t
}

// remove ends one reader, and the topic with its last. The caller holds fanout.mu.
func (s *Service) remove(t *topic, r *Subscription) {
	if !t.readers[r] {
		return
	}
	delete(t.readers, r)
	close(r.updates)
	s.fanout.readers--
	s.metrics.subscribers.Set(float64(s.fanout.readers))
	if len(t.readers) == 0 {
		t.cancel()
		delete(s.fanout.topics, t.key)
	}
}

// drive computes the map of a topic again and again, and sends what has changed.
func (s *Service) drive(ctx context.Context, t *topic) {
	failing := false
	for {
		started := time.Now()
		m, err := s.Map(ctx, Query{Range: t.key.length, Namespace: t.key.namespace})
		var data []byte
		if err == nil {
			data, err = m.JSON()
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			s.log.Warn("live map cannot be computed", "range", t.key.length, "error", err)
		case err == nil:
			s.send(t, data)
		}
		failing = err != nil
		pause := time.NewTimer(max(updateInterval, computeShare*time.Since(started)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}

// send hands data to all readers unless nothing but the time has changed.
func (s *Service) send(t *topic, data []byte) {
	s.fanout.mu.Lock()
	defer s.fanout.mu.Unlock()
	if t.latest != nil && bytes.Equal(body(t.latest), body(data)) {
		return
	}
	t.latest = data
	for r := range t.readers {
		select {
		case r.updates <- data:
			r.missed = 0
			continue
		default:
		}
		select { // replace what was not read
		case <-r.updates:
			s.metrics.skipped.Inc()
			r.missed++
		default:
			r.missed = 0
		}
		r.updates <- data // there is room: only this goroutine sends
		if r.missed > maxMissed {
			s.metrics.dropped.WithLabelValues(dropSlow).Inc()
			s.remove(t, r)
		}
	}
}

// body is the map without its times, which come first.
func body(data []byte) []byte {
	if i := bytes.Index(data, []byte(bodyStartMarker)); i >= 0 {
		return data[i:]
	}
	return data
}
