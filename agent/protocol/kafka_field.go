package protocol

import (
	"encoding/binary"
	"fmt"
)

// kafkaKind is how a field is written (https://kafka.apache.org/protocol#protocol_types).
type kafkaKind uint8

const (
	kafkaFixed   kafkaKind = iota // so many bytes
	kafkaText                     // a string that may be null
	kafkaBytes                    // a string of bytes or records that may be null
	kafkaArray                    // of a field
	kafkaStructs                  // an array of structures, each with tagged fields in newer versions
)

// kafkaRole is what a field is needed for.
type kafkaRole uint8

const (
	kafkaPlain     kafkaRole = iota
	kafkaTopic               // the name of a topic
	kafkaTopicID             // its number
	kafkaError               // an error code
	kafkaAcks                // acknowledgements that a producer wants
	kafkaSession             // number of a fetch session
	kafkaEpoch               // what of the session the request is
	kafkaReplica             // the broker that asks, if it is none of a consumer
	kafkaPart                // number of a partition
	kafkaOffset              // from where a partition is to be read
	kafkaHigh                // where it ends
	kafkaForgotten           // a partition that is no longer read
	kafkaStop                // nothing behind it is needed
)

// kafkaField is one field of a request or an answer, and the versions of its API that have it.
type kafkaField struct {
	kind   kafkaKind
	role   kafkaRole
	size   int8  // bytes of a fixed one
	from   int16 // first version
	to     int16 // the version after the last one; 0: all
	fields []kafkaField
}

// The fields that schemas are made of.
var (
	kI8      = kafkaField{size: 1}
	kI16     = kafkaField{size: 2}
	kI32     = kafkaField{size: 4}
	kI64     = kafkaField{size: 8}
	kUUID    = kafkaField{size: 16}
	kText    = kafkaField{kind: kafkaText}
	kBytes   = kafkaField{kind: kafkaBytes}
	kTopic   = kafkaField{kind: kafkaText, role: kafkaTopic}
	kTopicID = kafkaField{size: 16, role: kafkaTopicID}
	kError   = kafkaField{size: 2, role: kafkaError}
	kAcks    = kafkaField{size: 2, role: kafkaAcks}
	kSession = kafkaField{size: 4, role: kafkaSession}
	kEpoch   = kafkaField{size: 4, role: kafkaEpoch}
	kReplica = kafkaField{size: 4, role: kafkaReplica}
	kPart    = kafkaField{size: 4, role: kafkaPart}
	kOffset  = kafkaField{size: 8, role: kafkaOffset}
	kHigh    = kafkaField{size: 8, role: kafkaHigh}
	kForget  = kafkaField{size: 4, role: kafkaForgotten}
	kStop    = kafkaField{role: kafkaStop}
)

func kArray(f kafkaField) kafkaField { return kafkaField{kind: kafkaArray, fields: []kafkaField{f}} }
func kStructs(fields ...kafkaField) kafkaField {
	return kafkaField{kind: kafkaStructs, fields: fields}
}

func (f kafkaField) since(version int16) kafkaField  { f.from = version; return f }
func (f kafkaField) before(version int16) kafkaField { f.to = version; return f }

const (
	kafkaMaxDepth = 6   // arrays in each other
	kafkaMaxText  = 300 // bytes of a text that is looked at; names of topics have at most 249
)

// kafkaWalk walks over the fields of a message, in whatever pieces it comes. It never copies more than it is asked for.
type kafkaWalk struct {
	version  int16
	flexible bool   // sizes are varints, and structures end with tagged fields
	replica  uint64 // the tagged field of the message that has role kafkaReplica; 0: none
	depth    int
	levels   [kafkaMaxDepth + 1]kafkaLevel
}

// kafkaLevel is an array, or the message itself, that is walked over.
type kafkaLevel struct {
	fields  []kafkaField
	at      int   // the field that comes next
	left    int64 // elements to come, with the one at hand
	structs bool
	tags    int64 // tagged fields to come, -1 before their number
}

// begin puts fields in front of what is to be walked over. An element of structs ends with tagged fields.
func (w *kafkaWalk) begin(fields []kafkaField, elements int64, structs bool) {
	w.levels[w.depth] = kafkaLevel{fields: fields, left: elements, structs: structs && w.flexible, tags: -1}
	w.depth++
}

