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
	"time"

	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store/columnar"
)

const (
	fieldSources = "sources" // of an event that more than one source has told of: all of them
	fieldPID     = "pid"     // of the process that ended, where the source saw it
)

// reasonNoMemory and reasonError are of Kubernetes; the latter says no more than that the exit code is not 0.
const reasonNoMemory, reasonError = "OOMKilled", "Error"

// end is the end of a container as it is in the store, and the key that it has there.
type end struct {
	event model.Event
	key   string
}

// recordOfEnd gives the record of the end of a container; ok is false where the same source has told of it before. The record of a second source has the
// first one's key and time, so that answers show one event, and all that both tell; by its ID it counts once.
func (a *appending) recordOfEnd(e model.Event) (r columnar.Record, ok bool) {
	if a.totals[e.ID] == 0 {
		a.totals[e.ID] = 1
		e.First, e.Last = e.First.Truncate(time.Microsecond), e.Last.Truncate(time.Microsecond) // as it is read again
		a.ends[e.ID] = end{e, endKey(&e)}
		return encode(&e, a.ends[e.ID].key), true
	}
	before, found := a.ends[e.ID]
	if !found {
		return r, false
	}
	if slices.Contains(sourcesOf(&before.event), e.Source) {
		return a.recordOfProcess(e, &before.event)
	}
	both := joined(before.event, e)
	a.ends[e.ID] = end{both, before.key}
	return encode(&both, before.key), true
}

// recordOfProcess gives the record of what one source tells twice of one container, if that is of two processes: the first of a pid namespace that a program
// in it made is not always told from its main process. That is an event of its own, so that neither is lost.
func (a *appending) recordOfProcess(e model.Event, before *model.Event) (r columnar.Record, ok bool) {
	id := processID(&e)
	if id == "" || e.Fields[fieldPID] == before.Fields[fieldPID] {
		return r, false
	}
	if e.ID = id; !a.add(&e) {
		return r, false
	}
	return encode(&e, keyOf(&e)), true
}

// processID is the ID of the end of a process that is told as that of its container, where it is not that; "" where there is none.
func processID(e *model.Event) string {
	run, isEnd := strings.CutPrefix(e.ID, model.ContainerEnd(""))
	if pid := e.Fields[fieldPID]; isEnd && pid != "" {
		return cut("process/"+run, maxWord-len("/4294967295")) + "/" + cut(pid, len("4294967295"))
	}
	return ""
}

func sourcesOf(e *model.Event) []string {
	return strings.Split(cmp.Or(e.Fields[fieldSources], e.Source), ", ")
}

// joined is what two sources tell of one end. The source stays that of the later, for which it was told. The time is that of the earlier, so that no range
// of time has one record alone.
func joined(before, later model.Event) model.Event {
	api, other := later, before // the one that knows objects, and the one that saw the process
	if before.Source == model.SourceWatcher {
		api, other = before, later
	}
	both := api
	both.ID, both.Source, both.First, both.Last = later.ID, later.Source, before.First, before.Last
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
