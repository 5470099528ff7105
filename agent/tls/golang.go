package tls

import (
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"strconv"
	"strings"
)

// Plain text goes through Read and Write. Both take a *Conn and a []byte, in registers since Go 1.17 (amd64) and 1.18 (arm64). The
// handshakes take the *Conn too, and run once before: a connection whose handshake was seen is seen whole.
const (
	goRead   = "crypto/tls.(*Conn).Read"
	goWrite  = "crypto/tls.(*Conn).Write"
	goClient = "crypto/tls.(*Conn).clientHandshake"
	goServer = "crypto/tls.(*Conn).serverHandshake"
)

// The kernel programs for them (bpf/gotls.bpf.c).
const (
	programGoRead      = "go_tls_read"
	programGoReadEnd   = "go_tls_read_end"
	programGoWrite     = "go_tls_write"
	programGoHandshake = "go_tls_handshake"
)

// findGo finds crypto/tls in a Go program, stripped or not, by the table of functions.
func findGo(m *image) (Found, error) {
	if !looksLikeGo(m) {
		return Found{}, ErrNoTLS
	}
	info, err := buildinfo.Read(m.source)
	if err != nil {
		return Found{}, fmt.Errorf("%w: it does not tell its version of Go: %w", ErrNoTLS, err)
	}
	found := Found{Library: Go, Version: info.GoVersion}
	table, err := findGoTable(m)
	if err != nil {
		return found, err
	}
	functions, err := table.find(goRead, goWrite, goClient, goServer)
	if err != nil {
		return found, err
	}
	if _, reads := functions[goRead]; !reads {
		return found, ErrNoTLS
	}
	if goTooOld(m.Machine, info.GoVersion) {
		return found, fmt.Errorf("%w: %s passes arguments on the stack", ErrTooOld, info.GoVersion)
	}
	start, err := table.textStart()
	if err != nil {
		return found, err
	}
	for _, name := range []string{goRead, goWrite, goClient, goServer} { // what ends a call is attached before what begins one
		f, there := functions[name]
		if !there {
			continue // the linker leaves out what is never called: of a program that is only a server, the client's handshake
		}
		places, err := goPlaces(m, start, f)
		if err != nil {
			return found, fmt.Errorf("%s: %w", name, err)
		}
		found.Points = append(found.Points, goPoints(name, places)...)
	}
	return found, nil
}

func goPoints(name string, c goCode) []Point {
	switch name {
	case goWrite:
		return []Point{{Program: programGoWrite, Offset: c.begin}}
	case goClient, goServer:
		return []Point{{Program: programGoHandshake, Offset: c.begin}}
	}
	var points []Point
	for _, off := range c.returns {
		points = append(points, Point{Program: programGoReadEnd, Offset: off})
	}
	return append(points, Point{Program: programGoRead, Offset: c.begin})
}

// looksLikeGo reports whether a file has one of the sections of Go's linker.
func looksLikeGo(m *image) bool {
	for _, s := range m.Sections {
		if s.Name == ".go.buildinfo" || strings.HasSuffix(s.Name, ".gopclntab") {
			return true
		}
	}
	return false
}

// goPlaces reads the code of a function. The places are offsets in the file.
func goPlaces(m *image, start uint64, f goFunction) (goCode, error) {
	if f.end <= f.entry || f.end-f.entry > maxGoCode {
		return goCode{}, fmt.Errorf("%w: it has no proper end", ErrCode)
	}
	entry := start + f.entry
	off, ok := m.fileOffset(entry)
	if !ok || !executable(m, entry) {
		return goCode{}, fmt.Errorf("%w: it is not in the code", ErrCode)
	}
	code, err := m.bytesAt(entry, int(f.end-f.entry))
	if err != nil {
		return goCode{}, err
	}
	c, err := readGoCode(m.Machine, code)
	if err != nil {
		return goCode{}, err
	}
	c.begin += off
	for i := range c.returns {
		c.returns[i] += off
	}
	return c, nil
}

func executable(m *image, addr uint64) bool {
	for _, p := range m.Progs {
		if p.Type == elf.PT_LOAD && addr >= p.Vaddr && addr-p.Vaddr < p.Filesz {
			return p.Flags&elf.PF_X != 0
		}
	}
	return false
}

// goTooOld reports whether a version of Go passes arguments on the stack. What is no release ("devel ...") is taken for new.
func goTooOld(machine elf.Machine, version string) bool {
	rest, ok := strings.CutPrefix(version, "go1.")
	if !ok {
		return strings.HasPrefix(version, "go1")
	}
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	minor, err := strconv.Atoi(digits)
	if err != nil {
		return false
	}
	if machine == elf.EM_AARCH64 {
		return minor < 18
	}
	return minor < 17
}
