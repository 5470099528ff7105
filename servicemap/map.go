package servicemap

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Names of the answers, as used in metrics and cache keys.
const (
	answerMap       = "map"
	answerWorkloads = "workloads"
	answerWorkload  = "workload"
)

// Map answers /api/map: the graph over the range, default the last minute. Concurrent equal questions are computed once.
// Errors: ErrBadQuery, ErrBusy, those of ctx, those of the engine.
func (s *Service) Map(ctx context.Context, q Query) (*Map, error) {
	sp, err := s.spanOf(q, DefaultMapRange)
	if err != nil {
		return nil, err
	}
	whole, err := s.whole(ctx, sp)
	if err != nil || q.Namespace == "" {
		return whole, err
	}
	return cached(ctx, s.cache, s.question(answerMap, sp, "in "+q.Namespace), func(context.Context) (*Map, int, error) {
		m := whole.inNamespace(q.Namespace)
		return m, m.weight(), nil
	})
}

func (m *Map) weight() int { return len(m.Nodes) + len(m.Edges) }

// whole computes or shares the map of all namespaces.
func (s *Service) whole(ctx context.Context, sp span) (*Map, error) {
	return cached(ctx, s.cache, s.question(answerMap, sp, "whole"), func(ctx context.Context) (*Map, int, error) {
		g, err := s.readGraph(ctx, answerMap, selection{}, sp)
		if err != nil {
			return nil, 0, err
		}
		m := g.draw(sp)
		s.levels.keep(answerMap, sp, m.levels())
		s.positions.place(m)
		return m, 2 * m.weight(), nil
	})
}

// draw judges all nodes and edges and puts them in order.
func (g *graph) draw(sp span) *Map {
	m := &Map{Start: sp.start.UTC(), End: sp.end.UTC(), Nodes: make([]Node, 0, len(g.nodes)), Edges: make([]Edge, 0, len(g.edges))}
	for _, n := range g.nodes {
		node, _ := n.shape(g)
		m.Nodes = append(m.Nodes, node)
	}
	for _, e := range g.edges {
		m.Edges = append(m.Edges, e.shape(g.window))
	}
	slices.SortFunc(m.Nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(m.Edges, func(a, b Edge) int { return cmp.Compare(a.ID, b.ID) })
	return m
}

// shape also tells how many failures a second are behind the reasons.
func (n *nodeFigures) shape(g *graph) (Node, float64) {
	v := n.verdict(g.window)
	w := n.workload
	return Node{
		ID: w.QualifiedID(), Cluster: cmp.Or(w.Cluster, g.home), Namespace: w.Namespace, Kind: string(w.Kind), Name: w.Name,
		Health: v.health, Reasons: v.reasons, Signals: n.requests.signals(),
	}, v.failing
}

func (e *edgeFigures) shape(window time.Duration) Edge {
	v := e.verdict(window)
	out := Edge{
		ID: e.key.id(), Client: e.key.client.QualifiedID(), Server: e.key.server.QualifiedID(), Port: int(e.key.port), Protocol: e.busiest(),
		Health: v.health, Reasons: v.reasons, Signals: e.requests.signals(),
		FailedConnects: map[string]float64{}, RTT: quantile(0.5, e.rtt),
		BytesSentRate: figureOf(e.sent), BytesReceivedRate: figureOf(e.received), RetransmitRate: figureOf(e.retransmit),
	}
	if e.connects != nil || e.failed != nil { // whoever counts the one counts the other
		c, failed := e.attempts(), 0.0
		for reason, rate := range c.failed {
			out.FailedConnects[reason] = round(rate, 6)
			failed += rate
		}
		out.ConnectRate, out.FailedConnectRate = figure(c.done), figure(failed)
	}
	return out
}

func figureOf(v *float64) *float64 {
	if v == nil {
		return nil
	}
	return figure(*v)
}

// inNamespace keeps what is in the namespace, of whatever cluster, and what talks to it or is talked to by it.
func (m *Map) inNamespace(namespace string) *Map {
	out := &Map{Start: m.Start, End: m.End, Nodes: []Node{}, Edges: []Edge{}}
	inside, keep := map[string]bool{}, map[string]bool{}
	for i := range m.Nodes {
		if n := &m.Nodes[i]; n.Namespace == namespace {
			inside[n.ID], keep[n.ID] = true, true
		}
	}
	for _, e := range m.Edges {
		if inside[e.Client] || inside[e.Server] {
			out.Edges = append(out.Edges, e)
			keep[e.Client], keep[e.Server] = true, true
		}
	}
	for _, n := range m.Nodes {
		if keep[n.ID] {
			out.Nodes = append(out.Nodes, n)
		}
	}
	return out
}
