package command

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vetch-dev/vetch/servicemap"
)

// column is one column of a table of text.
type column struct {
	title string
	right bool // numbers end at the same place
}

// tableText aligns rows below their titles, two spaces apart. colours gives each row its escape sequence, or is nil.
func tableText(columns []column, rows [][]string, colours []string) string {
	widths := make([]int, len(columns))
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = c.title
		widths[i] = utf8.RuneCountInString(c.title)
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	line := func(cells []string, colour string) {
		var l strings.Builder
		for i, cell := range cells {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if columns[i].right {
				l.WriteString(pad + cell + "  ")
			} else {
				l.WriteString(cell + pad + "  ")
			}
		}
		text := strings.TrimRight(l.String(), " ")
		if colour != "" {
			text = colour + text + escReset
		}
		b.WriteString(text + "\n")
	}
	line(head, "")
	for i, row := range rows {
		colour := ""
		if colours != nil {
			colour = colours[i]
		}
		line(row, colour)
	}
	return b.String()
}

// edgeTable is the map as one line an edge, the one with most trouble first.
func edgeTable(m *servicemap.Map, colour bool) string {
	if len(m.Edges) == 0 {
		return noEdges
	}
	edges := slices.Clone(m.Edges)
	slices.SortStableFunc(edges, worseFirst)
	columns := []column{{"CLIENT", false}, {"SERVER", false}, {"PORT", true}, {"PROTOCOL", false}, {"RATE", true}, {"ERRORS", true},
		{"P50", true}, {"P95", true}, {"P99", true}, {"FAILED", true}, {"HEALTH", false}}
	rows := make([][]string, len(edges))
	colours := make([]string, len(edges))
	for i, e := range edges {
		rows[i] = append([]string{workloadName(e.Client), workloadName(e.Server), strconv.Itoa(e.Port), printable(e.Protocol)}, edgeFigures(e)...)
		rows[i] = append(rows[i], string(e.Health))
		if colour {
			colours[i] = healthColour(e.Health)
		}
	}
	return tableText(columns, rows, colours)
}

const noEdges = "No traffic in this range. A wider one is --range 15m; \"vetch doctor\" tells what the kernel lets vetch see.\n"

// edgeFigures are rate, errors, the three quantiles and failed connects.
func edgeFigures(e servicemap.Edge) []string {
	s := e.Signals
	return []string{rateText(s.Rate), shareText(s.ErrorShare), secondsText(s.P50), secondsText(s.P95), secondsText(s.P99), failedText(e.FailedConnectRate)}
}

func worseFirst(a, b servicemap.Edge) int {
	return cmp.Or(
		cmp.Compare(healthRank(a.Health), healthRank(b.Health)),
		-cmp.Compare(known(a.Signals.Rate), known(b.Signals.Rate)),
		cmp.Compare(a.Client, b.Client), cmp.Compare(a.Server, b.Server), cmp.Compare(a.Port, b.Port))
}

func healthRank(h servicemap.Health) int {
	return slices.Index([]servicemap.Health{servicemap.Critical, servicemap.Warning, servicemap.OK, servicemap.Idle}, h)
}

func healthColour(h servicemap.Health) string {
	switch h {
	case servicemap.Critical:
		return escRed
	case servicemap.Warning:
		return escYellow
	case servicemap.Idle:
		return escDim
	}
	return ""
}

// workloadName is a node's id without the empty namespace of a plain machine: "Process/nginx", "shop/Deployment/cart".
func workloadName(id string) string { return printable(strings.TrimPrefix(id, "/")) }

func known(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

// rateText is a rate a second with three significant digits.
func rateText(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v >= 1e6:
		return threeDigits(*v/1e6) + "M/s"
	case *v >= 1e3:
		return threeDigits(*v/1e3) + "k/s"
	}
	return threeDigits(*v) + "/s"
}

// failedText leaves out the zero that nearly all edges have.
func failedText(v *float64) string {
	if v != nil && *v == 0 {
		return "-"
	}
	return rateText(v)
}

func shareText(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v > 0 && *v < 0.001:
		return "<0.1%"
	}
	return threeDigits(*v*100) + "%"
}

func secondsText(v *float64) string {
	if v == nil {
		return "-"
	}
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}} {
		if n := *v / unit.length.Seconds(); n >= 1 {
			return threeDigits(n) + unit.name
		}
	}
	return threeDigits(*v*1e6) + "µs"
}

// threeDigits shows 0, 0.042, 4.21, 42.1, 421 and 4210.
func threeDigits(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Sprint(v)
	}
	decimals := min(max(2-int(math.Floor(math.Log10(math.Abs(v)))), 0), 3)
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
