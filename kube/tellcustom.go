package kube

import (
	"cmp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/vetch-dev/vetch/model"
)

const maxCustom = 10_000 // custom resources whose rollouts are followed

// template is of what a pod was made, by the label that its owner gave it for that.
type template struct {
	hash    string
	images  map[string]string
	created time.Time
	ready   bool
}

// keepTemplate is nil for pods whose owner tells of its rollouts itself, or has none.
func keepTemplate(p *corev1.Pod) *template {
	owner := controller(p.OwnerReferences)
	if owner == nil || owner.kind == "StatefulSet" || owner.kind == "DaemonSet" || owner.kind == "Job" {
		return nil
	}
	hash := cmp.Or(p.Labels["controller-revision-hash"], p.Labels["pod-template-hash"])
	if hash == "" {
		return nil
	}
	t := &template{hash: intern(hash), images: make(map[string]string), created: p.CreationTimestamp.Time}
	for i := range p.Spec.Containers {
		t.images[intern(p.Spec.Containers[i].Name)] = intern(p.Spec.Containers[i].Image)
	}
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
			t.ready = c.Status == corev1.ConditionTrue
		}
	}
	return t
}

// customRollout is what is known of a custom resource by its pods.
type customRollout struct {
	hash    string // of its newest pods
	images  map[string]string
	running string // id of the rollout that goes on
}

// generation is the pods of a workload that were made of one template.
type generation struct {
	hash     string
	images   map[string]string
	since    time.Time // when its first pod was made
	allReady bool
	alone    bool // there are no others
}

// followCustom compares the pods of custom resources (Argo Rollouts, CloneSets) with what they were: their owners are not watched.
func (t *teller) followCustom() {
	c := t.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready {
		return
	}
	newest := t.generations()
	for w, g := range newest {
		known := t.customs[w]
		if known == nil {
			if len(t.customs) < maxCustom {
				t.customs[w] = &customRollout{hash: g.hash, images: g.images}
			}
			continue
		}
		r := &rollout{
			object:   model.Object{Namespace: w.Namespace, Kind: string(w.Kind), Name: w.Name},
			template: made{images: g.images},
		}
		if g.hash != known.hash {
			e := r.started(&made{images: known.images}, g.since)
			e.ID = "rollout/" + w.ID() + "/" + g.hash + "/" + g.since.UTC().Format(time.RFC3339)
			*known = customRollout{hash: g.hash, images: g.images, running: e.ID}
			t.addNamed(e, w, g.hash)
		}
		if known.running != "" && g.allReady && g.alone {
			e := r.event("RolloutFinished", "the rollout is done: "+imagesText(g.images), c.now())
			e.ID = known.running + "/finished"
			known.running = ""
			t.addNamed(e, w, g.hash)
		}
	}
	for w := range t.customs {
		if newest[w] == nil {
			delete(t.customs, w) // it has no pods any more
		}
	}
}

// addNamed queues an event of an object of which only its name is known.
func (t *teller) addNamed(e model.Event, w model.Workload, hash string) {
	delete(e.Fields, "generation")
	e.Fields["template_hash"] = hash
	e.Workload = w
	t.add(e)
}

// generations finds the newest template of each custom resource: the one whose first pod was made last.
func (t *teller) generations() map[model.Workload]*generation {
	c := t.cluster
	found := make(map[model.Workload][]*generation)
	for uid, made := range t.pods {
		p := c.pods[uid]
		if p == nil || p.workload == nil || !p.until.IsZero() || p.workload.Kind == "Pod" || ownerKind(p.workload.Kind) {
			continue
		}
		w := model.Workload{Namespace: p.workload.Namespace, Kind: model.Kind(p.workload.Kind), Name: p.workload.Name}
		i := slices.IndexFunc(found[w], func(g *generation) bool { return g.hash == made.hash })
		if i < 0 {
			found[w] = append(found[w], &generation{hash: made.hash, images: made.images, since: made.created, allReady: made.ready})
			continue
		}
		g := found[w][i]
		g.since, g.allReady = earliest(g.since, made.created), g.allReady && made.ready
	}
	newest := make(map[model.Workload]*generation, len(found))
	for w, list := range found {
		g := slices.MaxFunc(list, func(a, b *generation) int { return cmp.Or(a.since.Compare(b.since), strings.Compare(a.hash, b.hash)) })
		g.alone = len(list) == 1
		newest[w] = g
	}
	return newest
}
