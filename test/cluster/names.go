package main

import (
	"context"
	"errors"
	"fmt"
)

const edgeRequests = "vetch_edge_requests_total"

// kindOf is the kind of the top owner of an app's pods.
func kindOf(app string) string {
	switch app {
	case "front", "catalog":
		return "Deployment"
	case "cart", "postgres", "redis":
		return "StatefulSet"
	}
	return "Job"
}

// nameEdges compares the requests between workloads, added up over all agents, with what was sent: an edge that two agents see counts once.
func nameEdges(ctx context.Context, t *trial) error {
	want := map[[2]string]int{
		{"drive", "front"}:   t.shop.sent["front"], // by the address of the service, and by a port of either node
		{"drive", "cart"}:    t.shop.sent["cart"],
		{"drive", "catalog"}: t.shop.sent["catalog"] - t.shop.sent["front"], // by the addresses of the pod
		{"front", "catalog"}: t.shop.sent["front"],
	}
	return eventually(ctx, settle, func() error {
		all, err := t.scrape(ctx)
		if err != nil {
			return err
		}
		var wrong []error
		for ends, n := range want {
			var got float64
			for _, m := range all {
				got += m.sum(edgeRequests, "client_namespace", "shop", "client_kind", kindOf(ends[0]), "client", ends[0],
					"server_namespace", "shop", "server_kind", kindOf(ends[1]), "server", ends[1], "protocol", "http")
			}
			if got != float64(n) {
				wrong = append(wrong, fmt.Errorf("%s -> %s is %v, not %d", ends[0], ends[1], got, n))
			}
		}
		for node, m := range all { // what entered by a node port came from the driver, whose agent tells of it
			if got := m.sum(edgeRequests, "client_kind", "Node", "server_namespace", "shop"); got != 0 {
				wrong = append(wrong, fmt.Errorf("%s shows %v requests to the shop as of a node", node, got))
			}
		}
		return errors.Join(wrong...)
	})
}

// nameShortJob runs a Job that is over sooner than the agent reads anything, and looks for it by its name.
func nameShortJob(ctx context.Context, t *trial) error {
	const requests = 5
	catalog := t.shop.of("catalog")[0]
	if _, err := t.job(ctx, "named", "node2", []string{"-requests", fmt.Sprint(requests), "drive", "http://" + catalog.Status.PodIP + ":8080/items/1"}); err != nil {
		return err
	}
	return t.edge(ctx, "named", "catalog", requests)
}

// edge waits until all agents together show requests of an edge.
func (t *trial) edge(ctx context.Context, client, server string, requests int) error {
	return eventually(ctx, settle, func() error {
		all, err := t.scrape(ctx)
		if err != nil {
			return err
		}
		var got float64
		for _, m := range all {
			got += m.sum(edgeRequests, "client_kind", kindOf(client), "client", client, "server_kind", kindOf(server), "server", server)
		}
		if got != float64(requests) {
			return fmt.Errorf("%v requests of %s to %s, not %d", got, client, server, requests)
		}
		return nil
	})
}

// killWatcher takes the watcher away, and then looks for a name that only the next one can know.
func killWatcher(ctx context.Context, t *trial) error {
	if _, err := t.kubectl(ctx, "-n", "vetch", "delete", "pod", "-l", component+"watcher", "--grace-period=0", "--force"); err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "-n", "vetch", "rollout", "status", "deployment/vetch-watcher", "--timeout="+settle.String()); err != nil {
		return err
	}
	if err := t.hear(ctx); err != nil {
		return err
	}
	if _, err := t.job(ctx, "again", "node1", []string{"-requests", "3", "drive", "http://" + t.shop.of("catalog")[0].Status.PodIP + ":8080/items/1"}); err != nil {
		return err
	}
	return t.edge(ctx, "again", "catalog", 3)
}
