package servicemap

import (
	"math"
	"slices"
	"strings"

	"github.com/vetch-dev/vetch/model"
)

// The picture is a grid of cells with at most one node each, so nothing can overlap. NodeWidth and NodeHeight leave room for edges,
// and for the frame and the title of a namespace.
const (
	CellWidth, CellHeight = 260.0, 80.0
	NodeWidth, NodeHeight = 180.0, 48.0
)

// cell is a place on the grid.
type cell struct{ col, row int }

// rect is a block of cells, both corners included.
type rect struct{ min, max cell }

func (r rect) contains(c cell) bool {
	return c.col >= r.min.col && c.col <= r.max.col && c.row >= r.min.row && c.row <= r.max.row
}

func (r rect) with(c cell) rect {
	return rect{cell{min(r.min.col, c.col), min(r.min.row, c.row)}, cell{max(r.max.col, c.col), max(r.max.row, c.row)}}
}

func (r rect) grown(cols, rows int) rect {
	return rect{cell{r.min.col - cols, r.min.row - rows}, cell{r.max.col + cols, r.max.row + rows}}
}

func (r rect) overlaps(o rect) bool {
	return r.min.col <= o.max.col && o.min.col <= r.max.col && r.min.row <= o.max.row && o.min.row <= r.max.row
}

func (r rect) size() (cols, rows int) { return r.max.col - r.min.col + 1, r.max.row - r.min.row + 1 }

// sketch is what the layout looks at: nodes in the order of their ids, who calls whom, and which nodes belong together.
type sketch struct {
	ids    []string
	calls  *digraph
	groups []string // by node
}

// Groups of what is outside, apart from the namespaces: who only calls stands left of everything, who is called right of it.
const (
	groupOutsideClients = "outside/clients"
	groupOutsideServers = "outside/servers"
)

// sketchOf reads the map, whose nodes are in the order of their ids.
func sketchOf(m *Map) *sketch {
	s := &sketch{ids: make([]string, len(m.Nodes)), groups: make([]string, len(m.Nodes)), calls: newDigraph(len(m.Nodes))}
	index := make(map[string]int, len(m.Nodes))
	for i, n := range m.Nodes {
		s.ids[i] = n.ID
		index[n.ID] = i
	}
	for _, e := range m.Edges {
		s.calls.add(index[e.Client], index[e.Server])
	}
	s.calls.tidy()
	for i, n := range m.Nodes {
		switch {
		case n.Kind != string(model.KindExternal):
			s.groups[i] = "namespace/" + strings.TrimSuffix(n.ID, "/"+n.Kind+"/"+n.Name)
		case len(s.calls.in[i]) == 0:
			s.groups[i] = groupOutsideClients
		default:
			s.groups[i] = groupOutsideServers
		}
	}
	return s
}

// block is a set of nodes placed relative to each other, from cell 0,0 on.
type block struct {
	nodes      []int
	cells      []cell // of the nodes
	cols, rows int
}

// rowsFor is the height at which n cells make a picture about 1.6 times as wide as high.
func rowsFor(n int) int {
	return max(6, int(math.Ceil(math.Sqrt(float64(n)*CellWidth/CellHeight/1.6))))
}

// drawBlock lays out some nodes by themselves: a column for each layer, wide layers folded into several columns.
func (s *sketch) drawBlock(nodes []int) block {
	columns := s.calls.within(nodes).layers()
	limit := rowsFor(len(nodes))
	b := block{}
	for _, column := range columns {
		b.rows = max(b.rows, min(len(column), limit))
	}
	for _, column := range columns {
		folds := (len(column) + limit - 1) / limit
		rows := (len(column) + folds - 1) / folds
		top := (b.rows - rows) / 2
		for i, v := range column {
			b.nodes = append(b.nodes, nodes[v])
			b.cells = append(b.cells, cell{b.cols + i%folds, top + i/folds})
		}
		b.cols += folds
	}
	return b
}

