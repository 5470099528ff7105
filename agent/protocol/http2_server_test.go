package protocol

import (
	"context"
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

// joined adds up what a call told while it went on and at its end, as Streams does.
func joined(exchanges []Exchange) map[string]int {
	messages := map[string][2]int64{}
	counts := map[string]int{}
	for _, e := range exchanges {
		n := messages[e.Operation]
		messages[e.Operation] = [2]int64{n[0] + e.Messages[0], n[1] + e.Messages[1]}
		if e.Open {
			continue
		}
		e.Messages = [2]int64{}
		for line := range http2Lines([]Exchange{e}) {
			counts[line]++
		}
	}
	for operation, n := range messages {
		if n != [2]int64{} {
			counts[operation+" up"], counts[operation+" down"] = int(n[0]), int(n[1])
		}
	}
	return counts
}

func startEcho(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := echo.NewServer()
	go s.Serve(listener)
	t.Cleanup(s.Stop)
	return listener.Addr().String()
}

func dialEcho(t *testing.T, address string) echo.Client {
	c, err := echo.Dial(address, nil)
	require.NoError(t, err)
	return c
}

func TestGRPCServer(t *testing.T) {
	ctx := context.Background()
	x := startTalkProxy(t, startEcho(t), HTTP2())
	c := dialEcho(t, x.addr())
	const n = 20
	for range n {
		_, err := c.Ask(ctx, echo.Unary, "mark-text")
		require.NoError(t, err)
		for _, code := range []codes.Code{codes.NotFound, codes.Internal} {
			_, err = c.Ask(ctx, echo.Unary, fmt.Sprintf("fail %d", code))
			require.Equal(t, code, status.Code(err))
		}
		_, err = c.Ask(ctx, "/vetch.test.Echo/Nothing", "mark-text")
		require.Equal(t, codes.Unimplemented, status.Code(err))
	}
	repeat, err := c.Open(ctx, echo.Repeat)
	require.NoError(t, err)
	require.NoError(t, repeat.Send("1000 mark-text"))
	require.NoError(t, repeat.CloseSend())
	got := 0
	for ; err == nil; got++ {
		_, err = repeat.Receive()
	}
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 1001, got)
	collect, err := c.Open(ctx, echo.Collect)
	require.NoError(t, err)
	for range 500 {
		require.NoError(t, collect.Send(strings.Repeat("mark", 100)))
	}
	require.NoError(t, collect.CloseSend())
	answer, err := collect.Receive()
	require.NoError(t, err)
	require.Equal(t, "500", answer)
	_, err = collect.Receive()
	require.ErrorIs(t, err, io.EOF)
	chat, err := c.Open(ctx, echo.Chat)
	require.NoError(t, err)
	for range 10 {
		require.NoError(t, chat.Send(strings.Repeat("mark", 30_000))) // in several frames
		_, err = chat.Receive()
		require.NoError(t, err)
	}
	require.NoError(t, chat.CloseSend())
	_, err = chat.Receive()
	require.ErrorIs(t, err, io.EOF)
	late, cancel := context.WithCancel(ctx)
	waiting, err := c.Open(late, echo.Chat)
	require.NoError(t, err)
	require.NoError(t, waiting.Send("wait"))
	require.Eventually(t, func() bool { return x.passed(FromClient, "wait") }, time.Minute, time.Millisecond, "it must not be cancelled before it was sent")
	cancel()
	_, err = waiting.Receive()
	require.Equal(t, codes.Canceled, status.Code(err))
	require.NoError(t, c.Close())
	seen, refused := joined(x.finish()), "/vetch.test.Echo/Nothing up"
	require.LessOrEqual(t, seen[refused], n, "a client need not send what is refused by its headers")
	delete(seen, refused)
	require.Equal(t, map[string]int{
		"grpc /vetch.test.Echo/Unary: ok": n, "grpc /vetch.test.Echo/Unary: NOT_FOUND": n, "grpc /vetch.test.Echo/Unary: INTERNAL!": n, "grpc /vetch.test.Echo/Nothing: UNIMPLEMENTED!": n,
		"/vetch.test.Echo/Unary up": 3 * n, "/vetch.test.Echo/Unary down": n, "/vetch.test.Echo/Nothing down": 0,
		"grpc /vetch.test.Echo/Repeat: ok": 1, "/vetch.test.Echo/Repeat up": 1, "/vetch.test.Echo/Repeat down": 1000,
		"grpc /vetch.test.Echo/Collect: ok": 1, "/vetch.test.Echo/Collect up": 500, "/vetch.test.Echo/Collect down": 1,
		"grpc /vetch.test.Echo/Chat: ok": 1, "grpc /vetch.test.Echo/Chat: CANCELLED": 1, "/vetch.test.Echo/Chat up": 11, "/vetch.test.Echo/Chat down": 10,
	}, seen)
}

