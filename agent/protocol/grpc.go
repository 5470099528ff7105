package protocol

import (
	"bytes"
	"encoding/binary"
)

// grpcCodes are the canonical names by number (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md).
var grpcCodes = []string{
	"ok", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// grpcCode names the value of the header grpc-status.
func grpcCode(b []byte) string {
	if n, ok := digits(b); ok && n < int64(len(grpcCodes)) {
		return grpcCodes[n]
	}
	return "UNKNOWN"
}

// grpcFailed says whether a code is a fault of the server, as a 5xx is in HTTP. The others are the client's doing or an answer.
// The set is that of OpenTelemetry for server spans (https://opentelemetry.io/docs/specs/semconv/rpc/grpc/).
func grpcFailed(code string) bool {
	switch code {
	case "UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS":
		return true
	}
	return false
}

// grpcCodeOfHTTP is what a client makes of an answer without grpc-status
// (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md).
func grpcCodeOfHTTP(status string) string {
	switch status {
	case "400":
		return "INTERNAL"
	case "401":
		return "UNAUTHENTICATED"
	case "403":
		return "PERMISSION_DENIED"
	case "404":
		return "UNIMPLEMENTED"
	case "429", "502", "503", "504":
		return "UNAVAILABLE"
	}
	return "UNKNOWN"
}

// grpcCodeOfReset is what a client makes of a stream that was reset (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors).
func grpcCodeOfReset(code uint32) string {
	switch code {
	case http2RefusedStream:
		return "UNAVAILABLE"
	case http2Cancel:
		return "CANCELLED"
	case http2EnhanceYourCalm:
		return "RESOURCE_EXHAUSTED"
	case http2InadequateSecurity:
		return "PERMISSION_DENIED"
	}
	return "INTERNAL"
}

// isGRPC says whether a content type is that of gRPC: application/grpc, also with a format behind it. gRPC-Web is something else.
func isGRPC(contentType []byte) bool {
	rest, ok := bytes.CutPrefix(contentType, []byte("application/grpc"))
	return ok && (len(rest) == 0 || rest[0] == '+' || rest[0] == ';' || rest[0] == ' ')
}

const grpcPrefix = 5 // bytes before each message: whether it is compressed, and its length

// grpcMessages counts the messages of one direction of a call. A message begins with its prefix, and counts when that is whole.
type grpcMessages struct {
	count  int64
	told   int64 // of count
	prefix [grpcPrefix]byte
	have   int   // bytes of prefix
	left   int64 // bytes of the message at hand
	broken bool  // bytes were missed, or are no messages: nobody knows where one begins
}

// take passes over n bytes of a stream, of which data are there. It returns how many it could pass: fewer than n if the prefix of a message
// is not there yet.
func (m *grpcMessages) take(data []byte, n int64) (passed int64) {
	for passed < n && !m.broken {
		if m.left > 0 {
			k := min(m.left, n-passed)
			m.left -= k
			passed += k
			continue
		}
		if passed >= int64(len(data)) {
			return passed
		}
		k := copy(m.prefix[m.have:], data[passed:])
		m.have += k
		passed += int64(k)
		if m.have == grpcPrefix {
			if m.prefix[0] > 1 {
				m.broken = true
				break
			}
			m.have, m.left = 0, int64(binary.BigEndian.Uint32(m.prefix[1:]))
			m.count++
		}
	}
	return n
}
