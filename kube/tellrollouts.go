package kube

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/model"
)

const (
	revisionOf  = "deployment.kubernetes.io/revision"
	restartedAt = "kubectl.kubernetes.io/restartedAt"
)

// made is of what pods are made: images by container, and hashes of the other parts that a person would name.
type made struct {
	images map[string]string
	parts  map[string]uint64
}

func (m made) equal(o made) bool {
	return maps.Equal(m.images, o.images) && maps.Equal(m.parts, o.parts)
}

// rollout is what is kept of a Deployment, StatefulSet or DaemonSet.
type rollout struct {
	object               model.Object
	generation, observed int64
	revision             string // "": the kind has none
	template             made
	rest                 uint64 // of the specification, without template and replicas
	replicas             int32
	complete             bool // all pods are of the present template, and can serve
	replaced             bool // all pods are of the present template; of StatefulSets and DaemonSets alone
	stuck                bool
	progressed           time.Time // when a Deployment's rollout last went on

	before  *made  // what pods were made of when the last rollout began, if the template has changed since
	running string // id of the rollout that goes on
}

// marshaler is any part of a specification.
type marshaler interface{ Marshal() ([]byte, error) }

// hashOf is a hash of parts of a specification; the order of maps does not matter to their encoding.
func hashOf(parts ...marshaler) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		if b, err := p.Marshal(); err == nil {
			_, _ = h.Write(append(b, 0))
		}
	}
	return h.Sum64()
}

func partsOf[T any, P interface {
	*T
	marshaler
}](list []T) (out []marshaler) {
	for i := range list {
		out = append(out, P(&list[i]))
	}
	return out
}

// madeOf takes a template apart. It changes the copy that it is given.
func madeOf(t *corev1.PodTemplateSpec) made {
	m := made{images: map[string]string{}, parts: map[string]uint64{}}
	if parts := partsOfTrimmed(t); parts != nil {
		m.parts = parts
		for i := range t.Spec.Containers {
			m.images[intern(t.Spec.Containers[i].Name)] = intern(t.Spec.Containers[i].Image)
		}
		return m
	}
	for _, list := range [][]corev1.Container{t.Spec.InitContainers, t.Spec.Containers} {
		var environment, resources, commands, probes, ports []marshaler
		for i := range list {
			c := &list[i]
			m.images[intern(c.Name)] = intern(c.Image)
			environment = append(append(environment, partsOf(c.Env)...), partsOf(c.EnvFrom)...)
			resources = append(resources, &c.Resources)
			commands = append(commands, &corev1.Container{Command: c.Command, Args: c.Args, WorkingDir: c.WorkingDir})
			for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
				if p != nil {
					probes = append(probes, p)
				}
			}
			ports = append(ports, partsOf(c.Ports)...)
			c.Image, c.Env, c.EnvFrom, c.Resources, c.Command, c.Args, c.WorkingDir = "", nil, nil, corev1.ResourceRequirements{}, nil, nil, ""
			c.LivenessProbe, c.ReadinessProbe, c.StartupProbe, c.Ports = nil, nil, nil, nil
		}
		for name, parts := range map[string][]marshaler{"environment": environment, "resources": resources, "command": commands, "probes": probes, "ports": ports} {
			m.parts[name] = m.parts[name]*31 + hashOf(parts...)
		}
	}
	m.parts["volumes"] = hashOf(partsOf(t.Spec.Volumes)...)
	m.parts["restart"] = hashOf(&metav1.ObjectMeta{Annotations: map[string]string{restartedAt: t.Annotations[restartedAt]}})
	annotations := maps.Clone(t.Annotations)
	delete(annotations, restartedAt)
	m.parts["labels and annotations"] = hashOf(&metav1.ObjectMeta{Labels: t.Labels, Annotations: annotations})
	t.Spec.Volumes = nil
	m.parts["other"] = hashOf(&t.Spec)
	return m
}

func orElse(p *int32, otherwise int32) int32 {
	if p == nil {
		return otherwise
	}
	return *p
}

