package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// protobuf is smaller than JSON, and cheaper to read, for both sides. Custom resources have only JSON.
const protobuf = "application/vnd.kubernetes.protobuf"

// api asks the Kubernetes API.
type api struct {
	config   *rest.Config
	http     *http.Client
	codecs   serializer.CodecFactory
	metadata metadata.Interface
}

func newAPI(o Options, requests *prometheus.CounterVec) (*api, error) {
	config, err := loadConfig(o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("find the Kubernetes API: %w", err)
	}
	config.UserAgent = o.UserAgent
	config.AcceptContentTypes, config.ContentType = protobuf+",application/json", protobuf
	config.QPS, config.Burst = 20, 40
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{next, requests} })
	s, err := newScheme()
	if err != nil {
		return nil, fmt.Errorf("describe the types of the Kubernetes API: %w", err)
	}
	a := &api{config: config, codecs: serializer.NewCodecFactory(s)}
	if a.http, err = rest.HTTPClientFor(config); err != nil {
		return nil, fmt.Errorf("prepare the connection to the Kubernetes API: %w", err)
	}
	if a.metadata, err = metadata.NewForConfigAndClient(config, a.http); err != nil {
		return nil, fmt.Errorf("prepare the connection to the Kubernetes API: %w", err)
	}
	return a, nil
}

// loadConfig reads a file, else what a pod has, else what kubectl reads.
func loadConfig(path string) (*rest.Config, error) {
	if path == "" {
		if config, err := rest.InClusterConfig(); err == nil {
			return config, nil
		}
	} else {
		path = filepath.Clean(path)
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
}

// fingerprint differs between clusters: by where the API is, and by whose certificates it is believed.
func (a *api) fingerprint() string {
	h := sha256.New()
	authority := a.config.CAData
	if len(authority) == 0 && a.config.CAFile != "" {
		authority, _ = os.ReadFile(a.config.CAFile) // where it cannot be read, nothing can be asked
	}
	fmt.Fprintf(h, "%s\x00%s\x00%s", a.config.Host, a.config.ServerName, authority)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// client is for one version of a group.
func (a *api) client(gv schema.GroupVersion) (*rest.RESTClient, error) {
	config := rest.CopyConfig(a.config)
	config.GroupVersion, config.APIPath = &gv, "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = a.codecs.WithoutConversion()
	return rest.RESTClientForConfigAndClient(config, a.http)
}

// listWatch lists and watches a kind in all namespaces.
func (a *api) listWatch(k *kind) (*cache.ListWatch, error) {
	if k.object == nil {
		from := a.metadata.Resource(k.resource)
		return &cache.ListWatch{
			ListWithContextFunc:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return from.List(ctx, o) },
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return from.Watch(ctx, o) },
		}, nil
	}
	client, err := a.client(k.resource.GroupVersion())
	if err != nil {
		return nil, fmt.Errorf("prepare to watch %s: %w", k.resource.Resource, err)
	}
	return cache.NewFilteredListWatchFromClient(client, k.resource.Resource, metav1.NamespaceAll, func(*metav1.ListOptions) {}), nil
}

func (a *api) finder() *finder {
	client, err := a.client(schema.GroupVersion{Version: "v1"})
	if err != nil { // the same worked for pods
		panic(err)
	}
	return &finder{metadata: a.metadata, rest: client, groups: make(map[string]group)}
}
