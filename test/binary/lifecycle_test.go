package binary

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// run is one "vetch run" that a test starts, stops and kills itself.
type run struct {
	*vetch
	ended chan error
}

// startRun starts "vetch run" over dataDir. The test ends it, or the cleanup kills it.
func startRun(t *testing.T, dataDir string) *run {
	t.Helper()
	return launch(t, built.vetch, dataDir, nil)
}

func launch(t *testing.T, path, dataDir string, attr *syscall.SysProcAttr) *run {
	t.Helper()
	r := &run{vetch: &vetch{}, ended: make(chan error, 1)}
	port, err := freePort()
	require.NoError(t, err)
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	r.url = "http://" + listen
	r.log = &lockedBuffer{}
	r.cmd = exec.Command(path, "run", "--listen", listen, "--data-dir", dataDir, "--metrics-interval", "1s")
	r.cmd.Stdout, r.cmd.Stderr, r.cmd.SysProcAttr = r.log, r.log, attr
	require.NoError(t, r.cmd.Start())
	go func() { r.ended <- r.cmd.Wait() }()
	t.Cleanup(func() { r.cmd.Process.Kill() }) //nolint:errcheck // it may be gone
	require.NoError(t, poll(t.Context(), r.ready), "vetch run says:\n%s", r.log)
	return r
}

// signal sends s and waits for the end.
func (r *run) signal(t *testing.T, s os.Signal) error {
	t.Helper()
	require.NoError(t, r.cmd.Process.Signal(s))
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		t.Fatalf("vetch run did not end within %s of %s; it says:\n%s", patience, s, r.log)
		return nil
	}
}

// refused runs a command line that is to end by itself, and returns its exit code and standard error.
func refused(t *testing.T, attr *syscall.SysProcAttr, path string, args ...string) (int, string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stderr, cmd.SysProcAttr = &stderr, attr
	cmd.WaitDelay = time.Second
	time.AfterFunc(patience, func() { cmd.Process.Kill() }) //nolint:errcheck // it is gone by then
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stderr.String()
}

// sentence checks that the last line is the refusal, and that it is the only one of its kind.
func sentence(t *testing.T, stderr string, parts ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	last := lines[len(lines)-1]
	require.True(t, strings.HasPrefix(last, "vetch: "), stderr)
	require.Equal(t, 1, strings.Count(stderr, "vetch: "), stderr)
	for _, part := range parts {
		require.Contains(t, last, part)
	}
}

func TestRunRefusesWithoutPrivilege(t *testing.T) {
	_, path := forEverybody(t)
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for _, role := range []string{"run", "agent"} {
		code, stderr := refused(t, nobody, path, role, "--listen", "127.0.0.1:0")
		require.Equal(t, 3, code, stderr)
		sentence(t, stderr, "vetch "+role+" must be root", "sudo")
	}
}

// TestRunNeedsTwoCapabilities runs it as a user that has nothing but what docs/guide/install.md calls needed.
func TestRunNeedsTwoCapabilities(t *testing.T) {
	dir, path := forEverybody(t)
	data := filepath.Join(dir, "data")
	require.NoError(t, os.Mkdir(data, 0o700))
	require.NoError(t, os.Chown(data, 65534, 65534))
	r := launch(t, path, data, &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
		AmbientCaps: []uintptr{unix.CAP_BPF, unix.CAP_PERFMON},
	})
	require.NotEmpty(t, programsOf(t, r.cmd.Process.Pid))
	require.NoError(t, r.signal(t, syscall.SIGTERM), r.log)
}

// forEverybody copies vetch to a folder that other users can read.
func forEverybody(t *testing.T) (dir, path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vetch-nobody-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	text, err := os.ReadFile(built.vetch)
	require.NoError(t, err)
	path = filepath.Join(dir, "vetch")
	syscall.ForkLock.RLock() // a child forked meanwhile would hold the file open for writing, and it could not be run
	defer syscall.ForkLock.RUnlock()
	require.NoError(t, os.WriteFile(path, text, 0o755))
	return dir, path
}

func TestRunRefusesATakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	t.Setenv("VETCH_DATA_DIR", t.TempDir())
	for _, role := range []string{"run", "agent"} {
		code, stderr := refused(t, nil, built.vetch, role, "--listen", l.Addr().String())
		require.Equal(t, 1, code, stderr)
		sentence(t, stderr, l.Addr().String(), "in use")
	}
}

func TestRunRefusesADirectoryInUseOrOfANewerVersion(t *testing.T) {
	dir := t.TempDir()
	first := startRun(t, dir)
	code, stderr := refused(t, nil, built.vetch, "run", "--listen", "127.0.0.1:0", "--data-dir", dir)
	require.Equal(t, 1, code, stderr)
	sentence(t, stderr, "in use", dir, strconv.Itoa(first.cmd.Process.Pid))
	require.NoError(t, first.signal(t, os.Interrupt), first.log)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "metrics", "VERSION"), []byte("999\n"), 0o600))
	code, stderr = refused(t, nil, built.vetch, "run", "--listen", "127.0.0.1:0", "--data-dir", dir)
	require.Equal(t, 1, code, stderr)
	sentence(t, stderr, "newer version", dir)
}

func TestRunPrintsWhereToLook(t *testing.T) {
	r := startRun(t, t.TempDir())
	require.NoError(t, poll(t.Context(), func() error { // it is ready a little before it says so
		if !strings.Contains(r.log.String(), r.url) {
			return fmt.Errorf("it says only %q", r.log)
		}
		return nil
	}))
	require.NoError(t, r.signal(t, syscall.SIGTERM), r.log)
}

// TestGuideNamesEveryMetric holds docs/guide/metrics.md to what is exported.
func TestGuideNamesEveryMetric(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guide/metrics.md")
	require.NoError(t, err)
	r := startRun(t, t.TempDir())
	resp, err := http.Get(r.url + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	ours, found := regexp.MustCompile("^# TYPE ((?:vetch|container|node|caretta)_[a-z0-9_]+) "), 0
	for line := range strings.SplitSeq(string(text), "\n") {
		if m := ours.FindStringSubmatch(line); m != nil {
			found++
			require.Regexp(t, "`"+m[1]+"[`{]", string(guide))
		}
	}
	require.Greater(t, found, 20)
	require.NoError(t, r.signal(t, syscall.SIGTERM), r.log)
}

// TestTermWritesEverything stops a run in the middle of its work, with a live stream open, and finds the samples up to the end.
func TestTermWritesEverything(t *testing.T) {
	dir := t.TempDir()
	r := startRun(t, dir)
	stream, err := http.Get(r.url + "/api/map/stream")
	require.NoError(t, err)
	defer stream.Body.Close()
	sent := r.remoteWrite(t, 50)
	stopped := time.Now()
	require.NoError(t, r.signal(t, syscall.SIGTERM), r.log)
	ended := time.Now()

	r = startRun(t, dir)
	require.Equal(t, sent, r.stored(t))
	last := r.query(t, fmt.Sprintf("timestamp(vetch_build_info @ %.3f)", float64(ended.UnixMilli())/1000))
	require.GreaterOrEqual(t, last, float64(stopped.UnixMilli())/1000, "a last round is stored after the signal")
	require.NoError(t, r.signal(t, syscall.SIGTERM), r.log)
}

// TestStuckClient holds a request open that never ends: it must not hold up the end for longer than allowed, and a second signal ends at once.
func TestStuckClient(t *testing.T) {
	for name, twice := range map[string]bool{"one signal": false, "a second signal": true} {
		t.Run(name, func(t *testing.T) {
			r := startRun(t, t.TempDir())
			address := strings.TrimPrefix(r.url, "http://")
			conn, err := net.Dial("tcp", address)
			require.NoError(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\nContent-Length: 1000\r\n\r\nx")
			require.NoError(t, err)
			require.NoError(t, poll(t.Context(), func() error { return r.running(1) }))
			if !twice {
				require.NoError(t, r.signal(t, syscall.SIGTERM), r.log)
				return
			}
			require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
			require.NoError(t, poll(t.Context(), func() error {
				if c, err := net.Dial("tcp", address); err == nil {
					c.Close()
					return errors.New("the port is still open")
				}
				return nil
			}))
			var exit *exec.ExitError
			require.ErrorAs(t, r.signal(t, syscall.SIGTERM), &exit)
			require.Equal(t, syscall.SIGTERM, exit.Sys().(syscall.WaitStatus).Signal())
		})
	}
}

// running is the error of a server that does not have n requests in work besides this one.
func (r *run) running(n float64) error {
	resp, err := http.Get(r.url + "/metrics")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`(?m)^vetch_http_requests_running (\d+)$`).FindSubmatch(text)
	if m == nil || string(m[1]) != fmt.Sprint(n+1) {
		return fmt.Errorf("requests running: %s", m)
	}
	return nil
}

// TestKillLosesNothingAcknowledged kills in the middle of writes, finds every sample that was acknowledged, and no kernel program left behind.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	r := startRun(t, dir)
	programs := programsOf(t, r.cmd.Process.Pid)
	require.NotEmpty(t, programs)
	acknowledged := r.remoteWrite(t, 200)
	require.Error(t, r.signal(t, os.Kill))
	require.NoError(t, poll(t.Context(), func() error { return gone(programs) }))

	r = startRun(t, dir)
	require.Equal(t, acknowledged, r.stored(t))
	require.NoError(t, r.signal(t, syscall.SIGTERM), r.log)
}

