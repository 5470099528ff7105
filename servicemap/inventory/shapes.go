package inventory

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/vetch-dev/vetch/servicemap"
)

// Resource is an amount of processor (cores) or memory (bytes). nil means not known, and of Requests and Limits also: none is set.
type Resource struct {
	Capacity    *float64 `json:"capacity"`    // of a node
	Allocatable *float64 `json:"allocatable"` // of a node: what of it pods may take
	Requests    *float64 `json:"requests"`
	Limits      *float64 `json:"limits"` // nil where a container of the pod has none
	Used        *float64 `json:"used"`
}

// Node is one machine: of a Kubernetes cluster, or any other with an agent.
type Node struct {
	ID            string            `json:"id"`
	Cluster       string            `json:"cluster"`
	Name          string            `json:"name"`
	Health        servicemap.Health `json:"health"`
	Reasons       []string          `json:"reasons"`
	Kubernetes    bool              `json:"kubernetes"` // a watcher tells of it
	Watched       bool              `json:"watched"`    // an agent tells of it
	Roles         []string          `json:"roles"`
	Unschedulable bool              `json:"unschedulable"`
	Conditions    map[string]string `json:"conditions"` // by type: true, false, unknown
	Version       string            `json:"version"`    // of the kubelet
	Kernel        string            `json:"kernel"`
	System        string            `json:"system"`
	Runtime       string            `json:"runtime"`
	IPs           []string          `json:"ips"` // within the cluster, those of IPv4 first
	Created       *time.Time        `json:"created"`
	UptimeSeconds *float64          `json:"uptimeSeconds"`
	Pods          int               `json:"pods"` // that have not ended
	PodLimit      *float64          `json:"podLimit"`
	CPU           Resource          `json:"cpu"`
	Memory        Resource          `json:"memory"`
	DiskBusy      *float64          `json:"diskBusy"` // share of the time that the busiest disk works, 0 to 1
	DiskUsed      *float64          `json:"diskUsed"` // share of the fullest file system that is used, of its bytes or inodes, 0 to 1
	DiskReadRate  *float64          `json:"diskReadRate"`
	DiskWriteRate *float64          `json:"diskWriteRate"`
	NetInRate     *float64          `json:"netInRate"`
	NetOutRate    *float64          `json:"netOutRate"`
}

// NodeList holds all nodes, the one with most trouble first.
type NodeList struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Nodes []Node    `json:"nodes"`
	encoded
}

// NodeDetail is everything about one node. Charts are keyed by what they show.
type NodeDetail struct {
	Start  time.Time                    `json:"start"`
	End    time.Time                    `json:"end"`
	Node   Node                         `json:"node"`
	Charts map[string]servicemap.Series `json:"charts"`
	encoded
}

// Pod is one pod at the end of the range.
type Pod struct {
	ID           string            `json:"id"`
	Cluster      string            `json:"cluster"`
	Namespace    string            `json:"namespace"`
	Name         string            `json:"name"`
	UID          string            `json:"uid"`
	Node         string            `json:"node"`     // "" while it has none
	NodeID       string            `json:"nodeId"`   // the same
	Workload     string            `json:"workload"` // id of its top owner, or of itself where it has none
	Health       servicemap.Health `json:"health"`
	Reasons      []string          `json:"reasons"`
	Phase        string            `json:"phase"`
	Status       string            `json:"status"` // one word: the phase, or why it is not well
	Containers   int               `json:"containers"`
	Ready        int               `json:"ready"` // containers
	Restarts     float64           `json:"restarts"`
	Restarted    float64           `json:"restarted"`    // times in the range
	LastEnd      string            `json:"lastEnd"`      // why a container of it ended before it was last started again
	IP           string            `json:"ip"`           //
	HostNetwork  bool              `json:"hostNetwork"`  //
	Created      *time.Time        `json:"created"`      //
	CPU          Resource          `json:"cpu"`          //
	Memory       Resource          `json:"memory"`       //
	CPUThrottled *float64          `json:"cpuThrottled"` // seconds a second that its containers were kept from running by their limits

	owner   owner
	ended   bool // Succeeded or Failed: it holds no resources
	failing float64
}

