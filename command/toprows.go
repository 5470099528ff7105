package command

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/vetch-dev/vetch/kube"
	"github.com/vetch-dev/vetch/model"
)

// The views of "vetch top": what a row is.
const (
	viewContainers = "containers"
	viewPods       = "pods"
	viewWorkloads  = "workloads"
	viewNodes      = "nodes"
)

var topViews = []string{viewPods, viewContainers, viewWorkloads, viewNodes}

// topDocument is what "vetch top -o json" prints; docs/guide/top.md describes it. Fields are added and never changed.
type topDocument struct {
	Time   time.Time `json:"time"`
	Source string    `json:"source"` // "kubernetes" or "server"
	View   string    `json:"view"`
	Nodes  []topNode `json:"nodes"`
	Rows   []topRow  `json:"rows"`
}

// topNode says whether a node's figures are there.
type topNode struct {
	Name    string `json:"name"`
	Ready   bool   `json:"ready"`
	Answers bool   `json:"answers"`
	Error   string `json:"error,omitempty"`
}

// topRow is a container, pod, workload or node. null is what is not known, or a limit that does not exist.
type topRow struct {
	Namespace string          `json:"namespace"`
	Kind      string          `json:"kind"` // "Container", "Pod", "Node", or the kind of the workload
	Name      string          `json:"name"`
	Pod       string          `json:"pod,omitempty"` // of a container
	Node      string          `json:"node,omitempty"`
	Workload  *model.Workload `json:"workload,omitempty"` // of a pod or container
	Pods      int             `json:"pods,omitempty"`     // of a workload or node

	CPU           *float64 `json:"cpu_cores"`
	CPUUser       *float64 `json:"cpu_user_cores"`
	CPUSystem     *float64 `json:"cpu_system_cores"`
	CPURequest    *float64 `json:"cpu_request_cores"`
	CPULimit      *float64 `json:"cpu_limit_cores"` // of a node: what pods may use
	Memory        *float64 `json:"memory_working_set_bytes"`
	RSS           *float64 `json:"memory_rss_bytes"`
	MemoryRequest *float64 `json:"memory_request_bytes"`
	MemoryLimit   *float64 `json:"memory_limit_bytes"`
	Received      *float64 `json:"network_received_bytes_per_second"`
	Sent          *float64 `json:"network_transmitted_bytes_per_second"`
	Ephemeral     *float64 `json:"ephemeral_storage_bytes"`
	Requests      *float64 `json:"requests_per_second"` // those that it served
	Errors        *float64 `json:"errors_per_second"`

	// What the screen shows besides.
	history []float64
	failed  string
}

// key names a row over readings.
func (r *topRow) key() string {
	return r.Namespace + "/" + r.Kind + "/" + r.Pod + "/" + r.Name + "/" + r.Node
}

// topSorts are the columns that rows can be sorted by, biggest first, but the name.
var topSorts = []struct {
	name  string
	value func(*topRow) *float64
}{
	{"cpu", func(r *topRow) *float64 { return r.CPU }},
	{"memory", func(r *topRow) *float64 { return r.Memory }},
	{"cpu-limit", func(r *topRow) *float64 { return share(r.CPU, r.CPULimit) }},
	{"memory-limit", func(r *topRow) *float64 { return share(r.Memory, r.MemoryLimit) }},
	{"network", func(r *topRow) *float64 { return total(r.Received, r.Sent) }},
	{"disk", func(r *topRow) *float64 { return r.Ephemeral }},
	{"requests", func(r *topRow) *float64 { return r.Requests }},
	{"errors", func(r *topRow) *float64 { return r.Errors }},
	{"name", nil},
}

func sortNames() []string {
	names := make([]string, len(topSorts))
	for i, s := range topSorts {
		names[i] = s.name
	}
	return names
}

// share is a part of a whole; nil where either is not known.
func share(part, whole *float64) *float64 {
	if part == nil || whole == nil || *whole <= 0 {
		return nil
	}
	v := *part / *whole
	return &v
}

