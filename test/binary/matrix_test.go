package binary

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/vetch-dev/vetch/test/conversation"
)

// row is a way to ask; it is run against several servers.
type row struct {
	name     string // also the first part of every path
	requests map[string]int
	v6       bool
	targets  []string // METHOD and the last part of the path
	args     []string
}

var mixed = []string{"GET /ok", "GET /moved", "GET /missing", "GET /broken", "HEAD /ok", "POST /ok"}

// rows are those of which the counts must be exact for 100,000 requests. The others cost more for each: many packets, or large bodies.
var rows = []row{
	{name: "kept-alive", requests: map[string]int{"nginx": 100_000, "web": 100_000, "python": 100_000}, targets: []string{"GET /ok"}},
	{name: "one-connection-each", requests: map[string]int{"nginx": 100_000, "web": 100_000, "python": 100_000}, targets: []string{"GET /ok"}, args: []string{"-close"}},
	{name: "pipelined", requests: map[string]int{"nginx": 100_000, "web": 100_000, "python": 100_000}, targets: []string{"GET /ok"}, args: []string{"-mode", "raw", "-pipeline", "16"}},
	{name: "pipelined-and-closed", requests: map[string]int{"nginx": 100_000, "web": 100_000}, targets: []string{"GET /ok", "GET /moved", "GET /missing", "HEAD /ok", "POST /ok"}, args: []string{"-mode", "raw", "-pipeline", "16", "-close"}},
	{name: "split-and-chunked", requests: map[string]int{"nginx": 100_000, "web": 100_000}, targets: []string{"POST /ok"}, args: []string{"-mode", "raw", "-split", "17", "-body", "33", "-chunked"}},
	{name: "split", requests: map[string]int{"python": 100_000}, targets: []string{"POST /ok"}, args: []string{"-mode", "raw", "-split", "17", "-body", "33"}},
	{name: "split-by-one", requests: map[string]int{"nginx": 3_000, "web": 3_000, "python": 3_000}, targets: []string{"POST /ok", "GET /ok"}, args: []string{"-mode", "raw", "-split", "1", "-body", "9"}},
	{name: "chunked-answers", requests: map[string]int{"web": 100_000}, targets: []string{"GET /ok?parts=3", "GET /ok?size=9000&parts=1"}},
	{name: "six", requests: map[string]int{"nginx": 100_000, "web": 100_000}, v6: true, targets: []string{"GET /ok"}},
	{name: "mixed-codes", requests: map[string]int{"nginx": 100_000, "web": 100_000, "python": 100_000}, targets: mixed},
	{name: "sendfile", requests: map[string]int{"nginx": 60}, targets: []string{"GET /file", "GET /ok"}},
	{name: "uploads", requests: map[string]int{"nginx": 300, "web": 300, "python": 300}, targets: []string{"POST /ok"}, args: []string{"-body", "700000"}},
	{name: "old-and-new-connections", requests: map[string]int{"web": 20_000}, targets: []string{"GET /ok?size=60000"}, args: []string{"-concurrency", "40"}},
}

func (r row) host() string {
	if r.v6 {
		return "::1"
	}
	return "127.0.0.1"
}

func (r row) arguments(prefix string, requests int) []string {
	targets := make([]string, len(r.targets))
	for i, t := range r.targets {
		method, last, _ := strings.Cut(t, " ")
		targets[i] = method + " " + prefix + last
	}
	return append([]string{"-requests", strconv.Itoa(requests), "-concurrency", "8", "-targets", strings.Join(targets, ",")}, r.args...)
}

// TestExactCounts is the matrix: requests sent = requests counted on the serving end = requests counted on the calling end.
func TestExactCounts(t *testing.T) {
	hosts := make([]string, len(rows))
	for i, r := range rows {
		hosts[i] = r.host()
	}
	_, nginx := nginxServer(t, how{}, hosts...)
	for i, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			if n := r.requests["nginx"]; n > 0 {
				t.Run("nginx", func(t *testing.T) { r.run(t, "nginx", nginx[i], n) })
			}
			if n := r.requests["web"]; n > 0 {
				t.Run("go", func(t *testing.T) {
					p, address := server(t, how{}, r.name+"-web", strings.Replace(r.host(), "::1", "[::1]", 1)+":0")
					sent := r.run(t, p.name, address, n)
					agree(t, sent, p.finish(t))
				})
			}
			if n := r.requests["python"]; n > 0 {
				t.Run("python", func(t *testing.T) {
					p, address := pythonServer(t)
					r.run(t, p.name, address, n)
				})
			}
		})
	}
}

func (r row) run(t *testing.T, server, address string, requests int) conversation.Report {
	t.Helper()
	prefix := "/" + mine(r.name)
	name := fmt.Sprintf("%s-to-%s", r.name, strings.TrimRight(strings.TrimSuffix(server, mine("")), ".0123456789"))
	report := client(t, how{}, name, address, r.arguments(prefix, requests)...)
	e := expect(name, server, address, report)
	if server == "nginx" || strings.HasPrefix(server, "python") {
		e.shared = prefix + "/"
	}
	check(t, e)
	return report
}

// agree holds that the server's own account is the client's.
func agree(t *testing.T, client, server conversation.Report) {
	t.Helper()
	count := func(r conversation.Report) map[string]int {
		counts := map[string]int{}
		for _, q := range r.Requests {
			counts[key(q.Method, q.Path, q.Code)] += q.Count
		}
		return counts
	}
	if c, s := count(client), count(server); fmt.Sprint(c) != fmt.Sprint(s) {
		t.Errorf("the programs themselves do not agree: client %v, server %v", c, s)
	}
	if client.Sent != server.Received || client.Received != server.Sent || client.Connections != server.Connections {
		t.Errorf("the programs themselves do not agree: client %+v, server %+v", client, server)
	}
}

// TestNamespaces sends between two network namespaces joined by veth, by IPv4, by IPv6, and through a rule that rewrites the destination.
func TestNamespaces(t *testing.T) {
	const service = "10.96.0.10"
	near, far := joined(t)
	near.route(t, service+"/32", farV4)
	r := row{targets: mixed}
	for _, c := range []struct {
		name, host, server string
		requests           int
	}{
		{"joined-v4", farV4, "nginx", 100_000}, {"joined-v6", farV6, "nginx", 100_000}, {"joined-v4-go", farV4, "web", 100_000},
		{"translated", farV4, "nginx", 100_000}, {"translated-go", farV4, "web", 100_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			var address string
			serving := mine(c.name + "-web")
			if c.server == "nginx" {
				_, addresses := nginxServer(t, how{ns: far}, c.host)
				serving, address = "nginx", addresses[0]
			} else {
				_, address = server(t, how{ns: far}, c.name+"-web", c.host+":0")
			}
			dialed := address
			if strings.HasPrefix(c.name, "translated") {
				dialed = service + ":8080"
				near.rules(t, fmt.Sprintf("table ip %s { chain out { type nat hook output priority -100; ip daddr %s tcp dport 8080 dnat to %s; }; }",
					strings.ReplaceAll(c.name, "-", "_"), service, address))
				defer near.rules(t, "delete table ip "+strings.ReplaceAll(c.name, "-", "_"))
			}
			prefix := "/" + mine(c.name)
			report := client(t, how{ns: near}, c.name, dialed, r.arguments(prefix, c.requests)...)
			e := expect(c.name, serving, address, report)
			if serving == "nginx" {
				e.shared = prefix + "/"
			}
			check(t, e)
		})
	}
}
