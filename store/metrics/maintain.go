package metrics

import (
	"context"
	"time"
)

const maxBackoff = 30 * time.Minute

// maintain maps full head chunks, writes blocks, merges them and drops what is past its retention. The database has a loop of its own for that, but
// it does not look at the free space, and a head chunk that cannot be written ends the process.
func (db *DB) maintain(ctx context.Context) {
	defer close(db.done)
	tick := time.NewTicker(db.opts.maintain)
	defer tick.Stop()
	full := false
	var notBefore time.Time
	backoff := db.opts.maintain
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := db.guard.Check()
		if (err != nil) != full {
			full = err != nil
			db.logSpace(err)
		}
		if full {
			continue
		}
		db.tsdb.ForceHeadMMap()
		if time.Now().Before(notBefore) {
			continue
		}
		if err := db.tsdb.Compact(ctx); err != nil && ctx.Err() == nil {
			db.counters.compactionFailures.Inc()
			db.log.Error("compact metrics", "err", err, "next_try_in", backoff)
			notBefore = time.Now().Add(backoff)
			backoff = min(2*backoff, maxBackoff)
			continue
		}
		backoff = db.opts.maintain
	}
}

func (db *DB) logSpace(err error) {
	if err != nil {
		db.log.Error("metrics are not taken in", "err", err)
		return
	}
	db.log.Info("metrics are taken in again")
}
