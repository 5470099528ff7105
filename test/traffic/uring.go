package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/test/conversation"
)

// Numbers of io_uring's interface, include/uapi/linux/io_uring.h.
const (
	sysUringSetup = 425
	sysUringEnter = 426
	opSend        = 26
	opRecv        = 27
	getEvents     = 1
	offsetSQRing  = 0
	offsetCQRing  = 0x8000000
	offsetSQEs    = 0x10000000
	ringEntries   = 4
)

type uringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq, cq                                                                 [10]uint32 // offsets into the rings
}

type submission struct {
	op, flags byte
	ioprio    uint16
	fd        int32
	offset    uint64
	address   uint64
	length    uint32
	opFlags   uint32
	userData  uint64
	_         [3]uint64
}

type completion struct {
	userData uint64
	result   int32
	flags    uint32
}

// uring is a ring that has one operation under way at most.
type uring struct {
	fd             int
	sq, cq, sqes   []byte
	sqTail         *uint32
	cqHead, cqTail *uint32
	sqArray        *uint32
	first          *submission
	completions    unsafe.Pointer
	cqMask         uint32
}

func newUring() (*uring, error) {
	var p uringParams
	fd, _, errno := unix.Syscall(sysUringSetup, ringEntries, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("set up io_uring: %w", errno)
	}
	u := &uring{fd: int(fd)}
	var err error
	if u.sq, err = unix.Mmap(u.fd, offsetSQRing, int(p.sq[6]+p.sqEntries*4), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return nil, fmt.Errorf("map the submissions: %w", err)
	}
	if u.cq, err = unix.Mmap(u.fd, offsetCQRing, int(p.cq[5]+p.cqEntries*16), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return nil, fmt.Errorf("map the completions: %w", err)
	}
	if u.sqes, err = unix.Mmap(u.fd, offsetSQEs, int(p.sqEntries)*64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return nil, fmt.Errorf("map the entries: %w", err)
	}
	u.sqTail = (*uint32)(unsafe.Pointer(&u.sq[p.sq[1]]))
	u.sqArray = (*uint32)(unsafe.Pointer(&u.sq[p.sq[6]]))
	u.cqHead = (*uint32)(unsafe.Pointer(&u.cq[p.cq[0]]))
	u.cqTail = (*uint32)(unsafe.Pointer(&u.cq[p.cq[1]]))
	u.cqMask = *(*uint32)(unsafe.Pointer(&u.cq[p.cq[2]]))
	u.completions = unsafe.Pointer(&u.cq[p.cq[5]])
	u.first = (*submission)(unsafe.Pointer(&u.sqes[0]))
	return u, nil
}

func (u *uring) close() {
	for _, m := range [][]byte{u.sq, u.cq, u.sqes} {
		unix.Munmap(m)
	}
	unix.Close(u.fd)
}

// do runs one operation on a socket to its end and returns its result.
func (u *uring) do(op byte, socket int, p []byte) (int, error) {
	var pin runtime.Pinner
	pin.Pin(&p[0])
	defer pin.Unpin()
	tail := atomic.LoadUint32(u.sqTail)
	slot := tail % ringEntries
	*(*submission)(unsafe.Add(unsafe.Pointer(u.first), slot*64)) = submission{op: op, fd: int32(socket), address: uint64(uintptr(unsafe.Pointer(&p[0]))), length: uint32(len(p))}
	*(*uint32)(unsafe.Add(unsafe.Pointer(u.sqArray), slot*4)) = slot
	atomic.StoreUint32(u.sqTail, tail+1)
	head := atomic.LoadUint32(u.cqHead)
	for submit := uintptr(1); atomic.LoadUint32(u.cqTail) == head; { // a signal may end the wait early
		n, _, errno := unix.Syscall6(sysUringEnter, uintptr(u.fd), submit, 1, getEvents, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return 0, fmt.Errorf("enter io_uring: %w", errno)
		}
		if errno == 0 && n > 0 {
			submit = 0
		}
	}
	c := *(*completion)(unsafe.Add(u.completions, (head&u.cqMask)*16))
	atomic.StoreUint32(u.cqHead, head+1)
	if c.result < 0 {
		return 0, unix.Errno(-c.result)
	}
	return int(c.result), nil
}

// askUring sends requests one after the other through io_uring. Every answer ends with its first line end after the headers.
func askUring(s settings, tally *conversation.Tally, _ *gate) error {
	dialed, err := net.Dial("tcp", s.address)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer dialed.Close()
	tally.Opened()
	file, err := dialed.(*net.TCPConn).File() // blocking from here on
	if err != nil {
		return fmt.Errorf("take the socket: %w", err)
	}
	defer file.Close()
	ring, err := newUring()
	if err != nil {
		return err
	}
	defer ring.close()
	buf := make([]byte, 64<<10)
	for i := range s.requests {
		t := s.targets[i%len(s.targets)]
		request := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", t.method, t.path, s.address)
		if err := ring.exchange(int(file.Fd()), request, buf, tally); err != nil {
			return err
		}
		tally.Request(t.method, pathOf(t.path), 200, 1)
	}
	return nil
}

func (u *uring) exchange(socket int, request, buf []byte, tally *conversation.Tally) error {
	for rest := request; len(rest) > 0; {
		n, err := u.do(opSend, socket, rest)
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		tally.Moved(int64(n), 0)
		rest = rest[n:]
	}
	var got []byte
	for {
		n, err := u.do(opRecv, socket, buf)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		tally.Moved(0, int64(n))
		got = append(got, buf[:n]...)
		if _, body, found := bytes.Cut(got, []byte("\r\n\r\n")); found && bytes.HasSuffix(body, []byte("\n")) {
			return nil
		}
	}
}
