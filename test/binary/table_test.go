package binary

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// compareTable writes the results into the guide when UPDATE_DOCS is set, and else holds the guide to them.
func compareTable(t *testing.T, before, joined []result) {
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
	if os.Getenv("UPDATE_DOCS") != "" {
		require.NoError(t, os.WriteFile(path, []byte(head+begin+table+end+tail), 0o644))
		return
	}
	require.Equal(t, table, old, "run UPDATE_DOCS=1 go test ./test/binary -run TestProtocols")
}

// tableOf has a line for each play, or for each of its wires where the counts differ.
func tableOf(agent string, results []result) string {
	var lines []string
	wires := map[string][]string{}
	for _, r := range results {
		line := fmt.Sprintf("| `%s` | %s | %s | %%s | %s |", r.protocol, r.by, r.server, operations(r.want))
		if wires[line] == nil {
			lines = append(lines, line)
		}
		wires[line] = append(wires[line], r.wireName())
	}
	var table strings.Builder
	fmt.Fprintf(&table, "| protocol | client | server | wire: plain, or TLS by (client; server) | %s: operation, code, and sent = at the serving end = at the calling end = on the edge |\n|---|---|---|---|---|\n", agent)
	for _, line := range lines {
		before, after, _ := strings.Cut(line, "%s")
		table.WriteString(before + strings.Join(wires[line], ", ") + after + "\n")
	}
	return table.String()
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
