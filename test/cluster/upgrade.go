package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"time"
)

func absent(path string) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there", path)
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// before is the address in front of another.
func before(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	return a.Prev().String()
}

// upgradeRelease changes a setting of the agents by helm. Certificates, tokens and what was stored stay; the agents that went left nothing.
func upgradeRelease(ctx context.Context, t *trial) error {
	secrets := map[string]string{"vetch-ca": "tls.crt", "vetch-server-tls": "tls.crt", "vetch-watcher-tls": "tls.key", "vetch-tokens": "page"}
	had := map[string]string{}
	for name, key := range secrets {
		value, err := t.secret(ctx, name, key)
		if err != nil {
			return err
		}
		had[name] = string(value)
	}
	old := t.traces
	t.traces = map[string]*kernelTrace{}
	if _, err := t.installed(ctx, "--set", "agent.config.agent.series_expiry="+ghostExpiry); err != nil {
		return err
	}
	for name, key := range secrets {
		value, err := t.secret(ctx, name, key)
		if err != nil {
			return err
		}
		if len(value) == 0 || string(value) != had[name] {
			return fmt.Errorf("the Secret %s has changed", name)
		}
	}
	var wrong []error
	for node, trace := range old {
		if programs, maps, links := trace.left(); programs+maps+links > 0 {
			wrong = append(wrong, fmt.Errorf("%s: %d programs, %d maps and %d links of the old agent are left", node, programs, maps, links))
		}
	}
	return errors.Join(append(wrong, t.trace(ctx), t.hear(ctx), t.call(ctx, "upgraded", "node1", 8), t.stored(ctx, "upgraded", 8))...)
}

// ghostExpiry is when the series of what is gone end, in the release as it was upgraded; the kernel's own entries go after five minutes without a change, and
// only then does an agent know that nothing is there any more.
const (
	ghostExpiry = "20s"
	ghostLimit  = 7 * time.Minute
)

// shownGhost counts the series of edges to a workload, of clients that no killed agent saw: what such a one had sent stays for five minutes.
const shownGhost = `count(vetch_edge_connections_total{server_namespace="shop", server=%q, client=~"haunt|cart"})`

func (t *trial) showsEdges(ctx context.Context, server string, want bool) error {
	result, err := t.query(ctx, fmt.Sprintf(shownGhost, server))
	if err == nil && (len(result) > 0) != want {
		err = fmt.Errorf("an edge to %s is shown: %v", server, !want)
	}
	return err
}

// haunt sends requests through workloads, holds that they are shown, and then deletes or scales them.
func haunt(ctx context.Context, t *trial) error {
	targets := []string{"POST http://cart.shop.svc.cluster.local:8080/carts/1", "http://front.shop.svc.cluster.local/items/1"}
	if _, err := t.job(ctx, "haunt", "node1", append([]string{"-requests", "20", "drive"}, targets...)); err != nil {
		return err
	}
	if err := eventually(ctx, settle, func() error { return t.showsEdges(ctx, "cart", true) }); err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "-n", "shop", "delete", "statefulset", "cart", "redis", "--timeout="+settle.String()); err != nil {
		return err
	}
	_, err := t.kubectl(ctx, "-n", "shop", "scale", "deployment", "catalog", "--replicas=1")
	return err
}

// leaveNoGhost looks for what the page would still show of workloads that are gone.
func leaveNoGhost(ctx context.Context, t *trial) error {
	return eventually(ctx, ghostLimit, func() error {
		var wrong []error
		for _, server := range []string{"cart", "redis"} {
			wrong = append(wrong, t.showsEdges(ctx, server, false))
		}
		var list struct {
			Workloads []struct{ Name, Namespace string }
		}
		wrong = append(wrong, t.ask(ctx, "/api/workloads", url.Values{"start": {"-30s"}}, &list))
		for _, w := range list.Workloads {
			if w.Namespace == "shop" && (w.Name == "cart" || w.Name == "redis") {
				wrong = append(wrong, fmt.Errorf("%s is still listed", w.Name))
			}
		}
		return errors.Join(wrong...)
	})
}
