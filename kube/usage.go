package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/kubelet"
)

const (
	askedAtOnce  = 16               // kubelets
	kubeletTime  = 5 * time.Second  // that one of them may take
	listTime     = 20 * time.Second // that a list of the API may take
	podsAge      = 30 * time.Second // how long a list of pods is believed
	unknownAge   = 5 * time.Second  // the same when a kubelet tells of a pod that is not in it
	maxErrorText = 200
)

// ErrNoCluster says that nothing tells of a Kubernetes API here: no kubeconfig, no pod.
var ErrNoCluster = errors.New("no kubeconfig")

// UsageOptions say which cluster is asked.
type UsageOptions struct {
	Kubeconfig string // "": KUBECONFIG, ~/.kube/config, or that of the pod that this runs in
	Context    string // "": the current one
	Namespace  string // of pods; "": all
	UserAgent  string
}

// UsageReader asks the kubelets of a cluster, through its API, what runs there and what that uses. It is for one goroutine.
type UsageReader struct {
	options UsageOptions
	rest    *rest.RESTClient
	pods    map[podKey]*corev1.Pod
	listed  time.Time
}

// podKey names a pod. Those that a node runs by itself have another uid in the API than for their kubelet.
type podKey struct{ namespace, name string }

// NodeUsage is a node and what all of it uses.
type NodeUsage struct {
	Name        string
	Ready       bool
	Error       string    // why its kubelet did not answer; "" where it did
	Allocatable Resources // for pods
	Requests    Resources // of all pods there; nil where only those of one namespace are listed
	Usage       Usage
	Pods        int // that its kubelet tells of
}

// Resources are amounts; nil where there is none.
type Resources struct{ CPU, Memory *float64 }

// PodUsage is a pod and what it uses.
type PodUsage struct {
	Namespace, Name, Node string
	Workload              model.Workload // its owner, as far as the pod itself tells
	Requests, Limits      Resources
	Usage                 Usage
	Containers            []ContainerUsage
}

// ContainerUsage is a container of a pod.
type ContainerUsage struct {
	Name             string
	Requests, Limits Resources
	Usage            Usage
}

// ClusterUsage is one reading.
type ClusterUsage struct {
	At    time.Time
	Nodes []NodeUsage // by name
	Pods  []PodUsage  // by namespace and name, as kubelets that answered tell
}

// NewUsageReader reads the credentials; it does not ask the API yet. Without any it is ErrNoCluster.
func NewUsageReader(o UsageOptions) (*UsageReader, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if o.Kubeconfig != "" {
		rules.ExplicitPath = filepath.Clean(o.Kubeconfig)
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.Context}).ClientConfig()
	if err != nil {
		if clientcmd.IsEmptyConfig(err) || errors.Is(err, rest.ErrNotInCluster) {
			return nil, ErrNoCluster
		}
		return nil, fmt.Errorf("find the Kubernetes API: %w", err)
	}
	s, err := newScheme()
	if err != nil {
		return nil, fmt.Errorf("describe the types of the Kubernetes API: %w", err)
	}
	config.UserAgent = o.UserAgent
	config.AcceptContentTypes, config.ContentType = protobuf+",application/json", protobuf
	config.QPS = -1 // we bound it
	config.APIPath, config.GroupVersion = "/api", &corev1.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(s).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to the Kubernetes API: %w", err)
	}
	return &UsageReader{options: o, rest: client}, nil
}

// Read asks all kubelets, several at once. A node that does not answer has an Error; only an API that does not answer is an error.
func (u *UsageReader) Read(ctx context.Context) (*ClusterUsage, error) {
	var nodes corev1.NodeList
	if err := u.list(ctx, "nodes", "", &nodes); err != nil {
		return nil, err
	}
	if time.Since(u.listed) >= podsAge {
		if err := u.listPods(ctx); err != nil {
			return nil, err
		}
	}
	answers := u.summaries(ctx, nodes.Items)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if time.Since(u.listed) >= unknownAge && u.lacks(answers) {
		if err := u.listPods(ctx); err != nil {
			return nil, err
		}
	}
	out := &ClusterUsage{At: time.Now()}
	for i := range nodes.Items {
		u.add(out, &nodes.Items[i], answers[i])
	}
	slices.SortFunc(out.Nodes, func(a, b NodeUsage) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(out.Pods, func(a, b PodUsage) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Node, b.Node))
	})
	return out, nil
}

