package servicemap

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser/posrange"

	"github.com/vetch-dev/vetch/model"
)

// edgeKey identifies an edge on the map. The protocol is not part of it: what was "tcp" until more was recognised stays one edge, and
// so does a port that speaks two protocols.
type edgeKey struct {
	client, server model.Workload
	port           uint16
}

// id cannot be ambiguous: ">" is escaped in both names, so the only one left separates them.
func (k edgeKey) id() string {
	escape := strings.NewReplacer("%", "%25", ">", "%3E")
	return fmt.Sprintf("%s>%s:%d", escape.Replace(k.client.QualifiedID()), escape.Replace(k.server.QualifiedID()), k.port)
}

// nodeFigures are what the metrics say about one node.
type nodeFigures struct {
	workload model.Workload
	requests requests // from the serving end, or where nobody watches that, from its callers
	callers  bool     // requests come from the callers
	in, out  []*edgeFigures
	held     Health // so far; "" where that is not known
}

// edgeFigures are what the metrics say about one edge, as rates over the window. A nil map or pointer: no such series.
type edgeFigures struct {
	key                  edgeKey
	protocol             string
	speaks               map[string]float64 // requests by protocol
	requests             requests
	connects, retransmit *float64
	sent, received       *float64
	failed               map[string]float64 // by error
	rtt                  *histogram.FloatHistogram
	held                 Health
}

// graph is a map before it has health and positions.
type graph struct {
	window time.Duration
	home   string // the cluster of workloads without one
	nodes  map[model.Workload]*nodeFigures
	edges  map[edgeKey]*edgeFigures
}

func (s *Service) newGraph(sp span) *graph {
	return &graph{window: sp.length(), home: s.home, nodes: map[model.Workload]*nodeFigures{}, edges: map[edgeKey]*edgeFigures{}}
}

// readGraph asks the engine for all figures of the selection over the span. Levels hold from the last answer of the kind named.
func (s *Service) readGraph(ctx context.Context, answer string, sel selection, sp span) (*graph, error) {
	g := s.newGraph(sp)
	if err := s.ask(ctx, sp.end, g.questions(sel)); err != nil {
		return nil, err
	}
	g.link()
	s.levels.apply(answer, sp, g)
	return g, nil
}

// readNodes reads only what the nodes show: edges have no durations, and rates only as far as the health of nodes needs them.
func (s *Service) readNodes(ctx context.Context, sp span) (*graph, error) {
	g := s.newGraph(sp)
	if err := s.ask(ctx, sp.end, g.nodeQuestions(selection{})); err != nil {
		return nil, err
	}
	g.link()
	s.levels.apply(answerWorkloads, sp, g)
	kinds := g.kindsByCaller()
	if len(kinds) == 0 {
		return g, nil
	}
	return g, s.ask(ctx, sp.end, []instantQuestion{{callersOfKinds(kinds).durationRate(g.window), func(k sampleKey, s promql.Sample) {
		if n := g.node(k.server); n.callers {
			n.requests.duration = s.H
		}
	}}})
}

// kindsByCaller are the kinds of the nodes whose signals come from their callers, in order.
func (g *graph) kindsByCaller() []string {
	kinds := map[string]bool{}
	for _, n := range g.nodes {
		if n.callers {
			kinds[string(n.workload.Kind)] = true
		}
	}
	return slices.Sorted(maps.Keys(kinds))
}

// questions are all that the map shows.
func (g *graph) questions(sel selection) []instantQuestion {
	return append(g.nodeQuestions(sel),
		g.edgeQuestion(sel, "vetch_edge_request_duration_seconds", pairLabels, func(e *edgeFigures, _ sampleKey, s promql.Sample) { e.requests.duration = s.H }),
		g.edgeQuestion(sel, "vetch_edge_retransmits_total", edgeLabels, func(e *edgeFigures, _ sampleKey, s promql.Sample) { addTo(&e.retransmit, s.F) }),
		g.edgeQuestion(sel, "vetch_edge_rtt_seconds", pairLabels, func(e *edgeFigures, _ sampleKey, s promql.Sample) { e.rtt = s.H }),
	)
}

