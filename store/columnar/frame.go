package columnar

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/klauspost/compress/s2"
)

// A segment of the write-ahead log is a header and frames, one for each batch; see docs/formats/columnar-store.md.
const (
	segmentMagic    = "vetchwal"
	segmentFormat   = 1
	segmentHeader   = len(segmentMagic) + 4 + 8 + 4 // magic, format, next number, checksum
	frameHeader     = 4 + 4 + 8                     // length of the body, checksum, number of the first record
	maxFrameBody    = maxBatchBytes + maxBatchBytes/4
	maxFrameDecoded = maxBatchBytes + maxBatch*(maxFields*2*binary.MaxVarintLen32+4*binary.MaxVarintLen64)
)

// What is wrong with bytes of a log.
var (
	errTorn    = errors.New("it ends in the middle of a batch")
	errCorrupt = errors.New("its bytes are not those that were written")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is the records of one frame; they have the numbers first, first+1, ...
type batch struct {
	first   uint64
	records []Record
}

// appendSegmentHeader begins a segment in which the first record has the number next.
func appendSegmentHeader(b []byte, next uint64) []byte {
	start := len(b)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, segmentFormat)
	b = binary.LittleEndian.AppendUint64(b, next)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// appendFrame appends a frame with body, which encodeRecords made.
func appendFrame(b []byte, first uint64, body []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	number := binary.LittleEndian.AppendUint64(nil, first)
	b = binary.LittleEndian.AppendUint32(b, crc32.Update(crc32.Checksum(number, castagnoli), castagnoli, body))
	b = append(b, number...)
	return append(b, body...)
}

// encodeRecords is the body of a frame: the records one after another, compressed by S2.
func encodeRecords(records []Record) []byte {
	raw := binary.AppendUvarint(nil, uint64(len(records)))
	for i := range records {
		r := &records[i]
		raw = binary.AppendVarint(raw, r.Time.UnixNano())
		raw = appendText(raw, r.Message)
		for _, list := range [2][]Field{r.Stream, r.Fields} {
			raw = binary.AppendUvarint(raw, uint64(len(list)))
			for _, f := range list {
				raw = appendText(appendText(raw, f.Name), f.Value)
			}
		}
	}
	return s2.Encode(nil, raw)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// readSegmentHeader returns the number of the first record.
func readSegmentHeader(b []byte) (next uint64, err error) {
	switch {
	case len(b) < segmentHeader:
		return 0, errTorn
	case string(b[:len(segmentMagic)]) != segmentMagic,
		crc32.Checksum(b[:segmentHeader-4], castagnoli) != binary.LittleEndian.Uint32(b[segmentHeader-4:]):
		return 0, errCorrupt
	}
	if format := binary.LittleEndian.Uint32(b[len(segmentMagic):]); format != segmentFormat {
		return 0, fmt.Errorf("%w: format %d is not known", errCorrupt, format)
	}
	return binary.LittleEndian.Uint64(b[len(segmentMagic)+4:]), nil
}

// readFrame reads the frame at the beginning of b and returns what is behind it. At the end of b the error is io.EOF; errTorn says that b
// ends before the frame does.
func readFrame(b []byte) (batch, []byte, error) {
	if len(b) == 0 {
		return batch{}, nil, io.EOF
	}
	if len(b) < frameHeader {
		return batch{}, nil, errTorn
	}
	n := binary.LittleEndian.Uint32(b)
	if n > maxFrameBody {
		return batch{}, nil, errCorrupt
	}
	if uint64(len(b)-frameHeader) < uint64(n) {
		return batch{}, nil, errTorn
	}
	checked, rest := b[8:frameHeader+int(n)], b[frameHeader+int(n):]
	if crc32.Checksum(checked, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return batch{}, nil, errCorrupt
	}
	records, err := decodeRecords(checked[8:])
	return batch{binary.LittleEndian.Uint64(checked), records}, rest, err
}

// decodeRecords reads what encodeRecords wrote. The records own their bytes.
func decodeRecords(body []byte) ([]Record, error) {
	if n, err := s2.DecodedLen(body); err != nil || n > maxFrameDecoded {
		return nil, errCorrupt
	}
	raw, err := s2.Decode(nil, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	d := decoder{text: string(raw)}
	n := d.count(maxBatch)
	records := make([]Record, 0, n)
	for range n {
		r := Record{Time: time.Unix(0, d.varint()), Message: d.string()}
		for _, list := range [2]*[]Field{&r.Stream, &r.Fields} {
			for range d.count(maxFields) {
				*list = append(*list, Field{d.string(), d.string()})
			}
		}
		if d.bad {
			return nil, errCorrupt
		}
		records = append(records, r)
	}
	if d.bad || d.text != "" {
		return nil, errCorrupt
	}
	return records, nil
}

// decoder takes values from the beginning of text; what does not fit makes it bad, and all that follows is zero.
type decoder struct {
	text string
	bad  bool
}

func (d *decoder) take(n int) {
	if n <= 0 {
		d.bad, d.text = true, ""
		return
	}
	d.text = d.text[n:]
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint([]byte(d.text[:min(len(d.text), binary.MaxVarintLen64)]))
	d.take(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint([]byte(d.text[:min(len(d.text), binary.MaxVarintLen64)]))
	d.take(n)
	return v
}

func (d *decoder) count(limit int) int {
	v := d.uvarint()
	if v > uint64(limit) || v > uint64(len(d.text)) {
		d.bad, d.text = true, ""
		return 0
	}
	return int(v)
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.text)) {
		d.bad, d.text = true, ""
		return ""
	}
	s := d.text[:n]
	d.text = d.text[n:]
	return s
}
