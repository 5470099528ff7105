package protocol

import (
	"encoding/binary"
	"fmt"
)

// lz4Block decompresses one LZ4 block as its bytes come (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md). What is beyond
// limit is not kept, so the beginning of a large block costs no more than that.
type lz4Block struct {
	out      []byte
	limit    int
	literals int  // of the sequence at hand, still to come
	length   byte // of its match, the four bits of the token
	state    lz4State
}

type lz4State uint8

const (
	lz4Token lz4State = iota
	lz4Literals
	lz4Match
)

// decode takes bytes of the block and returns how many it used; the rest is offered again with more behind it.
func (z *lz4Block) decode(in []byte) (used int, err error) {
	for used < len(in) {
		rest := in[used:]
		switch z.state {
		case lz4Token:
			n, size, ok := lz4Length(rest[1:], int(rest[0]>>4))
			if !ok {
				return used, z.check(rest)
			}
			z.literals, z.length, z.state = n, rest[0]&15, lz4Literals
			used += 1 + size
			if n == 0 {
				z.state = lz4Match
			}
		case lz4Literals:
			n := min(z.literals, len(rest))
			z.out = append(z.out, rest[:min(n, z.limit-len(z.out))]...)
			used, z.literals = used+n, z.literals-n
			if z.literals == 0 {
				z.state = lz4Match
			}
		case lz4Match:
			if len(rest) < 2 {
				return used, nil
			}
			n, size, ok := lz4Length(rest[2:], int(z.length))
			if !ok {
				return used, z.check(rest)
			}
			if z.out, ok = copyBack(z.out, int(binary.LittleEndian.Uint16(rest)), n+4, z.limit); !ok {
				return used, fmt.Errorf("LZ4 block that looks back too far: %w", ErrDesync)
			}
			used += 2 + size
			z.state = lz4Token
		}
	}
	return used, nil
}

// check bounds a length that does not end.
func (z *lz4Block) check(rest []byte) error {
	if len(rest) > 1<<12 {
		return fmt.Errorf("length without end in an LZ4 block: %w", ErrDesync)
	}
	return nil
}

// lz4Length reads what a length of 15 has behind it.
func lz4Length(b []byte, n int) (length, size int, ok bool) {
	if n < 15 {
		return n, 0, true
	}
	for i, c := range b {
		if n += int(c); c < 0xff {
			return n, i + 1, true
		}
	}
	return 0, 0, false
}

// lz4Prefix decompresses at most limit bytes from the beginning of a block that may be cut.
func lz4Prefix(b []byte, limit int) []byte {
	z := lz4Block{limit: limit}
	_, _ = z.decode(b) // what is odd further on does not matter
	return z.out
}

// snappyPrefix decompresses at most limit bytes from the beginning of a Snappy block that may be cut, and says how long the whole is
// (https://github.com/google/snappy/blob/main/format_description.txt).
func snappyPrefix(b []byte, limit int) (out []byte, whole uint64) {
	whole, size := binary.Uvarint(b)
	if size <= 0 {
		return nil, 0
	}
	for b = b[size:]; len(b) > 0 && len(out) < limit; {
		tag := b[0]
		n := int(tag>>2) + 1
		var offset int
		b = b[1:]
		switch tag & 3 {
		case 0:
			if extra := n - 60; extra > 0 {
				if len(b) < extra {
					return out, whole
				}
				n = int(littleEndian(b[:extra])) + 1
				b = b[extra:]
			}
			got := min(n, len(b))
			out = append(out, b[:min(got, limit-len(out))]...)
			b = b[got:]
			continue
		case 1:
			if len(b) < 1 {
				return out, whole
			}
			n, offset, b = n-1&7+4, int(tag>>5)<<8|int(b[0]), b[1:]
		default:
			size := int(tag&3-1) * 2
			if len(b) < size {
				return out, whole
			}
			offset, b = int(littleEndian(b[:size])), b[size:]
		}
		var ok bool
		if out, ok = copyBack(out, offset, n, limit); !ok {
			return out, whole
		}
	}
	return out, whole
}

// littleEndian reads up to 4 bytes.
func littleEndian(b []byte) (n uint32) {
	for i := len(b) - 1; i >= 0; i-- {
		n = n<<8 | uint32(b[i])
	}
	return n
}

// copyBack appends n bytes that stand offset before the end, over the end itself where they overlap, and stops at limit.
func copyBack(out []byte, offset, n, limit int) ([]byte, bool) {
	if offset <= 0 || offset > len(out) {
		return out, false
	}
	for n = min(n, limit-len(out)); n > 0; {
		part := out[len(out)-offset:]
		part = part[:min(n, len(part))]
		out = append(out, part...)
		n -= len(part)
	}
	return out, true
}
