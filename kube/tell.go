package kube

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/model"
)

const (
	maxNotices   = 20_000                 // that wait to be told
	maxTold      = 500                    // at once
	tellEvery    = 250 * time.Millisecond //
	namePatience = 2 * time.Second        // how long the object of an event may take to become known
	stateAge     = 24 * time.Hour         // older changes of state are not told when they are first seen
	maxText      = 1 << 10                // bytes of a message
)

// happening is how events are made of the objects of one resource. All but keep are called under the cluster's lock.
type happening struct {
	keep func(o runtime.Object) any // picks what is looked at
	put  func(*teller, types.UID, any)
	drop func(*teller, types.UID)
}

// happenings are the resources that events are made of.
func happenings() map[string]*happening {
	workload := &happening{keepRollout, (*teller).putRollout, (*teller).dropRollout}
	return map[string]*happening{
		"events":              {keepEvent, (*teller).putEvent, (*teller).dropEvent},
		"pods":                {keepEnds, (*teller).putEnds, (*teller).dropEnds},
		"nodes":               {keepReady, (*teller).putReady, (*teller).dropReady},
		"deployments":         workload,
		"statefulsets":        workload,
		"daemonsets":          workload,
		"controllerrevisions": {keepRevision, (*teller).putRevision, (*teller).dropRevision},
	}
}

// notice is an event whose object has no name of a workload yet.
type notice struct {
	model.Event
	since time.Time // when it was heard
}

// uid is that of the object.
func (n *notice) uid() types.UID { return types.UID(n.Object.UID) }

// teller tells what happens in the cluster as events. What the watcher itself may see again, after a restart or because another replica goes on, has the same
// ID then: whoever stores it does so once.
type teller struct {
	cluster *cluster // its lock guards all that follows but send
	send    func(context.Context, []model.Event) error
	told    *prometheus.CounterVec
	lost    *prometheus.CounterVec

	queue     []notice
	events    map[types.UID]uint64   // how often the API has told of each of its events
	ends      map[types.UID][]string // ids of what was told of the containers of a pod
	ready     map[types.UID]readiness
	rollouts  map[types.UID]*rollout
	revisions map[types.UID]map[types.UID]*revision // of StatefulSets and DaemonSets, by their owner
	revised   map[types.UID]types.UID               // the owner of a revision
	pods      map[types.UID]template                // of pods that may belong to custom resources
	customs   map[model.Workload]*customRollout
}

func newTeller(c *cluster, send func(context.Context, []model.Event) error) *teller {
	t := &teller{
		cluster:   c,
		send:      send,
		events:    make(map[types.UID]uint64),
		ends:      make(map[types.UID][]string),
		ready:     make(map[types.UID]readiness),
		rollouts:  make(map[types.UID]*rollout),
		revisions: make(map[types.UID]map[types.UID]*revision),
		revised:   make(map[types.UID]types.UID),
		pods:      make(map[types.UID]template),
		customs:   make(map[model.Workload]*customRollout),
		told: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vetch_kube_told_events_total", Help: "Events of the cluster that were handed over to be sent, by who tells them: kubernetes, or what the watcher saw.",
		}, []string{"source"}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vetch_kube_lost_events_total", Help: "Events of the cluster that were not told, by reason.",
		}, []string{"reason"}),
	}
	for _, source := range []string{model.SourceKubernetes, model.SourceWatcher} {
		t.told.WithLabelValues(source)
	}
	for _, reason := range []string{"queue", "send", "not_listed"} {
		t.lost.WithLabelValues(reason)
	}
	return t
}

// add queues an event.
func (t *teller) add(e model.Event) {
	if len(t.queue) >= maxNotices {
		t.lost.WithLabelValues("queue").Inc()
		return
	}
	e.Message = clip(e.Message)
	t.queue = append(t.queue, notice{Event: e, since: t.cluster.now()})
}

// recent says whether a change of state that is seen for the first time is to be told.
func (t *teller) recent(at time.Time) bool { return t.cluster.now().Sub(at) < stateAge }

// run tells until ctx ends, and then what is left.
func (t *teller) run(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.tell(context.WithoutCancel(ctx), true)
			return
		case <-tick.C:
			t.tell(ctx, false)
		}
	}
}

// tell hands over what has its name, or has waited for it long enough; at the end all.
func (t *teller) tell(ctx context.Context, all bool) {
	list := t.named(all)
	for some := range slices.Chunk(list, maxTold) {
		if err := t.send(ctx, some); err != nil {
			t.lost.WithLabelValues("send").Add(float64(len(some)))
			continue
		}
		for i := range some {
			t.told.WithLabelValues(some[i].Source).Inc()
		}
	}
}

// named takes events out of the queue.
func (t *teller) named(all bool) []model.Event {
	c := t.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready {
		if all {
			t.lost.WithLabelValues("not_listed").Add(float64(len(t.queue)))
			t.queue = nil
		}
		return nil
	}
	var out []model.Event
	now := c.now()
	t.queue = slices.DeleteFunc(t.queue, func(n notice) bool {
		if known := t.name(&n); !known && !all && now.Sub(n.since) < namePatience {
			return false
		}
		out = append(out, n.Event)
		return true
	})
	return out
}

// name finds the workload and the node of an event's object. It is false if more may become known soon.
func (t *teller) name(n *notice) (known bool) {
	c, o := t.cluster, &n.Object
	switch o.Kind {
	case "Node":
		n.Workload, n.Node = model.Workload{Kind: model.KindNode, Name: o.Name}, o.Name
		return true
	case "Pod":
		n.Workload = model.Workload{Namespace: o.Namespace, Kind: model.KindPod, Name: o.Name}
		p := c.pods[n.uid()]
		if p == nil {
			return false
		}
		if n.Node == "" {
			n.Node = p.node
		}
		return t.top(n, p)
	}
	if _, isOwner := c.owners[n.uid()]; !isOwner {
		if _, isOwner = c.others[n.uid()]; !isOwner {
			return !c.watches(o.Kind) || !ownerKind(o.Kind) // nothing that runs
		}
	}
	return t.top(n, &pod{namespace: o.Namespace, name: o.Name, owner: &reference{uid: n.uid(), kind: o.Kind, name: o.Name}})
}

func (t *teller) top(n *notice, p *pod) bool {
	w, missing := t.cluster.nameOf(p)
	n.Workload = model.Workload{Namespace: w.Namespace, Kind: model.Kind(w.Kind), Name: w.Name}
	return missing == nil
}

// ownerKind says whether objects of a kind that is watched own pods.
func ownerKind(kind string) bool {
	switch kind {
	case "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob":
		return true
	}
	return false
}

// clip bounds a message.
func clip(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}
