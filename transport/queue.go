package transport

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/vetch-dev/vetch/transport/spool"
)

// queued is a batch that waits to be sent.
type queued struct {
	*spool.Batch
	onDisk bool
	id     spool.ID
}

// queue is a first-in first-out of batches: in memory while the receiver takes them, on disk as soon as it does not. What is on disk is always
// older than what is in memory.
type queue struct {
	log     *slog.Logger
	metrics *sendMetrics
	what    string        // waits here, for the log
	limit   int64         // bytes in memory
	filled  chan struct{} // has an element when there is something new

	mu      sync.Mutex
	spool   *spool.Spool // nil: memory only
	memory  []*queued
	bytes   int64 // in memory
	behind  bool  // the receiver did not take the last batch
	closed  bool
	trouble bool // the spool took no batch, which was logged
}

func newQueue(log *slog.Logger, m *sendMetrics, what string, limit int64) *queue {
	return &queue{log: log, metrics: m, what: what, limit: limit, filled: make(chan struct{}, 1)}
}

// put adds the newest batch. Over the bound of the memory the oldest in it is dropped.
func (q *queue) put(b *spool.Batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.metrics.drop("stopped", b.Count())
		return
	}
	q.memory = append(q.memory, &queued{Batch: b})
	q.bytes += b.Size()
	// A quarter of the memory: the receiver is slow, or does not answer.
	if q.behind || q.bytes > q.limit/4 || (q.spool != nil && !q.spool.Empty()) {
		q.spill()
	}
	for q.bytes > q.limit {
		q.metrics.drop("memory_full", q.memory[0].Count())
		q.forget()
	}
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

// spill moves what is in memory to the disk, as far as that takes it.
func (q *queue) spill() {
	if q.spool == nil {
		return
	}
	for len(q.memory) > 0 {
		b := q.memory[0]
		if err := q.spool.Append(b.Batch); err != nil {
			q.fail(err)
			return
		}
		b.onDisk, b.id = true, q.spool.LastID()
		q.forget()
	}
	if q.trouble {
		q.trouble = false
		q.log.Info("the spool takes batches again", "of", q.what)
	}
}

func (q *queue) fail(err error) {
	reason := "io"
	if errors.Is(err, spool.ErrDiskFull) {
		reason = "disk_full"
	}
	q.metrics.spoolFailures.WithLabelValues(reason).Inc()
	if !q.trouble {
		q.trouble = true
		q.log.Error("the spool takes nothing; batches wait in memory, and the oldest are dropped when that is full", "of", q.what, "err", err)
	}
}

// forget takes the first batch off the memory.
func (q *queue) forget() {
	q.bytes -= q.memory[0].Size()
	q.memory[0] = nil
	q.memory = q.memory[1:]
}

// oldest is the batch that is first in turn, or nil. An error is the disk's: what comes next is not known then.
func (q *queue) oldest() (*queued, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.spool != nil {
		b, id, ok, err := q.spool.Oldest()
		if err != nil {
			q.metrics.spoolFailures.WithLabelValues("io").Inc()
			return nil, err
		}
		if ok {
			return &queued{Batch: &b, onDisk: true, id: id}, nil
		}
	}
	if len(q.memory) > 0 {
		return q.memory[0], nil
	}
	return nil, nil
}

// done takes a batch out that oldest has given. It may have moved to the disk, or been dropped, since.
func (q *queue) done(b *queued) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.behind = false
	if b.onDisk {
		return q.spool.Done(b.id)
	}
	if len(q.memory) > 0 && q.memory[0] == b {
		q.forget()
	}
	return nil
}

// delay says that the receiver does not take batches now, so that what waits is safer on the disk.
func (q *queue) delay() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.behind = true
	q.spill()
}

// late reports whether there is more to be sent than a few last batches.
func (q *queue) late() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.behind || (q.spool != nil && !q.spool.Empty())
}

// close writes what is left to the disk. What it does not take is lost, and counted.
func (q *queue) close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	q.spill()
	for len(q.memory) > 0 {
		q.metrics.drop("stopped", q.memory[0].Count())
		q.forget()
	}
	if q.spool == nil {
		return nil
	}
	return q.spool.Close()
}

// queueSize is what the metrics show.
type queueSize struct {
	memory, disk int64
	lag          time.Duration // of the oldest sample that is not sent
}

func (q *queue) size(now time.Time) (s queueSize) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.memory = q.bytes
	oldest := int64(0)
	if q.spool != nil && !q.closed {
		s.disk, oldest = q.spool.Bytes(), q.spool.OldestTime()
	}
	if oldest == 0 && len(q.memory) > 0 {
		oldest = q.memory[0].Time
	}
	if oldest != 0 {
		s.lag = max(now.Sub(time.UnixMilli(oldest)), 0)
	}
	return s
}
