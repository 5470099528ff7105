package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/vetch-dev/vetch/model"
)

// sample is one series of a query's result.
type sample struct {
	labels map[string]string
	value  float64
}

// query asks the server for the present value of a PromQL expression.
func (c *client) query(ctx context.Context, expression string) ([]sample, error) {
	resp, err := c.get(ctx, "/api/v1/query", url.Values{"query": {expression}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			ResultType string `json:"resultType"`
			Result     []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	if answer.Data.ResultType != "vector" {
		return nil, fmt.Errorf("read the server's answer: a %q", answer.Data.ResultType)
	}
	var out []sample
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("read the server's answer: %w", err)
		}
		out = append(out, sample{r.Metric, v})
	}
	return out, nil
}

// topWindow is the range of the rates that a server is asked for: three of its intervals, so that a late sample leaves no gap.
const topWindow = "[30s]"

// serverFigure is one figure of rows that come from a server.
type serverFigure struct {
	query string // with $BY for the labels of the view
	to    func(*topRow) **float64
}

// serverView says how the rows of a view are named and asked for.
type serverView struct {
	by      string // labels
	row     func(map[string]string) topRow
	figures []serverFigure
}

func serverViews(view string) serverView {
	rate := func(metric string) string { return "sum by ($BY) (rate(" + metric + topWindow + "))" }
	sum := func(metric string) string { return "sum by ($BY) (" + metric + ")" }
	user := func(r *topRow) **float64 { return &r.CPUUser }
	system := func(r *topRow) **float64 { return &r.CPUSystem }
	memory := func(r *topRow) **float64 { return &r.Memory }
	rss := func(r *topRow) **float64 { return &r.RSS }
	received := func(r *topRow) **float64 { return &r.Received }
	sent := func(r *topRow) **float64 { return &r.Sent }
	prefixed := func(prefix string) []serverFigure {
		return []serverFigure{
			{rate(prefix + `cpu_seconds_total{mode="user"}`), user},
			{rate(prefix + `cpu_seconds_total{mode="system"}`), system},
			{sum(prefix + "memory_working_set_bytes"), memory},
			{sum(prefix + "memory_rss_bytes"), rss},
			{rate(prefix + "network_received_bytes_total"), received},
			{rate(prefix + "network_transmitted_bytes_total"), sent},
		}
	}
	switch view {
	case viewNodes:
		return serverView{"node", func(l map[string]string) topRow { return topRow{Kind: string(model.KindNode), Name: l["node"]} }, []serverFigure{
			{rate(`node_resources_cpu_usage_seconds_total{mode=~"user|nice"}`), user},
			{rate(`node_resources_cpu_usage_seconds_total{mode=~"system|irq|softirq"}`), system},
			{sum("node_resources_cpu_logical_cores"), func(r *topRow) **float64 { return &r.CPULimit }},
			{"sum by ($BY) (node_resources_memory_total_bytes - node_resources_memory_available_bytes)", memory},
			{sum("node_resources_memory_total_bytes"), func(r *topRow) **float64 { return &r.MemoryLimit }},
			{rate("node_net_received_bytes_total"), received},
			{rate("node_net_transmitted_bytes_total"), sent},
		}}
	case viewPods:
		return serverView{"namespace, pod, kind, workload, node", func(l map[string]string) topRow {
			return topRow{
				Namespace: l["namespace"], Kind: string(model.KindPod), Name: l["pod"], Node: l["node"],
				Workload: &model.Workload{Namespace: l["namespace"], Kind: model.Kind(l["kind"]), Name: l["workload"]},
			}
		}, prefixed("vetch_pod_")}
	case viewContainers:
		return serverView{"container_id, node", containerRow, []serverFigure{
			{rate("container_resources_cpu_usage_seconds_total"), func(r *topRow) **float64 { return &r.CPU }},
			{sum("container_resources_cpu_limit_cores"), func(r *topRow) **float64 { return &r.CPULimit }},
			{sum("container_resources_memory_working_set_bytes"), memory},
			{sum("container_resources_memory_rss_bytes"), rss},
			{sum("container_resources_memory_limit_bytes"), func(r *topRow) **float64 { return &r.MemoryLimit }},
		}}
	}
	return serverView{"namespace, kind, workload", func(l map[string]string) topRow {
		return topRow{Namespace: l["namespace"], Kind: l["kind"], Name: l["workload"]}
	}, prefixed("vetch_workload_")}
}

// containerRow reads the id of a container: "/k8s/shop/web-1/app", "/docker/web", "/system.slice/nginx.service", "/process/nginx".
func containerRow(l map[string]string) topRow {
	id := l["container_id"]
	row := topRow{Kind: "Container", Name: id, Node: l["node"]}
	parts := strings.Split(strings.TrimPrefix(id, "/"), "/")
	switch {
	case len(parts) == 4 && parts[0] == "k8s":
		row.Namespace, row.Pod, row.Name = parts[1], parts[2], parts[3]
	case len(parts) == 2 && parts[0] == "process":
		row.Kind, row.Name = string(model.KindProcess), parts[1]
	case len(parts) == 2:
		row.Name = parts[1]
	}
	return row
}

// serverRows asks a server for the rows of a view.
func serverRows(ctx context.Context, c *client, view string) ([]topRow, error) {
	v := serverViews(view)
	at := map[string]int{}
	var rows []topRow
	for _, f := range v.figures {
		list, err := c.query(ctx, strings.ReplaceAll(f.query, "$BY", v.by))
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			row := v.row(s.labels)
			j, known := at[row.key()]
			if !known {
				j = len(rows)
				at[row.key()] = j
				rows = append(rows, row)
			}
			value := s.value
			*f.to(&rows[j]) = &value
		}
	}
	for i := range rows {
		if r := &rows[i]; r.CPU == nil {
			r.CPU = total(r.CPUUser, r.CPUSystem)
		}
	}
	return rows, nil
}

// addRequests sets what workloads served, as a server has counted it.
func addRequests(ctx context.Context, c *client, rows []topRow, view string) error {
	if view != viewWorkloads {
		return nil
	}
	at := map[model.Workload]*topRow{}
	for i := range rows {
		r := &rows[i]
		at[model.Workload{Namespace: r.Namespace, Kind: model.Kind(r.Kind), Name: r.Name}] = r
	}
	for _, f := range []struct {
		metric string
		to     func(*topRow) **float64
	}{
		{"vetch_workload_requests_total", func(r *topRow) **float64 { return &r.Requests }},
		{"vetch_workload_failed_requests_total", func(r *topRow) **float64 { return &r.Errors }},
	} {
		list, err := c.query(ctx, "sum by (namespace, kind, workload) (rate("+f.metric+topWindow+"))")
		if err != nil {
			return err
		}
		for _, s := range list {
			if r := at[model.Workload{Namespace: s.labels["namespace"], Kind: model.Kind(s.labels["kind"]), Name: s.labels["workload"]}]; r != nil {
				v := s.value
				*f.to(r) = &v
			}
		}
	}
	return nil
}
