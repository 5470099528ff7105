package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Compressors of OP_COMPRESSED.
const (
	mongoPlain  = 0
	mongoSnappy = 1
	mongoZlib   = 2
	mongoZstd   = 3
)

const (
	mongoPackedHead = 9        // bytes before what is compressed
	mongoMaxPacked  = 32 << 10 // bytes of it that are looked at
	mongoMaxUnpack  = 64 << 10 // bytes that are made of them
	mongoMaxRatio   = 32       // likewise, of one
	mongoWindow     = 8 << 20  // bytes that a frame of zstd may look back
)

// packed says how many bytes of an OP_COMPRESSED are needed, 0 to wait for them.
func (m *mongoMessage) packed(b []byte) (int64, error) {
	want := min(m.left, mongoPackedHead+mongoMaxPacked)
	if int64(len(b)) < want {
		return 0, nil
	}
	return want, nil
}

// mongoUnpackers decompress the beginnings of messages. They are shared by all connections, as a decompressor is large.
type mongoUnpackers struct{ pool sync.Pool }

func newMongoUnpackers() *mongoUnpackers {
	return &mongoUnpackers{sync.Pool{New: func() any { return &mongoUnpacker{} }}}
}

// mongoUnpacker decompresses one message at a time.
type mongoUnpacker struct {
	out  []byte
	zlib io.ReadCloser
	zstd *zstd.Decoder
}

// read reads the message that b, the body of an OP_COMPRESSED or its beginning, holds. What is behind the bound stays unread:
// commands begin with their name, and answers that report a failure begin with it.
func (u *mongoUnpackers) read(m *mongoMessage, b []byte) error {
	op, size := mongoInt(b, 0), int64(mongoInt(b, 4))
	d := Direction(b2i(m.answer))
	if op == mongoCompressed || size < mongoLeast(op, d) || size > mongoMaxSize {
		return fmt.Errorf("opcode %d with %d bytes, compressed: %w", op, size, ErrDesync)
	}
	x := u.pool.Get().(*mongoUnpacker)
	defer u.pool.Put(x)
	packed := b[mongoPackedHead:]
	body := x.unpack(b[8], packed, int(min(size, mongoMaxUnpack, int64(1<<10+mongoMaxRatio*len(packed)))))
	outer := m.left
	m.op, m.first, m.left = op, op, size
	for {
		size, done, err := m.part(body)
		if err == nil && size > m.left {
			err = fmt.Errorf("section of %d bytes in a message with %d: %w", size, m.left, ErrDesync)
		}
		if err != nil || done || size == 0 || size >= m.left {
			m.left = outer
			return err
		}
		m.left -= size
		if size >= int64(len(body)) {
			m.left = outer
			return nil
		}
		body = body[size:]
	}
}

// unpack returns at most the first limit bytes. It returns what it could make of bytes that are cut or damaged.
func (x *mongoUnpacker) unpack(compressor byte, packed []byte, limit int) []byte {
	if cap(x.out) < limit {
		x.out = make([]byte, mongoMaxUnpack)
	}
	out := x.out[:limit]
	switch compressor {
	case mongoPlain:
		return packed[:min(limit, len(packed))]
	case mongoSnappy:
		return unpackSnappy(out[:0], packed, limit)
	case mongoZlib:
		return x.unzlib(out, packed)
	case mongoZstd:
		return x.unzstd(out, packed)
	}
	return nil
}

func (x *mongoUnpacker) unzlib(out, packed []byte) []byte {
	var err error
	if x.zlib == nil {
		x.zlib, err = zlib.NewReader(bytes.NewReader(packed))
	} else {
		err = x.zlib.(zlib.Resetter).Reset(bytes.NewReader(packed), nil)
	}
	if err != nil {
		x.zlib = nil
		return nil
	}
	n, _ := io.ReadFull(x.zlib, out)
	return out[:n]
}

func (x *mongoUnpacker) unzstd(out, packed []byte) []byte {
	var err error
	if x.zstd == nil {
		x.zstd, err = zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(mongoWindow), zstd.IgnoreChecksum(true))
	} else {
		err = x.zstd.Reset(bytes.NewReader(packed))
	}
	if err != nil {
		return nil
	}
	n, _ := io.ReadFull(x.zstd, out)
	return out[:n]
}

// unpackSnappy appends to out, up to limit, what a block holds (https://github.com/google/snappy/blob/main/format_description.txt).
// The libraries for it can only do whole blocks.
func unpackSnappy(out, b []byte, limit int) []byte {
	_, n := binary.Uvarint(b)
	if n <= 0 {
		return nil
	}
	for b = b[n:]; len(b) > 0 && len(out) < limit; {
		tag := b[0]
		b = b[1:]
		if tag&3 == 0 {
			size, extra := int(tag>>2)+1, 0
			if size > 60 {
				extra = size - 60
				if len(b) < extra {
					return out
				}
				size = 0
				for i := range extra {
					size |= int(b[i]) << (8 * i)
				}
				size++
			}
			b = b[extra:]
			size = min(size, len(b))
			out = append(out, b[:min(size, limit-len(out))]...)
			b = b[size:]
			continue
		}
		size, back, extra := int(tag>>2)+1, 0, int(tag&3)
		if extra == 3 {
			extra = 4
		}
		if len(b) < extra {
			return out
		}
		switch extra {
		case 1:
			size, back = int(tag>>2&7)+4, int(tag>>5)<<8|int(b[0])
		case 2:
			back = int(binary.LittleEndian.Uint16(b))
		case 4:
			back = int(binary.LittleEndian.Uint32(b))
		}
		b = b[extra:]
		if back == 0 || back > len(out) {
			return out
		}
		for range min(size, limit-len(out)) { // what is copied may be what was just written
			out = append(out, out[len(out)-back])
		}
	}
	return out
}
