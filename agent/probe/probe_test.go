package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watch starts a probe and hands its snapshots on until the test ends.
func watch(t *testing.T, options Options) <-chan Snapshot {
	t.Helper()
	options.PollInterval = 50 * time.Millisecond
	p, err := New(options)
	if err != nil {
		t.Fatalf("start the probe (needs root): %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	snapshots, done := make(chan Snapshot), make(chan error, 1)
	go func() {
		done <- p.Run(ctx, func(s Snapshot) {
			select {
			case snapshots <- s:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return snapshots
}

// TestReadersEndInAnyOrder: one that begins only when another has ended, because all was over so soon, finds the probe still open.
func TestReadersEndInAnyOrder(t *testing.T) {
	p, err := New(Options{Records: true, Exits: true})
	if err != nil {
		t.Fatalf("start the probe (needs root): %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = errors.Join(
		p.Run(ctx, func(Snapshot) {}),
		p.ReadRecords(ctx, func(*Record) Verdict { return Ship }, func() {}),
		p.ReadExits(ctx, func(Exit) {}),
		p.Close(),
	)
	if err != nil {
		t.Error(err)
	}
}

// until reads snapshots until one satisfies ok.
func until(t *testing.T, snapshots <-chan Snapshot, what string, ok func(Snapshot) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case s := <-snapshots:
			if ok(s) {
				return
			}
		case <-deadline:
			t.Fatalf("not seen: %s", what)
		}
	}
}

func listen(t *testing.T, network string) (net.Listener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen(network, "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, netip.MustParseAddrPort(l.Addr().String())
}

// connected are both ends of a connection to a listener. They close with the test.
func connected(t *testing.T, l net.Listener, dial func(network, address string) (net.Conn, error)) (client, server net.Conn) {
	t.Helper()
	client, err := dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func has(s Snapshot, addr netip.AddrPort) bool {
	for _, l := range s.Listeners {
		if l.Addr == addr {
			return true
		}
	}
	return false
}

// Listeners are known whether they were there before (Go's are MPTCP sockets) or come later, and go when they close, on ports the kernel chose too.
func TestListeners(t *testing.T) {
	_, before := listen(t, "tcp")
	snapshots := watch(t, Options{})
	later, after := listen(t, "tcp")
	until(t, snapshots, "both listeners", func(s Snapshot) bool { return has(s, before) && has(s, after) })
	later.Close()
	until(t, snapshots, "the end of the later one", func(s Snapshot) bool { return has(s, before) && !has(s, after) })
}

// A connection that is older than the probe belongs to its pair, with both ends known, on every hook.
func TestOlderConnection(t *testing.T) {
	for _, hook := range []string{HookSocket, HookSyscall, HookSyscallOld} {
		t.Run(hook, func(t *testing.T) {
			l, addr := listen(t, "tcp")
			client, server := connected(t, l, net.Dial)
			snapshots := watch(t, Options{Hook: hook})
			sent, received := map[Role]uint64{}, map[Role]uint64{}
			until(t, snapshots, "10 bytes at both ends", func(s Snapshot) bool {
				if sent[RoleClient] == 0 {
					converse(t, client, server)
				}
				for _, d := range s.Pairs {
					if d.Key.Local == addr || d.Key.Remote == addr {
						sent[d.Key.Role] += d.BytesSent
						received[d.Key.Role] += d.BytesReceived
						if d.Key.Peer == 0 || d.Opened != 0 {
							t.Errorf("pair %+v opened %d: want a known peer and nothing opened", d.Key, d.Opened)
						}
					}
				}
				return sent[RoleClient] >= 10 && received[RoleServer] >= 10
			})
		})
	}
}

func converse(t *testing.T, client, server net.Conn) {
	t.Helper()
	buf := make([]byte, 16)
	if _, err := client.Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(buf); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(buf); err != nil {
		t.Fatal(err)
	}
}

// Connects that fail say why.
func TestFailedConnect(t *testing.T) {
	l, addr := listen(t, "tcp")
	l.Close()
	snapshots := watch(t, Options{})
	if _, err := net.Dial("tcp", addr.String()); err == nil {
		t.Fatal("connected to a closed port")
	}
	until(t, snapshots, "the refused connect", func(s Snapshot) bool {
		for _, d := range s.Pairs {
			if d.Key.Remote == addr && d.Key.Role == RoleClient {
				return d.Failed[ConnectRefused] == 1
			}
		}
		return false
	})
}

func TestUnknownHook(t *testing.T) {
	if _, err := chooseHooks("kprobe", kernel{}); err == nil {
		t.Error("an unknown hook was taken")
	}
	if _, err := chooseHooks(HookSocket, kernel{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("socket hooks on a kernel without them: %v, want ErrUnsupported", err)
	}
}
