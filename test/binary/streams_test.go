package binary

import (
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/require"
)

// self is the workload of the test itself.
func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return filepath.Base(path)
}

// TestTwoProtocolsOnOnePort passes connections on to one server and then to another. Requests count under each protocol.
func TestTwoProtocolsOnOnePort(t *testing.T) {
	first, second := redisService(t).await(t), memcachedService(t).await(t)
	var target atomic.Value
	target.Store(first.address)
	front, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer front.Close()
	go func() {
		for {
			from, err := front.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", target.Load().(string))
			if err != nil {
				from.Close()
				continue
			}
			go passOn(from, to)
			go passOn(to, from)
		}
	}()
	address := front.Addr().String()
	served := func(v *vetch) map[string]float64 { // by this process, which other tests have serve too
		return v.mustRead(t).by("vetch_workload_requests_total", labels{"workload": self(t)}, "protocol", "route")
	}
	before := map[*vetch]map[string]float64{}
	for _, v := range built.watchers {
		before[v] = served(v)
	}
	db := redisClient(service{address: address})
	const n = 100
	for range n {
		require.NoError(t, db.Set(t.Context(), secret, secret, 0).Err())
	}
	require.NoError(t, db.Close())
	target.Store(second.address)
	client := memcache.New(address)
	client.Timeout = patience
	for range n {
		require.NoError(t, client.Set(&memcache.Item{Key: secret, Value: []byte(secret)}))
	}
	require.NoError(t, client.Close())
	port := strconv.Itoa(portOf(t, address))
	for _, v := range built.watchers {
		var got map[string]float64
		err := poll(t.Context(), func() error {
			got = v.mustRead(t).by("vetch_edge_requests_total", labels{"client": self(t), "server": self(t), "port": port}, "protocol", "code")
			if got["redis ok"] < n || got["memcached stored"] != n {
				return fmt.Errorf("want %d of each, got %v", n, got)
			}
			return nil
		})
		require.NoError(t, err, "%s hook", v.hook)
		now := served(v)
		require.Equal(t, float64(n), now["redis SET"]-before[v]["redis SET"], "%s hook: %v", v.hook, now)
		require.Equal(t, float64(n), now["memcached set"]-before[v]["memcached set"], "%s hook: %v", v.hook, now)
		requireNoSecret(t, v)
	}
}

// passOn copies by read and write: what is spliced is not seen.
func passOn(from, to net.Conn) {
	defer to.Close()
	io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}

// TestNoise has both ends say what no protocol says, in pieces of any size. It stays plain TCP.
func TestNoise(t *testing.T) {
	const connections = 100
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	heard := make(chan struct{})
	go func() {
		for i := range connections {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go makeNoise(conn, int64(1000+i))
			io.Copy(io.Discard, conn)
			conn.Close()
			heard <- struct{}{}
		}
	}()
	for i := range connections {
		conn, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		makeNoise(conn, int64(i))
		<-heard
		conn.Close()
	}
	edge := labels{"client": self(t), "server": self(t), "port": strconv.Itoa(portOf(t, listener.Addr().String()))}
	for _, v := range built.watchers {
		err := poll(t.Context(), func() error {
			s := v.mustRead(t)
			if got := s.by("vetch_edge_connections_total", edge, "protocol"); len(got) != 1 || got["tcp"] != connections {
				return fmt.Errorf("connections by protocol: %v", got)
			}
			if got := s.by("vetch_edge_requests_total", edge, "protocol", "code"); len(got) != 0 {
				return fmt.Errorf("requests: %v", got)
			}
			return v.ready()
		})
		require.NoError(t, err, "%s hook", v.hook)
	}
}

// makeNoise writes what cannot be told from random, and ends its side.
func makeNoise(conn net.Conn, seed int64) {
	random := rand.New(rand.NewSource(seed))
	for range 1 + random.Intn(30) {
		b := make([]byte, 1+random.Intn(3000))
		random.Read(b)
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
	conn.(*net.TCPConn).CloseWrite()
}
