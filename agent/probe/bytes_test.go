package probe

import (
	"io"
	"net"
	"testing"

	"golang.org/x/sync/errgroup"
)

// Each byte counts once where one thread of a program reads a connection while another writes it.
func TestBytesOfTwoThreads(t *testing.T) {
	const calls, size = 50_000, 3
	for _, hook := range []string{HookSocket, HookSyscall} {
		t.Run(hook, func(t *testing.T) {
			l, addr := listen(t, "tcp4")
			snapshots := watch(t, Options{Hook: hook})
			client, server := connected(t, l, net.Dial)
			var both errgroup.Group
			for _, end := range []net.Conn{client, server} {
				both.Go(func() error {
					for range calls {
						if _, err := end.Write(make([]byte, size)); err != nil {
							return err
						}
					}
					return nil
				})
				both.Go(func() error {
					_, err := io.ReadFull(end, make([]byte, calls*size))
					return err
				})
			}
			if err := both.Wait(); err != nil {
				t.Fatal(err)
			}
			client.Close()
			server.Close()
			sent, received, closed := map[Role]uint64{}, map[Role]uint64{}, uint64(0)
			until(t, snapshots, "the end of both ends", func(s Snapshot) bool {
				for _, d := range s.Pairs {
					if d.Key.Local == addr || d.Key.Remote == addr {
						sent[d.Key.Role] += d.BytesSent
						received[d.Key.Role] += d.BytesReceived
						closed += d.Closed
					}
				}
				return closed == 2
			})
			for _, role := range []Role{RoleClient, RoleServer} {
				if sent[role] != calls*size || received[role] != calls*size {
					t.Errorf("role %d sent %d bytes and received %d, want %d of each", role, sent[role], received[role], calls*size)
				}
			}
		})
	}
}
