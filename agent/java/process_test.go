package java

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/agent/tls"
)

func TestProgramsAndChoice(t *testing.T) {
	for line, want := range map[string]string{
		"java -jar /opt/shop.jar --port 80":               "shop.jar",
		"java -Xmx1g -cp /a:/b org.example.Main x":        "org.example.Main",
		"java -p /m -m shop/org.example.Main":             "org.example.Main",
		"java --add-opens java.base/java.io=ALL a.B -jar": "a.B",
		"java @args Main":                                 "Main",
		"java -version":                                   "",
		"java":                                            "",
		"":                                                "",
	} {
		require.Equal(t, want, programOf(strings.Split(line, " ")), line)
	}
	p := &process{program: "shop.jar", exe: "/usr/bin/java"}
	for glob, want := range map[string]bool{All: true, "shop*": true, "*.jar": true, "java": true, "front": true, "fron": false, "": false, "[": false} {
		require.Equal(t, want, p.isChosen([]string{glob}, "front"), glob)
	}
	require.False(t, p.isChosen(nil, "front"))
	require.False(t, (&process{}).isChosen([]string{"?*"}, ""))
}

func TestWhatProcTells(t *testing.T) {
	p := &process{}
	p.readStatus("Name:\tjava\nUid:\t0\t1001\t0\t0\nGid:\t0\t1002\t0\t0\nNSpid:\t4711\t12\t1\nSigCgt:\t0000000181005ccf\n")
	require.Equal(t, process{uid: 1001, gid: 1002, inner: 1, quits: true}, *p)
	p.readStatus("Uid:\nGid: x y\nNSpid:\nSigCgt:\t0000000181005ccb\n")
	require.False(t, p.quits)
	p.readMaps("7f00-7f10 r--p 00000000 08:01 7 /opt/libjvm.so\n7f10-7f20 r-xp 00001000 08:01 7 /opt/my jdk/libjvm.so\n" +
		"7f30-7f40 r--p 00001000 08:01 7 /opt/my jdk/libjli.so\n" +
		"8000-8010 r-xp 00001000 08:01 8 /tmp/.vetch-java-00/libvetch-java.so (deleted)\n8010-8020 rw-p 00002000 08:01 8 /tmp/.vetch-java-00/libvetch-java.so (deleted)\n9000-9010 r-xp 0 08:01 8 /tmp/x/libvetch-java.so\nrubbish /\n")
	require.Equal(t, "/opt/my jdk/libjvm.so", p.libjvm)
	require.True(t, p.launched)
	require.Equal(t, []mapped{{"/tmp/.vetch-java-00/libvetch-java.so", "8000-8010", 0x8010, 0x2000}}, p.copies)
	p.proc, p.pid = t.TempDir(), 1
	require.ErrorIs(t, p.findLoaded(), errVersion, "it is not to be read, and so not known to be ours")
}

func TestJVMsThatDoNotWantToBeAttachedTo(t *testing.T) {
	data := []byte("....sun.rt.jvmCapabilities\x00\x00\x001000000\x00")
	require.False(t, cannotAttach(data))
	require.True(t, cannotAttach(bytes.ReplaceAll(data, []byte("1000"), []byte("0000"))))
	for i := range data {
		require.False(t, cannotAttach(data[:i]))
	}
	p := made(t)
	dir := p.tmpPath("hsperfdata_me")
	require.NoError(t, os.Mkdir(dir, 0o755))
	file := filepath.Join(dir, filepath.Base(p.path("")))
	require.NoError(t, os.WriteFile(file, bytes.ReplaceAll(data, []byte("1000"), []byte("0000")), 0o600))
	require.True(t, p.attachOff())
	require.NoError(t, os.Rename(file, p.tmpPath("data")))
	require.NoError(t, os.Symlink(p.tmpPath("data"), file))
	require.False(t, p.attachOff(), "through no link")
	require.ErrorIs(t, p.usable(), errNotHotSpot, "there is no libjvm.so")
}

