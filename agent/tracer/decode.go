package tracer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	maxBody  = 64 << 20 // bytes of an answer that are read
	maxTaken = 100_000  // rows of an answer that are used
)

// errBody says that an answer is no list of connections.
var errBody = errors.New("not a list of connections")

// decoded is an answer as far as it could be read.
type decoded struct {
	rows      []Connection
	malformed uint64 // rows with a value of a wrong type
	over      uint64 // rows beyond maxTaken
}

// decode reads {"connections": [...]}, or the list alone. Fields that it does not know are skipped, a row with a value that does not fit is left out
// and counted. What came before an error is given with it.
func decode(r io.Reader) (decoded, error) {
	var out decoded
	limited := &io.LimitedReader{R: r, N: maxBody}
	d := json.NewDecoder(limited)
	err := out.document(d)
	if limited.N <= 0 {
		return out, fmt.Errorf("read connections: more than %d bytes", maxBody)
	}
	if err != nil {
		return out, fmt.Errorf("read connections: %w", err)
	}
	return out, nil
}

func (out *decoded) document(d *json.Decoder) error {
	first, err := d.Token()
	if err != nil {
		return err
	}
	switch first {
	case json.Delim('['):
		return out.list(d)
	case json.Delim('{'):
	default:
		return errBody
	}
	found := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if key != "connections" || found {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return err
			}
			continue
		}
		found = true
		value, err := d.Token()
		switch {
		case err != nil:
			return err
		case value == nil: // there are none
		case value == json.Delim('['):
			if err := out.list(d); err != nil {
				return err
			}
		default:
			return errBody
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if !found {
		return errBody
	}
	return nil
}

// list reads the rows and the end of the list.
func (out *decoded) list(d *json.Decoder) error {
	for d.More() {
		var c Connection
		err := d.Decode(&c)
		var wrong *json.UnmarshalTypeError
		switch {
		case errors.As(err, &wrong):
			out.malformed++
		case err != nil:
			return err
		case len(out.rows) >= maxTaken:
			out.over++
		default:
			out.rows = append(out.rows, c)
		}
	}
	_, err := d.Token()
	return err
}
