package process

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/vetch-dev/vetch/agent/probe"
)

const (
	maxComm    = 15 // how much of a name the kernel keeps as that of a thread
	maxScripts = 8  // arguments among which a script is looked for
	maxCalled  = 512
)

// calledKey is an executable and the name that a process began under, as the kernel's record has them: such processes are one owner.
type calledKey struct{ exe, comm string }

// binDirs are where programs lie that are called without a folder.
var binDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// interpreters are the programs, by the beginning of their names, whose scripts go by names of their own.
var interpreters = []string{"python", "pypy", "node", "ruby", "perl", "php", "lua", "bash", "dash", "sh", "busybox"}

// called is the name that the processes of an owner are called by, where that is another than their executable's: a link to the executable
// (redis-server is redis-check-rdb on Debian, an applet is busybox), or a script that names its interpreter in its first line. The kernel
// gives a process that name when it begins, and tells owners apart by it. "" is none, or one that cannot be verified.
func (p procfs) called(o probe.Owner) string {
	if o.Comm == "" || o.Exe == "" || sameName(o.Exe, o.Comm) || !p.is(o) {
		return ""
	}
	text, err := readBounded(p.path(o.PID, "cmdline"), 4<<10)
	if err != nil {
		return ""
	}
	args := strings.Split(string(text), "\x00")
	if isInterpreter(o.Exe) {
		for _, arg := range args[1:min(len(args), maxScripts)] {
			if name := filepath.Base(arg); sameName(name, o.Comm) {
				return name
			}
		}
	}
	return p.linkOf(o, args[0])
}

// linkOf looks for a link to a process's executable that has the process's name.
func (p procfs) linkOf(o probe.Owner, first string) string {
	exe, err := os.Stat(p.path(o.PID, "exe"))
	if err != nil {
		return ""
	}
	first, _, _ = strings.Cut(strings.TrimPrefix(first, "-"), " ") // of a login shell; of programs that write their state there
	names, dirs := []string{o.Comm}, binDirs
	if name := filepath.Base(first); sameName(name, o.Comm) {
		names = []string{name, o.Comm}
	}
	if target, err := os.Readlink(p.path(o.PID, "exe")); err == nil {
		dirs = append([]string{filepath.Dir(target)}, dirs...)
	}
	if filepath.IsAbs(first) {
		dirs = append([]string{filepath.Dir(first)}, dirs...)
	}
	for _, name := range names {
		if strings.Contains(name, "/") {
			continue
		}
		for _, dir := range dirs {
			link, err := os.Stat(filepath.Join(p.path(o.PID, "root"), dir, name))
			if err == nil && os.SameFile(link, exe) {
				return name
			}
		}
	}
	return ""
}

// sameName reports whether a name is what the kernel cut to a thread's name.
func sameName(name, comm string) bool {
	return name == comm || len(comm) == maxComm && strings.HasPrefix(name, comm)
}

func isInterpreter(exe string) bool {
	for _, name := range interpreters {
		if rest, ok := strings.CutPrefix(exe, name); ok && strings.Trim(rest, "0123456789.-js") == "" {
			return true
		}
	}
	return false
}

// programName is what the processes of an owner are called by, else their executable's name, else the thread's. What was verified once holds
// for processes that are gone before they can be looked at.
func (b *Book) programName(o probe.Owner) string {
	key := calledKey{strings.TrimSpace(o.Exe), strings.TrimSpace(o.Comm)}
	if name := b.proc.called(o); name != "" {
		if len(b.called) >= maxCalled {
			clear(b.called)
		}
		b.called[key] = name
	}
	switch {
	case b.called[key] != "":
		return b.called[key]
	case key.exe != "":
		return key.exe
	}
	if name, _, _ := strings.Cut(key.comm, "/"); name != "" { // kernel threads: "kworker/0:1"
		return name
	}
	return "~unknown"
}
