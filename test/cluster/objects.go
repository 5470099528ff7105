package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// told are the series of a query, by some of their labels. Two that are the same by these are an error: one replica of the watcher tells, and tells each once.
func (t *trial) told(ctx context.Context, expression string, labels ...string) (map[string]string, error) {
	result, err := t.query(ctx, expression)
	if err != nil {
		return nil, err
	}
	got := map[string]string{}
	for _, s := range result {
		if s.Metric["cluster"] == "" {
			return nil, fmt.Errorf("%v has no cluster", s.Metric)
		}
		key := ""
		for _, l := range labels {
			key += "/" + s.Metric[l]
		}
		if _, twice := got[key]; twice {
			return nil, fmt.Errorf("%s is there twice in %s", key, expression)
		}
		text, ok := s.Value[1].(string)
		if !ok {
			return nil, fmt.Errorf("no value in %v", s.Value)
		}
		got[key] = text
	}
	return got, nil
}

// agrees holds that a query gives these values by their labels.
func (t *trial) agrees(ctx context.Context, want map[string]string, expression string, labels ...string) error {
	got, err := t.told(ctx, expression, labels...)
	if err != nil {
		return err
	}
	if maps.Equal(got, want) {
		return nil
	}
	var wrong []string
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if v, ok := got[key]; v != want[key] || !ok {
			wrong = append(wrong, fmt.Sprintf("%s is %q, not %s", key, v, want[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s is %s, and should not be there", key, got[key]))
		}
	}
	return fmt.Errorf("%s: %v", expression, wrong)
}

// stateOfShop compares what the server has of the objects of the shop with what the API says of them now.
func stateOfShop(ctx context.Context, t *trial) error {
	return eventually(ctx, settle, func() error {
		var pods struct {
			Items []struct {
				Metadata struct {
					Name   string
					Labels map[string]string
				}
				Spec   struct{ NodeName string }
				Status struct {
					Phase             string
					ContainerStatuses []struct {
						Name         string
						RestartCount int
					}
				}
			}
		}
		if err := t.get(ctx, &pods, "pods", "-n", "shop"); err != nil {
			return err
		}
		where, phase, restarts, workload := map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}
		for _, p := range pods.Items {
			where["/"+p.Metadata.Name+"/"+p.Spec.NodeName] = "1"
			phase["/"+p.Metadata.Name+"/"+p.Status.Phase] = "1"
			app := p.Metadata.Labels["app"]
			workload["/"+p.Metadata.Name+"/"+kindOf(app)+"/"+app] = "1"
			for _, c := range p.Status.ContainerStatuses {
				restarts["/"+p.Metadata.Name+"/"+c.Name] = strconv.Itoa(c.RestartCount)
			}
		}
		var sets struct {
			Items []struct {
				Kind     string
				Metadata struct{ Name string }
				Spec     struct{ Replicas int }
				Status   struct{ ReadyReplicas int }
			}
		}
		if err := t.get(ctx, &sets, "deployments,statefulsets", "-n", "shop"); err != nil {
			return err
		}
		wanted, ready := map[string]map[string]string{"Deployment": {}, "StatefulSet": {}}, map[string]map[string]string{"Deployment": {}, "StatefulSet": {}}
		for _, s := range sets.Items {
			wanted[s.Kind]["/"+s.Metadata.Name] = strconv.Itoa(s.Spec.Replicas)
			ready[s.Kind]["/"+s.Metadata.Name] = strconv.Itoa(s.Status.ReadyReplicas)
		}
		nodes := map[string]string{}
		for _, n := range nodeNames {
			nodes["/"+n] = "1"
		}
		return errors.Join(
			t.agrees(ctx, where, `kube_pod_info{namespace="shop"}`, "pod", "node"),
			t.agrees(ctx, phase, `kube_pod_status_phase{namespace="shop"} == 1`, "pod", "phase"),
			t.agrees(ctx, restarts, `kube_pod_container_status_restarts_total{namespace="shop"}`, "pod", "container"),
			t.agrees(ctx, workload, `vetch_pod_info{namespace="shop"}`, "pod", "workload_kind", "workload"),
			t.agrees(ctx, wanted["Deployment"], `kube_deployment_spec_replicas{namespace="shop"}`, "deployment"),
			t.agrees(ctx, ready["Deployment"], `kube_deployment_status_replicas_ready{namespace="shop"}`, "deployment"),
			t.agrees(ctx, wanted["StatefulSet"], `kube_statefulset_replicas{namespace="shop"}`, "statefulset"),
			t.agrees(ctx, ready["StatefulSet"], `kube_statefulset_status_replicas_ready{namespace="shop"}`, "statefulset"),
			t.agrees(ctx, nodes, `kube_node_status_condition{condition="Ready", status="true"} == 1`, "node"),
		)
	})
}

// stateFollows scales a workload up and down, and holds that the series of its pods come and end with them.
func stateFollows(ctx context.Context, t *trial) error {
	for _, replicas := range []string{"3", "2"} {
		if _, err := t.kubectl(ctx, "-n", "shop", "scale", "deployment", "catalog", "--replicas="+replicas); err != nil {
			return err
		}
		if _, err := t.kubectl(ctx, "-n", "shop", "rollout", "status", "deployment/catalog", "--timeout="+settle.String()); err != nil {
			return err
		}
		err := eventually(ctx, settle, func() error {
			want := map[string]string{"/catalog": replicas}
			return errors.Join(
				t.agrees(ctx, want, `kube_deployment_spec_replicas{deployment="catalog"}`, "deployment"),
				t.agrees(ctx, want, `kube_deployment_status_replicas_available{deployment="catalog"}`, "deployment"),
				t.agrees(ctx, map[string]string{"/catalog": replicas}, `count by (cluster, workload) (vetch_pod_info{namespace="shop", workload="catalog"})`, "workload"),
			)
		})
		if err != nil {
			return fmt.Errorf("with %s replicas: %w", replicas, err)
		}
	}
	return stateOfShop(ctx, t)
}