// The library that is embedded has what the kernel's programs are put on.
func TestLibrary(t *testing.T) {
	points, err := library.points()
	require.NoError(t, err)
	require.Len(t, points, 2)
	require.NotZero(t, points[1].Counter)
	require.Zero(t, points[1].Counter%2, "the kernel counts in 16 bits")
	f, err := elf.NewFile(bytes.NewReader(library))
	require.NoError(t, err)
	needed, err := f.ImportedLibraries()
	require.NoError(t, err)
	require.Empty(t, needed, "it must load on every C library")
	undefined, err := f.ImportedSymbols()
	require.NoError(t, err)
	require.Empty(t, undefined)
	_, err = library[:100].points()
	require.Error(t, err)
}

type nothing struct{ closed *int }

func (n nothing) Close() error { *n.closed++; return nil }

func newAttacher(o Options, closed *int) *Attacher {
	o.Attach = func(string, []tls.Point) (io.Closer, error) { return nothing{closed}, nil }
	o.See, o.Forget, o.Off = func(uint32) error { return nil }, func(uint32) {}, func(uint32) bool { return false }
	return New(o)
}

// A process that is no JVM is refused before anything is done to it, and counted once.
func TestRefusesOnce(t *testing.T) {
	var closed int
	a := newAttacher(Options{Chosen: []string{All}}, &closed)
	pid := uint32(os.Getppid())
	a.Saw(pid)
	a.Saw(pid)
	a.Saw(uint32(os.Getpid())) // never itself
	require.True(t, a.next(t.Context()))
	require.Zero(t, a.busy, "a JVM that may have just begun is left alone")
	a.jvms[pid].next = time.Now()
	require.True(t, a.next(t.Context()))
	a.group.Wait()
	a.Saw(pid)
	require.False(t, a.next(t.Context()))
	require.NoError(t, testutil.CollectAndCompare(a.Collector(), strings.NewReader(`
# HELP vetch_tls_java_processes JVMs, by whether their own TLS is seen: seen, waiting, failed or not_chosen (agent.tls.java).
# TYPE vetch_tls_java_processes gauge
vetch_tls_java_processes{state="failed"} 1
vetch_tls_java_processes{state="not_chosen"} 0
vetch_tls_java_processes{state="seen"} 0
vetch_tls_java_processes{state="waiting"} 0
`), "vetch_tls_java_processes"))
	require.Equal(t, uint64(1), a.counts["not_hotspot"])
	require.NoError(t, a.Close())
}

func TestLeavesAloneWhatIsNotChosen(t *testing.T) {
	var closed int
	a := newAttacher(Options{Chosen: []string{"shop"}}, &closed)
	a.Saw(uint32(os.Getppid()))
	a.jvms[uint32(os.Getppid())].next = time.Now()
	a.next(t.Context())
	a.group.Wait()
	require.Equal(t, notChosen, a.jvms[uint32(os.Getppid())].state)
	a.jvms[uint32(os.Getppid())].started++ // the pid is another's now
	a.sweep()
	require.Empty(t, a.jvms)
	list := List(Options{Chosen: []string{"shop"}}, []uint32{uint32(os.Getppid()), uint32(os.Getppid()), 1 << 22})
	require.Len(t, list, 1)
	require.Equal(t, 2, list[0].Processes)
	require.ErrorIs(t, list[0].Err, errNotChosen)
}

// What was attached for a JVM that does not load the library is taken off again.
func TestProbesGoWhenTheLibraryIsNotLoaded(t *testing.T) {
	p := made(t)
	p.listen(t, answers("0\nreturn code: 207\n"))
	var closed int
	a := newAttacher(Options{}, &closed)
	_, err := a.load(t.Context(), p)
	require.ErrorIs(t, err, errJSSE)
	require.Equal(t, 1, closed)
	a.options.Attach = func(string, []tls.Point) (io.Closer, error) { return nil, errors.New("no") }
	_, err = a.load(t.Context(), p)
	require.ErrorIs(t, err, errProbes)
	requireClean(t, p)

	p = made(t)
	p.listen(t, func(c net.Conn) { command(c); io.WriteString(c, "0\nreturn code: 0\n") }) //nolint:errcheck // seen below
	closer, err := newAttacher(Options{}, &closed).load(t.Context(), p)
	require.NoError(t, err)
	require.Equal(t, 1, closed)
	require.NoError(t, closer.Close())
}
