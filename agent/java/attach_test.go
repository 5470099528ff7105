package java

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// made is a process of a /proc made for a test, whose root is a folder. It is this process, so that it can be signalled.
func made(t *testing.T) *process {
	t.Helper()
	dir := t.TempDir()
	pid := uint32(os.Getpid())
	own := filepath.Join(dir, "proc", strconv.Itoa(int(pid)))
	require.NoError(t, os.MkdirAll(own, 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "root", "tmp"), 0o755))
	require.NoError(t, os.Chmod(filepath.Join(dir, "root", "tmp"), os.ModeSticky|0o777))
	require.NoError(t, os.Symlink(filepath.Join(dir, "root"), filepath.Join(own, "root")))
	require.NoError(t, os.WriteFile(filepath.Join(own, "stat"), fmt.Appendf(nil, "%d (a) b) S %s", pid, strings.Repeat("7 ", 40)), 0o644))
	return &process{proc: filepath.Join(dir, "proc"), pid: pid, inner: pid, started: 7, uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), quits: true}
}

func (p *process) tmpPath(name ...string) string {
	root, err := os.Readlink(p.path("root"))
	if err != nil {
		panic(err)
	}
	return filepath.Join(append([]string{root, "tmp"}, name...)...)
}

// listen opens the socket of a JVM, and has each connection served.
func (p *process) listen(t *testing.T, serve func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("unix", p.tmpPath(fmt.Sprintf(".java_pid%d", p.inner)))
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
}

// command reads what is asked for.
func command(c net.Conn) string {
	var text []byte
	b := make([]byte, 1)
	for strings.Count(string(text), "\x00") < 5 {
		if _, err := io.ReadFull(c, b); err != nil {
			return "cut"
		}
		text = append(text, b...)
	}
	return string(text)
}

func answers(text string) func(net.Conn) {
	return func(c net.Conn) {
		command(c)
		io.WriteString(c, text) //nolint:errcheck // the other side may have enough
	}
}

func attempt(ctx context.Context, t *testing.T, p *process) error {
	t.Helper()
	a, err := openAttachment(p)
	if err != nil {
		return err
	}
	defer a.close()
	return a.load(ctx)
}

func requireClean(t *testing.T, p *process) {
	t.Helper()
	list, err := os.ReadDir(p.tmpPath())
	require.NoError(t, err)
	for _, e := range list {
		require.True(t, strings.HasPrefix(e.Name(), ".java_pid"), "%s is left", e.Name())
	}
}

func TestLoadsOnceAskedBySignal(t *testing.T) {
	p := made(t)
	p.inner = 1 // as in a container
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, unix.SIGQUIT)
	defer signal.Stop(quit)
	asked := make(chan string, 1)
	go func() {
		<-quit
		if _, err := os.Stat(p.tmpPath(".attach_pid1")); err != nil {
			asked <- err.Error()
			return
		}
		p.listen(t, func(c net.Conn) {
			text := command(c)
			fields := strings.Split(text, "\x00")
			if len(fields) != 6 || !strings.HasPrefix(fields[2], "/tmp/") {
				asked <- text
				return
			}
			file := p.tmpPath(strings.TrimPrefix(fields[2], "/tmp/"))
			data, err := os.ReadFile(file)
			if err != nil || string(data) != string(library) {
				asked <- fmt.Sprint("library: ", err)
				return
			}
			fields[2] = "LIBRARY"
			asked <- strings.Join(fields, " ")
			io.WriteString(c, "0\nreturn code: 0\n") //nolint:errcheck // seen below
		})
	}()
	require.NoError(t, attempt(t.Context(), t, p))
	require.Equal(t, "1 load LIBRARY true  ", <-asked)
	requireClean(t, p)
}

