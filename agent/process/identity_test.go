package process

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

// testBook has an empty file system and knows no address unless told.
func testBook(t *testing.T, addrs map[uint32][]netip.Addr) (*Book, string) {
	t.Helper()
	root := t.TempDir()
	b, err := New(Options{Root: root, Hostname: "host", Addresses: func(_, netns uint32) ([]netip.Addr, error) {
		list, ok := addrs[netns]
		if !ok {
			return nil, os.ErrNotExist
		}
		return list, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b, root
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fakeProcess puts a process below a root. It returns the inode of its network namespace.
func fakeProcess(t *testing.T, root string, pid uint32, exe, cgroup string) uint32 {
	t.Helper()
	dir := filepath.Join(root, "proc", strconv.Itoa(int(pid)))
	writeFile(t, filepath.Join(dir, "cgroup"), cgroup)
	writeFile(t, filepath.Join(dir, "ns/net"), "")
	if err := os.Symlink(exe, filepath.Join(dir, "exe")); err != nil {
		t.Fatal(err)
	}
	ns, err := inode(filepath.Join(dir, "ns/net"))
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

func TestIdentityFromTheKernelsRecord(t *testing.T) {
	process := func(name string) Identity {
		return Identity{Workload: model.Workload{Kind: model.KindProcess, Name: name}, ContainerID: "/process/" + name, AppID: "/process/" + name}
	}
	container := func(runtime string) Identity {
		return Identity{Workload: model.Workload{Kind: model.KindContainer, Name: hexID[:12]}, ContainerID: "/docker/" + hexID[:12], AppID: "/docker/" + hexID[:12], Runtime: runtime, Unnamed: true}
	}
	unit := Identity{Workload: model.Workload{Kind: model.KindUnit, Name: "nginx"}, ContainerID: "/system.slice/nginx.service", AppID: "/system.slice/nginx.service"}
	for _, tc := range []struct {
		name  string
		owner probe.Owner
		want  Identity
	}{
		{"a program", probe.Owner{Exe: "curl", PathV1: "/", PathV2: "/"}, process("curl")},
		{"a program in a session", probe.Owner{Exe: "curl", PathV2: "/user-1000.slice/session-3.scope"}, process("curl")},
		{"no executable", probe.Owner{Comm: "kworker/0:1"}, process("kworker")},
		{"nothing known", probe.Owner{}, process("~unknown")},
		{"docker on v1", probe.Owner{Exe: "nginx", PathV1: "/docker/" + hexID, PathV2: "/"}, container("docker")},
		{"docker on v2", probe.Owner{Exe: "nginx", PathV2: "/system.slice/docker-" + hexID + ".scope"}, container("docker")},
		{"unit on v1, container on v2", probe.Owner{PathV1: "/system.slice/nginx.service", PathV2: "/docker/" + hexID}, container("docker")},
		{"unit on v1 only", probe.Owner{PathV1: "/system.slice/nginx.service", PathV2: "/"}, unit},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, _ := testBook(t, nil)
			tc.owner.ID, tc.owner.PID = 1, 4_000_000
			b.Update(probe.Snapshot{Time: time.Now(), Owners: []probe.Owner{tc.owner}})
			got, ok := b.Identity(1)
			if !ok || got != tc.want {
				t.Errorf("got %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestIdentityFromProc(t *testing.T) {
	v1 := "9:name=systemd:/system.slice/web.service\n4:memory:/\n0::/\n"
	whole := "0::/kubepods.slice/kubepods-pod0f6c2a1e_7d3b_4b0e_9a51_1c2d3e4f5a6b.slice/cri-containerd-" + hexID + ".scope\n"
	for _, tc := range []struct {
		name   string
		cgroup string
		exe    string
		owner  probe.Owner
		want   string
	}{
		{"unit known only to systemd's hierarchy", v1, "/usr/bin/web", probe.Owner{Exe: "web", PathV1: "/", PathV2: "/"}, "/system.slice/web.service"},
		{"the process became another program", v1, "/usr/bin/other", probe.Owner{Exe: "web", PathV1: "/", PathV2: "/"}, "/process/web"},
		{"the process became one whose name begins the same", v1, "/usr/bin/webserver", probe.Owner{Exe: "web", PathV1: "/", PathV2: "/"}, "/process/web"},
		{"a replaced executable", v1, "/usr/bin/web (deleted)", probe.Owner{Exe: "web", PathV1: "/", PathV2: "/"}, "/system.slice/web.service"},
		{"the process moved to another cgroup", v1, "/usr/bin/web", probe.Owner{Exe: "web", PathV1: "/docker/" + hexID2, PathV2: "/"}, "/docker/" + hexID2[:12]},
		{"whole path of a pod", whole, "/usr/bin/web", probe.Owner{Exe: "web", PathV2: "/cri-containerd-" + hexID + ".scope"}, "/docker/" + hexID[:12]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, root := testBook(t, nil)
			tc.owner.ID, tc.owner.PID = 1, 77
			tc.owner.NetNS = fakeProcess(t, root, 77, tc.exe, tc.cgroup)
			b.Update(probe.Snapshot{Time: time.Now(), Owners: []probe.Owner{tc.owner}})
			if got, _ := b.Identity(1); got.ContainerID != tc.want {
				t.Errorf("got %+v, want %s", got, tc.want)
			}
		})
	}
}

func TestContainerNames(t *testing.T) {
	const bundle = `{"ociVersion":"1.0","annotations":%s}`
	cri := `{"io.kubernetes.cri.sandbox-name":"web-5d9c7b6f4d-x2bkq","io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.container-name":"app"}`
	crio := `{"io.kubernetes.pod.name":"db-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.container.name":"pg"}`
	for _, tc := range []struct {
		name, cgroup, file, text string
		want                     Identity
	}{
		{"containerd's Kubernetes", "/kubepods/cri-containerd-" + hexID + ".scope", "run/containerd/io.containerd.runtime.v2.task/k8s.io/" + hexID + "/config.json", fmt.Sprintf(bundle, cri),
			Identity{Workload: model.Workload{Namespace: "shop", Kind: model.KindPod, Name: "web-5d9c7b6f4d-x2bkq"}, ContainerID: "/k8s/shop/web-5d9c7b6f4d-x2bkq/app", AppID: "/k8s/shop/web", Runtime: "containerd", Pod: "web-5d9c7b6f4d-x2bkq"}},
		{"CRI-O", "/kubepods/crio-" + hexID + ".scope", "run/containers/storage/overlay-containers/" + hexID + "/userdata/config.json", fmt.Sprintf(bundle, crio),
			Identity{Workload: model.Workload{Namespace: "shop", Kind: model.KindPod, Name: "db-0"}, ContainerID: "/k8s/shop/db-0/pg", AppID: "/k8s/shop/db", Runtime: "crio", Pod: "db-0"}},
		{"cgroupfs does not tell the runtime", "/kubepods/pod1/" + hexID, "run/containerd/io.containerd.runtime.v2.task/k8s.io/" + hexID + "/config.json", fmt.Sprintf(bundle, cri),
			Identity{Workload: model.Workload{Namespace: "shop", Kind: model.KindPod, Name: "web-5d9c7b6f4d-x2bkq"}, ContainerID: "/k8s/shop/web-5d9c7b6f4d-x2bkq/app", AppID: "/k8s/shop/web", Pod: "web-5d9c7b6f4d-x2bkq"}},
		{"nerdctl", "/default/" + hexID, "run/containerd/io.containerd.runtime.v2.task/default/" + hexID + "/config.json", fmt.Sprintf(bundle, `{"nerdctl/name":"cache"}`),
			Identity{Workload: model.Workload{Kind: model.KindContainer, Name: "cache"}, ContainerID: "/docker/cache", AppID: "/docker/cache"}},
		{"ctr", "/default/redis", "none", "",
			Identity{Workload: model.Workload{Kind: model.KindContainer, Name: "redis"}, ContainerID: "/docker/redis", AppID: "/docker/redis", Runtime: "containerd", Unnamed: true}},
		{"podman", "/machine.slice/libpod-" + hexID + ".scope", "var/lib/containers/storage/overlay-containers/containers.json", `[{"id":"x","names":["y"]},{"id":"` + hexID + `","names":["web"]}]`,
			Identity{Workload: model.Workload{Kind: model.KindContainer, Name: "web"}, ContainerID: "/docker/web", AppID: "/docker/web", Runtime: "podman"}},
		{"a broken state file", "/machine.slice/libpod-" + hexID + ".scope", "var/lib/containers/storage/overlay-containers/containers.json", `[{"id":`,
			Identity{Workload: model.Workload{Kind: model.KindContainer, Name: hexID[:12]}, ContainerID: "/docker/" + hexID[:12], AppID: "/docker/" + hexID[:12], Runtime: "podman", Unnamed: true}},
		{"LXC", "/lxc.payload.web/init.scope", "none", "",
			Identity{Workload: model.Workload{Kind: model.KindContainer, Name: "web"}, ContainerID: "/lxc/web", AppID: "/lxc/web", Runtime: "lxc", Unnamed: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, root := testBook(t, nil)
			writeFile(t, filepath.Join(root, tc.file), tc.text)
			b.Update(probe.Snapshot{Time: time.Now(), Owners: []probe.Owner{{ID: 1, Exe: "x", PathV1: tc.cgroup}}})
			if got, _ := b.Identity(1); got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestRunsAndSandboxesOfPods(t *testing.T) {
	const pod = "/kubepods/pod0a1b2c3d-0123-4567-89ab-0123456789ab/"
	app := `{"annotations":{"io.kubernetes.cri.sandbox-name":"web","io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.container-name":"app"}}`
	for name, tc := range map[string]struct {
		cgroup, exe, bundle, run string
		sandbox                  bool
	}{
		"container":                              {pod + hexID, "web", app, hexID, false},
		"program of that name in a container":    {pod + hexID, "pause", app, hexID, false},
		"sandbox that the runtime has forgotten": {pod + hexID, "pause", "", hexID, true},
		"container that nobody knows":            {pod + hexID, "web", "", hexID, false},
		"sandbox by its label":                   {pod + hexID, "other", `{"annotations":{"io.kubernetes.cri.container-type":"sandbox"}}`, hexID, true},
		"id that was cut":                        {pod + hexID[:40], "web", "", "", false},
		"no pod":                                 {"/docker/" + hexID, "pause", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			b, root := testBook(t, nil)
			if tc.bundle != "" {
				writeFile(t, filepath.Join(root, "run/containerd/io.containerd.runtime.v2.task/k8s.io", hexID, "config.json"), tc.bundle)
			}
			b.Update(probe.Snapshot{Time: time.Now(), Owners: []probe.Owner{{ID: 1, Exe: tc.exe, PathV1: tc.cgroup}}})
			got, _ := b.Identity(1)
			if got.Run != tc.run || got.Sandbox != tc.sandbox {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// dockerAt serves the one call of Docker's API that we use, on the socket below a root.
func dockerAt(t *testing.T, root string, handler http.HandlerFunc) {
	t.Helper()
	dir := filepath.Join(root, "var/run")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
}

func TestDockerNames(t *testing.T) {
	root := t.TempDir()
	calls := 0
	dockerAt(t, root, func(w http.ResponseWriter, r *http.Request) {
		calls++
		switch r.URL.Path {
		case "/containers/" + hexID + "/json":
			_ = json.NewEncoder(w).Encode(map[string]any{"Name": "/web", "Config": map[string]any{"Labels": map[string]string{"a": "b"}}})
		case "/containers/" + hexID2 + "/json":
			<-r.Context().Done() // a runtime that hangs: without a limit, so would this test
		default:
			http.NotFound(w, r)
		}
	})
	b, err := New(Options{Root: root, Hostname: "host", Addresses: func(_, _ uint32) ([]netip.Addr, error) { return nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	b.Update(probe.Snapshot{Time: time.Now(), Owners: []probe.Owner{
		{ID: 1, Exe: "nginx", PathV1: "/docker/" + hexID},
		{ID: 2, Exe: "curl", PathV1: "/docker/" + hexID}, // the same container: not asked again
		{ID: 3, Exe: "x", PathV1: "/docker/" + hexID2},
	}})
	for id, want := range map[probe.OwnerID]string{1: "/docker/web", 2: "/docker/web", 3: "/docker/" + hexID2[:12]} {
		if got, _ := b.Identity(id); got.ContainerID != want {
			t.Errorf("owner %d: got %s, want %s", id, got.ContainerID, want)
		}
	}
	if calls != 2 {
		t.Errorf("asked Docker %d times, want 2", calls)
	}
	if b.Stats().NamesFailed != 1 {
		t.Errorf("counted %d failures, want 1", b.Stats().NamesFailed)
	}
}

func TestAppOfPod(t *testing.T) {
	for pod, want := range map[string]string{
		"web-5d9c7b6f4d-x2bkq": "web", "db-0": "db", "node-agent-x7k2p": "node-agent", "plain": "plain", "kube-proxy-abcde": "kube-proxy-abcde", "a-b-c": "a-b-c",
	} {
		if got := appOfPod(pod); got != want {
			t.Errorf("appOfPod(%q) = %q, want %q", pod, got, want)
		}
	}
}

func TestMachine(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "etc/machine-id"), "3d1219c7c4c5404aaa1f6d2a48adfda4\n")
	writeFile(t, filepath.Join(root, "sys/class/dmi/id/product_uuid"), "AB12\n")
	writeFile(t, filepath.Join(root, "proc/uptime"), "12.50 9.1\n")
	m := ReadMachine(root, "box")
	if m.ID != "3d1219c7c4c5404aaa1f6d2a48adfda4" || m.SystemUUID != "ab12" || m.Hostname != "box" || m.Kernel == "" {
		t.Errorf("got %+v", m)
	}
	if m.Uptime() != 12500*time.Millisecond {
		t.Errorf("uptime %v", m.Uptime())
	}
	if empty := ReadMachine(t.TempDir(), ""); empty.ID != "" || empty.Uptime() != 0 || empty.Hostname == "" {
		t.Errorf("got %+v", empty)
	}
}

// TestCalledNames: what a program is called by, where that can be verified, and what was verified holds for those that are gone.
func TestCalledNames(t *testing.T) {
	for _, tc := range []struct {
		name, exe, comm, cmdline string
		links                    map[string]string // below the process's root
		want                     string
	}{
		{"a link beside the executable", "redis-check-rdb", "redis-server", "/usr/bin/redis-server 127.0.0.1:6379\x00", map[string]string{"/usr/bin/redis-server": "redis-check-rdb"}, "redis-server"},
		{"a hard link elsewhere", "busybox", "wget", "wget\x00http://x\x00", map[string]string{"/bin/wget": "="}, "wget"},
		{"a long link, which the kernel cuts", "tool", "a-very-long-nam", "/opt/a-very-long-name-of-a-tool\x00", map[string]string{"/opt/a-very-long-name-of-a-tool": "/usr/bin/tool"}, "a-very-long-name-of-a-tool"},
		{"a version", "python3.11", "python3", "python3\x00app.py\x00", map[string]string{"/usr/bin/python3": "python3.11"}, "python3"},
		{"a script", "python3.11", "gunicorn", "/usr/bin/python3\x00/usr/local/bin/gunicorn\x00app:app\x00", nil, "gunicorn"},
		{"a script with options of the interpreter", "perl", "serve-long-name", "/usr/bin/perl\x00-w\x00/srv/serve-long-name.pl\x00", nil, "serve-long-name.pl"},
		{"a login shell", "dash", "sh", "-sh\x00", map[string]string{"/bin/sh": "/usr/bin/dash"}, "sh"},
		{"a thread that renamed itself", "server", "main-loop", "/usr/bin/server\x00", nil, "server"},
		{"what looks like a script but is none", "server", "worker", "server\x00worker\x00", nil, "server"},
		{"a file of that name that is another", "server", "other", "other\x00", map[string]string{"/usr/bin/other": "+"}, "server"},
		{"the same name", "nginx", "nginx", "nginx: master\x00", nil, "nginx"},
		{"a cut name", "a-very-long-name", "a-very-long-nam", "x\x00", nil, "a-very-long-name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, root := testBook(t, nil)
			exe := filepath.Join(root, "proc/77/root/usr/bin", tc.exe)
			netns := fakeProcess(t, root, 77, exe, "0::/\n")
			writeFile(t, exe, "program")
			writeFile(t, filepath.Join(root, "proc/77/cmdline"), tc.cmdline)
			for link, target := range tc.links {
				link = filepath.Join(root, "proc/77/root", link)
				if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
					t.Fatal(err)
				}
				var err error
				switch {
				case target == "=":
					err = os.Link(exe, link)
				case target == "+":
					writeFile(t, link, "another")
				case target[0] == '/':
					err = os.Symlink(filepath.Join(root, "proc/77/root", target), link)
				default:
					err = os.Symlink(target, link)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			now := time.Now()
			b.Update(probe.Snapshot{Time: now, Owners: []probe.Owner{
				{ID: 1, PID: 77, Exe: tc.exe, Comm: tc.comm, NetNS: netns, PathV2: "/"},
				{ID: 2, PID: 4_000_000, Exe: tc.exe, Comm: tc.comm, PathV2: "/"},
			}})
			for id := range probe.OwnerID(2) {
				if got, _ := b.Identity(id + 1); got.Workload.Name != tc.want || got.ContainerID != "/process/"+tc.want {
					t.Errorf("owner %d is %+v, want %s", id+1, got, tc.want)
				}
			}
		})
	}
}
