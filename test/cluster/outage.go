package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// These checks take parts of the release away. Each ends with the whole of it ready again.

// outage is how long the server is away.
const outage = 2 * time.Minute

// await waits until a part of the release is ready.
func (t *trial) await(ctx context.Context, object string) error {
	_, err := t.kubectl(ctx, "-n", "vetch", "rollout", "status", object, "--timeout="+settle.String())
	if err != nil {
		return fmt.Errorf("%w\n%s", err, t.lastWords(ctx))
	}
	return nil
}

// call runs a Job that asks the first pod of the catalog for something, and returns when it has had its answers.
func (t *trial) call(ctx context.Context, name, node string, requests int) error {
	pods, err := t.pods(ctx, "shop", "app=catalog")
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return errors.New("no pod of the catalog")
	}
	reports, err := t.job(ctx, name, node, []string{"-requests", strconv.Itoa(requests), "drive", "http://" + pods[0].Status.PodIP + ":8080/items/1"})
	if err == nil && (len(reports) != 1 || reports[0].OK != requests) {
		err = fmt.Errorf("not all requests of %s were answered: %+v", name, reports)
	}
	return err
}

// stored waits until the server has as many requests of a Job to the catalog.
func (t *trial) stored(ctx context.Context, client string, requests int) error {
	return eventually(ctx, settle, func() error {
		return t.same(ctx, fmt.Sprintf(`sum(%s{client_namespace="shop", client_kind="Job", client=%q, server="catalog"})`, edgeRequests, client), float64(requests))
	})
}

// same holds that a query of one value gives that value; one without an answer gives 0.
func (t *trial) same(ctx context.Context, expression string, want float64) error {
	result, err := t.query(ctx, expression)
	if err != nil {
		return err
	}
	got := 0.0
	if len(result) > 0 {
		if text, ok := result[0].Value[1].(string); ok {
			if got, err = strconv.ParseFloat(text, 64); err != nil {
				return err
			}
		}
	}
	if got != want {
		return fmt.Errorf("%s is %v, not %v", expression, got, want)
	}
	return nil
}

// loseNoSample kills the server, keeps it away for two minutes in which there is traffic, and looks for what the agents counted meanwhile.
func loseNoSample(ctx context.Context, t *trial) error {
	began := time.Now()
	before, err := t.rounds(ctx)
	if err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "-n", "vetch", "scale", "statefulset/vetch-server", "--replicas=0"); err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "-n", "vetch", "delete", "pod", "vetch-server-0", "--grace-period=0", "--force", "--ignore-not-found"); err != nil {
		return err
	}
	const requests = 40
	called := t.call(ctx, "away", "node2", requests) // what went wrong is told when the server is back
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(began.Add(outage))):
	}
	if _, err := t.kubectl(ctx, "-n", "vetch", "scale", "statefulset/vetch-server", "--replicas=1"); err != nil {
		return err
	}
	if err := errors.Join(called, t.await(ctx, "statefulset/vetch-server")); err != nil {
		return err
	}
	if err := t.stored(ctx, "away", requests); err != nil {
		return err
	}
	after, err := t.rounds(ctx)
	if err != nil {
		return err
	}
	return eventually(ctx, settle, func() error { return errors.Join(t.whole(ctx, began, before, after), t.gaveUpNothing(ctx)) })
}

