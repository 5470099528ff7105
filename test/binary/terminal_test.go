package binary

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/servicemap"
)

// TestMapInTheTerminal makes traffic and reads it with "vetch map" in all its forms.
func TestMapInTheTerminal(t *testing.T) {
	r := startRun(t, t.TempDir())
	_, address := server(t, how{}, "shop", "127.0.0.1:0")
	client(t, how{}, "buyer", address, "-requests", "300", "-rate", "100")
	port := portOf(t, address)

	row := regexp.MustCompile(fmt.Sprintf(`(?m)^Process/%s +Process/%s +%d +http +[0-9.]+/s +0%% +\S+s +\S+s +\S+s +- +ok$`, mine("buyer"), mine("shop"), port))
	require.NoError(t, poll(t.Context(), func() error {
		if out := r.vetchMap(t); !row.MatchString(out) {
			return fmt.Errorf("no edge from buyer to shop:\n%s", out)
		}
		return nil
	}))
	require.Contains(t, r.vetchMap(t), "CLIENT")
	require.Regexp(t, fmt.Sprintf(`(?m)^Process/%s\n└─ Process/%s :%d http  [0-9.]+/s  errors 0%%  p50 `, mine("buyer"), mine("shop"), port), r.vetchMap(t, "--tree"))
	require.NotContains(t, r.vetchMap(t), "\x1b", "a pipe gets no colours")
	requireEdge(t, []byte(r.vetchMap(t, "-o", "json")), port)

	watch := start(t, how{}, built.vetch, "map", "--server", r.url, "--watch", "-o", "json")
	select {
	case line := <-watch.lines:
		requireEdge(t, []byte(line), port)
	case <-time.After(patience):
		t.Fatalf("vetch map --watch printed nothing; it says: %s", watch.stderr)
	}
	require.NoError(t, watch.cmd.Process.Signal(os.Interrupt))
	for range watch.lines {
	}
	require.NoError(t, watch.cmd.Wait(), "an interrupt ends it well")
	require.NoError(t, r.signal(t, syscall.SIGTERM), r.log)
}

func (r *run) vetchMap(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), built.vetch, append([]string{"map", "--server", r.url}, args...)...).Output()
	require.NoError(t, err)
	return string(out)
}

func requireEdge(t *testing.T, text []byte, port int) {
	t.Helper()
	var m servicemap.Map
	require.NoError(t, json.Unmarshal(text, &m), "%s", text)
	for _, e := range m.Edges {
		if e.Client == "/Process/"+mine("buyer") && e.Server == "/Process/"+mine("shop") && e.Port == port && e.Protocol == "http" {
			return
		}
	}
	t.Fatalf("no edge from buyer to shop: %s", text)
}
