package conversation

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScriptsPlayAgainstThemselves holds that both ends agree on every script, so that whoever counts them wrong is not the script.
func TestScriptsPlayAgainstThemselves(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Scripts() {
		require.False(t, seen[s.Name], "two scripts named %q", s.Name)
		seen[s.Name] = true
		t.Run(s.Name, func(t *testing.T) {
			listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			require.NoError(t, err)
			defer listener.Close()
			times := 3
			if s.Ends() {
				times = 1
			}
			type result struct {
				moved Traffic
				err   error
			}
			served := make(chan result)
			go func() {
				conn, err := listener.AcceptTCP()
				var r result
				for i := 0; i < times && err == nil; i++ {
					var moved Traffic
					moved, err = Play(conn, Server, s)
					r.moved.Sent += moved.Sent
					r.moved.Received += moved.Received
				}
				if err == nil {
					err = Finish(conn, Server, s)
				}
				r.err = err
				served <- r
			}()
			dialed, err := net.Dial("tcp", listener.Addr().String())
			require.NoError(t, err)
			conn := dialed.(*net.TCPConn)
			var moved Traffic
			for range times {
				m, err := Play(conn, Client, s)
				require.NoError(t, err)
				moved.Sent += m.Sent
				moved.Received += m.Received
			}
			require.NoError(t, Finish(conn, Client, s))
			other := <-served
			require.NoError(t, other.err)
			up, down := s.Volume()
			require.Equal(t, Traffic{Sent: int64(times * up), Received: int64(times * down)}, moved)
			require.Equal(t, Traffic{Sent: int64(times * down), Received: int64(times * up)}, other.moved)
		})
	}
}
