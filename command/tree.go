package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vetch-dev/vetch/servicemap"
)

// treeText draws callers with what they call below them. A workload's callees are drawn where it comes first; elsewhere, and in a
// circle of calls, a note says that they are above.
func treeText(m *servicemap.Map, colour bool) string {
	if len(m.Edges) == 0 {
		return noEdges
	}
	t := tree{calls: map[string][]servicemap.Edge{}, drawn: map[string]bool{}, colour: colour}
	called := map[string]bool{}
	for _, e := range m.Edges {
		t.calls[e.Client] = append(t.calls[e.Client], e)
		if e.Client != e.Server {
			called[e.Server] = true
		}
	}
	var clients []string
	for client, edges := range t.calls {
		slices.SortStableFunc(edges, worseFirst)
		clients = append(clients, client)
	}
	slices.Sort(clients)
	// First those that nobody calls; what is left after them are circles of calls.
	for _, onlyRoots := range []bool{true, false} {
		for _, client := range clients {
			if !t.drawn[client] && (!onlyRoots || !called[client]) {
				t.b.WriteString(workloadName(client) + "\n")
				t.below(client, "", 0)
			}
		}
	}
	return t.b.String()
}

// maxTreeDepth bounds the indentation; a longer chain of calls goes on as its own tree.
const maxTreeDepth = 40

type tree struct {
	b      strings.Builder
	calls  map[string][]servicemap.Edge // by client
	drawn  map[string]bool
	colour bool
}

func (t *tree) below(client, indent string, depth int) {
	t.drawn[client] = true
	edges := t.calls[client]
	for i, e := range edges {
		branch, next := "├─ ", "│  "
		if i == len(edges)-1 {
			branch, next = "└─ ", "   "
		}
		if e.Server == client || len(t.calls[e.Server]) == 0 {
			t.edge(indent+branch, e, "")
		} else if t.drawn[e.Server] || depth == maxTreeDepth {
			t.edge(indent+branch, e, "  (its calls are shown elsewhere)")
		} else {
			t.edge(indent+branch, e, "")
			t.below(e.Server, indent+next, depth+1)
		}
	}
}

func (t *tree) edge(indent string, e servicemap.Edge, note string) {
	f := edgeFigures(e)
	text := fmt.Sprintf("%s :%d %s", workloadName(e.Server), e.Port, printable(e.Protocol))
	if f[0] != "-" {
		text += fmt.Sprintf("  %s  errors %s  p50 %s  p95 %s  p99 %s", f[0], f[1], f[2], f[3], f[4])
	}
	if f[5] != "-" {
		text += "  failed connects " + f[5]
	}
	if c := healthColour(e.Health); t.colour && c != "" {
		text = c + text + escReset
	}
	t.b.WriteString(indent + text + note + "\n")
}
