package tls

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/clock"
)

// machine is a /proc made for a test, and what was done to the files of its processes.
type machine struct {
	t        *testing.T
	dir      string
	attached map[string]int // by the name of the file; closing takes off
	refuse   error
}

func newMachine(t *testing.T) *machine { return &machine{t, t.TempDir(), map[string]int{}, nil} }

func (m *machine) write(name string, data []byte) string {
	path := filepath.Join(m.dir, name)
	require.NoError(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(m.t, os.WriteFile(path, data, 0o755))
	return path
}

// process makes one run a program and map libraries.
func (m *machine) process(pid int, cgroup, program string, libraries ...string) {
	dir := filepath.Join(m.dir, "proc", fmt.Sprint(pid))
	require.NoError(m.t, os.RemoveAll(dir))
	var maps strings.Builder
	for _, path := range append(libraries, program) {
		var st unix.Stat_t
		require.NoError(m.t, unix.Stat(path, &st))
		fmt.Fprintf(&maps, "1000-2000 r--p 00000000 08:01 %d %s\n2000-3000 r-xp 00001000 08:01 %d %s\n", st.Ino, path, st.Ino, path)
	}
	m.write(filepath.Join("proc", fmt.Sprint(pid), "maps"), []byte(maps.String()))
	m.write(filepath.Join("proc", fmt.Sprint(pid), "cgroup"), []byte("0::"+cgroup+"\n"))
	require.NoError(m.t, os.Symlink(program, filepath.Join(dir, "exe")))
	require.NoError(m.t, os.Symlink("/", filepath.Join(dir, "root")))
}

func (m *machine) gone(pid int) {
	require.NoError(m.t, os.RemoveAll(filepath.Join(m.dir, "proc", fmt.Sprint(pid))))
}

type closer func() error

func (c closer) Close() error { return c() }

func (m *machine) attach(path string, points []Point) (io.Closer, error) {
	if m.refuse != nil {
		return nil, m.refuse
	}
	require.NotEmpty(m.t, points)
	file, err := os.Readlink(path)
	require.NoError(m.t, err)
	name := filepath.Base(file)
	m.attached[name]++
	return closer(func() error {
		if m.attached[name]--; m.attached[name] == 0 {
			delete(m.attached, name)
		}
		return nil
	}), nil
}

func (m *machine) watch(o Options) *Watcher {
	o.Proc, o.Attach = filepath.Join(m.dir, "proc"), m.attach
	w := newWatcher(o)
	require.NoError(m.t, w.scan())
	return w
}

// idle has all files be without users for as long as they may be.
func (m *machine) idle(w *Watcher) {
	w.sweep()
	for _, f := range w.files {
		if !f.idle.IsZero() {
			f.idle = f.idle.Add(-keepFor)
		}
	}
	w.sweep()
}

func TestWatcherProbesEachFileOnceAndReleasesIt(t *testing.T) {
	m := newMachine(t)
	web, other := m.write("web", madeGo(func([]byte) {})), m.write("other", []byte("#!/bin/sh\n"))
	linked := filepath.Join(m.dir, "linked")
	require.NoError(t, os.Link(web, linked))
	m.process(1, "/", web)
	m.process(2, "/", web)
	m.process(3, "/", linked)
	m.process(4, "/", other)
	w := m.watch(Options{})
	require.Len(t, m.attached, 1, "two names of one file")
	require.NoError(t, testutil.CollectAndCompare(w.Collector(), strings.NewReader(`
# HELP vetch_tls_probed_files Programs and libraries whose plain text is seen, by the library that does the TLS.
# TYPE vetch_tls_probed_files gauge
vetch_tls_probed_files{library="go"} 1
# HELP vetch_tls_processes Processes that are known to use them; at most 1024 for each file.
# TYPE vetch_tls_processes gauge
vetch_tls_processes{library="go"} 3
`), "vetch_tls_probed_files", "vetch_tls_processes"))

	m.gone(1)
	m.gone(3)
	w.sweep()
	require.Len(t, m.attached, 1)
	m.gone(2)
	m.process(5, "/", web) // a child that was forked, and never mapped the file itself
	w.sweep()
	require.Len(t, m.attached, 1)
	m.gone(5)
	m.idle(w)
	require.Empty(t, m.attached)
	require.Empty(t, w.Files())

	m.process(6, "/", web)
	require.NoError(t, w.scan())
	require.Len(t, m.attached, 1, "it is probed again when somebody uses it again")
	require.NoError(t, w.Close())
	require.Empty(t, m.attached)
}

// A library that is installed on the machine is probed before its first user says a word, and stays probed when the last one is gone.
func TestWatcherKeepsInstalledLibraries(t *testing.T) {
	m := newMachine(t)
	const library = "host/usr/lib/x86_64-linux-gnu/libssl.so.3"
	path := m.write(library, madeGo(func([]byte) {}))
	m.write("host/usr/lib/libgnutls.so.30", []byte("no"))
	m.write("host/usr/lib/libother.so.3", madeGo(func([]byte) {}))
	m.process(1, "/", m.write("host/init", []byte("no")))
	host := filepath.Join(m.dir, "proc/1/root")
	require.NoError(t, os.Remove(host))
	require.NoError(t, os.Symlink(filepath.Join(m.dir, "host"), host))
	w := m.watch(Options{})
	require.Empty(t, m.attached)
	w.keepInstalled()
	require.Equal(t, map[string]int{"libssl.so.3": 1}, m.attached)
	m.process(2, "/", m.write("curl", []byte("no")), path)
	require.NoError(t, w.scan())
	m.gone(2)
	m.idle(w)
	require.Equal(t, map[string]int{"libssl.so.3": 1}, m.attached)

	require.NoError(t, os.Rename(path, path+".old")) // an upgrade
	m.write("host/usr/lib/x86_64-linux-gnu/libssl.so.3.new", madeGo(func([]byte) {}))
	require.NoError(t, os.Rename(path+".new", path))
	require.NoError(t, os.Remove(path+".old"))
	w.keepInstalled()
	require.EqualValues(t, 2, len(w.files))
	m.idle(w)
	require.Len(t, w.files, 1)
	require.Equal(t, map[string]int{"libssl.so.3": 1}, m.attached)
}

// The same on this machine, also where its first process may not be looked at.
func TestWatcherKeepsInstalledLibrariesHere(t *testing.T) {
	m := newMachine(t)
	w := newWatcher(Options{Attach: m.attach})
	w.keepInstalled()
	var kept []string
	for _, f := range w.files {
		if f.installed {
			kept = append(kept, filepath.Base(f.path))
		}
	}
	require.Contains(t, kept, "libssl.so.3", "this test needs it installed (scripts/deps.sh test)")
}

func TestWatcherProbesAgainWhatIsReplaced(t *testing.T) {
	m := newMachine(t)
	web := m.write("web", madeGo(func([]byte) {}))
	m.process(1, "/", web)
	w := m.watch(Options{})
	require.Equal(t, map[string]int{"web": 1}, m.attached)
	m.write("web", madeGo(func(table []byte) { table[0] = 0xf0 })) // the same inode
	require.NoError(t, os.Chtimes(web, time.Now(), time.Now().Add(time.Minute)))
	clear(w.seen)
	require.NoError(t, w.scan())
	require.Equal(t, map[string]int{"web": 1}, m.attached)
	require.EqualValues(t, 2, w.counts.inspected)
}

func TestWatcherSaysWhyNot(t *testing.T) {
	m := newMachine(t)
	good := m.write("good", madeGo(func([]byte) {}))
	m.process(1, "/", good)
	m.process(2, "/", m.write("bad", madeGo(func(table []byte) { table[0] = 0 })))
	m.refuse = errors.New("no")
	w := m.watch(Options{})
	require.EqualValues(t, 1, w.counts.errors["attach"])
	require.EqualValues(t, 1, w.counts.errors["malformed"])
	files := w.Files()
	require.Len(t, files, 2)
	require.ErrorIs(t, files[0].Err, ErrMalformed)
	require.ErrorContains(t, files[1].Err, "no")
	clear(w.seen)
	require.NoError(t, w.scan())
	require.EqualValues(t, 1, w.counts.errors["attach"], "once for each file")
}

func TestWatcherHasALimit(t *testing.T) {
	m := newMachine(t)
	for i := range 20 {
		m.process(i+1, "/", m.write(fmt.Sprintf("web%d", i), madeGo(func([]byte) {})))
	}
	w := m.watch(Options{MaxFiles: 3})
	require.Len(t, m.attached, 3)
	require.EqualValues(t, 17, w.counts.errors["too_many_files"])
	require.Len(t, w.Files(), 12)
}

// What runs again and again is probed from its first time on, if not for ever: other programs that need its place get it.
func TestWatcherKeepsWhatIsRunAgain(t *testing.T) {
	m := newMachine(t)
	m.process(3, "/", m.write("init", []byte("no")))
	w := m.watch(Options{MaxFiles: 2})
	for i, name := range []string{"first", "second"} {
		m.process(1, "/", m.write(name, madeGo(func([]byte) {})))
		require.NoError(t, w.scan())
		m.gone(1)
		w.sweep()
		require.Len(t, m.attached, i+1)
	}
	m.process(1, "/", filepath.Join(m.dir, "first"))
	require.NoError(t, w.scan())
	m.gone(1)
	w.sweep()
	require.EqualValues(t, 3, w.counts.inspected, "once each")
	m.process(2, "/", m.write("third", madeGo(func([]byte) {})))
	require.NoError(t, w.scan())
	require.Equal(t, map[string]int{"first": 1, "third": 1}, m.attached, "the second was without users for longest")
	require.Zero(t, w.counts.errors["too_many_files"])
	m.idle(w)
	require.Equal(t, map[string]int{"third": 1}, m.attached)
}

// A process whose file was not probed when it began may have said what nobody saw.
func TestWatcherCountsWhatIsMissed(t *testing.T) {
	m := newMachine(t)
	web := m.write("web", madeGo(func([]byte) {}))
	m.process(1, "/", m.write("init", []byte("no")))
	w := m.watch(Options{})
	event := func(pid uint32, path string, at uint64) {
		t.Helper()
		var st unix.Stat_t
		require.NoError(t, unix.Stat(path, &st))
		w.mapped(mapping{pid, mappedFile{major: unix.Major(st.Dev), minor: unix.Minor(st.Dev), inode: st.Ino, path: path}, at}, false)
	}
	began := uint64(clock.Monotonic())
	event(2, web, began) // has ended
	require.Equal(t, map[string]int{"web": 1}, m.attached, "for the next one")
	m.process(3, "/", web)
	event(3, web, began)
	event(3, web, began)
	for pid := range uint32(5) {
		m.process(int(pid)+10, "/", web)
		event(pid+10, web, uint64(clock.Monotonic()))
	}
	require.Equal(t, map[string]uint64{"ended": 1, "begun": 1, "not_found": 0}, w.counts.missed)

	event(4, filepath.Join(m.dir, "init"), uint64(clock.Monotonic())) // without TLS
	w.mapped(mapping{5, mappedFile{8, 1, 77, 0, web}, uint64(clock.Monotonic())}, false)
	w.mapped(mapping{6, mappedFile{8, 1, 77, 0, "/no/such/program"}, uint64(clock.Monotonic())}, false)
	require.Equal(t, map[string]uint64{"ended": 1, "begun": 1, "not_found": 2}, w.counts.missed)
	w.options.IgnoreCgroups = []string{"/box"}
	event(7, m.write("other", madeGo(func([]byte) {})), uint64(clock.Monotonic()))
	require.EqualValues(t, 3, w.counts.missed["not_found"], "it may have been in one of them")
	for known, s := range w.seen {
		w.seen[known] = seen{s.file, s.at.Add(-seenFor)}
	}
	event(8, web, uint64(clock.Monotonic()))
	require.EqualValues(t, 3, w.counts.missed["not_found"], "it is probed, though that was long ago")
	require.NoError(t, testutil.CollectAndCompare(w.Collector(), strings.NewReader(`
# HELP vetch_tls_programs_missed_total Processes that ran before a file with TLS that they use was probed, so that what they said until then was not seen, by reason.
# TYPE vetch_tls_programs_missed_total counter
vetch_tls_programs_missed_total{reason="begun"} 1
vetch_tls_programs_missed_total{reason="ended"} 1
vetch_tls_programs_missed_total{reason="not_found"} 3
`), "vetch_tls_programs_missed_total"))
}

func TestWatcherIgnoresCgroups(t *testing.T) {
	m := newMachine(t)
	m.process(1, "/machine.slice/box/init", m.write("inside", madeGo(func([]byte) {})))
	m.process(2, "/system.slice", m.write("outside", madeGo(func([]byte) {})))
	m.watch(Options{IgnoreCgroups: []string{"/machine.slice/*"}})
	require.Equal(t, map[string]int{"outside": 1}, m.attached)
	_, err := New(Options{IgnoreCgroups: []string{"["}})
	require.Error(t, err)
}

// A process that does TLS which is not seen is looked at closely, its program once in a while.
func TestWatcherLooksCloser(t *testing.T) {
	m := newMachine(t)
	program := m.write("program", []byte("no"))
	m.process(1, "/", program, m.write("libother.so", madeGo(func([]byte) {})))
	m.process(2, "/", program, m.write("libmore.so", madeGo(func([]byte) {})))
	told := [][]uint32{{77, 1}, {2}, nil}
	w := m.watch(Options{Unseen: func() []uint32 {
		now := told[0]
		told = told[1:]
		return now
	}})
	require.Empty(t, m.attached)
	w.lookCloser()
	require.Equal(t, map[string]int{"libother.so": 1}, m.attached)
	w.lookCloser()
	require.Equal(t, map[string]int{"libother.so": 1}, m.attached)
	require.Equal(t, 3, w.unseen.number(time.Now()))
	w.unseen.learn(nil, time.Now().Add(unseenFor))
	require.Zero(t, w.unseen.number(time.Now()))
}

// Only what may hold TLS by its name is opened of libraries, never through a link that leads out, and nothing that is no plain file.
func TestWatcherOpensPlainFilesOnly(t *testing.T) {
	m := newMachine(t)
	program := m.write("program", []byte("no"))
	ssl := m.write("libssl.so.3", madeGo(func([]byte) {}))
	m.process(1, "/", program, ssl, m.write("libother.so", madeGo(func([]byte) {})))
	pipe := filepath.Join(m.dir, "libssl.so.pipe")
	require.NoError(t, unix.Mkfifo(pipe, 0o600))
	m.process(2, "/", program, pipe)
	m.watch(Options{})
	require.Equal(t, map[string]int{"libssl.so.3": 1}, m.attached)

	box := newMachine(t) // a chroot
	inside := box.write("box/usr/web", madeGo(func([]byte) {}))
	library := box.write("box/usr/libssl.so.3", madeGo(func([]byte) {}))
	box.process(1, "/", inside, library)
	require.NoError(t, os.Remove(filepath.Join(box.dir, "proc/1/root")))
	require.NoError(t, os.Symlink(filepath.Join(box.dir, "box"), filepath.Join(box.dir, "proc/1/root")))
	w := box.watch(Options{})
	require.Equal(t, map[string]int{"web": 1, "libssl.so.3": 1}, box.attached)
	require.True(t, isProgram(w.options.Proc, 1, "/usr/web"))

	root := filepath.Join(m.dir, "box")
	require.NoError(t, os.MkdirAll(root, 0o755))
	require.NoError(t, os.Symlink(ssl, filepath.Join(root, "libssl.so.1")))
	_, err := openInRoot(root, "/libssl.so.1")
	require.ErrorIs(t, err, unix.ENOENT)
}
