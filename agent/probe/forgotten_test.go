package probe

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/bpf"
)

// The kernel may end a socket without that any program of ours runs, and give its place in memory to the next one. Here what is noted of a connection that has ended is put back, as if
// that had happened to it, and what then uses its places is counted all the same, at both ends.
func TestForgottenEnds(t *testing.T) {
	p, err := New(Options{PollInterval: 50 * time.Millisecond})
	require.NoError(t, err, "start the probe (needs root)")
	l, addr := listen(t, "tcp4")
	answers := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	server := &http.Server{Handler: http.HandlerFunc(answers), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	asks := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	conns := p.coll.Maps["conns"]
	const requests = 100
	again := 0
	for range requests {
		forgotten := beginAndEnd(t, conns, addr.String())
		for sk, c := range forgotten {
			require.NoError(t, conns.Put(sk, &c))
		}
		answer, err := asks.Get("http://" + addr.String() + "/forgotten")
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		for sk, old := range forgotten {
			var c bpf.VetchConnT
			if conns.Lookup(sk, &c) != nil || c.OpenedNs != old.OpenedNs {
				again++
			}
		}
	}
	require.NotZero(t, again, "places in memory that were used again, of %d", 2*requests)
	require.NoError(t, server.Close())
	require.ErrorIs(t, <-served, http.ErrServerClosed)
	counted := map[Role]uint64{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, p.Run(ctx, func(s Snapshot) {
		for _, d := range s.Requests {
			if d.Route == "/forgotten" && d.Code == "204" {
				counted[d.Pair.Role] += d.Count
			}
		}
		if counted[RoleClient] >= requests && counted[RoleServer] >= requests {
			cancel()
		}
	}))
	require.Equal(t, map[Role]uint64{RoleClient: requests, RoleServer: requests}, counted)
	require.NoError(t, p.Close())
}

// beginAndEnd opens a connection to a server that waits for a request, ends it, and returns what was noted of its ends while it was open.
func beginAndEnd(t *testing.T, conns *ebpf.Map, addr string) map[uint64]bpf.VetchConnT {
	client, err := net.Dial("tcp4", addr)
	require.NoError(t, err)
	port := netip.MustParseAddrPort(client.LocalAddr().String()).Port()
	noted := func() map[uint64]bpf.VetchConnT {
		out := map[uint64]bpf.VetchConnT{}
		var sk uint64
		var c bpf.VetchConnT
		for all := conns.Iterate(); all.Next(&sk, &c); {
			if c.LocalPort == port || c.RemotePort == port {
				out[sk] = c
			}
		}
		return out
	}
	_, err = client.Write([]byte("\r\n")) // before a request line that may be
	require.NoError(t, err)
	var open map[uint64]bpf.VetchConnT
	require.Eventually(t, func() bool { open = noted(); return len(open) == 2 }, time.Minute, time.Millisecond)
	require.NoError(t, client.Close())
	for end := time.Now().Add(time.Second); len(noted()) > 0 && time.Now().Before(end); { // on some machines it may really be forgotten
		time.Sleep(time.Millisecond)
	}
	return open
}