// keepRollout reads what is kept of an object whose pods are replaced when its template changes.
func keepRollout(o runtime.Object) any {
	r := &rollout{}
	switch from := o.(type) {
	case *appsv1.Deployment:
		r.of("Deployment", &from.ObjectMeta)
		r.observed, r.revision, r.replicas = from.Status.ObservedGeneration, from.Annotations[revisionOf], orElse(from.Spec.Replicas, 1)
		s := &from.Status
		r.complete = s.UpdatedReplicas == r.replicas && s.Replicas == r.replicas && s.AvailableReplicas == r.replicas
		for i := range s.Conditions {
			if c := &s.Conditions[i]; c.Type == appsv1.DeploymentProgressing {
				r.stuck = c.Status == corev1.ConditionFalse && c.Reason == "ProgressDeadlineExceeded"
				r.progressed = c.LastUpdateTime.Time
			}
		}
		spec := from.Spec.DeepCopy()
		r.template = madeOf(&spec.Template)
		spec.Template, spec.Replicas = corev1.PodTemplateSpec{}, nil
		r.rest = hashOf(spec)
	case *appsv1.StatefulSet:
		r.of("StatefulSet", &from.ObjectMeta)
		r.observed, r.replicas = from.Status.ObservedGeneration, orElse(from.Spec.Replicas, 1)
		s := &from.Status
		r.replaced = s.UpdateRevision == s.CurrentRevision
		r.complete = r.replaced && s.Replicas == r.replicas && s.ReadyReplicas == r.replicas
		spec := from.Spec.DeepCopy()
		r.template = madeOf(&spec.Template)
		spec.Template, spec.Replicas = corev1.PodTemplateSpec{}, nil
		r.rest = hashOf(spec)
	case *appsv1.DaemonSet:
		r.of("DaemonSet", &from.ObjectMeta)
		s := &from.Status
		r.observed = s.ObservedGeneration
		r.replaced = s.UpdatedNumberScheduled == s.DesiredNumberScheduled
		r.complete = r.replaced && s.NumberAvailable == s.DesiredNumberScheduled
		spec := from.Spec.DeepCopy()
		r.template = madeOf(&spec.Template)
		spec.Template = corev1.PodTemplateSpec{}
		r.rest = hashOf(spec)
	default:
		return nil
	}
	r.complete = r.complete && r.observed >= r.generation
	return r
}

func (r *rollout) of(kind string, m *metav1.ObjectMeta) {
	r.object = model.Object{Namespace: intern(m.Namespace), Kind: kind, Name: m.Name, UID: string(m.UID)}
	r.generation = m.Generation
}

// id names the rollout to the present template: by the revision, where there is one, else by the generation.
func (r *rollout) id() string {
	if r.revision != "" {
		return "rollout/" + r.object.UID + "/revision-" + r.revision
	}
	return "rollout/" + r.object.UID + "/" + strconv.FormatInt(r.generation, 10)
}

// putRollout compares an object with what it was.
func (t *teller) putRollout(uid types.UID, body any) {
	r, ok := body.(*rollout)
	if !ok {
		return
	}
	before := t.rollouts[uid]
	t.rollouts[uid] = r
	if before == nil {
		t.firstSeen(r)
		return
	}
	r.running, r.before = before.running, before.before
	byRevision := false
	if last, _ := t.newest(uid); last != nil {
		r.revision, byRevision = last.text(), true
	}
	changed := !r.template.equal(before.template)
	if changed && r.before == nil {
		was := before.template
		r.before = &was
	}
	begins := changed && r.generation > before.generation
	if r.object.Kind == "Deployment" || byRevision {
		begins = r.revision != before.revision && before.revision != ""
	}
	if r.object.Kind != "Deployment" && !t.cluster.ready {
		return // it is told when all revisions are known
	}
	now := t.cluster.now()
	switch {
	case begins && byRevision:
		t.startedRevision(uid, r)
	case begins:
		if r.before == nil { // the template is told of with the revision, or has not changed at all
			was := before.template
			r.before = &was
		}
		r.running = r.id()
		t.add(r.started(r.before, now))
		r.before = nil
	case r.generation > before.generation && !changed:
		t.changed(before, r, now)
	}
	t.goesOn(r, before.stuck, now)
}

