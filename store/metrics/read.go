package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/prometheus/storage"
)

// Querier reads the samples from mint to maxt, in Unix milliseconds, both included. The caller closes it.
func (db *DB) Querier(mint, maxt int64) (storage.Querier, error) {
	if !db.readers.enter() {
		return nil, errClosed
	}
	q, err := db.tsdb.Querier(mint, maxt)
	if err != nil {
		db.readers.leave()
		return nil, err
	}
	return &querier{Querier: q, leave: sync.OnceFunc(db.readers.leave)}, nil
}

// ExemplarQuerier reads exemplars.
func (db *DB) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	if db.closed.Load() {
		return nil, errClosed
	}
	return db.tsdb.ExemplarQuerier(ctx)
}

type querier struct {
	storage.Querier
	leave func()
}

// Close implements storage.Querier.
func (q *querier) Close() error {
	defer q.leave()
	return q.Querier.Close()
}

// readers counts the open queriers: they read mapped files, and a mapping that is taken away under a reader ends the process.
type readers struct {
	mu    sync.Mutex
	open  int
	ended chan struct{} // not nil once no more may enter; closed when the last has left
}

func (r *readers) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended != nil {
		return false
	}
	r.open++
	return true
}

func (r *readers) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	if r.open == 0 && r.ended != nil {
		close(r.ended)
	}
}

// end lets nobody in and waits for those who are. It reports whether all have left in time.
func (r *readers) end(timeout time.Duration) bool {
	r.mu.Lock()
	r.ended = make(chan struct{})
	if r.open == 0 {
		close(r.ended)
	}
	r.mu.Unlock()
	select {
	case <-r.ended:
		return true
	case <-time.After(timeout):
		return false
	}
}
