package tracer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/agent/clock"
	"github.com/vetch-dev/vetch/agent/probe"
)

// unserved is a server without a socket.
func unserved() *Server {
	return &Server{table: newTable(), clients: newClients(), refused: map[string]uint64{}}
}

func (s *Server) ask(t *testing.T, id string) string {
	t.Helper()
	rows, refusal := s.answer(id, time.Now())
	require.Empty(t, refusal)
	return brief(rows)
}

func TestTotalsAndDifferences(t *testing.T) {
	s := unserved()
	out := calling("192.0.2.7:443", "", 0)
	s.Apply(snapshot(delta(out, 10, 20)), nil)
	require.Equal(t, "101 10.1.0.1:40000>192.0.2.7:443 2 10/20 +0/0", s.ask(t, "a"), "the first answer has no difference")
	s.Apply(snapshot(delta(out, 1, 2)), nil)
	require.Equal(t, "101 10.1.0.1:40000>192.0.2.7:443 2 11/22 +1/2", s.ask(t, "a"))
	require.Equal(t, "101 10.1.0.1:40000>192.0.2.7:443 2 11/22 +0/0", s.ask(t, "a"))
	s.Apply(snapshot(delta(out, 5, 5)), nil)
	require.Equal(t, "101 10.1.0.1:40000>192.0.2.7:443 2 16/27 +0/0", s.ask(t, "b"), "another client begins by itself")
	require.Equal(t, "101 10.1.0.1:40000>192.0.2.7:443 2 16/27 +5/5", s.ask(t, "a"), "and takes nothing from the first")
	other := calling("192.0.2.8:443", "", 0)
	s.Apply(snapshot(delta(other, 7, 8)), nil)
	require.Contains(t, s.ask(t, "a"), "192.0.2.8:443 2 7/8 +7/8", "what is new since the first answer counts from its beginning")
}

func TestClientsWithoutANameShare(t *testing.T) {
	s := unserved()
	out := calling("192.0.2.7:443", "", 0)
	s.Apply(snapshot(delta(out, 10, 20)), nil)
	s.ask(t, "")
	s.Apply(snapshot(delta(out, 1, 2)), nil)
	require.Contains(t, s.ask(t, "-1"), "+1/2")
	require.Contains(t, s.ask(t, ""), "+0/0")
}

func TestWhatEndedIsToldOnce(t *testing.T) {
	s := unserved()
	out := calling("192.0.2.7:443", "", 0)
	s.Apply(snapshot(delta(out, 10, 20)), nil)
	s.ask(t, "a")
	s.ask(t, "b")
	last := delta(out, 1, 1)
	last.Gone = true
	s.Apply(snapshot(last), nil)
	require.Empty(t, s.ask(t, "c"), "it ended before this one came")
	require.Equal(t, "101 10.1.0.1:40000>192.0.2.7:443 2 11/21 +1/1", s.ask(t, "a"))
	require.Empty(t, s.ask(t, "a"))
	require.Equal(t, "101 10.1.0.1:40000>192.0.2.7:443 2 11/21 +1/1", s.ask(t, "b"))
	require.Empty(t, s.ask(t, "b"))
	require.Empty(t, s.clients.closed)
	require.Zero(t, s.clients.states)
	require.Empty(t, s.table.rows)
	require.Empty(t, s.table.byPair)
}

func TestClientsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := unserved()
		out := calling("192.0.2.7:443", "", 0)
		s.Apply(snapshot(delta(out, 10, 20)), nil)
		s.ask(t, "a")
		s.Apply(snapshot(gone(out)), nil)
		require.Len(t, s.clients.closed, 1)
		time.Sleep(clientExpiry - time.Second)
		s.Apply(snapshot(), nil)
		require.Len(t, s.clients.by, 1)
		time.Sleep(time.Second)
		s.Apply(snapshot(), nil)
		require.Empty(t, s.clients.by)
		require.Empty(t, s.clients.closed, "there is nobody left to tell")
		require.Zero(t, s.clients.states)
		s.Apply(snapshot(delta(out, 3, 3)), nil)
		require.Contains(t, s.ask(t, "a"), "3/3 +0/0", "who comes back is new")
	})
}

