package digest

import (
	"strings"
	"testing"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
)

// TestExpiryAndReturn: series end some time after all that made them is gone; when it comes back they are new.
func TestExpiryAndReturn(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.SeriesExpiry = time.Minute })
	visit := func() (c, s probe.PairKey) {
		w.owner(1, "curl")
		w.owner(2, "nginx")
		w.listener(2, "0.0.0.0:80")
		c, s = w.client(1, 2, "127.0.0.1:80"), w.server(2, 1, "127.0.0.1:80", "127.0.0.1:0")
		w.tcp(c, 1, 10, 10, 1)
		w.http(c, "/", 200, 1)
		w.http(s, "/", 200, 1)
		w.poll()
		return c, s
	}
	c, s := visit()
	names := []string{"vetch_edge_requests_total", "vetch_workload_requests_total", "container_http_requests_total", "container_http_inbound_requests_total"}
	check := func(when string, want float64) {
		t.Helper()
		r := w.read()
		for _, name := range names {
			if got := r.sum(name); got != want {
				t.Errorf("%s: %s is %v, want %v", when, name, got, want)
			}
		}
	}
	check("at first", 1)
	key := `vetch_edge_requests_total{client="curl", client_kind="Process", code="200", port="80", protocol="http", server="nginx", server_kind="Process"}`
	born := w.read().created[key]
	w.leap(time.Hour)
	check("with a live connection", 1)
	w.gone(c)
	w.gone(s)
	w.next.Gone = []probe.OwnerID{1}
	w.poll()
	w.pass(30 * time.Second)
	check("not yet", 1)
	w.leap(time.Minute)
	r := w.read()
	if got := r.sum("vetch_edge_requests_total"); got != 0 {
		t.Errorf("the edge is still there: %v", got)
	}
	if got := r.sum("vetch_workload_requests_total"); got != 1 {
		t.Errorf("nginx still listens, but has %v", got)
	}
	w.next.Listeners = nil
	w.poll()
	w.leap(2 * time.Minute)
	check("when all is gone", 0)
	if got := w.digest.Status().Series; got != 0 {
		t.Errorf("room for %d series is still taken", got)
	}
	visit()
	check("when it is back", 1)
	if again := w.read().created[key]; !again.After(born) {
		t.Errorf("created %v, before it was %v", again, born)
	}
}

// TestCreatedIsBeforeTheFirstCount: what a series begins with happened after its creation time, also when it was held back.
func TestCreatedIsBeforeTheFirstCount(t *testing.T) {
	w := newWorld(t)
	before := w.now
	w.owner(1, "curl")
	w.tcp(w.client(1, 0, "10.1.2.3:80"), 1, 1, 1, 0)
	w.pass(10 * time.Second)
	for key, created := range w.read().created {
		if strings.HasPrefix(key, "vetch_edge_bytes_total") && !created.Equal(before) {
			t.Errorf("%s created %v, want %v", key, created, before)
		}
	}
}

// TestPairReturnsAfterGone: the kernel forgets idle pairs and counts them anew; the series go on.
func TestPairReturnsAfterGone(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "curl")
	w.owner(2, "nginx")
	w.listener(2, "0.0.0.0:80")
	c, s := w.client(1, 2, "127.0.0.1:80"), w.server(2, 1, "127.0.0.1:80", "127.0.0.1:0")
	for range 3 {
		w.tcp(c, 1, 10, 20, 1)
		w.http(c, "/", 200, 2)
		w.http(s, "/", 200, 2)
		w.poll()
		w.gone(c)
		w.gone(s)
		w.poll()
		w.gone(c) // twice does no harm
		w.poll()
	}
	r := w.read()
	for name, want := range map[string]float64{
		"vetch_edge_requests_total": 6, "vetch_workload_requests_total": 6, "vetch_edge_connections_total": 3, "vetch_edge_active_connections": 0,
		"container_net_tcp_active_connections": 0, "container_http_requests_total": 6,
	} {
		if got := r.sum(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// TestFlush: at the end nothing stays held back.
func TestFlush(t *testing.T) {
	w := newWorld(t)
	w.tcp(w.client(1, 0, "10.1.2.3:80"), 1, 2, 3, 0)
	w.poll()
	w.digest.Flush(w.now)
	if got := w.read().sum("vetch_edge_connections_total"); got != 1 {
		t.Errorf("%v connections, want 1", got)
	}
}

// TestLateProtocol: an edge that was shown as tcp is followed by one that is http; neither goes back and their sum is right.
func TestLateProtocol(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "curl")
	w.owner(2, "nginx")
	w.listener(2, "0.0.0.0:80")
	c := w.client(1, 2, "127.0.0.1:80")
	w.tcp(c, 1, 100, 0, 1)
	w.pass(7 * time.Second)
	if got := w.read().sum("vetch_edge_bytes_total", `protocol="tcp"`); got != 100 {
		t.Fatalf("tcp bytes %v", got)
	}
	w.tcp(c, 0, 50, 60, 1)
	w.http(c, "/", 200, 1)
	w.poll()
	w.tcp(c, 1, 5, 6, 2)
	w.poll()
	r := w.read()
	for _, tc := range []struct {
		name, protocol string
		want           float64
	}{
		{"vetch_edge_bytes_total", "tcp", 100}, {"vetch_edge_bytes_total", "http", 121},
		{"vetch_edge_connections_total", "tcp", 1}, {"vetch_edge_connections_total", "http", 1},
		{"vetch_edge_active_connections", "tcp", 0}, {"vetch_edge_active_connections", "http", 2},
		{"vetch_edge_requests_total", "http", 1},
	} {
		if got := r.sum(tc.name, `protocol="`+tc.protocol+`"`); got != tc.want {
			t.Errorf("%s %s is %v, want %v", tc.protocol, tc.name, got, tc.want)
		}
	}
	w.leap(DefaultSeriesExpiry + time.Minute)
	r = w.read()
	if got := r.sum("vetch_edge_bytes_total"); got != 121 {
		t.Errorf("after expiry %v bytes are left, want those of the live edge", got)
	}
}

// TestAnotherServerTakesOver: a pair whose peer the kernel does not know is looked up again after a while, and moves with its open connections.
func TestAnotherServerTakesOver(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "curl")
	w.owner(2, "nginx")
	w.owner(3, "caddy")
	w.listener(2, "0.0.0.0:80")
	c := w.client(1, 0, "127.0.0.1:80")
	w.tcp(c, 1, 10, 0, 2)
	w.pass(6 * time.Second)
	w.next.Listeners = nil
	w.listener(3, "0.0.0.0:80")
	w.tcp(c, 1, 5, 0, 3)
	w.poll()
	if got := w.read().sum("vetch_edge_bytes_total", onNginx); got != 15 {
		t.Errorf("within the minute: %v bytes to nginx, want 15", got)
	}
	w.leap(2 * time.Minute)
	w.tcp(c, 1, 7, 0, 4)
	w.pass(6 * time.Second)
	r := w.read()
	for _, tc := range []struct {
		name, server string
		want         float64
	}{
		{"vetch_edge_bytes_total", "nginx", 15}, {"vetch_edge_bytes_total", "caddy", 7},
		{"vetch_edge_active_connections", "nginx", 0}, {"vetch_edge_active_connections", "caddy", 4},
		{"vetch_edge_connections_total", "nginx", 2}, {"vetch_edge_connections_total", "caddy", 1},
	} {
		if got := r.sum(tc.name, `server="`+tc.server+`"`); got != tc.want {
			t.Errorf("%s to %s is %v, want %v", tc.name, tc.server, got, tc.want)
		}
	}
}
