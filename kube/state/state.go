// Package state turns objects of the Kubernetes API into the kube_* series that kube-state-metrics made known: the same names, labels and values. Of an
// object only its series are kept.
//
// Adding a family is one entry in the table of its kind; adding a kind is a file with such a table, and its line in Kinds.
package state

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/vetch-dev/vetch/model"
)

// maxValue bounds the value of a label, in bytes: an annotation may be 256 KiB.
const maxValue = 1024

// Options say what is told beyond the default. Keys are resources ("pods"); of the lists, "*" is everything but what kubectl last applied.
type Options struct {
	Labels      map[string][]string // labels of objects that become kube_<kind>_labels
	Annotations map[string][]string // annotations that become kube_<kind>_annotations
}

// Check finds resources that have no series. No options have none.
func (o *Options) Check() error {
	if o == nil {
		return nil
	}
	known := Kinds(Options{})
	for _, list := range []map[string][]string{o.Labels, o.Annotations} {
		for resource := range list {
			if Find(known, resource) == nil {
				return fmt.Errorf("tell labels and annotations: %q is none of the resources that the watcher has series of, such as pods", resource)
			}
		}
	}
	return nil
}

// Kinds lists all kinds that have series.
func Kinds(o Options) []*Kind {
	return []*Kind{
		pods(o), nodes(o), namespaces(o), services(o), endpointSlices(o),
		deployments(o), replicaSets(o), statefulSets(o), daemonSets(o), jobs(o), cronJobs(o), autoscalers(o),
		volumes(o), claims(o), ingresses(o),
	}
}

// Find gives the kind of a resource; nil if there is none.
func Find(list []*Kind, resource string) *Kind {
	for _, k := range list {
		if k.Resource == resource {
			return k
		}
	}
	return nil
}

// Kind is what one resource of the API tells.
type Kind struct {
	Resource string // "pods"
	families []model.Family
	render   func(o any, e *emitter)
}

// Rendered are the series of one object, in the order of the families of its kind. It does not change.
type Rendered struct {
	samples []sample
}

// sample is one series.
type sample struct {
	family *model.Family
	labels labels.Labels
	value  float64
}

// Render gives the series of an object, which must be of the kind's type. What is the same as before, which may be nil, shares its memory with that: most changes of an object change
// few of its series.
func (k *Kind) Render(o any, before *Rendered) *Rendered {
	e := emitter{samples: make([]sample, 0, 16), builder: labels.NewScratchBuilder(16)}
	if before != nil {
		e.before = before.samples
		e.samples = make([]sample, 0, len(before.samples))
	}
	k.render(o, &e)
	return &Rendered{samples: append(make([]sample, 0, len(e.samples)), e.samples...)}
}

// family is one name of a kind: its help and type, and the function that gives its series for an object.
type family[T any] struct {
	name, help string
	counter    bool
	emit       func(o T, e *emitter)
}

// object is what all kinds are.
type object interface {
	runtime.Object
	metav1.Object
}

// kindOf makes a kind of its table. identity gives the labels that all its series have, as pairs of name and value.
func kindOf[T any](resource string, identity func(o T) []string, families []family[T]) *Kind {
	k := &Kind{Resource: resource, families: make([]model.Family, len(families))}
	for i, f := range families {
		k.families[i] = model.Family{Name: f.name, Help: f.help, Type: model.Gauge}
		if f.counter {
			k.families[i].Type = model.Counter
		}
	}
	k.render = func(o any, e *emitter) {
		typed, ok := o.(T)
		if !ok {
			return
		}
		e.identity = identity(typed)
		for i := range families {
			e.begin(&k.families[i])
			families[i].emit(typed, e)
		}
	}
	return k
}

// emitter takes the series of one object.
type emitter struct {
	identity []string
	family   *model.Family
	samples  []sample
	first    int // sample of the present family
	before   []sample
	builder  labels.ScratchBuilder
	seen     map[labels.Labels]struct{} // of the present family, where it has many
}

func (e *emitter) begin(f *model.Family) {
	e.family, e.first = f, len(e.samples)
	clear(e.seen)
}

// add emits one series with a value and further labels, as pairs of name and value. An empty value is no label, and the second of two equal series is
// left out: neither format of Prometheus has room for it.
func (e *emitter) add(value float64, pairs ...string) {
	e.builder.Reset()
	for _, list := range [][]string{e.identity, pairs} {
		for i := 0; i+1 < len(list); i += 2 {
			if list[i+1] != "" {
				e.builder.Add(list[i], clip(list[i+1]))
			}
		}
	}
	e.builder.Sort()
	all := e.shared(e.builder.Labels())
	if e.has(all) {
		return
	}
	e.samples = append(e.samples, sample{e.family, all, value})
}

// has looks for a series of the present family.
func (e *emitter) has(all labels.Labels) bool {
	const few = 16
	here := e.samples[e.first:]
	if len(here) < few {
		for _, s := range here {
			if labels.Equal(s.labels, all) {
				return true
			}
		}
		return false
	}
	if len(e.seen) == 0 {
		e.seen = make(map[labels.Labels]struct{}, 4*few)
		for _, s := range here {
			e.seen[s.labels] = struct{}{}
		}
	}
	_, ok := e.seen[all]
	e.seen[all] = struct{}{}
	return ok
}

// shared gives the labels of the same series before, where there is one at the same place.
func (e *emitter) shared(all labels.Labels) labels.Labels {
	for i, s := range e.before {
		if s.family == e.family && labels.Equal(s.labels, all) {
			e.before = e.before[i+1:]
			return s.labels
		}
		if i > 8 { // these come in the same order but for a few
			break
		}
	}
	return all
}

func clip(s string) string {
	if len(s) <= maxValue {
		return s
	}
	end := maxValue
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.Clone(s[:end])
}
