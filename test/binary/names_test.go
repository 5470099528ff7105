package binary

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCalledNames has one executable under two names, and a script: each goes by what it is called by.
func TestCalledNames(t *testing.T) {
	tool := named(t, "tool")
	link := filepath.Join(t.TempDir(), mine("linked"))
	require.NoError(t, os.Symlink(tool, link))
	text, err := os.ReadFile("testdata/httpd.py")
	require.NoError(t, err)
	script := filepath.Join(t.TempDir(), mine("web")+".py")
	require.NoError(t, os.WriteFile(script, append([]byte("#!"+python(t)+"\n"), text...), 0o755))

	first := start(t, how{}, link, "server", "-listen", "127.0.0.1:0")
	second := start(t, how{}, script)
	third := start(t, how{}, tool, "server", "-listen", "127.0.0.1:0")
	const n = 300
	want := map[string]float64{}
	for _, p := range []*program{first, second, third} {
		address := p.line(t, "listening", patience)
		client(t, how{}, "calls-names", address, "-requests", fmt.Sprint(n), "-concurrency", "3", "-targets", "GET /names/ok")
		want[p.name] = n
	}
	for _, v := range built.watchers {
		err := poll(t.Context(), func() error {
			s := v.mustRead(t)
			if got := s.by("vetch_workload_requests_total", labels{"route": "/names/ok"}, "workload"); !maps.Equal(got, want) {
				return fmt.Errorf("requests by workload: %v, want %v", got, want)
			}
			if got := s.by("vetch_edge_requests_total", labels{"client": mine("calls-names")}, "server"); !maps.Equal(got, want) {
				return fmt.Errorf("requests by edge: %v, want %v", got, want)
			}
			return nil
		})
		require.NoError(t, err, "%s hook", v.hook)
	}
}