// walk goes on at the front of b, of a message with left bytes to come, and hands take what has a role; take says whether that is enough.
// It returns how many bytes it is done with, which may be more than there are, and whether nothing more is needed.
func (w *kafkaWalk) walk(b []byte, left int64, take func(kafkaRole, []byte) bool) (n int64, done bool, err error) {
	for w.depth > 0 {
		l := &w.levels[w.depth-1]
		if l.left == 0 {
			w.depth--
			continue
		}
		rest := b[min(n, int64(len(b))):]
		var size int64
		switch {
		case l.at < len(l.fields):
			f := &l.fields[l.at]
			if !f.in(w.version) {
				l.at++
				continue
			}
			if f.role == kafkaStop {
				return n, true, nil
			}
			if n >= int64(len(b)) {
				return n, false, nil
			}
			size, done, err = w.field(f, rest, left-n, take)
		case l.structs:
			size, err = w.tagged(l, rest, take)
		default:
			l.at, l.left = 0, l.left-1
			continue
		}
		if err == nil && size > left-n {
			err = fmt.Errorf("field of %d bytes in a message with %d: %w", size, left-n, ErrDesync)
		}
		if err != nil || size == 0 {
			return n, false, err
		}
		if n += size; done {
			return n, true, nil
		}
	}
	return n, true, nil
}

func (f *kafkaField) in(version int16) bool {
	return version >= f.from && (f.to == 0 || version < f.to)
}

// field reads one field; size 0 waits for more bytes.
func (w *kafkaWalk) field(f *kafkaField, b []byte, left int64, take func(kafkaRole, []byte) bool) (size int64, done bool, err error) {
	if f.kind == kafkaFixed {
		size = int64(f.size)
		if f.role != kafkaPlain {
			if int64(len(b)) < size {
				return 0, false, nil
			}
			done = take(f.role, b[:size])
		}
		w.levels[w.depth-1].at++
		return size, done, nil
	}
	length, head, err := w.length(f.kind, b)
	if head == 0 || err != nil {
		return 0, false, err
	}
	if f.kind == kafkaArray || f.kind == kafkaStructs {
		if length > left || w.depth > kafkaMaxDepth {
			return 0, false, fmt.Errorf("array of %d in %d bytes: %w", length, left, ErrDesync)
		}
		w.levels[w.depth-1].at++
		if length > 0 {
			w.begin(f.fields, length, f.kind == kafkaStructs)
		}
		return int64(head), false, nil
	}
	size = int64(head) + max(length, 0)
	if f.role != kafkaPlain && length <= kafkaMaxText {
		if int64(len(b)) < size {
			return 0, false, nil
		}
		done = take(f.role, b[head:size])
	} else if f.role != kafkaPlain {
		done = take(f.role, nil)
	}
	w.levels[w.depth-1].at++
	return size, done, nil
}

// length reads how long a string or an array is, -1 for null; head is 0 where more bytes are needed.
func (w *kafkaWalk) length(kind kafkaKind, b []byte) (length int64, head int, err error) {
	switch {
	case w.flexible:
		var n uint64
		n, head, err = kafkaUvarint(b)
		return int64(n) - 1, head, err
	case kind == kafkaText:
		if len(b) < 2 {
			return 0, 0, nil
		}
		length, head = int64(int16(binary.BigEndian.Uint16(b))), 2
	default:
		if len(b) < 4 {
			return 0, 0, nil
		}
		length, head = int64(int32(binary.BigEndian.Uint32(b))), 4
	}
	if length < -1 {
		err = fmt.Errorf("length %d: %w", length, ErrDesync)
	}
	return length, head, err
}

// tagged passes over the fields at the end of a structure that only some versions know: their number, or one of them.
func (w *kafkaWalk) tagged(l *kafkaLevel, b []byte, take func(kafkaRole, []byte) bool) (int64, error) {
	n, head, err := kafkaUvarint(b)
	if head == 0 || err != nil {
		return 0, err
	}
	size := int64(head)
	if l.tags < 0 {
		l.tags = int64(n)
	} else {
		length, more, err := kafkaUvarint(b[head:])
		if more == 0 || err != nil {
			return 0, err
		}
		if w.replica > 0 && w.depth == 1 && n == w.replica && length >= 4 {
			if len(b) < head+more+4 {
				return 0, nil
			}
			take(kafkaReplica, b[head+more:])
		}
		size += int64(more) + int64(length)
		l.tags--
	}
	if l.tags == 0 {
		l.next()
	}
	return size, nil
}

// next goes to the next element.
func (l *kafkaLevel) next() { l.at, l.left, l.tags = 0, l.left-1, -1 }

// kafkaUvarint reads an unsigned varint of at most 32 bits; size is 0 where more bytes are needed.
func kafkaUvarint(b []byte) (n uint64, size int, err error) {
	n, size = binary.Uvarint(b[:min(len(b), 5)])
	if size < 0 || size == 0 && len(b) >= 5 || n > 1<<32-1 {
		return 0, 0, fmt.Errorf("varint: %w", ErrDesync)
	}
	return n, size, nil
}
