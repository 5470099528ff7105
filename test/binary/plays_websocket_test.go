package binary

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func chatService(t testing.TB) service {
	s, path := installed(t, built.traffic)
	s = s.alsoInTLS(t, freeAddress(t))
	serve(t, s.dir, exec.Command(path, "chat", s.address, s.secure.address))
	return s
}

// enter upgrades a connection to a WebSocket.
func enter(t *testing.T, s service, room int, compress bool) *websocket.Conn {
	t.Helper()
	dialer := websocket.Dialer{EnableCompression: compress, TLSClientConfig: s.config()}
	conn, response, err := dialer.Dial(fmt.Sprintf("%s/rooms/%d?token=%s", s.url("ws"), 1000+room, secret), nil)
	require.NoError(t, err)
	response.Body.Close()
	return conn
}

// chatter says so many messages and hears them again.
func chatter(t *testing.T, conn *websocket.Conn, n int) {
	t.Helper()
	for i := range n {
		data := bytes.Repeat([]byte(secret), 1+[]int{0, 12, 800, 7000}[i%4]) // up to 70 kB, in fragments of 4 KiB
		w, err := conn.NextWriter(1 + i%2)
		require.NoError(t, err)
		_, err = w.Write(data)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		_, got, err := conn.ReadMessage()
		require.NoError(t, err)
		require.Len(t, got, len(data))
		require.NoError(t, conn.WriteControl(websocket.PingMessage, []byte(secret), time.Now().Add(time.Second)))
	}
}

func leave(t *testing.T, conn *websocket.Conn, code int) {
	t.Helper()
	require.NoError(t, conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, secret), time.Now().Add(time.Second)))
	_, _, err := conn.ReadMessage()
	require.True(t, websocket.IsCloseError(err, code), err)
	require.NoError(t, conn.Close())
}

func playWebSocket(t *testing.T, s service) map[string]int {
	const n = 50
	for i := range n {
		conn := enter(t, s, i, i%2 == 0)
		chatter(t, conn, 8)
		leave(t, conn, 1000)
		conn = enter(t, s, i, false)
		require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte("close 1011")))
		_, _, err := conn.ReadMessage()
		require.True(t, websocket.IsCloseError(err, 1011), err)
		require.NoError(t, conn.Close())
		conn = enter(t, s, i, false)
		chatter(t, conn, 1)
		require.NoError(t, conn.UnderlyingConn().Close()) // without a word
	}
	return map[string]int{"/rooms/{id} 1000": n, "/rooms/{id} 1011": n, "/rooms/{id} none": n}
}

// openWebSocket has connections that are open, one for each time that it is asked. It says something on one, and closes it.
func openWebSocket(t *testing.T, s service) dialogue {
	var conns []*websocket.Conn
	for i := range askedBefore + warmth + askedLate {
		conn := enter(t, s, i, false)
		t.Cleanup(func() { conn.Close() })
		conns = append(conns, conn)
	}
	return func(n int) map[string]int {
		for _, conn := range conns[:n] {
			recognised(t, conn)
			chatter(t, conn, 4)
			leave(t, conn, 1000)
		}
		conns = conns[n:]
		return map[string]int{"/rooms/{id} 1000": n}
	}
}

// olderWebSocket is what it is called whose upgrade was not seen.
var olderWebSocket = map[string]string{"/rooms/{id} 1000": "~unknown 1000"}

// recognised says so much on a connection that is older than vetch that it is known by it, each message when the one before was heard again.
func recognised(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	for range 4 {
		chatter(t, conn, 2)
	}
}

// TestOlderWebSocket: on a connection that is older than vetch, and is recognised, all messages are counted, and it counts once with what it ends with.
func TestOlderWebSocket(t *testing.T) {
	for _, hook := range hooks() {
		t.Run(hook, func(t *testing.T) {
			s := chatService(t).await(t)
			conn := enter(t, s, 1, true)
			chatter(t, conn, 8)
			v := watch(t, settings{hook: hook})
			recognised(t, conn)
			told := func(r scrape) (map[string]float64, map[string]float64) {
				return r.by("vetch_workload_messages_total", labels{"workload": s.workload, "protocol": "websocket", "route": "~unknown"}, "direction"),
					r.by("vetch_edge_messages_total", labels{"server": s.workload, "port": s.port(), "protocol": "websocket"}, "direction")
			}
			var served, edge map[string]float64
			var still stillness
			require.NoError(t, poll(t.Context(), func() error {
				r := v.mustRead(t)
				now, on := told(r)
				lasts := still.lasts(r, fmt.Sprint(now, on) == fmt.Sprint(served, edge))
				if served, edge = now, on; len(now) < 2 || len(on) < 2 || !lasts {
					return fmt.Errorf("messages at the serving end %v, on the edge %v", now, on)
				}
				return nil
			}))
			const n = 100
			chatter(t, conn, n)
			leave(t, conn, 1001)
			require.NoError(t, poll(t.Context(), func() error {
				r := v.mustRead(t)
				now, on := told(r)
				ended := r.by("vetch_workload_requests_total", labels{"workload": s.workload, "protocol": "websocket"}, "route", "code")
				for _, d := range []string{"sent", "received"} {
					if now[d]-served[d] != n || on[d]-edge[d] != n || ended["~unknown 1001"] != 1 {
						return fmt.Errorf("messages at the serving end %v after %v, on the edge %v after %v; ended %v", now, served, on, edge, ended)
					}
				}
				return nil
			}))
			requireNoSecret(t, v)
		})
	}
}

