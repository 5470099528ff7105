package kube

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/vetch-dev/vetch/kube/state"
)

// whole are all kinds with all that is made of them.
func whole() []*kind {
	list := kinds(state.Kinds(state.Options{}), true)
	for _, k := range list {
		if k.object == nil {
			panic(k.name + " comes as metadata")
		}
	}
	return list
}

// fixtures are the objects of a kind that kube/state is tested with.
func fixtures(t testing.TB, k *kind) (list []runtime.Object) {
	text, err := os.ReadFile(filepath.Join("state", "testdata", k.resource.Resource+".yaml"))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		o := k.empty()
		require.NoError(t, yaml.UnmarshalStrict(doc, o))
		list = append(list, o)
	}
	return list
}

// madeOfObject is all that is kept of an object.
func madeOfObject(k *kind, o runtime.Object) (body, tells any, series *state.Rendered) {
	if k.keep != nil {
		body = k.keep(k.name, o)
	}
	if k.tell != nil {
		tells = k.tell.keep(o)
	}
	if k.state != nil {
		series = k.state.Render(o, nil)
	}
	return body, tells, series
}

func TestOfARecordTheSameIsMade(t *testing.T) {
	for _, k := range whole() {
		t.Run(k.name, func(t *testing.T) {
			list := fixtures(t, k)
			require.True(t, len(list) > 0 || k.name == "Event" || k.name == "ControllerRevision")
			switch o := k.empty().(type) {
			case *corev1.Event:
				o.UID, o.Reason, o.InvolvedObject.FieldPath, o.Count = "u", "BackOff", "spec.containers{app}", 3
				list = append(list, o)
			case *appsv1.ControllerRevision:
				o = revisionFor("db", 2, "shop:2", 0)
				o.CreationTimestamp = metav1.Unix(1_800_000_000, 0)
				list = append(list, o)
			case *appsv1.Deployment:
				o.Spec.Template.Annotations = map[string]string{restartedAt: "2026-11-21"}
				o.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app", Image: "i", Args: []string{"x"}}}
				list = append(list, o)
			}
			for _, o := range list {
				body, tells, series := madeOfObject(k, o.DeepCopyObject())
				record, err := k.marshal(o.DeepCopyObject())
				require.NoError(t, err)
				back, err := k.unmarshal(record)
				require.NoError(t, err)
				body2, tells2, series2 := madeOfObject(k, back)
				require.Equal(t, body, body2)
				require.Equal(t, tells, tells2)
				require.Equal(t, series, series2)
				again, err := k.marshal(back)
				require.NoError(t, err)
				back, err = k.unmarshal(again)
				require.NoError(t, err)
				_, tells2, series2 = madeOfObject(k, back)
				require.Equal(t, tells, tells2, "after two restarts")
				require.Equal(t, series, series2)
			}
		})
	}
}

// FuzzRecord reads any bytes as an object of any kind.
func FuzzRecord(f *testing.F) {
	list := whole()
	for i, k := range list {
		for _, o := range fixtures(f, k) {
			record, err := k.marshal(o)
			require.NoError(f, err)
			f.Add(uint8(i), record)
		}
	}
	f.Fuzz(func(_ *testing.T, i uint8, record []byte) {
		k := list[int(i)%len(list)]
		if o, err := k.unmarshal(record); err == nil {
			madeOfObject(k, o)
			_, _ = k.marshal(o)
		}
	})
}
