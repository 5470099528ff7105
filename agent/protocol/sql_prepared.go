package protocol

import "slices"

// maxPreparedName is the longest name of a prepared statement that is remembered.
const maxPreparedName = 128

// preparedNames remembers the operations of prepared statements by their name or number: at most MaxPrepared, the oldest forgotten first.
// The text itself is not kept.
type preparedNames[K comparable] struct {
	operations map[K]string
	order      []K
}

func (p *preparedNames[K]) put(key K, operation string) {
	if p.operations == nil {
		p.operations = map[K]string{}
	}
	if _, there := p.operations[key]; !there {
		if len(p.order) == MaxPrepared {
			delete(p.operations, p.order[0])
			p.order = slices.Delete(p.order, 0, 1)
		}
		p.order = append(p.order, key)
	}
	p.operations[key] = operation
}

func (p *preparedNames[K]) get(key K) string { return p.operations[key] }

func (p *preparedNames[K]) drop(key K) {
	if _, there := p.operations[key]; !there {
		return
	}
	delete(p.operations, key)
	if i := slices.Index(p.order, key); i >= 0 {
		p.order = slices.Delete(p.order, i, i+1)
	}
}
