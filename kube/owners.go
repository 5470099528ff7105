package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/vetch-dev/vetch/transport/names"
)

const (
	maxDepth      = 8                      // owners above one another
	maxOthers     = 10_000                 // owners remembered that are not watched
	maxWaiting    = 4096                   // owners looked for at once
	otherAge      = 10 * time.Minute       // how long these are believed
	absentAge     = time.Minute            // how long it is believed that there is none
	ownerPatience = time.Second            // how long a watched owner may take to come by its own watch
	lookupTime    = 5 * time.Second        // of one question to the API
	lookups       = 4                      // questions at once
	kindsAge      = 10 * time.Minute       // how long the resources of a group are believed
	retryEvery    = 250 * time.Millisecond // of looking at what waits
)

// reference is an owner as its property tells of it.
type reference struct {
	uid        types.UID
	apiVersion string
	kind, name string
}

// owned is what is kept of something that may own pods: who owns it.
type owned struct {
	owner *reference
	until time.Time // zero: it is watched
}

func keepOwner(_ string, o runtime.Object) any {
	m, err := meta.Accessor(o)
	if err != nil {
		return (*reference)(nil)
	}
	return controller(m.GetOwnerReferences())
}

// controller finds the owner that manages: there is one at most. The first of others stands in for it, as with what old operators made.
func controller(list []metav1.OwnerReference) *reference {
	for i := range list {
		if list[i].Controller != nil && *list[i].Controller {
			return toReference(&list[i])
		}
	}
	if len(list) > 0 {
		return toReference(&list[0])
	}
	return nil
}

func toReference(r *metav1.OwnerReference) *reference {
	if r.Kind == "Node" { // the pods that a node runs by itself
		return nil
	}
	return &reference{uid: r.UID, apiVersion: intern(r.APIVersion), kind: intern(r.Kind), name: r.Name}
}

func (c *cluster) putOwner(uid types.UID, body any) {
	owner, _ := body.(*reference)
	before, known := c.owners[uid]
	if !known {
		before, known = c.others[uid]
	}
	c.owners[uid] = owned{owner: owner}
	if known && !sameOwner(before.owner, owner) { // adopted or orphaned, or what was asked for failed: seldom
		for _, p := range c.pods {
			p.workload = nil
			c.publishPod(p)
		}
	}
	c.found(uid)
}

func sameOwner(a, b *reference) bool { return a == b || a != nil && b != nil && *a == *b }

// dropOwner remembers an owner that is gone for a while: it goes before its pods do.
func (c *cluster) dropOwner(uid types.UID) {
	if gone, ok := c.owners[uid]; ok {
		delete(c.owners, uid)
		c.remember(uid, owned{owner: gone.owner, until: c.now().Add(otherAge)})
	}
}

// remember keeps an owner that no watch tells of, and forgets the oldest such for it where there are too many.
func (c *cluster) remember(uid types.UID, o owned) {
	if _, known := c.others[uid]; !known {
		if len(c.otherOrder) >= maxOthers {
			delete(c.others, c.otherOrder[0])
			c.otherOrder = c.otherOrder[1:]
		}
		c.otherOrder = append(c.otherOrder, uid)
	}
	c.others[uid] = o
}

// nameOf is the workload that a pod goes by. A pod keeps the name that it was given: its owners go before it does.
func (c *cluster) nameOf(p *pod) (w *names.Workload, missing *reference) {
	if p.workload != nil {
		return p.workload, nil
	}
	if w, missing = c.top(p); missing == nil {
		p.workload = w
	}
	return w, missing
}

// top follows owners up. missing is the one of which nothing is known yet.
func (c *cluster) top(p *pod) (w *names.Workload, missing *reference) {
	w = &names.Workload{Namespace: p.namespace, Kind: "Pod", Name: p.name}
	at := p.owner
	for range maxDepth {
		if at == nil {
			return w, nil
		}
		w = &names.Workload{Namespace: p.namespace, Kind: at.kind, Name: at.name}
		o, ok := c.owners[at.uid]
		if !ok {
			o, ok = c.others[at.uid]
		}
		if !ok || !o.until.IsZero() && c.now().After(o.until) {
			return w, at
		}
		at = o.owner
	}
	return w, nil
}

// waiting is an owner that is looked for, and the pods that wait for it.
type waiting struct {
	reference
	namespace string
	since     time.Time
	asked     bool
	pods      map[types.UID]struct{}
}

// wait remembers a pod until more is known of an owner; false where that takes too long already, or too many wait.
func (c *cluster) wait(p *pod, missing *reference) bool {
	w := c.awaited[missing.uid]
	if w == nil {
		if len(c.awaited) >= maxWaiting {
			c.lookedUp.WithLabelValues("too_many").Inc()
			return false
		}
		w = &waiting{reference: *missing, namespace: p.namespace, since: c.now(), pods: make(map[types.UID]struct{})}
		c.awaited[missing.uid] = w
	}
	w.pods[p.uid] = struct{}{}
	return true
}

