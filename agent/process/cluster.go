package process

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/names"
)

const (
	maxClusterNames = 200_000
	clusterGrace    = 2 * time.Second  // by how much times of other clocks, and of readings a second apart, may be off
	keepEnded       = 10 * time.Minute // how long what the feed forgot is still known by the time that it had
	keepWatched     = time.Minute      // how long a node counts as watched that a new watcher has not heard of yet
)

// Cluster is what the names feed says. It takes updates from the feed's goroutine and answers any other.
type Cluster struct {
	node       string // our own
	generation atomic.Uint64
	ownPods    atomic.Uint64 // the generation of the last change of a pod of our own node
	overflow   atomic.Uint64 // names not kept

	mu         sync.RWMutex
	synced     bool // a whole snapshot was there
	skew       time.Duration
	skewed     bool                    // skew is known, on this connection
	names      map[uint64]*clusterName // of the present epoch, by id
	ended      []*clusterName          // forgotten by the feed, in that order
	byAddress  map[netip.Addr]*addressNames
	pods       map[string]*clusterName // by uid
	containers map[string]*clusterName // of pods, by id
	nodePorts  map[nodePort][]*clusterName
	ranges     []nodeRange
	aliases    map[string]string    // "service.namespace" of type ExternalName, and what it stands for
	watched    map[string]time.Time // nodes with an agent; since when the feed has not said so, zero while it does
	before     []*clusterName       // of the last snapshot, while the next is not whole
}

type clusterName struct {
	*names.Name
	workload, backend model.Workload
	from, until       time.Time // by our clock; until is zero while it lasts
	addrs             []netip.Addr
	forgotten         time.Time
}

// addressNames are all that have or had an address.
type addressNames struct {
	list       []*clusterName
	generation uint64 // of the last change
}

type nodePort struct {
	protocol uint32
	number   uint16
}

type nodeRange struct {
	prefix netip.Prefix
	owner  *clusterName
}

// NewCluster makes an empty one for the agent of a node.
func NewCluster(node string) *Cluster {
	return &Cluster{
		node: node, names: make(map[uint64]*clusterName), byAddress: make(map[netip.Addr]*addressNames), pods: make(map[string]*clusterName),
		containers: make(map[string]*clusterName), nodePorts: make(map[nodePort][]*clusterName), aliases: make(map[string]string),
		watched: make(map[string]time.Time),
	}
}

// Connected notes that the feed is there or gone. What it said stays.
func (c *Cluster) Connected(up bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !up {
		c.skewed = false
	}
}

// Update takes a message of the feed.
func (c *Cluster) Update(u *names.Update, received time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ahead := received.Sub(time.UnixMilli(u.Time)); !c.skewed || ahead < c.skew { // the message that was the shortest on its way tells best
		c.skew, c.skewed = ahead, true
	}
	generation := c.generation.Load() + 1
	if u.Snapshot { // what is there keeps its places until the snapshot is whole
		for _, n := range c.names {
			c.before = append(c.before, n)
		}
		c.names = make(map[uint64]*clusterName, len(u.Names))
	}
	for _, n := range u.Names {
		c.put(n, generation)
	}
	for _, id := range u.Forgotten {
		if n := c.names[id]; n != nil {
			delete(c.names, id)
			if n.Role == names.Role_ROLE_AGENT { // the watcher has waited already
				c.remove(n)
				continue
			}
			c.end(n, received, generation)
		}
	}
	if u.Sequence != 0 {
		for _, n := range c.before {
			c.end(n, received, generation)
		}
		c.before, c.synced = nil, true
	}
	c.sweep(received)
	c.generation.Store(generation)
}

// put adds a name, or replaces the one with its id.
func (c *Cluster) put(from *names.Name, generation uint64) {
	if old := c.names[from.Id]; old != nil {
		c.remove(old)
	} else if len(c.names)+len(c.ended)+len(c.before) >= maxClusterNames {
		c.overflow.Add(1)
		return
	}
	n := &clusterName{Name: from, workload: workloadOf(from.Workload), backend: workloadOf(from.Backend), from: c.local(from.From), until: c.local(from.Until)}
	c.names[from.Id] = n
	if from.Role == names.Role_ROLE_AGENT {
		c.watched[from.Node] = time.Time{}
		return
	}
	for _, b := range from.Addresses {
		n.addrs = append(n.addrs, names.Address(b))
	}
	for _, p := range from.Places {
		n.addrs = append(n.addrs, names.Address(p.Address))
	}
	slices.SortFunc(n.addrs, netip.Addr.Compare)
	n.addrs = slices.Compact(n.addrs)
	for _, a := range n.addrs {
		at := c.byAddress[a]
		if at == nil {
			at = &addressNames{}
			c.byAddress[a] = at
		}
		if !slices.ContainsFunc(at.list, n.isTwin) {
			at.generation = generation
		}
		at.list = append(at.list, n)
	}
	for _, p := range from.Ports {
		if key := (nodePort{p.Protocol, uint16(p.NodePort)}); p.NodePort != 0 {
			c.nodePorts[key] = append(c.nodePorts[key], n)
		}
	}
	for _, text := range from.Ranges {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			c.ranges = append(c.ranges, nodeRange{prefix, n})
		}
	}
	if from.ExternalName != "" {
		c.aliases[from.Workload.GetName()+"."+from.Workload.GetNamespace()] = from.ExternalName
	}
	if from.Pod != nil {
		c.pods[from.Pod.Uid] = n
		for _, container := range from.Pod.Containers {
			if container.Id != "" {
				c.containers[container.Id] = n
			}
		}
		c.ownPods.Store(generation)
	}
}

