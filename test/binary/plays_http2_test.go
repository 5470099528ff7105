package binary

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c" //nolint:staticcheck // the standard library takes no upgrade
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/vetch-dev/vetch/test/echo"
)

// nginxHTTP2Service speaks HTTP/2 in plain text too, to clients that know that it does.
func nginxHTTP2Service(t testing.TB) service { return nginxWith(t, "http2") }

func playNginxHTTP2(t *testing.T, s service) map[string]int {
	token := "Authorization: " + secret
	const n, curls = 500, 5
	for range curls { // a connection each: curl 7.88 cannot use one again
		for _, path := range []string{"/users/42?token=" + secret, "/missing"} {
			ran(t, exec.Command("curl", "-sSk", "--http2-prior-knowledge", "-H", token, "-o", "/dev/null", s.url("http")+path))
		}
	}
	load := []string{"-n", fmt.Sprint(4 * n), "-c", "2", "-m", "100", "-H", token}
	for _, path := range []string{"/users/1042?token=" + secret, "/missing", "/broken", "/file"} {
		load = append(load, s.url("http")+path)
	}
	ran(t, exec.Command("h2load", load...))
	return map[string]int{"/users/{id} 200": n + curls, "/missing 404": n + curls, "/broken 500": n, "/file 200": n}
}

// goHTTP2Service is a server of Go in the test itself.
func goHTTP2Service(t testing.TB) service {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	p.SetHTTP2(true)
	server := &http.Server{Protocols: &p, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // its client will tell
		if strings.HasPrefix(r.URL.Path, "/missing") {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, secret) //nolint:errcheck // its client will tell
	})}
	t.Cleanup(func() { server.Close() })
	return inTest(t, func(l net.Listener) { server.Serve(l) }, func(l net.Listener, s service) { server.ServeTLS(l, s.cert(), s.key()) }) //nolint:errcheck // their clients will tell
}

// inTest is a service of the test itself.
func inTest(t testing.TB, serve func(net.Listener), serveTLS func(net.Listener, service)) service {
	t.Helper()
	var listeners [2]net.Listener
	for i := range listeners {
		var err error
		listeners[i], err = net.Listen("tcp", freeAddress(t))
		require.NoError(t, err)
	}
	s := service{workload: self(t), address: listeners[0].Addr().String(), dir: t.TempDir()}.alsoInTLS(t, listeners[1].Addr().String())
	go serve(listeners[0])
	go serveTLS(listeners[1], s)
	return s
}

// openGoHTTP2 asks for another path each time: one that was asked for before is not said again.
func openGoHTTP2(t *testing.T, s service) dialogue {
	var p http.Protocols
	p.SetUnencryptedHTTP2(!s.encrypted)
	p.SetHTTP2(s.encrypted)
	c := &http.Client{Transport: &http.Transport{Protocols: &p, TLSClientConfig: s.config()}}
	t.Cleanup(c.CloseIdleConnections)
	var count atomic.Int64
	ask := func(method, path, body string) error {
		request, err := http.NewRequest(method, fmt.Sprintf("%s%s/%d?token=%s", s.url("http"), path, 1000+count.Add(1), secret), strings.NewReader(body))
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
	require.NoError(t, ask("GET", "/items/first", "")) // so that all find the connection open
	const workers = 20
	return func(n int) map[string]int {
		each := (n + workers - 1) / workers
		n = each * workers
		all(t, workers, func(int) error {
			for range each {
				if err := errors.Join(ask("GET", "/items", ""), ask("POST", "/items/new", strings.Repeat(secret, 100)), ask("DELETE", "/missing", "")); err != nil {
					return err
				}
			}
			return nil
		})
		return map[string]int{"/items/{id} 200": n, "/items/new/{id} 200": n, "/items/first/{id} 200": anyNumber, "/missing/{id} 404": n}
	}
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
	server := echo.NewServer()
	t.Cleanup(server.Stop)
	return inTest(t, func(l net.Listener) { server.Serve(l) }, func(l net.Listener, s service) { //nolint:errcheck // its clients will tell
		identity, err := credentials.NewServerTLSFromFile(s.cert(), s.key())
		if err != nil {
			panic(err)
		}
		secure := echo.NewServer(grpc.Creds(identity))
		t.Cleanup(secure.Stop)
		secure.Serve(l) //nolint:errcheck // its clients will tell
	})
}

func dialEcho(t testing.TB, s service) echo.Client {
	t.Helper()
	c, err := echo.Dial(s.address, s.config())
	require.NoError(t, err)
	return c
}

func playGRPC(t *testing.T, s service) map[string]int {
	c := dialEcho(t, s)
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
	c := dialEcho(t, s)
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
	listener, err := net.Listen("tcp", freeAddress(t))
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

// openGRPC asks by a name that was said before, and once it has asked for something, by one that was not. No name is made up of a connection that is older than vetch.
func openGRPC(t *testing.T, s service) dialogue {
	c, begun := dialEcho(t, s), false
	t.Cleanup(func() { c.Close() })
	ask := func(method string, n int) {
		for range n {
			_, err := c.Ask(t.Context(), method, secret)
			require.True(t, status.Code(err) == codes.OK || status.Code(err) == codes.Unimplemented, "%v", err)
		}
	}
	return func(n int) map[string]int {
		ask(echo.Again, n)
		want := map[string]int{echo.Again + " ok": n}
		if begun {
			ask("/vetch.test.Echo/Late", n)
			want["/vetch.test.Echo/Late UNIMPLEMENTED"] = n
		}
		begun = true
		return want
	}
}

// olderGRPC is what it is called there.
var olderGRPC = map[string]string{echo.Again + " ok": "~unknown ~unknown", "/vetch.test.Echo/Late UNIMPLEMENTED": "/vetch.test.Echo/Late ~unknown"}
