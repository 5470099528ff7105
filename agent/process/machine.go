package process

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is what tells this machine from others.
type Machine struct {
	Hostname   string
	ID         string // machine-id without dashes; "" where the machine has none
	SystemUUID string // of the firmware, else of the boot medium of a cloud; "" where it cannot be read
	Kernel     string // "6.18.5"
	proc       string
}

// ReadMachine reads the machine's names below root ("/" unless the host's files are mounted elsewhere). What is missing stays empty.
func ReadMachine(root, hostname string) Machine {
	m := Machine{Hostname: hostname, proc: filepath.Join(root, "proc")}
	if m.Hostname == "" {
		m.Hostname, _ = os.Hostname()
	}
	for _, name := range []string{"etc/machine-id", "var/lib/dbus/machine-id"} {
		if m.ID = firstLine(filepath.Join(root, name)); m.ID != "" {
			break
		}
	}
	m.ID = strings.ReplaceAll(m.ID, "-", "")
	m.SystemUUID = strings.ToLower(firstLine(filepath.Join(root, "sys/class/dmi/id/product_uuid")))
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	return m
}

// Uptime is the time since boot; zero where /proc cannot be read.
func (m Machine) Uptime() time.Duration {
	text, _, _ := strings.Cut(firstLine(filepath.Join(m.proc, "uptime")), " ")
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

func firstLine(path string) string {
	text, err := readBounded(path, 4096)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}
