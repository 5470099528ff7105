package binary

import (
	"fmt"
	"io"
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
			require.NoError(t, poll(t.Context(), 15*time.Second, func() error {
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
