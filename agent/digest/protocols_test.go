package digest

import (
	"fmt"
	"testing"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
)

// TestOtherProtocols: operations of any protocol are counted by their own codes, without a method, and under coroot's names.
func TestOtherProtocols(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "app")
	w.owner(2, "postgres")
	w.listener(2, "0.0.0.0:5432")
	c, s := w.client(1, 2, "127.0.0.1:5432"), w.server(2, 1, "127.0.0.1:5432", "127.0.0.1:0")
	for _, key := range []probe.PairKey{c, s} {
		w.request(key, "postgres", "SELECT users", "ok", 5)
		w.request(key, "postgres", "INSERT users", "23505", 2).Failed = true
		cut := w.request(key, "postgres", "SELECT users", "", 1)
		cut.Failed, cut.Cut = true, true
	}
	w.poll()
	r := w.read()
	r.want(t, "vetch_workload", `
		vetch_workload_requests_total{code="ok", kind="Process", protocol="postgres", route="SELECT users", workload="postgres"} 5
		vetch_workload_requests_total{code="23505", kind="Process", protocol="postgres", route="INSERT users", workload="postgres"} 2
		vetch_workload_requests_total{code="none", kind="Process", protocol="postgres", route="SELECT users", workload="postgres"} 1
		vetch_workload_failed_requests_total{kind="Process", protocol="postgres", route="SELECT users", workload="postgres"} 1
		vetch_workload_failed_requests_total{kind="Process", protocol="postgres", route="INSERT users", workload="postgres"} 2
		vetch_workload_requests_cut_total{kind="Process", protocol="postgres", workload="postgres"} 1
		vetch_workload_routes_overflow_total{kind="Process", workload="postgres"} 0`)
	edge := `client="app", client_kind="Process", %sport="5432", protocol="postgres", server="postgres", server_kind="Process"`
	r.want(t, "vetch_edge_requests", fmt.Sprintf(`
		vetch_edge_requests_total{`+edge+`} 5
		vetch_edge_requests_total{`+edge+`} 2
		vetch_edge_requests_total{`+edge+`} 1`, `code="ok", `, `code="23505", `, `code="none", `))
	r.want(t, "vetch_edge_failed_requests", fmt.Sprintf(`
		vetch_edge_failed_requests_total{`+edge+`} 3`, ""))
	r.want(t, "container_postgres", `
		container_postgres_queries_total{actual_destination="127.0.0.1:5432", app_id="/process/app", container_id="/process/app", destination="127.0.0.1:5432", machine_id="m1", status="ok"} 5
		container_postgres_queries_total{actual_destination="127.0.0.1:5432", app_id="/process/app", container_id="/process/app", destination="127.0.0.1:5432", machine_id="m1", status="failed"} 3
		container_postgres_inbound_queries_total{app_id="/process/postgres", container_id="/process/postgres", machine_id="m1", status="ok"} 5
		container_postgres_inbound_queries_total{app_id="/process/postgres", container_id="/process/postgres", machine_id="m1", status="failed"} 3`)
	h := r.histograms[`container_postgres_inbound_queries_duration_seconds_total{app_id="/process/postgres", container_id="/process/postgres", machine_id="m1"}`]
	if h == nil || h.Count != 8 {
		t.Errorf("inbound durations %v", h)
	}
}

// TestFailuresBeginAtZero: the counter of failures is there from the first request on.
func TestFailuresBeginAtZero(t *testing.T) {
	w := newWorld(t)
	w.owner(2, "redis")
	w.listener(2, "0.0.0.0:6379")
	s := w.server(2, 0, "192.168.1.10:6379", "8.8.8.8:0")
	w.request(s, "redis", "GET", "ok", 1)
	w.pass(6 * time.Second)
	names := []string{"vetch_workload_failed_requests_total", "vetch_edge_failed_requests_total"}
	born := map[string]time.Time{}
	for key, created := range w.read().created {
		born[key] = created
	}
	w.request(s, "redis", "GET", "WRONGTYPE", 2).Failed = true
	w.poll()
	r := w.read()
	for _, name := range names {
		if got := r.sum(name); got != 2 {
			t.Errorf("%s %v, want 2", name, got)
		}
		for key := range r.values {
			if len(key) > len(name) && key[:len(name)] == name && born[key].IsZero() {
				t.Errorf("%s was not there before the first failure", key)
			}
		}
	}
}

