package transport

import (
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/vetch-dev/vetch/model"
)

// eventName is the event name of the log records that hold our events; docs/formats/events.md has all of the format.
const eventName = "vetch.event"

// The attributes of such a record. What is empty is left out.
const (
	attrID                = "vetch.event.id"
	attrCount             = "vetch.event.count" // int
	attrFirst             = "vetch.event.first" // int, Unix nanoseconds
	attrReason            = "vetch.event.reason"
	attrSource            = "vetch.event.source"
	attrObjectNamespace   = "vetch.object.namespace"
	attrObjectKind        = "vetch.object.kind"
	attrObjectName        = "vetch.object.name"
	attrObjectUID         = "vetch.object.uid"
	attrCluster           = "vetch.cluster"
	attrWorkloadNamespace = "vetch.workload.namespace"
	attrWorkloadKind      = "vetch.workload.kind"
	attrWorkloadName      = "vetch.workload.name"
	attrNode              = "vetch.node"
	attrField             = "vetch.field." // and the name of a further field
)

// texts are the attributes that are plain text, each with the part of an event that it stands for.
func texts(e *model.Event) map[string]*string {
	return map[string]*string{
		attrID: &e.ID, attrReason: &e.Reason, attrSource: &e.Source, attrNode: &e.Node, attrCluster: &e.Workload.Cluster,
		attrObjectNamespace: &e.Object.Namespace, attrObjectKind: &e.Object.Kind, attrObjectName: &e.Object.Name, attrObjectUID: &e.Object.UID,
		attrWorkloadNamespace: &e.Workload.Namespace, attrWorkloadKind: (*string)(&e.Workload.Kind), attrWorkloadName: &e.Workload.Name,
	}
}

// toRecord writes an event as a log record.
func toRecord(e *model.Event, r plog.LogRecord) {
	r.SetEventName(eventName)
	r.SetTimestamp(pcommon.NewTimestampFromTime(e.Last))
	r.SetSeverityNumber(plog.SeverityNumberInfo)
	if e.Type == model.EventWarning {
		r.SetSeverityNumber(plog.SeverityNumberWarn)
	}
	r.SetSeverityText(string(e.Type))
	r.Body().SetStr(e.Message)
	a := r.Attributes()
	for name, text := range texts(e) {
		if *text != "" {
			a.PutStr(name, *text)
		}
	}
	a.PutInt(attrCount, int64(e.Count))
	if !e.First.IsZero() {
		a.PutInt(attrFirst, e.First.UnixNano())
	}
	for name, value := range e.Fields {
		a.PutStr(attrField+name, value)
	}
}

// notStored says why a log record cannot be stored.
type notStored struct{ reason, text string }

func (n *notStored) Error() string { return n.text }

// The reasons: values of the label of vetch_otlp_rejected_total.
const (
	reasonLog        = "log"        // it has no event name, so it is a plain log record
	reasonName       = "event_name" // of another event than ours
	reasonTime       = "time"
	reasonAttributes = "attributes"
)

// toEvent reads an event from a log record. Error: notStored.
func toEvent(r plog.LogRecord) (e model.Event, err error) {
	switch name := r.EventName(); {
	case name == "":
		return e, &notStored{reasonLog, "logs are not stored yet, only events: log records whose event name is " + eventName}
	case name != eventName:
		return e, &notStored{reasonName, fmt.Sprintf("event name %.60q is not known, only %s", name, eventName)}
	case r.Timestamp() == 0:
		return e, &notStored{reasonTime, "an event without a time"}
	}
	e.Last, e.First = r.Timestamp().AsTime(), r.Timestamp().AsTime()
	e.Count, e.Type, e.Message = 1, model.EventNormal, r.Body().AsString()
	if r.SeverityNumber() >= plog.SeverityNumberWarn {
		e.Type = model.EventWarning
	}
	known := texts(&e)
	for name, v := range r.Attributes().All() {
		if err := readAttribute(&e, known, name, v); err != nil {
			return e, err
		}
	}
	if e.Reason == "" || e.Source == "" {
		return e, &notStored{reasonAttributes, "an event needs " + attrReason + " and " + attrSource}
	}
	return e, nil
}

// readAttribute puts one attribute where it belongs. Those of others are left out.
func readAttribute(e *model.Event, known map[string]*string, name string, v pcommon.Value) error {
	field, isField := strings.CutPrefix(name, attrField)
	want := pcommon.ValueTypeStr
	switch {
	case name == attrCount, name == attrFirst:
		want = pcommon.ValueTypeInt
	case !isField && known[name] == nil:
		return nil
	}
	if v.Type() != want {
		return &notStored{reasonAttributes, fmt.Sprintf("attribute %.60q is of type %s, not %s", name, v.Type(), want)}
	}
	switch {
	case name == attrCount:
		if v.Int() < 1 {
			return &notStored{reasonAttributes, attrCount + " is less than 1"}
		}
		e.Count = uint64(v.Int())
	case name == attrFirst:
		e.First = time.Unix(0, v.Int()).UTC()
	case isField:
		if e.Fields == nil {
			e.Fields = map[string]string{}
		}
		e.Fields[field] = v.Str()
	default:
		*known[name] = v.Str()
	}
	return nil
}
