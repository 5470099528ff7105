package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/kube"
	"github.com/vetch-dev/vetch/model"
)

func usage(cpu, memory, received float64) kube.Usage {
	return kube.Usage{CPU: f(cpu), WorkingSet: f(memory), Received: f(received), Sent: f(received / 2)}
}

const mi = 1 << 20

// shopUsage is a reading of two nodes, one of which is dead.
func shopUsage(at time.Time, received float64) *kube.ClusterUsage {
	web := model.Workload{Namespace: "shop", Kind: "Deployment", Name: "web"}
	return &kube.ClusterUsage{
		At: at,
		Nodes: []kube.NodeUsage{
			{Name: "n1", Ready: true, Usage: usage(1.5, 2048*mi, received*3), Pods: 3, Allocatable: kube.Resources{CPU: f(4), Memory: f(8192 * mi)}, Requests: kube.Resources{CPU: f(0.2), Memory: f(128 * mi)}},
			{Name: "n2", Error: "no answer within 5s"},
		},
		Pods: []kube.PodUsage{
			{Namespace: "shop", Name: "web-1", Node: "n1", Workload: web, Usage: usage(0.25, 100*mi, received), Requests: kube.Resources{CPU: f(0.1)}, Limits: kube.Resources{CPU: f(0.5), Memory: f(120 * mi)},
				Containers: []kube.ContainerUsage{{Name: "app", Usage: usage(0.2, 90*mi, 0), Limits: kube.Resources{Memory: f(120 * mi)}}}},
			{Namespace: "shop", Name: "web-2", Node: "n1", Workload: web, Usage: usage(0.05, 40*mi, received), Requests: kube.Resources{CPU: f(0.1)}, Limits: kube.Resources{Memory: f(120 * mi)}},
			{Namespace: "data", Name: "db-0", Node: "n1", Workload: model.Workload{Namespace: "data", Kind: "StatefulSet", Name: "db"}, Usage: kube.Usage{WorkingSet: f(300 * mi)}},
		},
	}
}

func document(view string, rows []topRow) topShown {
	return topShown{document: topDocument{
		Time: time.Date(2026, 1, 1, 12, 0, 0, 0, time.Local), Source: sourceKubernetes, View: view, Rows: rows,
		Nodes: []topNode{{Name: "n1", Ready: true, Answers: true}, {Name: "n2", Error: "no answer within 5s"}},
	}}
}

func TestTopTables(t *testing.T) {
	start := time.Unix(1000, 0)
	now, r := shopUsage(start.Add(10*time.Second), 21480), rates{}
	r.advance(shopUsage(start, 1000))
	r.advance(now)
	for view, want := range map[string]string{
		viewPods: `
NAMESPACE  POD    NODE   CPU  REQ  LIM    %  MEMORY    LIM      %  NET IN     OUT
shop       web-1  n1    0.25  0.1  0.5  50%   100Mi  120Mi  83.3%   2Ki/s  1Ki/s
shop       web-2  n1    0.05  0.1    -    -    40Mi  120Mi  33.3%   2Ki/s  1Ki/s
data       db-0   n1       -    -    -    -   300Mi      -      -       -      -
`,
		viewWorkloads: `
NAMESPACE  KIND         WORKLOAD  PODS  CPU  REQ  MEMORY    LIM      %  NET IN    OUT
shop       Deployment   web          2  0.3  0.2   140Mi  240Mi  58.3%   4Ki/s  2Ki/s
data       StatefulSet  db           1    -    -   300Mi      -      -       -      -
`,
		viewContainers: `
NAMESPACE  POD    CONTAINER  NODE  CPU  MEMORY    LIM    %
shop       web-1  app        n1    0.2    90Mi  120Mi  75%
`,
		viewNodes: `
NODE  PODS  CPU  REQ  LIM      %  MEMORY    REQ  LIM    %  NET IN    OUT
n1       3  1.5  0.2    4  37.5%     2Gi  128Mi  8Gi  25%   6Ki/s  3Ki/s
n2       0    -    -    -      -       -      -    -    -       -      -  no answer within 5s
`,
	} {
		rows := clusterRows(now, r, view)
		got := topTable(topState{view: view, sort: "cpu"}, document(view, rows), false)
		require.Equal(t, squeeze(want), squeeze(got), view)
	}
	require.Contains(t, topTable(topState{view: viewPods, sort: "cpu", colour: true}, document(viewPods, clusterRows(now, nil, viewPods)), false), escYellow+"shop")
	require.NotContains(t, topTable(topState{view: viewPods, sort: "cpu"}, document(viewPods, clusterRows(now, nil, viewPods)), false), "NET IN", "rates need two readings")
	r.advance(shopUsage(now.At, 21480))
	require.InDelta(t, 2048, *clusterRows(now, r, viewPods)[0].Received, 0, "the kubelet has not measured since")
	r.advance(shopUsage(now.At.Add(time.Second), 5))
	require.Nil(t, clusterRows(now, r, viewPods)[0].Received, "it was made anew")
	r.advance(&kube.ClusterUsage{})
	require.Empty(t, r)
}

