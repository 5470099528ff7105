package process

import (
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/names"
)

// clusterAnswer is who is behind an address of the cluster.
type clusterAnswer struct {
	workload model.Workload
	role     names.Role
	node     string // where it runs; "" for services
	port     uint16 // behind a service, where it is known; else 0
	fleeting bool   // another answer may come: the address is about to be, or has just been, somebody's
}

// at says who was behind an address at a time. Port 0 asks for no port: the address is that of a client.
func (c *Cluster) at(addr netip.AddrPort, protocol uint32, when time.Time) (clusterAnswer, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var best *clusterName
	if at := c.byAddress[addr.Addr()]; at != nil {
		for _, n := range at.list {
			if n.covers(when) && n.serves(addr, protocol) && (best == nil || n.better(best)) {
				best = n
			}
		}
	}
	if best == nil {
		for _, r := range c.ranges {
			if r.prefix.Contains(addr.Addr()) { // what leaves a node by its bridge or tunnel; or a pod that nobody has told of yet
				return clusterAnswer{workload: r.owner.workload, role: names.Role_ROLE_NODE, node: r.owner.Node, fleeting: true}, true
			}
		}
		return clusterAnswer{}, false
	}
	if best.Role == names.Role_ROLE_NODE && addr.Port() != 0 {
		if answer, ok := c.nodePort(protocol, addr.Port()); ok {
			return answer, true
		}
	}
	answer := best.answer(addr.Port(), protocol)
	answer.fleeting = !best.until.IsZero() && when.After(best.until) || when.Before(best.from)
	return answer, true
}

// atNodePort says which service is behind a port of any node.
func (c *Cluster) atNodePort(protocol uint32, port uint16) (clusterAnswer, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.nodePort(protocol, port)
}

func (c *Cluster) nodePort(protocol uint32, port uint16) (clusterAnswer, bool) {
	for _, n := range c.nodePorts[nodePort{protocol, port}] {
		for _, p := range n.Ports {
			if p.Protocol == protocol && p.NodePort == uint32(port) {
				return n.answer(uint16(p.Number), protocol), true
			}
		}
	}
	return clusterAnswer{}, false
}

// answer names what is behind a service's port by the workload there, where it is only one.
func (n *clusterName) answer(port uint16, protocol uint32) clusterAnswer {
	a := clusterAnswer{workload: n.workload, role: n.Role, node: n.Node}
	if n.Role != names.Role_ROLE_SERVICE {
		return a
	}
	a.port = port
	for _, p := range n.Ports {
		if p.Protocol == protocol && p.Number == uint32(port) && !n.backend.IsZero() {
			a.workload = n.backend
			if p.Target != 0 {
				a.port = uint16(p.Target)
			}
		}
	}
	return a
}

// covers reports whether a name held at a time, give or take what clocks differ by.
func (n *clusterName) covers(when time.Time) bool {
	return !when.Before(n.from.Add(-clusterGrace)) && (n.until.IsZero() || !when.After(n.until.Add(clusterGrace)))
}

// serves reports whether a port of an address is one of this name's.
func (n *clusterName) serves(addr netip.AddrPort, protocol uint32) bool {
	if len(n.Ports) == 0 || n.Role == names.Role_ROLE_SERVICE {
		for _, p := range n.Places {
			if names.Address(p.Address) == addr.Addr() {
				return p.Port == uint32(addr.Port())
			}
		}
		return true
	}
	for _, p := range n.Ports {
		if p.Number == uint32(addr.Port()) && p.Protocol == protocol {
			return true
		}
	}
	return false
}

// better prefers the narrower of two names for an address: ports of a pod and endpoints of a service before the node that has them, and then the
// one that had the address last.
func (n *clusterName) better(than *clusterName) bool {
	if a, b := n.Role == names.Role_ROLE_NODE, than.Role == names.Role_ROLE_NODE; a != b {
		return b
	}
	if a, b := n.Role == names.Role_ROLE_POD, than.Role == names.Role_ROLE_POD; a != b {
		return a
	}
	if !n.from.Equal(than.from) {
		return n.from.After(than.from)
	}
	return n.until.IsZero() && !than.until.IsZero()
}

// isWatched reports whether another node than ours has an agent of its own.
func (c *Cluster) isWatched(node string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, ok := c.watched[node]
	return ok && node != c.node
}

// changed is the generation of the last change of an address; 0 for one that is not known.
func (c *Cluster) changed(addr netip.Addr) uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if at := c.byAddress[addr]; at != nil {
		return at.generation
	}
	return 0
}

// podNames are those of a container in a pod of our own node.
type podNames struct {
	workload  model.Workload
	pod       string
	container string // "" while the container is not known by its id
}

// pod finds a pod by the uid in its cgroup's path, else by the id of a container.
func (c *Cluster) pod(uid, container string) (podNames, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n := c.containers[container]
	if n == nil && uid != "" {
		n = c.pods[uid]
	}
	if n == nil {
		return podNames{}, false
	}
	p := podNames{workload: n.workload, pod: n.Pod.Name}
	for _, k := range n.Pod.Containers {
		if k.Id != "" && k.Id == container {
			p.container = k.Name
		}
	}
	return p, true
}

// isSynced reports whether all names were here once.
func (c *Cluster) isSynced() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.synced
}

// alias is what a name of DNS stands for by a service of type ExternalName: "db.shop.svc.cluster.local" for "db.example.com".
func (c *Cluster) alias(name string) (string, bool) {
	service, rest, ok := strings.Cut(name, ".")
	if !ok {
		return "", false
	}
	namespace, rest, _ := strings.Cut(rest, ".")
	if rest != "svc" && !strings.HasPrefix(rest, "svc.") {
		return "", false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	to, ok := c.aliases[service+"."+namespace]
	return to, ok
}

// Collector gives the figures of what the feed told.
func (c *Cluster) Collector() prometheus.Collector {
	return clusterCollector{c,
		prometheus.NewDesc("vetch_names_known", "Names of the cluster that are held here, by whether the feed still has them.", []string{"state"}, nil),
		prometheus.NewDesc("vetch_names_known_addresses", "Addresses of the cluster that are held here.", nil, nil),
		prometheus.NewDesc("vetch_names_dropped_total", "Names of the feed that were not kept: too many.", nil, nil),
	}
}

type clusterCollector struct {
	*Cluster
	names, addresses, dropped *prometheus.Desc
}

func (c clusterCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.names
	ch <- c.addresses
	ch <- c.dropped
}

func (c clusterCollector) Collect(ch chan<- prometheus.Metric) {
	c.mu.RLock()
	present, ended, addresses := len(c.Cluster.names), len(c.ended), len(c.byAddress)
	c.mu.RUnlock()
	ch <- prometheus.MustNewConstMetric(c.names, prometheus.GaugeValue, float64(present), "present")
	ch <- prometheus.MustNewConstMetric(c.names, prometheus.GaugeValue, float64(ended), "ended")
	ch <- prometheus.MustNewConstMetric(c.addresses, prometheus.GaugeValue, float64(addresses))
	ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(c.overflow.Load()))
}
