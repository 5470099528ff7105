package tls

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping says that a process has mapped a file, or a part of it, to run what is in it: as it begins, when its libraries are loaded, and by dlopen.
type mapping struct {
	pid  uint32
	file mappedFile
	at   uint64 // nanoseconds of CLOCK_MONOTONIC; 0 where it is not known, for it was found in a list
}

// mappedFile is a file as the kernel names it in lists of mappings.
type mappedFile struct {
	major, minor uint32
	inode        uint64
	generation   uint64 // of the inode, where it is known
	path         string // as the process sees it
}

// mappings hears of mappings as they are made, from a ring for each CPU that perf_event_open(2) fills; the kernel does nothing for it at other times.
type mappings struct {
	rings []*mapRing
	wake  int           // eventfd that ends read
	lost  atomic.Uint64 // mappings that no ring had room for
}

type mapRing struct {
	fd   int
	mem  []byte
	size uint64 // of the data
}

const (
	ringPages = 16                     // of data: some hundred mappings for each CPU
	gather    = 500 * time.Microsecond // what comes within this is read together, so that many new processes do not wake the reader for each
)

// openMappings begins to listen. What is mapped from now on will come out of read.
func openMappings() (*mappings, error) {
	cpus, err := onlineCPUs()
	if err != nil {
		return nil, err
	}
	m := &mappings{wake: -1}
	for _, cpu := range cpus {
		ring, err := openMapRing(cpu)
		if err != nil {
			m.close()
			return nil, fmt.Errorf("listen to mappings on CPU %d: %w", cpu, err)
		}
		m.rings = append(m.rings, ring)
	}
	if m.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		m.close()
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	return m, nil
}

func openMapRing(cpu int) (*mapRing, error) {
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_DUMMY, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Bits: unix.PerfBitMmap | unix.PerfBitMmap2 | unix.PerfBitWatermark | unix.PerfBitSampleIDAll | unix.PerfBitUseClockID, Wakeup: 1,
		Sample_type: unix.PERF_SAMPLE_TIME, Clockid: unix.CLOCK_MONOTONIC,
	}
	fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	page := os.Getpagesize()
	mem, err := unix.Mmap(fd, 0, (1+ringPages)*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &mapRing{fd: fd, mem: mem, size: uint64(ringPages * page)}, nil
}

// onlineCPUs reads a list such as "0-3,8".
func onlineCPUs() ([]int, error) {
	text, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return nil, err
	}
	return parseCPUs(strings.TrimSpace(string(text)))
}

func parseCPUs(list string) (cpus []int, err error) {
	for part := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(part, "-")
		first, err := strconv.ParseUint(from, 10, 12)
		if err != nil {
			return nil, fmt.Errorf("list of CPUs %q: %w", list, err)
		}
		last := first
		if ranged {
			if last, err = strconv.ParseUint(to, 10, 12); err != nil {
				return nil, fmt.Errorf("list of CPUs %q: %w", list, err)
			}
		}
		for cpu := first; cpu <= last; cpu++ {
			cpus = append(cpus, int(cpu))
		}
	}
	return cpus, nil
}

// read gives mappings to take until ctx ends. It holds a thread.
func (m *mappings) read(ctx context.Context, take func(mapping)) error {
	stop := context.AfterFunc(ctx, func() {
		unix.Write(m.wake, binary.NativeEndian.AppendUint64(nil, 1)) //nolint:errcheck // it is open and has room
	})
	defer stop()
	fds := []unix.PollFd{{Fd: int32(m.wake), Events: unix.POLLIN}}
	for _, r := range m.rings {
		fds = append(fds, unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN})
	}
	for ctx.Err() == nil {
		for _, r := range m.rings {
			m.lost.Add(r.drain(take))
		}
		time.Sleep(gather)
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for mappings: %w", err)
		}
		for i := range fds[1:] {
			if fds[1+i].Revents&unix.POLLHUP != 0 { // the CPU is gone
				fds[1+i].Fd = -1
			}
		}
	}
	return nil
}

func (m *mappings) close() {
	for _, r := range m.rings {
		unix.Munmap(r.mem) //nolint:errcheck // nothing is left to do about it
		unix.Close(r.fd)
	}
	if m.wake >= 0 {
		unix.Close(m.wake)
	}
	m.rings, m.wake = nil, -1
}

// Offsets in struct perf_event_mmap_page, and record types, of linux/perf_event.h.
const (
	ringHead   = 1024
	ringTail   = 1032
	recordLost = 2
	recordMmap = 10 // PERF_RECORD_MMAP2
)

// drain gives what is in the ring to take, and returns how many records the kernel had to drop.
func (r *mapRing) drain(take func(mapping)) (lost uint64) {
	head := (*uint64)(unsafe.Pointer(&r.mem[ringHead]))
	tail := (*uint64)(unsafe.Pointer(&r.mem[ringTail]))
	data := r.mem[uint64(len(r.mem))-r.size:]
	end, at := atomic.LoadUint64(head), atomic.LoadUint64(tail)
	var buf []byte
	for end-at >= 8 {
		size := uint64(binary.NativeEndian.Uint16(data[(at+6)%r.size:]))
		if size < 8 || size%8 != 0 || size > end-at { // the kernel writes no such record: what follows cannot be told apart
			lost++
			break
		}
		buf = buf[:0]
		for i := at; i < at+size; { // it may go round the end
			piece := min(at+size-i, r.size-i%r.size)
			buf = append(buf, data[i%r.size:][:piece]...)
			i += piece
		}
		at += size
		switch binary.NativeEndian.Uint32(buf) {
		case recordLost: // head, id, number
			if len(buf) >= 24 {
				lost += binary.NativeEndian.Uint64(buf[16:])
			}
		case recordMmap:
			if m, ok := decodeMapping(buf); ok {
				take(m)
			}
		}
	}
	atomic.StoreUint64(tail, end)
	return lost
}

// decodeMapping reads a PERF_RECORD_MMAP2 with its head: pid, tid, address, length, offset, device, inode, generation, protection, flags, path; and at its end the time.
func decodeMapping(b []byte) (mapping, bool) {
	const path, tail = 72, 8
	if len(b) <= path+tail {
		return mapping{}, false
	}
	if binary.NativeEndian.Uint32(b[64:])&unix.PROT_EXEC == 0 {
		return mapping{}, false
	}
	end := len(b) - tail
	name, _, _ := strings.Cut(string(b[path:end]), "\x00")
	m := mapping{pid: binary.NativeEndian.Uint32(b[8:]), at: binary.NativeEndian.Uint64(b[end:]), file: mappedFile{
		major: binary.NativeEndian.Uint32(b[40:]), minor: binary.NativeEndian.Uint32(b[44:]),
		inode: binary.NativeEndian.Uint64(b[48:]), generation: binary.NativeEndian.Uint64(b[56:]), path: name,
	}}
	return m, isFilePath(name)
}

// isFilePath tells files from "[vdso]", "//anon" and "/memfd:name (deleted)".
func isFilePath(path string) bool {
	return strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") && !strings.HasPrefix(path, "/memfd:")
}
