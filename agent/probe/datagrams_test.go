package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"
)

// query is a DNS query for a.example of type A, or the answer that there is none.
func query(id uint16, response bool) []byte {
	b := []byte{byte(id >> 8), byte(id), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1}
	if response {
		b[2], b[3] = 0x81, 0x83
	}
	return b
}

// heard is what was shipped of one message.
type heard struct {
	sent          bool
	local, remote netip.AddrPort
	text          string
}

// hear collects datagrams until the test ends.
func hear(t *testing.T, hook string) func() []heard {
	t.Helper()
	p, err := New(Options{Hook: hook, Records: true, PollInterval: 50 * time.Millisecond})
	if err != nil {
		t.Fatalf("start the probe (needs root): %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var all []heard
	done := make(chan error, 2)
	go func() { done <- p.Run(ctx, func(Snapshot) {}) }()
	go func() {
		done <- p.ReadRecords(ctx, func(r *Record) Verdict {
			if r.Datagram != nil && r.Datagram.Owner != 0 {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, heard{r.Sent, r.Datagram.Local, r.Datagram.Remote, string(r.Data)})
			}
			return Ship
		}, func() {})
	}()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return func() []heard {
		mu.Lock()
		defer mu.Unlock()
		return append([]heard(nil), all...)
	}
}

// requireHeard waits until each of the messages was shipped once, and then a little for what was not to be.
func requireHeard(t *testing.T, got func() []heard, want map[heard]int) {
	t.Helper()
	ours := func() (found map[heard]int, n int) {
		found = map[heard]int{}
		for _, h := range got() {
			for w := range want {
				if w.local.Port() == h.local.Port() && w.sent == h.sent {
					found[h]++
					n++
					break
				}
			}
		}
		return found, n
	}
	total := 0
	for _, n := range want {
		total += n
	}
	assert.Eventually(t, func() bool { _, n := ours(); return n >= total }, time.Minute, 20*time.Millisecond)
	time.Sleep(100 * time.Millisecond) // for what must not come, of which nothing tells that it has not
	found, _ := ours()
	if fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("shipped\n%v, want\n%v", found, want)
	}
}

// What sockets ask and answer in datagrams is shipped with both ends, however they do it; what is not DNS is not.
func TestDatagrams(t *testing.T) {
	for _, hook := range []string{HookSocket, HookSyscall, HookSyscallOld} {
		t.Run(hook, func(t *testing.T) {
			got := hear(t, hook)
			for _, network := range []string{"udp4", "udp6"} {
				host := map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0"}[network]
				server, err := net.ListenPacket(network, host)
				if err != nil {
					t.Fatal(err)
				}
				defer server.Close()
				at := netip.MustParseAddrPort(server.LocalAddr().String())
				client, err := net.Dial(network, at.String())
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				from := netip.MustParseAddrPort(client.LocalAddr().String())
				buf := make([]byte, 512)
				want := map[heard]int{}
				for i := range uint16(20) {
					for _, noise := range []string{"", "x", "what is not DNS at all", string(make([]byte, 100))} {
						if i < 5 { // fewer in a row than a socket is left alone after
							client.Write([]byte(noise)) //nolint:errcheck // read below
							server.ReadFrom(buf)        //nolint:errcheck
						}
					}
					client.Write(query(i, false)) //nolint:errcheck // read below
					if _, _, err := server.ReadFrom(buf); err != nil {
						t.Fatal(err)
					}
					server.WriteTo(query(i, true), client.LocalAddr()) //nolint:errcheck // read below
					if _, err := client.Read(buf); err != nil {
						t.Fatal(err)
					}
					asked, answered := string(query(i, false)), string(query(i, true))
					want[heard{true, from, at, asked}]++
					want[heard{false, at, netip.AddrPort{}, asked}]++
					want[heard{true, at, from, answered}]++
					want[heard{false, from, at, answered}]++
				}
				requireHeard(t, got, want)
			}
		})
	}
}

// Of calls with several messages each is shipped by itself, also where there is room for more than come.
func TestDatagramBatches(t *testing.T) {
	for _, hook := range []string{HookSocket, HookSyscall, HookSyscallOld} {
		t.Run(hook, func(t *testing.T) {
			got := hear(t, hook)
			a, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			b, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			from, to := netip.MustParseAddrPort(a.LocalAddr().String()), netip.MustParseAddrPort(b.LocalAddr().String())
			out, in := ipv4.NewPacketConn(a), ipv4.NewPacketConn(b)
			want := map[heard]int{}
			room := make([]ipv4.Message, 8)
			for i := range room {
				room[i].Buffers = [][]byte{make([]byte, 512)}
			}
			for _, n := range []int{1, 2, 3, 8, 1, 5} {
				messages := make([]ipv4.Message, n)
				for i := range messages {
					text := query(uint16(n<<8+i), false)
					messages[i] = ipv4.Message{Buffers: [][]byte{text}, Addr: b.LocalAddr()}
					want[heard{true, from, to, string(text)}]++
					want[heard{false, to, netip.AddrPort{}, string(text)}]++
				}
				if sent, err := out.WriteBatch(messages, 0); err != nil || sent != n {
					t.Fatalf("sent %d of %d: %v", sent, n, err)
				}
				for read := 0; read < n; {
					k, err := in.ReadBatch(room, 0)
					if err != nil {
						t.Fatal(err)
					}
					read += k
				}
			}
			requireHeard(t, got, want)
		})
	}
}

// A socket that never says DNS is left alone, but not for ever.
func TestDatagramsLater(t *testing.T) {
	got := hear(t, HookAuto)
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 1000 {
		client.Write([]byte("what is not DNS at all")) //nolint:errcheck // it may be lost
	}
	for i := range uint16(200) {
		client.Write(query(i, false)) //nolint:errcheck // it may be lost
	}
	from, at := netip.MustParseAddrPort(client.LocalAddr().String()), netip.MustParseAddrPort(server.LocalAddr().String())
	last := heard{true, from, at, string(query(199, false))}
	require.Eventually(t, func() bool { return slices.Contains(got(), last) }, time.Minute, 20*time.Millisecond, "the last query was not shipped")
}
