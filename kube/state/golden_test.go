package state

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/vetch-dev/vetch/model"
)

var update = flag.Bool("update", false, "write the golden files anew")

// types of the kinds, to read fixtures.
func empty() map[string]runtime.Object {
	return map[string]runtime.Object{
		"pods": &corev1.Pod{}, "nodes": &corev1.Node{}, "namespaces": &corev1.Namespace{}, "services": &corev1.Service{},
		"endpointslices": &discoveryv1.EndpointSlice{}, "deployments": &appsv1.Deployment{}, "replicasets": &appsv1.ReplicaSet{},
		"statefulsets": &appsv1.StatefulSet{}, "daemonsets": &appsv1.DaemonSet{}, "jobs": &batchv1.Job{}, "cronjobs": &batchv1.CronJob{},
		"horizontalpodautoscalers": &autoscalingv2.HorizontalPodAutoscaler{}, "persistentvolumes": &corev1.PersistentVolume{},
		"persistentvolumeclaims": &corev1.PersistentVolumeClaim{}, "ingresses": &networkingv1.Ingress{},
	}
}

// fixtures reads the objects of a kind.
func fixtures(t testing.TB, resource string) []runtime.Object {
	text, err := os.ReadFile("testdata/" + resource + ".yaml")
	require.NoError(t, err)
	var list []runtime.Object
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		o := empty()[resource].DeepCopyObject()
		require.NoError(t, yaml.UnmarshalStrict(doc, o))
		list = append(list, o)
	}
	return list
}

// lines are all series of a store in the text format, family by family.
func lines(g model.Gatherer) string {
	var out []string
	var last *model.Family
	var of []string
	end := func() {
		slices.Sort(of)
		out = append(out, of...)
		of = nil
	}
	g.Gather(func(s model.Sample) {
		if s.Family != last {
			end()
			last = s.Family
			out = append(out, fmt.Sprintf("# TYPE %s %s", s.Family.Name, map[model.MetricType]string{model.Gauge: "gauge", model.Counter: "counter"}[s.Family.Type]))
		}
		of = append(of, fmt.Sprintf("%s%s %v", s.Family.Name, strings.ReplaceAll(s.Labels.String(), `", `, `",`), s.Value))
	})
	end()
	return strings.Join(out, "\n") + "\n"
}

// TestGolden holds the series of the objects in testdata. That kube-state-metrics gives the same for them is held by test/kubestate.
func TestGolden(t *testing.T) {
	for _, k := range Kinds(Options{
		Labels: map[string][]string{"pods": {"app", "camelCase", "camel_case", "none"}, "nodes": {"*"}}, Annotations: map[string][]string{"pods": {"*"}},
	}) {
		t.Run(k.Resource, func(t *testing.T) {
			s := NewStore([]*Kind{k})
			s.Ready()
			for i, o := range fixtures(t, k.Resource) {
				first := k.Render(o, nil)
				require.Equal(t, first, k.Render(o, first), "what is shared with before makes no difference")
				s.Put(k, types.UID(fmt.Sprint(i)), first)
			}
			got, path := lines(s), "testdata/"+k.Resource+".prom"
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}