// TestMessagesOfBrokers: what a broker moves is counted by coroot's words, without durations; one-way operations have none anywhere.
func TestMessagesOfBrokers(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "app")
	w.owner(2, "nats-server")
	w.listener(2, "0.0.0.0:4222")
	c := w.client(1, 2, "127.0.0.1:4222")
	for _, operation := range []string{"publish orders", "publish bills", "deliver orders", "subscribe orders"} {
		r := w.request(c, "nats", operation, "ok", 3)
		r.Sum, r.Buckets = 0, [probe.NumBuckets]uint32{}
	}
	w.poll()
	r := w.read()
	r.want(t, "container_nats", `
		container_nats_messages_total{actual_destination="127.0.0.1:4222", app_id="/process/app", container_id="/process/app", destination="127.0.0.1:4222", machine_id="m1", method="publish", status="ok"} 6
		container_nats_messages_total{actual_destination="127.0.0.1:4222", app_id="/process/app", container_id="/process/app", destination="127.0.0.1:4222", machine_id="m1", method="consume", status="ok"} 3`)
	if got := r.sum("vetch_edge_requests_total", `protocol="nats"`); got != 12 {
		t.Errorf("%v operations, want 12", got)
	}
	if len(r.histograms) != 0 {
		t.Errorf("histograms of operations without a duration: %v", r.histograms)
	}
}

// TestTwoProtocolsOnOnePort: each has an edge for its requests; connections and bytes are counted once, at the one that was first.
func TestTwoProtocolsOnOnePort(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "app")
	w.owner(2, "mux")
	w.listener(2, "0.0.0.0:80")
	c := w.client(1, 2, "127.0.0.1:80")
	w.tcp(c, 1, 10, 20, 1)
	w.http(c, "/", 200, 1)
	w.request(c, "redis", "GET", "ok", 3)
	w.poll()
	w.tcp(c, 1, 10, 20, 2)
	w.http(c, "/", 500, 1)
	w.request(c, "redis", "GET", "ERR", 3).Failed = true
	w.poll()
	r := w.read()
	for _, tc := range []struct {
		name, protocol string
		want           float64
	}{
		{"vetch_edge_requests_total", "http", 2}, {"vetch_edge_requests_total", "redis", 6},
		{"vetch_edge_failed_requests_total", "http", 1}, {"vetch_edge_failed_requests_total", "redis", 3},
		{"vetch_edge_bytes_total", "http", 60}, {"vetch_edge_bytes_total", "redis", 0},
		{"vetch_edge_connections_total", "http", 2}, {"vetch_edge_connections_total", "redis", 0},
	} {
		if got := r.sum(tc.name, `protocol="`+tc.protocol+`"`); got != tc.want {
			t.Errorf("%s %s is %v, want %v", tc.protocol, tc.name, got, tc.want)
		}
	}
	w.gone(c)
	for range 4 {
		w.leap(DefaultSeriesExpiry + time.Minute)
	}
	if got := w.read().sum("vetch_edge_requests_total"); got != 0 || len(w.digest.links) != 0 {
		t.Errorf("after expiry %v requests and %d links are left", got, len(w.digest.links))
	}
}

