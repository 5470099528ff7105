package kube

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vetch-dev/vetch/model"
)

const reasonOOMKilled, reasonBackOff = "OOMKilled", "CrashLoopBackOff"

// podEvents is what a pod's status says of its containers, and of what it was made.
type podEvents struct {
	list     []model.Event
	template *template // nil: it is of a kind that tells of its rollouts itself
}

// keepEnds finds the containers that ended, and those that are not started again for a while because they do so always.
func keepEnds(o runtime.Object) any {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return nil
	}
	out := &podEvents{template: keepTemplate(p)}
	for _, statuses := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for i := range statuses {
			s := &statuses[i]
			for _, ended := range []*corev1.ContainerStateTerminated{s.LastTerminationState.Terminated, s.State.Terminated} {
				if ended != nil && (ended.ExitCode != 0 || ended.Signal != 0) {
					out.list = append(out.list, endOf(p, s, ended))
				}
			}
			if s.State.Waiting != nil && s.State.Waiting.Reason == reasonBackOff {
				out.list = append(out.list, backOffOf(p, s))
			}
		}
	}
	return out
}

func containerEvent(p *corev1.Pod, s *corev1.ContainerStatus) model.Event {
	return model.Event{
		Count: 1, Type: model.EventWarning, Source: model.SourceWatcher, Node: intern(p.Spec.NodeName),
		Object: model.Object{Namespace: intern(p.Namespace), Kind: "Pod", Name: p.Name, UID: string(p.UID)},
		Fields: map[string]string{"container": intern(s.Name), "restarts": strconv.Itoa(int(s.RestartCount))},
	}
}

// endOf tells of a container that ended, and not with 0.
func endOf(p *corev1.Pod, s *corev1.ContainerStatus, ended *corev1.ContainerStateTerminated) model.Event {
	e := containerEvent(p, s)
	_, run, _ := strings.Cut(ended.ContainerID, "://")
	e.ID = model.ContainerEnd(run)
	if run == "" { // it never began
		e.ID = "never/" + string(p.UID) + "/" + s.Name + "/" + e.Fields["restarts"]
	}
	e.First = ended.FinishedAt.Time
	if e.First.Unix() <= 0 {
		e.First = time.Time{} // it is not told
	}
	e.Last = e.First
	e.Reason = intern(ended.Reason)
	if e.Reason == "" {
		e.Reason = "Error"
	}
	e.Fields["exit_code"] = strconv.Itoa(int(ended.ExitCode))
	e.Message = fmt.Sprintf("container %s ended with exit code %d", s.Name, ended.ExitCode)
	switch {
	case e.Reason == reasonOOMKilled:
		e.Message = "container " + s.Name + " was killed: out of memory"
	case p.DeletionTimestamp != nil && ended.ExitCode > 128: // the pod was asked to end
		e.Type = model.EventNormal
	}
	return e
}

// backOffOf tells of a container that waits after it ended. It is the same for as long as it waits.
func backOffOf(p *corev1.Pod, s *corev1.ContainerStatus) model.Event {
	e := containerEvent(p, s)
	e.ID = "backoff/" + string(p.UID) + "/" + s.Name + "/" + e.Fields["restarts"]
	e.Reason = reasonBackOff
	e.Message = "container " + s.Name + " ends again and again, and is not started for a while"
	if ended := s.LastTerminationState.Terminated; ended != nil && ended.FinishedAt.Unix() > 0 {
		e.First, e.Last = ended.FinishedAt.Time, ended.FinishedAt.Time
	}
	return e
}

// putEnds tells what was not there before.
func (t *teller) putEnds(uid types.UID, body any) {
	p, ok := body.(*podEvents)
	if !ok {
		return
	}
	if p.template != nil {
		t.pods[uid] = *p.template
	}
	before := t.ends[uid]
	if len(p.list) == 0 {
		delete(t.ends, uid)
		return
	}
	ids := make([]string, len(p.list))
	for i := range p.list {
		e := p.list[i]
		ids[i] = e.ID
		if slices.Contains(before, e.ID) || slices.Contains(ids[:i], e.ID) {
			continue
		}
		if e.Last.IsZero() {
			e.First, e.Last = t.cluster.now(), t.cluster.now()
		}
		if t.recent(e.Last) {
			t.add(e)
		}
	}
	t.ends[uid] = ids
}

func (t *teller) dropEnds(uid types.UID) {
	delete(t.ends, uid)
	delete(t.pods, uid)
}

// readiness is a node's condition Ready.
type readiness struct {
	name, reason, message string
	ready                 bool
	since                 time.Time
}

func keepReady(o runtime.Object) any {
	n, ok := o.(*corev1.Node)
	if !ok {
		return nil
	}
	for i := range n.Status.Conditions {
		if c := &n.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return readiness{intern(n.Name), intern(c.Reason), intern(clip(c.Message)), c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time}
		}
	}
	return nil
}

// putReady tells of a node that is ready, or not any longer, since another time than before.
func (t *teller) putReady(uid types.UID, body any) {
	now, ok := body.(readiness)
	if !ok {
		return
	}
	before, known := t.ready[uid]
	t.ready[uid] = now
	if known && before.ready == now.ready || now.since.IsZero() || !t.recent(now.since) {
		return
	}
	e := model.Event{
		ID: fmt.Sprintf("ready/%s/%t/%d", uid, now.ready, now.since.Unix()), First: now.since, Last: now.since, Count: 1, Type: model.EventNormal,
		Reason: "NodeReady", Message: "the node is ready", Source: model.SourceWatcher, Object: model.Object{Kind: "Node", Name: now.name, UID: string(uid)},
		Fields: map[string]string{"condition": now.reason},
	}
	if !now.ready {
		e.Type, e.Reason, e.Message = model.EventWarning, "NodeNotReady", "the node is not ready: "+now.message
	}
	t.add(e)
}

func (t *teller) dropReady(uid types.UID) { delete(t.ready, uid) }