// TestWebSocketWhileOpen: messages are counted while their connection goes on, which then counts once.
func TestWebSocketWhileOpen(t *testing.T) {
	s := chatService(t).await(t)
	conn := enter(t, s, 1, true)
	const n = 100
	chatter(t, conn, n)
	want := map[string]float64{"sent": n, "received": n}
	check := func(requests float64) {
		t.Helper()
		for _, v := range built.watchers {
			require.NoError(t, poll(t.Context(), func() error {
				r := v.mustRead(t)
				workload, edge := labels{"workload": s.workload, "protocol": "websocket", "method": "GET", "route": "/rooms/{id}"}, labels{"server": s.workload, "port": s.port(), "protocol": "websocket"}
				served, told := r.by("vetch_workload_messages_total", workload, "direction"), r.by("vetch_edge_messages_total", edge, "direction")
				ended := r.by("vetch_workload_requests_total", workload, "code")
				if fmt.Sprint(served, told) != fmt.Sprint(want, want) || ended["1001"] != requests {
					return fmt.Errorf("messages at the serving end %v, on the edge %v, want %v; ended %v, want %v", served, told, want, ended, requests)
				}
				return nil
			}), "%s hook", v.hook)
			require.Equal(t, 1.0, v.mustRead(t).by("vetch_workload_requests_total", labels{"workload": s.workload, "protocol": "http"}, "code")["101"])
			requireNoSecret(t, v)
		}
	}
	check(0)
	leave(t, conn, 1001)
	check(1)
}

// TestTunnel asks Redis through a proxy by CONNECT. What is inside counts at both hops.
func TestTunnel(t *testing.T) {
	cache := redisService(t).await(t)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		fmt.Fprint(from, "HTTP/1.1 200 Connected\r\nVia: test\r\n\r\n")
		go passOn(from, to)
		go passOn(to, from)
	}))
	defer proxy.Close()
	address := proxy.Listener.Addr().String()
	db := redis.NewClient(&redis.Options{Addr: cache.address, Password: secret, PoolSize: 1, MaxRetries: -1, DisableIdentity: true, Dialer: throughProxy(address)})
	defer db.Close()
	const n = 100
	for range n {
		require.NoError(t, db.Set(t.Context(), secret, secret, 0).Err())
	}
	port := strconv.Itoa(portOf(t, address))
	for _, v := range built.watchers {
		require.NoError(t, poll(t.Context(), func() error {
			r := v.mustRead(t)
			outer := r.by("vetch_edge_requests_total", labels{"client": self(t), "server": self(t), "port": port}, "protocol", "code")
			inner := r.by("vetch_workload_requests_total", labels{"workload": cache.workload}, "route", "code")
			served := r.by("vetch_workload_requests_total", labels{"workload": self(t), "protocol": "redis"}, "route", "code")
			if outer["http 200"] != 1 || outer["redis ok"] < n || inner["SET ok"] != n || served["SET ok"] < n {
				return fmt.Errorf("to the proxy %v, at the proxy %v, at the cache %v", outer, served, inner)
			}
			return nil
		}), "%s hook", v.hook)
		requireNoSecret(t, v)
	}
}

// throughProxy connects by CONNECT.
func throughProxy(proxy string) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, _, address string) (net.Conn, error) {
		conn, err := net.Dial("tcp", proxy)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", address, address)
		head := make([]byte, 1024)
		n, err := conn.Read(head)
		if err == nil && !bytes.HasPrefix(head[:n], []byte("HTTP/1.1 200 ")) {
			err = fmt.Errorf("the proxy says %q", head[:n])
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
}
