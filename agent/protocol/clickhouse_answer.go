package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// errCHUnknown says that an answer cannot be walked over from here on.
var errCHUnknown = errors.New("not known")

// read reads one packet or a part of it.
func (a *chAnswer) read(b []byte) (size int64, whole bool, err error) {
	if a.block != nil {
		used, done, err := a.block.walk(b)
		if done {
			a.block = nil
		}
		if used == 0 && !done && len(b) >= chLook {
			err = errCHUnknown
		}
		return used, done, err
	}
	r := chReader{b: b[:min(len(b), chLook)], at: 1}
	switch a.packet = b[0]; a.packet {
	case chData, chTotals, chExtremes:
		r.text() // the name of a table
		a.block = &chBlock{revision: a.revision, compressed: a.compressed}
	case chLog, chProfileEvents:
		r.text()
		a.block = &chBlock{revision: a.revision, compressed: a.compressed && a.revision >= chWithZippedEvents}
	case chException:
		if a.code = int32(r.fixed(4)); !r.short {
			return int64(len(b)), true, nil // nothing comes behind it
		}
	case chProgress:
		for range a.progress() {
			r.number()
		}
	case chPong, chEndOfStream, chReadTask:
	case chProfileInfo:
		r.number()
		r.number()
		r.number()
		r.bytes(1)
		r.number()
		r.bytes(1)
		if a.revision >= chWithAggregation {
			r.bytes(1)
			r.number()
		}
	case chTablesAnswer:
		return int64(len(b)), true, nil // likewise
	case chTableColumns:
		if a.compressed && a.revision >= chWithZippedEvents {
			return 0, false, errCHUnknown
		}
		r.text()
		r.text()
	case chPartUUIDs:
		n := r.number()
		if n > chLook {
			return 0, false, errCHUnknown
		}
		r.bytes(16 * n)
	case chTimezoneUpdate:
		r.text()
	default:
		return 0, false, errCHUnknown
	}
	if r.short {
		a.block = nil
		if len(b) >= chLook {
			return 0, false, errCHUnknown
		}
		return 0, false, nil
	}
	return int64(r.at), a.block == nil, nil
}

// progress is how many numbers tell it.
func (a *chAnswer) progress() int {
	n := 3 // rows and bytes, and rows in all
	if a.revision >= chWithTotalBytes {
		n++
	}
	if a.revision >= chWithWriteInfo {
		n += 2
	}
	if a.revision >= chWithElapsed {
		n++
	}
	return n
}

const chTail = 16 << 10 // bytes at the end of a piece in which the end of an answer is looked for

// search looks for the end of an answer in a piece that cannot be walked over: an exception, or packets from the beginning of the piece or from a
// ProfileInfo on that end with the end of the stream. It returns what packet ends it, 0 for none.
func (a *chAnswer) search(b []byte) (packet byte, code int32) {
	const name = "\x0dDB::Exception"
	if i := bytes.LastIndex(b, []byte(name)); i >= 5 && b[i-5] == chException {
		if code := binary.LittleEndian.Uint32(b[i-4:]); code < 1<<16 {
			return chException, int32(code)
		}
	}
	if b[len(b)-1] != chEndOfStream {
		return 0, 0
	}
	if a.walks(b) {
		return chEndOfStream, 0
	}
	for i := max(0, len(b)-chTail); i < len(b); i++ {
		if b[i] == chProfileInfo && a.walks(b[i:]) {
			return chEndOfStream, 0
		}
	}
	return 0, 0
}

// walks says whether b is nothing but packets, the last of them the end of the stream. Of an unknown revision both forms are tried.
func (a *chAnswer) walks(b []byte) bool {
	try := chAnswer{revision: a.revision, compressed: a.compressed}
	for steps := 0; len(b) > 0 && steps < 256; steps++ {
		size, _, err := try.read(b)
		if err != nil || size == 0 || size > int64(len(b)) || try.packet == chException {
			return false
		}
		if b = b[size:]; try.packet == chEndOfStream && try.block == nil {
			return len(b) == 0
		}
	}
	return false
}
