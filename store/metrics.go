// Package store names what the query engines ask of each signal's store; the drivers live in the folders beside it.
package store

import (
	"time"

	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// Metrics is a store of metric samples as its readers see it. All methods may be called from several goroutines.
//
// Whoever gets a querier from Querier or ExemplarQuerier owns it: it must be closed, and what it handed out (labels,
// samples, histograms) must not be used after that. Errors of a querier mean that the answer is incomplete.
type Metrics interface {
	storage.Queryable
	storage.ExemplarQueryable

	// Metadata is type, unit and help of the metric, or of at most limit metrics if name is empty (limit <= 0: all).
	// The map belongs to the caller. A metric that is not known is not in it.
	Metadata(name string, limit int) map[string]metadata.Metadata

	// Cardinality counts the series in memory by label, the limit heaviest first.
	Cardinality(label string, limit int) *tsdb.Stats

	// Stats says how much is stored now.
	Stats() Stats

	// Replay is how far the reading of the write-ahead log has come: the numbers of its first, last and present segment.
	Replay() (first, last, current int)
}

// Stats is the size of a store.
type Stats struct {
	Series    uint64    // that may still grow, in memory
	Chunks    int64     // of those series, in memory
	Bytes     int64     // on disk, with the write-ahead log
	Oldest    time.Time // of the oldest sample; zero if there is none
	Newest    time.Time // of the newest sample; zero if there is none
	Retention time.Duration
	MaxBytes  int64 // 0 is no limit
	SetAside  int   // corrupt files and blocks that were renamed at this start
}
