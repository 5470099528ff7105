package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// check is one thing that must hold. Checks run in the order of the table; one that others need is a step.
type check struct {
	name string
	step bool // runs whatever -run says; when it fails the rest is not tried
	run  func(context.Context, *trial) error
}

// trial is a run of the checks, and what earlier ones found out for later ones.
type trial struct {
	*cluster
	shop   *shop
	traces map[string]*kernelTrace // of each node's agent
	kept   bool                    // the cluster was up before
}

func checks() []check {
	return []check{
		{"images are made and imported", true, importImages},
		{"the chart installs, and all of it is ready", true, install}, // before what they are to count: the first requests of older connections are not seen
		{"the shop is ready on both nodes", true, startShop},
		{"a request through each kind of address is answered", true, driveShop},
		{"the API server takes every manifest under strict validation", false, acceptManifests},
		{"helm test passes", false, runHelmTest},
		{"agents have the rights of the chart, the others none", false, holdFewRights},
		{"the server shows nothing without its token", false, refuseStrangers},
		{"serving containers count every request", false, countServing},
		{"calling containers count every request", false, countCalling},
		{"routes of the shop are counted by workload", false, countRoutes},
		{"every edge is there once, by the names of its workloads", false, nameEdges},
		{"an agent shows no container of another node", false, keepToNode},
		{"vetch top agrees with the kubelets within 5 %", false, topAgrees},
		{"agents measure the pods of their node, as the kubelet does", false, agentsMeasure},
		{"the server knows the state of the shop's objects", false, stateOfShop},
		{"a Job of 200 ms is seen", false, seeShortJob},
		{"a Job of 200 ms is named", false, nameShortJob},
		{"a browser shows the shop on every page", false, browse("pages")},
		{"a browser leads from the map by namespace over workload and pod to the node", false, browse("path")},
		{"a watcher that is killed comes back, and agents hear it", false, killWatcher},
		{"the state of a workload follows its scaling, after another watcher took over", false, stateFollows},
		{"CrashLoopBackOff, OOMKilled and Unhealthy are events within 10 s", false, tellTrouble},
		{"a rollout is events within 10 s, with the images that change", false, tellRollout},
		{"a browser shows what is in trouble, and its events", false, browseTrouble},
		{"a watcher that takes over tells no event twice", false, tellOnce},
		{"a pod with the address of one that ended has its own name", false, reuseAddress},
		{"nothing is lost", false, loseNothing},
		{"agents ask the kubelets by the rights of the chart, for space on the disk", false, askKubelets},
		{"an agent that sees no cgroups has their figures from the kubelet, within 10 %", false, kubeletAgrees},
		{"helm upgrade keeps certificates and tokens, and leaves nothing of old agents", false, upgradeRelease},
		{"workloads are shown, deleted and scaled (ghosts)", false, haunt},
		{"a server that is killed and away for 2 minutes misses no sample", false, loseNoSample},
		{"deleted and scaled workloads leave no ghost", false, leaveNoGhost},
		{"an agent that is killed comes back and counts", false, killAgent},
		{"a node that is killed and brought back is whole again", false, killWholeNode},
		{"a browser shows that the node was away", false, browse("outage")},
		{"helm uninstall leaves nothing in the cluster, and nothing on the nodes", false, leaveNothing},
	}
}

// test runs the checks. Its last line is the total.
func (c *cluster) test(ctx context.Context) (err error) {
	if err := c.build(ctx, append(needed(), "helm")...); err != nil {
		return err
	}
	kept := len(c.running()) > 0
	if !kept {
		if err := c.up(ctx); err != nil {
			return errors.Join(err, c.unlessKept(c.down))
		}
		defer func() { err = errors.Join(err, c.unlessKept(c.down)) }()
	}
	only := regexp.MustCompile(c.run)
	t := &trial{cluster: c, shop: &shop{}, traces: map[string]*kernelTrace{}, kept: kept}
	var passed, failed int
	for _, one := range checks() {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if !one.step && !only.MatchString(one.name) {
			continue
		}
		began := time.Now()
		err := one.run(ctx, t)
		took := time.Since(began).Round(100 * time.Millisecond)
		if err == nil {
			passed++
			fmt.Printf("PASS  %s (%v)\n", one.name, took)
			continue
		}
		failed++
		fmt.Printf("FAIL  %s (%v)\n      %s\n", one.name, took, strings.ReplaceAll(err.Error(), "\n", "\n      "))
		if one.step {
			break
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		return errors.New("not all checks passed")
	}
	return nil
}

func (c *cluster) unlessKept(end func() error) error {
	if c.keep {
		return nil
	}
	return end()
}

// eventually tries until it holds, and says why it does not when the limit is over.
func eventually(ctx context.Context, limit time.Duration, try func() error) error {
	var err error
	if until(limit, func() bool { err = try(); return err == nil || ctx.Err() != nil }) {
		return errors.Join(err, ctx.Err())
	}
	return fmt.Errorf("not within %v: %w", limit, err)
}

func importImages(ctx context.Context, t *trial) error {
	files, err := t.testImages(ctx)
	if err != nil {
		return err
	}
	if err := t.remove(ctx); err != nil {
		return err
	}
	if t.reuse && t.kept {
		return nil // the nodes have them
	}
	return t.load(ctx, files...)
}
