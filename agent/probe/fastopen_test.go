package probe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
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

// inCall connects with the call that writes.
func inCall(to unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	return fd, unix.Sendto(fd, []byte(fastOpenRequest), unix.MSG_FASTOPEN, to)
}

// afterConnect says so before, and writes as to any connection.
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

// beforeAnswer does not wait, and its call is over before the server's first packet comes.
func beforeAnswer(to unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	err = exec.Command("iptables", "-A", "INPUT", "-p", "tcp", "--tcp-flags", "SYN,ACK", "SYN,ACK", "-j", "DROP").Run()
	return fd, errors.Join(err, unix.Sendto(fd, []byte(fastOpenRequest), unix.MSG_FASTOPEN|unix.MSG_DONTWAIT, to), exec.Command("iptables", "-F", "INPUT").Run())
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

// fastOpened are the figures of one end.
type fastOpened struct{ opened, requests, sent, received uint64 }

func (f fastOpened) within(most fastOpened) bool {
	return f.opened <= most.opened && f.requests <= most.requests && f.sent <= most.sent && f.received <= most.received
}

// With TCP Fast Open what a client says in its first packet counts at its end too. The server's end is not looked at: where it reads that before the
// handshake has ended, which it often does, it is taken for older than the probe, and the first request is missing there (docs/guide/protocols.md).
// Where the server's first packets are lost, nothing is counted that was not said; in one of some sixty runs something was missing, which is not explained.
func TestFastOpen(t *testing.T) {
	for _, hook := range []string{HookSocket, HookSyscall, HookSyscallOld} {
		for name, sends := range map[string][]sendFast{
			"in the call":       slices.Repeat([]sendFast{inCall}, 20),
			"after connect":     slices.Repeat([]sendFast{afterConnect}, 20),
			"before the answer": {inCall, beforeAnswer, beforeAnswer},
		} {
			t.Run(hook+"/"+name, func(t *testing.T) { testFastOpen(t, hook, sends, name != "before the answer") })
		}
	}
}

func testFastOpen(t *testing.T, hook string, sends []sendFast, exact bool) {
	ns := newNetNS(t)
	snapshots := watch(t, Options{Hook: hook})
	addr := serveFastOpen(t, ns)
	to := &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}
	early := 0
	var err error
	ns.run(func() {
		for _, send := range sends {
			var withSYN bool
			if withSYN, err = send.ask(to); err != nil {
				return
			}
			if withSYN {
				early++
			}
		}
	})
	if err != nil || early != len(sends)-1 { // the first has no cookie
		t.Fatalf("%d of %d connections had data in the SYN: %v", early, len(sends), err)
	}
	opened := uint64(len(sends))
	want := fastOpened{opened, 2 * opened, 2 * opened * uint64(len(fastOpenRequest)), 2 * opened * uint64(len(fastOpenAnswer))}
	var got fastOpened
	t.Cleanup(func() { t.Logf("counted %+v", got) })
	readings := 0
	until(t, snapshots, fmt.Sprintf("%+v", want), func(s Snapshot) bool {
		for _, d := range s.Pairs {
			if d.Key.Role == RoleClient && d.Key.Remote == addr {
				got.opened, got.sent, got.received = got.opened+d.Opened, got.sent+d.BytesSent, got.received+d.BytesReceived
			}
		}
		for _, d := range s.Requests {
			if d.Pair.Role == RoleClient && d.Pair.Remote == addr {
				got.requests += d.Count
			}
		}
		readings++
		return got == want || !exact && readings > 10 && got.within(want)
	})
}

// serveFastOpen starts a server in a namespace that takes what comes with a SYN.
func serveFastOpen(t *testing.T, ns netns) netip.AddrPort {
	t.Helper()
	ns.shell(t, "cd /proc/sys/net/ipv4; echo 3 > tcp_fastopen; echo 0 > tcp_fastopen_blackhole_timeout_sec") // packets that are lost do not end it
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
