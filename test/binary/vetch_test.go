package binary

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval is how often the vetch under test reads the kernel's counters.
const pollInterval = 400 * time.Millisecond

// settings of one run of vetch.
type settings struct {
	role string // "agent" unless said otherwise
	hook string
	env  []string
}

// vetch is a running one.
type vetch struct {
	role    string
	hook    string
	url     string
	dataDir string
	cmd     *exec.Cmd
	log     *lockedBuffer
}

// hooks are the choices that this kernel has, or those of VETCH_TEST_HOOKS; "none" drives the programs against each other without vetch. sock_send_length came with Linux 6.3.
func hooks() []string {
	if chosen := os.Getenv("VETCH_TEST_HOOKS"); chosen == "none" {
		return nil
	} else if chosen != "" {
		return strings.Split(chosen, ",")
	}
	var name unix.Utsname
	var major, minor int
	if err := unix.Uname(&name); err == nil {
		fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	}
	if major < 6 || major == 6 && minor < 3 {
		return []string{"syscall"}
	}
	return []string{"socket", "syscall"}
}

// startVetch returns when vetch says it is ready.
func startVetch(ctx context.Context, s settings) (*vetch, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if s.role == "" {
		s.role = "agent"
	}
	dataDir, err := os.MkdirTemp(built.dir, "data-")
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	v := &vetch{role: s.role, hook: s.hook, url: "http://" + address, dataDir: dataDir, log: &lockedBuffer{}}
	v.cmd = exec.Command(built.vetch, s.role)
	v.cmd.Env = append(os.Environ(), "VETCH_LISTEN="+address, "VETCH_DATA_DIR="+filepath.Join(dataDir, "d"), "VETCH_AGENT_HOOK="+s.hook,
		"VETCH_AGENT_POLL_INTERVAL="+pollInterval.String(), "VETCH_METRICS_INTERVAL=1s", "VETCH_LOG_LEVEL=debug") // it says what it looks into
	v.cmd.Env = append(v.cmd.Env, s.env...)
	v.cmd.Stdout, v.cmd.Stderr = v.log, v.log
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := v.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start vetch: %w", err)
	}
	if err := poll(ctx, func() error { return v.ready() }); err != nil {
		v.cmd.Process.Kill()
		v.cmd.Wait()
		return nil, fmt.Errorf("vetch %s --hook %s: %w; it says:\n%s", s.role, s.hook, err, v.log)
	}
	return v, nil
}

func (v *vetch) ready() error {
	if v.cmd.Process.Signal(syscall.Signal(0)) != nil {
		return fmt.Errorf("it is gone")
	}
	response, err := http.Get(v.url + "/-/ready")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/-/ready answers %s", response.Status)
	}
	return nil
}

// stop ends it with SIGTERM and reports where it does not end or ends badly.
func (v *vetch) stop() error {
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("vetch was gone before it was stopped: %w; it said:\n%s", err, v.log)
	}
	done := make(chan error, 1)
	go func() { done <- v.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("vetch ended with %w; it said:\n%s", err, v.log)
		}
		return nil
	case <-time.After(patience):
		v.cmd.Process.Kill()
		<-done
		return fmt.Errorf("vetch did not end in time after SIGTERM; it said:\n%s", v.log)
	}
}

// watch starts a vetch for one test on the hook of an outer subtest.
func watch(t *testing.T, s settings) *vetch {
	t.Helper()
	v, err := startVetch(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.stop(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// freePort is one that nobody listens on, and that none of the watchers has in its metrics: what a server before had counts there for a while.
func freePort() (int, error) {
	var known []byte
	for _, v := range built.watchers {
		text, err := v.get("/metrics")
		if err != nil {
			return 0, err
		}
		known = append(known, text...)
	}
	for {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := listener.Addr().(*net.TCPAddr).Port
		listener.Close()
		if !bytes.Contains(known, fmt.Appendf(nil, `:%d"`, port)) {
			return port, nil
		}
	}
}

// patience is how long a test waits for what must come: on a busy machine it comes late.
const patience = time.Minute

// poll asks every 100 ms until there is no error, and returns the last one when patience ends.
func poll(ctx context.Context, ask func() error) error { return pollFor(ctx, patience, ask) }

func pollFor(ctx context.Context, limit time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// lockedBuffer collects output while it is read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
