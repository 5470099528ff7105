package servicemap

import (
	"container/heap"
	"slices"
	"sort"
)

// digraph is a directed graph over 0..n-1 without self edges and doubled edges.
type digraph struct {
	out, in [][]int
}

func newDigraph(n int) *digraph { return &digraph{out: make([][]int, n), in: make([][]int, n)} }

func (g *digraph) size() int { return len(g.out) }

func (g *digraph) add(from, to int) {
	if from != to {
		g.out[from] = append(g.out[from], to)
		g.in[to] = append(g.in[to], from)
	}
}

// tidy sorts the neighbours and drops doubles, so that the order in which edges were added does not matter.
func (g *digraph) tidy() {
	for i := range g.out {
		slices.Sort(g.out[i])
		slices.Sort(g.in[i])
		g.out[i], g.in[i] = slices.Compact(g.out[i]), slices.Compact(g.in[i])
	}
}

// within is the graph of only the members; its node i is members[i].
func (g *digraph) within(members []int) *digraph {
	index := make(map[int]int, len(members))
	for i, m := range members {
		index[m] = i
	}
	sub := newDigraph(len(members))
	for i, m := range members {
		for _, to := range g.out[m] {
			if j, ok := index[to]; ok {
				sub.add(i, j)
			}
		}
	}
	sub.tidy()
	return sub
}

// layers splits the nodes into columns, callers before callees wherever no cycle forbids it, each column in an order with few crossings.
func (g *digraph) layers() [][]int {
	if g.size() == 0 {
		return nil
	}
	layer := g.assignLayers()
	columns := make([][]int, slices.Max(layer)+1)
	for v, l := range layer {
		columns[l] = append(columns[l], v)
	}
	columns = slices.DeleteFunc(columns, func(c []int) bool { return len(c) == 0 })
	for l, column := range columns {
		for _, v := range column {
			layer[v] = l
		}
		slices.SortStableFunc(column, func(a, b int) int { return g.loneliness(a) - g.loneliness(b) })
	}
	return g.untangle(columns, layer)
}

// loneliness puts nodes without any edge behind the others.
func (g *digraph) loneliness(v int) int {
	if len(g.out[v])+len(g.in[v]) == 0 {
		return 1
	}
	return 0
}

// assignLayers gives each node the longest path from a source, with edges that close cycles turned around, and then pulls callers
// close to what they call.
func (g *digraph) assignLayers() []int {
	sequence := g.feedbackOrder()
	place := make([]int, g.size())
	for i, v := range sequence {
		place[v] = i
	}
	// before and behind are the neighbours once all edges lead forward.
	neighbours := func(v int, forward bool) []int {
		var out []int
		for _, w := range slices.Concat(g.out[v], g.in[v]) {
			if (place[w] > place[v]) == forward {
				out = append(out, w)
			}
		}
		return out
	}
	layer := make([]int, g.size())
	for _, v := range sequence {
		for _, u := range neighbours(v, false) {
			layer[v] = max(layer[v], layer[u]+1)
		}
	}
	for _, v := range slices.Backward(sequence) {
		behind := neighbours(v, true)
		if len(behind) == 0 || len(behind) <= len(neighbours(v, false)) {
			continue
		}
		nearest := layer[behind[0]]
		for _, w := range behind {
			nearest = min(nearest, layer[w])
		}
		layer[v] = max(layer[v], nearest-1)
	}
	return layer
}

// feedbackOrder is a sequence of all nodes with few edges that lead backwards: sources first, sinks last, and out of a cycle the node
// that calls most for what it is called (the greedy heuristic of Eades, Lin and Smyth, 1993).
func (g *digraph) feedbackOrder() []int {
	n := g.size()
	state := &feedback{g: g, in: make([]int, n), out: make([]int, n), done: make([]bool, n)}
	for v := range n {
		state.in[v], state.out[v] = len(g.in[v]), len(g.out[v])
		state.queue(v)
	}
	var left, right []int
	for len(left)+len(right) < n {
		switch {
		case len(state.sinks) > 0:
			if v, ok := state.take(&state.sinks); ok {
				right = append(right, v)
			}
		case len(state.sources) > 0:
			if v, ok := state.take(&state.sources); ok {
				left = append(left, v)
			}
		default:
			if v, ok := state.takeBest(); ok {
				left = append(left, v)
			}
		}
	}
	slices.Reverse(right)
	return append(left, right...)
}

// feedback is the working state of feedbackOrder. Queues may hold nodes that are done or have changed; those are skipped.
type feedback struct {
	g              *digraph
	in, out        []int // edges to nodes that are not done
	done           []bool
	sinks, sources []int
	best           candidates
}

