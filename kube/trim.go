package kube

import (
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/vetch-dev/vetch/kube/state"
)

// takenApart is the annotation of a trimmed template: hashes of what madeOf tells apart.
const takenApart = "vetch.dev/parts"

// ingressClassOf is the class of an Ingress that is older than its field for it.
const ingressClassOf = "kubernetes.io/ingress.class"

// trim takes from an object what nobody here looks at, before it goes to disk: what containers are told (commands and environments, which hold passwords),
// annotations but those that are told as series, and who manages which field. What is made of the rest is the same as of the whole.
func trim(o runtime.Object, annotations []string) error {
	if r, ok := o.(*appsv1.ControllerRevision); ok {
		return trimRevision(r)
	}
	if m, ok := o.(metav1.Object); ok {
		m.SetManagedFields(nil)
		m.SetAnnotations(keptAnnotations(m.GetAnnotations(), annotations))
	}
	switch o := o.(type) {
	case *corev1.Pod:
		trimContainers(&o.Spec)
	case *appsv1.Deployment:
		return trimTemplate(&o.Spec.Template)
	case *appsv1.StatefulSet:
		return trimTemplate(&o.Spec.Template)
	case *appsv1.DaemonSet:
		return trimTemplate(&o.Spec.Template)
	case *appsv1.ReplicaSet:
		o.Spec.Template = corev1.PodTemplateSpec{}
	case *batchv1.Job:
		o.Spec.Template = corev1.PodTemplateSpec{}
	case *batchv1.CronJob:
		o.Spec.JobTemplate = batchv1.JobTemplateSpec{}
	}
	return nil
}

// keptAnnotations are those that names, events and series are made of, and those that are told.
func keptAnnotations(all map[string]string, told []string) map[string]string {
	var kept map[string]string
	for name, value := range all {
		switch name {
		case mirrorOf, revisionOf, corev1.BetaStorageClassAnnotation, ingressClassOf:
		default:
			if !state.Told(told, name) {
				continue
			}
		}
		if kept == nil {
			kept = make(map[string]string)
		}
		kept[name] = value
	}
	return kept
}

// trimContainers leaves of the containers of a pod what series and names are made of.
func trimContainers(spec *corev1.PodSpec) {
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			c := &list[i]
			c.Command, c.Args, c.Env, c.EnvFrom, c.Lifecycle = nil, nil, nil, nil, nil
			c.LivenessProbe, c.ReadinessProbe, c.StartupProbe = nil, nil, nil
		}
	}
	for i := range spec.EphemeralContainers {
		spec.EphemeralContainers[i].EphemeralContainerCommon = corev1.EphemeralContainerCommon{Name: spec.EphemeralContainers[i].Name}
	}
}

// trimTemplate puts hashes in the place of all but the images.
func trimTemplate(t *corev1.PodTemplateSpec) error {
	m := madeOf(t.DeepCopy())
	parts, err := json.Marshal(m.parts)
	if err != nil {
		return fmt.Errorf("trim a template: %w", err)
	}
	*t = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{takenApart: string(parts)}}}
	for name, image := range m.images {
		t.Spec.Containers = append(t.Spec.Containers, corev1.Container{Name: name, Image: image})
	}
	return nil
}

// partsOfTrimmed reads what trimTemplate wrote; nil where the template is whole.
func partsOfTrimmed(t *corev1.PodTemplateSpec) map[string]uint64 {
	text, ok := t.Annotations[takenApart]
	if !ok {
		return nil
	}
	var parts map[string]uint64
	if json.Unmarshal([]byte(text), &parts) != nil {
		return nil
	}
	return parts
}