// list takes what the API server has at hand: how old that is matters less than what it costs.
func (u *UsageReader) list(ctx context.Context, resource, namespace string, into runtime.Object) error {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	err := u.rest.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource).Param("resourceVersion", "0").Do(ctx).Into(into)
	if err != nil {
		return fmt.Errorf("list %s: %w", resource, err)
	}
	return nil
}

func (u *UsageReader) listPods(ctx context.Context) error {
	var list corev1.PodList
	if err := u.list(ctx, "pods", u.options.Namespace, &list); err != nil {
		return err
	}
	u.listed, u.pods = time.Now(), make(map[podKey]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		u.pods[podKey{list.Items[i].Namespace, list.Items[i].Name}] = &list.Items[i]
	}
	return nil
}

// lacks reports whether kubelets tell of pods that are not listed.
func (u *UsageReader) lacks(answers []answer) bool {
	for _, a := range answers {
		if a.err != nil {
			continue
		}
		for i := range a.Pods {
			ref := &a.Pods[i].Ref
			if u.wants(ref.Namespace) && u.pods[podKey{ref.Namespace, ref.Name}] == nil {
				return true
			}
		}
	}
	return false
}

func (u *UsageReader) wants(namespace string) bool {
	return u.options.Namespace == "" || u.options.Namespace == namespace
}

// answer is what a kubelet said, or why it did not.
type answer struct {
	*kubelet.Summary
	err error
}

// summaries asks the kubelet of each node.
func (u *UsageReader) summaries(ctx context.Context, nodes []corev1.Node) []answer {
	answers := make([]answer, len(nodes))
	var g errgroup.Group
	g.SetLimit(askedAtOnce)
	for i := range nodes {
		g.Go(func() error {
			s, err := u.summary(ctx, nodes[i].Name)
			answers[i] = answer{s, err}
			return nil
		})
	}
	_ = g.Wait() // none fails as a whole
	return answers
}

func (u *UsageReader) summary(ctx context.Context, node string) (*kubelet.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, kubeletTime)
	defer cancel()
	body, err := u.rest.Get().AbsPath("/api/v1/nodes", node, "proxy/stats/summary").SetHeader("Accept", "application/json").MaxRetries(0).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return kubelet.ReadSummary(body)
}

// add joins a node with the answer of its kubelet.
func (u *UsageReader) add(out *ClusterUsage, node *corev1.Node, a answer) {
	n := NodeUsage{Name: node.Name, Ready: isReady(node), Allocatable: amounts(node.Status.Allocatable)}
	if u.options.Namespace == "" {
		n.Requests = u.requestsOn(node.Name)
	}
	if a.err != nil {
		n.Error = errorText(a.err)
		out.Nodes = append(out.Nodes, n)
		return
	}
	n.Usage, n.Pods = usageOf(&a.Node.Stats), len(a.Pods)
	out.Nodes = append(out.Nodes, n)
	for i := range a.Pods {
		from := &a.Pods[i]
		if !u.wants(from.Ref.Namespace) {
			continue
		}
		p := PodUsage{
			Namespace: from.Ref.Namespace, Name: from.Ref.Name, Node: node.Name, Usage: usageOf(&from.Stats),
			Workload: model.Workload{Namespace: from.Ref.Namespace, Kind: model.KindPod, Name: from.Ref.Name},
		}
		p.Usage.Ephemeral = kubelet.Sum(from.Ephemeral)
		pod := u.pods[podKey{from.Ref.Namespace, from.Ref.Name}]
		if pod != nil {
			p.Workload = ownerOf(pod)
			p.Requests, p.Limits = podResources(pod)
		}
		for j := range from.Containers {
			c := ContainerUsage{Name: from.Containers[j].Name, Usage: usageOf(&from.Containers[j].Stats)}
			c.Usage.Ephemeral = kubelet.Sum(from.Containers[j].Rootfs, from.Containers[j].Logs)
			if pod != nil {
				c.Requests, c.Limits = containerResources(pod, c.Name)
			}
			p.Containers = append(p.Containers, c)
		}
		slices.SortFunc(p.Containers, func(a, b ContainerUsage) int { return cmp.Compare(a.Name, b.Name) })
		out.Pods = append(out.Pods, p)
	}
}

func isReady(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// errorText says in one line why a kubelet did not answer.
func errorText(err error) string {
	text := err.Error()
	var status apierrors.APIStatus
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		text = "no answer within " + kubeletTime.String()
	case errors.As(err, &status) && status.Status().Message != "":
		text = status.Status().Message
	}
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	return text[:min(len(text), maxErrorText)]
}