// found goes on with the pods that waited for an owner.
func (c *cluster) found(uid types.UID) {
	w := c.awaited[uid]
	if w == nil {
		return
	}
	delete(c.awaited, uid)
	for id := range w.pods {
		if p := c.pods[id]; p != nil {
			c.publishPod(p)
		}
	}
}

// due are the owners to ask the API for: those of kinds that are not watched at once, the others when their watch has not brought them.
func (c *cluster) due() []*waiting {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*waiting
	for _, w := range c.awaited {
		if !w.asked && c.ready && (!c.watches(w.kind) || c.now().Sub(w.since) >= ownerPatience) && len(list) < lookups {
			w.asked = true
			list = append(list, w)
		}
	}
	return list
}

func (c *cluster) watches(name string) bool {
	for k, state := range c.kinds {
		if k.name == name && !state.refused {
			return true
		}
	}
	return false
}

// answer remembers what the API said of an owner.
func (c *cluster) answer(w *waiting, owner *reference, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age := otherAge
	switch {
	case err == nil:
		c.lookedUp.WithLabelValues("found").Inc()
	case apierrors.IsNotFound(err):
		c.lookedUp.WithLabelValues("absent").Inc()
		age = absentAge
	default:
		c.lookedUp.WithLabelValues("failed").Inc()
		age = absentAge
	}
	c.remember(w.uid, owned{owner: owner, until: c.now().Add(age)})
	c.found(w.uid)
}

// finder asks the API for the metadata of owners of any kind.
type finder struct {
	metadata metadata.Interface
	rest     rest.Interface
	mu       sync.Mutex
	groups   map[string]group // by "group/version"
}

// group is what resources a version of an API group has, by kind.
type group struct {
	resources map[string]metav1.APIResource
	until     time.Time
}

// run looks for owners until ctx ends.
func (f *finder) run(ctx context.Context, c *cluster) {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		list := c.due()
		var wg sync.WaitGroup
		for _, w := range list {
			wg.Go(func() {
				owner, err := f.find(ctx, w)
				if ctx.Err() == nil {
					c.answer(w, owner, err)
				}
			})
		}
		wg.Wait()
		if len(list) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// find gives the owner of an owner.
func (f *finder) find(ctx context.Context, w *waiting) (*reference, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	gv, err := schema.ParseGroupVersion(w.apiVersion)
	if err != nil {
		return nil, err
	}
	resource, err := f.resource(ctx, gv, w.kind)
	if err != nil {
		return nil, err
	}
	var getter metadata.ResourceInterface = f.metadata.Resource(gv.WithResource(resource.Name))
	if resource.Namespaced {
		getter = f.metadata.Resource(gv.WithResource(resource.Name)).Namespace(w.namespace)
	}
	o, err := getter.Get(ctx, w.name, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("get %s %s: %w", w.kind, w.name, err)
	}
	if o.UID != w.uid { // another of the same name
		return nil, apierrors.NewNotFound(gv.WithResource(resource.Name).GroupResource(), w.name)
	}
	return controller(o.OwnerReferences), nil
}

// resource finds under which name a kind is asked for.
func (f *finder) resource(ctx context.Context, gv schema.GroupVersion, kind string) (metav1.APIResource, error) {
	f.mu.Lock()
	defer f.mu.Unlock() // so that a group is asked for once
	g, ok := f.groups[gv.String()]
	if !ok || time.Now().After(g.until) {
		path := "/apis/" + gv.String()
		if gv.Group == "" {
			path = "/api/" + gv.Version
		}
		text, err := f.rest.Get().AbsPath(path).SetHeader("Accept", "application/json").Do(ctx).Raw()
		if err != nil && !apierrors.IsNotFound(err) {
			return metav1.APIResource{}, fmt.Errorf("ask for the resources of %s: %w", gv, err)
		}
		var list metav1.APIResourceList
		if err == nil {
			if err := json.Unmarshal(text, &list); err != nil {
				return metav1.APIResource{}, fmt.Errorf("read the resources of %s: %w", gv, err)
			}
		}
		g = group{resources: make(map[string]metav1.APIResource), until: time.Now().Add(kindsAge)}
		for _, r := range list.APIResources {
			if !strings.Contains(r.Name, "/") { // no subresource
				g.resources[r.Kind] = r
			}
		}
		if len(f.groups) >= maxWaiting {
			clear(f.groups)
		}
		f.groups[gv.String()] = g
	}
	r, ok := g.resources[kind]
	if !ok {
		return r, apierrors.NewNotFound(schema.GroupResource{Group: gv.Group, Resource: kind}, kind)
	}
	return r, nil
}
