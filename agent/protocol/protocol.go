// Package protocol recognises what a connection speaks and matches requests with responses, from the bytes of its two directions.
package protocol

import "errors"

// Direction is who sent the bytes.
type Direction uint8

// The directions.
const (
	FromClient Direction = iota
	FromServer
)

// Limits that hold for every protocol.
const (
	MaxBuffer    = 64 << 10 // bytes of one direction that wait for the rest of a message
	MaxWaiting   = 1024     // requests of one connection that wait for a response
	MaxOperation = 107      // bytes of Exchange.Operation: as long as a route of HTTP/1 with its ellipsis
	MaxPrepared  = 256      // prepared statements of one connection whose text is remembered, the oldest forgotten first
)

// ErrDesync says that the bytes are not what the protocol allows at this place. The stream looks for the next message that it can begin at.
var ErrDesync = errors.New("bytes do not fit the protocol")

// Exchange is one operation that a client asked of a server. It never holds a literal, a value, a key, a token or a password.
type Exchange struct {
	Protocol      string // "" for that of the connection; else what the exchange is inside of it: "grpc" in HTTP/2
	Method        string // "GET"; "" in protocols without
	Operation     string // bounded and of low cardinality: "SELECT users", "GET", "publish orders", "/package.Service/Method"
	Status        string // "ok", or what the protocol calls the failure: SQLSTATE, error code or prefix. "" if the response was not seen whole
	Failed        bool
	OneWay        bool  // no response is expected (publish without confirm): End is Begin and it counts without a duration
	Begin         int64 // ns of the monotonic clock: first byte of the request
	End           int64 // ns: last byte of the response
	RequestBytes  int64
	ResponseBytes int64
	Cut           bool    // the connection ended before the response was whole
	Answer        *Answer // what DNS found; nil for all else
	// Messages are those that went each way within the operation since the Conn last told, by Direction. Only what carries a stream of
	// messages has them: a WebSocket, a gRPC call.
	Messages [2]int64
	Open     bool // the operation goes on: this only tells its Messages, and no exchange is counted
}

// Conn follows one connection. It is used by one goroutine and keeps its memory bounded.
type Conn interface {
	// Feed takes the bytes of one direction that have come and were not consumed yet; at is when the last of them came (ns).
	// It returns how many it consumed; what is left is offered again in front of the bytes that follow.
	// skip > 0 says that so many bytes after all of b belong to a message whose content is not needed: they need not be shown.
	// skip may only be > 0 when all of b is consumed.
	// The error is ErrDesync (wrapped) if the bytes do not fit; Feed is then called again only with bytes at which Resync said yes.
	// b is only valid during the call.
	Feed(d Direction, b []byte, at int64, emit func(Exchange)) (consumed int, skip int64, err error)
	// Resync says whether a message may begin at the start of b, after bytes were missed. What waited for an answer may be given up.
	Resync(d Direction, b []byte) bool
	// Close ends the connection: requests without a response are emitted as cut.
	Close(at int64, emit func(Exchange))
}

// Reporter is a Conn that tells the Messages of open operations when it is asked, which is every second or so, and at their end.
type Reporter interface {
	Report(emit func(Exchange))
}

// Lagger is a Conn that knows how far the client is behind what it reads.
type Lagger interface {
	// Lags gives the records, by topic, between where the client reads next and the end, as last heard; a topic may come in several parts.
	// now is ns of the monotonic clock. lost is how many places could not be followed since it was last asked.
	Lags(now int64, each func(topic string, records int64)) (lost uint64)
}

// Verdict is how sure detection is.
type Verdict uint8

// The verdicts.
const (
	No    Verdict = iota
	Maybe         // more bytes may tell
	Yes
)

// Protocol is one line of the table: adding a protocol is adding one of these.
type Protocol struct {
	Name string // value of the label "protocol"
	// Detect looks at the first bytes of one direction, at a message boundary. It never depends on ports, and says Yes only if
	// no other protocol of the table would be likely to begin so; binary protocols check lengths and fields against each other.
	Detect func(d Direction, b []byte) Verdict
	New    func() Conn
	// Framing tells the kernel what it may leave out. Its Conn wants nothing of that, by skip, or is a Passer.
	Framing Framing
	Matched Matched // 0: the kernel cannot match its requests. Its Conn is a Matcher
}
