// Package kubestate compares the series of vetch's watcher with those of kube-state-metrics itself, over the same objects. It is a module of its own, so
// that vetch does not depend on it.
package kubestate

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kube-state-metrics/v2/pkg/builder"
	generator "k8s.io/kube-state-metrics/v2/pkg/metric_generator"
	metricsstore "k8s.io/kube-state-metrics/v2/pkg/metrics_store"
	"k8s.io/kube-state-metrics/v2/pkg/options"
	"sigs.k8s.io/yaml"
)

const testdata = "../../kube/state/testdata/"

// differs are the families that are not the same, and why.
var differs = map[string]string{
	"kube_endpointslice_endpoints":         "kube-state-metrics 2.18 gives the value of terminating to hostname, and the other way round",
	"kube_persistentvolume_csi_attributes": "off in kube-state-metrics unless asked for",
	"kube_pod_nodeselectors":               "off in kube-state-metrics unless asked for",
}

// everything lets all families through.
type everything struct{}

func (everything) Test(generator.FamilyGenerator) bool { return true }

// theirs are the series of kube-state-metrics for the objects of a file.
func theirs(t *testing.T, resource, path string) []string {
	b := builder.NewBuilder()
	b.WithMetrics(prometheus.NewRegistry())
	if err := b.WithEnabledResources([]string{resource}); err != nil {
		t.Fatal(err)
	}
	b.WithNamespaces(options.DefaultNamespaces)
	b.WithContext(t.Context())
	b.WithKubeClient(fake.NewClientset())
	b.WithFamilyGeneratorFilter(everything{})
	if err := b.WithAllowLabels(map[string][]string{"pods": {"app", "camelCase", "camel_case", "none"}, "nodes": {"*"}}); err != nil {
		t.Fatal(err)
	}
	if err := b.WithAllowAnnotations(map[string][]string{"pods": {"*"}}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	b.WithGenerateStoresFunc(func(
		families []generator.FamilyGenerator, expected any, _ func(kubeClient clientset.Interface, ns, selector string) cache.ListerWatcher, _ bool, _ int64,
	) []cache.Store {
		store := metricsstore.NewMetricsStore(generator.ExtractMetricFamilyHeaders(families), generator.ComposeMetricGenFuncs(families))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, doc := range bytes.Split(text, []byte("\n---\n")) {
			o := reflect.New(reflect.TypeOf(expected).Elem()).Interface()
			if err := yaml.Unmarshal(doc, o); err != nil {
				t.Fatal(err)
			}
			// Objects are told apart by their uid.
			uid := reflect.ValueOf(o).Elem().FieldByName("ObjectMeta").FieldByName("UID")
			if uid.String() == "" {
				uid.SetString(fmt.Sprint(i))
			}
			if err := store.Add(o); err != nil {
				t.Fatal(err)
			}
		}
		if err := metricsstore.NewMetricsWriter(resource, store).WriteAll(&out); err != nil {
			t.Fatal(err)
		}
		return []cache.Store{store}
	})
	b.BuildStores()
	return series(t, out.Bytes())
}

// series lists what a text says, without labels that are empty: they are no labels.
func series(t *testing.T, text []byte) []string {
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for name, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				if l.GetValue() != "" {
					labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
				}
			}
			slices.Sort(labels)
			list = append(list, fmt.Sprintf("%s{%s} %v %v", name, strings.Join(labels, ","), f.GetType(), value(m)))
		}
	}
	slices.Sort(list)
	return list
}

func value(m *dto.Metric) float64 {
	return m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
}

func TestSameAsKubeStateMetrics(t *testing.T) {
	files, err := filepath.Glob(testdata + "*.prom")
	if err != nil || len(files) != 15 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	total := 0
	for _, path := range files {
		resource := strings.TrimSuffix(filepath.Base(path), ".prom")
		t.Run(resource, func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			ours, want := series(t, text), theirs(t, resource, strings.TrimSuffix(path, ".prom")+".yaml")
			for _, s := range ours {
				if name, _, _ := strings.Cut(s, "{"); !slices.Contains(want, s) && differs[name] == "" {
					t.Errorf("only vetch has %s", s)
				}
			}
			for _, s := range want {
				if name, _, _ := strings.Cut(s, "{"); !slices.Contains(ours, s) && differs[name] == "" {
					t.Errorf("only kube-state-metrics has %s", s)
				}
			}
			total += len(ours)
		})
	}
	t.Logf("%d series compared", total)
}
