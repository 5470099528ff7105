package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxStateFile   = 8 << 20 // largest file of a runtime that is read
	maxNames       = 16384   // names kept
	lookupLimit    = 500 * time.Millisecond
	lookupBudget   = 2 * time.Second // for all new containers of one poll
	firstAsk       = time.Second     // after which what no runtime knows is asked for again; each time twice as long
	lastAsk        = 2 * time.Minute
	dockerAPI      = "http://docker/containers/"
	k8sPodLabel    = "io.kubernetes.pod.name"
	k8sNSLabel     = "io.kubernetes.pod.namespace"
	k8sNameLabel   = "io.kubernetes.container.name"
	criPodLabel    = "io.kubernetes.cri.sandbox-name"
	criNSLabel     = "io.kubernetes.cri.sandbox-namespace"
	criNameLabel   = "io.kubernetes.cri.container-name"
	criImageLabel  = "io.kubernetes.cri.image-name"
	crioImageLabel = "io.kubernetes.cri-o.ImageName"
	nerdctlNameKey = "nerdctl/name"
)

// Names is what a runtime knows of a container. Fields are empty where it does not tell.
type Names struct {
	Name         string // "web"
	PodNamespace string
	Pod          string
	Container    string // its name within the pod
	Sandbox      bool   // it holds the namespaces of the pod
	Image        string // as it was asked for: "docker.io/library/nginx:1.27"
}

// runtimes asks the runtimes of this machine for the names of containers. Each answer is kept; a runtime that is not there costs a failed open. It
// may be used from any goroutine.
type runtimes struct {
	root   string // the host's file system
	docker http.Client
	failed atomic.Uint64
	now    func() time.Time

	mu    sync.Mutex
	known map[string]known // by container
}

// known is what the runtimes said of a container.
type known struct {
	Names
	again time.Time // when they are asked again, if they knew nothing
	wait  time.Duration
	// asked is closed when those who are asked have answered; nil: nobody is.
	asked chan struct{}
}

func newRuntimes(root string) *runtimes {
	socket := filepath.Join(root, "var/run/docker.sock")
	if _, err := os.Stat(socket); err != nil {
		socket = filepath.Join(root, "run/docker.sock")
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &runtimes{
		root:   root,
		now:    time.Now,
		known:  make(map[string]known),
		docker: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: lookupLimit},
	}
}

// of gives the names of a container; the zero Names where nobody knows it yet: it may be asked for before its runtime has written down who it is, or
// while that is not there. What asking takes goes off budget, and without any left nobody is asked. Only who wants the names of the same container waits
// for an answer: a runtime that hangs holds up nobody else.
func (n *runtimes) of(p Place, budget *time.Duration) Names {
	n.mu.Lock()
	defer n.mu.Unlock()
	got, found := n.known[p.Container]
	now := n.now()
	if got.Names != (Names{}) || *budget <= 0 || found && got.asked == nil && now.Before(got.again) {
		return got.Names
	}
	start := time.Now()
	defer func() { *budget -= time.Since(start) }()
	if got.asked != nil {
		n.mu.Unlock()
		select {
		case <-got.asked:
		case <-time.After(*budget):
		}
		n.mu.Lock()
		return n.known[p.Container].Names
	}
	got.wait = min(max(2*got.wait, firstAsk), lastAsk)
	got.again, got.asked = now.Add(got.wait), make(chan struct{})
	n.keep(p.Container, got)
	n.mu.Unlock()
	answer := n.ask(p)
	n.mu.Lock()
	close(got.asked)
	got.asked = nil
	if got.Names = n.known[p.Container].Names; got.Names == (Names{}) { // else somebody else told meanwhile
		got.Names = answer
	}
	n.keep(p.Container, got)
	return got.Names
}

// keep notes what is known of a container. n.mu is held.
func (n *runtimes) keep(container string, k known) {
	if _, found := n.known[container]; !found && len(n.known) >= maxNames {
		clear(n.known)
	}
	n.known[container] = k
}

// learn takes names from somebody else.
func (n *runtimes) learn(container string, names Names) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known[container].Names != (Names{}) {
		return
	}
	n.keep(container, known{Names: names})
}

