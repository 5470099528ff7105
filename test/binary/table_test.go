package binary

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// compareTable writes the results into the guide when UPDATE_DOCS is set, and else holds the guide to them. Of a run of some plays only, it compares their rows.
func compareTable(t *testing.T, whole bool, before, joined []result) {
	t.Helper()
	const path, begin, end = "../../docs/guide/protocols.md", "<!-- results of test/binary TestProtocols -->\n", "<!-- end of results -->\n"
	table := tableOf("vetch was there before", before) + "\n" + tableOf("vetch came in the middle of the connections", joined)
	t.Log("\n" + table)
	guide, err := os.ReadFile(path)
	require.NoError(t, err)
	head, rest, found := strings.Cut(string(guide), begin)
	require.True(t, found, "%s has no %q", path, begin)
	old, tail, found := strings.Cut(rest, end)
	require.True(t, found, "%s has no %q", path, end)
	switch update := os.Getenv("UPDATE_DOCS") != ""; {
	case update && !whole:
		t.Error("the tables are made of all plays: run without a filter of subtests")
	case update:
		require.NoError(t, os.WriteFile(path, []byte(head+begin+table+end+tail), 0o644))
	case whole:
		require.Equal(t, table, old, "run UPDATE_DOCS=1 go test ./test/binary -run 'TestProtocols$'")
	default:
		oldBefore, oldJoined, _ := strings.Cut(old, "\n\n")
		requireRows(t, oldBefore, before)
		requireRows(t, oldJoined, joined)
	}
}

// requireRows holds that a table has a row for each of some results.
func requireRows(t *testing.T, table string, results []result) {
	t.Helper()
	for _, r := range results {
		front, back := r.row()
		require.Regexp(t, regexp.QuoteMeta(front)+"[^|]*"+regexp.QuoteMeta(r.wireName())+"[^|]*"+regexp.QuoteMeta(back), table)
	}
}

// tableOf has a line for each play, or for each of its wires where the counts differ.
func tableOf(agent string, results []result) string {
	type row struct{ front, back string }
	var rows []row
	wires := map[row][]string{}
	for _, r := range results {
		var one row
		one.front, one.back = r.row()
		if wires[one] == nil {
			rows = append(rows, one)
		}
		wires[one] = append(wires[one], r.wireName())
	}
	var table strings.Builder
	fmt.Fprintf(&table, "| protocol | client | server | wire: plain, or TLS by (client; server) | %s: operation, code, and sent = at the serving end = at the calling end = on the edge |\n|---|---|---|---|---|\n", agent)
	for _, one := range rows {
		table.WriteString(one.front + strings.Join(wires[one], ", ") + one.back + "\n")
	}
	return table.String()
}

// row is what stands before and behind the wires of a result.
func (r result) row() (front, back string) {
	return fmt.Sprintf("| `%s` | %s | %s | ", r.protocol, r.by, r.play.server), " | " + operations(r.want) + " |"
}

func (r result) wireName() string {
	if r.wire == plain {
		return string(plain)
	}
	return fmt.Sprintf("TLS (%s; %s)", r.library, servers[r.play.server].library)
}

// operations lists what has a number.
func operations(want map[string]int) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if want[k] > 0 {
			all = append(all, fmt.Sprintf("`%s` `%s` %d", strings.TrimSuffix(k, " "+codeOf(k)), codeOf(k), want[k]))
		}
	}
	return strings.Join(all, ", ")
}
