package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// kernelDelay adds up how long the threads of processes waited for a processor, as the scheduler tells (Documentation/scheduler/sched-stats.rst).
func kernelDelay(t *testing.T, processes ...*os.Process) (sum float64) {
	t.Helper()
	for _, p := range processes {
		list, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.Pid))
		require.NoError(t, err)
		require.NotEmpty(t, list)
		for _, name := range list {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			v, ok := parseUint(strings.Fields(string(text))[1])
			require.True(t, ok)
			sum += float64(v) / nanoseconds
		}
	}
	return sum
}

// onOneProcessor runs a function whose thread, and what that starts, has one processor.
func onOneProcessor(t *testing.T, run func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &all))
	for cpu := range len(all) * 64 {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	require.NoError(t, unix.SchedSetaffinity(0, &one))
	defer func() { require.NoError(t, unix.SchedSetaffinity(0, &all)) }()
	run()
}

func TestDelaysAreTheKernels(t *testing.T) {
	if _, err := findTaskstats(); errors.Is(err, unix.ENOENT) {
		t.Skip("this kernel was built without taskstats")
	}
	clock := newClock()
	m := newMeter(t, Options{Now: clock.now, Delays: true})
	gather(m)
	id, dirs := container(t, &m.tree)
	var first, second burning
	onOneProcessor(t, func() { first, second = ignite(t, dirs, 0.5), ignite(t, dirs, 0.5) })
	first.wait(t)
	second.wait(t)

	clock.step()
	before := kernelDelay(t, first.Process, second.Process)
	got := gather(m)
	who := labelSet("container_id", "/docker/"+id[:12], "app_id", "/docker/"+id[:12], "machine_id", "m1")
	waited := got.value(t, "container_resources_cpu_delay_seconds_total", who)
	require.GreaterOrEqual(t, waited, before-1e-9, "but for rounding, and what threads that have ended waited, which may be any time on a busy machine")
	require.Positive(t, waited, "each waited while the other ran")
	setting, err := os.ReadFile("/proc/sys/kernel/task_delayacct")
	counted := err == nil && strings.TrimSpace(string(setting)) != "0"
	require.Equal(t, counted, got.has("container_resources_disk_delay_seconds_total", who), "only where the kernel counts them")
	require.Zero(t, m.failed)

	require.NoError(t, first.Kill())
	require.NoError(t, second.Kill())
	clock.step()
	require.GreaterOrEqual(t, gather(m).value(t, "container_resources_cpu_delay_seconds_total", who), waited, "it does not go back with its processes")
}

func TestProcessThatIsGone(t *testing.T) {
	tasks, err := findTaskstats()
	if errors.Is(err, unix.ENOENT) {
		t.Skip("this kernel was built without taskstats")
	}
	require.NoError(t, err)
	require.NoError(t, tasks.open())
	defer tasks.close()
	_, err = tasks.of(1 << 30)
	require.ErrorIs(t, err, unix.ESRCH)
	_, err = tasks.of(uint32(os.Getpid()))
	require.NoError(t, err)
}

// taskstatsAnswer is one as the kernel writes it.
func taskstatsAnswer(cpu, disk uint64) []byte {
	native := binary.NativeEndian
	stats := make([]byte, unsafe.Sizeof(unix.Taskstats{}))
	native.PutUint64(stats[unsafe.Offsetof(unix.Taskstats{}.Cpu_delay_total):], cpu)
	native.PutUint64(stats[unsafe.Offsetof(unix.Taskstats{}.Blkio_delay_total):], disk)
	attr := func(kind uint16, value []byte) []byte {
		b := native.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
		return append(native.AppendUint16(b, kind), value...)
	}
	inner := append(attr(unix.TASKSTATS_TYPE_TGID, native.AppendUint32(nil, 77)), attr(unix.TASKSTATS_TYPE_STATS, stats)...)
	body := append([]byte{unix.TASKSTATS_CMD_NEW, 1, 0, 0}, attr(unix.TASKSTATS_TYPE_AGGR_TGID, inner)...)
	b := native.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = native.AppendUint16(b, 30)
	return append(append(b, make([]byte, 10)...), body...)
}

func FuzzTaskstats(f *testing.F) {
	whole := taskstatsAnswer(5, 7)
	d, err := parseTaskstats(whole)
	require.NoError(f, err)
	require.Equal(f, delays{5, 7}, d)
	for n := range len(whole) {
		if d, err := parseTaskstats(whole[:n]); err == nil {
			f.Fatalf("the first %d bytes of an answer are %+v", n, d)
		}
	}
	f.Add(whole)
	f.Add(append(append(make([]byte, 4), 2, 0), make([]byte, 30)...))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseTaskstats(b) })
}
