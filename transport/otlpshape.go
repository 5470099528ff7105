package transport

import (
	"fmt"
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"
)

// The bounds of what is decoded. One of our events has some 80 fields, and takes 4 KiB when decoded.
const (
	maxOTLPFields = 200_000
	maxOTLPDepth  = 24 // of messages in messages; an event has 6
)

// shape says which fields of a message are messages too.
type shape map[protowire.Number]shape

// logsShape is that of opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest.
func logsShape() shape {
	anyValue := shape{}
	keyValue := shape{2: anyValue}
	anyValue[5] = shape{1: anyValue} // array
	anyValue[6] = shape{1: keyValue} // list of keys and values
	resource := shape{1: keyValue, 3: {}}
	record := shape{5: anyValue, 6: keyValue}
	scope := shape{3: keyValue}
	return shape{1: {1: resource, 2: {1: scope, 2: record}}}
}

// checkShape bounds what decoding will take, before anything is decoded: two bytes can be a message that takes hundreds of bytes of memory, and a message may
// hold itself a million times.
func checkShape(body []byte, s shape) error {
	left := maxOTLPFields
	return check(body, s, maxOTLPDepth, &left)
}

func check(msg []byte, s shape, depth int, left *int) error {
	if depth == 0 {
		return refuse(http.StatusBadRequest, "protobuf", "more than %d messages in one another", maxOTLPDepth)
	}
	for len(msg) > 0 {
		var f field
		var err error
		if f, msg, err = next(msg); err != nil {
			return refuse(http.StatusBadRequest, "protobuf", "decode log records: %w", err)
		}
		if *left--; *left < 0 {
			return refuse(http.StatusRequestEntityTooLarge, "too_large", "more than %d fields; send fewer records in one request", maxOTLPFields)
		}
		inner, ok := s[f.number]
		if !ok {
			continue
		}
		if f.kind != protowire.BytesType {
			return refuse(http.StatusBadRequest, "protobuf", "decode log records: %w", fmt.Errorf("%w: field %d has kind %d", errWire, f.number, f.kind))
		}
		if err := check(f.bytes, inner, depth-1, left); err != nil {
			return err
		}
	}
	return nil
}
