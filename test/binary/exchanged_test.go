package binary

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// exchanged is what clients asked of one server, by their own account. All that are of one server and protocol are everything that it was asked in it.
type exchanged struct {
	protocol, by, server string
	port                 string
	want                 map[string]int // "operation code" -> count; anyNumber where the client does not say
	shared               string         // where the server's workload may have other clients: what the operations contain that are ours
	older                bool           // the connections are older than vetch: where one says nothing but operations of any number, the ends may begin to count them at different times
	calls                bool           // all calling ends are seen, and are compared
	unseen               bool           // the server does TLS that is not seen through: only the calling end counts
}

const anyNumber = -1

// differences lists what was counted otherwise between two scrapes: at the serving end, at the calling end, and on the edges.
func differences(now, before scrape, all []exchanged) (d []string) {
	for rest := all; len(rest) > 0; {
		first := rest[0]
		of := func(e exchanged) bool { return e.server == first.server && e.protocol == first.protocol }
		var own []exchanged
		for _, e := range rest {
			if of(e) {
				own = append(own, e)
			}
		}
		free, at := servedDifferences(now, before, own)
		d = append(d, at...)
		d = append(d, edgeDifferences(now, before, own, free)...)
		rest = slices.DeleteFunc(slices.Clone(rest), of)
	}
	return d
}

// servedDifferences is differences at the serving end, of one server and protocol. free is what was counted of operations of any number, by code.
func servedDifferences(now, before scrape, all []exchanged) (free map[string]float64, d []string) {
	shared := all[0].shared
	served := since(now, before, "vetch_workload_requests_total", labels{"workload": all[0].server, "protocol": all[0].protocol}, "route", "code")
	maps.DeleteFunc(served, func(k string, _ float64) bool { return !strings.Contains(k, shared) })
	want, whatever := map[string]float64{}, map[string]bool{}
	for _, e := range all {
		for k, n := range e.want {
			switch {
			case n == anyNumber:
				whatever[k] = true
			case n > 0 && !e.unseen && strings.Contains(k, shared):
				want[k] += float64(n)
			}
		}
	}
	free = map[string]float64{}
	for k := range whatever {
		if more := served[k] - want[k]; more > 0 {
			free[codeOf(k)] += more
			want[k] = served[k]
		}
	}
	if !maps.Equal(want, served) {
		d = append(d, fmt.Sprintf("%s of %s at the serving end: want %v, got %v", all[0].protocol, all[0].server, want, served))
	}
	return free, d
}

// edgeDifferences is differences on the edges to one server in one protocol, and at the calling ends of them. Of what is free no port is known.
func edgeDifferences(now, before scrape, all []exchanged, free map[string]float64) (d []string) {
	known, total, got := map[string]map[string]float64{}, maps.Clone(free), map[string]float64{}
	for _, e := range all {
		if known[e.port] == nil {
			known[e.port] = map[string]float64{}
		}
		for k, n := range e.want {
			if n > 0 {
				known[e.port][codeOf(k)] += float64(n)
				total[codeOf(k)] += float64(n)
			}
		}
	}
	for _, port := range slices.Sorted(maps.Keys(known)) {
		edge := since(now, before, "vetch_edge_requests_total", labels{"server": all[0].server, "port": port, "protocol": all[0].protocol}, "code")
		sum := 0.0
		for code, n := range edge {
			got[code] += n
			sum += n
		}
		for code, n := range known[port] {
			if edge[code] < n {
				d = append(d, fmt.Sprintf("%s of %s on the edge to port %s: want %v, got %v", all[0].protocol, all[0].server, port, known[port], edge))
				break
			}
		}
		if called, tells := calledOn(now, before, all[0].protocol, port); tells && all[0].calls && !(all[0].older && len(free) > 0) && called != sum {
			d = append(d, fmt.Sprintf("%s of %s at the calling end of port %s: want %v, got %v", all[0].protocol, all[0].server, port, sum, called))
		}
	}
	if all[0].older {
		for _, e := range all {
			for k, n := range e.want {
				if n == anyNumber {
					delete(total, codeOf(k))
					delete(got, codeOf(k))
				}
			}
		}
	}
	if !maps.Equal(total, got) {
		d = append(d, fmt.Sprintf("%s of %s on the edges to ports %v: want %v, got %v", all[0].protocol, all[0].server, slices.Sorted(maps.Keys(known)), total, got))
	}
	return d
}

// calledOn is what calling ends asked of a port, by the names of coroot-node-agent. Of some protocols those do not tell all.
func calledOn(now, before scrape, protocol, port string) (sum float64, tells bool) {
	family := map[string]string{"http2": "http", "grpc": "http", "mongodb": "mongo"}[protocol]
	switch protocol {
	case "nats", "amqp", "dns":
		return 0, false
	case "http2", "grpc", "mongodb":
	default:
		family = protocol
	}
	for _, noun := range []string{"requests", "queries"} {
		for to, n := range since(now, before, "container_"+family+"_"+noun+"_total", nil, "actual_destination") {
			if strings.HasSuffix(to, ":"+port) {
				sum += n
			}
		}
	}
	return sum, true
}

// codeOf is the last word of "operation code".
func codeOf(k string) string { return k[strings.LastIndexByte(k, ' ')+1:] }

// since is by of what was added after another scrape.
func since(now, before scrape, name string, match labels, of ...string) map[string]float64 {
	got := now.by(name, match, of...)
	for k, n := range before.by(name, match, of...) {
		got[k] -= n
	}
	maps.DeleteFunc(got, func(_ string, n float64) bool { return n == 0 })
	return got
}

func checkExchanged(t *testing.T, watchers []*vetch, all ...exchanged) {
	t.Helper()
	checkSince(t, watchers, nil, all...)
}

// checkSince waits on every watcher until it shows that, and nothing more, was added to an earlier scrape, and that it still does a while later.
func checkSince(t *testing.T, watchers []*vetch, before map[*vetch]scrape, all ...exchanged) {
	t.Helper()
	for _, v := range watchers {
		var s scrape
		agreed := time.Time{}
		err := poll(t.Context(), func() (err error) {
			if s, err = v.read(); err != nil {
				return err
			}
			if d := differences(s, before[v], all); len(d) > 0 && agreed.IsZero() {
				return errors.New(d[0])
			}
			if agreed.IsZero() {
				agreed = time.Now()
			}
			if time.Since(agreed) < 3*pollInterval {
				return errors.New("not yet")
			}
			return nil
		})
		if s == nil {
			t.Fatal(err)
		}
		for _, d := range differences(s, before[v], all) {
			t.Errorf("%s hook: %s", v.hook, d)
		}
		if t.Failed() {
			t.Logf("%s hook: lost in the kernel %v, by the protocols %v", v.hook, s.by("vetch_probe_events_lost_total", nil, "reason"), s.by("vetch_protocol_events_lost_total", nil, "reason"))
		}
	}
}
