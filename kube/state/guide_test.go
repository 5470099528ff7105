package state

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
)

// TestGuideNamesEveryFamily holds docs/guide/objects.md to the tables; -update writes it anew.
func TestGuideNamesEveryFamily(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Series of the objects of Kubernetes\n\nWhat `vetch watcher` tells ([how, and how to use it](metrics.md#objects-of-kubernetes)). `go test ./kube/state -update` writes this page.\n")
	for _, k := range Kinds(Options{}) {
		fmt.Fprintf(&b, "\n## %s\n\n| metric | type | tells |\n|---|---|---|\n", k.Resource)
		for i := range k.families {
			f := &k.families[i]
			kind := "gauge"
			if f.Type == model.Counter {
				kind = "counter"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, kind, f.Help)
		}
	}
	const path = "../../docs/guide/objects.md"
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, b.String(), string(text))
}
