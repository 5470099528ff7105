package servicemap

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	prommodel "github.com/prometheus/common/model"

	"github.com/vetch-dev/vetch/model"
)

// Label lists of the metrics. Protocol is left out where an edge that was first "tcp" and then recognised must be one.
const (
	pairLabels     = "cluster,client_namespace,client_kind,client,server_namespace,server_kind,server,port"
	edgeLabels     = pairLabels + ",protocol"
	workloadLabels = "cluster,namespace,kind,workload"
)

// unknownName stands for a workload without a name, which an id could not express.
const unknownName = "(unknown)"

// selection limits the series that an answer reads. The zero value reads all.
type selection struct {
	workload *model.Workload
	home     string // the cluster that a workload without one is in
}

// workloadRate is the PromQL for the per-second rate of metric over window, summed by the labels.
func (s selection) workloadRate(metric, by string, window time.Duration) string {
	matchers := ""
	if s.workload != nil {
		matchers = matchersOf(*s.workload, s.home, "namespace", "kind", "workload")
	}
	return sumRate(by, rateOf(metric, matchers, window))
}

// edgeRate is workloadRate for the edges of the selection: "or" keeps a self edge, which both sides match, from counting twice.
func (s selection) edgeRate(metric, by string, window time.Duration) string {
	if s.workload == nil {
		return sumRate(by, rateOf(metric, "", window))
	}
	asServer := rateOf(metric, matchersOf(*s.workload, s.home, "server_namespace", "server_kind", "server"), window)
	asClient := rateOf(metric, matchersOf(*s.workload, s.home, "client_namespace", "client_kind", "client"), window)
	return sumRate(by, asServer+" or "+asClient)
}

func sumRate(by, expr string) string { return "sum by (" + by + ") (" + expr + ")" }

func rateOf(metric, matchers string, window time.Duration) string {
	return "rate(" + metric + matchers + "[" + duration(window) + "])"
}

// duration writes whole milliseconds as PromQL reads them.
func duration(d time.Duration) string {
	return prommodel.Duration(d.Truncate(time.Millisecond)).String()
}

// clusterMatcher selects one cluster. Series without a label are of home, as far as there is one.
func clusterMatcher(cluster, home string) string {
	if cluster == "" && home != "" {
		return `cluster=~"|` + strings.ReplaceAll(regexp.QuoteMeta(home), `\`, `\\`) + `"`
	}
	return "cluster=" + strconv.Quote(cluster)
}

func matchersOf(w model.Workload, home, namespace, kind, name string) string {
	kindIs, nameIs := "="+strconv.Quote(string(w.Kind)), "="+strconv.Quote(w.Name)
	if w.Name == unknownName {
		nameIs = `=~"|\\(unknown\\)"`
	}
	if w.Kind == model.KindExternal {
		kindIs = `=~"|External"`
	}
	return fmt.Sprintf("{%s,%s=%s,%s%s,%s%s}", clusterMatcher(w.Cluster, home), namespace, strconv.Quote(w.Namespace), kind, kindIs, name, nameIs)
}

// kindsPattern is a regular expression that matches exactly the kinds.
func kindsPattern(kinds []string) string {
	quoted := make([]string, len(kinds))
	for i, k := range kinds {
		quoted[i] = regexp.QuoteMeta(k)
	}
	return strings.Join(quoted, "|")
}