// TestTLSAndThenMore: TLS names an edge where nothing better is known for a while, and counts no requests.
func TestTLSAndThenMore(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "app")
	w.owner(2, "web")
	w.listener(2, "0.0.0.0:443")
	c := w.client(1, 2, "127.0.0.1:443")
	hello := probe.HandshakeDelta{Pair: c, Version: "1.3", SNI: "shop.example.org", ALPN: "h2", Cipher: "TLS_AES_128_GCM_SHA256", Count: 2}
	w.tcp(c, 2, 10, 20, 1)
	w.next.TLS = append(w.next.TLS, hello)
	w.poll()
	if got := w.read().sum("vetch_edge_bytes_total"); got != 0 {
		t.Errorf("shown with %v bytes before it is decided", got)
	}
	w.leap(holdBack)
	r := w.read()
	if got := r.sum("vetch_edge_bytes_total", `protocol="tls"`); got != 30 {
		t.Errorf("tls bytes %v, want 30", got)
	}
	if got := r.sum("vetch_edge_tls_connections_total", `protocol="tls"`, `version="1.3"`, `sni="shop.example.org"`, `alpn="h2"`, `cipher="TLS_AES_128_GCM_SHA256"`); got != 2 {
		t.Errorf("tls connections %v, want 2", got)
	}
	if got := r.sum("vetch_edge_requests_total") + r.sum("vetch_workload_requests_total"); got != 0 {
		t.Errorf("%v requests of TLS", got)
	}
	w.tcp(c, 0, 1, 1, 1)
	w.http(c, "/", 200, 4)
	w.poll()
	w.next.TLS = append(w.next.TLS, hello)
	w.poll()
	r = w.read()
	if got := r.sum("vetch_edge_requests_total", `protocol="http"`); got != 4 {
		t.Errorf("http requests %v, want 4", got)
	}
	for _, name := range []string{"vetch_edge_bytes_total", "vetch_edge_tls_connections_total"} {
		want := map[string]float64{"vetch_edge_bytes_total": 30, "vetch_edge_tls_connections_total": 2}[name]
		if tls, http := r.sum(name, `protocol="tls"`), r.sum(name, `protocol="http"`); tls != want || http != 2 {
			t.Errorf("%s: tls %v, http %v", name, tls, http)
		}
	}
}

// TestPlainTextOfTLS: an edge whose plain text is seen soon is never shown as TLS; each connection counts once, whichever end reports it first.
func TestPlainTextOfTLS(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "app")
	w.owner(2, "web")
	w.listener(2, "0.0.0.0:443")
	c, s := w.client(1, 2, "127.0.0.1:443"), w.server(2, 1, "127.0.0.1:443", "127.0.0.1:0")
	for _, p := range []probe.PairKey{s, c} {
		w.tcp(p, 1, 10, 20, 1)
		w.next.TLS = append(w.next.TLS, probe.HandshakeDelta{Pair: p, Version: "1.3", Count: 1})
		w.poll()
	}
	w.http(s, "/", 200, 3) // only this end's plain text is seen
	w.leap(holdBack)
	r := w.read()
	for name, want := range map[string]float64{"vetch_edge_requests_total": 3, "vetch_edge_tls_connections_total": 1, "vetch_edge_connections_total": 1} {
		if all, http := r.sum(name), r.sum(name, `protocol="http"`); all != want || http != want {
			t.Errorf("%s: %v, of http %v, want %v", name, all, http, want)
		}
	}
}

// TestServerNamesAreBounded: a client that makes up names does not make up series.
func TestServerNamesAreBounded(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "app")
	w.owner(2, "web")
	w.listener(2, "0.0.0.0:443")
	c := w.client(1, 2, "127.0.0.1:443")
	for i := range 1000 {
		w.next.TLS = append(w.next.TLS, probe.HandshakeDelta{Pair: c, Version: fmt.Sprint(i % 3), SNI: fmt.Sprint("n", i), Count: 1})
	}
	w.poll()
	w.leap(holdBack)
	for i := range 1000 {
		w.next.TLS = append(w.next.TLS, probe.HandshakeDelta{Pair: c, Version: fmt.Sprint(i % 3), SNI: fmt.Sprint("m", i), Cipher: fmt.Sprint(i), Count: 1})
		if i%100 == 99 {
			w.poll()
		}
	}
	w.poll()
	r := w.read()
	if got := r.sum("vetch_edge_tls_connections_total"); got != 2000 {
		t.Errorf("%v connections, want 2000", got)
	}
	if n := len(w.digest.edges[0].tls.ordered); n > maxHandshakes+1 {
		t.Errorf("%d series", n)
	}
	w.gone(c)
	for range 4 {
		w.leap(DefaultSeriesExpiry + time.Minute)
	}
	if got := w.digest.Status().Series; got != 0 {
		t.Errorf("%d series are left after expiry", got)
	}
}

