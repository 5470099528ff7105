package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// Types of BSON fields (https://bsonspec.org/spec.html).
const (
	bsonDouble   = 0x01
	bsonString   = 0x02
	bsonDocument = 0x03
	bsonArray    = 0x04
	bsonBinary   = 0x05
	bsonBool     = 0x08
	bsonRegex    = 0x0b
	bsonInt32    = 0x10
	bsonInt64    = 0x12
)

// bsonField is the head of a field: its type, its name, the size of both, and that of the value. head is 0 where more bytes are needed.
type bsonField struct {
	kind byte
	name []byte
	head int
	size int64
}

// bsonElement reads the head of the field at the front of b. The end of a document is a field of kind 0.
func bsonElement(b []byte) (bsonField, error) {
	if len(b) == 0 {
		return bsonField{}, nil
	}
	if b[0] == 0 {
		return bsonField{head: 1}, nil
	}
	if !bsonKnown(b[0]) {
		return bsonField{}, fmt.Errorf("field of type %#x: %w", b[0], ErrDesync)
	}
	end := bytes.IndexByte(b[1:min(len(b), 1+mongoMaxName)], 0)
	if end < 0 {
		if len(b) > mongoMaxName {
			return bsonField{}, fmt.Errorf("name without end: %w", ErrDesync)
		}
		return bsonField{}, nil
	}
	e := bsonField{kind: b[0], name: b[1 : 1+end]}
	size, err := bsonSize(b[0], b[end+2:])
	if size < 0 || err != nil {
		return bsonField{}, err
	}
	e.head, e.size = end+2, size
	return e, nil
}

func bsonKnown(kind byte) bool { return kind <= 0x13 || kind == 0x7f || kind == 0xff }

// bsonSize is the size of the value at the front of b, -1 to wait for more bytes.
func bsonSize(kind byte, b []byte) (int64, error) {
	switch kind {
	case 0x06, 0x0a, 0x7f, 0xff: // undefined, null, and the largest and smallest key
		return 0, nil
	case bsonBool:
		return 1, nil
	case bsonInt32:
		return 4, nil
	case bsonDouble, 0x09, 0x11, bsonInt64: // 0x09 date, 0x11 timestamp
		return 8, nil
	case 0x07: // object id
		return 12, nil
	case 0x13: // decimal
		return 16, nil
	case bsonRegex:
		return bsonTwoTexts(b)
	}
	if len(b) < 4 {
		return -1, nil
	}
	n, least, more := int64(mongoInt(b, 0)), int64(1), int64(4)
	switch kind {
	case bsonDocument, bsonArray, 0x0f: // 0x0f code with scope; the length counts itself
		least, more = 5, 0
	case bsonBinary:
		least, more = 0, 5
	case 0x0c: // pointer into a database
		more = 4 + 12
	}
	if n < least || n > mongoMaxSize {
		return 0, fmt.Errorf("value of %d bytes: %w", n, ErrDesync)
	}
	return n + more, nil
}

// bsonTwoTexts is the size of a regular expression and its options.
func bsonTwoTexts(b []byte) (int64, error) {
	at := 0
	for range 2 {
		end := bytes.IndexByte(b[at:min(len(b), at+mongoMaxName)], 0)
		if end < 0 {
			if len(b) >= at+mongoMaxName {
				return 0, fmt.Errorf("regular expression without end: %w", ErrDesync)
			}
			return -1, nil
		}
		at += end + 1
	}
	return int64(at), nil
}

// bsonText is the text of a string value.
func bsonText(value []byte) []byte {
	if len(value) < 5 {
		return nil
	}
	return value[4:min(len(value), max(4, 4+int(mongoInt(value, 0))-1))]
}

func bsonNumber(kind byte, value []byte) (int64, bool) {
	switch {
	case kind == bsonDouble && len(value) == 8:
		f := math.Float64frombits(binary.LittleEndian.Uint64(value))
		if !(math.Abs(f) < 1<<53) {
			return 0, false
		}
		if f != 0 && math.Abs(f) < 1 {
			return 1, true
		}
		return int64(f), true
	case kind == bsonInt32 && len(value) == 4:
		return int64(mongoInt(value, 0)), true
	case kind == bsonInt64 && len(value) == 8:
		return int64(binary.LittleEndian.Uint64(value)), true
	case kind == bsonBool && len(value) == 1:
		return int64(value[0]), true
	}
	return 0, false
}

// bsonFind looks for a number in a document that may not be whole; "" stands for the first field, whatever it is called.
func bsonFind(b []byte, path ...string) (int64, bool) {
	if len(b) < 4 {
		return 0, false
	}
	for b = b[4:]; ; {
		e, err := bsonElement(b)
		if err != nil || e.head == 0 || e.kind == 0 {
			return 0, false
		}
		size := min(int64(len(b)), int64(e.head)+e.size)
		if path[0] == "" || string(e.name) == path[0] {
			if value := b[e.head:size]; len(path) == 1 {
				return bsonNumber(e.kind, value)
			} else if e.kind == bsonDocument || e.kind == bsonArray {
				return bsonFind(value, path[1:]...)
			}
			return 0, false
		}
		b = b[size:]
	}
}
