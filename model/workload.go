// Package model holds the nouns that all parts share: who talks (Workload), to whom (Edge), and what is measured (Sample). It imports nothing of ours.
package model

import "strings"

// Kind says what sort of thing a Workload is.
type Kind string

// The kinds that exist without Kubernetes. In a cluster the owner's own kind (Deployment, StatefulSet, a custom resource) is used as it is.
const (
	KindNode      Kind = "Node"      // the machine itself: one of its addresses, but no process is known behind it
	KindUnit      Kind = "Unit"      // a systemd unit
	KindContainer Kind = "Container" // a container outside Kubernetes
	KindPod       Kind = "Pod"       // a pod whose owner is not known
	KindProcess   Kind = "Process"   // a plain program, grouped by the name of its executable
	KindExternal  Kind = "External"  // an address or name outside of what is watched
)

// Workload is who sends or serves. It is comparable and small enough to be a map key. The zero value means "not known".
type Workload struct {
	Cluster   string `json:"cluster,omitempty"`
	Namespace string `json:"namespace"` // Kubernetes namespace; empty on plain machines
	Kind      Kind   `json:"kind"`
	Name      string `json:"name"`
}

// IsZero reports whether nothing is known.
func (w Workload) IsZero() bool { return w == Workload{} }

// ID is the stable text form namespace/kind/name, used in URLs and as node id of the map. Namespace may be empty: "/Process/nginx".
func (w Workload) ID() string { return w.Namespace + "/" + string(w.Kind) + "/" + w.Name }

// What an escaped cluster cannot hold, so that the first colon of a QualifiedID ends it.
var (
	escapeCluster   = strings.NewReplacer("%", "%25", "/", "%2F", ":", "%3A")
	unescapeCluster = strings.NewReplacer("%25", "%", "%2F", "/", "%3A", ":")
)

// EscapeCluster writes the name of a cluster as it is before the colon of an id.
func EscapeCluster(name string) string { return escapeCluster.Replace(name) }

// UnescapeCluster reads what EscapeCluster wrote.
func UnescapeCluster(text string) string { return unescapeCluster.Replace(text) }

// QualifiedID is ID, with the cluster before it where one is set: "eu-1:shop/Deployment/api".
func (w Workload) QualifiedID() string {
	if w.Cluster == "" && !strings.Contains(w.Namespace, ":") {
		return w.ID()
	}
	return EscapeCluster(w.Cluster) + ":" + w.ID()
}

// ParseID reads what ID or QualifiedID wrote. The name may itself hold slashes and colons.
func ParseID(id string) (Workload, bool) {
	parts := strings.SplitN(id, "/", 3)
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return Workload{}, false
	}
	w := Workload{Namespace: parts[0], Kind: Kind(parts[1]), Name: parts[2]}
	if cluster, namespace, ok := strings.Cut(w.Namespace, ":"); ok {
		w.Cluster, w.Namespace = UnescapeCluster(cluster), namespace
	}
	return w, true
}

// Edge is one client that uses one service. Seen from either or both ends it is one Edge.
type Edge struct {
	Client   Workload
	Server   Workload
	Port     uint16 // the server's port, after NAT where that is known
	Protocol string // "http", "tcp" while nothing better is known
}
