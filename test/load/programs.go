package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a started program.
type process struct {
	cmd     *exec.Cmd
	address string
	out     *strings.Builder
	signal  syscall.Signal // that ends it; SIGTERM if 0
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends it and waits.
func (p *process) stop() error {
	signal := p.signal
	if signal == 0 {
		signal = syscall.SIGTERM
	}
	if err := p.cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("it was gone already: %w; it said: %s", err, p.out)
	}
	timer := time.AfterFunc(10*time.Second, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.cmd.Wait(); err != nil && signal != syscall.SIGKILL {
		return fmt.Errorf("it ended badly: %w; it said: %s", err, p.out)
	}
	return nil
}

func startProcess(path string, env []string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(path, args...), out: &strings.Builder{}}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	return p, nil
}

// startVetch returns when it is ready. role is run or agent; env is more of its configuration.
func (t *tools) startVetch(ctx context.Context, role, hook string, env ...string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(t.dir, "data-")
	if err != nil {
		return nil, err
	}
	p, err := startProcess(t.vetch, append(env, "VETCH_LISTEN="+address, "VETCH_DATA_DIR="+filepath.Join(dir, "d"), "VETCH_AGENT_HOOK="+hook), role)
	if err != nil {
		return nil, err
	}
	p.address = address
	err = until(ctx, 30*time.Second, func() error {
		response, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("vetch did not become ready: %w", err), p.stop())
	}
	return p, nil
}

// startNginx starts it with one worker, whose answers are 612 bytes.
func (t *tools) startNginx(ctx context.Context) (master *process, worker int, err error) {
	address, err := freeAddress()
	if err != nil {
		return nil, 0, err
	}
	dir, err := os.MkdirTemp(t.dir, "nginx-")
	if err != nil {
		return nil, 0, err
	}
	conf := fmt.Sprintf(`daemon off; user root; worker_processes 1; pid %[1]s/pid; error_log stderr warn;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 1000000000; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d;
scgi_temp_path %[1]s/e; server { listen %[2]s; location / { return 200 "%[3]s"; } } }`, dir, address, strings.Repeat("x", 612))
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		return nil, 0, err
	}
	if master, err = startProcess("nginx", nil, "-p", dir, "-c", path); err != nil {
		return nil, 0, err
	}
	master.address = address
	err = until(ctx, 10*time.Second, func() error {
		response, err := http.Get("http://" + address + "/")
		if err != nil {
			return err
		}
		response.Body.Close()
		children := strings.Fields(readAll(fmt.Sprintf("/proc/%d/task/%d/children", master.pid(), master.pid())))
		if len(children) != 1 {
			return fmt.Errorf("nginx has %d workers", len(children))
		}
		worker, err = strconv.Atoi(children[0])
		return err
	})
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("nginx did not answer: %w", err), master.stop())
	}
	return master, worker, nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// until asks every 50 ms until there is no error, and returns the last one at the deadline.
func until(ctx context.Context, limit time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
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