// total adds what is known.
func total(list ...*float64) (sum *float64) {
	for _, v := range list {
		if v == nil {
			continue
		}
		if sum == nil {
			sum = new(float64)
		}
		*sum += *v
	}
	return sum
}

// sortRows orders rows by a column; those without a value come last, and equal ones by name.
func sortRows(rows []topRow, by string, reverse bool) {
	at := max(0, slices.IndexFunc(topSorts, func(s struct {
		name  string
		value func(*topRow) *float64
	}) bool {
		return s.name == by
	}))
	value := topSorts[at].value
	slices.SortStableFunc(rows, func(a, b topRow) int {
		byName := cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Name, b.Name), cmp.Compare(a.key(), b.key()))
		if value == nil {
			if reverse {
				return -byName
			}
			return byName
		}
		x, y := value(&a), value(&b)
		switch {
		case x == nil && y == nil:
			return byName
		case x == nil:
			return 1
		case y == nil:
			return -1
		}
		order := cmp.Compare(*y, *x)
		if reverse {
			order = -order
		}
		return cmp.Or(order, byName)
	})
}

// filterRows keeps the rows of a namespace ("" is all) in whose name, pod, workload or node all words stand.
func filterRows(rows []topRow, namespace, words string) []topRow {
	wanted := strings.Fields(strings.ToLower(words))
	return slices.DeleteFunc(slices.Clone(rows), func(r topRow) bool {
		if namespace != "" && r.Namespace != namespace && r.Kind != string(model.KindNode) {
			return true
		}
		text := strings.ToLower(r.Namespace + "/" + r.Kind + "/" + r.Pod + "/" + r.Name + " " + r.Node)
		if r.Workload != nil {
			text += strings.ToLower(" " + string(r.Workload.Kind) + "/" + r.Workload.Name)
		}
		return slices.ContainsFunc(wanted, func(word string) bool { return !strings.Contains(text, word) })
	})
}

// clusterRows makes the rows of a view of a reading of a cluster.
func clusterRows(now *kube.ClusterUsage, r rates, view string) []topRow {
	var rows []topRow
	if view == viewNodes {
		for _, n := range now.Nodes {
			row := topRow{
				Kind: string(model.KindNode), Name: n.Name, Pods: n.Pods, CPURequest: n.Requests.CPU, MemoryRequest: n.Requests.Memory,
				CPULimit: n.Allocatable.CPU, MemoryLimit: n.Allocatable.Memory, failed: n.Error,
			}
			row.use(n.Usage)
			r.set(&row, nodeKey(&n))
			rows = append(rows, row)
		}
		return rows
	}
	for i := range now.Pods {
		p := &now.Pods[i]
		workload := p.Workload
		if view == viewContainers {
			for _, c := range p.Containers {
				row := topRow{
					Namespace: p.Namespace, Kind: "Container", Name: c.Name, Pod: p.Name, Node: p.Node, Workload: &workload,
					CPURequest: c.Requests.CPU, MemoryRequest: c.Requests.Memory, CPULimit: c.Limits.CPU, MemoryLimit: c.Limits.Memory,
				}
				row.use(c.Usage)
				rows = append(rows, row)
			}
			continue
		}
		row := topRow{
			Namespace: p.Namespace, Kind: string(model.KindPod), Name: p.Name, Node: p.Node, Workload: &workload,
			CPURequest: p.Requests.CPU, MemoryRequest: p.Requests.Memory, CPULimit: p.Limits.CPU, MemoryLimit: p.Limits.Memory,
		}
		row.use(p.Usage)
		r.set(&row, podKey(p))
		rows = append(rows, row)
	}
	if view == viewWorkloads {
		return workloadRows(rows)
	}
	return rows
}

// use takes what something uses now.
func (r *topRow) use(u kube.Usage) {
	r.CPU, r.Memory, r.RSS, r.Ephemeral = u.CPU, u.WorkingSet, u.RSS, u.Ephemeral
}

// rates are those of the network of nodes and pods. Kubelets measure each some seconds, and until they do the last rate holds.
type rates map[string]*rate

