package conversation

import (
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// SendCalls are the system calls that a script can write with.
func SendCalls() []string {
	return []string{"write", "writev", "sendto", "sendmsg", "sendmmsg"}
}

// ReadCalls are the system calls that a script can read with. "peek" looks at the bytes with MSG_PEEK before it reads them.
func ReadCalls() []string {
	return []string{"read", "readv", "recvfrom", "recvmsg", "recvmmsg", "peek"}
}

// send writes at least one byte of p with the system call named.
func send(conn *net.TCPConn, call string, p []byte) (int, error) {
	if call == "" || call == "write" {
		return conn.Write(p)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var n int
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		n, failed = sendWith(int(fd), call, p)
		return failed != unix.EAGAIN
	})
	if err == nil {
		err = failed
	}
	return max(n, 0), err
}

func sendWith(fd int, call string, p []byte) (int, error) {
	switch call {
	case "writev":
		return unix.Writev(fd, pieces(p))
	case "sendto":
		return sendTo(fd, p)
	case "sendmsg":
		return unix.SendmsgBuffers(fd, pieces(p), nil, nil, 0)
	case "sendmmsg":
		return sendMany(fd, pieces(p))
	}
	return 0, fmt.Errorf("no such call to send with: %s", call)
}

// pieces cuts p into a first piece of one byte, a second of two thirds and the rest, so that a request line spans several vectors.
func pieces(p []byte) [][]byte {
	if len(p) < 4 {
		return [][]byte{p}
	}
	at := 1 + (len(p)-1)*2/3
	return [][]byte{p[:1], p[1:at], p[at:]}
}

// receive reads at least one byte into p with the system call named, and returns io.EOF at the end.
func receive(conn *net.TCPConn, call string, p []byte) (int, error) {
	if call == "" || call == "read" {
		return conn.Read(p)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, failed = receiveWith(int(fd), call, p)
		return failed != unix.EAGAIN
	})
	if err == nil {
		err = failed
	}
	if err == nil && n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

func receiveWith(fd int, call string, p []byte) (int, error) {
	switch call {
	case "readv":
		return unix.Readv(fd, pieces(p))
	case "recvfrom":
		n, _, err := unix.Recvfrom(fd, p, 0)
		return n, err
	case "recvmsg":
		n, _, _, _, err := unix.RecvmsgBuffers(fd, pieces(p), nil, 0)
		return n, err
	case "recvmmsg":
		return receiveMany(fd, p)
	case "peek":
		if n, _, err := unix.Recvfrom(fd, p, unix.MSG_PEEK); err != nil || n == 0 {
			return n, err
		}
		return unix.Read(fd, p)
	}
	return 0, fmt.Errorf("no such call to read with: %s", call)
}
