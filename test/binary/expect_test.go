package binary

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vetch-dev/vetch/test/conversation"
)

// expectation is what one client and one server exchanged, by their own account.
type expectation struct {
	client, server string // names of the workloads, both of kind Process
	port           int
	requests       map[string]int // "METHOD route code" -> count; the code is "none" where no response came; route "*" stands for any
	cut            int            // requests whose connection ended before the response was whole
	connections    int
	sent, received int64  // by the client
	shared         string // where the server has other clients as well: the prefix of this client's routes
	uncounted      bool   // what the requests are is not laid down
	noBytes        bool   // neither are the bytes
	manyEdges      bool   // the client's name is that of others too, who have edges of their own
	noConnections  bool   // nor the connections, because some are older than vetch
}

// expect turns the report of a client of this run into an expectation.
func expect(client, server, address string, r conversation.Report) expectation {
	e := expectation{client: mine(client), server: server, requests: map[string]int{}, connections: r.Connections, sent: r.Sent, received: r.Received}
	e.port, _ = strconv.Atoi(address[strings.LastIndexByte(address, ':')+1:])
	for _, q := range r.Requests {
		e.requests[key(q.Method, q.Path, q.Code)] += q.Count
	}
	return e
}

func key(method, route string, code int) string {
	text := strconv.Itoa(code)
	if code == 0 {
		text = "none"
	}
	if route == "" {
		route = "*"
	}
	return method + " " + route + " " + text
}

// differences lists what the scrape says otherwise.
func (e expectation) differences(s scrape) []string {
	var d []string
	differ := func(what string, want, got any) {
		if fmt.Sprint(want) != fmt.Sprint(got) {
			d = append(d, fmt.Sprintf("%s -> %s:%d: %s: want %v, got %v", e.client, e.server, e.port, what, want, got))
		}
	}
	edge := labels{"client": e.client, "client_kind": "Process", "server": e.server, "server_kind": "Process", "port": strconv.Itoa(e.port)}
	if !e.uncounted {
		differ("requests at the serving end", e.wanted(), e.served(s))
		byCode, byClass, total := map[string]float64{}, map[string]float64{}, 0
		for k, n := range e.requests {
			code := k[strings.LastIndexByte(k, ' ')+1:]
			byCode[code] += float64(n)
			byClass[classOf(code)] += float64(n)
			total += n
		}
		differ("requests of the edge", byCode, s.by("vetch_edge_requests_total", edge, "code"))
		differ("durations of the edge", total, s.sum("vetch_edge_request_duration_seconds", edge))
		differ("requests at the calling end", byClass, e.called(s))
		if e.shared == "" {
			differ("requests cut", e.cut, s.sum("vetch_workload_requests_cut_total", labels{"kind": "Process", "workload": e.server}))
			differ("durations at the serving end", total, s.sum("vetch_workload_request_duration_seconds", labels{"kind": "Process", "workload": e.server}))
		}
	}
	if !e.noConnections {
		differ("connections", e.connections, s.sum("vetch_edge_connections_total", edge))
		differ("open connections", 0, s.sum("vetch_edge_active_connections", edge))
	}
	if !e.noBytes {
		want := map[string]float64{"received": float64(e.received), "sent": float64(e.sent)}
		maps.DeleteFunc(want, func(_ string, v float64) bool { return v == 0 })
		differ("bytes", want, s.by("vetch_edge_bytes_total", edge, "direction"))
	}
	if edges := edgesOf(s, e.client); len(edges) != 1 && !e.manyEdges || len(d) > 0 {
		differ("edges of the client", "just one", edges)
	}
	return d
}

func classOf(code string) string {
	if code == "none" {
		return "failed"
	}
	return code[:1] + "xx"
}

// wanted is requests as the serving end should show them.
func (e expectation) wanted() map[string]float64 {
	want := map[string]float64{}
	for k, n := range e.requests {
		want[k] += float64(n)
	}
	return want
}

// served is the serving end's requests. Routes that the expectation leaves open become "*".
func (e expectation) served(s scrape) map[string]float64 {
	got := map[string]float64{}
	all := s.by("vetch_workload_requests_total", labels{"kind": "Process", "workload": e.server, "protocol": "http"}, "method", "route", "code")
	for k, n := range all {
		parts := strings.Split(k, " ")
		if open := parts[0] + " * " + parts[2]; len(parts) == 3 && e.requests[open] > 0 && e.requests[k] == 0 {
			k = open
		} else if e.shared != "" && !strings.HasPrefix(strings.Join(parts[1:], " "), e.shared) {
			continue
		}
		got[k] += n
	}
	return got
}

// called is the calling end's requests by class of status, from the agent's container_* metrics.
func (e expectation) called(s scrape) map[string]float64 {
	got := map[string]float64{}
	for _, one := range s["container_http_requests_total"] {
		if one.labels["container_id"] == "/process/"+e.client && strings.HasSuffix(one.labels["actual_destination"], ":"+strconv.Itoa(e.port)) {
			got[one.labels["status"]] += one.value
		}
	}
	maps.DeleteFunc(got, func(_ string, v float64) bool { return v == 0 })
	return got
}

// edgesOf lists the different edges of a client.
func edgesOf(s scrape, client string) []string {
	edges := map[string]bool{}
	for name := range s {
		if !strings.HasPrefix(name, "vetch_edge_") {
			continue
		}
		for k := range s.by(name, labels{"client": client}, "client_namespace", "client_kind", "client", "server_namespace", "server_kind", "server", "port", "protocol") {
			edges[k] = true
		}
	}
	return slices.Sorted(maps.Keys(edges))
}

// check waits on every watcher until it shows what is expected, and that it still does a while later.
func check(t *testing.T, expectations ...expectation) {
	t.Helper()
	for _, v := range built.watchers {
		checkOn(t, v, expectations...)
	}
}

func checkOn(t *testing.T, v *vetch, expectations ...expectation) {
	t.Helper()
	s := settled(t, v, expectations)
	for _, e := range expectations {
		for _, d := range e.differences(s) {
			t.Errorf("%s hook: %s", v.hook, d)
		}
	}
}

// settled reads until all is as expected, but at most 15 s, and then for more than two of vetch's own polls, so that what is counted
// twice has the time to be. It returns the last reading.
func settled(t *testing.T, v *vetch, expectations []expectation) scrape {
	t.Helper()
	var last scrape
	agreed := time.Time{}
	err := poll(t.Context(), func() error {
		s, err := v.read()
		if err != nil {
			return err
		}
		last = s
		for _, e := range expectations {
			if d := e.differences(s); len(d) > 0 && agreed.IsZero() {
				return errors.New(d[0])
			}
		}
		if agreed.IsZero() {
			agreed = time.Now()
		}
		if time.Since(agreed) < 3*pollInterval {
			return errors.New("not yet")
		}
		return nil
	})
	if last == nil {
		t.Fatal(err)
	}
	return last
}
