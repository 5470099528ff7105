package binary

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c" //nolint:staticcheck // the standard library takes no upgrade
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vetch-dev/vetch/test/echo"
)

// nginxHTTP2Service speaks HTTP/2 in plain text, to clients that know that it does.
func nginxHTTP2Service(t testing.TB) service {
	s, path := installed(t, "/usr/sbin/nginx")
	conf := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log stderr warn; user root;
events { worker_connections 256; }
http {
  access_log off; sendfile on;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server {
    listen %[2]s http2;
    location / { return 200 "%[3]s\n"; }
    location /missing { return 404; }
    location /broken { return 500; }
    location /file { root %[1]s; }
  }
}`, s.dir, s.address, secret)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "file"), make([]byte, 100_000), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "conf"), []byte(conf), 0o644))
	serve(t, s.dir, exec.Command(path, "-p", s.dir, "-c", s.dir+"/conf"))
	return s
}

func playNginxHTTP2(t *testing.T, s service) map[string]int {
	token := "Authorization: " + secret
	const n, curls = 500, 5
	for range curls { // a connection each: curl 7.88 cannot use one again
		for _, path := range []string{"/users/42?token=" + secret, "/missing"} {
			ran(t, exec.Command("curl", "-sS", "--http2-prior-knowledge", "-H", token, "-o", "/dev/null", "http://"+s.address+path))
		}
	}
	load := []string{"-n", fmt.Sprint(4 * n), "-c", "2", "-m", "100", "-H", token}
	for _, path := range []string{"/users/1042?token=" + secret, "/missing", "/broken", "/file"} {
		load = append(load, "http://"+s.address+path)
	}
	ran(t, exec.Command("h2load", load...))
	return map[string]int{"/users/{id} 200": n + curls, "/missing 404": n + curls, "/broken 500": n, "/file 200": n}
}

// goHTTP2Service is a server of Go in the test itself.
func goHTTP2Service(t testing.TB) service {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: &p, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if strings.HasPrefix(r.URL.Path, "/missing") {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, secret)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return service{workload: self(t), address: listener.Addr().String()}
}

func playGoHTTP2(t *testing.T, s service) map[string]int {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	c := &http.Client{Transport: &http.Transport{Protocols: &p}}
	ask := func(method, path, body string) error {
		request, err := http.NewRequest(method, "http://"+s.address+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", secret)
		response, err := c.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	const workers, each = 20, 25
	all(t, workers, func(i int) error {
		for k := range each {
			if err := ask("GET", fmt.Sprintf("/items/%d?token=%s", 1000*i+k, secret), ""); err != nil {
				return err
			}
			if err := ask("POST", "/items", strings.Repeat(secret, 100)); err != nil {
				return err
			}
			if err := ask("DELETE", "/missing/x", ""); err != nil {
				return err
			}
		}
		return nil
	})
	c.CloseIdleConnections()
	return map[string]int{"/items/{id} 200": workers * each, "/items 200": workers * each, "/missing/x 404": workers * each}
}

// all runs workers at once and fails with the first error.
func all(t testing.TB, workers int, work func(i int) error) {
	t.Helper()
	var group sync.WaitGroup
	failed := make(chan error, workers)
	for i := range workers {
		group.Go(func() {
			if err := work(i); err != nil {
				failed <- err
			}
		})
	}
	group.Wait()
	close(failed)
	require.NoError(t, <-failed)
}

func echoService(t testing.TB) service {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := echo.NewServer()
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return service{workload: self(t), address: listener.Addr().String()}
}

func dialEcho(t testing.TB, address string) echo.Client {
	t.Helper()
	c, err := echo.Dial(address)
	require.NoError(t, err)
	return c
}

func playGRPC(t *testing.T, s service) map[string]int {
	c := dialEcho(t, s.address)
	const workers, each = 100, 20
	outcomes := []codes.Code{codes.OK, codes.OK, codes.NotFound, codes.Internal}
	all(t, workers, func(i int) error {
		for k := range each {
			text, want := secret, outcomes[(i+k)%len(outcomes)]
			if want != codes.OK {
				text = fmt.Sprintf("fail %d", want)
			}
			if _, err := c.Ask(t.Context(), echo.Unary, text); status.Code(err) != want {
				return fmt.Errorf("want %v, got %w", want, err)
			}
		}
		return nil
	})
	_, err := c.Ask(t.Context(), "/vetch.test.Echo/Nothing", secret)
	require.Equal(t, codes.Unimplemented, status.Code(err))
	require.NoError(t, c.Close())
	const total = workers * each
	return map[string]int{echo.Unary + " ok": total / 2, echo.Unary + " NOT_FOUND": total / 4, echo.Unary + " INTERNAL": total / 4, "/vetch.test.Echo/Nothing UNIMPLEMENTED": 1}
}

// TestGRPCStreams holds a call open: its messages are counted meanwhile, in both directions and at both ends, and it is a request when it ends.
func TestGRPCStreams(t *testing.T) {
	s := echoService(t)
	c := dialEcho(t, s.address)
	defer c.Close()
	chat, err := c.Open(t.Context(), echo.Chat)
	require.NoError(t, err)
	say := func(n int) {
		for range n {
			require.NoError(t, chat.Send(secret))
			_, err := chat.Receive()
			require.NoError(t, err)
		}
	}
	served, edge := labels{"workload": s.workload, "protocol": "grpc", "route": echo.Chat}, labels{"server": s.workload, "port": s.port(), "protocol": "grpc"}
	counted := func(messages, calls float64) {
		t.Helper()
		for _, v := range built.watchers {
			require.NoError(t, poll(t.Context(), func() error {
				r := v.mustRead(t)
				for name, match := range map[string]labels{"vetch_workload": served, "vetch_edge": edge} {
					got := r.by(name+"_messages_total", match, "direction")
					if got["sent"] != messages || got["received"] != messages || r.sum(name+"_requests_total", match) != calls {
						return fmt.Errorf("%s: want %v messages each way and %v calls, got %v and %v", name, messages, calls, got, r.by(name+"_requests_total", match, "code"))
					}
				}
				return nil
			}), "%s hook", v.hook)
		}
	}
	say(300)
	counted(300, 0)
	say(200)
	counted(500, 0)
	require.NoError(t, chat.CloseSend())
	_, err = chat.Receive()
	require.ErrorIs(t, err, io.EOF)
	counted(500, 1)
	for _, v := range built.watchers {
		r := v.mustRead(t)
		require.Equal(t, map[string]float64{"ok": 1}, r.by("vetch_workload_requests_total", served, "code"))
		requireNoSecret(t, v)
	}
}

// TestHTTP2Upgraded has connections of HTTP/1 become HTTP/2. The request that asked for it counts as HTTP/1.
func TestHTTP2Upgraded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: h2c.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:staticcheck // see above
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, secret)
	}), &http2.Server{})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	url := "http://" + listener.Addr().String()
	const n = 20
	for range n {
		ran(t, exec.Command("nghttp", "-u", "-n", url+"/first", url+"/users/42", url+"/missing"))
	}
	want := map[string]float64{"http 101": n, "http2 200": n, "http2 404": n}
	edge := labels{"server": self(t), "port": fmt.Sprint(portOf(t, listener.Addr().String()))}
	for _, v := range built.watchers {
		require.NoError(t, poll(t.Context(), func() error {
			if got := v.mustRead(t).by("vetch_edge_requests_total", edge, "protocol", "code"); !maps.Equal(got, want) {
				return fmt.Errorf("want %v, got %v", want, got)
			}
			return nil
		}), "%s hook: %v", v.hook, v.mustRead(t).by("vetch_protocol_events_lost_total", nil, "reason"))
		require.Equal(t, float64(n), v.mustRead(t).sum("vetch_workload_requests_total", labels{"workload": self(t), "protocol": "http2", "method": "GET", "route": "/users/{id}", "code": "200"}))
	}
}

// TestGRPCOfOlderConnections starts vetch when the connection is open. Each call is counted, and no path is made up.
func TestGRPCOfOlderConnections(t *testing.T) {
	s := echoService(t)
	c := dialEcho(t, s.address)
	defer c.Close()
	ask := func(method string, n int) {
		for range n {
			_, err := c.Ask(t.Context(), method, secret)
			require.True(t, status.Code(err) == codes.OK || status.Code(err) == codes.Unimplemented, "%v", err)
		}
	}
	ask(echo.Again, 3)
	var watchers []*vetch
	for _, hook := range hooks() {
		watchers = append(watchers, watch(t, settings{hook: hook}))
	}
	ask(echo.Again, 10) // the first are spent on finding what it is
	const n = 200
	served, edge := labels{"workload": s.workload, "protocol": "grpc"}, labels{"server": s.workload, "port": s.port(), "protocol": "grpc"}
	before := make([]map[string]float64, len(watchers))
	settled := func(v *vetch, atLeast float64) (got map[string]float64) {
		t.Helper()
		since := time.Now()
		require.NoError(t, poll(t.Context(), func() error {
			r := v.mustRead(t)
			now := r.by("vetch_workload_requests_total", served, "route", "code")
			now["edge"] = r.sum("vetch_edge_requests_total", edge)
			if !maps.Equal(now, got) {
				got, since = now, time.Now()
			}
			if now["edge"] < atLeast || now[unknownCall] < atLeast || time.Since(since) < 3*pollInterval {
				return fmt.Errorf("not settled: %v", now)
			}
			return nil
		}), "%s hook: %v", v.hook, got)
		return got
	}
	for i, v := range watchers {
		before[i] = settled(v, 5)
	}
	ask(echo.Again, n)
	ask("/vetch.test.Echo/Late", n) // a path that was not used before
	for i, v := range watchers {
		require.Equal(t, map[string]float64{
			unknownCall: before[i][unknownCall] + n, "/vetch.test.Echo/Late ~unknown": n, "edge": before[i]["edge"] + 2*n,
		}, settled(v, n), "%s hook", v.hook)
	}
}

const unknownCall = "~unknown ~unknown"
