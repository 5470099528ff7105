package columnar

import (
	"fmt"
	"strings"
	"time"
)

// The bounds of what may be stored.
const (
	maxFields      = 256     // of a record, those of its stream with them
	maxStream      = 16      // fields of a stream
	maxNameBytes   = 128     // of a field
	maxRecordBytes = 1 << 20 // of all names and values
	maxBatchBytes  = 4 << 20 // of one Append
	maxBatch       = 10_000  // records of one Append
	maxAhead       = 10 * time.Minute
)

// Field is a name and a value. An empty value is the same as no field.
type Field struct{ Name, Value string }

// Record is one line, span or event.
type Record struct {
	Time    time.Time // exact to a nanosecond
	Stream  []Field   // who it comes from, the same for many records: they lie together on disk. At most some thousand streams a day
	Fields  []Field   // further fields
	Message string    // the text of it
}

// size is what the record counts with, in bytes.
func (r *Record) size() int {
	n := len(r.Message)
	for _, list := range [2][]Field{r.Stream, r.Fields} {
		for _, f := range list {
			n += len(f.Name) + len(f.Value)
		}
	}
	return n
}

// check says why a record can never be kept; oldest is the end of the retention.
func (r *Record) check(oldest, newest time.Time) error {
	switch {
	case r.Time.Before(oldest):
		return fmt.Errorf("%w: %s", ErrTooOld, r.Time.UTC().Format(time.RFC3339))
	case r.Time.After(newest):
		return fmt.Errorf("%w: %s", ErrTooFarAhead, r.Time.UTC().Format(time.RFC3339))
	case len(r.Stream) > maxStream:
		return fmt.Errorf("%w: %d fields of a stream, more than %d", ErrInvalid, len(r.Stream), maxStream)
	case len(r.Stream)+len(r.Fields) > maxFields:
		return fmt.Errorf("%w: %d fields, more than %d", ErrInvalid, len(r.Stream)+len(r.Fields), maxFields)
	case r.size() > maxRecordBytes:
		return fmt.Errorf("%w: %d bytes, more than %d", ErrInvalid, r.size(), maxRecordBytes)
	}
	seen := make(map[string]struct{}, len(r.Stream)+len(r.Fields))
	for _, list := range [2][]Field{r.Stream, r.Fields} {
		for _, f := range list {
			if f.Name == "" || len(f.Name) > maxNameBytes || strings.HasPrefix(f.Name, "_") {
				return fmt.Errorf("%w: field %.40q: names have 1 to %d bytes and do not begin with _", ErrInvalid, f.Name, maxNameBytes)
			}
			if _, twice := seen[f.Name]; twice {
				return fmt.Errorf("%w: field %q is there twice", ErrInvalid, f.Name)
			}
			seen[f.Name] = struct{}{}
		}
	}
	return nil
}
