package servicemap

import (
	"math"
	"slices"
)

// canvas is a picture that is being added to. What is on it never moves.
type canvas struct {
	s        *sketch
	cells    []cell
	placed   []bool
	taken    map[cell]bool // by a placed node
	avoid    func(cell) bool
	areas    map[string]rect // of each group's placed nodes
	whole    rect
	anything bool
}

// newCanvas takes over the nodes that have a place. avoid marks cells that are better left free.
func newCanvas(s *sketch, known func(i int) (cell, bool), avoid func(cell) bool) *canvas {
	c := &canvas{
		s: s, cells: make([]cell, len(s.ids)), placed: make([]bool, len(s.ids)), taken: map[cell]bool{},
		avoid: avoid, areas: map[string]rect{},
	}
	for i := range s.ids {
		if at, ok := known(i); ok {
			c.put(i, at)
		}
	}
	return c
}

func (c *canvas) put(i int, at cell) {
	c.cells[i], c.placed[i], c.taken[at] = at, true, true
	point := rect{at, at}
	if area, ok := c.areas[c.s.groups[i]]; ok {
		c.areas[c.s.groups[i]] = area.with(at)
	} else {
		c.areas[c.s.groups[i]] = point
	}
	if !c.anything {
		c.whole, c.anything = point, true
	}
	c.whole = c.whole.with(at)
}

// addMissing places all nodes that have no place yet: those of a group on the picture near their neighbours, new groups as a block.
func (c *canvas) addMissing() {
	names, members := c.s.byGroup(func(i int) bool { return !c.placed[i] })
	for g, name := range names {
		if _, ok := c.areas[name]; ok {
			c.addToGroup(members[g])
		} else {
			c.addGroup(members[g])
		}
	}
}

// addToGroup goes outward from what is placed, so that a chain of new nodes becomes a chain.
func (c *canvas) addToGroup(nodes []int) {
	for len(nodes) > 0 {
		waiting := nodes[:0:0]
		for _, i := range nodes {
			if c.hasPlacedNeighbour(i) {
				c.put(i, c.spotFor(i))
			} else {
				waiting = append(waiting, i)
			}
		}
		if len(waiting) == len(nodes) { // none touches the picture: one starts anew
			c.put(waiting[0], c.spotFor(waiting[0]))
			waiting = waiting[1:]
		}
		nodes = waiting
	}
}

func (c *canvas) hasPlacedNeighbour(i int) bool {
	placed := func(w int) bool { return c.placed[w] }
	return slices.ContainsFunc(c.s.calls.in[i], placed) || slices.ContainsFunc(c.s.calls.out[i], placed)
}

// Reach of the search for a free cell around the wanted one.
const reachCols, reachRows = 12, 20

// spotFor finds the best free cell for node i near its neighbours, within or beside the area of its group.
func (c *canvas) spotFor(i int) cell {
	own := c.areas[c.s.groups[i]]
	want := c.wanted(i, own)
	field := own.grown(1, 1)
	search := rect{
		cell{max(field.min.col, want.col-reachCols), max(field.min.row, want.row-reachRows)},
		cell{min(field.max.col, want.col+reachCols), min(field.max.row, want.row+reachRows)},
	}
	best, lowest := cell{}, math.Inf(1)
	for col := search.min.col; col <= search.max.col; col++ {
		for row := search.min.row; row <= search.max.row; row++ {
			at := cell{col, row}
			if c.taken[at] || !own.contains(at) && c.crowds(c.s.groups[i], own.with(at)) {
				continue
			}
			cost := c.cost(i, at)
			if !own.contains(at) {
				cost += 1.5
			}
			if c.avoid(at) {
				cost++
			}
			if cost < lowest {
				best, lowest = at, cost
			}
		}
	}
	if math.IsInf(lowest, 1) { // walled in: below everything
		return cell{want.col, c.whole.max.row + 2}
	}
	return best
}

// crowds says whether a group's area, once grown to a, would meet another group's.
func (c *canvas) crowds(group string, a rect) bool {
	for name, area := range c.areas {
		if name != group && area.overlaps(a.grown(0, 1)) {
			return true
		}
	}
	return false
}

