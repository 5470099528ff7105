package tracer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/vetch-dev/vetch/agent/probe"
)

const (
	maxFile      = 64 << 10 // bytes read of a file of one process
	maxSockets   = 2 << 20  // bytes read of a list of sockets: those that listen come first
	maxListening = 16_384   // of one network namespace
)

// procfs reads what /proc tells of processes.
type procfs struct{ root string }

func (p procfs) path(pid uint32, name string) string {
	return filepath.Join(p.root, strconv.FormatUint(uint64(pid), 10), name)
}

func (p procfs) read(pid uint32, name string) ([]byte, error) {
	f, err := os.Open(p.path(pid, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// life tells the processes apart that had one pid: by when they began, and what they run.
func (p procfs) life(pid uint32) (life string, exe string, err error) {
	stat, err := p.read(pid, "stat")
	if err != nil {
		return "", "", err
	}
	// proc_pid_stat(5): the name is in brackets and may hold any; field 22 is the time of the start
	_, rest, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest)
	const start = 22 - 3
	if len(fields) <= start {
		return "", "", fmt.Errorf("read when process %d began: no such field", pid)
	}
	if link, err := os.Readlink(p.path(pid, "exe")); err == nil {
		exe = filepath.Base(strings.TrimSuffix(link, " (deleted)"))
	}
	return string(fields[start]) + " " + exe, exe, nil
}

// owner reads who a process is. An executable that cannot be read goes by the name of the process.
func (p procfs) owner(pid uint32, exe string) (probe.Owner, error) {
	o := probe.Owner{PID: pid, Exe: exe}
	comm, err := p.read(pid, "comm")
	if err != nil {
		return o, err
	}
	o.Comm = strings.TrimSpace(string(comm))
	if o.Exe == "" {
		o.Exe = o.Comm
	}
	if o.NetNS, err = p.netns(pid); err != nil {
		return o, err
	}
	text, err := p.read(pid, "cgroup")
	if err != nil {
		return o, err
	}
	for line := range strings.Lines(string(text)) { // ID:CONTROLLERS:PATH
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(part) != 3 {
			continue
		}
		switch {
		case part[1] == "":
			o.PathV2 = part[2]
		case strings.Contains(","+part[1]+",", ",memory,"):
			o.PathV1 = part[2]
		}
	}
	h := fnv.New64a()
	for _, part := range []string{o.Exe, o.Comm, o.PathV1, o.PathV2, strconv.FormatUint(uint64(o.NetNS), 10)} {
		_, _ = h.Write([]byte(part)) // never fails
		_, _ = h.Write([]byte{0})
	}
	o.ID = probe.OwnerID(max(h.Sum64(), 1)) // 0 is nobody
	return o, nil
}

// netns gives the inode of a process's network namespace.
func (p procfs) netns(pid uint32) (uint32, error) {
	info, err := os.Stat(p.path(pid, "ns/net"))
	if err != nil {
		return 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, os.ErrInvalid
	}
	return uint32(stat.Ino), nil
}

// listening lists the TCP sockets that listen in the network namespace of a process.
func (p procfs) listening(pid uint32) (map[netip.AddrPort]bool, error) {
	out := make(map[netip.AddrPort]bool)
	for _, name := range []string{"net/tcp", "net/tcp6"} {
		f, err := os.Open(p.path(pid, name))
		if err != nil {
			if name == "net/tcp6" && os.IsNotExist(err) {
				continue // without IPv6
			}
			return nil, err
		}
		err = listeners(io.LimitReader(f, maxSockets), out)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s of process %d: %w", name, pid, err)
		}
	}
	return out, nil
}

// listeners reads the lines of /proc/net/tcp: "N: ADDRESS:PORT REMOTE:PORT STATE ...", with the address in words of the machine and state 0A for those that listen.
func listeners(r io.Reader, out map[netip.AddrPort]bool) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) < 4 || string(fields[3]) != "0A" || len(out) >= maxListening {
			continue
		}
		if addr, ok := parseSocket(fields[1]); ok {
			out[addr] = true
		}
	}
	return lines.Err()
}

func parseSocket(text []byte) (netip.AddrPort, bool) {
	words, digits, ok := bytes.Cut(text, []byte(":"))
	port, err := strconv.ParseUint(string(digits), 16, 16)
	if !ok || err != nil || len(words) != 8 && len(words) != 32 {
		return netip.AddrPort{}, false
	}
	raw, err := hex.DecodeString(string(words))
	if err != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), ok
}

// serves reports whether somebody listens for an address, by itself or for all.
func serves(listening map[netip.AddrPort]bool, addr netip.AddrPort) (netip.AddrPort, bool) {
	candidates := [...]netip.AddrPort{addr, netip.AddrPortFrom(netip.IPv6Unspecified(), addr.Port()), netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port())}
	n := len(candidates)
	if addr.Addr().Is6() {
		n--
	}
	for _, c := range candidates[:n] {
		if listening[c] {
			return c, true
		}
	}
	return netip.AddrPort{}, false
}
