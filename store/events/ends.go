package events

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store/columnar"
)

// fieldSources is the field of an event that more than one source has told of: all of them.
const fieldSources = "sources"

// reasonNoMemory and reasonError are of Kubernetes; the latter says no more than that the exit code is not 0.
const reasonNoMemory, reasonError = "OOMKilled", "Error"

// end is the end of a container as it is in the store, and the key that it has there.
type end struct {
	event model.Event
	key   string
}

// recordOfEnd gives the record of the end of a container; ok is false where the same source has told of it before. The second source adds nothing to the
// count: its record has the first one's key, so that answers show one event, and all that both tell.
func (a *appending) recordOfEnd(e model.Event) (r columnar.Record, ok bool) {
	if a.totals[e.ID] == 0 {
		a.totals[e.ID] = 1
		a.ends[e.ID] = end{e, endKey(&e)}
		return encode(&e, a.ends[e.ID].key), true
	}
	before, found := a.ends[e.ID]
	if !found || slices.Contains(sourcesOf(&before.event), e.Source) {
		return r, false
	}
	both := joined(before.event, e)
	a.ends[e.ID] = end{both, before.key}
	both.Count = 0
	return encode(&both, before.key), true
}

func sourcesOf(e *model.Event) []string {
	return strings.Split(cmp.Or(e.Fields[fieldSources], e.Source), ", ")
}

// joined is what two sources tell of one end. The source stays that of the later, for which it was told.
func joined(before, later model.Event) model.Event {
	api, other := later, before // the one that knows objects, and the one that saw the process
	if before.Source == model.SourceWatcher {
		api, other = before, later
	}
	both := api
	both.Source, both.First, both.Last = later.Source, later.First, later.Last
	both.Node = cmp.Or(api.Node, other.Node)
	if both.Workload.IsZero() {
		both.Workload = other.Workload
	}
	if other.Type == model.EventWarning {
		both.Type = model.EventWarning
	}
	if other.Reason == reasonNoMemory || api.Reason == reasonError {
		both.Reason = other.Reason
	}
	if api.Reason != reasonNoMemory || other.Reason != reasonNoMemory { // they would say the same
		both.Message = api.Message + "; " + other.Message
	}
	both.Fields = maps.Clone(other.Fields)
	if both.Fields == nil {
		both.Fields = map[string]string{}
	}
	maps.Copy(both.Fields, api.Fields)
	sources := append(sourcesOf(&before), later.Source)
	slices.Sort(sources)
	both.Fields[fieldSources] = strings.Join(sources, ", ")
	return both
}

// endKey is the same for ends of one container of a pod that are alike, whoever tells of the first of them.
func endKey(e *model.Event) string {
	outcome := e.Fields["exit_code"]
	if number := unix.SignalNum(e.Fields["signal"]); number != syscall.Signal(0) { // as runtimes tell of it
		outcome = strconv.Itoa(128 + int(number))
	}
	if e.Reason == reasonNoMemory {
		outcome = reasonNoMemory
	}
	h := sha256.New()
	for _, part := range []string{"end", e.Workload.Cluster, e.Object.Namespace, e.Object.Kind, e.Object.Name, e.Object.UID, e.Fields["container"], outcome} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
