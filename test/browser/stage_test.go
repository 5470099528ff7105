package browser

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stage is a small shop made of nginx: the real one in front, and copies of it under names of their own behind it, for a plain program's
// workload is named by its executable.
type stage struct {
	t     *testing.T
	dir   string
	front int // port
}

// newStage starts the servers; nobody calls them yet.
func newStage(t *testing.T) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "vetch-browser-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &stage{t: t, dir: dir}
	p := freePorts(t, 6)
	front, orders, cart, accounts, stock, closed := p[0], p[1], p[2], p[3], p[4], p[5]
	s.front = front
	s.serve("stock", stock, `location / { return 200 "12\n"; }`)
	s.serve("accounts", accounts, fmt.Sprintf(`location /ledger { proxy_pass http://127.0.0.1:%d; } location / { return 200 "ok\n"; }`, closed))
	s.serve("cart", cart, fmt.Sprintf(`location / { proxy_pass http://127.0.0.1:%d/level; }`, stock))
	s.serve("orders", orders, fmt.Sprintf(`location /api/orders/13 { return 500; } location / { proxy_pass http://127.0.0.1:%d/account; }`, accounts))
	s.serve("nginx", front, fmt.Sprintf(`
      location /api/orders/ { proxy_pass http://127.0.0.1:%d; }
      location /api/cart { proxy_pass http://127.0.0.1:%d; }
      location /api/ledger { proxy_pass http://127.0.0.1:%d/ledger; }
      location = /feed { limit_req zone=paced burst=10000; root %s; }
      location = /old { return 301 /; }
      location = /missing { return 404; }
      location / { return 200 "welcome\n"; }`, orders, cart, accounts, s.dir))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "feed"), []byte("[]\n"), 0o644))
	return s
}

const configuration = `daemon off; user root; worker_processes 1; pid %[1]s/pid; error_log %[1]s/error.log;
events {}
http {
  limit_req_zone $server_port zone=paced:1m rate=120r/s;
  access_log off; keepalive_requests 100000;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server { listen 127.0.0.1:%[2]d; %[3]s }
}
`

// serve runs nginx under a name, and returns when it listens.
func (s *stage) serve(name string, port int, locations string) {
	s.t.Helper()
	program, err := exec.LookPath("nginx")
	require.NoError(s.t, err)
	home := filepath.Join(s.dir, name+".d")
	require.NoError(s.t, os.Mkdir(home, 0o755))
	if name != "nginx" {
		code, err := os.ReadFile(program)
		require.NoError(s.t, err)
		program = filepath.Join(s.dir, name)
		require.NoError(s.t, os.WriteFile(program, code, 0o755))
	}
	file := filepath.Join(home, "nginx.conf")
	require.NoError(s.t, os.WriteFile(file, fmt.Appendf(nil, configuration, home, port, locations), 0o644))
	start(s.t, exec.Command(program, "-c", file, "-p", home))
	awaitPort(s.t, port)
}

// startTraffic calls the shop until the context ends: curl at a steady rate on every route, wrk on one that nginx limits.
func (s *stage) startTraffic(ctx context.Context) {
	s.t.Helper()
	url := func(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", s.front, path) }
	for _, c := range []struct{ rate, path string }{
		{"40/s", "/api/orders/[1-25]"}, {"25/s", "/api/cart?n=[1-9999]"}, {"3/s", "/api/ledger?n=[1-9999]"},
		{"15/s", "/?n=[1-9999]"}, {"2/s", "/missing?n=[1-9999]"}, {"1/s", "/old?n=[1-9999]"},
	} {
		// One curl asks for all of the list on one connection, as a client library would.
		list := []string{"--silent", "--rate", c.rate}
		for range 600 {
			list = append(list, "--output", os.DevNull, url(c.path))
		}
		start(s.t, exec.CommandContext(ctx, "curl", list...))
	}
	start(s.t, exec.CommandContext(ctx, "wrk", "-t1", "-c1", "-d480s", url("/feed")))
}

// startVetch runs a command of vetch on a free port and a new data directory, and returns its address when it is ready.
func startVetch(t *testing.T, dir, command string) string {
	t.Helper()
	program := os.Getenv("TEST_VETCH")
	if program == "" {
		program = filepath.Join(dir, "vetch")
		build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	address := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	start(t, exec.Command(program, command, "--listen", address, "--data-dir", filepath.Join(dir, "data")))
	url := "http://" + address
	require.Eventually(t, func() bool {
		res, err := http.Get(url + "/-/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, time.Minute, 100*time.Millisecond, "vetch is not ready")
	return url
}

// start runs a program until the test ends, and shows what it said where the test failed.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		gone := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(gone)
		}()
		select {
		case <-gone:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-gone
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), said.String())
		}
	})
}

// freePorts finds ports nobody listens on; all are held until all are found, so that they differ.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func awaitPort(t *testing.T, port int) {
	t.Helper()
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	}, time.Minute, 20*time.Millisecond, "nginx does not listen on port %d", port)
}
