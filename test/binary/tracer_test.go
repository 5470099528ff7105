package binary

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/agent/tracer"
)

// TestTracer has one vetch serve its connections as older network tracers do, and another read them in place of kernel programs. What curl says it
// exchanged with nginx is what the rows say, and what both show on the edge.
func TestTracer(t *testing.T) {
	reads := map[string]string{"socket": "run", "syscall": "agent"}
	for _, hook := range hooks() {
		t.Run(hook, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tracer.sock")
			t.Cleanup(func() { require.NoFileExists(t, path) })
			serves := watch(t, settings{hook: hook, env: []string{"VETCH_AGENT_TRACER_LISTEN=" + path}})
			reader := watch(t, settings{role: reads[hook], hook: "auto", env: []string{"VETCH_AGENT_TRACER_SOURCE=" + path}})
			reader.waitFor(t, "it has read the tracer", func(s scrape) bool {
				return s.sum("vetch_probe_hook_attached", labels{"hook": "tracer"}) == 1 && len(s["vetch_probe_hook_attached"]) == 1
			})

			nginx := nginxService(t)
			edge := labels{"port": nginx.port(), "server": nginx.workload}
			curl, copied := installed(t, "/usr/bin/curl")
			edge["client"] = curl.workload
			cmd := exec.Command(copied, "-sS", "-w", "%{stderr}%{size_request} %{size_header} %{size_download}\n", nginx.url("http")+"/file?[1-40]")
			var said bytes.Buffer
			cmd.Stderr = &said
			output, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			// It cannot end while nobody reads what it writes, so that the reader sees who it is.
			waiting := poll(t.Context(), func() error { return atLeast(reader, edge, 1) })
			_, err = io.Copy(io.Discard, output)
			require.NoError(t, err)
			require.NoError(t, cmd.Wait())
			require.NoError(t, waiting, "%s", reader.log)
			sent, received := spoken(t, said.String())

			requireRow(t, path, nginx, sent, received)
			for _, v := range []*vetch{serves, reader} {
				require.NoError(t, poll(t.Context(), func() error {
					s, err := v.read()
					if err != nil {
						return err
					}
					got := s.by("vetch_edge_bytes_total", edge, "direction")
					if got["sent"] != float64(sent) || got["received"] != float64(received) {
						return fmt.Errorf("bytes of the edge are %v, want %d and %d", got, sent, received)
					}
					return nil
				}), "vetch %s", v.role)
			}
		})
	}
}

func atLeast(v *vetch, edge labels, bytes float64) error {
	s, err := v.read()
	if err == nil && s.sum("vetch_edge_bytes_total", edge) < bytes {
		err = fmt.Errorf("there is no edge %v", edge)
	}
	return err
}

// spoken adds up what curl says of each request: bytes of the request, of the head and of the body of the response.
func spoken(t *testing.T, said string) (sent, received uint64) {
	t.Helper()
	for line := range bytes.Lines([]byte(said)) {
		var request, head, body uint64
		_, err := fmt.Sscan(string(line), &request, &head, &body)
		require.NoError(t, err, "%s", said)
		sent, received = sent+request, received+head+body
	}
	require.NotZero(t, sent)
	return sent, received
}

// requireRow waits until both ends of the connection have a row with all of its bytes.
func requireRow(t *testing.T, path string, s service, sent, received uint64) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	port, err := strconv.ParseUint(s.port(), 10, 16)
	require.NoError(t, err)
	require.NoError(t, poll(t.Context(), func() error {
		response, err := client.Get("http://any/connections?client_id=test")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		var answer struct{ Connections []tracer.Connection }
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return err
		}
		var client, server tracer.Connection
		for _, c := range answer.Connections {
			switch port {
			case uint64(c.DPort):
				client = c
			case uint64(c.SPort):
				server = c
			}
		}
		if client.MonotonicSent != sent || client.MonotonicReceived != received || server.MonotonicSent != received || server.MonotonicReceived != sent {
			return fmt.Errorf("want %d sent, %d received; rows are %+v and %+v", sent, received, client, server)
		}
		if client.SPort == 0 || client.SPort != server.DPort || client.Direction != 3 || server.Direction != 3 || client.PID == server.PID || client.NetNS != server.NetNS {
			return fmt.Errorf("the rows do not fit: %+v and %+v", client, server)
		}
		return nil
	}))
}
