package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

// files is a file system of small texts, as the kernel would show it.
type files map[string]string

// write makes them below a root. Folders of ext4, xfs and tmpfs have the link count that cgroups have too.
func (f files) write(t testing.TB, root string) {
	t.Helper()
	for name, text := range f {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

// mountsV2 is the mountinfo of a machine with version 2 alone.
const mountsV2 = `22 28 0:21 / /proc rw,nosuid shared:5 - proc proc rw
27 22 0:24 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
`

// cgroupV2 are the files of one cgroup after some seconds of work.
func cgroupV2(dir string, seconds, megabytes int) files {
	mb := 1 << 20
	dir = "sys/fs/cgroup/" + dir + "/"
	return files{
		dir + "cpu.stat": fmt.Sprintf("usage_usec %d\nuser_usec %d\nsystem_usec %d\nnr_periods 10\nnr_throttled 2\nthrottled_usec %d\n",
			seconds*1e6, seconds*75e4, seconds*25e4, seconds*1e5),
		dir + "cpu.max":         "150000 100000\n",
		dir + "memory.current":  fmt.Sprintln(megabytes * mb),
		dir + "memory.max":      fmt.Sprintln(512 * mb),
		dir + "memory.stat":     fmt.Sprintf("anon %d\nfile %d\nkernel 100\nfile_mapped %d\ninactive_file %d\n", megabytes/2*mb, megabytes/2*mb, mb, megabytes/4*mb),
		dir + "io.stat":         fmt.Sprintf("259:0 rbytes=%d wbytes=%d rios=%d wios=%d dbytes=0 dios=0\n7:1 \n", seconds*1000, seconds*2000, seconds, seconds*2),
		dir + "cpu.pressure":    fmt.Sprintf("some avg10=0.00 avg60=0.00 avg300=0.00 total=%d\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=%d\n", seconds*5000, seconds*3000),
		dir + "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		dir + "cgroup.procs":    "",
	}
}

const (
	webID = "aaaaaaaaaaaa5e4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a"
	boxID = "bbbbbbbbbbbb5e4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0b"
	podA  = "0f6c2a1e-7d3b-4b0e-9a51-1c2d3e4f5a6b"
)

// bundle is what containerd keeps of a container in a pod.
func bundle(id, pod, container, kind string) files {
	return files{"run/containerd/io.containerd.runtime.v2.task/k8s.io/" + id + "/config.json": fmt.Sprintf(
		`{"annotations":{"io.kubernetes.cri.sandbox-name":%q,"io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.container-name":%q,"io.kubernetes.cri.container-type":%q}}`,
		pod, container, kind)}
}

func TestLayoutsOfVersion2(t *testing.T) {
	underscored := strings.ReplaceAll(podA, "-", "_")
	slice := "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + underscored + ".slice"
	for name, layout := range map[string]struct{ pod, web, box, prefix string }{
		"systemd and containerd":  {slice, "cri-containerd-" + webID + ".scope", "cri-containerd-" + boxID + ".scope", ""},
		"cgroupfs and containerd": {"kubepods/burstable/pod" + podA, webID, boxID, ""},
		"systemd and Docker":      {slice, "docker-" + webID + ".scope", "docker-" + boxID + ".scope", ""},
		"systemd and CRI-O":       {slice, "crio-" + webID + ".scope", "crio-" + boxID + ".scope", ""},
		"a node in a container":   {"kubelet.slice/kubelet-" + slice, "cri-containerd-" + webID + ".scope", "cri-containerd-" + boxID + ".scope", ""},
	} {
		t.Run(name, func(t *testing.T) {
			root, clock := t.TempDir(), newClock()
			files{"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2, "proc/diskstats": "259 0 nvme0n1 1 0 2 3 4 0 5 6 0 7 8\n"}.write(t, root)
			runtime := "containerd"
			switch {
			case strings.HasPrefix(layout.web, "crio-"):
				runtime = "crio"
				for id, kind := range map[string]string{webID: "container", boxID: "sandbox"} {
					text := fmt.Sprintf(`{"annotations":{"io.kubernetes.pod.name":"web-5d9c7b6f4d-x2bkq","io.kubernetes.pod.namespace":"shop","io.kubernetes.container.name":"app","io.kubernetes.cri-o.ContainerType":%q}}`, kind)
					files{"run/containers/storage/overlay-containers/" + id + "/userdata/config.json": text}.write(t, root)
				}
			case strings.HasPrefix(layout.web, "docker-"):
				runtime = "docker"
			default:
				bundle(webID, "web-5d9c7b6f4d-x2bkq", "app", "container").write(t, root)
				bundle(boxID, "web-5d9c7b6f4d-x2bkq", "", "sandbox").write(t, root)
			}
			put := func(seconds int) {
				cgroupV2(layout.pod, seconds+1, 104).write(t, root)
				cgroupV2(layout.pod+"/"+layout.web, seconds, 100).write(t, root)
				cgroupV2(layout.pod+"/"+layout.box, 1, 4).write(t, root)
				cgroupV2("system.slice/nginx.service", 2*seconds, 40).write(t, root)
				cgroupV2("system.slice/nginx.service/worker", seconds, 20).write(t, root)
			}
			put(100)
			m := newMeter(t, Options{Root: root, Now: clock.now})
			gather(m)
			put(110)
			clock.step()
			got := gather(m)

			unit := labelSet("machine_id", "m1", "container_id", "/system.slice/nginx.service", "app_id", "/system.slice/nginx.service")
			require.InDelta(t, 20, got.value(t, "container_resources_cpu_usage_seconds_total", unit), 1e-9, "only what it did since we watch")
			if runtime == "docker" { // nobody answers for it, so it has the name of its id
				require.True(t, got.has("container_resources_cpu_usage_seconds_total", labelSet("machine_id", "m1", "container_id", "/docker/"+webID[:12], "app_id", "/docker/"+webID[:12])))
				return
			}
			app := labelSet("machine_id", "m1", "container_id", "/k8s/shop/web-5d9c7b6f4d-x2bkq/app", "app_id", "/k8s/shop/web")
			require.InDelta(t, 10, got.value(t, "container_resources_cpu_usage_seconds_total", app), 1e-9)
			require.InDelta(t, 1, got.value(t, "container_resources_cpu_throttled_seconds_total", app), 1e-9)
			require.InDelta(t, 1.5, got.value(t, "container_resources_cpu_limit_cores", app), 0)
			require.EqualValues(t, 512<<20, got.value(t, "container_resources_memory_limit_bytes", app))
			require.EqualValues(t, 51<<20, got.value(t, "container_resources_memory_rss_bytes", app))
			require.EqualValues(t, 50<<20, got.value(t, "container_resources_memory_cache_bytes", app))
			require.EqualValues(t, 75<<20, got.value(t, "container_resources_memory_working_set_bytes", app))
			require.InDelta(t, 0.05, got.value(t, "container_resources_cpu_pressure_waiting_seconds_total", with(app, "kind", "some")), 1e-9)
			require.InDelta(t, 0.03, got.value(t, "container_resources_cpu_pressure_waiting_seconds_total", with(app, "kind", "full")), 1e-9)
			require.InDelta(t, 0, got.value(t, "container_resources_memory_pressure_waiting_seconds_total", with(app, "kind", "some")), 0)
			require.InDelta(t, 10000, got.value(t, "container_resources_disk_read_bytes_total", with(app, "device", "nvme0n1")), 0)
			require.InDelta(t, 20, got.value(t, "container_resources_disk_writes_total", with(app, "device", "nvme0n1")), 0)
			for _, s := range got {
				require.NotContains(t, s.Labels.Get("container_id"), boxID[:12], "what holds a pod's namespaces is no container")
			}

			pod := labelSet("namespace", "shop", "pod", "web-5d9c7b6f4d-x2bkq", "kind", "Pod", "workload", "web-5d9c7b6f4d-x2bkq")
			require.InDelta(t, 7.5, got.value(t, "vetch_pod_cpu_seconds_total", with(pod, "mode", "user")), 1e-9)
			require.EqualValues(t, 78<<20, got.value(t, "vetch_pod_memory_working_set_bytes", pod), "with what holds its namespaces")
			workload := labelSet("namespace", "shop", "kind", "Pod", "workload", "web-5d9c7b6f4d-x2bkq")
			require.InDelta(t, 2.5, got.value(t, "vetch_workload_cpu_seconds_total", with(workload, "mode", "system")), 1e-9, "each container counts once")
		})
	}
}

func TestCountersOfWorkloadsGoOn(t *testing.T) {
	root, clock := t.TempDir(), newClock()
	files{"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2}.write(t, root)
	m := newMeter(t, Options{Root: root, Now: clock.now, SeriesExpiry: time.Minute})
	gather(m)
	scope := "system.slice/docker-" + webID + ".scope"
	name := labelSet("kind", "Container", "workload", webID[:12], "mode", "user")
	read := func() (model.Sample, bool) {
		clock.step()
		return gather(m).find("vetch_workload_cpu_seconds_total", name)
	}
	first := clock.at
	cgroupV2(scope, 4, 8).write(t, root)
	s, ok := read()
	require.True(t, ok)
	require.InDelta(t, 3, s.Value, 1e-9, "all that it did: it was not there at the last reading")
	require.Equal(t, first, s.Created, "it began after the last reading")

	require.NoError(t, os.RemoveAll(filepath.Join(root, "sys/fs/cgroup", scope)))
	_, _ = read()
	cgroupV2(scope, 8, 8).write(t, root)
	s, _ = read()
	require.InDelta(t, 9, s.Value, 1e-9, "another cgroup of the same name adds to it")

	require.NoError(t, os.RemoveAll(filepath.Join(root, "sys/fs/cgroup", scope)))
	s, ok = read()
	require.True(t, ok)
	require.InDelta(t, 9, s.Value, 1e-9)
	clock.at = clock.at.Add(time.Minute)
	_, ok = read()
	require.False(t, ok, "it has expired")
}

func TestKillsForWantOfMemory(t *testing.T) {
	root, clock := t.TempDir(), newClock()
	files{"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2}.write(t, root)
	scope := "system.slice/docker-" + webID + ".scope"
	cgroupV2(scope, 4, 8).write(t, root)
	m := newMeter(t, Options{Root: root, Now: clock.now, SeriesExpiry: time.Minute, Kills: true})
	id := "/docker/" + webID[:12]
	kills := func(id string) (model.Sample, bool) {
		return gather(m).find("container_oom_kills_total", m.machineLabels("container_id", id, "app_id", id))
	}
	s, ok := kills(id)
	require.True(t, ok)
	require.Zero(t, s.Value, "a container that lives shows that there were none")
	before := clock.at
	clock.step()
	m.Killed(process.Identity{ContainerID: id, AppID: id})
	m.Killed(process.Identity{ContainerID: id, AppID: id})
	m.Killed(process.Identity{ContainerID: "/docker/brief", AppID: "/docker/brief"}) // lived between two readings
	s, _ = kills(id)
	require.InDelta(t, 2, s.Value, 0)
	s, ok = kills("/docker/brief")
	require.True(t, ok)
	require.InDelta(t, 1, s.Value, 0)
	require.False(t, s.Created.After(before), "it began before the kill")
	clock.at = clock.at.Add(2 * time.Minute)
	gather(m)
	_, ok = kills("/docker/brief")
	require.False(t, ok, "it has expired")
	_, ok = kills(id)
	require.True(t, ok)

	m = newMeter(t, Options{Root: root, Now: clock.now})
	_, ok = kills(id)
	require.False(t, ok, "who does not watch for kills does not say that there were none")
}

func TestProgramsOutsideOfCgroups(t *testing.T) {
	root, clock := t.TempDir(), newClock()
	status := "Name:\tx\nVmRSS:\t    3000 kB\nRssAnon:\t    1000 kB\nRssFile:\t    2000 kB\nRssShmem:\t       0 kB\n"
	line := func(pid, user, system, started, flags int) string {
		return fmt.Sprintf("%d (a) (b) S 1 1 1 0 -1 %d 0 0 0 0 %d %d 0 0 20 0 1 0 %d 0 0\n", pid, flags, user, system, started)
	}
	put := func(pid, user, started, flags int, comm string) {
		dir := fmt.Sprintf("proc/%d/", pid)
		files{dir + "stat": line(pid, user, 100, started, flags), dir + "status": status, dir + "comm": comm + "\n", dir + "cgroup": "0::/user.slice/session-1.scope\n"}.write(t, root)
	}
	files{"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2}.write(t, root)
	put(10, 500, 7, 0, "make")
	put(11, 300, 7, 0, "make")
	put(12, 9999, 7, kernelThread, "kworker/0:1")
	m := newMeter(t, Options{Root: root, Now: clock.now})
	gather(m)
	put(10, 700, 7, 0, "make")
	put(11, 50, 90, 0, "make") // another process of that pid
	clock.step()
	gather(m)
	clock.step()
	got := gather(m)
	name := labelSet("kind", "Process", "workload", "make")
	require.InDelta(t, 2.5, got.value(t, "vetch_workload_cpu_seconds_total", with(name, "mode", "user")), 1e-9)
	require.InDelta(t, 1, got.value(t, "vetch_workload_cpu_seconds_total", with(name, "mode", "system")), 1e-9)
	require.EqualValues(t, 6000*1024, got.value(t, "vetch_workload_memory_rss_bytes", name))
	require.EqualValues(t, 2000*1024, got.value(t, "vetch_workload_memory_working_set_bytes", name))
	require.EqualValues(t, 6000*1024, got.value(t, "container_resources_memory_rss_bytes", labelSet("machine_id", "m1", "container_id", "/process/make", "app_id", "/process/make")))
	for _, s := range got {
		require.NotContains(t, s.Labels.Get("workload"), "kworker")
	}
}

func TestNodeFigures(t *testing.T) {
	root, clock := t.TempDir(), newClock()
	files{
		"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2,
		"proc/stat":              "cpu  100 5 50 1000 20 1 2 3 4 0\ncpu0 50 5 25 500 10 1 1 1 2 0\ncpu1 50 0 25 500 10 0 1 2 2 0\nintr 1\n",
		"proc/meminfo":           "MemTotal:       16384 kB\nMemFree:         1024 kB\nMemAvailable:    8192 kB\nCached:          2048 kB\n",
		"proc/diskstats":         " 259 0 nvme0n1 10 1 200 300 20 2 400 500 0 600 800\n 259 1 nvme0n1p1 1 1 1 1 1 1 1 1 0 1 1\n 7 0 loop0 1 1 1 1 1 1 1 1 0 1 1\n",
		"proc/1/net/dev":         "Inter-|   Receive\n face |bytes\n  eth0: 1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0\n  eth1: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n veth1: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n",
		"sys/block/nvme0n1/size": "1\n", "sys/block/loop0/size": "1\n", "sys/class/net/eth0/flags": "0x1003\n", "sys/class/net/eth0/operstate": "up\n", "sys/class/net/eth1/flags": "0x1003\n", "sys/class/net/eth1/operstate": "down\n",
	}.write(t, root)
	m := newMeter(t, Options{Root: root, Now: clock.now})
	got := gather(m)
	on := func(more ...string) gathered { return got }
	of := func(more ...string) float64 {
		return on().value(t, more[0], labelSet(append([]string{"machine_id", "m1"}, more[1:]...)...))
	}
	require.InDelta(t, 1, of("node_resources_cpu_usage_seconds_total", "mode", "user"), 1e-9)
	require.InDelta(t, 0.03, of("node_resources_cpu_usage_seconds_total", "mode", "steal"), 1e-9)
	require.InDelta(t, 2, of("node_resources_cpu_logical_cores"), 0)
	require.EqualValues(t, 8<<20, of("node_resources_memory_available_bytes"))
	require.EqualValues(t, 200*512, of("node_resources_disk_read_bytes_total", "device", "nvme0n1"))
	require.InDelta(t, 0.6, of("node_resources_disk_io_time_seconds_total", "device", "nvme0n1"), 1e-9)
	require.EqualValues(t, 2000, of("node_net_transmitted_bytes_total", "interface", "eth0"))
	require.EqualValues(t, 1, of("node_net_interface_up", "interface", "eth0"))
	require.EqualValues(t, 0, of("node_net_interface_up", "interface", "eth1"))
	for _, s := range got {
		require.NotContains(t, []string{"loop0", "nvme0n1p1", "veth1", "lo"}, s.Labels.Get("device")+s.Labels.Get("interface"), s.Family.Name)
	}
	files{"proc/stat": "cpu  100 5 50 900 20 1 2 3 4 0\ncpu0 1 1 1 1\n"}.write(t, root)
	clock.step()
	got = gather(m)
	require.InDelta(t, 10, of("node_resources_cpu_usage_seconds_total", "mode", "idle"), 1e-9, "a counter does not go back")
}

func TestLimitsThatChange(t *testing.T) {
	root, clock := t.TempDir(), newClock()
	files{"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2}.write(t, root)
	scope := "system.slice/docker-" + webID + ".scope"
	cgroupV2(scope, 1, 8).write(t, root)
	m := newMeter(t, Options{Root: root, Now: clock.now})
	who := labelSet("machine_id", "m1", "container_id", "/docker/"+webID[:12], "app_id", "/docker/"+webID[:12])
	gather(m)
	files{"sys/fs/cgroup/" + scope + "/cpu.max": "max 100000\n", "sys/fs/cgroup/" + scope + "/memory.max": "1048576\n"}.write(t, root)
	for range limitsEvery - 1 {
		clock.step()
		require.InDelta(t, 1.5, gather(m).value(t, "container_resources_cpu_limit_cores", who), 0, "they are believed for a while")
	}
	clock.step()
	got := gather(m)
	require.False(t, got.has("container_resources_cpu_limit_cores", who))
	require.EqualValues(t, 1<<20, got.value(t, "container_resources_memory_limit_bytes", who))
}

func TestAnotherMachinesCgroupsAreNotOurs(t *testing.T) {
	root, clock := t.TempDir(), newClock()
	files{"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2}.write(t, root)
	ours, theirs := "a/docker-"+webID+".scope", "b/docker-"+boxID+".scope"
	cgroupV2(ours, 1, 8).write(t, root)
	cgroupV2(theirs, 1, 8).write(t, root)
	files{"sys/fs/cgroup/" + ours + "/cgroup.procs": "77\n", "sys/fs/cgroup/" + theirs + "/cgroup.procs": "0\n"}.write(t, root)
	got := gather(newMeter(t, Options{Root: root, Now: clock.now, Nested: true}))
	require.True(t, got.has("vetch_workload_memory_rss_bytes", labelSet("kind", "Container", "workload", webID[:12])))
	require.False(t, got.has("vetch_workload_memory_rss_bytes", labelSet("kind", "Container", "workload", boxID[:12])))
}

func TestNetworkOfAContainer(t *testing.T) {
	root, clock := t.TempDir(), newClock()
	files{"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2, "proc/1/ns/net": ""}.write(t, root)
	scope := "system.slice/docker-" + webID + ".scope"
	cgroupV2(scope, 1, 8).write(t, root)
	dev := func(received, sent int) files {
		return files{"proc/77/net/dev": fmt.Sprintf("Inter-| Receive\n face |bytes\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  eth0: %d 1 0 0 0 0 0 0 %d 1 0 0 0 0 0 0\n", received, sent)}
	}
	files{"sys/fs/cgroup/" + scope + "/cgroup.procs": "77\n", "proc/77/ns/net": ""}.write(t, root)
	dev(1000, 2000).write(t, root)
	m := newMeter(t, Options{Root: root, Now: clock.now})
	gather(m)
	dev(1500, 2700).write(t, root)
	clock.step()
	got := gather(m)
	who := labelSet("kind", "Container", "workload", webID[:12])
	require.InDelta(t, 500, got.value(t, "vetch_workload_network_received_bytes_total", who), 0)
	require.InDelta(t, 700, got.value(t, "vetch_workload_network_transmitted_bytes_total", who), 0)
}

func TestMounts(t *testing.T) {
	require.Equal(t, map[string]string{"cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/my memory", "unified": "/sys/fs/cgroup/unified"}, parseMounts(`
30 25 0:26 / /kept rw - cgroup2 cgroup2 rw
31 25 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
32 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct
33 25 0:28 / /sys/fs/cgroup/my\040memory rw shared:11 - cgroup cgroup rw,memory
34 25 0:28 / /elsewhere rw shared:11 - cgroup cgroup rw,memory
35 25 0:29 / /sys/fs/cgroup/systemd rw shared:12 - cgroup cgroup rw,xattr,name=systemd
36 25 0:30 / / rw - ext4 /dev/sda1 rw
nonsense
`))
}

func TestFilesystems(t *testing.T) {
	text := `1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
2 1 8:1 /var/lib/kubelet/x /var/lib/kubelet/x rw - ext4 /dev/sda1 rw
3 1 8:17 / /data\040disk ro,relatime - xfs /dev/sdb1 ro
4 1 0:40 /@home /home rw - btrfs /dev/sdc1 rw,subvol=/@home
5 1 0:40 / /mnt rw - btrfs /dev/sdc1 rw
6 1 0:50 / /net rw - nfs4 server:/x rw
7 1 0:51 / /tmp rw - tmpfs tmpfs rw
8 1 0:52 / /run/x rw - overlay overlay rw
nonsense
`
	require.Equal(t, []filesystem{
		{device: "/dev/sda1", kind: "ext4", dir: "/"}, {device: "/dev/sdb1", kind: "xfs", dir: "/data disk", readOnly: true}, {device: "/dev/sdc1", kind: "btrfs", dir: "/home"},
	}, parseFilesystems(text))
	require.Equal(t, []filesystem{{device: "overlay", kind: "overlay", dir: "/"}}, parseFilesystems("1 0 0:33 / / rw - overlay overlay rw,lowerdir=/x\n"))

	root, clock := t.TempDir(), newClock()
	files{"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2 + "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 0 8:2 / /gone rw - ext4 /dev/sda2 rw\n"}.write(t, root)
	var want unix.Statfs_t
	require.NoError(t, unix.Statfs(root, &want))
	got := gather(newMeter(t, Options{Root: root, Now: clock.now}))
	where := labelSet("machine_id", "m1", "device", "/dev/sda1", "fstype", "ext4", "mountpoint", "/")
	require.InDelta(t, float64(want.Blocks)*float64(want.Bsize), got.value(t, "node_filesystem_size_bytes", where), 0)
	require.LessOrEqual(t, got.value(t, "node_filesystem_avail_bytes", where), got.value(t, "node_filesystem_free_bytes", where))
	require.Equal(t, want.Files > 0, got.has("node_filesystem_files", where))
	require.Zero(t, got.value(t, "node_filesystem_readonly", where))
	for _, s := range got {
		require.NotEqual(t, "/gone", s.Labels.Get("mountpoint"))
	}
}

// FuzzKernelTexts holds that no text of the kernel, or of what stands in for it, breaks a reading.
func FuzzKernelTexts(f *testing.F) {
	for _, text := range cgroupV2("a", 100, 8) {
		f.Add(text)
	}
	for _, text := range []string{mountsV2, "1 (a) b) S 1 1 1 0 -1 0 0 0 0 0 1 2 0 0 20 0 1 0 5 0 0\n", "8:0 Read 1\n8:0 Write 18446744073709551615\nTotal 1\n", "VmRSS: 1 kB\nRssFile: 5 kB\n", "cpu  1 2 3 4 5\ncpu0 1 2 3 4\n", "0x1003"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		root := t.TempDir()
		names := []string{"cpu.stat", "cpu.max", "memory.current", "memory.max", "memory.stat", "io.stat", "cpu.pressure", "cpuacct.usage", "cpuacct.stat",
			"cpu.cfs_quota_us", "cpu.cfs_period_us", "memory.usage_in_bytes", "memory.limit_in_bytes", "blkio.throttle.io_service_bytes_recursive"}
		all := files{}
		for _, name := range names {
			all[name] = text
		}
		all.write(t, root)
		m := &Meter{devices: map[string]string{}, limits: true, throttles: true}
		for _, read := range []func(string, *reading){m.cpuV1, m.cpuV2, m.memoryV1, m.memoryV2, m.ioV1, m.ioV2, m.pressure} {
			var r reading
			read(root, &r)
			require.LessOrEqual(t, len(r.disks), maxDevices)
			if r.has(memoryWorking) {
				require.GreaterOrEqual(t, r.gauges[memoryWorking], 0.0)
			}
		}
		_, _ = parseStat(text)
		if rss, file, ok := parseMemory(text); ok {
			require.LessOrEqual(t, file, rss)
		}
		parseMounts(text)
		require.LessOrEqual(t, len(parseFilesystems(text)), maxFilesystems)
		parseDisks(text, func(string, nodeDisk) {})
		require.LessOrEqual(t, len(parseInterfaces(text, nil)), maxInterfaces)
		parseCPU(text)
		parseMeminfo(text)
		_, _, _ = parseNetwork(text)
		_, _ = parseHex(text)
	})
}
