package state

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// number is a family with one series an object.
func number[T any](name, help string, value func(o T) float64) family[T] {
	return family[T]{name: name, help: help, emit: func(o T, e *emitter) { e.add(value(o)) }}
}

// whole is a family with a series where the object says a number.
func whole[T any, N int32 | int64](name, help string, value func(o T) *N) family[T] {
	return family[T]{name: name, help: help, emit: func(o T, e *emitter) {
		if v := value(o); v != nil {
			e.add(float64(*v))
		}
	}}
}

// moment is a family with a series where the object says a time, in seconds since 1970.
func moment[T any](name, help string, at func(o T) *metav1.Time) family[T] {
	return family[T]{name: name, help: help, emit: func(o T, e *emitter) {
		if t := at(o); !t.IsZero() {
			e.add(float64(t.Unix()))
		}
	}}
}

// info is a family whose one series has the value 1 and says what it has to say in labels.
func info[T any](name, help string, pairs func(o T) []string) family[T] {
	return family[T]{name: name, help: help, emit: func(o T, e *emitter) { e.add(1, pairs(o)...) }}
}

// many is a family with any number of series.
func many[T any](name, help string, emit func(o T, e *emitter)) family[T] {
	return family[T]{name: name, help: help, emit: emit}
}

// created and deleting are of every kind.
func created[T object](prefix string) family[T] {
	return moment(prefix+"_created", "When the object was made, in seconds since 1970.", func(o T) *metav1.Time {
		t := o.GetCreationTimestamp()
		return &t
	})
}

func deleting[T object](prefix string) family[T] {
	return moment(prefix+"_deletion_timestamp", "When the object is to be gone, in seconds since 1970; only while it is being deleted.", func(o T) *metav1.Time {
		return o.GetDeletionTimestamp()
	})
}

// generation is which version of what is wanted this is.
func generation[T object](prefix string) family[T] {
	return number(prefix+"_metadata_generation", "Number of the present version of what is wanted.", func(o T) float64 { return float64(o.GetGeneration()) })
}

// version is of what is stored: it changes with every change.
func version[T object](prefix string) family[T] {
	return many(prefix+"_metadata_resource_version", "Resource version of the object.", func(o T, e *emitter) {
		if v, err := strconv.ParseFloat(o.GetResourceVersion(), 64); err == nil {
			e.add(v)
		}
	})
}

// owners has a series for each owner, and one with nothing in it where there is none.
func owners[T object](prefix string, controller bool) family[T] {
	return many(prefix+"_owner", "Owners of the object, one a series.", func(o T, e *emitter) {
		list := o.GetOwnerReferences()
		if len(list) == 0 {
			e.add(1)
		}
		for _, r := range list {
			pairs := []string{"owner_kind", r.Kind, "owner_name", r.Name}
			if controller {
				pairs = append(pairs, "owner_is_controller", strconv.FormatBool(r.Controller != nil && *r.Controller))
			}
			e.add(1, pairs...)
		}
	})
}

// chosen are the labels and annotations of objects that the user asked for.
func chosen[T object](prefix, resource string, o Options) []family[T] {
	return []family[T]{
		texts(prefix+"_labels", "Labels of the object that watcher.state.labels names.", "label", o.Labels[resource], T.GetLabels),
		texts(prefix+"_annotations", "Annotations of the object that watcher.state.annotations names.", "annotation", o.Annotations[resource], T.GetAnnotations),
	}
}

func texts[T object](name, help, prefix string, allowed []string, of func(o T) map[string]string) family[T] {
	return many(name, help, func(o T, e *emitter) {
		if len(allowed) == 0 {
			return
		}
		e.add(1, labelPairs(prefix, of(o), allowed)...)
	})
}

// lastApplied holds the whole of what somebody applied, with its environment: "*" does not mean it.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Told says whether a label or annotation is among those that a list of Options names.
func Told(allowed []string, key string) bool {
	return slices.Contains(allowed, key) || key != lastApplied && slices.Contains(allowed, "*")
}

// labelPairs names the keys of a map as kube-state-metrics does: in snake case behind a prefix, and with a number where two become the same.
func labelPairs(prefix string, of map[string]string, allowed []string) []string {
	var keys []string
	for key := range of {
		if Told(allowed, key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	same := make(map[string]int)
	for _, key := range keys {
		same[snakeCase(key)]++
	}
	count := make(map[string]int)
	pairs := make([]string, 0, 2*len(keys))
	for _, key := range keys {
		name := snakeCase(key)
		full := prefix + "_" + name
		if same[name] > 1 {
			count[name]++
			full += "_conflict" + strconv.Itoa(count[name])
		}
		pairs = append(pairs, full, of[key])
	}
	return pairs
}

var upperAfterLower = regexp.MustCompile(`([a-z0-9])([A-Z])`)

func snakeCase(s string) string {
	return strings.ToLower(upperAfterLower.ReplaceAllString(labelName(s), "${1}_${2}"))
}

// labelName replaces what the name of a label may not have.
func labelName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, s)
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// oneOf emits a series for each of a list of values, 1 for the present one and 0 for the others.
func (e *emitter) oneOf(label, present string, list ...string) {
	for _, v := range list {
		e.add(yes(v == present), label, v)
	}
}

// condition emits whether a condition is true, false or unknown, one series each. label names the one that says which.
func (e *emitter) condition(label string, status corev1.ConditionStatus, pairs ...string) {
	for _, s := range []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown} {
		e.add(yes(status == s), append(slices.Clip(pairs), label, strings.ToLower(string(s)))...)
	}
}

// amount is a quantity in its base unit.
func amount(q resource.Quantity) float64 {
	if q.Value() > math.MaxInt64/1000 {
		return float64(q.Value())
	}
	return float64(q.MilliValue()) / 1000
}

// resources emits a series for each resource of a list, with its unit.
func (e *emitter) resources(list corev1.ResourceList, pairs ...string) {
	for _, name := range slices.Sorted(keys(list)) {
		unit, q := unitOf(name), list[name]
		if unit == "" {
			continue
		}
		value := amount(q)
		if unit != "core" {
			value = float64(q.Value())
		}
		e.add(value, append(slices.Clip(pairs), "resource", labelName(string(name)), "unit", unit)...)
	}
}

func keys(list corev1.ResourceList) func(func(corev1.ResourceName) bool) {
	return func(yield func(corev1.ResourceName) bool) {
		for name := range list {
			if !yield(name) {
				return
			}
		}
	}
}

// unitOf is empty for what is no resource of a node.
func unitOf(name corev1.ResourceName) string {
	switch name {
	case corev1.ResourceCPU:
		return "core"
	case corev1.ResourceMemory, corev1.ResourceStorage, corev1.ResourceEphemeralStorage:
		return "byte"
	case corev1.ResourcePods:
		return "integer"
	}
	text := string(name)
	switch {
	case strings.HasPrefix(text, corev1.ResourceHugePagesPrefix), strings.HasPrefix(text, corev1.ResourceAttachableVolumesPrefix):
		return "byte"
	case strings.Contains(text, "/") && !strings.Contains(text, corev1.ResourceDefaultNamespacePrefix) && !strings.HasPrefix(text, corev1.DefaultResourceRequestsPrefix):
		return "integer" // of a device plugin
	}
	return ""
}

// text is what a pointer points to.
func text[S ~string](s *S) string {
	if s == nil {
		return ""
	}
	return string(*s)
}

func truth(b *bool) string {
	if b == nil {
		return ""
	}
	return strconv.FormatBool(*b)
}
