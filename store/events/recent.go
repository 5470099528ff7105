package events

// maxRecent bounds what is remembered by ID; what is forgotten is asked of the store.
const maxRecent = 10_000

// recent remembers something of the events with an ID that were stored last. Two generations do for that: the older is forgotten when the younger is full.
// It is of the one who appends.
type recent[V any] struct{ young, old map[string]V }

func newRecent[V any]() *recent[V] { return &recent[V]{young: map[string]V{}} }

func (r *recent[V]) get(id string) (V, bool) {
	if v, ok := r.young[id]; ok {
		return v, true
	}
	v, ok := r.old[id]
	return v, ok
}

func (r *recent[V]) put(id string, v V) {
	if len(r.young) >= maxRecent/2 {
		r.old, r.young = r.young, map[string]V{}
	}
	r.young[id] = v
}
