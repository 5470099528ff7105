package digest

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

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
	maxName  = 200 // bytes of a label value
	maxRoute = 300
)

// clean makes a label value valid: UTF-8, printable, at most limit bytes.
func clean(s string, limit int) string {
	if len(s) <= limit && isClean(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	const mark = "…"
	end := max(limit-len(mark), 0)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}

func isClean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
		}
	}
	return true
}

// cleanWorkload makes a workload that label values can name. One without a name is called "~unknown".
func cleanWorkload(w model.Workload) model.Workload {
	if w.IsZero() || w.Name == "" {
		w.Name = "~unknown"
	}
	if w.Kind == "" {
		w.Kind = model.KindProcess
	}
	return model.Workload{
		Cluster: clean(w.Cluster, maxName), Namespace: clean(w.Namespace, maxName),
		Kind: model.Kind(clean(string(w.Kind), maxName)), Name: clean(w.Name, maxName),
	}
}

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