// squeeze makes tables comparable whatever the widths of their columns.
func squeeze(text string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestTopScreen(t *testing.T) {
	rows := clusterRows(shopUsage(time.Unix(1000, 0), 0), nil, viewPods)
	h := history{}
	for _, cpu := range []float64{0, 0.1, 0.2} {
		*rows[0].CPU = cpu
		h.add(rows)
	}
	got := topScreen(topState{view: viewPods, sort: "cpu", filter: "web"}, document(viewPods, rows), 70, 12)
	require.Equal(t, strings.TrimLeft(`
12:00:00  pods  1 of 2 nodes answer  filter web  by cpu
Not answering: n2

NAMESPACE  POD    NODE        CPU  REQ  LIM    %  MEMORY    LIM      %
shop       web-1  n1    ▁▅█   0.2  0.1  0.5  40%   100Mi  120Mi  83.3%
shop       web-2  n1    ███  0.05  0.1    -    -    40Mi  120Mi  33.3%





1-2 of 2   1 pods 2 containers 3 workloads 4 nodes   s/S sort   r reve
`, "\n"), got)
	for height := range 30 {
		text := topScreen(topState{view: viewPods, sort: "name", top: 50}, document(viewPods, rows), 40, height)
		require.LessOrEqual(t, strings.Count(text, "\n"), max(height, 8))
	}
	hostile := topRow{Namespace: "a\x1b[2J", Kind: "Pod", Name: "x\ny", Node: "\x07", CPU: f(1)}
	text := topScreen(topState{view: viewPods, sort: "cpu"}, topShown{note: "\x1b[31m", document: topDocument{Rows: []topRow{hostile}, Nodes: []topNode{{Name: "\x1b"}}}}, 80, 24)
	require.NotContains(t, text, "\x1b")
	require.NotContains(t, text, "x\ny")
}

func TestTopSorts(t *testing.T) {
	rows := []topRow{
		{Name: "a", CPU: f(1), Memory: f(30), MemoryLimit: f(40)},
		{Name: "b", CPU: f(2), Memory: f(20), Requests: f(5), Errors: f(0)},
		{Name: "c", Memory: f(35), MemoryLimit: f(1000), Received: f(1)},
	}
	for by, want := range map[string]string{"cpu": "bac", "memory": "cab", "memory-limit": "acb", "name": "abc", "requests": "bac", "network": "cab"} {
		sortRows(rows, by, false)
		require.Equal(t, want, rows[0].Name+rows[1].Name+rows[2].Name, by)
	}
	sortRows(rows, "cpu", true)
	require.Equal(t, "a", rows[0].Name)
	require.Equal(t, "c", rows[2].Name, "what is not known is last whatever the order")
}

func TestTopKeys(t *testing.T) {
	require.Equal(t, []string{"1", keyUp, keyDown, keyEscape, "ü", keyEnter, keyErase, keyQuit}, readKeys([]byte("1\x1b[A\x1bOB\x1bü\r\x7f\x03\xff\x1b[24~")))
	require.Empty(t, readKeys([]byte("\x1b[99")))
	s := topState{view: viewPods, sort: "cpu"}
	for _, key := range []string{"4", "s", "r", "/", "w", "q", "x", keyErase, keyDown} {
		require.False(t, s.press(key), key)
	}
	require.Equal(t, topState{view: viewNodes, sort: "memory", reverse: true, filter: "wq", typing: true}, s)
	s.press(keyEnter)
	require.True(t, s.press("q"))
	s.press(keyEscape)
	require.Empty(t, s.filter)
	s.press("S")
	s.press("S")
	require.Equal(t, "name", s.sort)
}

// kubeAPI is a Kubernetes API with as many nodes as there are summaries; "" is one that does not answer.
func kubeAPI(t *testing.T) (kubeconfig string, set func(node, summary string)) {
	var mu sync.Mutex
	nodes := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/api/v1/nodes":
			var items []string
			for name := range nodes {
				items = append(items, fmt.Sprintf(`{"metadata":{"name":%q},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`, name))
			}
			fmt.Fprintf(w, `{"kind":"NodeList","apiVersion":"v1","items":[%s]}`, strings.Join(items, ","))
		case strings.HasSuffix(r.URL.Path, "/pods"):
			fmt.Fprint(w, `{"kind":"PodList","apiVersion":"v1","items":[]}`)
		default:
			node := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/nodes/"), "/")[0]
			if nodes[node] == "" {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no route","code":503}`)
				return
			}
			fmt.Fprint(w, nodes[node])
		}
	}))
	t.Cleanup(server.Close)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\ncontexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", server.URL)
	require.NoError(t, os.WriteFile(kubeconfig, []byte(text), 0o600))
	return kubeconfig, func(node, summary string) {
		mu.Lock()
		defer mu.Unlock()
		nodes[node] = summary
	}
}

