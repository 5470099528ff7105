package host

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/agent/process"
)

// burnFor tells this test's own program to use a processor for so many of its seconds, and memory, and then to wait.
const burnFor = "VETCH_HOST_TEST_BURN"

const burnBytes = 64 << 20

func TestMain(m *testing.M) {
	if text := os.Getenv(burnFor); text != "" {
		seconds, _ := strconv.ParseFloat(text, 64)
		held := make([]byte, burnBytes)
		for i := 0; i < len(held); i += 4096 {
			held[i] = byte(i)
		}
		for cpuTime() < seconds {
			for i := range 1 << 20 {
				held[i]++
			}
		}
		fmt.Println("done")
		time.Sleep(time.Hour) // until it is killed
		fmt.Println(held[0])  // it was used
		return
	}
	os.Exit(m.Run())
}

func cpuTime() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 1e9
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// container makes a cgroup that looks like one of Docker's in all controllers of version 1, and gives its id.
func container(t testing.TB, tr *tree) (id string, dirs [controllers]string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root to make cgroups")
	}
	var b [32]byte
	_, _ = rand.Read(b[:])
	id = hex.EncodeToString(b[:])
	for c, m := range tr.mounts {
		if m.dir == "" {
			continue
		}
		top := filepath.Join(m.dir, fmt.Sprintf("vetch-host-test-%d", os.Getpid()))
		dirs[c] = filepath.Join(top, id)
		require.NoError(t, os.MkdirAll(dirs[c], 0o755), "cgroups can be made")
		t.Cleanup(func() {
			assert.EventuallyWithT(t, func(collect *assert.CollectT) {
				if err := os.Remove(dirs[c]); !errors.Is(err, os.ErrNotExist) {
					assert.NoError(collect, err, "there are processes in it")
				}
			}, time.Minute, 10*time.Millisecond)
			_ = os.Remove(top) // when the last one is gone
		})
	}
	return id, dirs
}

// burning is a program that uses a processor.
type burning struct {
	*os.Process
	out io.Reader
}

// ignite begins a program in cgroups that uses so much of a processor.
func ignite(t testing.TB, dirs [controllers]string, seconds float64) burning {
	t.Helper()
	// The shell joins the cgroups before the program begins, so that all of its memory is charged there.
	var script strings.Builder
	for _, dir := range dirs {
		if dir != "" {
			fmt.Fprintf(&script, "echo $$ > %s/cgroup.procs && ", dir)
		}
	}
	script.WriteString(`exec "$0"`)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("/bin/sh", "-c", script.String(), self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%g", burnFor, seconds))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return burning{cmd.Process, out}
}

// wait returns when it has used that much.
func (b burning) wait(t testing.TB) {
	t.Helper()
	line := make([]byte, 5)
	_, err := io.ReadFull(b.out, line)
	require.NoError(t, err)
	require.Equal(t, "done\n", string(line))
}

// burn runs a program in cgroups until it has used so much.
func burn(t testing.TB, dirs [controllers]string, seconds float64) burning {
	t.Helper()
	b := ignite(t, dirs, seconds)
	b.wait(t)
	return b
}

func kernelSays(t testing.TB, dir, name string) float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	v, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	require.NoError(t, err)
	return v
}

