package probe

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	fastOpenRequest = "GET /fast HTTP/1.1\r\nHost: x\r\n\r\n"
	fastOpenAnswer  = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

// sendFast makes a connection whose first request goes with the SYN, once the client has a cookie of the server, and says whether it did.
type sendFast func(to unix.Sockaddr) (fd int, err error)

// inCall blocks until the connection is there.
func inCall(to unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	return fd, unix.Sendto(fd, []byte(fastOpenRequest), unix.MSG_FASTOPEN, to)
}

// afterConnect writes before the connection is there, and does not wait for it, where there is a cookie.
func afterConnect(to unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1), unix.Connect(fd, to)); err != nil {
		return fd, err
	}
	_, err = unix.SendmsgN(fd, []byte(fastOpenRequest), nil, nil, 0)
	return fd, err
}

// ask has two requests answered, and says whether the first went with the SYN.
func (send sendFast) ask(to unix.Sockaddr) (withSYN bool, err error) {
	fd, err := send(to)
	if err != nil {
		return false, err
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	answer := make([]byte, len(fastOpenAnswer))
	if _, err := io.ReadFull(f, answer); err != nil {
		return false, err
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false, err
	}
	if _, err := io.WriteString(f, fastOpenRequest); err != nil {
		return false, err
	}
	_, err = io.ReadFull(f, answer)
	const synData = 32 // TCPI_OPT_SYN_DATA
	return info.Options&synData != 0, err
}

// With TCP Fast Open what a client says in its first packet counts at its end too.
func TestFastOpen(t *testing.T) {
	for _, hook := range []string{HookSocket, HookSyscall, HookSyscallOld} {
		for name, send := range map[string]sendFast{"in the call": inCall, "after connect": afterConnect} {
			t.Run(hook+"/"+name, func(t *testing.T) { testFastOpen(t, hook, send) })
		}
	}
}

func testFastOpen(t *testing.T, hook string, send sendFast) {
	const asked = 20
	ns := newNetNS(t)
	snapshots := watch(t, Options{Hook: hook})
	addr := serveFastOpen(t, ns)
	to := &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}
	early := 0
	var err error
	ns.run(func() {
		for range asked {
			var withSYN bool
			if withSYN, err = send.ask(to); err != nil {
				return
			}
			if withSYN {
				early++
			}
		}
	})
	if err != nil || early < asked-1 {
		t.Fatalf("%d of %d connections had data in the SYN: %v", early, asked, err)
	}
	const request, answer = 2 * asked * uint64(len(fastOpenRequest)), 2 * asked * uint64(len(fastOpenAnswer))
	type counts struct{ opened, requests, sent, received uint64 }
	want := map[Role]counts{RoleClient: {asked, 2 * asked, request, answer}, RoleServer: {asked, 2 * asked, answer, request}}
	got := map[Role]counts{}
	until(t, snapshots, fmt.Sprintf("%+v", want), func(s Snapshot) bool {
		for _, d := range s.Pairs {
			if c := got[d.Key.Role]; d.Key.Local == addr || d.Key.Remote == addr {
				got[d.Key.Role] = counts{c.opened + d.Opened, c.requests, c.sent + d.BytesSent, c.received + d.BytesReceived}
			}
		}
		for _, d := range s.Requests {
			if c := got[d.Pair.Role]; d.Pair.Local == addr || d.Pair.Remote == addr {
				got[d.Pair.Role] = counts{c.opened, c.requests + d.Count, c.sent, c.received}
			}
		}
		return maps.Equal(got, want)
	})
}

// serveFastOpen starts a server in a namespace that takes what comes with a SYN.
func serveFastOpen(t *testing.T, ns netns) netip.AddrPort {
	t.Helper()
	ns.shell(t, "echo 3 > /proc/sys/net/ipv4/tcp_fastopen")
	listener := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 100) })
		return errors.Join(err, failed)
	}}
	var l net.Listener
	var err error
	ns.run(func() { l, err = listener.Listen(t.Context(), "tcp4", "127.0.0.1:0") })
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"], w.Header()["Content-Type"] = nil, nil
		io.WriteString(w, "ok") //nolint:errcheck // the client tells
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return netip.MustParseAddrPort(l.Addr().String())
}