// killAgent kills an agent's process. Its container starts again; what it held in the kernel is gone, and the new one counts.
func killAgent(ctx context.Context, t *trial) error {
	pods, err := t.agents(ctx)
	if err != nil {
		return err
	}
	const node = "node2"
	processes, err := t.processesOf(pods[node].containerID())
	if err != nil || len(processes) != 1 {
		return errors.Join(fmt.Errorf("the agent of %s has the processes %v", node, processes), err)
	}
	if err := syscall.Kill(processes[0], syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the agent: %w", err)
	}
	old := pods[node].containerID()
	err = eventually(ctx, settle, func() error {
		if programs, maps, links := t.traces[node].left(); programs+maps+links > 0 {
			return fmt.Errorf("%d programs, %d maps and %d links are left", programs, maps, links)
		}
		now, err := t.agents(ctx)
		if err == nil && (!now[node].ready() || now[node].containerID() == old) {
			err = fmt.Errorf("the agent of %s is not back", node)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := t.hear(ctx); err != nil {
		return err
	}
	if err := t.call(ctx, "healed", node, 4); err != nil {
		return err
	}
	return errors.Join(t.stored(ctx, "healed", 4), t.trace(ctx))
}

// killWholeNode takes the power from a node and boots it again. Its pods come back, and what they do is counted.
func killWholeNode(ctx context.Context, t *trial) error {
	const node = "node2"
	if err := t.killNode(node); err != nil {
		return err
	}
	notReady := func(want bool) func() error {
		return func() error {
			if err := t.isReady(ctx, node); (err == nil) != want {
				return fmt.Errorf("%s: ready is not %v: %w", node, want, err)
			}
			return nil
		}
	}
	if err := eventually(ctx, settle, notReady(false)); err != nil {
		return err
	}
	if err := t.tells(ctx, toldWithin, "the node is not ready", "reason", "NodeNotReady", "node", node, "source", "watcher"); err != nil {
		return err
	}
	if err := t.bootNode(node); err != nil {
		return err
	}
	if err := eventually(ctx, bootLimit, notReady(true)); err != nil {
		return err
	}
	for _, object := range []string{"daemonset/vetch-agent", "deployment/vetch-watcher"} {
		if err := t.await(ctx, object); err != nil {
			return err
		}
	}
	names, err := t.kubectl(ctx, "-n", "shop", "get", "deployments,statefulsets", "-o", "name") // an earlier check may have deleted some
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(names) {
		if _, err := t.kubectl(ctx, "-n", "shop", "rollout", "status", name, "--timeout="+settle.String()); err != nil {
			return err
		}
	}
	if err := t.hear(ctx); err != nil {
		return err
	}
	if err := t.call(ctx, "rebooted", node, 6); err != nil {
		return err
	}
	return errors.Join(t.stored(ctx, "rebooted", 6), t.trace(ctx))
}

// hear waits until the agents of all nodes have the names feed.
func (t *trial) hear(ctx context.Context) error {
	return eventually(ctx, settle, func() error {
		all, err := t.scrape(ctx)
		if err != nil {
			return err
		}
		for node, m := range all {
			if m.sum("vetch_names_connected") != 1 {
				return fmt.Errorf("the agent of %s has no feed", node)
			}
		}
		return nil
	})
}

// reuseAddress gives the address of a pod that has ended to the next one: each keeps its own name.
func reuseAddress(ctx context.Context, t *trial) error {
	const node = "node1"
	addressOf := func(job string) (string, error) {
		pods, err := t.pods(ctx, "shop", "app="+job)
		if err != nil || len(pods) != 1 {
			return "", errors.Join(fmt.Errorf("%d pods of %s", len(pods), job), err)
		}
		return pods[0].Status.PodIP, nil
	}
	if err := t.call(ctx, "former", node, 7); err != nil {
		return err
	}
	former, err := addressOf("former")
	if err != nil {
		return err
	}
	// Its address is free when the sandbox of the pod is gone. The plugin takes the one after the last that it gave out.
	kept := t.path(node, "addresses", "vetch-test")
	if err := eventually(ctx, settle, func() error { return absent(filepath.Join(kept, former)) }); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(kept, "last_reserved_ip.0"), before(former)); err != nil {
		return err
	}
	if err := t.call(ctx, "latter", node, 9); err != nil {
		return err
	}
	latter, err := addressOf("latter")
	if err != nil {
		return err
	}
	if latter != former {
		return fmt.Errorf("the pods have the addresses %s and %s", former, latter)
	}
	return errors.Join(t.stored(ctx, "former", 7), t.stored(ctx, "latter", 9))
}
