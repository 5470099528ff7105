package probe

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// One port may have connections to several servers at once. The ends of each must find each other, also when they are accepted in another order than they
// were asked for: TCP_DEFER_ACCEPT makes that of a first byte.
func TestOnePortWithTwoServers(t *testing.T) {
	snapshots := watch(t, Options{})
	deferred := net.ListenConfig{Control: control(unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 5)}
	deferred.SetMultipathTCP(false)
	var listeners [2]net.Listener
	var clients [2]net.Conn
	from := freeAddress(t)
	for i := range listeners {
		l, err := deferred.Listen(t.Context(), "tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		listeners[i] = l
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Control: control(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)}
		clients[i], err = dialer.Dial("tcp4", l.Addr().String())
		require.NoError(t, err)
		defer clients[i].Close()
	}
	for i, l := range listeners {
		_, err := clients[i].Write([]byte("x"))
		require.NoError(t, err)
		server, err := l.Accept()
		require.NoError(t, err)
		defer server.Close()
		converse(t, clients[i], server)
	}
	joined := map[netip.AddrPort]netip.AddrPort{}
	until(t, snapshots, "both connections with both ends", func(s Snapshot) bool {
		for _, l := range listeners {
			asked := netip.MustParseAddrPort(l.Addr().String())
			for _, d := range s.Pairs {
				if d.Key.Role == RoleClient && d.Key.Remote == asked && d.Opened > 0 {
					require.NotZero(t, d.Key.Peer)
					joined[asked] = d.Key.Actual
				}
			}
		}
		return len(joined) == len(listeners)
	})
	for asked, actual := range joined {
		require.Equal(t, asked, actual)
	}
}

// control sets an option before a socket is bound.
func control(level, option, value int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) (err error) {
		if failed := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, value) }); failed != nil {
			return failed
		}
		return err
	}
}

// freeAddress is one that nobody uses just now.
func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	l, addr := listen(t, "tcp4")
	require.NoError(t, l.Close())
	return addr
}
