package command

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// topState is what the user has chosen to see.
type topState struct {
	view      string
	sort      string
	reverse   bool
	namespace string
	filter    string
	typing    bool // the filter is being typed
	top       int  // rows that are scrolled away
	colour    bool
}

// topShown is what there is to see.
type topShown struct {
	document topDocument
	requests bool   // a server tells of them
	note     string // of the last reading that did not work
}

// sparks are the eight heights of a sparkline.
var sparks = []rune("▁▂▃▄▅▆▇█")

// sparkline draws values against the largest of them.
func sparkline(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	highest := slices.Max(values)
	var b strings.Builder
	for _, v := range values {
		i := 0
		if highest > 0 {
			i = min(int(v/highest*float64(len(sparks))), len(sparks)-1)
		}
		b.WriteRune(sparks[max(i, 0)])
	}
	return b.String()
}

// topTable is the rows as text. history adds the sparklines.
func topTable(s topState, shown topShown, sparklines bool) string {
	rows := slices.Clone(filterRows(shown.document.Rows, s.namespace, s.filter))
	sortRows(rows, s.sort, s.reverse)
	if len(rows) == 0 {
		return "Nothing fits.\n"
	}
	var columns []column
	cells := make([][]string, len(rows))
	add := func(title string, right bool, cell func(*topRow) string) {
		columns = append(columns, column{title, right})
		for i := range rows {
			cells[i] = append(cells[i], cell(&rows[i]))
		}
	}
	// A column that no row has a value for is left out.
	figure := func(title string, value func(*topRow) *float64, text func(*float64) string) {
		if slices.ContainsFunc(rows, func(r topRow) bool { return value(&r) != nil }) {
			add(title, true, func(r *topRow) string { return text(value(r)) })
		}
	}
	nameColumns(s, rows, add)
	if sparklines {
		add("", false, func(r *topRow) string { return sparkline(r.history) })
	}
	figure("CPU", func(r *topRow) *float64 { return r.CPU }, coresText)
	figure("USER", func(r *topRow) *float64 { return r.CPUUser }, coresText)
	figure("SYS", func(r *topRow) *float64 { return r.CPUSystem }, coresText)
	figure("REQ", func(r *topRow) *float64 { return r.CPURequest }, coresText)
	figure("LIM", func(r *topRow) *float64 { return r.CPULimit }, coresText)
	figure("%", func(r *topRow) *float64 { return share(r.CPU, r.CPULimit) }, shareText)
	figure("MEMORY", func(r *topRow) *float64 { return r.Memory }, bytesText)
	figure("REQ", func(r *topRow) *float64 { return r.MemoryRequest }, bytesText)
	figure("LIM", func(r *topRow) *float64 { return r.MemoryLimit }, bytesText)
	figure("%", func(r *topRow) *float64 { return share(r.Memory, r.MemoryLimit) }, shareText)
	figure("NET IN", func(r *topRow) *float64 { return r.Received }, bytesRateText)
	figure("OUT", func(r *topRow) *float64 { return r.Sent }, bytesRateText)
	figure("DISK", func(r *topRow) *float64 { return r.Ephemeral }, bytesText)
	if shown.requests {
		figure("RATE", func(r *topRow) *float64 { return r.Requests }, rateText)
		figure("ERRORS", func(r *topRow) *float64 { return share(r.Errors, r.Requests) }, shareText)
	}
	if s.view == viewNodes && slices.ContainsFunc(rows, func(r topRow) bool { return r.failed != "" }) {
		add("", false, func(r *topRow) string { return printable(r.failed) })
	}
	return tableText(columns, cells, rowColours(rows, s.colour))
}

// nameColumns are the columns that tell who a row is.
func nameColumns(s topState, rows []topRow, add func(string, bool, func(*topRow) string)) {
	if slices.ContainsFunc(rows, func(r topRow) bool { return r.Namespace != "" }) {
		add("NAMESPACE", false, func(r *topRow) string { return printable(r.Namespace) })
	}
	switch s.view {
	case viewNodes:
		add("NODE", false, func(r *topRow) string { return printable(r.Name) })
		if slices.ContainsFunc(rows, func(r topRow) bool { return r.Pods > 0 }) {
			add("PODS", true, func(r *topRow) string { return strconv.Itoa(r.Pods) })
		}
		return
	case viewWorkloads:
		add("KIND", false, func(r *topRow) string { return printable(r.Kind) })
		add("WORKLOAD", false, func(r *topRow) string { return printable(r.Name) })
		if slices.ContainsFunc(rows, func(r topRow) bool { return r.Pods > 0 }) {
			add("PODS", true, func(r *topRow) string { return strconv.Itoa(r.Pods) })
		}
		return
	case viewContainers:
		if slices.ContainsFunc(rows, func(r topRow) bool { return r.Pod != "" }) {
			add("POD", false, func(r *topRow) string { return printable(r.Pod) })
		}
		add("CONTAINER", false, func(r *topRow) string { return printable(r.Name) })
	default:
		add("POD", false, func(r *topRow) string { return printable(r.Name) })
	}
	add("NODE", false, func(r *topRow) string { return printable(r.Node) })
}