func TestBoundsOfClients(t *testing.T) {
	s := unserved()
	for i := range maxClients {
		s.ask(t, fmt.Sprint("client ", i))
	}
	_, refusal := s.answer("one more", time.Now())
	require.Equal(t, refusedClients, refusal)
	require.EqualValues(t, 1, s.refused[refusedClients])
	s.ask(t, "client 0")

	out := calling("192.0.2.7:443", "", 0)
	s.clients.states = maxStates
	s.Apply(snapshot(delta(out, 10, 20)), nil)
	require.Contains(t, s.ask(t, "client 0"), "10/20 +0/0")
	require.EqualValues(t, 1, s.clients.noRoom)
	s.clients.states = 0
	for range maxClosed + 3 {
		s.clients.end(&row{}, Connection{})
	}
	require.Len(t, s.clients.closed, maxClosed)
	require.EqualValues(t, 3, s.clients.forgotten)
}

func TestBoundOfRows(t *testing.T) {
	s := unserved()
	pairs := make([]probe.PairDelta, maxRows+5)
	for i := range pairs {
		pairs[i] = delta(calling(fmt.Sprintf("10.%d.%d.%d:80", 2+i>>16, i>>8&255, i&255), "", 0), 1, 1)
	}
	s.Apply(snapshot(pairs...), nil)
	require.Len(t, s.table.rows, maxRows)
	require.EqualValues(t, 5, s.table.lost)
}

func TestServersRowHasThePortOfItsClient(t *testing.T) {
	s := unserved()
	from, to := calling("10.96.0.1:80", "10.1.0.2:8080", 2), serving("10.1.0.2:8080", 1)
	s.Apply(snapshot(delta(to, 20, 10), delta(from, 10, 20)), nil)
	require.Equal(t, "101 10.1.0.1:40000>10.96.0.1:80 2 10/20 +0/0\n102 10.1.0.2:8080>10.1.0.1:40000 1 20/10 +0/0", s.ask(t, "a"))
	again := delta(from, 1, 1)
	again.SampleLocal = addr("10.1.0.1:40001")
	s.Apply(snapshot(again), nil)
	require.Contains(t, s.ask(t, "a"), "10.1.0.1:40000>10.96.0.1:80 2 11/21 +1/1", "the port stays, for it names the row")
}

func TestServersRowWaitsForItsClient(t *testing.T) {
	s := unserved()
	s.ask(t, "a")
	to := serving("10.1.0.2:8080", 1)
	s.Apply(snapshot(delta(to, 20, 10)), nil)
	require.Empty(t, s.ask(t, "a"))
	s.Apply(snapshot(delta(to, 2, 1), delta(calling("10.1.0.2:8080", "10.1.0.2:8080", 2), 11, 22)), nil)
	require.Equal(t, "101 10.1.0.1:40000>10.1.0.2:8080 2 11/22 +11/22\n102 10.1.0.2:8080>10.1.0.1:40000 1 22/11 +22/11", s.ask(t, "a"))

	alone := serving("10.1.0.2:9090", 1)
	s.Apply(snapshot(delta(alone, 5, 6)), nil)
	for range keepHeld {
		s.Apply(snapshot(), nil)
	}
	require.Contains(t, s.ask(t, "a"), "102 10.1.0.2:9090>10.1.0.1:0 1 5/6 +5/6", "its client was never seen")
	require.Empty(t, s.table.held)

	brief := delta(serving("10.1.0.2:7070", 1), 3, 4)
	brief.Gone = true
	s.Apply(snapshot(delta(brief.Key, 1, 1)), nil)
	s.Apply(snapshot(brief), nil)
	require.Contains(t, s.ask(t, "a"), "102 10.1.0.2:7070>10.1.0.1:0 1 4/5 +4/5", "it ended before")
}

func TestBackendsOfOneServiceAreOneRow(t *testing.T) {
	s := unserved()
	one, two := calling("10.96.0.1:80", "10.1.0.2:8080", 2), calling("10.96.0.1:80", "10.1.0.3:8080", 3)
	s.Apply(snapshot(delta(one, 10, 20), delta(two, 1, 2)), nil)
	require.Equal(t, "101 10.1.0.1:40000>10.96.0.1:80 2 11/22 +0/0", s.ask(t, "a"), "readers would take two rows that look the same for one that goes up and down")
	s.Apply(snapshot(gone(one)), nil)
	require.Equal(t, "101 10.1.0.1:40000>10.96.0.1:80 2 11/22 +0/0", s.ask(t, "a"))
	s.Apply(snapshot(gone(two)), nil)
	require.Equal(t, "101 10.1.0.1:40000>10.96.0.1:80 2 11/22 +0/0", s.ask(t, "a"))
	require.Empty(t, s.ask(t, "a"))
	require.Empty(t, s.table.meetings)
}

