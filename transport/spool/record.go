package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The format of a segment; docs/formats/spool.md describes it.
const (
	formatVersion = 1
	magic         = "vtchspl"      // and the version, one byte
	headerSize    = len(magic) + 1 // of a segment
	recordSize    = 36             // of a record without its body
	maxBody       = 16 << 20
)

// Where the fields of a record lie.
const (
	atDone       = 0 // one byte, the only one that changes; three more are zero
	atSum        = 4 // of all that follows
	atLength     = 8
	atTime       = 12
	atSamples    = 20
	atHistograms = 24
)

// errCorrupt is anything that a spool cannot have written, or that was damaged since.
var errCorrupt = errors.New("corrupt spool")

// Batch is what is sent at once.
type Batch struct {
	Body                []byte
	Time                int64 // Unix ms of the oldest sample in it
	Samples, Histograms uint32
}

// Count is the number of samples of all kinds.
func (b *Batch) Count() int { return int(b.Samples) + int(b.Histograms) }

// Size is what the batch takes on disk, in bytes.
func (b *Batch) Size() int64 { return recordSize + int64(len(b.Body)) }

func table() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// appendRecord writes a batch that is still to be sent.
func appendRecord(out []byte, b *Batch) []byte {
	start := len(out)
	out = append(out, make([]byte, recordSize)...)
	h := out[start:]
	le := binary.LittleEndian
	le.PutUint32(h[atLength:], uint32(len(b.Body)))
	le.PutUint64(h[atTime:], uint64(b.Time))
	le.PutUint32(h[atSamples:], b.Samples)
	le.PutUint32(h[atHistograms:], b.Histograms)
	out = append(out, b.Body...)
	le.PutUint32(out[start+atSum:], crc32.Checksum(out[start+atLength:], table()))
	return out
}

// header is a record without its body.
type header struct {
	Batch
	done   bool
	sum    uint32
	length int64 // of the body
}

func (h *header) size() int64 { return recordSize + h.length }

// readHeader reads the record at an offset of a segment of size bytes. Its checksum is not looked at.
func readHeader(r io.ReaderAt, at, size int64) (h header, raw [recordSize]byte, err error) {
	if size-at < recordSize {
		return h, raw, fmt.Errorf("%w: a record breaks off at byte %d", errCorrupt, at)
	}
	if _, err := r.ReadAt(raw[:], at); err != nil {
		return h, raw, fmt.Errorf("read record at byte %d: %w", at, ended(err))
	}
	le := binary.LittleEndian
	h.done, h.sum, h.length = raw[atDone] != 0, le.Uint32(raw[atSum:]), int64(le.Uint32(raw[atLength:]))
	h.Time, h.Samples, h.Histograms = int64(le.Uint64(raw[atTime:])), le.Uint32(raw[atSamples:]), le.Uint32(raw[atHistograms:])
	if h.length > maxBody || h.length > size-at-recordSize {
		return h, raw, fmt.Errorf("%w: the record at byte %d is longer than its file", errCorrupt, at)
	}
	return h, raw, nil
}

// headerOnly is readHeader for those who do not want the raw bytes.
func headerOnly(r io.ReaderAt, at, size int64) (header, error) {
	h, _, err := readHeader(r, at, size)
	return h, err
}

// readRecord reads the record at an offset with its body and checks it.
func readRecord(r io.ReaderAt, at, size int64) (header, error) {
	h, raw, err := readHeader(r, at, size)
	if err != nil {
		return h, err
	}
	h.Body = make([]byte, h.length)
	if _, err := r.ReadAt(h.Body, at+recordSize); err != nil && h.length > 0 {
		return h, fmt.Errorf("read record at byte %d: %w", at, ended(err))
	}
	if sum := crc32.Update(crc32.Checksum(raw[atLength:], table()), table(), h.Body); sum != h.sum {
		return h, fmt.Errorf("%w: the record at byte %d does not fit its checksum", errCorrupt, at)
	}
	return h, nil
}

// ended tells a file that is shorter than it was from a disk in trouble.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errCorrupt
	}
	return err
}