// PodList holds the pods of a selection, those with most trouble first. Total counts them all, also those beyond the limit.
type PodList struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Total int       `json:"total"`
	Known bool      `json:"known"` // a watcher tells of pods at all
	Pods  []Pod     `json:"pods"`
	encoded
}

// Container is one container of a pod.
type Container struct {
	Name      string     `json:"name"`
	Image     string     `json:"image"`
	State     string     `json:"state"`  // running, waiting, terminated, or "" where it is not known
	Reason    string     `json:"reason"` // of waiting or terminated
	Ready     bool       `json:"ready"`
	Restarts  float64    `json:"restarts"`
	LastEnd   string     `json:"lastEnd"`
	LastCode  *float64   `json:"lastCode"` // exit code
	LastEnded *time.Time `json:"lastEnded"`
	Started   *time.Time `json:"started"`
	CPU       Resource   `json:"cpu"`
	Memory    Resource   `json:"memory"`

	Charts map[string]servicemap.Series `json:"charts"` // keyed by what they show; only those that something is known of
}

// PodDetail is everything about one pod. Gone: it ended before the end of the range, and what is told of it is what was known last.
type PodDetail struct {
	Start      time.Time                    `json:"start"`
	End        time.Time                    `json:"end"`
	Gone       bool                         `json:"gone"`
	Pod        Pod                          `json:"pod"`
	Containers []Container                  `json:"containers"`
	Charts     map[string]servicemap.Series `json:"charts"`
	encoded
}

// Namespace is one namespace of a cluster: its workloads and pods together.
type Namespace struct {
	ID         string            `json:"id"`
	Cluster    string            `json:"cluster"`
	Name       string            `json:"name"`
	Health     servicemap.Health `json:"health"`
	Reasons    []string          `json:"reasons"`
	Phase      string            `json:"phase"` // Active or Terminating; "" where no watcher tells
	Workloads  int               `json:"workloads"`
	Pods       int               `json:"pods"` // that have not ended
	Troubled   int               `json:"troubled"`
	Restarted  float64           `json:"restarted"`
	CPU        Resource          `json:"cpu"`
	Memory     Resource          `json:"memory"`
	Rate       *float64          `json:"rate"`
	ErrorShare *float64          `json:"errorShare"`
	failing    float64
}

// NamespaceList holds all namespaces, the one with most trouble first.
type NamespaceList struct {
	Start      time.Time   `json:"start"`
	End        time.Time   `json:"end"`
	Namespaces []Namespace `json:"namespaces"`
	encoded
}

// NamespaceDetail is one namespace over time.
type NamespaceDetail struct {
	Start     time.Time                    `json:"start"`
	End       time.Time                    `json:"end"`
	Namespace Namespace                    `json:"namespace"`
	Charts    map[string]servicemap.Series `json:"charts"`
	encoded
}

// encoded keeps the JSON form of an answer that many viewers share.
type encoded struct {
	once sync.Once
	data []byte
	err  error
}

func (e *encoded) marshal(v any) ([]byte, error) {
	e.once.Do(func() { e.data, e.err = json.Marshal(v) })
	return e.data, e.err
}

// JSON is the answer as the API sends it, encoded once for all viewers. The bytes must not be changed.
func (l *NodeList) JSON() ([]byte, error) { return l.marshal(l) }

// JSON is as of NodeList.
func (d *NodeDetail) JSON() ([]byte, error) { return d.marshal(d) }

// JSON is as of NodeList.
func (l *PodList) JSON() ([]byte, error) { return l.marshal(l) }

// JSON is as of NodeList.
func (d *PodDetail) JSON() ([]byte, error) { return d.marshal(d) }

// JSON is as of NodeList.
func (l *NamespaceList) JSON() ([]byte, error) { return l.marshal(l) }

// JSON is as of NodeList.
func (d *NamespaceDetail) JSON() ([]byte, error) { return d.marshal(d) }
