package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// maxAsked bounds the processes that taskstats is asked about in one reading.
const maxAsked = 8192

// delays are how long the threads of a process, those that have ended too, waited for something while they could have run, in nanoseconds.
type delays struct {
	cpu  uint64 // a processor
	disk uint64 // a disk; the kernel counts it where kernel.task_delayacct is set
}

// taskstats asks the kernel for delays (Documentation/accounting/taskstats.rst). That needs CAP_NET_ADMIN, and CONFIG_TASKSTATS and
// CONFIG_TASK_DELAY_ACCT, which the kernels of distributions have.
type taskstats struct {
	family   uint16
	fd       int
	sequence uint32
	asked    int // since open
	request  []byte
	answer   []byte
}

var errMalformed = errors.New("malformed answer of taskstats")

// findTaskstats fails where the kernel has no taskstats.
func findTaskstats() (*taskstats, error) {
	family, err := netlink.GenlFamilyGet(unix.TASKSTATS_GENL_NAME)
	if err != nil {
		return nil, fmt.Errorf("look for taskstats: %w", err)
	}
	return &taskstats{family: family.ID, fd: -1, answer: make([]byte, 4096)}, nil
}

// open begins a reading, and close ends it.
func (t *taskstats) open() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return fmt.Errorf("open taskstats: %w", err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("open taskstats: %w", err)
	}
	t.fd, t.asked = fd, 0
	return nil
}

func (t *taskstats) close() {
	if t.fd >= 0 {
		_ = unix.Close(t.fd)
		t.fd = -1
	}
}

// of asks for a process. One that is gone is unix.ESRCH.
func (t *taskstats) of(pid uint32) (delays, error) {
	t.asked++
	t.sequence++
	native := binary.NativeEndian
	b := t.request[:0]
	b = native.AppendUint32(b, 28) // of the three headers and the one attribute
	b = native.AppendUint16(b, t.family)
	b = native.AppendUint16(b, unix.NLM_F_REQUEST)
	b = native.AppendUint32(b, t.sequence)
	b = native.AppendUint32(b, 0)
	b = append(b, unix.TASKSTATS_CMD_GET, unix.TASKSTATS_GENL_VERSION, 0, 0)
	b = native.AppendUint16(b, 8)
	b = native.AppendUint16(b, unix.TASKSTATS_CMD_ATTR_TGID)
	b = native.AppendUint32(b, pid)
	t.request = b
	if err := unix.Sendto(t.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return delays{}, fmt.Errorf("ask taskstats: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(t.fd, t.answer, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return delays{}, fmt.Errorf("hear from taskstats: %w", err)
		case n >= unix.SizeofNlMsghdr && native.Uint32(t.answer[8:]) != t.sequence:
			continue // the answer to a question that was given up
		}
		return parseTaskstats(t.answer[:n])
	}
}

// parseTaskstats reads an answer: an error of netlink, or TASKSTATS_TYPE_STATS within TASKSTATS_TYPE_AGGR_TGID. Newer kernels tell more at the end of it.
func parseTaskstats(b []byte) (delays, error) {
	const headers = unix.SizeofNlMsghdr + 4 // of netlink and of generic netlink
	native := binary.NativeEndian
	if len(b) < headers {
		return delays{}, errMalformed
	}
	if native.Uint16(b[4:]) == unix.NLMSG_ERROR {
		return delays{}, fmt.Errorf("ask taskstats: %w", unix.Errno(-int32(native.Uint32(b[unix.SizeofNlMsghdr:]))))
	}
	stats := attribute(attribute(b[headers:], unix.TASKSTATS_TYPE_AGGR_TGID), unix.TASKSTATS_TYPE_STATS)
	const cpu, disk = unsafe.Offsetof(unix.Taskstats{}.Cpu_delay_total), unsafe.Offsetof(unix.Taskstats{}.Blkio_delay_total)
	if len(stats) < int(disk)+8 {
		return delays{}, errMalformed
	}
	return delays{cpu: native.Uint64(stats[cpu:]), disk: native.Uint64(stats[disk:])}, nil
}

// attribute finds one of netlink's attributes; nil where there is none.
func attribute(b []byte, kind uint16) []byte {
	for len(b) >= unix.SizeofNlAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofNlAttr || n > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:])&nl.NLA_TYPE_MASK == kind {
			return b[unix.SizeofNlAttr:n]
		}
		b = b[min(len(b), (n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
	}
	return nil
}

// openDelays begins to ask for delays, where the kernel has them.
func (m *Meter) openDelays() {
	m.delays = false
	if m.tasks == nil || m.options.Now().Before(m.tasksLater) {
		return
	}
	if err := m.tasks.open(); err != nil {
		m.noDelays(err)
		return
	}
	m.delays = true
	setting, ok := m.number(m.proc, "sys/kernel/task_delayacct")
	m.diskDelays = m.diskDelays || ok && setting != 0 // before Linux 5.14 there is no such file, and nobody can tell whether it counts
}

// delaysOf asks for the delays of a process; ok is false where they are not known.
func (m *Meter) delaysOf(pid uint32) (d delays, ok bool) {
	if !m.delays {
		return d, false
	}
	if m.tasks.asked >= maxAsked {
		m.dropped[dropDelays]++
		return d, false
	}
	d, err := m.tasks.of(pid)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		m.noDelays(err)
	}
	return d, err == nil
}

// noDelays leaves taskstats alone for a while.
func (m *Meter) noDelays(err error) {
	m.delays = false
	m.tasks.close()
	m.tasksLater = m.options.Now().Add(10 * time.Minute)
	m.failed++
	m.log.Warn("how long processes wait for processors and disks is not known", "err", err)
}
