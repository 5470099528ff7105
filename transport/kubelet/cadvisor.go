package kubelet

import (
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

const (
	maxCadvisor = 64 << 20
	maxGroups   = 20_000
)

// Group is a cgroup of the node as cAdvisor, which is a part of the kubelet, tells of it.
type Group struct {
	Path string // "/kubepods/burstable/podUID/CONTAINER", as the kernel has it
	// Of a container: who it is. What holds the namespaces of a pod has an image, and no Container or "POD".
	Namespace, Pod, Container, Image string
	// Values are by the names of wanted, in their units; those of several devices or interfaces are added up.
	Values map[string]float64
}

// wanted are the metrics of /metrics/cadvisor that are read.
var wanted = map[string]bool{
	"container_cpu_usage_seconds_total": true, "container_cpu_user_seconds_total": true, "container_cpu_system_seconds_total": true,
	"container_cpu_cfs_throttled_seconds_total": true, "container_spec_cpu_quota": true, "container_spec_cpu_period": true,
	"container_memory_rss": true, "container_memory_mapped_file": true, "container_memory_cache": true, "container_memory_working_set_bytes": true,
	"container_spec_memory_limit_bytes": true, "container_network_receive_bytes_total": true, "container_network_transmit_bytes_total": true,
	"container_fs_reads_bytes_total": true, "container_fs_writes_bytes_total": true, "container_start_time_seconds": true,
}

// ReadCadvisor reads a kubelet's answer, which it bounds, into the cgroups that it tells of, by their paths.
func ReadCadvisor(r io.Reader) (map[string]*Group, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxCadvisor+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the kubelet's metrics: %w", err)
	case len(text) > maxCadvisor:
		return nil, fmt.Errorf("read the kubelet's metrics: more than %d MiB", maxCadvisor>>20)
	}
	groups := make(map[string]*Group)
	parser := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
	for {
		entry, err := parser.Next()
		switch {
		case errors.Is(err, io.EOF):
			return groups, nil
		case err != nil:
			return nil, fmt.Errorf("read the kubelet's metrics: %w", err)
		case entry != textparse.EntrySeries:
			continue
		}
		var ls labels.Labels
		parser.Labels(&ls)
		_, _, value := parser.Series()
		path := ls.Get("id")
		if !wanted[ls.Get(labels.MetricName)] || path == "" {
			continue
		}
		g := groups[path]
		if g == nil {
			if len(groups) >= maxGroups {
				return nil, fmt.Errorf("read the kubelet's metrics: more than %d cgroups", maxGroups)
			}
			g = &Group{
				Path: path, Namespace: ls.Get("namespace"), Pod: ls.Get("pod"), Container: ls.Get("container"), Image: ls.Get("image"),
				Values: make(map[string]float64, len(wanted)),
			}
			groups[path] = g
		}
		g.Values[ls.Get(labels.MetricName)] += value
	}
}
