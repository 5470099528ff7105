package binary

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/test/conversation"
)

// program is a started one. Its lines of output can be waited for.
type program struct {
	name   string // of its executable, which is the name of its workload
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan string
	stderr *lockedBuffer
}

// how a program is started.
type how struct {
	ns     *namespace // nil: the test's own
	cgroup string     // folder of the cgroup to start in; "": the test's own
	dir    string
}

// mine makes a name of a program or a path this run's own: another run on the same machine is counted by this one's vetch too.
func mine(name string) string { return name + "-" + built.tag }

// named returns the path of a copy of the traffic program under a name of this run, so that it is a workload of its own.
func named(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(built.traffic)
	require.NoError(t, err)
	dir, err := os.MkdirTemp(built.dir, "copy-") // kept to the end: an inode that is used again is the same owner to the kernel programs
	require.NoError(t, err)
	path := filepath.Join(dir, mine(name))
	syscall.ForkLock.RLock() // a child forked meanwhile would hold the file open for writing, and it could not be run
	defer syscall.ForkLock.RUnlock()
	require.NoError(t, os.WriteFile(path, data, 0o755))
	return path
}

// start runs a program until the test ends.
func start(t testing.TB, h how, path string, args ...string) *program {
	t.Helper()
	argv := append([]string{path}, args...)
	if h.cgroup != "" {
		argv = append([]string{"/bin/sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, h.cgroup}, argv...)
	}
	p := &program{name: filepath.Base(path), cmd: exec.Command(argv[0], argv[1:]...), lines: make(chan string, 100), stderr: &lockedBuffer{}}
	p.cmd.Stderr = p.stderr
	p.cmd.Dir = h.dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, h.ns.do(p.cmd.Start))
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() { p.end(t) })
	return p
}

// line waits for a line that begins with prefix and returns the rest of it.
func (p *program) line(t testing.TB, prefix string, limit time.Duration) string {
	t.Helper()
	deadline := time.After(limit)
	for {
		select {
		case line, open := <-p.lines:
			if !open {
				t.Fatalf("%s ended without a line %q; it says: %s", p.name, prefix, p.stderr)
			}
			if rest, found := strings.CutPrefix(line, prefix+" "); found {
				return rest
			}
			if line == prefix {
				return ""
			}
		case <-deadline:
			t.Fatalf("%s gave no line %q in %v; it says: %s", p.name, prefix, limit, p.stderr)
		}
	}
}

// report waits for the program's own account.
func (p *program) report(t testing.TB, limit time.Duration) conversation.Report {
	t.Helper()
	var r conversation.Report
	require.NoError(t, json.Unmarshal([]byte(p.line(t, "report", limit)), &r))
	require.Empty(t, r.Errors, "%s had errors", p.name)
	return r
}

// finish asks the program to end and returns its account.
func (p *program) finish(t testing.TB) conversation.Report {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	return p.report(t, patience)
}

func (p *program) end(t testing.TB) {
	p.cmd.Process.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		<-ctx.Done()
		p.cmd.Process.Kill()
	}()
	for range p.lines { // so that it is not stopped by a full pipe
	}
	if err := p.cmd.Wait(); err != nil && t.Failed() {
		t.Logf("%s: %v: %s", p.name, err, p.stderr)
	}
}

// server starts "traffic server" under a name and returns it with its address.
func server(t testing.TB, h how, name, listen string, args ...string) (*program, string) {
	t.Helper()
	p := start(t, h, named(t, name), append([]string{"server", "-listen", listen}, args...)...)
	return p, p.line(t, "listening", patience)
}

// client runs "traffic client" under a name to its end and returns what it did.
func client(t testing.TB, h how, name, address string, args ...string) conversation.Report {
	t.Helper()
	p := start(t, h, named(t, name), append([]string{"client", "-addr", address}, args...)...)
	return p.report(t, 4*time.Minute)
}

func portOf(t testing.TB, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	return n
}

// python is the interpreter itself, behind links and the scripts of version managers.
func python(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("python3", "-c", "import os, sys; print(os.path.realpath(sys.executable))").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// pythonServer starts testdata/httpd.py.
func pythonServer(t testing.TB) (*program, string) {
	t.Helper()
	p := start(t, how{}, python(t), "testdata/httpd.py")
	return p, p.line(t, "listening", patience)
}

// nginxServer starts nginx with two workers on a free port of each address, which are the answer.
// Paths that end in moved, missing and broken answer 301, 404 and 500; in file, a file of 10 MB by sendfile; all others 200.
func nginxServer(t testing.TB, h how, hosts ...string) (*program, []string) {
	t.Helper()
	dir := t.TempDir()
	var listens, addresses []string
	for _, host := range hosts {
		var address string
		require.NoError(t, h.ns.do(func() error {
			listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
			if err != nil {
				return err
			}
			address = listener.Addr().String()
			return listener.Close()
		}))
		addresses = append(addresses, address)
		listens = append(listens, "listen "+address+" backlog=1024;")
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), make([]byte, 10_000_000), 0o644))
	template, err := os.ReadFile("testdata/nginx.conf")
	require.NoError(t, err)
	conf := strings.NewReplacer("$DIR", dir, "$LISTEN", strings.Join(listens, "\n")).Replace(string(template))
	path := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(path, []byte(conf), 0o644))
	nginx, err := exec.LookPath("nginx")
	require.NoError(t, err)
	p := start(t, h, nginx, "-p", dir, "-c", path)
	for _, address := range addresses {
		require.NoError(t, poll(t.Context(), func() error {
			return h.ns.do(func() error { return listening(address) })
		}), "nginx: %s", p.stderr)
	}
	return p, addresses
}

// listening reports an error until a socket listens there. It does not connect: that would be counted.
func listening(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	for _, table := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) > 3 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", n)) {
				return nil
			}
		}
	}
	return fmt.Errorf("nothing listens on port %d", n)
}
