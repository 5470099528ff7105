package java

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/tls"
)

// usable says why the process cannot be attached to, as far as that can be known without asking it.
func (p *process) usable() error {
	if err := p.isHotSpot(); err != nil {
		return err
	}
	switch {
	case strings.Contains(p.command, "+DisableAttachMechanism") || p.attachOff():
		return errDisabled
	case strings.Contains(p.command, "-XX:-EnableDynamicAgentLoading"):
		return errNoAgents
	case !p.quits || !p.launched && !p.dispatches():
		return errNoSignal
	}
	return nil
}

// dispatches reports whether the process has the thread in which HotSpot takes signals. A program that has a JVM in it may take SIGQUIT for itself.
func (p *process) dispatches() bool {
	threads, err := os.Open(p.path("task"))
	if err != nil {
		return false
	}
	defer threads.Close()
	names, _ := threads.Readdirnames(maxThreads) // those that there are
	return slices.ContainsFunc(names, func(name string) bool {
		comm, err := readBounded(p.path("task/"+name+"/comm"), 64)
		return err == nil && comm == "Signal Dispatch\n" // the kernel keeps 15 letters
	})
}

// hotSpotSymbol is in libjvm.so of HotSpot, for its debuggers. Other JVMs take SIGQUIT for something else.
const hotSpotSymbol = "gHotSpotVMStructs"

func (p *process) isHotSpot() error {
	if p.libjvm == "" {
		return errNotHotSpot
	}
	root, err := unix.Open(p.path("root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, p.libjvm, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return fmt.Errorf("%w: open libjvm.so: %w", errNotHotSpot, err)
	}
	f := os.NewFile(uintptr(fd), p.libjvm)
	defer f.Close()
	machine := elf.EM_X86_64
	if runtime.GOARCH == "arm64" {
		machine = elf.EM_AARCH64
	}
	if found, err := tls.HasName(f, machine, hotSpotSymbol); err != nil || !found {
		return errors.Join(errNotHotSpot, err)
	}
	return nil
}

// attachOff reports whether the JVM says so in its performance data (src/hotspot/share/runtime/perfData.hpp), where it has any: the first of
// the letters of sun.rt.jvmCapabilities is 1 when it can be attached to.
func (p *process) attachOff() bool {
	tmp, err := p.openTmp()
	if err != nil {
		return false
	}
	defer unix.Close(tmp)
	entries, err := readNames(tmp)
	if err != nil {
		return false
	}
	for _, name := range entries {
		if !strings.HasPrefix(name, "hsperfdata_") {
			continue
		}
		fd, err := unix.Openat2(tmp, fmt.Sprintf("%s/%d", name, p.inner), &unix.OpenHow{
			Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
		})
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), name)
		data, err := io.ReadAll(io.LimitReader(f, 256<<10))
		f.Close()
		var st unix.Stat_t
		if err == nil && unix.Fstatat(tmp, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Uid == p.uid {
			return cannotAttach(data)
		}
	}
	return false
}

// cannotAttach looks for the capability in performance data: its name, zeroes, and letters 0 or 1.
func cannotAttach(data []byte) bool {
	_, rest, found := bytes.Cut(data, []byte("sun.rt.jvmCapabilities\x00"))
	rest = bytes.TrimLeft(rest[:min(len(rest), 72)], "\x00")
	return found && len(rest) > 0 && rest[0] == '0'
}

// readNames lists a folder that is open by its path alone.
func readNames(dir int) ([]string, error) {
	fd, err := unix.Openat2(dir, ".", &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "tmp")
	defer f.Close()
	names, err := f.Readdirnames(4096)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// openTmp opens the /tmp that the process sees. No link leads out of its root.
func (p *process) openTmp() (int, error) {
	root, err := unix.Open(p.path("root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%w: %w", errGone, err)
	}
	defer unix.Close(root)
	tmp, err := unix.Openat2(root, "tmp", &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, fmt.Errorf("%w: %w", errTmp, err)
	}
	if err := p.judgeTmp(root, tmp); err != nil {
		return -1, errors.Join(err, unix.Close(tmp))
	}
	return tmp, nil
}

// judgeTmp sees to it that nobody but the JVM's user and root can put another file in the place of ours.
func (p *process) judgeTmp(root, tmp int) error {
	var top, st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Fstat(root, &top), unix.Fstat(tmp, &st), unix.Fstatfs(tmp, &fs)); err != nil {
		return fmt.Errorf("%w: %w", errTmp, err)
	}
	if st.Uid != 0 && st.Uid != p.uid && st.Uid != top.Uid {
		return fmt.Errorf("%w: it belongs to user %d", errTmp, st.Uid)
	}
	if st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 {
		return fmt.Errorf("%w: its mode is %o", errTmp, st.Mode&0o7777)
	}
	switch {
	case fs.Type == unix.FUSE_SUPER_MAGIC: // reading it may take as long as another program likes
		return fmt.Errorf("%w: it is on FUSE", errTmp)
	case fs.Flags&unix.ST_NOEXEC != 0:
		return errNoExec
	}
	return nil
}

// writable says why the library cannot be put where the process would load it from.
func (p *process) writable() error {
	tmp, err := p.openTmp()
	if err != nil {
		return err
	}
	return unix.Close(tmp)
}