// wanted is right of the callers, or else left of the callees, at their mean height; without either it is the foot of the first column.
func (c *canvas) wanted(i int, own rect) cell {
	sum, n := 0, 0
	right, left := math.MinInt, math.MaxInt
	for _, w := range c.s.calls.in[i] {
		if c.placed[w] {
			right, sum, n = max(right, c.cells[w].col+1), sum+c.cells[w].row, n+1
		}
	}
	for _, w := range c.s.calls.out[i] {
		if c.placed[w] {
			left, sum, n = min(left, c.cells[w].col-1), sum+c.cells[w].row, n+1
		}
	}
	if n == 0 {
		return cell{own.min.col, own.max.row}
	}
	col := left
	if right != math.MinInt {
		col = right
	}
	row := int(math.Round(float64(sum) / float64(n)))
	return cell{min(max(col, own.min.col-1), own.max.col+1), min(max(row, own.min.row-1), own.max.row+1)}
}

// cost of a cell for node i: edges should lead right and be short.
func (c *canvas) cost(i int, at cell) float64 {
	cost, alone := 0.0, true
	line := func(from, to cell) {
		alone = false
		if d := to.col - from.col; d > 0 {
			cost += float64(d - 1)
		} else {
			cost += 4 * float64(1-d)
		}
		cost += 0.4 * math.Abs(float64(to.row-from.row))
	}
	for _, w := range c.s.calls.in[i] {
		if c.placed[w] {
			line(c.cells[w], at)
		}
	}
	for _, w := range c.s.calls.out[i] {
		if c.placed[w] {
			line(at, c.cells[w])
		}
	}
	if alone {
		own := c.areas[c.s.groups[i]]
		cost = math.Abs(float64(at.col-own.min.col)) + math.Abs(float64(at.row-own.max.row))
	}
	return cost
}

// addGroup draws a new group as a block and puts it where there is room, as near as possible to whom it talks to.
func (c *canvas) addGroup(nodes []int) {
	b := c.s.drawBlock(nodes)
	corner := cell{}
	if c.anything {
		corner = c.roomFor(b)
	}
	for k, i := range b.nodes {
		c.put(i, cell{corner.col + b.cells[k].col, corner.row + b.cells[k].row})
	}
}

// Reach of the search for room for a new group, around the wanted corner.
const reachBlockCols, reachBlockRows = 40, 120

// roomFor tries the corners on and around the picture; left of it there is always room.
func (c *canvas) roomFor(b block) cell {
	want := c.wantedCorner(b)
	search := rect{
		cell{max(c.whole.min.col-b.cols, want.col-reachBlockCols), max(c.whole.min.row-b.rows-1, want.row-reachBlockRows)},
		cell{min(c.whole.max.col+1, want.col+reachBlockCols), min(c.whole.max.row+2, want.row+reachBlockRows)},
	}
	best, lowest := cell{c.whole.min.col - b.cols, c.whole.min.row}, math.Inf(1)
	for col := search.min.col; col <= search.max.col; col++ {
		for row := search.min.row; row <= search.max.row; row++ {
			cost := 3*math.Abs(float64(col-want.col)) + math.Abs(float64(row-want.row))
			if cost >= lowest {
				continue
			}
			if !c.crowds("", rect{cell{col, row}, cell{col + b.cols - 1, row + b.rows - 1}}) {
				best, lowest = cell{col, row}, cost
			}
		}
	}
	return best
}

func (c *canvas) wantedCorner(b block) cell {
	sum, n := 0, 0
	right, left := math.MinInt, math.MaxInt
	for _, i := range b.nodes {
		for _, w := range c.s.calls.in[i] {
			if c.placed[w] {
				right, sum, n = max(right, c.cells[w].col+1), sum+c.cells[w].row, n+1
			}
		}
		for _, w := range c.s.calls.out[i] {
			if c.placed[w] {
				left, sum, n = min(left, c.cells[w].col-b.cols), sum+c.cells[w].row, n+1
			}
		}
	}
	switch {
	case n == 0:
		return cell{c.whole.min.col, c.whole.max.row + 2}
	case right != math.MinInt:
		return cell{right, sum/n - b.rows/2}
	default:
		return cell{left, sum/n - b.rows/2}
	}
}
