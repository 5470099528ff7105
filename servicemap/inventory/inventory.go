// Package inventory tells of the things that workloads run on and in: nodes, pods and namespaces, from the metrics of the watcher and of the agents.
package inventory

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/servicemap"
)

// DefaultRange of all questions.
const DefaultRange = servicemap.DefaultWorkloadRange

// usageWindow bounds what a rate of use reads: it is that of the end of the range, however long the range is, for thousands of containers at once.
const usageWindow = 5 * time.Minute

// maxID bounds the length of an id that is asked for.
const maxID = 2048

// Inventory answers questions about nodes, pods and namespaces. Its methods may be called at once from many goroutines. Answers are shared and must
// not be changed.
type Inventory struct{ services *servicemap.Service }

// New needs the service map, whose store, bounds and cache it shares.
func New(s *servicemap.Service) (*Inventory, error) {
	if s == nil {
		return nil, errors.New("create inventory: no service map given")
	}
	return &Inventory{s}, nil
}

// place is a name within a namespace of a cluster; of a node the namespace is empty.
type place struct{ cluster, namespace, name string }

// id is the cluster, the namespace and the name where they are not empty: "eu-1:shop/cart-1", "shop/cart-1", "node-a".
func (p place) id() string {
	text := p.name
	if p.namespace != "" {
		text = p.namespace + "/" + p.name
	}
	if p.cluster == "" && !strings.Contains(text, ":") {
		return text
	}
	return model.EscapeCluster(p.cluster) + ":" + text
}

// parse reads what id wrote; parts is how many the text after the cluster has.
func (i *Inventory) parse(id string, parts int, form string) (place, error) {
	bad := func(problem string) (place, error) {
		return place{}, fmt.Errorf("%w: the id %.100q %s; its form is %s", servicemap.ErrBadQuery, id, problem, form)
	}
	if id == "" || len(id) > maxID || !utf8.ValidString(id) {
		return bad(fmt.Sprintf("is missing, longer than %d bytes or not UTF-8", maxID))
	}
	p := place{name: id}
	if cluster, rest, ok := strings.Cut(id, ":"); ok {
		p.cluster, p.name = model.UnescapeCluster(cluster), rest
	}
	if parts == 2 {
		var ok bool
		if p.namespace, p.name, ok = strings.Cut(p.name, "/"); !ok || p.namespace == "" {
			return bad("has no namespace")
		}
	}
	if p.name == "" {
		return bad("has no name")
	}
	p.cluster = i.services.Away(model.Workload{Cluster: p.cluster}).Cluster
	return p, nil
}

// window is over what rates of use are read at the end of a span.
func window(sp servicemap.Span) time.Duration { return min(sp.Length(), usageWindow) }

// add adds to a sum that is not known before the first.
func add(sum **float64, v float64) {
	if *sum == nil {
		*sum = new(float64)
	}
	**sum += v
}

// value of what may not be known.
func value(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

// tidy makes a sum ready for JSON.
func tidy(v *float64) *float64 {
	if v == nil {
		return nil
	}
	return servicemap.Figure(*v)
}

// moment is a metric's time in Unix seconds; nil where it is none.
func moment(seconds float64) *time.Time {
	if !(seconds > 0 && seconds < 253402300800) { // the year 10000
		return nil
	}
	t := time.Unix(int64(seconds), 0).UTC()
	return &t
}
