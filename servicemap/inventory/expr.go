package inventory

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/vetch-dev/vetch/servicemap"
)

// Labels that pods and containers are told apart by. Two watchers in turn, or one that was renamed, are never two pods: "max by" these.
const (
	podLabels       = "cluster,namespace,pod,uid"
	containerLabels = podLabels + ",container"
)

// Resources as kube_* metrics name them.
const (
	ofCPU    = `resource="cpu",unit="core"`
	ofMemory = `resource="memory",unit="byte"`
)

// selection limits the series of a question. The zero value reads all.
type selection struct{ matchers []string }

func (s selection) with(matchers ...string) selection {
	return selection{append(append([]string{}, s.matchers...), matchers...)}
}

// of is a metric with the matchers.
func (s selection) of(metric string, more ...string) string {
	all := s.with(more...).matchers
	if len(all) == 0 {
		return metric
	}
	return metric + "{" + strings.Join(all, ",") + "}"
}

func is(label, value string) string { return label + "=" + strconv.Quote(value) }

// startsWith matches values of a label that begin with a text and go on.
func startsWith(label, text string) string {
	return label + "=~" + strconv.Quote(regexp.QuoteMeta(text)+".+")
}

func maxBy(by, expr string) string { return "max by (" + by + ") (" + expr + ")" }

func sumBy(by, expr string) string { return "sum by (" + by + ") (" + expr + ")" }

func rate(expr string, over time.Duration) string {
	return "rate(" + expr + "[" + servicemap.Window(over) + "])"
}

// last reads what was there at any time in the range, so that what is gone can be told of.
func last(expr string, over time.Duration) string {
	return "last_over_time(" + expr + "[" + servicemap.Window(over) + "])"
}

// before reads what was there so long ago.
func before(expr string, ago time.Duration) string {
	return expr + " offset " + servicemap.Window(ago)
}

// boundMetrics are what containers request and are limited to.
const boundMetrics = `__name__=~"kube_pod_container_resource_(requests|limits)"`

// requested sums what pods that have not ended request of each resource, and are limited to, at each time of a chart: by metric name and resource.
// pods limits the pods whose phases are read.
func requested(s, pods selection) string {
	return fmt.Sprintf("sum by (__name__,resource) (%s and on (%s) %s)",
		maxBy("__name__,resource,"+containerLabels, s.of("", boundMetrics, `resource=~"cpu|memory"`)), podLabels,
		maxBy(podLabels, pods.of("kube_pod_status_phase", `phase=~"Pending|Running|Unknown"`)+" == 1"))
}
