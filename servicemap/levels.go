package servicemap

import (
	"maps"
	"sync"
	"time"
)

// The bounds of what is remembered of answers that follow the clock.
const (
	maxLevels  = 32              // answers
	forgetLive = 2 * time.Minute // after which an answer says nothing of the next one
)

// levels remember the health of nodes and edges in the last live answer of a kind over each length of range, so that it does not change to
// and fro. Answers about the past depend on nothing but the metrics.
type levels struct {
	mu     sync.Mutex
	before map[levelsKey]levelsAt
}

type levelsKey struct {
	answer string
	length time.Duration
}

type levelsAt struct {
	at time.Time
	of map[string]Health // nodes and edges by ID
}

// apply tells a graph what its nodes and edges were in the last answer.
func (l *levels) apply(answer string, sp span, g *graph) {
	if !sp.live {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before, ok := l.before[levelsKey{answer, sp.length()}]
	if !ok || sp.end.Sub(before.at) > forgetLive {
		return
	}
	for w, n := range g.nodes {
		n.held = before.of[w.QualifiedID()]
	}
	for k, e := range g.edges {
		e.held = before.of[k.id()]
	}
}

// keep remembers an answer.
func (l *levels) keep(answer string, sp span, of map[string]Health) {
	if !sp.live {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.before, func(_ levelsKey, b levelsAt) bool { return sp.end.Sub(b.at) > forgetLive })
	key := levelsKey{answer, sp.length()}
	if _, ok := l.before[key]; !ok && len(l.before) >= maxLevels {
		return
	}
	if l.before == nil {
		l.before = map[levelsKey]levelsAt{}
	}
	l.before[key] = levelsAt{sp.end, of}
}

// levels are the health of all nodes and edges.
func (m *Map) levels() map[string]Health {
	of := make(map[string]Health, m.weight())
	for i := range m.Nodes {
		of[m.Nodes[i].ID] = m.Nodes[i].Health
	}
	for i := range m.Edges {
		of[m.Edges[i].ID] = m.Edges[i].Health
	}
	return of
}
