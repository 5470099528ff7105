package events

import "sync"

// maxTotals bounds what is remembered of totals, at 100 bytes each; what is forgotten is asked of the store.
const maxTotals = 10_000

// totals remembers how often events that have an ID are in the store, those of the last use. Two generations do for that: the older is
// forgotten when the younger is full.
type totals struct {
	mu         sync.Mutex // of the one who appends
	young, old map[string]uint64
}

func newTotals() *totals { return &totals{young: map[string]uint64{}} }

func (t *totals) get(key string) (uint64, bool) {
	if total, ok := t.young[key]; ok {
		return total, true
	}
	total, ok := t.old[key]
	return total, ok
}

func (t *totals) put(key string, total uint64) {
	if len(t.young) >= maxTotals/2 {
		t.old, t.young = t.young, map[string]uint64{}
	}
	t.young[key] = total
}
