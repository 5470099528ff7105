package protocol

import (
	"encoding/binary"
	"fmt"
)

// Frame types (RFC 9113, section 6).
const (
	http2Data         = 0x0
	http2Headers      = 0x1
	http2Priority     = 0x2
	http2Reset        = 0x3
	http2Settings     = 0x4
	http2PushPromise  = 0x5
	http2Ping         = 0x6
	http2GoAway       = 0x7
	http2WindowUpdate = 0x8
	http2Continuation = 0x9
)

// Flags of frames. Acknowledgements of SETTINGS and PING have the bit that ends a stream elsewhere.
const (
	http2EndStream   = 0x01
	http2Ack         = 0x01
	http2EndHeaders  = 0x04
	http2Padded      = 0x08
	http2HasPriority = 0x20
)

// Error codes (RFC 9113, section 7).
const (
	http2NoError            = 0x0
	http2RefusedStream      = 0x7
	http2Cancel             = 0x8
	http2EnhanceYourCalm    = 0xb
	http2InadequateSecurity = 0xc
)

var http2Errors = []string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
	"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

const (
	http2Preface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	http2HeadSize  = 9
	http2FrameSize = 16 << 10 // bytes that a frame has by default; more is negotiated for DATA alone in practice
	http2Frames    = 16       // frames that detection looks at
)

var errHTTP2Frame = fmt.Errorf("frame: %w", ErrDesync)

// http2Frame is the head of a frame (section 4.1).
type http2Frame struct {
	length int64
	kind   byte
	flags  byte
	stream uint32
}

func http2Head(b []byte) http2Frame {
	return http2Frame{
		length: int64(binary.BigEndian.Uint32(b) >> 8), kind: b[3], flags: b[4],
		stream: binary.BigEndian.Uint32(b[5:]) &^ (1 << 31), // one bit is reserved
	}
}

func (f http2Frame) is(flag byte) bool { return f.flags&flag != 0 }

// valid says whether a peer may send such a frame. Kinds that are not known are to be ignored (section 5.5).
func (f http2Frame) valid(d Direction) bool {
	ours := f.stream&1 == 1 // by the client; a server may push on the others
	switch f.kind {
	case http2Data, http2Headers, http2Continuation:
		return ours || d == FromServer && f.stream != 0
	case http2Priority:
		return f.length == 5 && f.stream != 0
	case http2Reset:
		return f.length == 4 && f.stream != 0
	case http2Settings:
		return f.length%6 == 0 && f.stream == 0 && (!f.is(http2Ack) || f.length == 0)
	case http2PushPromise:
		return d == FromServer && ours
	case http2Ping:
		return f.length == 8 && f.stream == 0
	case http2GoAway:
		return f.length >= 8 && f.stream == 0
	case http2WindowUpdate:
		return f.length == 4
	}
	return f.length <= http2FrameSize
}

// likely says whether a frame may be met anywhere in a connection: one of a known kind, of usual size, without flags that have no meaning.
func (f http2Frame) likely(d Direction) bool {
	if f.kind >= byte(len(http2Flags)) || f.flags&^http2Flags[f.kind] != 0 || f.length > http2FrameSize {
		return false
	}
	return f.valid(d)
}

var http2Flags = [...]byte{
	http2Data:         http2EndStream | http2Padded,
	http2Headers:      http2EndStream | http2EndHeaders | http2Padded | http2HasPriority,
	http2Priority:     0,
	http2Reset:        0,
	http2Settings:     http2Ack,
	http2PushPromise:  http2EndHeaders | http2Padded,
	http2Ping:         http2Ack,
	http2GoAway:       0,
	http2WindowUpdate: 0,
	http2Continuation: http2EndHeaders,
}

// fragment is the part of a header list in a frame whose payload is b (sections 6.2, 6.6, 6.10).
func (f http2Frame) fragment(b []byte) ([]byte, error) {
	before, behind := 0, 0
	if f.is(http2Padded) && f.kind != http2Continuation {
		if len(b) == 0 {
			return nil, errHTTP2Frame
		}
		before, behind = 1, int(b[0])
	}
	switch {
	case f.kind == http2Headers && f.is(http2HasPriority):
		before += 5
	case f.kind == http2PushPromise:
		before += 4
	}
	if before+behind > len(b) {
		return nil, errHTTP2Frame
	}
	return b[before : len(b)-behind], nil
}

func detectHTTP2(d Direction, b []byte) Verdict {
	if d == FromClient {
		if n := min(len(b), len(http2Preface)); string(b[:n]) == http2Preface[:n] {
			if n < len(http2Preface) {
				return Maybe
			}
			return Yes
		}
	}
	return http2Fits(d, b)
}

// http2Fits walks over the frames in b. Sure is one that is whole and more than DATA, or of which a server reads the head alone, and what
// follows it must fit too.
func http2Fits(d Direction, b []byte) Verdict {
	verdict := Maybe
	for i := 0; len(b) > 0 && i < http2Frames; i++ {
		if len(b) < http2HeadSize {
			if b[0] != 0 || len(b) > 3 && b[3] >= byte(len(http2Flags)) {
				return No
			}
			return verdict
		}
		f := http2Head(b)
		if !f.likely(d) || b[5]&0x80 != 0 {
			return No
		}
		end := http2HeadSize + int(f.length)
		if len(b) < end {
			if len(b) == http2HeadSize && f.kind != http2Data && f.kind != http2Continuation {
				return Yes
			}
			return verdict
		}
		if !f.sound(b[http2HeadSize:end]) {
			return No
		}
		if f.kind != http2Data && f.kind != http2Continuation {
			verdict = Yes
		}
		b = b[end:]
	}
	return verdict
}

// sound looks into a frame of which all is there.
func (f http2Frame) sound(payload []byte) bool {
	switch f.kind {
	case http2Headers, http2PushPromise:
		list, err := f.fragment(payload)
		if err != nil || len(list) == 0 {
			return false
		}
		if f.is(http2EndHeaders) {
			_, err = newHPACKDecoder().read(list)
		}
		return err == nil
	case http2Settings:
		for ; len(payload) > 0; payload = payload[6:] {
			id, value := binary.BigEndian.Uint16(payload), binary.BigEndian.Uint32(payload[2:])
			if id == 0 || id == 2 && value > 1 || id == 4 && value > 1<<31-1 || id == 5 && (value < http2FrameSize || value >= 1<<24) {
				return false
			}
		}
	case http2WindowUpdate:
		n := binary.BigEndian.Uint32(payload)
		return n != 0 && n < 1<<31
	case http2Reset:
		return binary.BigEndian.Uint32(payload) < uint32(len(http2Errors))
	}
	return true
}
