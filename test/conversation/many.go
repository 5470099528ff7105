package conversation

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// message is struct mmsghdr of the kernel.
type message struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// sendTo sends p with sendto, which x/sys only offers with an address.
func sendTo(fd int, p []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sendMany sends each piece as a message of its own in one sendmmsg.
func sendMany(fd int, pieces [][]byte) (int, error) {
	messages := make([]message, len(pieces))
	vectors := make([]unix.Iovec, len(pieces))
	for i, p := range pieces {
		vectors[i].Base = &p[0]
		vectors[i].SetLen(len(p))
		messages[i].header.Iov = &vectors[i]
		messages[i].header.SetIovlen(1)
	}
	count, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	sent := 0
	for i := range int(count) {
		sent += int(messages[i].length)
		if int(messages[i].length) < len(pieces[i]) {
			break
		}
	}
	return sent, nil
}

// receiveMany reads one message with recvmmsg.
func receiveMany(fd int, p []byte) (int, error) {
	vector := unix.Iovec{Base: &p[0]}
	vector.SetLen(len(p))
	var m message
	m.header.Iov = &vector
	m.header.SetIovlen(1)
	_, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), 1, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(m.length), nil
}