const oneSummary = `{"node":{"nodeName":"n1","cpu":{"usageNanoCores":500000000},"memory":{"workingSetBytes":1000}},
"pods":[{"podRef":{"name":"web","namespace":"shop"},"cpu":{"usageNanoCores":250000000},"memory":{"workingSetBytes":600}}]}`

func runCommand(t *testing.T, environ []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), program{environ: environ, stdout: &out, stderr: &errs}, args)
	return out.String(), errs.String(), code
}

func TestTopOnceOfACluster(t *testing.T) {
	kubeconfig, set := kubeAPI(t)
	set("n1", oneSummary)
	set("n2", "")
	out, errs, code := runCommand(t, nil, "top", "--kubeconfig", kubeconfig, "--once", "-o", "json")
	require.Equal(t, exitOK, code, errs)
	var d map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &d))
	require.Equal(t, "kubernetes", d["source"])
	require.Equal(t, "pods", d["view"])
	require.Len(t, d["nodes"], 2)
	row := d["rows"].([]any)[0].(map[string]any)
	require.Equal(t, topFields(), keysOf(row), "the fields that docs/guide/top.md promises")
	require.InDelta(t, 0.25, row["cpu_cores"], 0)
	require.Nil(t, row["cpu_limit_cores"])
	for _, field := range append(topFields(), "kind") {
		guide, err := os.ReadFile("../docs/guide/top.md")
		require.NoError(t, err)
		require.Contains(t, string(guide), "`"+field+"`")
	}

	out, _, code = runCommand(t, nil, "top", "nodes", "--kubeconfig", kubeconfig, "--once")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "no route")
	out, _, _ = runCommand(t, nil, "top", "--kubeconfig", kubeconfig, "--once", "-n", "shop", "--filter", "nothing")
	require.Contains(t, out, "Nothing fits.")
	require.Contains(t, out, "n2 does not answer: no route")
	for _, args := range [][]string{{"top", "pots"}, {"top", "--sort", "x"}, {"top", "--interval", "1ms"}, {"top", "--source", "x"}, {"top", "-o", "xml"}} {
		_, errs, code = runCommand(t, nil, args...)
		require.Equal(t, exitUsage, code, "%v: %s", args, errs)
	}
	_, errs, code = runCommand(t, nil, "top", "--kubeconfig", filepath.Join(t.TempDir(), "none"), "--once")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "find the Kubernetes API")
}

// topFields are those of a pod's row.
func topFields() []string {
	return []string{"cpu_cores", "cpu_limit_cores", "cpu_request_cores", "cpu_system_cores", "cpu_user_cores", "ephemeral_storage_bytes", "errors_per_second", "kind",
		"memory_limit_bytes", "memory_request_bytes", "memory_rss_bytes", "memory_working_set_bytes", "name", "namespace",
		"network_received_bytes_per_second", "network_transmitted_bytes_per_second", "node", "requests_per_second", "workload"}
}

