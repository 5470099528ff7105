package kube

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/kube/state"
	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/names"
)

const (
	keepEnded = 10 * time.Minute // how long the feed has the names of pods that ended
	maxEnded  = 50_000           // of these, the oldest first out
)

// cluster is what is known of a cluster, and how it reaches the feed. Everything is guarded by one lock, which is never held while waiting for
// anything.
type cluster struct {
	feed   *names.Feed
	now    func() time.Time
	named  *state.Kind  // vetch_pod_info; nil where no series are told
	series *state.Store // of all objects
	teller *teller      // of events; nil where none are told
	metrics

	mu       sync.Mutex
	kinds    map[*kind]*kindState
	ready    bool      // all kinds have been listed, and the feed has it all
	received time.Time // when the change that is applied came

	pods     map[types.UID]*pod
	deleted  map[types.UID]struct{} // pods that are there only until the feed forgets them
	ended    []endedPod             // in the order in which that was heard
	endedAt  map[types.UID]time.Time
	owners   map[types.UID]owned // of the kinds that are watched
	others   map[types.UID]owned // asked for one by one
	awaited  map[types.UID]*waiting
	nodes    map[types.UID]*node
	services map[string]*service             // by "namespace/name"
	slices   map[string]map[types.UID]*slice // by their service
	inSlice  map[types.UID]string            // the service of a slice
	backs    map[types.UID]map[string]int    // services that a pod is behind, with how often

	otherOrder []types.UID
	serviceUID map[types.UID]string
}

type endedPod struct {
	uid types.UID
	at  time.Time
}

// kindState is how far a kind has come.
type kindState struct {
	listed, refused bool
	objects         int
}

// newCluster knows nothing yet. told says what the series of objects tell, send takes events; nil: there are none.
func newCluster(feed *names.Feed, told *state.Options, send func(context.Context, []model.Event) error) *cluster {
	c := &cluster{
		feed: feed, now: time.Now, metrics: newMetrics(), kinds: make(map[*kind]*kindState),
		pods: make(map[types.UID]*pod), deleted: make(map[types.UID]struct{}), endedAt: make(map[types.UID]time.Time),
		owners: make(map[types.UID]owned), others: make(map[types.UID]owned), awaited: make(map[types.UID]*waiting),
		nodes: make(map[types.UID]*node), services: make(map[string]*service), slices: make(map[string]map[types.UID]*slice),
		inSlice: make(map[types.UID]string), backs: make(map[types.UID]map[string]int), serviceUID: make(map[types.UID]string),
	}
	var tables []*state.Kind
	if told != nil {
		c.named = state.PodNames()
		tables = append(state.Kinds(*told), c.named)
	}
	c.series = state.NewStore(tables)
	if send != nil {
		c.teller = newTeller(c, send)
	}
	for _, k := range kinds(tables, send != nil) {
		if told != nil {
			k.annotations = told.Annotations[k.resource.Resource]
		}
		c.kinds[k] = &kindState{}
	}
	return c
}

// apply does a change under the lock.
func (c *cluster) apply(k *kind, change func(), objects int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = c.now()
	change()
	c.kinds[k].objects = objects
}

// listed notes that a kind is whole. When all are, the feed gets everything.
func (c *cluster) listed(k *kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.kinds[k]
	state.listed, state.refused = true, false
	c.begin()
}

// refused notes that the API does not give a kind: the others do without it.
func (c *cluster) refused(k *kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds[k].refused = true
	c.begin()
}

func (c *cluster) begin() {
	if c.ready {
		return
	}
	for k, state := range c.kinds {
		if !state.listed && (!state.refused || k.name == "Pod") {
			return
		}
	}
	c.ready = true
	c.series.Ready()
	if c.teller != nil {
		c.teller.begin()
	}
	for _, n := range c.nodes {
		c.publishNode(n)
	}
	for _, p := range c.pods {
		c.publishPod(p)
	}
	for key := range c.services {
		c.publishService(key)
	}
	c.settle()
}

// settle opens the feed when everything of the first lists is in it.
func (c *cluster) settle() {
	if c.ready && !c.feed.IsReady() && len(c.awaited) == 0 {
		c.feed.Ready()
	}
}

