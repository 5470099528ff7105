package host

import (
	"strings"

	"golang.org/x/sys/unix"
)

// maxFile bounds what is read of one file of the kernel's.
const maxFile = 256 << 10

// file reads a file of a cgroup or of /proc, as a whole if it is not longer than that.
func (m *Meter) file(dir, name string) (string, bool) {
	fd, err := unix.Open(dir+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	if m.buffer == nil {
		m.buffer = make([]byte, 16<<10)
	}
	n := 0
	for {
		if n == len(m.buffer) {
			if n >= maxFile {
				return string(m.buffer[:n]), true
			}
			m.buffer = append(m.buffer, make([]byte, len(m.buffer))...)
		}
		got, err := unix.Read(fd, m.buffer[n:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "", false
		case got == 0:
			return string(m.buffer[:n]), true
		default:
			n += got
		}
	}
}

func (m *Meter) text(dir, name string) string {
	text, _ := m.file(dir, name)
	return text
}

func (m *Meter) number(dir, name string) (uint64, bool) {
	text, _ := m.file(dir, name)
	return parseUint(strings.TrimSpace(text))
}
