package servicemap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
)

// calls makes a map from "a>b" lines; a name "ns/x" is a deployment in ns, one that begins with "~" is outside.
func calls(lines ...string) *Map {
	m := &Map{}
	ids := map[string]bool{}
	add := func(name string) string {
		w := model.Workload{Kind: "Deployment", Name: name}
		for i, r := range name {
			if r == '/' {
				w.Namespace, w.Name = name[:i], name[i+1:]
			}
		}
		if name[0] == '~' {
			w = model.Workload{Kind: model.KindExternal, Name: name[1:]}
		}
		if !ids[w.ID()] {
			ids[w.ID()] = true
			m.Nodes = append(m.Nodes, Node{ID: w.ID(), Namespace: w.Namespace, Kind: string(w.Kind), Name: w.Name})
		}
		return w.ID()
	}
	for _, line := range lines {
		i := slices.Index([]byte(line), '>')
		if i < 0 {
			add(line)
			continue
		}
		m.Edges = append(m.Edges, Edge{Client: add(line[:i]), Server: add(line[i+1:])})
	}
	slices.SortFunc(m.Nodes, func(a, b Node) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return m
}

// town is a map as clusters have: namespaces with five tiers of services, calls to lower tiers of the same namespace, one in ten to
// another namespace in any direction, and clients and servers outside.
func town(nodes, edges int) *Map {
	r := rand.New(rand.NewPCG(1, 2))
	const tiers = 5
	namespaces := max(1, nodes/50)
	tier := func(i int) int { return i / namespaces % tiers }
	name := func(i int) string {
		if i%40 == 39 {
			return fmt.Sprintf("~203.0.113.%d", i)
		}
		return fmt.Sprintf("ns-%02d/svc-%d-%04d", i%namespaces, tier(i), i)
	}
	lines := make([]string, 0, nodes+edges)
	for i := range nodes {
		lines = append(lines, name(i))
	}
	seen := map[string]bool{}
	for tries := 0; len(seen) < edges && tries < 100*edges; tries++ {
		a, b := r.IntN(nodes), r.IntN(nodes)
		if r.IntN(10) != 0 {
			b = r.IntN((nodes+namespaces-1)/namespaces)*namespaces + a%namespaces
			if b >= nodes || tier(b) <= tier(a) {
				continue
			}
		}
		line := name(a) + ">" + name(b)
		if a != b && !seen[line] {
			seen[line] = true
			lines = append(lines, line)
		}
	}
	return calls(lines...)
}

func newTestPositions(t testing.TB) *positions {
	p, err := newPositions("", nil, time.Now)
	require.NoError(t, err)
	return p
}

// spots places a map and returns where its nodes are; no two may overlap.
func spots(t testing.TB, p *positions, m *Map) map[string][2]float64 {
	p.place(m)
	at, taken := map[string][2]float64{}, map[[2]float64]string{}
	for _, n := range m.Nodes {
		spot := [2]float64{n.X, n.Y}
		require.Empty(t, taken[spot], "%s is where %s is", n.ID, taken[spot])
		taken[spot] = n.ID
		at[n.ID] = spot
	}
	return at
}

func TestCallersStandLeft(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []string
		left  [][2]string // pairs: the first left of the second
	}{
		{"two", []string{"curl>nginx"}, [][2]string{{"/Deployment/curl", "/Deployment/nginx"}}},
		{"chain", []string{"c>d", "b>c", "a>b"}, [][2]string{{"/Deployment/a", "/Deployment/b"}, {"/Deployment/b", "/Deployment/c"}, {"/Deployment/c", "/Deployment/d"}}},
		{"diamond", []string{"a>b", "a>c", "b>d", "c>d"}, [][2]string{{"/Deployment/a", "/Deployment/b"}, {"/Deployment/c", "/Deployment/d"}}},
		{"circle with a way in", []string{"in>a", "a>b", "b>c", "c>a", "c>out"}, [][2]string{{"/Deployment/in", "/Deployment/a"}, {"/Deployment/c", "/Deployment/out"}}},
		{"outside", []string{"~client>web", "web>~api"}, [][2]string{{"/External/client", "/Deployment/web"}, {"/Deployment/web", "/External/api"}}},
		{"namespaces", []string{"front/a>back/b", "back/b>data/c"}, [][2]string{{"front/Deployment/a", "back/Deployment/b"}, {"back/Deployment/b", "data/Deployment/c"}}},
		{"self", []string{"a>a", "a>b"}, [][2]string{{"/Deployment/a", "/Deployment/b"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := spots(t, newTestPositions(t), calls(test.lines...))
			for _, pair := range test.left {
				require.Less(t, at[pair[0]][0], at[pair[1]][0], "%v", pair)
			}
		})
	}
}

func TestTwoNodesAreLevel(t *testing.T) {
	at := spots(t, newTestPositions(t), calls("curl>nginx"))
	require.Equal(t, map[string][2]float64{"/Deployment/curl": {0, 0}, "/Deployment/nginx": {CellWidth, 0}}, at)
}

func TestFewCrossings(t *testing.T) {
	// Two parallel lines, named so that the order of ids would cross them.
	at := spots(t, newTestPositions(t), calls("a1>b2", "b2>c1", "a2>b1", "b1>c2"))
	above := at["/Deployment/a1"][1] < at["/Deployment/a2"][1]
	require.Equal(t, above, at["/Deployment/b2"][1] < at["/Deployment/b1"][1])
	require.Equal(t, above, at["/Deployment/c1"][1] < at["/Deployment/c2"][1])
}

func TestPictureIsTheSameForTheSameMap(t *testing.T) {
	first := spots(t, newTestPositions(t), town(1000, 3000))
	m := town(1000, 3000)
	slices.Reverse(m.Edges)
	require.Equal(t, first, spots(t, newTestPositions(t), m))
}

func TestGroupsDoNotMeet(t *testing.T) {
	m := town(1000, 3000)
	spots(t, newTestPositions(t), m)
	s := sketchOf(m)
	areas := map[string]rect{}
	for i, n := range m.Nodes {
		at := cell{int(n.X / CellWidth), int(n.Y / CellHeight)}
		if a, ok := areas[s.groups[i]]; ok {
			areas[s.groups[i]] = a.with(at)
		} else {
			areas[s.groups[i]] = rect{at, at}
		}
	}
	require.Len(t, areas, 22) // 20 namespaces, and both sides of the outside
	for a, ra := range areas {
		for b, rb := range areas {
			require.False(t, a != b && ra.overlaps(rb), "%s and %s", a, b)
		}
	}
}

func TestLargePictureIsBalanced(t *testing.T) {
	for _, nodes := range []int{100, 300, 1000} {
		whole := rect{}
		for _, c := range sketchOf(town(nodes, 3*nodes)).draw() {
			whole = whole.with(c)
		}
		cols, rows := whole.size()
		ratio := float64(cols) * CellWidth / (float64(rows) * CellHeight)
		require.InDelta(t, 1.9, ratio, 1.4, "%d nodes are %d by %d", nodes, cols, rows)
		require.Less(t, cols*rows, 4*nodes, "%d nodes are %d by %d", nodes, cols, rows)
	}
}

func TestNodesStayWhenOthersComeAndGo(t *testing.T) {
	for _, size := range []int{1, 2, 10, 100, 1000} {
		p := newTestPositions(t)
		m := town(size, min(3*size, size*(size-1)/2))
		before := spots(t, p, m)

		grown := town(size, min(3*size, size*(size-1)/2))
		grown.Nodes = append(grown.Nodes, Node{ID: "zzz/Deployment/new", Namespace: "zzz", Kind: "Deployment", Name: "new"},
			Node{ID: "ns-00/Deployment/zzz", Namespace: "ns-00", Kind: "Deployment", Name: "zzz"})
		grown.Edges = append(grown.Edges, Edge{Client: m.Nodes[0].ID, Server: "zzz/Deployment/new"}, Edge{Client: "ns-00/Deployment/zzz", Server: m.Nodes[size/2].ID})
		slices.SortFunc(grown.Nodes, func(a, b Node) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
		after := spots(t, p, grown)
		require.Len(t, after, size+2)
		for id, at := range before {
			require.Equal(t, at, after[id], id)
		}

		half := town(size, 0)
		half.Nodes = half.Nodes[:(size+1)/2]
		half.Edges = nil
		spots(t, p, half)
		require.Equal(t, after, spots(t, p, grown), "who comes back finds the old place")
	}
}

func TestNewNodeStandsNearItsNeighbours(t *testing.T) {
	p := newTestPositions(t)
	spots(t, p, calls("a>b", "b>c"))
	at := spots(t, p, calls("a>b", "b>c", "b>d", "z>a"))
	require.Equal(t, at["/Deployment/c"][0], at["/Deployment/d"][0], "right of its caller")
	require.Equal(t, at["/Deployment/a"][0]-CellWidth, at["/Deployment/z"][0], "left of whom it calls")
	require.LessOrEqual(t, max(at["/Deployment/d"][1]-at["/Deployment/b"][1], at["/Deployment/b"][1]-at["/Deployment/d"][1]), CellHeight)
}

// One node after the other, as on a machine that comes to life: callers are still left of the called.
func TestPictureThatGrewIsStillReadable(t *testing.T) {
	whole := town(300, 600)
	p := newTestPositions(t)
	for n := 1; n <= len(whole.Nodes); n += 7 {
		spots(t, p, firstNodes(whole, n))
	}
	at := spots(t, p, firstNodes(whole, len(whole.Nodes)))
	forward := 0
	for _, e := range whole.Edges {
		if at[e.Client][0] < at[e.Server][0] {
			forward++
		}
	}
	require.Greater(t, float64(forward)/float64(len(whole.Edges)), 0.5)
	t.Logf("%.0f %% of edges lead right after growth", 100*float64(forward)/float64(len(whole.Edges)))
}

func BenchmarkDrawTown(b *testing.B) {
	m := town(1000, 3000)
	for b.Loop() {
		sketchOf(m).draw()
	}
}

func BenchmarkAddNodeToTown(b *testing.B) {
	m := town(1000, 3000)
	gone := m.Nodes[500].ID
	p := newTestPositions(b)
	p.place(m)
	for b.Loop() {
		delete(p.places, gone)
		p.place(m)
	}
}

func TestPictureIsDrawnAnewOnlyWhenItHasOutgrownItsFrame(t *testing.T) {
	whole := town(80, 160)
	for _, test := range []struct {
		now   int
		moves bool
	}{{63, false}, {64, true}, {80, true}} {
		p := newTestPositions(t)
		before := spots(t, p, firstNodes(whole, 16))
		after := spots(t, p, firstNodes(whole, test.now))
		moved := 0
		for id, at := range before {
			if after[id] != at {
				moved++
			}
		}
		require.Equal(t, test.moves, moved > 0, "16 to %d nodes", test.now)
	}
}

// Nodes come and go at random, among them ones that change sides and circles: nothing overlaps, and who stays does not move.
func TestRandomChanges(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	p := newTestPositions(t)
	name := func(i int) string { return []string{"~%d", "a/%d", "b/%d", "%d"}[i%4] }
	last := map[string][2]float64{}
	for range 200 {
		var lines []string
		for range r.IntN(60) {
			a, b := r.IntN(60), r.IntN(60)
			lines = append(lines, fmt.Sprintf(name(a)+">"+name(b), a, b))
		}
		now := spots(t, p, calls(lines...))
		for id, at := range now {
			if before, ok := last[id]; ok {
				require.Equal(t, before, at, id)
			}
		}
		last = now
	}
}

func TestPictureOfATownIsQuick(t *testing.T) {
	started := time.Now()
	sketchOf(town(1000, 3000)).draw()
	require.Less(t, time.Since(started), 20*time.Second) // it takes 20 ms on an idle core
}

func BenchmarkDrawCity(b *testing.B) {
	m := town(10_000, 30_000)
	for b.Loop() {
		sketchOf(m).draw()
	}
}

func BenchmarkGrowCity(b *testing.B) {
	m := town(10_000, 30_000)
	half := firstNodes(m, 4000)
	for b.Loop() {
		p := newTestPositions(b)
		p.place(half)
		p.place(m)
	}
}

func firstNodes(whole *Map, n int) *Map {
	m := &Map{Nodes: slices.Clone(whole.Nodes[:n])}
	has := map[string]bool{}
	for _, n := range m.Nodes {
		has[n.ID] = true
	}
	for _, e := range whole.Edges {
		if has[e.Client] && has[e.Server] {
			m.Edges = append(m.Edges, e)
		}
	}
	return m
}
