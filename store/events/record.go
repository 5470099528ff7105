package events

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/store/columnar"
)

// The bounds of an event. What is longer is cut.
const (
	maxMessage = 4 << 10
	maxWord    = 253 // names, as Kubernetes has them
	maxFields  = 32
	maxValue   = 1 << 10
)

// The names of fields in the engine, beside those of store.EventProperties.
const (
	fieldKey        = "key"
	fieldID         = "id"  // Event.ID
	fieldEnd        = "end" // the same, of the end of a container alone: each of these is one, however many records tell of it
	fieldCount      = "count"
	fieldFirst      = "first" // Unix time in microseconds
	fieldLast       = "last"
	fieldObjectPart = "object_namespace"
	furtherPrefix   = "f."
)

// clean cuts what is too long, and makes text of what is none.
func clean(e model.Event) model.Event {
	for _, word := range []*string{
		&e.ID, &e.Reason, &e.Source, &e.Node, &e.Object.Namespace, &e.Object.Kind, &e.Object.Name, &e.Object.UID,
		&e.Workload.Cluster, &e.Workload.Namespace, &e.Workload.Name,
	} {
		*word = cut(*word, maxWord)
	}
	e.Workload.Kind = model.Kind(cut(string(e.Workload.Kind), maxWord))
	e.Message = cut(e.Message, maxMessage)
	if e.Type != model.EventWarning {
		e.Type = model.EventNormal
	}
	if e.First.IsZero() || e.First.After(e.Last) {
		e.First = e.Last
	}
	e.Count = max(e.Count, 1)
	return e
}

func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// keyOf is the same for an event that happens again: the same object, type, reason and source, and a message that differs in numbers alone.
func keyOf(e *model.Event) string {
	h := sha256.New()
	for _, part := range []string{
		e.Workload.Cluster, e.Object.Namespace, e.Object.Kind, e.Object.Name, e.Object.UID, e.Workload.ID(), string(e.Type), e.Reason, e.Source, e.Node, form(e.Message),
	} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// form folds numbers, in a message that ends with what changes each time: "back-off 10s", "pid 4711".
func form(message string) string {
	var b strings.Builder
	for i := 0; i < len(message); i++ {
		if c := message[i]; c < '0' || c > '9' {
			b.WriteByte(c)
		} else if i == 0 || message[i-1] < '0' || message[i-1] > '9' {
			b.WriteByte('0')
		}
	}
	return b.String()
}

// properties are the values that an event is found by.
func properties(e *model.Event) map[string]string {
	namespace := e.Object.Namespace
	if namespace == "" {
		namespace = e.Workload.Namespace
	}
	p := map[string]string{
		store.EventCluster: e.Workload.Cluster, store.EventNamespace: namespace, store.EventKind: e.Object.Kind, store.EventName: e.Object.Name,
		store.EventUID: e.Object.UID, store.EventReason: e.Reason, store.EventKindOf: string(e.Type), store.EventSource: e.Source, store.EventNode: e.Node,
	}
	if !e.Workload.IsZero() {
		p[store.EventWorkload] = e.Workload.ID()
	}
	return p
}

func encode(e *model.Event, key string) columnar.Record {
	r := columnar.Record{Time: e.Last, Message: e.Message}
	for name, value := range properties(e) {
		if name == store.EventSource || name == store.EventCluster {
			r.Stream = append(r.Stream, columnar.Field{Name: name, Value: value})
		} else {
			r.Fields = append(r.Fields, columnar.Field{Name: name, Value: value})
		}
	}
	count := e.Count
	if model.IsContainerEnd(e.ID) {
		count = 0
		r.Fields = append(r.Fields, columnar.Field{Name: fieldEnd, Value: e.ID})
	}
	r.Fields = append(r.Fields,
		columnar.Field{Name: fieldKey, Value: key},
		columnar.Field{Name: fieldCount, Value: strconv.FormatUint(count, 10)},
		columnar.Field{Name: fieldFirst, Value: strconv.FormatInt(e.First.UnixMicro(), 10)},
		columnar.Field{Name: fieldLast, Value: strconv.FormatInt(e.Last.UnixMicro(), 10)},
		columnar.Field{Name: fieldObjectPart, Value: e.Object.Namespace})
	if e.ID != "" {
		r.Fields = append(r.Fields, columnar.Field{Name: fieldID, Value: e.ID})
	}
	names := slices.Sorted(maps.Keys(e.Fields))
	seen := map[string]bool{"": true}
	for _, name := range names[:min(len(names), maxFields)] {
		if short := cut(name, maxWord/4); !seen[short] {
			seen[short] = true
			r.Fields = append(r.Fields, columnar.Field{Name: furtherPrefix + short, Value: cut(e.Fields[name], maxValue)})
		}
	}
	return r
}

func decode(m *columnar.Merged) model.Event {
	f := m.Row.Fields
	e := model.Event{
		First: time.UnixMicro(m.First), Last: time.UnixMicro(m.Last), Count: m.Count,
		Type: model.EventType(f[store.EventKindOf]), Reason: f[store.EventReason], Message: m.Row.Message, Source: f[store.EventSource], Node: f[store.EventNode],
		Object: model.Object{Namespace: f[fieldObjectPart], Kind: f[store.EventKind], Name: f[store.EventName], UID: f[store.EventUID]},
	}
	if w, ok := model.ParseID(f[store.EventWorkload]); ok {
		e.Workload = w
	}
	e.Workload.Cluster = f[store.EventCluster]
	for name, value := range f {
		if name, ok := strings.CutPrefix(name, furtherPrefix); ok {
			if e.Fields == nil {
				e.Fields = map[string]string{}
			}
			e.Fields[name] = value
		}
	}
	return e
}