// A thousand calls at once on one connection, in answers of random order.
func TestGRPCServerManyStreams(t *testing.T) {
	x := startTalkProxy(t, startEcho(t), HTTP2())
	c := dialEcho(t, x.addr())
	const n, each = 1000, 5
	var all sync.WaitGroup
	failed := make(chan error, n)
	for i := range n {
		all.Go(func() {
			for k := range each {
				text, want := "mark-text", codes.Code((i+k)%3)
				if want != codes.OK {
					text = fmt.Sprintf("fail %d", want)
				}
				if _, err := c.Ask(context.Background(), echo.Unary, text); status.Code(err) != want {
					failed <- fmt.Errorf("want %v, got %w", want, err)
				}
			}
		})
	}
	all.Wait()
	close(failed)
	require.NoError(t, <-failed)
	require.NoError(t, c.Close())
	want := map[codes.Code]int{}
	for i := range n {
		for k := range each {
			want[codes.Code((i+k)%3)]++
		}
	}
	require.Equal(t, map[string]int{
		"grpc /vetch.test.Echo/Unary: ok": want[codes.OK], "grpc /vetch.test.Echo/Unary: CANCELLED": want[codes.Canceled], "grpc /vetch.test.Echo/Unary: UNKNOWN!": want[codes.Unknown],
		"/vetch.test.Echo/Unary up": n * each, "/vetch.test.Echo/Unary down": want[codes.OK],
	}, joined(x.finish()))
}

// plainHTTP2 has a client of Go ask for HTTP/2 without TLS and without an upgrade.
func plainHTTP2() *http.Client {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: &p}}
}

func askHTTP2(t *testing.T, c *http.Client, method, url, body string) int {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", "mark-token")
	response, err := c.Do(request)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	response.Body.Close()
	return response.StatusCode
}

func TestHTTP2ServerOfGo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: &p, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		switch {
		case strings.HasPrefix(r.URL.Path, "/missing"):
			w.WriteHeader(http.StatusNotFound)
		case strings.HasPrefix(r.URL.Path, "/broken"):
			w.WriteHeader(http.StatusBadGateway)
		case strings.HasPrefix(r.URL.Path, "/abort"):
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, strings.Repeat("mark", 30))
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	x := startTalkProxy(t, listener.Addr().String(), HTTP2())
	c := plainHTTP2()
	const n = 20
	for i := range n {
		require.Equal(t, 200, askHTTP2(t, c, "GET", fmt.Sprintf("http://%s/items/%d?token=mark", x.addr(), i+1000), ""))
		require.Equal(t, 200, askHTTP2(t, c, "POST", fmt.Sprintf("http://%s/items", x.addr()), strings.Repeat("mark", 20*(1+i%2*1000))))
		require.Equal(t, 404, askHTTP2(t, c, "DELETE", fmt.Sprintf("http://%s/missing", x.addr()), ""))
		require.Equal(t, 502, askHTTP2(t, c, "GET", fmt.Sprintf("http://%s/broken", x.addr()), ""))
	}
	_, err = c.Get("http://" + x.addr() + "/abort")
	require.Error(t, err)
	c.CloseIdleConnections()
	require.Equal(t, map[string]int{"GET /items/{id}: 200": n, "POST /items: 200": n, "DELETE /missing: 404": n, "GET /broken: 502!": n, "GET /abort: INTERNAL_ERROR!": 1}, http2Lines(x.finish()))
}

