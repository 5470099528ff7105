package tls

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxMaps    = 4 << 20 // bytes read of one process's list of mappings
	maxProcess = 1 << 16 // processes looked at in one scan
)

// processes lists the processes of this machine.
func processes(proc string) ([]uint32, error) {
	dir, err := os.Open(proc)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxProcess)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var pids []uint32
	for _, name := range names {
		if pid, err := strconv.ParseUint(name, 10, 32); err == nil {
			pids = append(pids, uint32(pid))
		}
	}
	return pids, nil
}

func procPath(proc string, pid uint32, name string) string {
	return filepath.Join(proc, strconv.FormatUint(uint64(pid), 10), name)
}

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

// mappedBy lists what a process has mapped to run, each file once. A process that is gone has nothing.
func mappedBy(proc string, pid uint32) []mapping {
	text, err := readBounded(procPath(proc, pid, "maps"), maxMaps)
	if err != nil {
		return nil
	}
	var out []mapping
	known := map[mappedFile]bool{}
	for line := range strings.Lines(text) {
		if f, ok := parseMapping(strings.TrimSuffix(line, "\n")); ok && !known[f] {
			known[f] = true
			out = append(out, mapping{pid: pid, file: f})
		}
	}
	return out
}

// parseMapping reads a line of /proc/PID/maps: "55d0-55d4 r-xp 00002000 fd:01 1234    /usr/bin/cat". Only files that are run are wanted.
func parseMapping(line string) (mappedFile, bool) {
	var f mappedFile
	at := strings.IndexByte(line, '/')
	if at < 0 {
		return f, false
	}
	fields := strings.Fields(line[:at])
	if len(fields) != 5 || len(fields[1]) != 4 || fields[1][2] != 'x' {
		return f, false
	}
	major, minor, _ := strings.Cut(fields[3], ":")
	a, errA := strconv.ParseUint(major, 16, 32)
	b, errB := strconv.ParseUint(minor, 16, 32)
	inode, errC := strconv.ParseUint(fields[4], 10, 64)
	if errA != nil || errB != nil || errC != nil {
		return f, false
	}
	f = mappedFile{major: uint32(a), minor: uint32(b), inode: inode, path: strings.TrimSuffix(line[at:], " (deleted)")}
	return f, isFilePath(f.path)
}

// isProgram reports whether a path is that of the process's own executable.
func isProgram(proc string, pid uint32, name string) bool {
	exe, err := os.Readlink(procPath(proc, pid, "exe"))
	if err != nil {
		return false
	}
	exe = strings.TrimSuffix(exe, " (deleted)")
	return exe == name || exe != "" && ownPath(proc, pid, exe) == name
}

// ownPath is a path as a process in a chroot sees it. /proc has it as this process does, and the kernel's records as that one does.
func ownPath(proc string, pid uint32, name string) string {
	root, err := os.Readlink(procPath(proc, pid, "root"))
	if err != nil || !strings.HasPrefix(name, root+"/") {
		return name
	}
	return strings.TrimPrefix(name, root)
}

// openMapped opens a file as the process sees it. No link leads out of the root folder of the process, and only a plain file is opened.
func openMapped(proc string, pid uint32, name string, program bool) (*os.File, error) {
	var fd int
	var err error
	if program { // it may have been replaced since
		fd, err = unix.Open(procPath(proc, pid, "exe"), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	} else {
		fd, err = openInRoot(procPath(proc, pid, "root"), ownPath(proc, pid, name))
	}
	if err != nil {
		return nil, fmt.Errorf("open %s of process %d: %w", name, pid, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// resolveCached is RESOLVE_CACHED of linux/openat2.h (Linux 5.12+): what is not in the kernel's cache is not found.
const resolveCached = 0x20

// openInode opens a file by its path if it is the one that was mapped. A process in a container may have chosen the path, which is anything in the
// machine's root then: nothing is asked of a file system to follow it, and nothing but a plain file is opened.
func openInode(root string, file mappedFile) (*os.File, error) {
	fd, err := openAt(root, file.path, unix.O_PATH, resolveCached) // what has just run is in the kernel's cache
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", file.path, err)
	}
	place := os.NewFile(uintptr(fd), file.path)
	defer place.Close()
	id, _, err := identify(place)
	if err == nil && (id.inode != file.inode || id.device != unix.Mkdev(file.major, file.minor)) {
		err = unix.ESTALE
	}
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", file.path, err)
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
}

func openInRoot(root, name string) (int, error) {
	return openAt(root, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
}

// openAt opens a file in a root folder, out of which no link leads.
func openAt(root, name string, flags, resolve uint64) (int, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	return unix.Openat2(dir, name, &unix.OpenHow{
		Flags: flags | unix.O_CLOEXEC, Resolve: resolve | unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// fileID is what tells one file from another for the kernel's probes, which belong to inodes.
type fileID struct {
	device, inode uint64
	changed       int64 // see identify
}

// stamp tells whether a file still holds the same.
type stamp struct{ modified, size int64 }

// errFileSystem says that reading a file may take as long as another program likes.
var errFileSystem = errors.New("its file system is another program")

// overlayDevice stands for the device of all overlay file systems.
const overlayDevice = ^uint64(0)

// identify tells which file it is. Containers of one image see one file on different devices, for each has an overlay of its own; it is one
// for the kernel's probes. What tells the copies apart that overlays make is the time when the inode was made or changed.
func identify(f *os.File) (fileID, stamp, error) {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileID{}, stamp{}, err
	}
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return fileID{}, stamp{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileID{}, stamp{}, fmt.Errorf("%w: it is no plain file", ErrMalformed)
	}
	id := fileID{device: st.Dev, inode: st.Ino}
	switch int64(fs.Type) { //nolint:unconvert // the same
	case unix.FUSE_SUPER_MAGIC:
		return fileID{}, stamp{}, errFileSystem
	case unix.OVERLAYFS_SUPER_MAGIC:
		id.device, id.changed = overlayDevice, st.Ctim.Nano()
	}
	return id, stamp{st.Mtim.Nano(), st.Size}, nil
}

// ignored reports whether a process is in a cgroup that one of the globs matches, or below one.
func ignored(proc string, pid uint32, globs []string) bool {
	if len(globs) == 0 {
		return false
	}
	text, err := readBounded(procPath(proc, pid, "cgroup"), 64<<10)
	if err != nil {
		return false
	}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) < 3 {
			continue
		}
		for at := path.Clean("/" + parts[2]); ; at = path.Dir(at) {
			for _, g := range globs {
				if ok, err := path.Match(g, at); ok && err == nil {
					return true
				}
			}
			if at == "/" {
				break
			}
		}
	}
	return false
}
