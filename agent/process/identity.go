package process

import (
	"cmp"
	"strings"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

// shortID is how many digits of a container's id stand for it where it has no name, as the runtimes' own tools print it.
const shortID = 12

// pauseProgram is what runs in the sandboxes of pods.
const pauseProgram = "pause"

// wholeID is how many digits it has.
const wholeID = 64

// Identity is who an owner is.
type Identity struct {
	Workload    model.Workload
	ContainerID string // as coroot-node-agent forms it: "/k8s/NS/POD/CONTAINER", "/docker/NAME", "/lxc/NAME", "/system.slice/nginx.service", "/process/EXE"
	AppID       string // the same for all replicas of one application, where that can be told
	NetNS       uint32
	Runtime     string // of the container; "" where there is none or it is not known
	PodUID      string
	// Run is the id that the runtime gave to the container of a pod; "" where there is none, or the kernel's record has cut it.
	Run string
	Pod string // its name; "" where it is not known
	// Sandbox says that it is what holds a pod's namespaces, and no container of it.
	Sandbox bool
	// Provisional says that it lives in a pod whose name is awaited from the names feed.
	Provisional bool
	// Unnamed says that nobody has told of the container yet.
	Unnamed bool
}

// identify names an owner by its container, else its unit, else its program.
func (b *Book) identify(o probe.Owner, place Place) Identity {
	id := Identity{NetNS: o.NetNS, Runtime: place.Runtime, PodUID: place.PodUID}
	if place.PodUID != "" && len(place.Container) == wholeID && isHex(place.Container) {
		id.Run = place.Container
	}
	switch {
	case place.Container != "":
		named := b.nameContainer(&id, place)
		// Its program does nothing until it ends, and by then the runtime has often forgotten it.
		id.Sandbox = id.Sandbox || !named && place.PodUID != "" && o.Exe == pauseProgram
	case place.Unit != "":
		name := unescapeUnit(strings.TrimSuffix(place.Unit, ".service"))
		id.Workload = model.Workload{Kind: model.KindUnit, Name: name}
		id.ContainerID = place.UnitPath
	default:
		name := b.programName(o)
		id.Workload = model.Workload{Kind: model.KindProcess, Name: name}
		id.ContainerID = "/process/" + name
	}
	id.finish()
	return id
}

func (id *Identity) finish() {
	if id.AppID == "" {
		id.AppID = id.ContainerID
	}
}

// nameContainer names what is in a container: by the feed of the cluster where that knows it, else by what the runtime tells. It is false where neither knows
// the name of the container.
func (b *Book) nameContainer(id *Identity, place Place) bool {
	names := b.runtimes.of(place, &b.budget)
	id.Sandbox, id.Unnamed = names.Sandbox, names == Names{}
	if b.cluster != nil {
		if pod, ok := b.cluster.pod(place.PodUID, place.Container); ok {
			id.Workload, id.Pod, id.Unnamed = pod.workload, pod.pod, false
			container := cmp.Or(names.Container, pod.container)
			id.Provisional = container == "" // it is started, so the cluster will know soon
			id.ContainerID = "/k8s/" + pod.workload.Namespace + "/" + pod.pod + "/" + cmp.Or(container, shortened(place.Container))
			id.AppID = "/k8s/" + pod.workload.Namespace + "/" + appOfPod(pod.pod)
			return container != ""
		}
		id.Provisional = place.PodUID != ""
	}
	if names.Pod != "" {
		id.Pod = names.Pod
		id.Workload = model.Workload{Namespace: names.PodNamespace, Kind: model.KindPod, Name: names.Pod}
		id.ContainerID = "/k8s/" + names.PodNamespace + "/" + names.Pod + "/" + names.Container
		id.AppID = "/k8s/" + names.PodNamespace + "/" + appOfPod(names.Pod)
		return names.Container != ""
	}
	name := names.Name
	if name == "" {
		name = shortened(place.Container)
	}
	id.Workload = model.Workload{Kind: model.KindContainer, Name: name}
	prefix := "/docker/" // for every OCI runtime, so that what was made for coroot-node-agent finds it
	if place.Runtime == "lxc" || place.Runtime == "nspawn" {
		prefix = "/" + place.Runtime + "/"
	}
	id.ContainerID = prefix + name
	return names.Name != ""
}

// shortened is a container's id as people see it. The kernel's record may have cut it already.
func shortened(id string) string {
	if len(id) > shortID && isHex(id) {
		return id[:shortID]
	}
	return id
}

// podSuffix holds the letters that Kubernetes makes random suffixes of: no vowels and none that look alike.
const podSuffix = "bcdfghjklmnpqrstvwxz2456789"

// appOfPod cuts what a ReplicaSet, DaemonSet or StatefulSet appended to its name to name a pod.
func appOfPod(pod string) string {
	head, last, ok := cutLast(pod)
	if !ok {
		return pod
	}
	if isNumber(last) && len(last) <= 5 {
		return head
	}
	if len(last) != 5 || strings.Trim(last, podSuffix) != "" {
		return pod
	}
	if app, hash, ok := cutLast(head); ok && len(hash) >= 8 && len(hash) <= 10 && strings.Trim(hash, podSuffix) == "" {
		return app
	}
	return head
}

func cutLast(s string) (head, last string, ok bool) {
	at := strings.LastIndexByte(s, '-')
	if at <= 0 {
		return s, "", false
	}
	return s[:at], s[at+1:], true
}
