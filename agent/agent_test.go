package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

// The test binary, copied under another name, is also the programs that the tests watch.
const roleVariable = "VETCH_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		goleak.VerifyTestMain(m)
	case "server":
		os.Exit(serve(os.Args[1]))
	case "client":
		os.Exit(request(os.Args[1], os.Args[2]))
	}
}

// serve answers HTTP at an address until its input ends. It prints the address.
func serve(addr string) int {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(listener.Addr())
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/missing") {
				w.WriteHeader(http.StatusNotFound)
			}
			fmt.Fprintln(w, r.URL.Path)
		}))
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// request sends n requests over one connection.
func request(url, n string) int {
	count, err := strconv.Atoi(n)
	if err != nil {
		return 2
	}
	for range count {
		response, err := http.Get(url)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	return 0
}

// program copies the test binary under a name of its own.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	path := filepath.Join(t.TempDir(), name)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// prefix puts a program into a network namespace; empty is this one.
type prefix []string

func (in prefix) command(role, path string, args ...string) *exec.Cmd {
	line := append(append([]string{}, in...), append([]string{path}, args...)...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

// startServer starts a server and gives its address and a function that ends it.
func startServer(t *testing.T, in prefix, path, addr string) (at string, stop func()) {
	t.Helper()
	cmd := in.command("server", path, addr)
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			input.Close()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatalf("start server: %v", err)
	}
	return strings.TrimSpace(line), stop
}

// freeAddress is one that nobody listens at now.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// startAgent watches this machine until the test ends.
func startAgent(t *testing.T) *Agent {
	t.Helper()
	a, err := New(Options{Version: "test", Probe: probe.Options{PollInterval: 200 * time.Millisecond}, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatalf("start an agent (needs root): %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a
}

// sum adds the series of a name that have all of the labels.
func sum(a *Agent, name string, labels ...string) (total float64) {
	a.Gather(func(s model.Sample) {
		if s.Family.Name != name {
			return
		}
		for i := 0; i < len(labels); i += 2 {
			if s.Labels.Get(labels[i]) != labels[i+1] {
				return
			}
		}
		total += s.Value
	})
	return total
}

// eventually waits until a figure is what it should be.
func eventually(t *testing.T, a *Agent, want float64, name string, labels ...string) {
	t.Helper()
	assert.EventuallyWithT(t, func(collect *assert.CollectT) {
		assert.Equal(collect, want, sum(a, name, labels...), "%s%v", name, labels) //nolint:testifylint // counts are whole numbers
	}, time.Minute, 50*time.Millisecond)
}

func TestProgramsOfThisMachine(t *testing.T) {
	a := startAgent(t)
	server, client := program(t, "vetch-shop"), program(t, "vetch-visit")
	at, stop := startServer(t, nil, server, freeAddress(t))
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	run := func(path, n string) error { return prefix(nil).command("client", client, "http://"+at+path, n).Run() }
	const visits = 20
	for i := range visits { // each is a process of its own, gone before it is read
		if err := run(fmt.Sprintf("/item/%d", i), "1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := run("/missing", "1000"); err != nil {
		t.Fatal(err)
	}
	edge := []string{"client", "vetch-visit", "client_kind", "Process", "server", "vetch-shop", "server_kind", "Process", "port", port, "protocol", "http"}
	eventually(t, a, visits, "vetch_edge_requests_total", append(edge, "code", "200")...)
	eventually(t, a, 1000, "vetch_edge_requests_total", append(edge, "code", "404")...)
	eventually(t, a, visits+1, "vetch_edge_connections_total", edge...)
	eventually(t, a, visits, "vetch_workload_requests_total", "workload", "vetch-shop", "route", "/item/{id}")
	eventually(t, a, 1000, "vetch_workload_requests_total", "workload", "vetch-shop", "route", "/missing", "code", "404")
	eventually(t, a, 1000, "container_http_requests_total", "container_id", "/process/vetch-visit", "status", "4xx")
	eventually(t, a, 1000, "container_http_inbound_requests_total", "container_id", "/process/vetch-shop", "status", "4xx")
	eventually(t, a, 1, "container_net_tcp_listen_info", "container_id", "/process/vetch-shop", "listen_addr", at)

	stop()
	eventually(t, a, 0, "container_net_tcp_listen_info", "container_id", "/process/vetch-shop")
	if err := run("/", "1"); err == nil {
		t.Fatal("the server still answers")
	}
	eventually(t, a, 1, "vetch_edge_failed_connections_total", append(edge, "error", "refused")...)
	if status := a.Status(); status.Digest.Edges == 0 || len(status.Probe.Hooks) == 0 {
		t.Errorf("status %+v", status)
	}
}

// TestAcrossNamespaces: a client in one network namespace reaches a server in another by an address that is translated on the way.
func TestAcrossNamespaces(t *testing.T) {
	a := startAgent(t)
	inClient, inServer := newNamespace(t), newNamespace(t)
	clientPID, serverPID := inClient[2], inServer[2]
	shell(t, inClient, "ip link set lo up; ip link add e0 type veth peer name e0 netns "+serverPID+"; ip addr add 10.78.1.1/24 dev e0; ip link set e0 up; ip route add default via 10.78.1.2")
	shell(t, inServer, "ip link set lo up; ip addr add 10.78.1.2/24 dev e0; ip link set e0 up")
	server, client := program(t, "vetch-inner"), program(t, "vetch-outer")
	at, _ := startServer(t, inServer, server, "10.78.1.2:0")
	shell(t, inClient, "iptables -t nat -A OUTPUT -d 10.99.7.7 -p tcp --dport 80 -j DNAT --to-destination "+at)
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"http://10.99.7.7/translated", "http://" + at + "/direct"} {
		if out, err := inClient.command("client", client, url, "50").CombinedOutput(); err != nil {
			t.Fatalf("client in %s: %v\n%s", clientPID, err, out)
		}
	}
	eventually(t, a, 100, "vetch_edge_requests_total", "client", "vetch-outer", "server", "vetch-inner", "port", port, "protocol", "http")
	eventually(t, a, 2, "vetch_edge_connections_total", "client", "vetch-outer", "server", "vetch-inner", "port", port, "protocol", "http")
	eventually(t, a, 100, "vetch_workload_requests_total", "workload", "vetch-inner")
	eventually(t, a, 50, "container_http_requests_total", "container_id", "/process/vetch-outer", "destination", "10.99.7.7:80", "actual_destination", at)
	for _, end := range []string{"client", "server"} { // there is no edge with only one of the two
		name := map[string]string{"client": "vetch-outer", "server": "vetch-inner"}[end]
		if got := sum(a, "vetch_edge_connections_total", end, name); got != 2 {
			t.Errorf("all edges of the %s: %v connections, want 2", end, got)
		}
	}
}

func shell(t *testing.T, in prefix, lines string) {
	t.Helper()
	line := append(append([]string{}, in...), "sh", "-ec", lines)
	if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s (needs root, iproute2, iptables): %v\n%s", lines, err, out)
	}
}

// newNamespace makes a network namespace and gives the words that run a program in it; the third is the process that holds it.
func newNamespace(t *testing.T) prefix {
	t.Helper()
	cmd := exec.Command("unshare", "--net", "sh", "-c", "echo; exec cat")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { input.Close(); _ = cmd.Wait() })
	if _, err := io.ReadFull(output, make([]byte, 1)); err != nil {
		t.Fatalf("no network namespace (needs root): %v", err)
	}
	return prefix{"nsenter", "-t", strconv.Itoa(cmd.Process.Pid), "-n"}
}