// remoteWrite sends n samples, each in its own request, and returns how many the server acknowledged.
func (r *run) remoteWrite(t *testing.T, n int) float64 {
	t.Helper()
	start := time.Now().Add(-time.Minute).UnixMilli()
	acknowledged := 0
	for i := range n {
		body, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
			Labels:  []prompb.Label{{Name: "__name__", Value: "lifecycle_test"}},
			Samples: []prompb.Sample{{Value: float64(i), Timestamp: start + int64(i)}},
		}}}).Marshal()
		require.NoError(t, err)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, body)))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("Content-Encoding", "snappy")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.Equal(t, 2, resp.StatusCode/100, "%s", text)
		acknowledged++
	}
	return float64(acknowledged)
}

func (r *run) stored(t *testing.T) float64 {
	t.Helper()
	return r.query(t, "count_over_time(lifecycle_test[1h])")
}

// query is the value of a PromQL expression that gives one series.
func (r *run) query(t *testing.T, expr string) float64 {
	t.Helper()
	resp, err := http.Get(r.url + "/api/v1/query?query=" + url.QueryEscape(expr))
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	require.NoError(t, json.Unmarshal(text, &answer), "%s", text)
	require.Len(t, answer.Data.Result, 1, "%s: %s", expr, text)
	v, err := strconv.ParseFloat(answer.Data.Result[0].Value[1].(string), 64)
	require.NoError(t, err)
	return v
}

// programsOf lists the kernel programs that a process holds open.
func programsOf(t *testing.T, pid int) []ebpf.ProgramID {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	require.NoError(t, err)
	var ids []ebpf.ProgramID
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // closed meanwhile
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if v, ok := strings.CutPrefix(line, "prog_id:"); ok {
				id, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32)
				require.NoError(t, err)
				ids = append(ids, ebpf.ProgramID(id))
			}
		}
	}
	return ids
}

// gone is the error of programs that the kernel still has.
func gone(ids []ebpf.ProgramID) error {
	for _, id := range ids {
		p, err := ebpf.NewProgramFromID(id)
		if err == nil {
			p.Close()
			return fmt.Errorf("kernel program %d is still loaded", id)
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