func (f *feedback) queue(v int) {
	switch {
	case f.out[v] == 0:
		f.sinks = append(f.sinks, v)
	case f.in[v] == 0:
		f.sources = append(f.sources, v)
	default:
		heap.Push(&f.best, candidate{node: v, surplus: f.out[v] - f.in[v]})
	}
}

func (f *feedback) take(queue *[]int) (int, bool) {
	v := (*queue)[0]
	*queue = (*queue)[1:]
	return v, f.finish(v)
}

func (f *feedback) takeBest() (int, bool) {
	c := heap.Pop(&f.best).(candidate)
	if c.surplus != f.out[c.node]-f.in[c.node] {
		return 0, false // an old entry; the node was queued again since
	}
	return c.node, f.finish(c.node)
}

func (f *feedback) finish(v int) bool {
	if f.done[v] {
		return false
	}
	f.done[v] = true
	for _, w := range f.g.out[v] {
		if !f.done[w] {
			f.in[w]--
			f.queue(w)
		}
	}
	for _, w := range f.g.in[v] {
		if !f.done[w] {
			f.out[w]--
			f.queue(w)
		}
	}
	return true
}

type candidate struct{ node, surplus int }

// candidates is a heap: largest surplus first, then lowest node.
type candidates []candidate

func (c candidates) Len() int      { return len(c) }
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c candidates) Less(i, j int) bool {
	if c[i].surplus != c[j].surplus {
		return c[i].surplus > c[j].surplus
	}
	return c[i].node < c[j].node
}
func (c *candidates) Push(x any) { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// sweeps of untangle; more hardly help.
const sweeps = 12

// untangle orders each column by the mean height of its neighbours, back and forth, and keeps the order with the fewest crossings.
func (g *digraph) untangle(columns [][]int, layer []int) [][]int {
	height := make([]float64, g.size())
	measure := func(column []int) {
		for i, v := range column {
			height[v] = (float64(i) + 0.5) / float64(len(column))
		}
	}
	for _, column := range columns {
		measure(column)
	}
	best, fewest := cloneColumns(columns), g.crossings(layer, height)
	for sweep := 0; sweep < sweeps && fewest > 0; sweep++ {
		rightward := sweep%2 == 0
		for i := range columns {
			column := columns[i]
			if !rightward {
				column = columns[len(columns)-1-i]
			}
			g.sortByNeighbours(column, layer, height, rightward)
			measure(column)
		}
		if n := g.crossings(layer, height); n < fewest {
			best, fewest = cloneColumns(columns), n
		}
	}
	return best
}

func cloneColumns(columns [][]int) [][]int {
	out := make([][]int, len(columns))
	for i, c := range columns {
		out[i] = slices.Clone(c)
	}
	return out
}

func (g *digraph) sortByNeighbours(column, layer []int, height []float64, rightward bool) {
	wanted := make(map[int]float64, len(column))
	for _, v := range column {
		sum, n := 0.0, 0
		for _, w := range slices.Concat(g.out[v], g.in[v]) {
			if layer[w] != layer[v] && (layer[w] < layer[v]) == rightward {
				sum += height[w]
				n++
			}
		}
		wanted[v] = height[v]
		if n > 0 {
			wanted[v] = sum / float64(n)
		}
	}
	sort.SliceStable(column, func(i, j int) bool { return wanted[column[i]] < wanted[column[j]] })
}

// crossings counts the pairs of edges between the same two columns that cross.
func (g *digraph) crossings(layer []int, height []float64) int {
	type span struct{ from, to int }
	type line struct{ from, to float64 }
	between := map[span][]line{}
	for v := range g.out {
		for _, w := range g.out[v] {
			a, b := v, w
			if layer[a] > layer[b] {
				a, b = b, a
			}
			key := span{layer[a], layer[b]}
			between[key] = append(between[key], line{height[a], height[b]})
		}
	}
	total := 0
	for _, lines := range between {
		sort.Slice(lines, func(i, j int) bool {
			if lines[i].from != lines[j].from {
				return lines[i].from < lines[j].from
			}
			return lines[i].to < lines[j].to
		})
		ends := make([]float64, len(lines))
		for i, l := range lines {
			ends[i] = l.to
		}
		total += inversions(ends, make([]float64, len(ends)))
	}
	return total
}

// inversions counts the pairs in the wrong order while sorting values by merging.
func inversions(values, scratch []float64) int {
	if len(values) < 2 {
		return 0
	}
	mid := len(values) / 2
	n := inversions(values[:mid], scratch[:mid]) + inversions(values[mid:], scratch[mid:])
	copy(scratch, values)
	i, j := 0, mid
	for k := range values {
		if j >= len(values) || i < mid && scratch[i] <= scratch[j] {
			values[k] = scratch[i]
			i++
		} else {
			values[k] = scratch[j]
			n += mid - i
			j++
		}
	}
	return n
}