// rowColours marks what is near its limit of memory, or does not answer.
func rowColours(rows []topRow, colour bool) []string {
	if !colour {
		return nil
	}
	colours := make([]string, len(rows))
	for i := range rows {
		memory, errors := share(rows[i].Memory, rows[i].MemoryLimit), share(rows[i].Errors, rows[i].Requests)
		switch {
		case rows[i].failed != "" || memory != nil && *memory >= 0.95 || errors != nil && *errors >= 0.05:
			colours[i] = escRed
		case memory != nil && *memory >= 0.8:
			colours[i] = escYellow
		}
	}
	return colours
}

// coresText is a number of processors: "0.042", "1.50".
func coresText(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v > 0 && *v < 0.0005:
		return "<0.001"
	}
	return threeDigits(*v)
}

// bytesText is a size in the units of Kubernetes.
func bytesText(v *float64) string {
	if v == nil {
		return "-"
	}
	size := *v
	for _, unit := range []string{"", "Ki", "Mi", "Gi"} {
		if size < 1000 {
			return threeDigits(size) + unit
		}
		size /= 1024
	}
	return threeDigits(size) + "Ti"
}

func bytesRateText(v *float64) string {
	if v == nil {
		return "-"
	}
	return bytesText(v) + "/s"
}

// topScreen is the whole screen: a head, as many rows as fit, and what the keys do.
func topScreen(s topState, shown topShown, width, height int) string {
	d := &shown.document
	lines := []string{topHead(s, d)}
	if silent := slices.DeleteFunc(slices.Clone(d.Nodes), func(n topNode) bool { return n.Answers }); len(silent) > 0 && s.view != viewNodes {
		names := make([]string, len(silent))
		for i, n := range silent {
			names[i] = printable(n.Name)
		}
		lines = append(lines, "Not answering: "+strings.Join(names, ", "))
	}
	if shown.note != "" {
		lines = append(lines, printable(shown.note))
	}
	lines = append(lines, "")
	table := strings.Split(strings.TrimSuffix(topTable(s, shown, true), "\n"), "\n")
	room := max(height-len(lines)-3, 1) // the titles, an empty line, the keys
	rows := table[1:]
	first := min(s.top, max(len(rows)-room, 0))
	last := min(first+room, len(rows))
	lines = append(lines, table[0])
	lines = append(lines, rows[first:last]...)
	for len(lines) < height-2 {
		lines = append(lines, "")
	}
	foot := fmt.Sprintf("%d-%d of %d   1 pods 2 containers 3 workloads 4 nodes   s/S sort   r reverse   / filter   arrows scroll   q quit", min(first+1, last), last, len(rows))
	if s.typing {
		foot = "filter: " + printable(s.filter) + "▏  (Enter ends, Esc clears)"
	}
	lines = append(lines, "", foot)
	for i, line := range lines {
		lines[i] = cut(line, width)
	}
	return strings.Join(lines, "\n") + "\n"
}

func topHead(s topState, d *topDocument) string {
	answering := 0
	for _, n := range d.Nodes {
		if n.Answers {
			answering++
		}
	}
	head := fmt.Sprintf("%s  %s", d.Time.Local().Format(time.TimeOnly), s.view)
	if len(d.Nodes) > 0 {
		head += fmt.Sprintf("  %d of %d nodes answer", answering, len(d.Nodes))
	}
	if s.namespace != "" {
		head += "  namespace " + printable(s.namespace)
	}
	if s.filter != "" && !s.typing {
		head += "  filter " + printable(s.filter)
	}
	head += "  by " + s.sort
	if s.reverse {
		head += ", reversed"
	}
	return head
}

// cut shortens a line to the width of the terminal. Escape sequences take no room.
func cut(line string, width int) string {
	if width <= 0 || utf8.RuneCountInString(line) <= width {
		return line
	}
	var b strings.Builder
	used, escape := 0, false
	for _, r := range line {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		case used >= width:
			continue
		default:
			used++
		}
		b.WriteRune(r)
	}
	return b.String()
}
