package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// browse makes a check of one of the walks of browse.mjs.
func browse(walk string) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error { return t.browse(ctx, walk) }
}

// browseTrouble walks among what goes wrong.
func browseTrouble(ctx context.Context, t *trial) error {
	if _, err := t.kubectl(ctx, "-n", "trouble", "get", "deployment", "crash"); err != nil { // the checks before were left out by -run
		if err := tellRollout(ctx, t); err != nil {
			return err
		}
	}
	if err := t.hasState(ctx, "crash", ".state.waiting.reason", "CrashLoopBackOff"); err != nil {
		return err
	}
	return t.browse(ctx, "trouble")
}

// browse opens the server's page in a real browser, by a port of this machine's loopback that leads to it. Pictures stay in STATE/screenshots.
func (t *trial) browse(ctx context.Context, walk string) error {
	if out, err := exec.CommandContext(ctx, "scripts/web.sh", "modules").CombinedOutput(); err != nil {
		return fmt.Errorf("install the page's modules: %w\n%s", err, out)
	}
	pictures := filepath.Join(t.state, "screenshots")
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	token, err := t.secret(ctx, "vetch-tokens", "page")
	if err != nil {
		return err
	}
	var service struct{ Spec struct{ ClusterIP string } }
	if err := t.get(ctx, &service, "service", "-n", "vetch", "vetch-server"); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the browser: %w", err)
	}
	defer listener.Close()
	go t.carry(ctx, listener, net.JoinHostPort(service.Spec.ClusterIP, "4780"))
	cmd := exec.CommandContext(ctx, "node", "test/cluster/browse.mjs", walk, "https://"+listener.Addr().String(), pictures)
	cmd.Env = append(os.Environ(), "TOKEN="+string(token))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("walk through the page: %w\n%s\npictures are in %s", err, out, pictures)
	}
	return nil
}

// carry joins connections to an address that the first node reaches, until the listener is closed.
func (t *trial) carry(ctx context.Context, listener net.Listener, address string) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer from.Close()
			to, err := dialIn(ctx, t.namespace(nodeNames[0]), address)
			if err != nil {
				return // as the browser sees
			}
			defer to.Close()
			join(from, to)
		}()
	}
}
