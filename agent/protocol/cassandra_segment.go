package protocol

import "fmt"

// cqlSegment is the head of a segment, which version 5 wraps envelopes in (section 2.2 of its specification).
type cqlSegment struct {
	compressed    bool // the head is of the kind that connections with compression have
	selfContained bool // only whole envelopes; else it is one part of a large one
	head          int  // bytes
	payload       int  // bytes as they come
	plain         int  // bytes without compression, 0 if it has none
}

const cqlSegmentEnd = 4 // bytes of the checksum behind a payload

// readCQLSegment reads a head. It says no when the checksum is wrong or bytes are missing.
func readCQLSegment(b []byte, compressed bool) (s cqlSegment, ok bool) {
	size := 3
	if compressed {
		size = 5
	}
	if len(b) < size+3 {
		return s, false
	}
	var bits uint64
	for i := range size {
		bits |= uint64(b[i]) << (8 * i)
	}
	sum := uint32(b[size]) | uint32(b[size+1])<<8 | uint32(b[size+2])<<16
	s = cqlSegment{compressed: compressed, head: size + 3, payload: int(bits & 0x1ffff)}
	bits >>= 17
	if compressed {
		s.plain = int(bits & 0x1ffff)
		bits >>= 17
	}
	s.selfContained = bits&1 != 0
	return s, bits>>1 == 0 && sum == crc24(b[:size])
}

// crc24 is the checksum of a head: polynomial 0x974f0b, begun with 0x875060.
func crc24(b []byte) uint32 {
	sum := uint32(0x875060)
	for _, c := range b {
		sum ^= uint32(c) << 16
		for range 8 {
			if sum <<= 1; sum&0x1000000 != 0 {
				sum ^= 0x1974f0b
			}
		}
	}
	return sum
}

// cqlSegments takes envelopes out of the segments of one direction.
type cqlSegments struct {
	on         bool
	compressed bool
	payload    int       // bytes of the segment at hand that are still to come
	end        int       // bytes of the checksum behind it, likewise
	block      *lz4Block // of a compressed one
	taken      int       // bytes of the block that were handed on
	plain      []byte    // the beginning of an envelope that is not whole
	skip       int64     // bytes of envelopes that are not needed
}

// feed hands what is in the segments to next, which says how much of it was consumed and how much need not be shown.
func (s *cqlSegments) feed(b []byte, next func(plain []byte) (int, int64, error)) (consumed int, skip int64, err error) {
	for consumed < len(b) {
		rest := b[consumed:]
		switch {
		case s.payload > 0:
			used, over, err := s.feedPayload(rest, next)
			if err != nil || used == 0 {
				return consumed, 0, err
			}
			if consumed += used; over > 0 {
				return consumed, over, nil
			}
		case s.end > 0:
			n := min(s.end, len(rest))
			s.end -= n
			consumed += n
		default:
			head, ok := readCQLSegment(rest, s.compressed)
			if !ok {
				if len(rest) < 8 {
					return consumed, 0, nil
				}
				return consumed, 0, fmt.Errorf("no head of a segment: %w", ErrDesync)
			}
			s.payload, s.end, s.block, s.taken = head.payload, cqlSegmentEnd, nil, 0
			if head.plain > 0 {
				s.block = &lz4Block{limit: head.plain}
			}
			consumed += head.head
		}
	}
	return consumed, 0, nil
}

// feedPayload takes bytes of a payload. over says how many of those that follow need not be shown.
func (s *cqlSegments) feedPayload(b []byte, next func(plain []byte) (int, int64, error)) (used int, over int64, err error) {
	data := b[:min(s.payload, len(b))]
	if s.block == nil {
		used = len(data)
		if all := int64(s.payload); s.skip >= all && used < s.payload {
			s.skip -= all
			over, s.payload = all-int64(used), 0
			return used, over, nil
		}
		s.payload -= used
		return used, 0, s.take(data, next)
	}
	if used, err = s.block.decode(data); err != nil {
		return 0, 0, err
	}
	if len(data) == s.payload && (used < len(data) || len(s.block.out) < s.block.limit) {
		return 0, 0, fmt.Errorf("LZ4 block that ends too early: %w", ErrDesync)
	}
	s.payload -= used
	fresh := s.block.out[s.taken:]
	s.taken = len(s.block.out)
	if s.payload == 0 {
		s.block = nil
	}
	return used, 0, s.take(fresh, next)
}

// take hands on bytes of envelopes.
func (s *cqlSegments) take(data []byte, next func(plain []byte) (int, int64, error)) error {
	n := min(s.skip, int64(len(data)))
	s.skip -= n
	if data = data[n:]; len(data) == 0 {
		return nil
	}
	plain := data
	if len(s.plain) > 0 {
		plain = append(s.plain, data...)
	}
	consumed, skip, err := next(plain)
	s.plain, s.skip = append(s.plain[:0], plain[consumed:]...), skip
	if len(s.plain) == 0 && cap(s.plain) > 8<<10 {
		s.plain = nil
	}
	return err
}
