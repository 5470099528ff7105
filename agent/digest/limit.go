package digest

import (
	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

// Why something is not in the series under its own name, or not at all.
const (
	dropPairs        = "pairs"         // a pair was not followed: too many at once. Its figures are lost
	dropSeries       = "series"        // a series was not made: too many. Requests or readings are lost
	dropExternals    = "externals"     // an address outside goes under "~other"
	dropDestinations = "destinations"  // a container's destination goes under "~other"
	dropTopics       = "topics"        // what a consumer has not read of a topic goes under "~other"
	dropUnknown      = "unknown_owner" // the record of an owner never came: its workload is "~unknown"
)

var dropReasons = []string{dropPairs, dropSeries, dropExternals, dropDestinations, dropTopics, dropUnknown}

const (
	maxName  = process.MaxName // bytes of a label value
	maxRoute = 300
)

// labelSet builds labels of name and value in turn; empty values are left out, as they mean the same.
func labelSet(pairs ...string) labels.Labels {
	kept := make([]string, 0, len(pairs))
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			kept = append(kept, pairs[i], pairs[i+1])
		}
	}
	return labels.FromStrings(kept...)
}

// with adds one label to a set.
func with(base labels.Labels, name, value string) labels.Labels {
	return labels.NewBuilder(base).Set(name, value).Labels()
}

// reserve takes room for n series; false when there is none. The caller counts what it then drops.
func (d *Digest) reserve(n int) bool {
	if d.reserved+n > d.options.MaxSeries {
		return false
	}
	d.reserved += n
	return true
}

func (d *Digest) release(n int) { d.reserved -= n }

// external gives the name that an address outside goes by: its own while there are few.
func (d *Digest) external(w model.Workload) model.Workload {
	if w.Kind != model.KindExternal || w.Name == other {
		return w
	}
	if _, ok := d.externals[w.Name]; !ok && len(d.externals) >= d.options.MaxExternal {
		d.dropped[dropExternals]++
		w.Name = other
	}
	return w
}

func (d *Digest) refExternal(w model.Workload, n int) {
	if w.Kind != model.KindExternal || w.Name == other {
		return
	}
	if d.externals[w.Name] += n; d.externals[w.Name] <= 0 {
		delete(d.externals, w.Name)
	}
}
