package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// toldWithin is how long after Kubernetes knows of something the server may take to tell of it.
const toldWithin = 10 * time.Second

// told is one event of the server's API.
type told struct {
	First, Last            time.Time
	Count                  int
	Type, Reason, Message  string
	Source, Workload, Node string
	Fields                 map[string]string
	Object                 struct{ Kind, Name, UID string }
	Cluster                string
}

// events asks the server for those with some properties ("reason", "OOMKilled").
func (t *trial) events(ctx context.Context, properties ...string) ([]told, error) {
	query := url.Values{"start": {"-1h"}, "limit": {"1000"}}
	for i := 0; i < len(properties); i += 2 {
		query.Add(properties[i], properties[i+1])
	}
	var answer struct{ Events []told }
	err := t.ask(ctx, "/api/events", query, &answer)
	return answer.Events, err
}

// tells waits until the server tells of an event whose message contains a text.
func (t *trial) tells(ctx context.Context, within time.Duration, text string, properties ...string) error {
	return eventually(ctx, within, func() error {
		list, err := t.events(ctx, properties...)
		if err != nil {
			return err
		}
		for _, e := range list {
			if strings.Contains(e.Message, text) && e.Cluster == "test" {
				return nil
			}
		}
		return fmt.Errorf("no event %q with %q among %+v", properties, text, list)
	})
}

// startTrouble starts what goes wrong: see the manifest.
func startTrouble(ctx context.Context, t *trial) error { return t.applyFile(ctx, "trouble.yaml") }

// waits until a container of an app has a state, in the words of kubectl's JSONPath.
func (t *trial) hasState(ctx context.Context, app, path, want string) error {
	return eventually(ctx, settle, func() error {
		got, err := t.kubectl(ctx, "-n", "trouble", "get", "pods", "-l", "app="+app, "-o", "jsonpath={.items[*].status.containerStatuses[*]"+path+"}")
		if err == nil && !strings.Contains(got, want) {
			err = fmt.Errorf("%s of %s is %q, not %s", path, app, got, want)
		}
		return err
	})
}

// tellTrouble holds that each kind of trouble is an event within 10 s, of the workload that it is of.
func tellTrouble(ctx context.Context, t *trial) error {
	if err := startTrouble(ctx, t); err != nil {
		return err
	}
	crash, hoard := "trouble/Deployment/crash", "trouble/StatefulSet/hoard"
	if err := t.hasState(ctx, "crash", ".state.waiting.reason", "CrashLoopBackOff"); err != nil {
		return err
	}
	err := errors.Join(
		t.tells(ctx, toldWithin, "ends again and again", "reason", "CrashLoopBackOff", "workload", crash),
		t.tells(ctx, toldWithin, "exit code 3", "workload", crash, "source", "watcher"),
		t.tells(ctx, toldWithin, "restarting failed container", "reason", "BackOff", "workload", crash, "source", "kubernetes"),
		// One that ends at once was gone before the agent could ask for its name: its own event may say the container's id only, the joined one says both.
		t.tells(ctx, toldWithin, "exit code 3", "reason", "Exited", "source", "kernel"),
		t.tells(ctx, toldWithin, "ended with exit code 3; the main process", "reason", "Exited", "workload", crash),
	)
	if err != nil {
		return err
	}
	if err := t.hasState(ctx, "hoard", ".lastState.terminated.reason", "OOMKilled"); err != nil {
		return err
	}
	err = errors.Join(
		t.tells(ctx, toldWithin, "out of memory", "reason", "OOMKilled", "workload", hoard, "source", "watcher"),
		t.tells(ctx, toldWithin, "out of memory", "reason", "OOMKilled", "source", "kernel"),
	)
	if err != nil {
		return err
	}
	return t.tells(ctx, settle, "Readiness probe failed", "reason", "Unhealthy", "workload", "trouble/Deployment/turning")
}

// tellRollout changes the environment, and then the image of a Deployment.
func tellRollout(ctx context.Context, t *trial) error {
	if err := startTrouble(ctx, t); err != nil {
		return err
	}
	const workload = "trouble/Deployment/turning"
	if err := t.hasState(ctx, "turning", ".state.running.startedAt", "T"); err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "-n", "trouble", "set", "env", "deployment/turning", "COLOUR=blue"); err != nil {
		return err
	}
	if err := t.tells(ctx, toldWithin, "changed: environment", "reason", "RolloutStarted", "workload", workload); err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "-n", "trouble", "patch", "deployment/turning", "--type=json", "-p", `[{"op": "remove", "path": "/spec/template/spec/containers/0/readinessProbe"}]`); err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "-n", "trouble", "rollout", "status", "deployment/turning", "--timeout="+settle.String()); err != nil {
		return err
	}
	if err := t.tells(ctx, toldWithin, "turning=localhost/shop:1", "reason", "RolloutFinished", "workload", workload); err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "-n", "trouble", "set", "image", "deployment/turning", "turning=localhost/shop:2"); err != nil {
		return err
	}
	return t.tells(ctx, toldWithin, "image of turning localhost/shop:1 -> localhost/shop:2", "reason", "RolloutStarted", "workload", workload)
}

// tellOnce restarts the watcher, which lists all again, and holds that no event counts more than before.
func tellOnce(ctx context.Context, t *trial) error {
	// What repeats in the cluster itself would count up meanwhile.
	if _, err := t.kubectl(ctx, "delete", "namespace", "trouble", "--ignore-not-found", "--timeout="+settle.String()); err != nil {
		return err
	}
	count := func() (map[string]int, error) {
		list, err := t.events(ctx, "namespace", "trouble", "source", "watcher")
		sums := map[string]int{}
		for _, e := range list {
			sums[e.Reason+" "+e.Object.UID+" "+e.Message] += e.Count
		}
		return sums, err
	}
	before, err := count()
	if err != nil {
		return err
	}
	if err := killWatcher(ctx, t); err != nil {
		return err
	}
	after, err := count()
	if err != nil {
		return err
	}
	for what, n := range before {
		if after[what] != n {
			return fmt.Errorf("%s happened %d times, and %d after the watcher came back", what, n, after[what])
		}
	}
	return nil
}