func TestDirections(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6"), netip.MustParseAddr("127.0.0.1")}
	for want, list := range map[uint8][][2]string{
		directionIncoming: {{"10.1.0.2:80", "10.0.0.5:0"}, {"10.0.0.5:80", "192.0.2.1:0"}, {"[fd00::2]:80", "[fd00::1]:0"}},
		directionOutgoing: {{"10.1.0.2:0", "10.0.0.5:80"}, {"10.0.0.5:0", "192.0.2.1:80"}},
		directionLocal:    {{"10.0.0.5:0", "10.0.0.6:80"}, {"127.0.0.1:80", "127.0.0.1:0"}, {"[::1]:0", "[::1]:80"}},
	} {
		for _, ends := range list {
			k := rowKey{role: probe.RoleClient, local: addr(ends[0]), remote: addr(ends[1])}
			if k.local.Port() != 0 {
				k.role = probe.RoleServer
			}
			require.Equal(t, want, direction(&k, own), ends)
		}
	}
}

func TestDatagramsAndFailedConnectsAreNotServed(t *testing.T) {
	s := unserved()
	dns := calling("10.0.0.53:53", "", 0)
	dns.Datagrams = true
	failed := probe.PairDelta{Key: calling("192.0.2.9:80", "", 0), Failed: [probe.NumConnectErrors]uint64{1}}
	s.Apply(snapshot(delta(dns, 1, 1), failed), nil)
	require.Empty(t, s.ask(t, "a"))
}

// listen serves until the test ends.
func listen(t *testing.T, path string) (*Server, func()) {
	t.Helper()
	s, err := Listen(ServerOptions{Path: path, Version: "v0", Registerer: prometheus.NewPedanticRegistry()})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ended := false
	end := func() {
		if !ended {
			ended = true
			stop()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(end)
	return s, end
}

func get(t *testing.T, path, url string) (int, string) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://any" + url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func TestServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tracer.sock")
	s, end := listen(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o660, info.Mode().Perm())
	code, body := get(t, path, "/connections?client_id=a")
	require.Equal(t, 200, code)
	require.JSONEq(t, `{"connections":[]}`, body)
	s.Apply(snapshot(delta(calling("192.0.2.7:443", "", 0), 10, 20)), nil)
	_, body = get(t, path, "/connections?client_id=a")
	var rows struct{ Connections []Connection }
	require.NoError(t, json.Unmarshal([]byte(body), &rows))
	require.Equal(t, "101 10.1.0.1:40000>192.0.2.7:443 2 10/20 +10/20", brief(rows.Connections))
	require.EqualValues(t, 11, rows.Connections[0].NetNS)
	require.InDelta(t, float64(clock.Monotonic()), float64(rows.Connections[0].LastUpdate), float64(time.Hour))
	code, body = get(t, path, "/status")
	require.Equal(t, 200, code)
	require.JSONEq(t, `{"version":"v0","connections":1,"clients":1}`, body)
	code, _ = get(t, path, "/connections?client_id="+strings.Repeat("x", maxClientID+1))
	require.Equal(t, 400, code)
	code, _ = get(t, path, "/debug/net_state")
	require.Equal(t, 404, code)
	end()
	require.NoFileExists(t, path)
}

func TestSocketFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tracer.sock")
	_, end := listen(t, path)
	_, err := Listen(ServerOptions{Path: path})
	require.ErrorIs(t, err, errBusy)
	end()

	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	stale.SetUnlinkOnClose(false)
	require.NoError(t, stale.Close())
	require.FileExists(t, path)
	s, err := Listen(ServerOptions{Path: path})
	require.NoError(t, err, "what a dead process left is replaced")

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.FileExists(t, path, "it is another's now")
	_, err = Listen(ServerOptions{Path: path})
	require.ErrorContains(t, err, "no socket")
	_, err = Listen(ServerOptions{Path: filepath.Join(dir, "none", "tracer.sock")})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAReaderThatDoesNotReadHoldsNobodyUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tracer.sock")
	s, end := listen(t, path)
	pairs := make([]probe.PairDelta, 20_000)
	for i := range pairs {
		pairs[i] = delta(calling(fmt.Sprintf("10.2.%d.%d:80", i>>8&255, i&255), "", 0), 1, 1)
	}
	s.Apply(snapshot(pairs...), nil)
	for range maxAnswers {
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		defer c.Close()
		_, err = io.WriteString(c, "GET /connections HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return len(s.room) == maxAnswers }, time.Minute, time.Millisecond)
	code, _ := get(t, path, "/connections")
	require.Equal(t, http.StatusServiceUnavailable, code)
	code, _ = get(t, path, "/status")
	require.Equal(t, 200, code)
	end()
}
