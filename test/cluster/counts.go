package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

const (
	inboundHTTP     = "container_http_inbound_requests_total"
	inboundPostgres = "container_postgres_inbound_queries_total"
	inboundRedis    = "container_redis_inbound_queries_total"
	outboundHTTP    = "container_http_requests_total"
	byRoute         = "vetch_workload_requests_total"
)

// tally adds a metric of the containers of an app on all nodes, each as the agent of its node shows it.
func (t *trial) tally(all map[string]metrics, name, app string) float64 {
	var total float64
	for _, p := range t.shop.of(app) {
		total += all[p.Spec.NodeName].sum(name, "container_id", p.container())
	}
	return total
}

// exactly waits until tallies have the values they must have.
func (t *trial) exactly(ctx context.Context, want map[[2]string]int) error {
	return eventually(ctx, settle, func() error {
		all, err := t.scrape(ctx)
		if err != nil {
			return err
		}
		var wrong []error
		for key, n := range want {
			if got := t.tally(all, key[0], key[1]); got != float64(n) {
				wrong = append(wrong, fmt.Errorf("%s of %s is %v, not %d", key[0], key[1], got, n))
			}
		}
		return errors.Join(wrong...)
	})
}

// countServing compares what the serving ends show with what the driver sent.
func countServing(ctx context.Context, t *trial) error {
	direct := t.shop.sent["catalog"] // through nginx, and to the pod itself
	return t.exactly(ctx, map[[2]string]int{
		{inboundHTTP, "front"}:   t.shop.sent["front"],
		{inboundHTTP, "catalog"}: direct,
		{inboundHTTP, "cart"}:    t.shop.sent["cart"],
	})
}

// countCalling does the same for the calling ends: the driver, and nginx.
func countCalling(ctx context.Context, t *trial) error {
	return t.exactly(ctx, map[[2]string]int{
		{outboundHTTP, "drive"}: t.shop.calls,
		{outboundHTTP, "front"}: t.shop.sent["front"],
	})
}

// countRoutes looks at the stores behind the services, which the drivers of databases also ask for other things.
func countRoutes(ctx context.Context, t *trial) error {
	want := map[[3]string]int{
		{"front", "http", "/items/{id}"}:         t.shop.sent["front"],
		{"cart", "http", "/carts/{id}"}:          t.shop.sent["cart"],
		{"postgres", "postgres", "SELECT items"}: t.shop.sent["catalog"],
		{"redis", "redis", "INCR"}:               t.shop.sent["cart"],
	}
	return eventually(ctx, settle, func() error {
		all, err := t.scrape(ctx)
		if err != nil {
			return err
		}
		var wrong []error
		for key, n := range want {
			var got float64
			for _, m := range all {
				got += m.sum(byRoute, "namespace", "shop", "kind", kindOf(key[0]), "workload", key[0], "protocol", key[1], "route", key[2])
			}
			if got != float64(n) {
				wrong = append(wrong, fmt.Errorf("%s %s of %s is %v, not %d", key[1], key[2], key[0], got, n))
			}
		}
		return errors.Join(wrong...)
	})
}

// keepToNode holds that what one node's agent shows is of that node: all nodes of this cluster share a kernel.
func keepToNode(ctx context.Context, t *trial) error {
	all, err := t.scrape(ctx)
	if err != nil {
		return err
	}
	var wrong []error
	for node, m := range all {
		m.series("vetch_edge_connections_total", func(labels map[string]string, value float64) {
			if (labels["server"] == "~unknown" || labels["client"] == "~unknown") && value != 0 {
				wrong = append(wrong, fmt.Errorf("%s shows an edge of nobody: %v", node, labels))
			}
		})
		for _, p := range t.shop.pods {
			if p.Spec.NodeName == node {
				continue
			}
			for name := range m {
				for _, id := range []string{p.container(), "/docker/" + p.containerID()[:12]} {
					if n := m.sum(name, "container_id", id); n != 0 {
						wrong = append(wrong, fmt.Errorf("%s shows %s of %s, which is on %s", node, name, id, p.Spec.NodeName))
					}
				}
			}
		}
	}
	return errors.Join(wrong...)
}

// seeShortJob runs a Job that is over sooner than the agent reads anything, and looks for its requests.
func seeShortJob(ctx context.Context, t *trial) error {
	const requests = 5
	catalog := t.shop.of("catalog")[0]
	if _, err := t.job(ctx, "brief", "node2", []string{"-requests", fmt.Sprint(requests), "drive", "http://" + catalog.Status.PodIP + ":8080/items/1"}); err != nil {
		return err
	}
	pods, err := t.pods(ctx, "shop", "app=brief")
	if err != nil || len(pods) != 1 {
		return errors.Join(fmt.Errorf("%d pods of the Job", len(pods)), err)
	}
	// Its container was gone before anybody could ask the runtime for its name, or it was not.
	ids := []string{pods[0].container(), "/docker/" + pods[0].containerID()[:12]}
	return eventually(ctx, settle, func() error {
		all, err := t.scrape(ctx)
		if err != nil {
			return err
		}
		var got float64
		for _, id := range ids {
			got += all["node2"].sum(outboundHTTP, "container_id", id)
		}
		if got != requests {
			return fmt.Errorf("%v requests of %s, not %d", got, strings.Join(ids, " or "), requests)
		}
		return nil
	})
}

// loseNothing holds that no agent had to give anything up.
func loseNothing(ctx context.Context, t *trial) error {
	all, err := t.scrape(ctx)
	if err != nil {
		return err
	}
	var wrong []error
	for node, m := range all {
		for _, name := range []string{"vetch_probe_events_lost_total", "vetch_digest_dropped_total"} {
			m.series(name, func(labels map[string]string, value float64) {
				// kubelet and kube-proxy wrap their connections so that they are known by their handshakes only, which were before the agent;
				// and programs may be in a call of TLS just as the agent begins to look into it.
				if value != 0 && labels["reason"] != "tls_unbound" && labels["reason"] != "tls_call_unseen" {
					wrong = append(wrong, fmt.Errorf("%s: %s%v is %v", node, name, labels, value))
				}
			})
		}
	}
	return errors.Join(wrong...)
}
