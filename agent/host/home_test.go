package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

// machineOf is a machine of files, some containers and processes of which a test begins and ends.
type machineOf struct {
	t     *testing.T
	root  string
	clock *clock
	meter *Meter
	up    uint64 // ticks since boot, of which it slept some: both go on as a test tells of something later
	slept time.Duration
}

func newMachineOf(t *testing.T) *machineOf {
	m := &machineOf{t: t, root: t.TempDir(), clock: newClock()}
	files{"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2}.write(t, m.root)
	m.meter = newMeter(t, Options{Root: m.root, Now: m.clock.now, SeriesExpiry: time.Hour})
	m.meter.clocks = func() (monotonic, slept time.Duration) { return time.Duration(m.up*tick) - m.slept, m.slept }
	return m
}

// process begins a process in a cgroup, so many ticks after boot.
func (m *machineOf) process(pid, started int, cgroup string) {
	dir := fmt.Sprintf("proc/%d/", pid)
	files{
		dir + "stat":   fmt.Sprintf("%d (x) S 1 1 1 0 -1 0 0 0 0 0 1 1 0 0 20 0 1 0 %d 0 0\n", pid, started),
		dir + "cgroup": "0::/" + cgroup + "\n",
	}.write(m.t, m.root)
	cgroupV2(cgroup, 1, 1).write(m.t, m.root)
	m.up = max(m.up, uint64(started))
}

// ended tells of the end of the first process of a pid namespace, from and to so many ticks after boot without what the machine slept.
func (m *machineOf) ended(id process.Identity, began, until uint64) {
	m.up = max(m.up, until+uint64(m.slept)/tick)
	m.meter.Ended(id, time.Duration(began*tick), time.Duration(until*tick))
}

func (m *machineOf) ends(pid int, cgroup string) {
	require.NoError(m.t, os.RemoveAll(filepath.Join(m.root, fmt.Sprintf("proc/%d", pid))))
	if cgroup != "" {
		require.NoError(m.t, os.RemoveAll(filepath.Join(m.root, "sys/fs/cgroup", cgroup)))
	}
}

func (m *machineOf) restarts(id, app string) float64 {
	m.t.Helper()
	m.clock.step()
	return gather(m.meter).value(m.t, "container_restarts_total", labelSet("machine_id", "m1", "container_id", id, "app_id", app))
}

func TestRestartsOfAContainerOfAPod(t *testing.T) {
	m := newMachineOf(t)
	pod := "kubepods/burstable/pod" + podA
	bundle(webID, "db-0", "pg", "container").write(t, m.root)
	m.process(10, 100, pod+"/"+webID)
	read := func() float64 { return m.restarts("/k8s/shop/db-0/pg", "/k8s/shop/db") }
	require.Zero(t, read(), "it was there before us")
	m.process(11, 700, pod+"/"+webID)
	id := process.Identity{ContainerID: "/k8s/shop/db-0/pg", AppID: "/k8s/shop/db", PodUID: podA, Pod: "db-0"}
	m.ended(id, 700, 750)
	require.Zero(t, read(), "one more process in it, and the end of a pid namespace that a program in it made")
	m.ends(11, "")
	require.Zero(t, read())

	m.ends(10, pod+"/"+webID)
	next := boxID
	bundle(next, "db-0", "pg", "container").write(t, m.root)
	m.process(12, 900, pod+"/"+next)
	require.InDelta(t, 1, read(), 0, "another container of that name in the same pod")
	require.InDelta(t, 1, read(), 0)

	m.ends(12, pod+"/"+next)
	require.InDelta(t, 1, read(), 0, "it goes on while it is away")
	m.ended(id, 900, 1000)
	require.InDelta(t, 1, read(), 0, "the end of the life that was seen")
	m.ended(id, 1200, 1300)
	m.ended(id, 1500, 1550)
	require.InDelta(t, 3, read(), 0, "two lives between readings, which the kernel told the ends of")

	m.process(14, 1800, pod+"/"+next)
	m.ended(id, 1600, 1700)
	m.ended(id, 1900, 1950)
	require.InDelta(t, 5, read(), 0, "a life that ended and the one that is there; what ended within that is none")
	m.ends(14, pod+"/"+next)

	m.process(13, 2000, "kubepods/burstable/pod1"+podA[1:]+"/"+next)
	require.InDelta(t, 5, read(), 0, "another pod of that name has not begun again")
}

// TestNamespacesThatEndWithTheirContainer: the kernel ends the pid namespaces in a container with it, and they have not begun again.
func TestNamespacesThatEndWithTheirContainer(t *testing.T) {
	for name, test := range map[string]struct {
		seen []int // when processes in the container began that the reading before its end has seen
		ends [][2]uint64
		want float64
	}{
		"one that was seen":                         {[]int{100, 500}, [][2]uint64{{100, 801}, {500, 801}}, 0},
		"of a container that ended with 0":          {[]int{100, 500}, [][2]uint64{{500, 801}}, 0},
		"one that began after the reading":          {[]int{100}, [][2]uint64{{700, 801}, {100, 800}}, 0},
		"one that ended before the container":       {[]int{100}, [][2]uint64{{700, 750}, {100, 800}}, 0},
		"and a life with one of its own after that": {[]int{100, 500}, [][2]uint64{{100, 800}, {500, 801}, {850, 900}, {860, 901}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachineOf(t)
			scope, docker := "system.slice/docker-"+webID+".scope", "/docker/"+webID[:12]
			for i, started := range test.seen {
				m.process(10+i, started, scope)
			}
			require.Zero(t, m.restarts(docker, docker))
			for i := range test.seen {
				m.ends(10+i, "")
			}
			m.ends(10, scope)
			for _, e := range test.ends {
				m.ended(process.Identity{ContainerID: docker, AppID: docker}, e[0], e[1])
			}
			require.InDelta(t, test.want, m.restarts(docker, docker), 0)
			m.process(20, 1000, scope)
			require.InDelta(t, test.want+1, m.restarts(docker, docker), 0, "it begins again")
		})
	}
}

func TestRestartsOfAMachineThatSleeps(t *testing.T) {
	m := newMachineOf(t)
	m.slept = time.Second / 2 // 50 ticks
	scope, docker := "system.slice/docker-"+webID+".scope", "/docker/"+webID[:12]
	id := process.Identity{ContainerID: docker, AppID: docker}
	m.process(10, 100, scope) // before it slept
	m.up = 200
	require.Zero(t, m.restarts(docker, docker))
	m.slept += 100 * time.Second
	m.up = 10300
	m.ends(10, scope)
	m.ended(id, 50, 200)
	require.Zero(t, m.restarts(docker, docker), "one life, before and after")
	m.ended(id, 300, 400)
	require.InDelta(t, 1, m.restarts(docker, docker), 0)
	m.slept += 5 * time.Second
	m.process(11, int(m.up)+600, scope)
	require.InDelta(t, 2, m.restarts(docker, docker), 0)
}

// TestInvocationsOfUnits: what systemd runs before and after the main process of a unit is of the same life.
func TestInvocationsOfUnits(t *testing.T) {
	m := newMachineOf(t)
	unit := "system.slice/nginx.service"
	invoke := func(id string) {
		err := unix.Setxattr(filepath.Join(m.root, "sys/fs/cgroup", unit), "user.invocation_id", []byte(id), 0)
		if errors.Is(err, unix.ENOTSUP) {
			t.Skip("no extended attributes on the file system of the test")
		}
		require.NoError(t, err)
	}
	read := func() float64 { return m.restarts("/"+unit, "/"+unit) }
	m.process(10, 100, unit) // ExecStartPre
	require.Zero(t, read(), "systemd has not written which it is")
	invoke("a")
	require.Zero(t, read())
	m.ends(10, "")
	m.process(11, 200, unit)
	require.Zero(t, read(), "ExecStart")
	m.ends(11, "")
	m.process(12, 300, unit)
	require.Zero(t, read(), "ExecStopPost")
	m.ends(12, unit)
	m.process(13, 400, unit)
	invoke("b")
	require.InDelta(t, 1, read(), 0)
	m.process(14, 500, unit)
	invoke("c")
	require.InDelta(t, 2, read(), 0, "though something was left of the one before")
	m.ends(13, "")
	m.ends(14, unit)
	m.process(15, 600, unit)
	require.InDelta(t, 3, read(), 0, "by their times where systemd does not tell")
}

func TestRestartsOfUnitsAndOfContainersOfDocker(t *testing.T) {
	m := newMachineOf(t)
	unit, scope := "system.slice/nginx.service", "system.slice/docker-"+webID+".scope"
	docker := "/docker/" + webID[:12]
	m.process(10, 100, unit)
	m.process(11, 110, unit) // of the same
	m.process(20, 100, scope)
	require.Zero(t, m.restarts("/"+unit, "/"+unit))
	m.ends(10, "")
	require.Zero(t, m.restarts("/"+unit, "/"+unit), "its first process is gone, others go on")
	m.ends(11, "")
	m.process(12, 500, unit)
	m.ends(20, scope)
	m.process(21, 501, scope)
	require.InDelta(t, 1, m.restarts("/"+unit, "/"+unit), 0, "in the same cgroup")
	require.InDelta(t, 1, m.restarts(docker, docker), 0, "in another of the same name")
	s, ok := gather(m.meter).find("container_restarts_total", labelSet("machine_id", "m1", "container_id", docker, "app_id", docker))
	require.True(t, ok)
	require.Equal(t, newClock().at.Add(5*time.Second), s.Created, "since the first reading")

	m.meter.Ended(process.Identity{ContainerID: "/docker/x", AppID: "/docker/x", Sandbox: true}, time.Second, 2*time.Second)
	m.meter.Ended(process.Identity{ContainerID: "/docker/y", AppID: "/docker/y", PodUID: podA, Unnamed: true}, time.Second, 2*time.Second)
	m.meter.Ended(process.Identity{ContainerID: "/process/z", AppID: "/process/z", Workload: model.Workload{Kind: model.KindProcess, Name: "z"}}, time.Second, 2*time.Second)
	m.clock.step()
	for _, s := range gather(m.meter) {
		require.NotContains(t, []string{"/docker/x", "/docker/y", "/process/z"}, s.Labels.Get("container_id"), "what is no container, and what has no name yet")
	}
}

func TestContainerInfo(t *testing.T) {
	m := newMachineOf(t)
	text := `{"annotations":{"io.kubernetes.cri.sandbox-name":"db-0","io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.container-name":"pg","io.kubernetes.cri.image-name":"postgres:17"}}`
	files{"run/containerd/io.containerd.runtime.v2.task/k8s.io/" + webID + "/config.json": text}.write(t, m.root)
	m.process(10, 100, "kubepods/burstable/pod"+podA+"/"+webID)
	m.process(11, 100, "system.slice/nginx.service")
	want := labelSet("machine_id", "m1", "container_id", "/k8s/shop/db-0/pg", "app_id", "/k8s/shop/db", "image", "postgres:17")
	var infos []labels.Labels
	for _, s := range gather(m.meter) {
		if s.Family.Name == "container_info" {
			infos = append(infos, s.Labels)
		}
	}
	require.Equal(t, []labels.Labels{want}, infos, "nothing is known of the unit, for there is no systemd")
	m.ends(10, "kubepods")
	m.clock.step()
	require.False(t, gather(m.meter).has("container_info", want))

	a := &account{labels: labelSet("container_id", "/system.slice/a.service")}
	a.describe(process.Description{Unit: process.Unit{Type: "oneshot", TriggeredBy: "a.timer"}})
	require.Equal(t, labelSet("container_id", "/system.slice/a.service", "systemd_type", "oneshot", "systemd_triggered_by", "a.timer"), a.info)
	a.describe(process.Description{})
	require.True(t, a.info.IsEmpty())
}

func TestOldestProcessesOfContainers(t *testing.T) {
	m := newMachineOf(t)
	m.slept = time.Second
	pod := "kubepods/burstable/pod" + podA + "/"
	m.process(10, 500, pod+webID)
	m.process(11, 100, pod+webID)
	m.process(12, 300, pod+boxID)
	m.process(13, 200, pod+boxID)
	m.process(14, 50, "system.slice/nginx.service")
	files{"proc/13/stat": "13 (x) y) Z 1 1 1 0 -1 0 0 0 0 0 1 1 0 0 20 0 1 0 200 0 0\n"}.write(t, m.root)
	at := func(ticks uint64) time.Duration { return time.Duration(ticks*tick) - m.slept }
	require.Equal(t, map[string]time.Duration{webID: at(100), boxID: at(300)}, m.meter.Oldest(), "what has ended does not live, and units are none")
}
