package process

import (
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	hexID  = "3f4ad5e0c1b29687a0f1e2d3c4b5a69788796a5b4c3d2e1f0011223344556677"
	hexID2 = "aa4ad5e0c1b29687a0f1e2d3c4b5a69788796a5b4c3d2e1f00112233445566bb"
	podUID = "0f6c2a1e-7d3b-4b0e-9a51-1c2d3e4f5a6b"
)

func TestParseCgroup(t *testing.T) {
	under := strings.ReplaceAll(podUID, "-", "_")
	container := func(runtime, id string) Place { return Place{Runtime: runtime, Container: id} }
	pod := func(runtime, id string) Place { return Place{Runtime: runtime, Container: id, PodUID: podUID} }
	unit := func(name, path string) Place { return Place{Unit: name, UnitPath: path} }
	for _, tc := range []struct {
		name, path string
		want       Place
	}{
		{"root", "/", Place{}},
		{"empty", "", Place{}},
		{"docker cgroupfs", "/docker/" + hexID, container("docker", hexID)},
		{"docker systemd", "/system.slice/docker-" + hexID + ".scope", container("docker", hexID)},
		{"docker with systemd inside", "/docker/" + hexID + "/system.slice/nginx.service", container("docker", hexID)},
		{"docker with init scope inside", "/system.slice/docker-" + hexID + ".scope/init.scope", container("docker", hexID)},
		{"docker, custom parent", "/actions_job/" + hexID, container("", hexID)},
		{"docker in docker", "/docker/" + hexID + "/docker/" + hexID2, container("docker", hexID2)},
		{"kubernetes in docker (kind)", "/docker/" + hexID + "/kubelet/kubepods/burstable/pod" + podUID + "/" + hexID2, pod("", hexID2)},
		{"kubepods cgroupfs", "/kubepods/burstable/pod" + podUID + "/" + hexID, pod("", hexID)},
		{"kubepods cgroupfs guaranteed", "/kubepods/pod" + podUID + "/" + hexID, pod("", hexID)},
		{"kubepods systemd containerd", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/cri-containerd-" + hexID + ".scope", pod("containerd", hexID)},
		{"kubepods systemd docker", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + under + ".slice/docker-" + hexID + ".scope", pod("docker", hexID)},
		{"kubepods systemd crio", "/kubepods.slice/kubepods-pod" + under + ".slice/crio-" + hexID + ".scope", pod("crio", hexID)},
		{"crio with container subgroup", "/kubepods.slice/kubepods-pod" + under + ".slice/crio-" + hexID + ".scope/container", pod("crio", hexID)},
		{"crio cgroupfs", "/kubepods/burstable/pod" + podUID + "/crio-" + hexID, pod("crio", hexID)},
		{"crio conmon is not the container", "/kubepods.slice/kubepods-pod" + under + ".slice/crio-conmon-" + hexID + ".scope", Place{}},
		{"containerd colons", "/system.slice/containerd.service/kubepods-burstable-pod" + under + ".slice:cri-containerd:" + hexID, pod("containerd", hexID)},
		{"kernel's tail of a pod", "/kubepods-burstable-pod" + under + ".slice/cri-containerd-" + hexID + ".scope", pod("containerd", hexID)},
		{"ctr", "/default/redis-1", container("containerd", "redis-1")},
		{"ctr in a container", "/docker/" + hexID + "/default/redis-1", container("containerd", "redis-1")},
		{"a directory named default elsewhere", "/system.slice/foo.service/default/x", unit("foo.service", "/system.slice/foo.service")},
		{"nerdctl cgroupfs", "/default/" + hexID, container("", hexID)},
		{"nerdctl systemd", "/system.slice/nerdctl-" + hexID + ".scope", container("containerd", hexID)},
		{"podman root", "/machine.slice/libpod-" + hexID + ".scope", container("podman", hexID)},
		{"podman container subgroup", "/machine.slice/libpod-" + hexID + ".scope/container", container("podman", hexID)},
		{"podman rootless", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + hexID + ".scope/container", container("podman", hexID)},
		{"podman pod", "/machine.slice/machine-libpod_pod_" + hexID2 + ".slice/libpod-" + hexID + ".scope", container("podman", hexID)},
		{"podman cgroupfs", "/libpod_parent/libpod-" + hexID, container("podman", hexID)},
		{"podman conmon", "/machine.slice/libpod-conmon-" + hexID + ".scope", Place{}},
		{"podman quadlet", "/system.slice/web.service/libpod-payload-" + hexID, unit("web.service", "/system.slice/web.service")},
		{"lxc v1", "/lxc/web", container("lxc", "web")},
		{"lxc payload", "/lxc.payload/web/system.slice/nginx.service", container("lxc", "web")},
		{"lxc payload dotted", "/lxc.payload.web/init.scope", container("lxc", "web")},
		{"lxc monitor", "/lxc.monitor.web", Place{}},
		{"nspawn service", "/machine.slice/systemd-nspawn@deb\\x2d12.service/payload", container("nspawn", "deb-12")},
		{"machine scope", "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", container("nspawn", "qemu-1-vm")},
		{"ecs", "/ecs/0123456789abcdef0123456789abcdef/" + hexID, container("", hexID)},
		{"ecs on fargate", "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-2531612879", container("docker", "0123456789abcdef0123456789abcdef-2531612879")},
		{"system service", "/system.slice/nginx.service", unit("nginx.service", "/system.slice/nginx.service")},
		{"delegated service", "/system.slice/nginx.service/worker/1", unit("nginx.service", "/system.slice/nginx.service")},
		{"template service", "/system.slice/system-postgresql.slice/postgresql@15-main.service", unit("postgresql@15-main.service", "/system.slice/system-postgresql.slice/postgresql@15-main.service")},
		{"user service", "/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service", unit("syncthing.service", "/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service")},
		{"session", "/user.slice/user-1000.slice/session-3.scope", Place{}},
		{"user manager's slice", "/user.slice/user-1000.slice/user@1000.service/app.slice", Place{}},
		{"desktop program", "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-12.scope", Place{}},
		{"init", "/init.scope", Place{}},
		{"transient unit", "/system.slice/run-u12.service", Place{}},
		{"transient unit with id", "/system.slice/run-r0f3cafe.service", Place{}},
		{"a unit that starts like one", "/system.slice/run-reports.service", unit("run-reports.service", "/system.slice/run-reports.service")},
		{"32 digits are no container", "/process_api/1842009fb3dfa6d128e13dac2da5c199", Place{}},
		{"outside of the reader's cgroup namespace", "/../../system.slice/nginx.service", unit("nginx.service", "/system.slice/nginx.service")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := ParseCgroup(tc.path); got != tc.want {
				t.Errorf("ParseCgroup(%q)\n got %+v\nwant %+v", tc.path, got, tc.want)
			}
		})
	}
}

func FuzzParseCgroup(f *testing.F) {
	f.Add("/docker/" + hexID)
	f.Add("/system.slice/a.slice:cri-containerd:x")
	f.Add("/machine.slice/machine-\\x2")
	f.Add("/kubepods-pod.slice/:::/lxc/")
	f.Add(strings.Repeat("/a", 5000))
	f.Fuzz(func(t *testing.T, path string) {
		place := ParseCgroup(path)
		if place.Container != "" && place.Unit != "" {
			t.Fatalf("both container and unit: %+v", place)
		}
		if len(place.Container) > maxCgroupPath || len(place.UnitPath) > maxCgroupPath+1 {
			t.Fatalf("longer than the path: %+v", place)
		}
		if strings.Contains(place.Container, "/") {
			t.Fatalf("slash in id %q", place.Container)
		}
		if utf8.ValidString(path) && !strings.Contains(path, `\x`) && !utf8.ValidString(place.Container) {
			t.Fatalf("broke the text: %q", place.Container)
		}
	})
}
