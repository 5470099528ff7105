package guest

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"

	"github.com/vetch-dev/vetch/agent/probe"
)

// TestDatagrams has the programs that ship records verified by this kernel, and DNS found in datagrams: by single calls and by those with
// several messages.
func TestDatagrams(t *testing.T) {
	for _, hook := range []string{probe.HookSocket, probe.HookSyscall} {
		t.Run(hook, func(t *testing.T) {
			p, err := probe.New(probe.Options{Hook: hook, PollInterval: 200 * time.Millisecond, Records: true})
			if errors.Is(err, probe.ErrUnsupported) && hook == probe.HookSocket && !atLeast(6, 3) {
				t.Skipf("this kernel has no such hook: %v", err)
			}
			require.NoError(t, err)
			type message struct {
				id   byte
				sent bool
				port uint16
			}
			var mu sync.Mutex
			shipped := map[message]int{}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 2)
			go func() { done <- p.Run(ctx, func(probe.Snapshot) {}) }()
			go func() {
				done <- p.ReadRecords(ctx, func(r *probe.Record) probe.Verdict {
					if r.Datagram != nil && r.Datagram.Owner != 0 {
						mu.Lock()
						defer mu.Unlock()
						shipped[message{r.Data[1], r.Sent, r.Datagram.Local.Port()}]++
					}
					return probe.Ship
				}, func() {})
			}()
			server, err := net.ListenPacket("udp4", "127.0.0.1:0")
			require.NoError(t, err)
			defer server.Close()
			client, err := net.Dial("udp4", server.LocalAddr().String())
			require.NoError(t, err)
			defer client.Close()
			batches, err := net.ListenPacket("udp4", "127.0.0.1:0")
			require.NoError(t, err)
			defer batches.Close()
			want := map[message]int{}
			at := uint16(server.LocalAddr().(*net.UDPAddr).Port)
			ask := func(id byte, from net.Addr) []byte {
				want[message{id, true, uint16(from.(*net.UDPAddr).Port)}]++
				want[message{id, false, at}]++
				return []byte{0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1}
			}
			buf := make([]byte, 512)
			for id := range byte(50) {
				_, err := client.Write(ask(id, client.LocalAddr()))
				require.NoError(t, err)
				_, _, err = server.ReadFrom(buf)
				require.NoError(t, err)
			}
			room := make([]ipv4.Message, 8)
			for i := range room {
				room[i].Buffers = [][]byte{make([]byte, 512)}
			}
			for _, n := range []byte{1, 3, 5, 1} {
				messages := make([]ipv4.Message, n)
				for i := range messages {
					messages[i] = ipv4.Message{Buffers: [][]byte{ask(100+8*n+byte(i), batches.LocalAddr())}, Addr: server.LocalAddr()}
				}
				sent, err := ipv4.NewPacketConn(batches).WriteBatch(messages, 0)
				require.NoError(t, err)
				require.Equal(t, int(n), sent)
				for read := 0; read < sent; {
					k, err := ipv4.NewPacketConn(server).ReadBatch(room, 0)
					require.NoError(t, err)
					read += k
				}
			}
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				mu.Lock()
				defer mu.Unlock()
				assert.Equal(c, want, shipped)
			}, 10*time.Second, 100*time.Millisecond)
			cancel()
			require.NoError(t, errors.Join(<-done, <-done, p.Close()))
		})
	}
}
