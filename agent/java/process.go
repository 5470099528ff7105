package java

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxMaps    = 8 << 20 // bytes read of a JVM's list of mappings
	maxCommand = 128 << 10
	maxStatus  = 16 << 10
	maxCopies  = 16
	maxThreads = 4096
)

// process is what /proc tells of a JVM.
type process struct {
	proc     string
	pid      uint32
	inner    uint32 // the pid as the process knows it itself
	started  uint64
	uid, gid uint32 // effective
	quits    bool   // it has a handler for SIGQUIT, without which the signal ends it
	exe      string
	program  string   // main class, or the jar's name
	command  string   // line and environment, to look for options in
	launched bool     // by the JDK\'s launcher, which leaves signals to the JVM
	libjvm   string   // the path of libjvm.so as the process sees it
	copies   []mapped // of our library, some of which may not have done their work
	loaded   string   // "START-END" of the code of the one that has, "" where there is none
}

// mapped is one copy of our library in a process.
type mapped struct {
	name           string
	code           string // "START-END"
	data, dataFrom uint64 // where what can be written begins in memory, and in the file
}

func (p *process) path(name string) string { return procPath(p.proc, p.pid, name) }

func procPath(proc string, pid uint32, name string) string {
	return filepath.Join(proc, strconv.FormatUint(uint64(pid), 10), name)
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// readBounded reads the begin of a file.
func readBounded(name string, limit int64) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit))
	return string(b), err
}

// startTime is when a process began, in ticks after the machine did: field 22 of proc_pid_stat(5).
func startTime(proc string, pid uint32) (uint64, error) {
	text, err := readBounded(procPath(proc, pid, "stat"), 4<<10)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGone, err)
	}
	_, rest, _ := strings.Cut(text[strings.LastIndexByte(text, ')')+1:], " ") // the name before may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return 0, fmt.Errorf("%w: its stat is cut", errGone)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// inspect reads what /proc tells of a process.
func inspect(proc string, pid uint32) (*process, error) {
	p := &process{proc: proc, pid: pid, inner: pid}
	var err error
	if p.started, err = startTime(proc, pid); err != nil {
		return nil, err
	}
	status, err := readBounded(p.path("status"), maxStatus)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	p.readStatus(status)
	command, err := readBounded(p.path("cmdline"), maxCommand)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	p.program = programOf(strings.Split(strings.TrimSuffix(command, "\x00"), "\x00"))
	environment, _ := readBounded(p.path("environ"), maxCommand) // its options may come from there, or not
	p.command = command + "\x00" + environment
	if exe, err := os.Readlink(p.path("exe")); err == nil {
		p.exe = strings.TrimSuffix(exe, " (deleted)")
	}
	maps, err := readBounded(p.path("maps"), maxMaps)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	p.readMaps(maps)
	return p, nil
}

// readStatus reads proc_pid_status(5).
func (p *process) readStatus(text string) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		number := func(i, base int) uint64 {
			if i < 0 || i >= len(fields) {
				return 0
			}
			n, _ := strconv.ParseUint(fields[i], base, 64) // the kernel wrote it
			return n
		}
		switch name {
		case "Uid":
			p.uid = uint32(number(1, 10))
		case "Gid":
			p.gid = uint32(number(1, 10))
		case "NSpid":
			p.inner = uint32(number(len(fields)-1, 10))
		case "SigCgt":
			p.quits = number(0, 16)&(1<<(unix.SIGQUIT-1)) != 0
		}
	}
}

// readMaps looks for libjvm.so and for our own library.
func (p *process) readMaps(text string) {
	for line := range strings.Lines(text) {
		at := strings.IndexByte(line, '/')
		if at < 0 {
			continue
		}
		fields := strings.Fields(line[:at])
		if len(fields) != 5 || len(fields[1]) != 4 {
			continue
		}
		name := strings.TrimSuffix(strings.TrimSuffix(line[at:], "\n"), " (deleted)")
		code := fields[1][2] == 'x'
		switch {
		case path.Base(name) == "libjvm.so" && code:
			p.libjvm = name
		case path.Base(name) == "libjli.so":
			p.launched = true
		case path.Base(name) == libraryName && strings.HasPrefix(path.Base(path.Dir(name)), folderPrefix):
			p.addCopy(name, fields, code)
		}
	}
}

// addCopy notes a part of a library: its code, or the data that can be written, in which the counter stands.
func (p *process) addCopy(name string, fields []string, code bool) {
	i := slices.IndexFunc(p.copies, func(m mapped) bool { return m.name == name })
	if i < 0 {
		if len(p.copies) >= maxCopies {
			return
		}
		i = len(p.copies)
		p.copies = append(p.copies, mapped{name: name})
	}
	begin, _, _ := strings.Cut(fields[0], "-")
	start, errA := strconv.ParseUint(begin, 16, 64)
	from, errB := strconv.ParseUint(fields[2], 16, 64)
	switch {
	case code:
		p.copies[i].code = fields[0]
	case errA == nil && errB == nil && strings.HasPrefix(fields[1], "rw"):
		p.copies[i].data, p.copies[i].dataFrom = start, from
	}
}

// optionsWithValue are those of java(1) whose value is an argument of its own.
var optionsWithValue = []string{"-cp", "-classpath", "--class-path", "-p", "--module-path", "--upgrade-module-path", "--add-modules", "--enable-native-access",
	"--add-reads", "--add-exports", "--add-opens", "--limit-modules", "--patch-module", "--source", "-d", "--describe-module"}

// programOf finds the main class, the module or the jar in a command line; "" where java does not run one.
func programOf(args []string) string {
	for i := 1; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "-jar" || arg == "-m" || arg == "--module":
			if i+1 < len(args) {
				return path.Base(args[i+1])
			}
		case slices.Contains(optionsWithValue, arg):
			i++
		case arg != "" && arg[0] != '-' && arg[0] != '@':
			return path.Base(arg)
		}
	}
	return ""
}

// isChosen reports whether one of the globs names the process.
func (p *process) isChosen(globs []string, workload string) bool {
	for _, glob := range globs {
		if glob == All {
			return true
		}
		for _, name := range []string{workload, p.program, path.Base(p.exe)} {
			if ok, err := path.Match(glob, name); ok && err == nil && name != "" && name != "." {
				return true
			}
		}
	}
	return false
}

// findLoaded looks for a copy of the library that has done its work. It must be the same as ours.
func (p *process) findLoaded() error {
	points, err := library.points()
	if err != nil {
		return err
	}
	counter := points[len(points)-1].Counter
	for _, m := range p.copies {
		have, err := readCopy(p.path("map_files/" + m.code))
		if err != nil || !bytes.Equal(have, library) {
			return errors.Join(errVersion, err)
		}
		done, err := p.readMemory(m.data + counter - m.dataFrom + 2)
		if err == nil && done == 1 {
			p.loaded = m.code
			return nil
		}
	}
	return nil
}

func readCopy(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(len(library))+1))
}

// readMemory reads 16 bits of the process's memory.
func (p *process) readMemory(address uint64) (uint16, error) {
	f, err := os.Open(p.path("mem"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var b [2]byte
	if _, err := f.ReadAt(b[:], int64(address)); err != nil { //nolint:gosec // an address of user memory
		return 0, err
	}
	return binary.NativeEndian.Uint16(b[:]), nil
}