type rate struct {
	at             time.Time // of the totals
	received, sent float64
	in, out        *float64 // bytes a second
	seen           bool
}

func nodeKey(n *kube.NodeUsage) string { return "node/" + n.Name }
func podKey(p *kube.PodUsage) string   { return p.Namespace + "/" + p.Name + "/" + p.Node }

// advance takes a reading in. What is gone is forgotten.
func (r rates) advance(now *kube.ClusterUsage) {
	for i := range now.Nodes {
		r.take(nodeKey(&now.Nodes[i]), now.Nodes[i].Usage, now.At)
	}
	for i := range now.Pods {
		r.take(podKey(&now.Pods[i]), now.Pods[i].Usage, now.At)
	}
	for key, one := range r {
		if !one.seen {
			delete(r, key)
		}
		one.seen = false
	}
}

func (r rates) take(key string, u kube.Usage, now time.Time) {
	if u.Received == nil || u.Sent == nil {
		return
	}
	at := u.Carried
	if at.IsZero() {
		at = now
	}
	last := r[key]
	if last == nil {
		r[key] = &rate{at: at, received: *u.Received, sent: *u.Sent, seen: true}
		return
	}
	last.seen = true
	seconds := at.Sub(last.at).Seconds()
	if seconds <= 0 {
		return
	}
	in, out := (*u.Received-last.received)/seconds, (*u.Sent-last.sent)/seconds
	last.at, last.received, last.sent, last.in, last.out = at, *u.Received, *u.Sent, &in, &out
	if in < 0 || out < 0 { // the namespace was made anew
		last.in, last.out = nil, nil
	}
}

func (r rates) set(row *topRow, key string) {
	if one := r[key]; one != nil {
		row.Received, row.Sent = one.in, one.out
	}
}

// workloadRows adds up the pods of each workload. A workload of which a pod has no limit has none.
func workloadRows(pods []topRow) []topRow {
	at := map[model.Workload]int{}
	var rows []topRow
	for i := range pods {
		p := &pods[i]
		j, known := at[*p.Workload]
		if !known {
			j = len(rows)
			at[*p.Workload] = j
			row := *p
			row.Kind, row.Name, row.Node, row.Workload, row.Pods = string(p.Workload.Kind), p.Workload.Name, "", nil, 1
			rows = append(rows, row)
			continue
		}
		w := &rows[j]
		w.Pods++
		for _, f := range []struct{ to, add **float64 }{
			{&w.CPU, &p.CPU}, {&w.CPUUser, &p.CPUUser}, {&w.CPUSystem, &p.CPUSystem}, {&w.CPURequest, &p.CPURequest}, {&w.Memory, &p.Memory},
			{&w.RSS, &p.RSS}, {&w.MemoryRequest, &p.MemoryRequest}, {&w.Received, &p.Received}, {&w.Sent, &p.Sent}, {&w.Ephemeral, &p.Ephemeral},
		} {
			*f.to = total(*f.to, *f.add)
		}
		for _, f := range []struct{ to, add **float64 }{{&w.CPULimit, &p.CPULimit}, {&w.MemoryLimit, &p.MemoryLimit}} {
			if *f.to == nil || *f.add == nil {
				*f.to = nil
				continue
			}
			*f.to = total(*f.to, *f.add)
		}
	}
	return rows
}

// maxHistory is how many readings a sparkline shows.
const maxHistory = 12

// history remembers what rows used, for their sparklines. A row that is gone is forgotten.
type history map[string][]float64

func (h history) add(rows []topRow) {
	seen := make(map[string]bool, len(rows))
	for i := range rows {
		key := rows[i].key()
		seen[key] = true
		if rows[i].CPU != nil {
			list := append(slices.Clone(h[key]), *rows[i].CPU)
			h[key] = list[max(0, len(list)-maxHistory):]
		}
		rows[i].history = h[key]
	}
	for key := range h {
		if !seen[key] {
			delete(h, key)
		}
	}
}