// firstSeen begins with an object in whichever state it is. A rollout of a Deployment that began or ended lately is told of: it may have happened while nobody
// watched.
func (t *teller) firstSeen(r *rollout) {
	if r.revision == "" || r.revision == "1" {
		return // of the others it is not known since when they are so
	}
	lately := !r.progressed.IsZero() && t.recent(r.progressed)
	if lately {
		t.add(r.started(nil, r.progressed))
	}
	if lately || !r.complete {
		r.running = r.id()
		t.goesOn(r, false, r.progressed)
	}
}

// goesOn tells of a rollout that is done, or cannot go on.
func (t *teller) goesOn(r *rollout, wasStuck bool, at time.Time) {
	if r.running == "" {
		return
	}
	if r.stuck && !wasStuck {
		e := r.event("RolloutStuck", "the rollout does not go on: it has passed its deadline", at)
		e.ID, e.Type = r.running+"/stuck", model.EventWarning
		t.add(e)
	}
	if r.complete {
		e := r.event("RolloutFinished", "the rollout is done: "+imagesText(r.template.images), at)
		e.ID = r.running + "/finished"
		t.add(e)
		r.running = ""
	}
}

func (t *teller) dropRollout(uid types.UID) { delete(t.rollouts, uid) }

func (r *rollout) event(reason, message string, at time.Time) model.Event {
	e := model.Event{
		First: at, Last: at, Count: 1, Type: model.EventNormal, Reason: reason, Message: message, Source: model.SourceWatcher, Object: r.object,
		Fields: map[string]string{"generation": strconv.FormatInt(r.generation, 10), "images": clip(imagesText(r.template.images))},
	}
	if r.revision != "" {
		e.Fields["revision"] = r.revision
	}
	return e
}

// started tells what a rollout changes; before is nil where that is not known.
func (r *rollout) started(before *made, at time.Time) model.Event {
	images, parts := difference(before, &r.template)
	var says []string
	if len(images) > 0 {
		says = append(says, strings.Join(images, ", "))
	}
	if len(parts) > 0 {
		says = append(says, "changed: "+strings.Join(parts, ", "))
	}
	if len(says) == 0 {
		says = []string{imagesText(r.template.images)}
	}
	e := r.event("RolloutStarted", "new pods: "+strings.Join(says, "; "), at)
	e.ID = r.id()
	if before != nil {
		e.Fields["images_before"] = clip(imagesText(before.images))
		if len(images) > 0 {
			parts = append([]string{"images"}, parts...)
		}
		e.Fields["changed"] = strings.Join(parts, ", ")
	}
	return e
}

// difference names the images and the other parts that are not as before.
func difference(before, now *made) (images, parts []string) {
	if before == nil {
		return nil, nil
	}
	names := maps.Clone(before.images)
	maps.Copy(names, now.images)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := before.images[name], now.images[name]
		switch {
		case was == is:
		case was == "":
			images = append(images, "new container "+name+" of "+is)
		case is == "":
			images = append(images, "no container "+name+" any more")
		default:
			images = append(images, "image of "+name+" "+was+" -> "+is)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now.parts)) {
		if before.parts[name] != now.parts[name] {
			parts = append(parts, name)
		}
	}
	return images, parts
}

// imagesText lists images by container.
func imagesText(images map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(images)) {
		list = append(list, name+"="+images[name])
	}
	return strings.Join(list, ", ")
}

// changed tells of another specification of the same pods.
func (t *teller) changed(before, r *rollout, at time.Time) {
	reason, message := "SpecChanged", "the specification changed, and its pods stay"
	if r.replicas != before.replicas {
		reason, message = "Scaled", fmt.Sprintf("replicas %d -> %d", before.replicas, r.replicas)
	}
	if r.replicas == before.replicas && r.rest == before.rest {
		return // nothing that is looked at
	}
	e := r.event(reason, message, at)
	e.ID = fmt.Sprintf("spec/%s/%d", r.object.UID, r.generation)
	t.add(e)
}