func TestHostilePeers(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(net.Conn)
		want  error
	}{
		"says nothing":        {func(c net.Conn) { command(c); io.Copy(io.Discard, c) }, errSilent}, //nolint:errcheck // it ends with the other side
		"takes nothing":       {func(c net.Conn) { io.ReadFull(c, make([]byte, 1)) }, errAnswer},    //nolint:errcheck // the same
		"closes":              {func(c net.Conn) { command(c) }, errAnswer},
		"never ends":          {func(c net.Conn) { command(c); io.Copy(c, zeroes{}) }, errAnswer},                                         //nolint:errcheck // the same
		"never ends politely": {func(c net.Conn) { command(c); io.WriteString(c, "0\nreturn code: "); io.Copy(c, zeroes{}) }, errLibrary}, //nolint:errcheck // the same
		"refuses":             {answers("101\nno"), errRefused},
		"no agents":           {answers("0\nDynamic agent loading is not enabled. Use -XX:+EnableDynamicAgentLoading to launch target VM.\n"), errNoAgents},
		"no library":          {answers("0\n/tmp/x.so was not loaded.\n/tmp/x.so: failed to map segment\n"), errLibrary},
		"has it already":      {answers("0\n201\n"), errAlready},
		"other JSSE":          {answers("0\nreturn code: 208\n"), errJSSE},
	} {
		t.Run(name, func(t *testing.T) {
			p := made(t)
			p.listen(t, c.serve)
			ctx, cancel := context.WithTimeout(t.Context(), patienceOf(c.want))
			defer cancel()
			require.ErrorIs(t, attempt(ctx, t, p), c.want)
			requireClean(t, p)
		})
	}
}

// patienceOf is short only where nothing is to come.
func patienceOf(want error) time.Duration {
	if errors.Is(want, errSilent) {
		return 200 * time.Millisecond
	}
	return time.Minute
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestSocketsOfOthers(t *testing.T) {
	p := made(t)
	socket := p.tmpPath(fmt.Sprintf(".java_pid%d", p.inner))
	real := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", real)
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, os.Symlink(real, socket))
	require.ErrorIs(t, attempt(t.Context(), t, p), errPeer, "a link")
	require.NoError(t, os.Remove(socket))
	require.NoError(t, os.WriteFile(socket, nil, 0o600))
	require.ErrorIs(t, attempt(t.Context(), t, p), errPeer, "a file")
	require.NoError(t, os.Remove(socket))

	// Another process of the same user listens.
	cmd := exec.Command("python3", "-c", `
import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print("on", flush=True); s.accept(); sys.stdin.read()`, socket)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Wait() //nolint:errcheck // it ends with its input
	defer in.Close()
	_, err = io.ReadFull(out, make([]byte, 3))
	require.NoError(t, err)
	require.ErrorIs(t, attempt(t.Context(), t, p), errPeer, "another process")
	requireClean(t, p)
}

func TestSocketOfAnotherUser(t *testing.T) {
	needRoot(t)
	p := made(t)
	p.listen(t, answers("0\nreturn code: 0\n"))
	require.NoError(t, os.Chown(p.tmpPath(fmt.Sprintf(".java_pid%d", p.inner)), 65534, 65534))
	require.ErrorIs(t, attempt(t.Context(), t, p), errPeer)
}

func needRoot(t *testing.T) {
	t.Helper()
	require.Zero(t, os.Geteuid(), "this test changes owners and needs root")
}