// TestCodesAreBounded: a peer that makes up codes does not make up series.
func TestCodesAreBounded(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "app")
	w.owner(2, "redis")
	w.listener(2, "0.0.0.0:6379")
	for i := range 1000 {
		for _, key := range []probe.PairKey{w.client(1, 2, "127.0.0.1:6379"), w.server(2, 1, "127.0.0.1:6379", "127.0.0.1:0")} {
			w.request(key, "redis", "GET", fmt.Sprint("E", i), 1).Failed = true
		}
	}
	w.poll()
	r := w.read()
	for _, name := range []string{"vetch_workload_requests_total", "vetch_edge_requests_total"} {
		if all, rest := r.sum(name), r.sum(name, `code="~other"`); all != 1000 || rest != 1000-maxCodes {
			t.Errorf("%s: %v requests, %v of other codes", name, all, rest)
		}
	}
}

// TestMessagesWithinRequests: what moves within a long request is counted both ways before it ends, from one end on the edge.
func TestMessagesWithinRequests(t *testing.T) {
	w := newWorld(t)
	w.owner(1, "app")
	w.owner(2, "chat")
	w.listener(2, "0.0.0.0:80")
	c, s := w.client(1, 2, "127.0.0.1:80"), w.server(2, 1, "127.0.0.1:80", "127.0.0.1:0")
	say := func(sent, received uint64) {
		for _, key := range []probe.PairKey{c, s} {
			w.request(key, "websocket", "GET /chat", "", 0).Messages = [2]uint64{sent, received}
		}
		w.poll()
	}
	say(3, 0)
	say(4, 5)
	want := `
		vetch_workload_messages_total{direction="received", kind="Process", protocol="websocket", route="GET /chat", workload="chat"} 7
		vetch_workload_messages_total{direction="sent", kind="Process", protocol="websocket", route="GET /chat", workload="chat"} 5`
	w.read().want(t, "vetch_workload_messages", want)
	w.read().want(t, "vetch_edge_messages", `
		vetch_edge_messages_total{client="app", client_kind="Process", direction="sent", port="80", protocol="websocket", server="chat", server_kind="Process"} 7
		vetch_edge_messages_total{client="app", client_kind="Process", direction="received", port="80", protocol="websocket", server="chat", server_kind="Process"} 5`)
	if n := w.read().sum("vetch_workload_requests_total"); n != 0 {
		t.Errorf("%v requests before any has ended", n)
	}
	for _, key := range []probe.PairKey{c, s} {
		w.request(key, "websocket", "GET /chat", "1000", 1)
	}
	w.poll()
	w.read().want(t, "vetch_workload_messages", want)
	w.read().want(t, "vetch_workload_requests_total", `
		vetch_workload_requests_total{code="1000", kind="Process", protocol="websocket", route="GET /chat", workload="chat"} 1`)
}

// TestStatusOfContainers: coroot's status of HTTP is a class, that of gRPC the name of its code.
func TestStatusOfContainers(t *testing.T) {
	for code, want := range map[string]string{"200": "2xx", "": "failed", "cancelled": "failed", "REFUSED_STREAM": "failed", "~unknown": "unknown", "999": "unknown"} {
		if got := statusClass(code); got != want {
			t.Errorf("HTTP %q is %q, want %q", code, got, want)
		}
	}
	for code, want := range map[string]string{"ok": "grpc:OK", "NOT_FOUND": "grpc:NOT_FOUND", "": "failed"} {
		if got := grpcStatus(code); got != want {
			t.Errorf("gRPC %q is %q, want %q", code, got, want)
		}
	}
}