// nodeQuestions are what the nodes and their health need. The durations of edges are not among them, because histograms cost most.
func (g *graph) nodeQuestions(sel selection) []instantQuestion {
	return []instantQuestion{
		{sel.workloadRate("vetch_workload_request_duration_seconds", workloadLabels, g.window), func(k sampleKey, s promql.Sample) {
			g.node(k.server).requests.duration = s.H
		}},
		{sel.workloadRate("vetch_workload_requests_total", workloadLabels+",protocol,code", g.window), func(k sampleKey, s promql.Sample) {
			g.node(k.server).requests.count(k, s.F)
		}},
		{sel.workloadRate("vetch_workload_failed_requests_total", workloadLabels+",protocol", g.window), func(k sampleKey, s promql.Sample) {
			g.node(k.server).requests.fail(k, s.F)
		}},
		g.edgeQuestion(sel, "vetch_edge_requests_total", edgeLabels+",code", func(e *edgeFigures, k sampleKey, s promql.Sample) {
			e.requests.count(k, s.F)
			if e.speaks == nil {
				e.speaks = map[string]float64{}
			}
			e.speaks[k.protocol] += s.F
		}),
		g.edgeQuestion(sel, "vetch_edge_failed_requests_total", edgeLabels, func(e *edgeFigures, k sampleKey, s promql.Sample) { e.requests.fail(k, s.F) }),
		g.edgeQuestion(sel, "vetch_edge_bytes_total", edgeLabels+",direction", func(e *edgeFigures, k sampleKey, s promql.Sample) {
			switch k.direction {
			case "sent":
				addTo(&e.sent, s.F)
			case "received":
				addTo(&e.received, s.F)
			}
		}),
		g.edgeQuestion(sel, "vetch_edge_connections_total", edgeLabels, func(e *edgeFigures, _ sampleKey, s promql.Sample) { addTo(&e.connects, s.F) }),
		g.edgeQuestion(sel, "vetch_edge_failed_connections_total", edgeLabels+",error", func(e *edgeFigures, k sampleKey, s promql.Sample) {
			if e.failed == nil {
				e.failed = map[string]float64{}
			}
			e.failed[cmp.Or(k.errorMsg, errorOther)] += s.F
		}),
	}
}

// edgeQuestion asks for the rate of one metric of the edges.
func (g *graph) edgeQuestion(sel selection, metric, by string, fill func(*edgeFigures, sampleKey, promql.Sample)) instantQuestion {
	return instantQuestion{sel.edgeRate(metric, by, g.window), func(k sampleKey, s promql.Sample) {
		e := g.edge(k.edge())
		e.protocol = betterProtocol(e.protocol, k.protocol)
		fill(e, k, s)
	}}
}

func addTo(sum **float64, v float64) {
	if *sum == nil {
		*sum = new(float64)
	}
	**sum += v
}

func (g *graph) node(w model.Workload) *nodeFigures {
	n, ok := g.nodes[w]
	if !ok {
		n = &nodeFigures{workload: w}
		g.nodes[w] = n
	}
	return n
}

func (g *graph) edge(k edgeKey) *edgeFigures {
	e, ok := g.edges[k]
	if !ok {
		e = &edgeFigures{key: k}
		g.edges[k] = e
	}
	return e
}

// link makes nodes of both ends of all edges, and lets callers speak for servers that nobody watches from the inside.
func (g *graph) link() {
	for _, k := range slices.SortedFunc(maps.Keys(g.edges), compareEdges) {
		e := g.edges[k]
		client, server := g.node(k.client), g.node(k.server)
		client.out = append(client.out, e)
		server.in = append(server.in, e)
	}
	for _, n := range g.nodes {
		if n.requests.known || n.requests.duration != nil {
			continue
		}
		for _, e := range n.in {
			n.requests.add(e.requests)
			n.callers = n.callers || e.requests.known
		}
	}
}

// busiest is the protocol that an edge is shown with: the one with most requests, or where there are none, the most telling.
func (e *edgeFigures) busiest() string {
	best, most := e.protocol, 0.0
	for _, protocol := range slices.Sorted(maps.Keys(e.speaks)) {
		if rate := e.speaks[protocol]; rate > most {
			best, most = protocol, rate
		}
	}
	return cmp.Or(best, "tcp")
}

// betterProtocol keeps the more telling of two protocol names: anything beats "tls", and that "tcp"; between two the alphabet decides.
func betterProtocol(a, b string) string {
	weight := func(p string) int {
		switch p {
		case "":
			return 0
		case "tcp":
			return 1
		case "tls":
			return 2
		}
		return 3
	}
	switch {
	case weight(a) != weight(b):
		if weight(a) > weight(b) {
			return a
		}
		return b
	default:
		return min(a, b)
	}
}

// quantile reads h with Prometheus's own histogram_quantile, so that one query serves all quantiles.
func quantile(q float64, h *histogram.FloatHistogram) *float64 {
	if h == nil || h.Count <= 0 {
		return nil
	}
	v, _ := promql.HistogramQuantile(q, h, labels.MetricName, posrange.PositionRange{})
	return figure(v)
}

func compareWorkloads(a, b model.Workload) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

func compareEdges(a, b edgeKey) int {
	return cmp.Or(compareWorkloads(a.client, b.client), compareWorkloads(a.server, b.server), cmp.Compare(a.port, b.port))
}
