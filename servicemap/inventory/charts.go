package inventory

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/servicemap"
)

// chart is one line of a page as PromQL for a window. Several lines of one question have their names from requestedName.
type chart struct {
	name string
	expr func(window time.Duration) string
}

func steady(name, expr string) chart { return chart{name, func(time.Duration) string { return expr }} }

// minFlow is over what rates are taken at least: watchers and agents of large clusters send every 15 or 30 s.
const minFlow = 2 * time.Minute

// flow sums the rates of a counter.
func flow(name, selector string) chart {
	return chart{name, func(w time.Duration) string { return "sum(" + rate(selector, max(w, minFlow)) + ")" }}
}

// charts are the lines that there is something of.
func (i *Inventory) charts(ctx context.Context, sp servicemap.Span, list []chart) (map[string]servicemap.Series, error) {
	out := map[string]servicemap.Series{}
	questions := make([]servicemap.Chart, len(list))
	for k, c := range list {
		questions[k] = servicemap.Chart{Expr: c.expr, Fill: func(ls labels.Labels, s servicemap.Series) { out[cmp.Or(c.name, requestedName(ls))] = s }}
	}
	return out, i.services.AskCharts(ctx, sp, questions)
}

// requestedName is the line of a result of requested: cpuRequests, memoryLimits and so on.
func requestedName(ls labels.Labels) string {
	if strings.HasSuffix(ls.Get("__name__"), "_limits") {
		return ls.Get("resource") + "Limits"
	}
	return ls.Get("resource") + "Requests"
}

// nodeCharts are of one node. kube_pod_* name the node of the pod in the same label.
func nodeCharts(s, cluster selection) []chart {
	amount := func(metric, resource string) string { return "max(" + s.of(metric, is("resource", resource)) + ")" }
	memory := func(name string) string { return "max(" + s.of("node_resources_memory_"+name+"_bytes") + ")" }
	return []chart{
		flow("cpuUsed", s.of("node_resources_cpu_usage_seconds_total", busyModes)),
		steady("cpuCapacity", amount("kube_node_status_capacity", "cpu")+" or max("+s.of("node_resources_cpu_logical_cores")+")"),
		steady("", requested(s, cluster)),
		steady("memoryUsed", memory("total")+" - "+memory("available")),
		steady("memoryCapacity", amount("kube_node_status_capacity", "memory")+" or "+memory("total")),
		flow("diskRead", s.of("node_resources_disk_read_bytes_total")),
		flow("diskWritten", s.of("node_resources_disk_written_bytes_total")),
		flow("netIn", s.of("node_net_received_bytes_total")),
		flow("netOut", s.of("node_net_transmitted_bytes_total")),
	}
}

// podsCharts are of the pods that the matchers choose.
func podsCharts(s selection) []chart {
	return []chart{
		flow("cpuUsed", s.of("vetch_pod_cpu_seconds_total")),
		flow("cpuThrottled", s.of("vetch_pod_cpu_throttled_seconds_total")),
		steady("", requested(s, s)),
		steady("memoryUsed", "sum("+s.of("vetch_pod_memory_working_set_bytes")+")"),
		steady("memoryRSS", "sum("+s.of("vetch_pod_memory_rss_bytes")+")"),
		flow("netIn", s.of("vetch_pod_network_received_bytes_total")),
		flow("netOut", s.of("vetch_pod_network_transmitted_bytes_total")),
		flow("diskRead", s.of("vetch_pod_disk_read_bytes_total")),
		flow("diskWritten", s.of("vetch_pod_disk_written_bytes_total")),
	}
}
