// Package browser walks through the page of the real vetch in a real browser, against real nginx traffic.
//
// go test ./test/browser leaves pictures of all pages, light and dark, in test/browser/screenshots. TEST_VETCH names a program to
// test instead of building one, CHROMIUM a browser other than /usr/bin/chromium.
package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The walk is given this long; the whole test ends a little later in any case.
const walkLimit = 8 * time.Minute

// TestWalk goes from the overview over the map and a workload to a query. The page is open before the traffic starts: nginx and its client
// must be on it within 15 s.
func TestWalk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("vetch loads kernel programs, so this needs root")
	}
	need(t, "nginx", "curl", "wrk", "node", "npm")
	modules(t)
	ctx, cancel := context.WithTimeout(t.Context(), walkLimit)
	defer cancel()
	stage := newStage(t)
	url := startVetch(t, stage.dir, "run")

	w := startWalk(ctx, t, url, "machine")
	w.expect("open")
	started := time.Now()
	stage.startTraffic(ctx)
	w.say("traffic")
	w.expect("seen")
	t.Logf("nginx and its client were on the page %.1f s after the traffic started", time.Since(started).Seconds())
	w.expect("done")
	require.NoError(t, w.cmd.Wait())
}

// TestCluster goes through the pages of a cluster of 200 nodes and 4,000 pods, from a namespace over the map and a workload to its pods, their node and
// its events. A server needs no kernel programs, so what watcher and agents would send comes from here.
func TestCluster(t *testing.T) {
	need(t, "node", "npm")
	modules(t)
	ctx, cancel := context.WithTimeout(t.Context(), walkLimit)
	defer cancel()
	url := startVetch(t, t.TempDir(), "server")
	w := startWalk(ctx, t, url, "cluster")
	w.expect("objects")
	startCluster(ctx, t, url)
	w.say("told")
	w.expect("done")
	require.NoError(t, w.cmd.Wait())
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	chromium := os.Getenv("CHROMIUM")
	if chromium == "" {
		chromium = "/usr/bin/chromium"
	}
	for _, name := range append(programs, chromium) {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is missing: %v. make test installs all that the tests need.", name, err)
		}
	}
}

// modules installs the page's npm modules where they are not: the browser driver is one of them.
func modules(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("../../web/node_modules/playwright-core"); err == nil {
		return
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund")
	cmd.Dir = "../../web"
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// walk is the browser's side: walk.mjs, which says one JSON object a line about where it is.
type walk struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.Writer
	lines *bufio.Scanner
}

func startWalk(ctx context.Context, t *testing.T, url, way string) *walk {
	t.Helper()
	pictures, err := filepath.Abs("screenshots")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(pictures, 0o755))
	cmd := exec.CommandContext(ctx, "node", "walk.mjs", url, pictures, way)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it ends its browser
	cmd.WaitDelay = 5 * time.Second
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return &walk{t: t, cmd: cmd, in: in, lines: bufio.NewScanner(out)}
}

func (w *walk) say(word string) {
	_, err := io.WriteString(w.in, word+"\n")
	require.NoError(w.t, err)
}

// expect reads until the walk is at a place; what it notes on the way is logged, what it found wrong fails the test.
func (w *walk) expect(place string) {
	w.t.Helper()
	for w.lines.Scan() {
		var said struct{ At, Note, Wrong string }
		require.NoError(w.t, json.Unmarshal(w.lines.Bytes(), &said), w.lines.Text())
		switch {
		case said.Wrong != "":
			w.t.Error(said.Wrong)
		case said.Note != "":
			w.t.Log(said.Note)
		case said.At == place:
			return
		}
	}
	w.t.Fatalf("the walk ended before it came to %q: %v, %v", place, w.lines.Err(), w.cmd.Wait())
}