func TestFiguresAreTheKernels(t *testing.T) {
	clock := newClock()
	m := newMeter(t, Options{Now: clock.now})
	if m.tree.mounts[cpuController].unified || m.tree.mounts[memoryController].unified || m.tree.mounts[memoryController].dir == "" {
		t.Skip("needs the controllers of version 1")
	}
	gather(m)
	id, dirs := container(t, &m.tree)
	require.NoError(t, os.WriteFile(filepath.Join(dirs[memoryController], "memory.limit_in_bytes"), []byte("268435456"), 0o644))
	who := labelSet("container_id", "/docker/"+id[:12], "app_id", "/docker/"+id[:12], "machine_id", "m1")
	child := burn(t, dirs, 0.5)

	// The program sleeps, so that what the kernel says before and after a reading is nearly the same; its own runtime may still stir.
	clock.step()
	before := kernelSays(t, dirs[cpuController], "cpuacct.usage") / 1e9
	got := gather(m)
	after := kernelSays(t, dirs[cpuController], "cpuacct.usage") / 1e9
	used := got.value(t, "container_resources_cpu_usage_seconds_total", who)
	require.GreaterOrEqual(t, used, before)
	require.LessOrEqual(t, used, after)
	require.InDelta(t, 0.5, used, 0.1, "it used that much itself, the shell before it a little")
	workload := []string{"kind", "Container", "workload", id[:12]}
	user := got.value(t, "vetch_workload_cpu_seconds_total", labelSet(append(workload, "mode", "user")...))
	system := got.value(t, "vetch_workload_cpu_seconds_total", labelSet(append(workload, "mode", "system")...))
	require.InDelta(t, used, user+system, 1e-6, "both modes together are what was used")
	require.Greater(t, user, system)

	limit := got.value(t, "container_resources_memory_limit_bytes", who)
	require.EqualValues(t, 256<<20, limit)
	rss := got.value(t, "container_resources_memory_rss_bytes", who)
	working := got.value(t, "container_resources_memory_working_set_bytes", who)
	require.GreaterOrEqual(t, rss, float64(burnBytes))
	require.GreaterOrEqual(t, working, float64(burnBytes))
	stat, err := os.ReadFile(filepath.Join(dirs[memoryController], "memory.stat"))
	require.NoError(t, err)
	inactive, ok := field(string(stat), "total_inactive_file")
	require.True(t, ok)
	require.InDelta(t, kernelSays(t, dirs[memoryController], "memory.usage_in_bytes")-float64(inactive), working, 2<<20)
	require.InDelta(t, working, got.value(t, "vetch_workload_memory_working_set_bytes", labelSet(workload...)), 0)

	// It goes on from there, and its gauges end with it.
	require.NoError(t, child.Kill())
	require.Eventually(t, func() bool { return kernelProcs(dirs) == "" }, time.Minute, 10*time.Millisecond)
	for _, dir := range dirs {
		if dir != "" {
			require.Eventually(t, func() bool { return os.Remove(dir) == nil }, time.Minute, 10*time.Millisecond)
		}
	}
	clock.step()
	got = gather(m)
	require.GreaterOrEqual(t, got.value(t, "container_resources_cpu_usage_seconds_total", who), used)
	require.Zero(t, got.value(t, "container_restarts_total", who))
	require.False(t, got.has("container_resources_memory_rss_bytes", who))
	for _, dir := range dirs { // the same container, made anew
		if dir != "" {
			require.NoError(t, os.Mkdir(dir, 0o755))
		}
	}
	burn(t, dirs, 0.1)
	clock.step()
	got = gather(m)
	require.InDelta(t, 1, got.value(t, "container_restarts_total", who), 0)
	again := got.value(t, "container_resources_cpu_usage_seconds_total", who)
	require.GreaterOrEqual(t, again, used+0.05, "the counter goes on")
	require.LessOrEqual(t, again, used+kernelSays(t, dirs[cpuController], "cpuacct.usage")/1e9+1e-9, "but for the rounding of sums")
	clock.at = clock.at.Add(time.Hour)
	require.True(t, gather(m).has("container_resources_cpu_usage_seconds_total", who))
}

func kernelProcs(dirs [controllers]string) string {
	text, _ := os.ReadFile(filepath.Join(dirs[memoryController], "cgroup.procs"))
	return string(text)
}

// BenchmarkReading500Containers makes 500 cgroups in each controller, and tells the processor time of one reading of them.
func BenchmarkReading500Containers(b *testing.B) {
	clock := newClock()
	m := newMeter(b, Options{Now: clock.now, Delays: true})
	for range 500 {
		container(b, &m.tree)
	}
	gather(m)
	require.GreaterOrEqual(b, len(m.groups), 500)
	began := cpuTime()
	for b.Loop() {
		clock.step()
		gather(m)
	}
	b.ReportMetric((cpuTime()-began)*1e3/float64(b.N), "cpu-ms/reading")
}

// clock is one that a test moves.
type clock struct{ at time.Time }

func newClock() *clock                 { return &clock{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }
func (c *clock) now() time.Time        { return c.at }
func (c *clock) step() time.Time       { c.at = c.at.Add(5 * time.Second); return c.at }
func machine() process.Machine         { return process.Machine{ID: "m1"} }
func namer(root string) *process.Namer { return process.NewNamer(root, nil) }
