package metrics

import (
	"sync"

	"github.com/prometheus/prometheus/model/metadata"
)

// maxMetadata bounds the metrics whose metadata is kept; it is not on disk and comes back with the samples.
const maxMetadata = 100_000

// metadataCache holds the last metadata that was given for each metric name.
type metadataCache struct {
	mu      sync.RWMutex
	byName  map[string]metadata.Metadata
	dropped float64 // names that were not kept
}

func newMetadataCache() *metadataCache {
	return &metadataCache{byName: make(map[string]metadata.Metadata)}
}

// SetMetadata remembers type, unit and help of a metric (of a family: "x" for x_bucket, too). It is cheap when nothing is new.
// Over the bound new names are counted and not kept.
func (db *DB) SetMetadata(name string, md metadata.Metadata) {
	c := db.metadata
	c.mu.RLock()
	old, known := c.byName[name]
	c.mu.RUnlock()
	if name == "" || (known && old == md) || md.IsEmpty() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !known && len(c.byName) >= maxMetadata {
		c.dropped++
		return
	}
	c.byName[name] = md
}

func (c *metadataCache) droppedNames() float64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.dropped
}

// Metadata implements store.Metrics.
func (db *DB) Metadata(name string, limit int) map[string]metadata.Metadata {
	c := db.metadata
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make(map[string]metadata.Metadata)
	if name != "" {
		if md, ok := c.byName[name]; ok {
			out[name] = md
		}
		return out
	}
	for n, md := range c.byName {
		if limit > 0 && len(out) >= limit {
			break
		}
		out[n] = md
	}
	return out
}
