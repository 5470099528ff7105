package tracer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// errBusy says that another process serves on the socket.
var errBusy = errors.New("another process listens there")

// socket is a listening unix socket that takes its file with it when it ends.
type socket struct {
	*net.UnixListener
	path string
	file os.FileInfo
}

// listenUnix makes a socket file with mode 0660. A file that a dead process left is replaced; one that somebody listens at, or that is no socket, is not.
func listenUnix(path string) (*socket, error) {
	if err := vacant(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	// It takes its place once it has its mode, so that nobody else can connect before.
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove what was left of a start: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	s := &socket{UnixListener: l, path: path}
	if err = os.Chmod(fresh, 0o660); err == nil {
		err = os.Rename(fresh, path)
	}
	if err == nil {
		s.file, err = os.Lstat(path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("put the socket at %s: %w", path, err), l.Close(), removed(os.Remove(fresh)))
	}
	return s, nil
}

// vacant reports nil where there is nothing, or a socket that nobody listens at.
func vacant(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return errors.New("there is a file that is no socket")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(errBusy, c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("see whether %w: %w", errBusy, err)
	}
	return nil
}

// Close ends listening, and removes the file unless another has its place.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	if now, gone := os.Lstat(s.path); gone == nil && os.SameFile(now, s.file) {
		err = errors.Join(err, removed(os.Remove(s.path)))
	}
	return err
}

// removed leaves out that there was nothing to remove.
func removed(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
