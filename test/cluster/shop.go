package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// settle is how long a deployment, or what the agents show of it, may take.
const settle = 2 * time.Minute

// pod is what checks want to know of one.
type pod struct {
	Metadata struct {
		Name, Namespace, UID string
		Labels               map[string]string
		DeletionTimestamp    string
	}
	Spec   struct{ NodeName string }
	Status struct {
		Phase             string
		PodIP             string
		PodIPs            []struct{ IP string }
		ContainerStatuses []struct {
			Name, ContainerID string
			Ready             bool
		}
	}
}

// ready says whether all containers are.
func (p pod) ready() bool {
	for _, c := range p.Status.ContainerStatuses {
		if !c.Ready {
			return false
		}
	}
	return len(p.Status.ContainerStatuses) > 0
}

// container names the first container as coroot-node-agent does.
func (p pod) container() string {
	return "/k8s/" + p.Metadata.Namespace + "/" + p.Metadata.Name + "/" + p.Status.ContainerStatuses[0].Name
}

// address is that of a family, "" where the pod has none.
func (p pod) address(f family) string {
	for _, at := range p.Status.PodIPs {
		if strings.Contains(at.IP, ":") == (f == ipv6) {
			return at.IP
		}
	}
	return ""
}

// containerID is the runtime's id of the first container.
func (p pod) containerID() string {
	_, id, _ := strings.Cut(p.Status.ContainerStatuses[0].ContainerID, "://")
	return id
}

// pods lists those that a selector means and that are not on their way out.
func (c *cluster) pods(ctx context.Context, namespace, selector string) ([]pod, error) {
	var list struct{ Items []pod }
	err := c.get(ctx, &list, "pods", "-n", namespace, "-l", selector)
	return slices.DeleteFunc(list.Items, func(p pod) bool { return p.Metadata.DeletionTimestamp != "" }), err
}

// shop is who serves, and how many requests the driver sent to whom.
type shop struct {
	pods  map[string]pod // by name of the pod
	sent  map[string]int // HTTP requests, by the name of the app that served them
	calls int            // HTTP requests of the driver
}

// of lists the pods of an app.
func (s *shop) of(app string) []pod {
	var list []pod
	for _, p := range s.pods {
		if p.Metadata.Labels["app"] == app {
			list = append(list, p)
		}
	}
	return list
}

var shopRollouts = []string{"statefulset/postgres", "statefulset/redis", "deployment/catalog", "statefulset/cart", "deployment/front"}

func startShop(ctx context.Context, t *trial) error {
	listen := ""
	if hasIPv6() {
		listen = "listen [::]:80;"
	}
	if err := t.applyFile(ctx, "shop.yaml", "$LISTEN", listen); err != nil {
		return err
	}
	if hasIPv6() {
		if err := t.applyFile(ctx, "shop6.yaml"); err != nil {
			return err
		}
	}
	for _, name := range shopRollouts {
		if _, err := t.kubectl(ctx, "-n", "shop", "rollout", "status", name, "--timeout="+settle.String()); err != nil {
			state, _ := t.kubectl(ctx, "-n", "shop", "get", "pods,events")
			return fmt.Errorf("%w\n%s", err, state)
		}
	}
	pods, err := t.pods(ctx, "shop", "app")
	if err != nil {
		return err
	}
	t.shop.pods = map[string]pod{}
	nodes := map[string]bool{}
	for _, p := range pods {
		t.shop.pods[p.Metadata.Name] = p
		nodes[p.Spec.NodeName] = true
	}
	if len(nodes) != len(nodeNames) || len(pods) != 7 {
		return fmt.Errorf("%d pods on %d nodes", len(pods), len(nodes))
	}
	return nil
}

// requestsEach is how many requests the driver sends to each target.
const requestsEach = 120

// target is what the driver sends requests to.
type target struct {
	url string
	app string // which service answers, or
	pod string // which pod
}

// targetsIn are all kinds of addresses that the shop has in a family: of a service, of a port of either node, of a headless service, and of a pod.
func targetsIn(f family, direct pod) []target {
	suffix, port := "", "30080" // of the services that have this family only
	if f == ipv6 {
		suffix, port = "6", "30086"
	}
	return []target{
		{url: "http://front" + suffix + ".shop.svc.cluster.local/items/1", app: "front"},
		{url: "http://" + net.JoinHostPort(f.node("node1"), port) + "/items/1", app: "front"},
		{url: "http://" + net.JoinHostPort(f.node("node2"), port) + "/items/1", app: "front"},
		{url: "POST http://cart" + suffix + ".shop.svc.cluster.local:8080/carts/1", app: "cart"},
		{url: "http://" + net.JoinHostPort(direct.address(f), "8080") + "/items/1", app: "catalog", pod: direct.Metadata.Name},
	}
}

// driveShop runs the driver on node2 and notes who had to serve what.
func driveShop(ctx context.Context, t *trial) error {
	direct := t.shop.of("catalog")[0]
	var targets []target
	for _, f := range families() {
		targets = append(targets, targetsIn(f, direct)...)
	}
	if !hasIPv6() {
		t.say("this kernel has no IPv6: nothing is checked with it")
	}
	args := []string{"-requests", fmt.Sprint(requestsEach), "drive"}
	t.shop.sent = map[string]int{}
	t.shop.calls = len(targets) * requestsEach
	for _, target := range targets {
		args = append(args, target.url)
		t.shop.sent[target.app] += requestsEach
		if target.app == "front" {
			t.shop.sent["catalog"] += requestsEach // nginx asks it for each
		}
	}
	reports, err := t.job(ctx, "drive", "node2", args)
	if err != nil {
		return err
	}
	if len(reports) != len(targets) {
		return fmt.Errorf("%d reports of %d targets", len(reports), len(targets))
	}
	for _, r := range reports {
		if r.Sent != requestsEach || r.OK != r.Sent {
			return fmt.Errorf("%s: %d requests sent, %d answered well", r.Target, r.Sent, r.OK)
		}
	}
	pods, err := t.pods(ctx, "shop", "app=drive")
	if err == nil && len(pods) == 1 {
		t.shop.pods[pods[0].Metadata.Name] = pods[0]
	}
	return err
}

// report is what the driver says of one target.
type report struct {
	Target   string
	Sent, OK int
}

// job runs the driver as a Job to its end and returns its reports.
func (t *trial) job(ctx context.Context, name, node string, args []string) ([]report, error) {
	list, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	if err := t.applyFile(ctx, "drive.yaml", "$NAME", name, "$NODE", node, "$ARGS", string(list)); err != nil {
		return nil, err
	}
	err = eventually(ctx, settle, func() error {
		var job struct {
			Status struct{ Succeeded, Failed int }
		}
		if err := t.get(ctx, &job, "job", "-n", "shop", name); err != nil {
			return err
		}
		if job.Status.Succeeded+job.Status.Failed == 0 {
			return errors.New("the Job has not ended")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out, err := t.kubectl(ctx, "-n", "shop", "logs", "job/"+name)
	if err != nil {
		return nil, err
	}
	var reports []report
	for line := range strings.Lines(out) {
		var r report
		if json.Unmarshal([]byte(line), &r) == nil {
			reports = append(reports, r)
		}
	}
	return reports, nil
}
