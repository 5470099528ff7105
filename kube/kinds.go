package kube

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// kind is one resource of the API that is watched. Adding one is an entry in kinds.
type kind struct {
	resource schema.GroupVersionResource
	name     string         // "Pod"
	object   runtime.Object // what comes of it; nil: its metadata alone is asked for
	// keep picks what is kept of an object. It must not keep the object itself.
	keep func(name string, o runtime.Object) any
	put  func(*cluster, types.UID, any) // a new or changed object
	drop func(*cluster, types.UID)      // an object that is gone
}

// kinds lists everything that is watched. Owners are there for their own owners only.
func kinds() []*kind {
	core, apps, batch := corev1.SchemeGroupVersion, appsv1.SchemeGroupVersion, batchv1.SchemeGroupVersion
	owner := func(gv schema.GroupVersion, resource, name string) *kind {
		return &kind{resource: gv.WithResource(resource), name: name, keep: keepOwner, put: (*cluster).putOwner, drop: (*cluster).dropOwner}
	}
	return []*kind{
		{core.WithResource("pods"), "Pod", &corev1.Pod{}, keepPod, (*cluster).putPod, (*cluster).dropPod},
		{core.WithResource("nodes"), "Node", &corev1.Node{}, keepNode, (*cluster).putNode, (*cluster).dropNode},
		{core.WithResource("services"), "Service", &corev1.Service{}, keepService, (*cluster).putService, (*cluster).dropService},
		{discoveryv1.SchemeGroupVersion.WithResource("endpointslices"), "EndpointSlice", &discoveryv1.EndpointSlice{}, keepSlice, (*cluster).putSlice, (*cluster).dropSlice},
		owner(apps, "replicasets", "ReplicaSet"),
		owner(apps, "deployments", "Deployment"),
		owner(apps, "statefulsets", "StatefulSet"),
		owner(apps, "daemonsets", "DaemonSet"),
		owner(batch, "jobs", "Job"),
		owner(batch, "cronjobs", "CronJob"),
	}
}

// scheme knows the types of kinds that come as whole objects.
func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}