func (n *runtimes) ask(p Place) Names {
	if strings.ContainsAny(p.Container, `/\`) || p.Container == "." || p.Container == ".." {
		return Names{}
	}
	sources := []struct {
		runtime string
		read    func(string) (Names, error)
	}{
		{"containerd", n.fromContainerd},
		{"crio", n.fromCRIO},
		{"podman", n.fromPodman},
		{"docker", n.fromDocker},
	}
	for _, source := range sources {
		if p.Runtime != "" && p.Runtime != source.runtime {
			continue
		}
		got, err := source.read(p.Container)
		if err == nil && got != (Names{}) {
			return got
		}
		if err != nil && !os.IsNotExist(err) {
			n.failed.Add(1)
		}
	}
	return Names{}
}

func (n *runtimes) fromDocker(id string) (Names, error) {
	if !isID(id) {
		return Names{}, nil
	}
	response, err := n.docker.Get(dockerAPI + id + "/json")
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return Names{}, os.ErrNotExist
		}
		return Names{}, fmt.Errorf("ask Docker for container: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return Names{}, os.ErrNotExist
	}
	var answer struct {
		Name   string
		Config struct {
			Image  string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxStateFile)).Decode(&answer); err != nil {
		return Names{}, fmt.Errorf("read Docker's answer: %w", err)
	}
	got := kubernetesNames(answer.Config.Labels)
	got.Name, got.Image = strings.TrimPrefix(answer.Name, "/"), answer.Config.Image
	return got, nil
}

// fromContainerd reads the OCI bundle that containerd keeps of each running task, for the two namespaces in common use.
func (n *runtimes) fromContainerd(id string) (Names, error) {
	err := os.ErrNotExist
	for _, namespace := range []string{"k8s.io", "default"} {
		path := filepath.Join(n.root, "run/containerd/io.containerd.runtime.v2.task", namespace, id, "config.json")
		annotations, readErr := bundleAnnotations(path)
		if readErr != nil {
			err = readErr
			continue
		}
		got := kubernetesNames(annotations)
		got.Name = annotations[nerdctlNameKey]
		if !isID(id) {
			got.Name = id
		}
		return got, nil
	}
	return Names{}, err
}

func (n *runtimes) fromCRIO(id string) (Names, error) {
	path := filepath.Join(n.root, "run/containers/storage/overlay-containers", id, "userdata/config.json")
	annotations, err := bundleAnnotations(path)
	return kubernetesNames(annotations), err
}

// fromPodman looks the container up in the list that the storage library of podman keeps.
func (n *runtimes) fromPodman(id string) (Names, error) {
	text, err := readBounded(filepath.Join(n.root, "var/lib/containers/storage/overlay-containers/containers.json"), maxStateFile)
	if err != nil {
		return Names{}, err
	}
	var list []struct {
		ID       string   `json:"id"`
		Names    []string `json:"names"`
		Metadata string   `json:"metadata"` // JSON again
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return Names{}, fmt.Errorf("read podman's containers: %w", err)
	}
	for _, c := range list {
		if c.ID == id && len(c.Names) > 0 {
			var about struct {
				Image string `json:"image-name"`
			}
			_ = json.Unmarshal([]byte(c.Metadata), &about) // other users of the library write something else
			return Names{Name: c.Names[0], Image: about.Image}, nil
		}
	}
	return Names{}, nil
}

func bundleAnnotations(path string) (map[string]string, error) {
	text, err := readBounded(path, maxStateFile)
	if err != nil {
		return nil, err
	}
	var bundle struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(text, &bundle); err != nil {
		return nil, fmt.Errorf("read OCI bundle: %w", err)
	}
	return bundle.Annotations, nil
}

// kubernetesNames reads the labels that the kubelet, containerd and CRI-O put on a container.
func kubernetesNames(labels map[string]string) Names {
	first := func(keys ...string) string {
		for _, key := range keys {
			if v := labels[key]; v != "" {
				return v
			}
		}
		return ""
	}
	return Names{
		Pod:          first(k8sPodLabel, criPodLabel),
		PodNamespace: first(k8sNSLabel, criNSLabel),
		Container:    first(k8sNameLabel, criNameLabel),
		Image:        first(criImageLabel, crioImageLabel),
		Sandbox:      first("io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType") == "sandbox" || labels["io.kubernetes.docker.type"] == "podsandbox",
	}
}
