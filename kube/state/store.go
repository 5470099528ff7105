package state

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/model"
)

// Store holds the series of all objects, and hands them out. All methods may be called from several goroutines.
type Store struct {
	mu    sync.Mutex
	ready bool
	kinds []*Kind // in the order in which they are handed out
	has   map[*Kind]map[types.UID]*Rendered
}

// NewStore makes an empty store for these kinds.
func NewStore(kinds []*Kind) *Store {
	s := &Store{kinds: kinds, has: make(map[*Kind]map[types.UID]*Rendered, len(kinds))}
	for _, k := range kinds {
		s.has[k] = make(map[types.UID]*Rendered)
	}
	return s
}

// Get gives what Put put; nil if there is none.
func (s *Store) Get(k *Kind, uid types.UID) *Rendered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has[k][uid]
}

// Put replaces the series of an object.
func (s *Store) Put(k *Kind, uid types.UID, r *Rendered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.has[k][uid] = r
}

// Delete forgets an object.
func (s *Store) Delete(k *Kind, uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.has[k], uid)
}

// Ready says that everything is there. Until then nothing is handed out: half of a cluster would look like a change of it.
func (s *Store) Ready() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
}

// Series counts what is held.
func (s *Store) Series() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, of := range s.has {
		for _, r := range of {
			n += len(r.samples)
		}
	}
	return n
}

// Gather hands out all series, family by family.
func (s *Store) Gather(emit func(model.Sample)) {
	for _, k := range s.kinds {
		all := s.rendered(k)
		next := make([]int, len(all)) // the first sample of each that was not handed out
		for f := range k.families {
			family := &k.families[f]
			for i, r := range all {
				for ; next[i] < len(r.samples) && r.samples[next[i]].family == family; next[i]++ {
					one := &r.samples[next[i]]
					emit(model.Sample{Family: family, Labels: one.labels, Value: one.value})
				}
			}
		}
	}
}

// rendered copies the list of a kind, so that nobody waits for who reads it.
func (s *Store) rendered(k *Kind) []*Rendered {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		return nil
	}
	list := make([]*Rendered, 0, len(s.has[k]))
	for _, r := range s.has[k] {
		list = append(list, r)
	}
	return list
}
