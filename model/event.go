package model

import (
	"strings"
	"time"
)

// EventType says whether somebody should look.
type EventType string

// The types, as Kubernetes has them.
const (
	EventNormal  EventType = "Normal"
	EventWarning EventType = "Warning"
)

// The sources of events.
const (
	SourceKernel     = "kernel"     // what this machine's kernel saw of processes
	SourceKubernetes = "kubernetes" // the events of a cluster's API
	SourceWatcher    = "watcher"    // what the watcher saw change in the objects of a cluster's API
)

const containerEnd = "container/"

// ContainerEnd is the Event.ID of the end of a container of a pod, by the id that its runtime gave to it: the same whoever tells of it. A container that is started
// again in a pod has another id. A store takes two sources of one as one event.
func ContainerEnd(container string) string { return containerEnd + container }

// IsContainerEnd tells such IDs.
func IsContainerEnd(id string) bool { return strings.HasPrefix(id, containerEnd) }

// Object is what an event is about. In Kubernetes it is an object of the API; elsewhere the workload itself.
type Object struct {
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
}

// Event is something that happened, once or several times: a crash, a pod that could not be scheduled, a new image.
type Event struct {
	First, Last time.Time // exact to a microsecond; the same of what happened once
	Count       uint64    // how often, between these
	// ID is of a source that may tell the same more than once: after an answer that was lost, or because it only knows how often something has happened
	// so far, as Kubernetes does. Of what is told again under an ID the store takes what Count is more than before. It must differ between all
	// that is not the same, and First must not become later by more than a day.
	ID       string
	Type     EventType
	Reason   string // one word, for machines: "OOMKilled", "BackOff"
	Message  string // for people
	Source   string // who tells it: SourceKernel, SourceKubernetes
	Object   Object
	Workload Workload          // the owner of the object, as far up as is known
	Node     string            // machine on which it happened; "" if it is about none
	Fields   map[string]string // what else is known: "signal", "exit_code", "pid"
}