// startNginx starts nginx with HTTP/2 in plain text, by prior knowledge.
func startNginx(t *testing.T) string {
	address := "127.0.0.1:" + loopbackPort(t)
	dir := t.TempDir()
	conf := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log stderr warn; user root;
events { worker_connections 256; }
http {
  access_log off; sendfile on;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server {
    listen %[2]s http2;
    location / { return 200 "mark\n"; }
    location /missing { return 404; }
    location /broken { return 500; }
    location /file { root %[1]s; }
  }
}`, dir, address)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1_000_000), 0o644))
	path := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(path, []byte(conf), 0o644))
	startProgram(t, address, "nginx", "-p", dir, "-c", path)
	return address
}

func TestHTTP2ServerNginx(t *testing.T) {
	x := startTalkProxy(t, startNginx(t), HTTP2())
	for _, path := range []string{"/users/42?token=mark", "/missing", "/file"} { // curl 7.88 cannot reuse such a connection
		out, err := exec.Command("curl", "-sS", "--http2-prior-knowledge", "-H", "Authorization: mark-token", "-o", "/dev/null", "http://"+x.addr()+path).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	const n = 50
	load := []string{"-n", fmt.Sprint(4 * n), "-c", "1", "-m", "32", "-H", "Authorization: mark-token"}
	for _, path := range []string{"/users/1042?token=mark", "/missing", "/broken", "/file"} {
		load = append(load, "http://"+x.addr()+path)
	}
	out, err := exec.Command("h2load", load...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), fmt.Sprintf("%d done", 4*n))
	require.Equal(t, map[string]int{"GET /users/{id}: 200": n + 1, "GET /missing: 404": n + 1, "GET /broken: 500!": n, "GET /file: 200": n + 1}, http2Lines(x.finish()))
}

// The recordings are of nginx with curl, and of Go with itself.
func TestHTTP2Recordings(t *testing.T) { requireSteady(t, HTTP2(), "mark") }

// A server that reads heads apart from payloads, as Go's does, shows them so.
func TestHTTP2HeadsApart(t *testing.T) {
	chunks := talkHTTP2(func(c, s *speaker, turn func()) {
		for i := range uint32(20) {
			c.headers(2*i+1, false, ":method", "POST", ":path", "/a").data(2*i+1, true, strings.Repeat("x", 3000))
			turn()
			s.ok(2*i+1, false).data(2*i+1, true, "y")
			turn()
		}
	})
	var apart []talkChunk
	for _, c := range chunks {
		b := c.data
		if rest, ok := strings.CutPrefix(string(b), http2Preface); ok {
			apart = append(apart, talkChunk{c.from, c.at, []byte(http2Preface)})
			b = []byte(rest)
		}
		for len(b) > 0 {
			end := http2HeadSize + int(http2Head(b).length)
			apart = append(apart, talkChunk{c.from, c.at, b[:http2HeadSize]})
			if end > http2HeadSize {
				apart = append(apart, talkChunk{c.from, c.at, b[http2HeadSize:end]})
			}
			b = b[end:]
		}
	}
	require.Equal(t, map[string]int{"POST /a: 200": 20}, http2Lines(talkThrough(t, HTTP2(), apart).exchanges))
	// Older than the agent, too.
	s := NewStreams(Table())
	seq := [2]uint32{}
	for i, c := range apart {
		p := Piece{Stream: StreamID{1, 1}, Pair: 1, At: int64(i), Seq: seq[c.from], Direction: c.from, Adopted: true, Data: c.data}
		seq[c.from] += uint32(len(c.data))
		if i > 30 {
			require.Equal(t, Keep, s.Take(&p))
		}
	}
	s.Take(&Piece{Stream: StreamID{1, 1}, Closed: true, At: 1 << 20})
	total := uint64(0)
	s.Drain(1<<20, func(tally *Tally) {
		require.Equal(t, "http2", tally.Protocol)
		require.Contains(t, []string{http2Unknown, "/a"}, tally.Operation)
		total += tally.Count
	})
	require.GreaterOrEqual(t, total, uint64(14))
	require.Zero(t, s.Stats.Desynced.Load())
}
