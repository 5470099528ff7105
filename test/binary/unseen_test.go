package binary

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestForkedServer has a process for every connection, accepted by another.
func TestForkedServer(t *testing.T) {
	p := start(t, how{}, python(t), "testdata/forking.py")
	address := p.line(t, "listening", patience)
	report := client(t, how{}, "asks-forked", address, "-mode", "raw", "-requests", "4000", "-concurrency", "8", "-pipeline", "5", "-close", "-targets", "GET /"+mine("forked")+"/ok")
	e := expect("asks-forked", p.name, address, report)
	e.shared = "/" + mine("forked") + "/"
	check(t, e)
}

// TestSplicedProxy has a program between client and server that never sees the bytes it passes on (splice). They are counted on both of
// its edges, and the requests by the ends that do see them.
func TestSplicedProxy(t *testing.T) {
	serving, address := server(t, how{}, "behind-proxy", "127.0.0.1:0")
	between := start(t, how{}, named(t, "splices"), "proxy", "-to", address)
	front := between.line(t, "listening", patience)
	report := client(t, how{}, "before-proxy", front, "-requests", "4000", "-concurrency", "4", "-targets", "GET /spliced/ok,GET /spliced/missing?size=50000")
	served := serving.finish(t)
	edges := []struct {
		client, server, address string
		sent, received          int64
		connections             int
	}{
		{mine("before-proxy"), between.name, front, report.Sent, report.Received, report.Connections},
		{between.name, serving.name, address, served.Received, served.Sent, served.Connections},
	}
	for _, v := range built.watchers {
		var expectations []expectation
		for _, e := range edges {
			expectations = append(expectations, expectation{client: e.client, server: e.server, port: portOf(t, e.address), connections: e.connections, sent: e.sent, received: e.received, uncounted: true})
		}
		s := settled(t, v, expectations)
		for i, e := range expectations {
			for _, d := range e.differences(s) {
				t.Errorf("%s hook: %s", v.hook, d)
			}
			got := s.by("vetch_edge_requests_total", labels{"client": edges[i].client, "server": edges[i].server}, "code")
			require.Equal(t, map[string]float64{"200": 2000, "404": 2000}, got, "%s hook: requests of the edge %s -> %s, from the end that sees them", v.hook, edges[i].client, edges[i].server)
		}
	}
}

// TestUring has a client whose reads and writes are operations of io_uring: its bytes are counted, and its requests by the server's end.
func TestUring(t *testing.T) {
	if data, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); os.IsNotExist(err) || string(data) == "2\n" {
		t.Skip("SKIPPED: this kernel has no io_uring, or it is off")
	}
	serving, address := server(t, how{}, "answers-uring", "127.0.0.1:0")
	report := client(t, how{}, "asks-uring", address, "-mode", "uring", "-requests", "3000", "-concurrency", "3", "-targets", "GET /uring/ok")
	for _, v := range built.watchers {
		e := expect("asks-uring", serving.name, address, report)
		e.uncounted = true
		s := settled(t, v, []expectation{e})
		for _, d := range e.differences(s) {
			t.Errorf("%s hook: %s", v.hook, d)
		}
		require.Equal(t, map[string]float64{"GET /uring/ok 200": 3000}, s.by("vetch_workload_requests_total", labels{"workload": serving.name}, "method", "route", "code"), v.hook)
		require.Equal(t, map[string]float64{"200": 3000}, s.by("vetch_edge_requests_total", labels{"client": mine("asks-uring")}, "code"), v.hook)
	}
}

// TestSameInode has two programs that are the same file: two names of one, and a file that takes the inode of one that was deleted.
func TestSameInode(t *testing.T) {
	asked, address := server(t, how{}, "asked-by-links", "127.0.0.1:0")
	first := named(t, "first-name")
	second := filepath.Join(filepath.Dir(first), mine("second-name"))
	require.NoError(t, os.Link(first, second))
	names := []string{mine("first-name"), mine("second-name")}
	for _, path := range []string{first, second} {
		start(t, how{}, path, "client", "-addr", address, "-requests", "10", "-targets", "GET /links/ok").report(t, patience)
	}
	for i := range 5 { // ext4 gives a freed inode to the next file
		path := named(t, "rebuilt-"+strconv.Itoa(i))
		start(t, how{}, path, "client", "-addr", address, "-requests", "10", "-targets", "GET /links/ok").report(t, patience)
		require.NoError(t, os.Remove(path))
		names = append(names, filepath.Base(path))
	}
	for _, v := range built.watchers {
		var expectations []expectation
		for _, name := range names {
			expectations = append(expectations, expectation{client: name, server: asked.name, port: portOf(t, address), connections: 1, uncounted: true, noBytes: true})
		}
		s := settled(t, v, expectations)
		for _, e := range expectations {
			for _, d := range e.differences(s) {
				t.Errorf("%s hook: %s", v.hook, d)
			}
		}
	}
}

// TestArm64Builds holds that the program builds for arm64, with the kernel programs for it inside.
func TestArm64Builds(t *testing.T) {
	cmd := exec.Command("go", "build", "-o", filepath.Join(t.TempDir(), "vetch"), "../..")
	cmd.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
