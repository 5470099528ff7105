package transport

import (
	"hash/maphash"
	"sync"

	"github.com/prometheus/prometheus/storage"
)

const refShards = 64

// seriesHash stands for the labels of a series as they were sent. With two hashes of secret seeds nobody can make two series meet, and among a
// million series that happens by chance once in 10^26 times; so the labels themselves need not be kept.
type seriesHash struct{ a, b uint64 }

// knownSeries is what is remembered of a series.
type knownSeries struct {
	ref   storage.SeriesRef
	start int64 // the start time whose zero sample was written, Unix ms
}

// refCache finds the store's reference by the raw bytes of the labels, without decoding them. It is bounded: a full shard is
// forgotten as a whole, which costs one lookup for each of its series.
type refCache struct {
	seedA, seedB maphash.Seed
	max          int // of one shard
	shards       [refShards]refShard
}

type refShard struct {
	mu     sync.RWMutex
	series map[uint64]refEntry // by the first hash: a key of one word is twice as fast
	_      [24]byte            // one cache line each
}

type refEntry struct {
	second uint64
	knownSeries
}

func newRefCache(limit int) *refCache {
	c := &refCache{seedA: maphash.MakeSeed(), seedB: maphash.MakeSeed(), max: max(limit/refShards, 1)}
	for i := range c.shards {
		c.shards[i].series = make(map[uint64]refEntry)
	}
	return c
}

func (c *refCache) hash(raw []byte) seriesHash {
	return seriesHash{maphash.Bytes(c.seedA, raw), maphash.Bytes(c.seedB, raw)}
}

func (c *refCache) get(h seriesHash) (knownSeries, bool) {
	s := &c.shards[h.a%refShards]
	s.mu.RLock()
	e, ok := s.series[h.a]
	s.mu.RUnlock()
	if !ok || e.second != h.b {
		return knownSeries{}, false
	}
	return e.knownSeries, true
}

func (c *refCache) put(h seriesHash, k knownSeries) {
	s := &c.shards[h.a%refShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.series[h.a]; !known && len(s.series) >= c.max {
		clear(s.series)
	}
	s.series[h.a] = refEntry{h.b, k}
}

func (c *refCache) len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.series)
		s.mu.RUnlock()
	}
	return n
}
