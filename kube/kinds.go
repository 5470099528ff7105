package kube

import (
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/kube/state"
)

// kind is one resource of the API that is watched. Adding one is an entry in everyKind.
type kind struct {
	resource schema.GroupVersionResource
	name     string         // "Pod"
	object   runtime.Object // what comes of it; nil: its metadata alone is asked for
	// keep picks what is kept of an object for its name. It must not keep the object itself. nil: it has no part in names.
	keep  func(name string, o runtime.Object) any
	put   func(*cluster, types.UID, any) // a new or changed object
	drop  func(*cluster, types.UID)      // an object that is gone
	state *state.Kind                    // its series; nil: it has none
	tell  *happening                     // its events; nil: it has none

	annotations []string // those that are told as series; "*" is all, as state.Told has it
}

// kinds lists what is watched: for names alone, or with series of these kinds and with events too. Owners are there for their own owners only, where there are
// neither.
func kinds(told []*state.Kind, events bool) []*kind {
	var list []*kind
	for _, k := range everyKind() {
		k.state = state.Find(told, k.resource.Resource)
		if events {
			k.tell = happenings()[k.resource.Resource]
		}
		if k.state == nil && k.tell == nil && k.owns() {
			k.object = nil
		}
		if k.state != nil || k.keep != nil || k.tell != nil {
			list = append(list, k)
		}
	}
	return list
}

// owns says whether the kind is there for what it owns, and who owns it.
func (k *kind) owns() bool {
	return k.resource.Group == appsv1.GroupName || k.resource.Group == batchv1.GroupName
}

func everyKind() []*kind {
	core, apps, batch := corev1.SchemeGroupVersion, appsv1.SchemeGroupVersion, batchv1.SchemeGroupVersion
	owner := func(gv schema.GroupVersion, resource, name string, object runtime.Object) *kind {
		return &kind{resource: gv.WithResource(resource), name: name, object: object, keep: keepOwner, put: (*cluster).putOwner, drop: (*cluster).dropOwner}
	}
	unnamed := func(gv schema.GroupVersion, resource, name string, object runtime.Object) *kind {
		return &kind{resource: gv.WithResource(resource), name: name, object: object}
	}
	return []*kind{
		{resource: core.WithResource("pods"), name: "Pod", object: &corev1.Pod{}, keep: keepPod, put: (*cluster).putPod, drop: (*cluster).dropPod},
		{resource: core.WithResource("nodes"), name: "Node", object: &corev1.Node{}, keep: keepNode, put: (*cluster).putNode, drop: (*cluster).dropNode},
		{resource: core.WithResource("services"), name: "Service", object: &corev1.Service{}, keep: keepService, put: (*cluster).putService, drop: (*cluster).dropService},
		{resource: discoveryv1.SchemeGroupVersion.WithResource("endpointslices"), name: "EndpointSlice", object: &discoveryv1.EndpointSlice{}, keep: keepSlice, put: (*cluster).putSlice, drop: (*cluster).dropSlice},
		owner(apps, "replicasets", "ReplicaSet", &appsv1.ReplicaSet{}),
		owner(apps, "deployments", "Deployment", &appsv1.Deployment{}),
		owner(apps, "statefulsets", "StatefulSet", &appsv1.StatefulSet{}),
		owner(apps, "daemonsets", "DaemonSet", &appsv1.DaemonSet{}),
		owner(batch, "jobs", "Job", &batchv1.Job{}),
		owner(batch, "cronjobs", "CronJob", &batchv1.CronJob{}),
		unnamed(core, "events", "Event", &corev1.Event{}),
		unnamed(apps, "controllerrevisions", "ControllerRevision", &appsv1.ControllerRevision{}),
		unnamed(core, "namespaces", "Namespace", &corev1.Namespace{}),
		unnamed(core, "persistentvolumes", "PersistentVolume", &corev1.PersistentVolume{}),
		unnamed(core, "persistentvolumeclaims", "PersistentVolumeClaim", &corev1.PersistentVolumeClaim{}),
		unnamed(autoscalingv2.SchemeGroupVersion, "horizontalpodautoscalers", "HorizontalPodAutoscaler", &autoscalingv2.HorizontalPodAutoscaler{}),
		unnamed(networkingv1.SchemeGroupVersion, "ingresses", "Ingress", &networkingv1.Ingress{}),
	}
}

// scheme knows the types of kinds that come as whole objects.
func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, discoveryv1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, autoscalingv2.AddToScheme, networkingv1.AddToScheme,
	} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}