// publishPod tells under the name of its top owner of a pod: the feed of one that has a node.
func (c *cluster) publishPod(p *pod) {
	if !c.ready || p.expired {
		return
	}
	workload, missing := c.nameOf(p)
	if missing != nil && c.wait(p, missing) {
		return // it comes when that is known
	}
	c.tell(p, workload)
	if p.node == "" {
		return
	}
	n := &names.Name{
		Role: names.Role_ROLE_POD, Workload: workload, Node: p.node, From: millis(p.from), Until: millis(p.until),
		Pod: &names.Pod{Uid: p.cgroupUID, Name: p.name, Containers: p.containers, Labels: p.labels, HostNetwork: p.hostNetwork},
	}
	if !p.hostNetwork || len(p.ports) > 0 { // without ports it would stand for its node
		n.Ports = p.ports
		for _, a := range p.addresses {
			n.Addresses = append(n.Addresses, a.AsSlice())
		}
	}
	if c.feed.Set("pod/"+string(p.uid), n) {
		c.sawPublished(p)
		for key := range c.backs[p.uid] {
			c.publishService(key)
		}
	}
	p.published = true
}

// tell says by which name a pod goes, as a series.
func (c *cluster) tell(p *pod, w *names.Workload) {
	if _, gone := c.deleted[p.uid]; gone || c.named == nil {
		return
	}
	c.series.Put(c.named, p.uid, c.named.Render(&state.PodName{
		Namespace: p.namespace, Pod: p.name, UID: string(p.uid), Node: p.node, WorkloadKind: w.Kind, WorkloadName: w.Name,
	}, c.series.Get(c.named, p.uid)))
}

// sawPublished measures how late names are.
func (c *cluster) sawPublished(p *pod) {
	if !c.feed.IsReady() {
		return
	}
	now := c.now()
	if !p.published {
		c.publishTime.Observe(now.Sub(p.seen).Seconds())
	}
	if !p.started.IsZero() {
		c.runningTime.Observe(max(now.Sub(p.started).Seconds(), 0))
		p.started = time.Time{}
	}
}

// ending remembers that a pod has ended, to forget it later.
func (c *cluster) ending(p *pod) {
	if _, ok := c.endedAt[p.uid]; ok || p.expired {
		return
	}
	at := c.now()
	c.endedAt[p.uid] = at
	c.ended = append(c.ended, endedPod{p.uid, at})
}

// sweep forgets what ended long ago.
func (c *cluster) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	done := 0
	for done < len(c.ended) && (now.Sub(c.ended[done].at) >= keepEnded || len(c.ended)-done > maxEnded) {
		uid := c.ended[done].uid
		delete(c.endedAt, uid)
		c.feed.Delete("pod/" + string(uid))
		if p := c.pods[uid]; p != nil {
			p.expired = true
		}
		if _, gone := c.deleted[uid]; gone {
			delete(c.deleted, uid)
			delete(c.pods, uid)
		}
		done++
	}
	c.ended = slices.Delete(c.ended, 0, done)
	maps.DeleteFunc(c.awaited, func(_ types.UID, w *waiting) bool { return len(w.pods) == 0 })
	c.settle()
}

// millis is a time as the feed has it; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// metrics are the watcher's own figures.
type metrics struct {
	events      *prometheus.CounterVec // kind, event
	requests    *prometheus.CounterVec // verb, resource, code
	lookedUp    *prometheus.CounterVec // result
	resumes     *prometheus.CounterVec // result
	publishTime prometheus.Histogram
	runningTime prometheus.Histogram
	leading     prometheus.Gauge
}

func newMetrics() metrics {
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: []float64{0.01, 0.1, 0.5, 1, 2, 5, 10},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		})
	}
	m := metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vetch_kube_events_total", Help: "Objects that the Kubernetes API told of, by kind and whether they were listed, added, modified or deleted.",
		}, []string{"kind", "event"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vetch_kube_api_requests_total", Help: "Requests to the Kubernetes API, by verb (watch, list, get, update and so on), resource and status.",
		}, []string{"verb", "resource", "code"}),
		lookedUp: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vetch_kube_owner_lookups_total", Help: "Owners of pods that the API was asked for, because no watch tells of them, by result.",
		}, []string{"result"}),
		resumes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vetch_kube_resumes_total", Help: "Resources that a start went on with where an earlier process ended (resumed), or why they were listed.",
		}, []string{"result"}),
		publishTime: histogram("vetch_kube_publish_seconds", "Time from when the API told of a pod until its name was in the feed."),
		runningTime: histogram("vetch_kube_running_to_published_seconds", "Time from when a container began to run until the feed had its id, by the clocks of the node (whole seconds) and of the watcher."),
		leading:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "vetch_kube_leading", Help: "1 while this replica watches, 0 while another one does."}),
	}
	for _, result := range []string{"found", "absent", "failed", "too_many"} {
		m.lookedUp.WithLabelValues(result)
	}
	for _, result := range []string{resumed, resumeExpired, resumeRefused} {
		m.resumes.WithLabelValues(result)
	}
	for _, r := range resumeResults {
		m.resumes.WithLabelValues(r.result)
	}
	return m
}