// draw lays out everything anew: a block for each group, and the blocks from left to right by who calls whom.
func (s *sketch) draw() []cell {
	names, members := s.byGroup(nil)
	blocks := make([]block, len(names))
	area, limit := 0, 0
	for i := range names {
		blocks[i] = s.drawBlock(members[i])
		area += blocks[i].cols * (blocks[i].rows + 1)
		limit = max(limit, blocks[i].rows)
	}
	limit = max(limit, rowsFor(area))
	layers := s.groupCalls(names).layers()
	stacks := stackBlocks(layers, blocks, limit)
	if cols, rows := stacksSize(stacks, blocks); float64(cols)*CellWidth > widest*float64(max(rows, lowest))*CellHeight {
		stacks = stackBlocks(mergeInside(layers, names), blocks, limit)
	}
	return s.putStacks(stacks, blocks)
}

// widest is how many times wider than high a picture may be before groups that call each other have to share a column; lowest is the
// height in rows that even the smallest picture is granted for that.
const (
	widest = 2.5
	lowest = 20
)

// mergeInside makes one layer of all namespaces, in their order, and keeps the outside on both sides of it.
func mergeInside(layers [][]int, names []string) [][]int {
	merged := make([][]int, 3)
	for _, b := range slices.Concat(layers...) {
		at := 1
		switch names[b] {
		case groupOutsideClients:
			at = 0
		case groupOutsideServers:
			at = 2
		}
		merged[at] = append(merged[at], b)
	}
	return merged
}

// stackBlocks piles the blocks of each layer up to at most limit rows, and begins another pile for the rest.
func stackBlocks(layers [][]int, blocks []block, limit int) [][]int {
	var stacks [][]int
	for _, layer := range layers {
		height := 0
		for i, b := range layer {
			if i == 0 || height+blocks[b].rows > limit {
				stacks = append(stacks, nil)
				height = 0
			}
			last := len(stacks) - 1
			stacks[last] = append(stacks[last], b)
			height += blocks[b].rows + 1
		}
	}
	return stacks
}

// stackSize leaves a free row between two blocks, for the title of the lower.
func stackSize(stack []int, blocks []block) (cols, rows int) {
	rows = len(stack) - 1
	for _, b := range stack {
		cols = max(cols, blocks[b].cols)
		rows += blocks[b].rows
	}
	return cols, rows
}

func stacksSize(stacks [][]int, blocks []block) (cols, rows int) {
	for _, stack := range stacks {
		c, r := stackSize(stack, blocks)
		cols, rows = cols+c, max(rows, r)
	}
	return cols, rows
}

// putStacks sets the stacks side by side, centred on each other, from cell 0,0 on.
func (s *sketch) putStacks(stacks [][]int, blocks []block) []cell {
	cells := make([]cell, len(s.ids))
	_, tallest := stacksSize(stacks, blocks)
	left := 0
	for _, stack := range stacks {
		width, height := stackSize(stack, blocks)
		top := (tallest - height) / 2
		for _, b := range stack {
			for i, v := range blocks[b].nodes {
				at := blocks[b].cells[i]
				cells[v] = cell{left + at.col, top + at.row}
			}
			top += blocks[b].rows + 1
		}
		left += width
	}
	return cells
}

// byGroup lists the groups in order, with their nodes; of nodes only those that keep accepts, nil accepts all.
func (s *sketch) byGroup(keep func(int) bool) ([]string, [][]int) {
	byName := map[string][]int{}
	for i, name := range s.groups {
		if keep == nil || keep(i) {
			byName[name] = append(byName[name], i)
		}
	}
	names := make([]string, 0, len(byName))
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)
	members := make([][]int, len(names))
	for i, name := range names {
		members[i] = byName[name]
	}
	return names, members
}

// groupCalls says which group calls which: of two that call each other the direction with more edges counts.
func (s *sketch) groupCalls(names []string) *digraph {
	index := make(map[string]int, len(names))
	for i, name := range names {
		index[name] = i
	}
	weight := map[[2]int]int{}
	for v := range s.calls.out {
		for _, w := range s.calls.out[v] {
			if a, b := index[s.groups[v]], index[s.groups[w]]; a != b {
				weight[[2]int{a, b}]++
			}
		}
	}
	g := newDigraph(len(names))
	for pair, n := range weight {
		back := weight[[2]int{pair[1], pair[0]}]
		if n > back || n == back && pair[0] < pair[1] {
			g.add(pair[0], pair[1])
		}
	}
	g.tidy()
	return g
}