func keysOf(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// prometheusAPI answers a query by the metric in it.
func prometheusAPI(t *testing.T, answers map[string]string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for metric, result := range answers {
			if r.URL.Path == "/api/v1/query" && strings.Contains(r.URL.Query().Get("query"), metric) {
				fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, result)
				return
			}
		}
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestTopOfAServer(t *testing.T) {
	nginx := `{"metric":{"kind":"Unit","workload":"nginx"},"value":[1,"%s"]}`
	url := prometheusAPI(t, map[string]string{
		`vetch_workload_cpu_seconds_total{mode="user"}`:   fmt.Sprintf(nginx, "0.5"),
		`vetch_workload_cpu_seconds_total{mode="system"}`: fmt.Sprintf(nginx, "0.25"),
		"vetch_workload_memory_working_set_bytes":         fmt.Sprintf(nginx, "1048576"),
		"vetch_workload_requests_total":                   fmt.Sprintf(nginx, "100"),
		"vetch_workload_failed_requests_total":            fmt.Sprintf(nginx, "1"),
		"container_resources_memory_working_set_bytes":    `{"metric":{"container_id":"/k8s/shop/web-1/app","node":"n1"},"value":[1,"5"]},{"metric":{"container_id":"/process/make"},"value":[1,"7"]}`,
		"node_resources_memory_total_bytes":               `{"metric":{"node":"n1"},"value":[1,"99"]}`,
		"vetch_pod_memory_rss_bytes":                      `{"metric":{"namespace":"shop","pod":"web-1","kind":"Deployment","workload":"web"},"value":[1,"5"]}`,
	})
	out, errs, code := runCommand(t, nil, "top", "--source", "server", "--server", url, "--once")
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, "KIND WORKLOAD CPU USER SYS MEMORY RATE ERRORS\nUnit nginx 0.75 0.5 0.25 1Mi 100/s 1%", squeeze(out))
	for view, want := range map[string]string{
		viewContainers: "NAMESPACE POD CONTAINER NODE MEMORY\nmake 7\nshop web-1 app n1 5",
		viewNodes:      "NODE MEMORY LIM %\nn1 99 99 100%",
		viewPods:       "NAMESPACE POD NODE\nshop web-1",
	} {
		out, errs, code = runCommand(t, nil, "top", view, "--source", "server", "--server", url, "--once", "--sort", "name")
		require.Equal(t, exitOK, code, errs)
		require.Equal(t, want, squeeze(out), view)
	}
	_, errs, code = runCommand(t, nil, "top", "--source", "server", "--server", "127.0.0.1:1", "--once")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "no answer")
}

func TestTopOfAClusterWithRequests(t *testing.T) {
	kubeconfig, set := kubeAPI(t)
	set("n1", oneSummary)
	url := prometheusAPI(t, map[string]string{"vetch_workload_requests_total": `{"metric":{"namespace":"shop","kind":"Pod","workload":"web"},"value":[1,"12"]}`})
	out, errs, code := runCommand(t, nil, "top", "workloads", "--kubeconfig", kubeconfig, "--server", url, "--once")
	require.Equal(t, exitOK, code, errs)
	require.Equal(t, "NAMESPACE KIND WORKLOAD PODS CPU MEMORY RATE ERRORS\nshop Pod web 1 0.25 600 12/s -", squeezeErrors(out))
	out, _, code = runCommand(t, nil, "top", "workloads", "--kubeconfig", kubeconfig, "--server", "127.0.0.1:1", "--once")
	require.Equal(t, exitOK, code, "the cluster's own figures are there all the same")
	require.Contains(t, out, "web")
}

// squeezeErrors adds the column that is left out where no row has errors.
func squeezeErrors(text string) string {
	text = squeeze(text)
	return strings.Replace(strings.Replace(text, "RATE", "RATE ERRORS", 1), "12/s", "12/s -", 1)
}

func TestTopFollowsACluster(t *testing.T) {
	kubeconfig, set := kubeAPI(t)
	set("n1", oneSummary)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, program{stdout: w, stderr: io.Discard}, []string{"top", "nodes", "--kubeconfig", kubeconfig, "--interval", "1s", "-o", "json"})
		w.Close()
	}()
	lines := bufio.NewScanner(r)
	nodes := func() map[string]bool {
		require.True(t, lines.Scan())
		var d topDocument
		require.NoError(t, json.Unmarshal(lines.Bytes(), &d))
		answers := map[string]bool{}
		for _, n := range d.Nodes {
			answers[n.Name] = n.Answers
		}
		require.Len(t, d.Rows, len(answers))
		return answers
	}
	until := func(want map[string]bool) {
		for deadline := time.Now().Add(time.Minute); !maps.Equal(nodes(), want); {
			require.True(t, time.Now().Before(deadline), "it does not come to %v", want)
		}
	}
	until(map[string]bool{"n1": true})
	set("n2", oneSummary)
	until(map[string]bool{"n1": true, "n2": true})
	set("n1", "")
	until(map[string]bool{"n1": false, "n2": true})
	cancel()
	for lines.Scan() { // it may be writing
	}
	require.Equal(t, exitOK, <-ended)
}
