// Package process says who is who: it turns the kernel's record of a process, its cgroup and its addresses into workloads.
package process

import (
	"strings"
)

// maxCgroupPath bounds what is read of one path; the kernel's own limit is PATH_MAX.
const maxCgroupPath = 4096

// Place is what a cgroup's path says about the processes in it.
type Place struct {
	Runtime   string // "docker", "containerd", "crio", "podman", "lxc", "nspawn"; "" where the path does not tell
	Container string // the container's id, or its name where the runtime uses names; "" outside of containers
	PodUID    string // "" outside of Kubernetes
	Unit      string // systemd service: "nginx.service"; "" where a container is known, in sessions and in scopes
	UnitPath  string // "/system.slice/nginx.service"
}

// IsZero reports whether the path names neither a container nor a unit.
func (p Place) IsZero() bool { return p.Container == "" && p.Unit == "" }

// ParseCgroup reads a cgroup path of version 1 or 2 as any of the usual runtimes lays it out. The path may lack its head.
func ParseCgroup(path string) Place {
	if len(path) > maxCgroupPath {
		path = path[len(path)-maxCgroupPath:]
	}
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && part != "." && part != ".." {
			parts = append(parts, part)
		}
	}
	// The innermost container is the one that the process lives in: the outer one is the "node" of a cluster in a container.
	for i := len(parts) - 1; i >= 0; i-- {
		if isMonitor(parts[i]) {
			return Place{}
		}
		if runtime, id := containerOf(parts, i); id != "" {
			return Place{Runtime: runtime, Container: id, PodUID: podOf(parts[:i+1])}
		}
	}
	return unitOf(parts)
}

// runtimePrefixes are what runtimes put before a container's id in the name of a scope or of a directory.
var runtimePrefixes = []struct{ prefix, runtime string }{
	{"docker-", "docker"},
	{"cri-containerd-", "containerd"},
	{"nerdctl-", "containerd"},
	{"containerd-", "containerd"},
	{"crio-", "crio"},
	{"libpod-", "podman"},
}

// isMonitor tells the processes that watch over a container from those that are in it.
func isMonitor(part string) bool {
	return strings.HasPrefix(part, "crio-conmon-") || strings.HasPrefix(part, "libpod-conmon-") ||
		strings.HasPrefix(part, "lxc.monitor")
}

// containerOf says whether the i-th component of a path is a container, and which. The id is empty where it is not.
func containerOf(parts []string, i int) (runtime, id string) {
	part := strings.TrimSuffix(parts[i], ".scope")
	// containerd without the systemd driver, on a systemd machine: "kubepods-pod1.slice:cri-containerd:ID"
	if slice, rest, ok := strings.Cut(part, ":"); ok && strings.HasSuffix(slice, ".slice") {
		prefix, name, ok := strings.Cut(rest, ":")
		if !ok || name == "" {
			return "", ""
		}
		return runtimeOf(prefix + "-"), name
	}
	for _, p := range runtimePrefixes {
		if rest, ok := strings.CutPrefix(part, p.prefix); ok && isID(rest) {
			return p.runtime, rest
		}
	}
	parent := ""
	if i > 0 {
		parent = parts[i-1]
	}
	if isID(part) {
		return runtimeOf(parent + "-"), part
	}
	if runtime, id = namedContainer(parts, i, part, parent); id != "" {
		return runtime, id
	}
	if i > 0 && parts[0] == "ecs" && isTaskID(part) {
		return "docker", part
	}
	return "", ""
}

// namedContainer reads the layouts whose containers go by a name.
func namedContainer(parts []string, i int, part, parent string) (runtime, name string) {
	if rest, ok := strings.CutPrefix(part, "lxc.payload."); ok {
		return "lxc", rest
	}
	if parent == "lxc" || parent == "lxc.payload" {
		return "lxc", part
	}
	if parent == "machine.slice" {
		if rest, ok := strings.CutPrefix(part, "systemd-nspawn@"); ok {
			return "nspawn", unescapeUnit(strings.TrimSuffix(rest, ".service"))
		}
		if rest, ok := strings.CutPrefix(part, "machine-"); ok && !strings.HasSuffix(part, ".slice") {
			return "nspawn", unescapeUnit(rest)
		}
	}
	// ctr and nerdctl: "/NAMESPACE/NAME", at the top or straight below an outer container
	if (parent == "default" || parent == "k8s.io") && (i == 1 || isID(parts[i-2])) {
		return "containerd", part
	}
	return "", ""
}

func runtimeOf(prefix string) string {
	for _, p := range runtimePrefixes {
		if p.prefix == prefix {
			return p.runtime
		}
	}
	return ""
}

// isID reports whether s is a container id: 64 hexadecimal digits.
func isID(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isTaskID reports whether s is "TASK-CONTAINER" of Amazon ECS: 32 hexadecimal digits and a number.
func isTaskID(s string) bool {
	task, number, ok := strings.Cut(s, "-")
	return ok && len(task) == 32 && isHex(task) && isNumber(number)
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// podOf finds the uid of the innermost pod: "pod1f2e-..." or "kubepods-burstable-pod1f2e_....slice".
func podOf(parts []string) string {
	for i := len(parts) - 1; i >= 0; i-- {
		part, _, _ := strings.Cut(parts[i], ":")
		if rest, ok := strings.CutSuffix(part, ".slice"); ok && strings.HasPrefix(rest, "kubepods") {
			if at := strings.LastIndex(rest, "-pod"); at >= 0 {
				return strings.ReplaceAll(rest[at+len("-pod"):], "_", "-")
			}
		}
		if rest, ok := strings.CutPrefix(part, "pod"); ok && len(rest) >= 32 {
			return rest
		}
	}
	return ""
}

// ParsePod reads the uid of a pod whose own cgroup a path is, and not that of a container in it.
func ParsePod(path string) (uid string, ok bool) {
	uid = podOf([]string{path[strings.LastIndexByte(path, '/')+1:]})
	return uid, uid != "" && !strings.Contains(path[strings.LastIndexByte(path, '/')+1:], ":")
}

// unitOf finds the systemd service that a path outside of containers lies in.
func unitOf(parts []string) Place {
	for i := len(parts) - 1; i >= 0; i-- {
		part := parts[i]
		if strings.HasSuffix(part, ".scope") {
			return Place{} // a session, or what a desktop or a runtime started: no service
		}
		name, ok := strings.CutSuffix(part, ".service")
		if !ok {
			continue
		}
		if name == "" || strings.HasPrefix(name, "user@") || isTransient(name) {
			return Place{}
		}
		return Place{Unit: part, UnitPath: "/" + strings.Join(parts[:i+1], "/")}
	}
	return Place{}
}

// isTransient knows the services that systemd-run makes without a name: "run-u12", "run-r0f3c". They would be a new unit each time.
func isTransient(name string) bool {
	rest, ok := strings.CutPrefix(name, "run-")
	if !ok || len(rest) < 2 || (rest[0] != 'u' && rest[0] != 'r' && rest[0] != 'p') {
		return false
	}
	head, _, _ := strings.Cut(rest[1:], "-")
	return head != "" && isHex(head)
}

// unescapeUnit undoes systemd's \xNN in the name of a unit.
func unescapeUnit(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			hi, lo := hexDigit(s[i+2]), hexDigit(s[i+3])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
