package columnar

// retain drops the oldest days while all is larger than the limit. The engine itself drops what is older than the retention. Today is never
// dropped: once it alone is over the limit, no more is taken in until the next day.
func (db *DB) retain() {
	if db.opts.RetentionBytes <= 0 {
		return
	}
	for {
		total := bytes(db.engine.stats()) + db.wal.bytes()
		if total <= db.opts.RetentionBytes {
			db.setOver(false)
			return
		}
		days := db.engine.days()
		if len(days) < 2 {
			db.setOver(true)
			return
		}
		if err := db.engine.drop(db.opts.Dir, days[0]); err != nil {
			db.log.Error("drop the oldest day", "store", db.opts.Name, "err", err)
			return
		}
		db.droppedDays.Inc()
		delete(db.unflushedDays, days[0])
		db.log.Info("the oldest day was dropped, for the store was over its limit", "store", db.opts.Name, "day", days[0], "limit_bytes", db.opts.RetentionBytes)
	}
}

func (db *DB) setOver(over bool) {
	if db.over.Swap(over) != over && over {
		db.log.Error("no records are taken in: those of the last day alone are over the limit", "store", db.opts.Name, "limit_bytes", db.opts.RetentionBytes)
	}
}
