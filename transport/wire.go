package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// errWire is any way in which bytes are not protocol buffers.
var errWire = errors.New("malformed protocol buffers")

// field is one field of a message. bytes points into the message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bytes  []byte // kind BytesType
	bits   uint64 // kinds VarintType, Fixed64Type, Fixed32Type
}

// next takes one field off the message. It does not allocate.
func next(msg []byte) (f field, rest []byte, err error) {
	tag, n := binary.Uvarint(msg)
	if n <= 0 || tag>>3 == 0 || tag>>3 > math.MaxInt32 {
		return f, nil, fmt.Errorf("%w: bad tag", errWire)
	}
	msg = msg[n:]
	f.number, f.kind = protowire.Number(tag>>3), protowire.Type(tag&7)
	switch f.kind {
	case protowire.VarintType:
		f.bits, n = binary.Uvarint(msg)
		if n <= 0 {
			return f, nil, fmt.Errorf("%w: bad varint in field %d", errWire, f.number)
		}
		return f, msg[n:], nil
	case protowire.BytesType:
		length, n := binary.Uvarint(msg)
		if n <= 0 || length > uint64(len(msg)-n) {
			return f, nil, fmt.Errorf("%w: field %d is longer than its message", errWire, f.number)
		}
		f.bytes = msg[n : n+int(length)]
		return f, msg[n+int(length):], nil
	case protowire.Fixed64Type:
		if len(msg) >= 8 {
			f.bits = binary.LittleEndian.Uint64(msg)
			return f, msg[8:], nil
		}
	case protowire.Fixed32Type:
		if len(msg) >= 4 {
			f.bits = uint64(binary.LittleEndian.Uint32(msg))
			return f, msg[4:], nil
		}
	}
	return f, nil, fmt.Errorf("%w: field %d has kind %d or breaks off", errWire, f.number, f.kind)
}

// is reports whether the field has that number, and fails if it then has another kind.
func (f field) is(number protowire.Number, kind protowire.Type) (bool, error) {
	if f.number != number {
		return false, nil
	}
	if f.kind != kind {
		return false, fmt.Errorf("%w: field %d has kind %d, not %d", errWire, number, f.kind, kind)
	}
	return true, nil
}

// sample is one float sample. start is 0 in version 1.0.
type sample struct {
	value     float64
	timestamp int64
	start     int64
}

// decodeSample reads a Sample of either version: value=1, timestamp=2, start_timestamp=3.
func decodeSample(msg []byte) (s sample, err error) {
	for len(msg) > 0 {
		var f field
		if f, msg, err = next(msg); err != nil {
			return s, err
		}
		switch {
		case f.number == 1 && f.kind == protowire.Fixed64Type:
			s.value = math.Float64frombits(f.bits)
		case f.number == 2 && f.kind == protowire.VarintType:
			s.timestamp = int64(f.bits)
		case f.number == 3 && f.kind == protowire.VarintType:
			s.start = int64(f.bits)
		case f.number <= 3:
			return s, fmt.Errorf("%w: field %d of a sample has kind %d", errWire, f.number, f.kind)
		}
	}
	return s, nil
}