// What is written to a JVM's /tmp is written as its user, inside of its root, into a folder of its own.
func TestWhereTheLibraryIsWritten(t *testing.T) {
	needRoot(t)
	p := made(t)
	root, err := os.Readlink(p.path("root"))
	require.NoError(t, err)
	outside, err := os.MkdirTemp("/var/tmp", "vetch-test-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(outside) })
	require.NoError(t, os.Chmod(outside, 0o777))
	require.NoError(t, os.MkdirAll(filepath.Join(root, outside), 0o755))
	require.NoError(t, os.Chmod(filepath.Join(root, outside), os.ModeSticky|0o777))
	require.NoError(t, os.RemoveAll(filepath.Join(root, "tmp")))
	require.NoError(t, os.Symlink(outside, filepath.Join(root, "tmp")))
	for dir := root; dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755|modeOf(t, dir)))
	}
	p.uid, p.gid = 65534, 65534
	a, err := openAttachment(p)
	require.NoError(t, err)
	list, err := os.ReadDir(filepath.Join(root, outside))
	require.NoError(t, err)
	require.Len(t, list, 1, "a link leads nowhere but inside of the root")
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(root, outside, list[0].Name(), libraryName), &st))
	require.Equal(t, uint32(65534), st.Uid)
	require.Equal(t, uint32(0o500), st.Mode&0o7777)
	a.close()
	for _, dir := range []string{outside, filepath.Join(root, outside)} {
		list, err = os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, list)
	}
}

func modeOf(t *testing.T, dir string) os.FileMode {
	t.Helper()
	info, err := os.Stat(dir)
	require.NoError(t, err)
	return info.Mode() & (os.ModePerm | os.ModeSticky)
}

func TestFoldersThatCannotBeTrusted(t *testing.T) {
	needRoot(t)
	for name, change := range map[string]func(tmp string) error{
		"everybody may rename in it":      func(tmp string) error { return os.Chmod(tmp, 0o777) },
		"it belongs to somebody":          func(tmp string) error { return os.Chown(tmp, 12345, 12345) },
		"there is none":                   os.RemoveAll,
		"it is a file":                    func(tmp string) error { return errors.Join(os.RemoveAll(tmp), os.WriteFile(tmp, nil, 0o644)) },
		"it is a link that leads nowhere": func(tmp string) error { return errors.Join(os.RemoveAll(tmp), os.Symlink("/proc/self/root/tmp", tmp)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := made(t)
			require.NoError(t, change(p.tmpPath()))
			require.ErrorIs(t, attempt(t.Context(), t, p), errTmp)
			require.ErrorIs(t, p.writable(), errTmp)
		})
	}
}

func TestPidOfAnother(t *testing.T) {
	p := made(t)
	p.started++
	require.ErrorIs(t, attempt(t.Context(), t, p), errGone)
	requireClean(t, p)
	p.pid = 1 << 22 // beyond all
	require.ErrorIs(t, attempt(t.Context(), t, p), errGone)
}

func TestAnswers(t *testing.T) {
	for text, want := range map[string]error{
		"":                                 errAnswer,
		"\n":                               errAnswer,
		"x\n0":                             errAnswer,
		"99999999999\n":                    errAnswer,
		"0":                                errLibrary,
		"0\n":                              errLibrary,
		"0\n0":                             nil, // Java 8
		"0\n0\n":                           nil,
		"0\nreturn code: 0\n":              nil, // Java 9 and newer
		"0\nreturn code: -1\n":             errLibrary,
		"0\nreturn code: 201\n":            errAlready,
		"0\nreturn code: 204\nand more\n":  errJSSE,
		"0\nreturn code: 0x":               errLibrary,
		"-1\n":                             errRefused,
		"101\nProtocol mismatch":           errRefused,
		"0\n" + strings.Repeat("a", 1<<20): errLibrary,
	} {
		err := readAnswer([]byte(text))
		if want == nil {
			require.NoError(t, err, "%.40q", text)
			continue
		}
		require.ErrorIs(t, err, want, "%.40q", text)
		require.Less(t, len(err.Error()), 1<<10, "the error itself is bounded")
		require.NotEqual(t, "other", reasonOf(err))
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"0\nreturn code: 0\n", "0\n0\n", "101\n", "0\nx was not loaded.\n", "\x00\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		err := readAnswer(answer)
		if err == nil && !strings.Contains(string(answer), "0") {
			t.Errorf("%q is taken for success", answer)
		}
		if err != nil && reasonOf(err) == other.name {
			t.Errorf("%q has no reason: %v", answer, err)
		}
	})
}