// isTwin reports whether another is the same thing at the same time.
func (n *clusterName) isTwin(o *clusterName) bool {
	return n != o && n.Role == o.Role && n.workload == o.workload && n.backend == o.backend && n.Node == o.Node &&
		n.From == o.From && n.Until == o.Until
}

// end keeps what the feed does not know any more under the time that it had.
func (c *Cluster) end(n *clusterName, now time.Time, generation uint64) {
	if n.Role == names.Role_ROLE_AGENT {
		if at, ok := c.watched[n.Node]; ok && at.IsZero() && !c.has(n) {
			c.watched[n.Node] = now
		}
		return
	}
	n.addrs = slices.DeleteFunc(n.addrs, func(a netip.Addr) bool {
		at := c.byAddress[a]
		if !slices.ContainsFunc(at.list, n.isTwin) {
			at.generation = generation
			return false
		}
		c.leave(a, n)
		return true
	})
	c.close(n)
	if n.until.IsZero() {
		n.until = now
	}
	n.forgotten = now
	c.ended = append(c.ended, n)
}

// has reports whether the present epoch knows an agent on the same node.
func (c *Cluster) has(n *clusterName) bool {
	for _, other := range c.names {
		if other.Role == names.Role_ROLE_AGENT && other.Node == n.Node {
			return true
		}
	}
	return false
}

// close takes a name off everything that only what is there now is asked for.
func (c *Cluster) close(n *clusterName) {
	for _, p := range n.Ports {
		key := nodePort{p.Protocol, uint16(p.NodePort)}
		c.nodePorts[key] = slices.DeleteFunc(c.nodePorts[key], func(o *clusterName) bool { return o == n })
		if len(c.nodePorts[key]) == 0 {
			delete(c.nodePorts, key)
		}
	}
	c.ranges = slices.DeleteFunc(c.ranges, func(r nodeRange) bool { return r.owner == n })
	key := n.Workload.GetName() + "." + n.Workload.GetNamespace()
	if n.ExternalName != "" && c.aliases[key] == n.ExternalName {
		delete(c.aliases, key)
	}
}

// remove takes a name off everything.
func (c *Cluster) remove(n *clusterName) {
	if n.Role == names.Role_ROLE_AGENT {
		delete(c.watched, n.Node)
		return
	}
	c.close(n)
	for _, a := range n.addrs {
		c.leave(a, n)
	}
	if n.Pod == nil {
		return
	}
	if c.pods[n.Pod.Uid] == n {
		delete(c.pods, n.Pod.Uid)
	}
	for _, container := range n.Pod.Containers {
		if c.containers[container.Id] == n {
			delete(c.containers, container.Id)
		}
	}
}

// leave takes a name off an address.
func (c *Cluster) leave(a netip.Addr, n *clusterName) {
	at := c.byAddress[a]
	if at == nil {
		return
	}
	at.list = slices.DeleteFunc(at.list, func(o *clusterName) bool { return o == n })
	if len(at.list) == 0 {
		delete(c.byAddress, a)
	}
}

// sweep forgets what ended long ago.
func (c *Cluster) sweep(now time.Time) {
	done := 0
	for done < len(c.ended) && now.Sub(c.ended[done].forgotten) >= keepEnded {
		c.remove(c.ended[done])
		done++
	}
	c.ended = slices.Delete(c.ended, 0, done)
	for node, since := range c.watched {
		if !since.IsZero() && now.Sub(since) >= keepWatched {
			delete(c.watched, node)
		}
	}
}

// local is a time of the watcher's by our clock.
func (c *Cluster) local(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).Add(c.skew)
}

func workloadOf(w *names.Workload) model.Workload {
	if w == nil {
		return model.Workload{}
	}
	return model.Workload{Namespace: w.Namespace, Kind: model.Kind(w.Kind), Name: w.Name}
}
