package java

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// The names under which the library lies in a JVM's /tmp, until the JVM has loaded it.
const (
	folderPrefix = ".vetch-java-"
	libraryName  = "libvetch-java.so"
)

const pollEvery = 20 * time.Millisecond

// attachment is what is open of one attempt. All that is done in the JVM's file system is done as the JVM's own user, relative to folders
// that are open, through no link.
type attachment struct {
	process *process
	pidfd   int
	tmp     int // the JVM's /tmp
	folder  string
	file    *os.File // the library
}

// as runs a function in a thread that has the identity of the JVM and none of our privileges, unless the JVM has them too. The thread ends
// with it. HotSpot looks at who made its files and who connects.
func (p *process) as(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is of no other use
		done <- func() error {
			if err := become(p.uid, p.gid); err != nil {
				return fmt.Errorf("%w: %w", errPrivilege, err)
			}
			return do()
		}()
	}()
	return <-done
}

// become changes the effective user and groups of this thread alone.
func become(uid, gid uint32) error {
	const same = ^uintptr(0)
	if int(uid) == os.Geteuid() && int(gid) == os.Getegid() {
		return nil
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
		return fmt.Errorf("set groups: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, same, uintptr(gid), same); e != 0 {
		return fmt.Errorf("set group %d: %w", gid, e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(uid), same); e != 0 {
		return fmt.Errorf("set user %d: %w", uid, e)
	}
	return nil
}

// openAttachment puts the library into the /tmp of a JVM. The caller closes the attachment, which takes it away again.
func openAttachment(p *process) (*attachment, error) {
	pidfd, err := unix.PidfdOpen(int(p.pid), 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	a := &attachment{process: p, pidfd: pidfd, tmp: -1}
	if err := a.open(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *attachment) open() (err error) {
	if a.tmp, err = a.process.openTmp(); err != nil {
		return err
	}
	// What was opened by its pid is of the process that was looked at, if that one is still there now.
	if started, err := startTime(a.process.proc, a.process.pid); err != nil || started != a.process.started {
		return errGone
	}
	return a.process.as(a.place)
}

// place writes the library into a new folder that only the JVM's user can look into.
func (a *attachment) place() error {
	name := folderPrefix + hex.EncodeToString(randomBytes())
	if err := unix.Mkdirat(a.tmp, name, 0o700); err != nil {
		return fmt.Errorf("%w: make a folder: %w", errTmp, err)
	}
	a.folder = name
	dir, err := unix.Openat2(a.tmp, name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return fmt.Errorf("%w: open the folder: %w", errTmp, err)
	}
	defer unix.Close(dir)
	if err := a.own(dir); err != nil {
		return err
	}
	write := func(flags int, mode uint64) (*os.File, error) {
		fd, err := unix.Openat2(dir, libraryName, &unix.OpenHow{
			Flags: uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC), Mode: mode, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
		})
		if err != nil {
			return nil, fmt.Errorf("%w: open the library: %w", errTmp, err)
		}
		return os.NewFile(uintptr(fd), libraryName), nil
	}
	f, err := write(unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o500)
	if err != nil {
		return err
	}
	if _, err = f.Write(library); err != nil {
		return fmt.Errorf("%w: %w", errTmp, errors.Join(err, f.Close()))
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("%w: %w", errTmp, err)
	}
	a.file, err = write(unix.O_RDONLY, 0)
	return err
}

func randomBytes() []byte {
	b := make([]byte, 8)
	rand.Read(b) // it ends the program rather than fail
	return b
}

// own sees to it that what is open belongs to the JVM's user.
func (a *attachment) own(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%w: %w", errTmp, err)
	}
	if st.Uid != a.process.uid {
		return fmt.Errorf("%w: what was made there belongs to user %d", errTmp, st.Uid)
	}
	return nil
}

// libraryPath is the library as this process can open it.
func (a *attachment) libraryPath() string { return fdPath(int(a.file.Fd())) }

// load has the JVM load the library.
func (a *attachment) load(ctx context.Context) error {
	return a.process.as(func() error {
		socket, err := a.ask(ctx)
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		answer, err := a.talk(ctx, socket)
		if err != nil {
			return err
		}
		return readAnswer(answer)
	})
}

// ask has the JVM open its socket, where it has not yet, and connects to it.
func (a *attachment) ask(ctx context.Context) (int, error) {
	socket, err := a.connect()
	if !errors.Is(err, os.ErrNotExist) {
		return socket, err
	}
	// The JVM looks for this file when the signal comes; without it, it would print its threads instead.
	request := fmt.Sprintf(".attach_pid%d", a.process.inner)
	fd, err := unix.Openat2(a.tmp, request, &unix.OpenHow{
		Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC, Mode: 0o600, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	switch {
	case err == nil:
		defer unix.Unlinkat(a.tmp, request, 0) //nolint:errcheck // the JVM may have done it
		unix.Close(fd)
	case !errors.Is(err, unix.EEXIST): // somebody else attaches just now
		return -1, fmt.Errorf("%w: ask for an attachment: %w", errTmp, err)
	}
	if err := unix.PidfdSendSignal(a.pidfd, unix.SIGQUIT, nil, 0); err != nil {
		return -1, fmt.Errorf("%w: %w", errGone, err)
	}
	for {
		socket, err := a.connect()
		if !errors.Is(err, os.ErrNotExist) {
			return socket, err
		}
		if err := a.pause(ctx); err != nil {
			return -1, err
		}
	}
}

// pause waits a little for a JVM that is still there.
func (a *attachment) pause(ctx context.Context) error {
	fds := []unix.PollFd{{Fd: int32(a.pidfd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, int(pollEvery/time.Millisecond)); err == nil && n > 0 {
		return errGone
	}
	if ctx.Err() != nil {
		return errSilent
	}
	return nil
}

// connect opens the JVM's socket. The error is os.ErrNotExist while there is none. Who listens must be the JVM itself.
func (a *attachment) connect() (int, error) {
	file, err := unix.Openat2(a.tmp, fmt.Sprintf(".java_pid%d", a.process.inner), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: %w", errPeer, err)
		}
		return -1, err
	}
	defer unix.Close(file)
	var st unix.Stat_t
	if err := unix.Fstat(file, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK || st.Uid != a.process.uid {
		return -1, fmt.Errorf("%w: its socket is another's", errPeer)
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open a socket: %w", err)
	}
	if err := a.greet(socket, file); err != nil {
		return -1, errors.Join(err, unix.Close(socket))
	}
	return socket, nil
}

func (a *attachment) greet(socket, file int) error {
	limit := unix.NsecToTimeval(int64(pollEvery))
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, option, &limit); err != nil {
			return fmt.Errorf("set a time limit: %w", err)
		}
	}
	if err := unix.Connect(socket, &unix.SockaddrUnix{Name: fdPath(file)}); err != nil {
		return fmt.Errorf("%w: connect: %w", errRefused, err)
	}
	peer, err := unix.GetsockoptUcred(socket, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || peer.Pid != int32(a.process.pid) {
		return errPeer
	}
	return nil
}

// talk gives the command and reads the answer to its end.
func (a *attachment) talk(ctx context.Context, socket int) ([]byte, error) {
	command := []byte("1\x00load\x00/tmp/" + a.folder + "/" + libraryName + "\x00true\x00\x00")
	if n, err := unix.Write(socket, command); err != nil || n != len(command) {
		return nil, fmt.Errorf("%w: %w", errRefused, errors.Join(err, a.pause(ctx)))
	}
	answer := make([]byte, 0, 1024)
	for len(answer) < maxAnswer {
		answer = append(answer, make([]byte, 512)...)
		n, err := unix.Read(socket, answer[len(answer)-512:])
		answer = answer[:len(answer)-512+max(n, 0)]
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			if err := a.pause(ctx); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errAnswer, err)
		case n == 0:
			return answer, nil
		}
	}
	return answer, nil
}

// close takes the library away, which stays in the JVM if that has loaded it.
func (a *attachment) close() {
	if a.folder != "" {
		err := a.process.as(func() error {
			return errors.Join(unix.Unlinkat(a.tmp, a.folder+"/"+libraryName, 0), unix.Unlinkat(a.tmp, a.folder, unix.AT_REMOVEDIR))
		})
		_ = err // it was not there, or the JVM's user has taken it away
	}
	if a.file != nil {
		a.file.Close()
	}
	for _, fd := range []int{a.tmp, a.pidfd} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
