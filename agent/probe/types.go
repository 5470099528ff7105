// Package probe loads the kernel programs, chooses the hooks this kernel has, and reads what they counted.
package probe

import (
	"net/netip"
	"time"
)

// OwnerID is the kernel's hash of (cgroup, executable, network namespace): the finest "who" that is told apart. Zero is "not known".
type OwnerID uint64

// ownerElsewhere marks what is of another machine on the same kernel (OWNER_ELSEWHERE in bpf/include/owner.h).
const ownerElsewhere = ^OwnerID(0)

// Owner is who opens or serves connections: all processes with one executable in one cgroup and network namespace.
// It was recorded in the kernel while the process lived, so it is there for a process that is gone.
type Owner struct {
	ID       OwnerID
	PID      uint32 // the process that was seen first, in the initial pid namespace; may be gone
	Comm     string // its thread name, at most 15 bytes
	Exe      string // base name of its executable, at most 63 bytes
	NetNS    uint32 // inode of its network namespace
	CgroupV1 uint64 // inode of its memory cgroup where version 1 is mounted, else 0
	CgroupV2 uint64 // inode of its cgroup in the unified hierarchy; 1 is the root
	PathV1   string // the last components of the cgroup's path as the kernel names them: "/kubepods/pod1/abc"; "/" is the root
	PathV2   string
}

// Role is the side of a connection that the owner is on.
type Role uint8

// The roles.
const (
	RoleUnknown Role = iota // not seen yet; such traffic is not reported
	RoleClient
	RoleServer
)

// PairKey names all connections of one owner with one peer on one service port.
type PairKey struct {
	Owner OwnerID
	Role  Role
	NetNS uint32 // the owner's network namespace
	// Local is the address on the owner's side. The port is 0 for clients (it changes with each connection).
	Local netip.AddrPort
	// Remote is the peer as the owner's socket sees it. The port is 0 for servers, but where the peer's address is the machine's own and stands for
	// another (SetOwnAddresses): there each connection is a pair of its own.
	Remote netip.AddrPort
	// Actual is for clients the destination after NAT where the other end is on this machine, else zero.
	Actual netip.AddrPort
	// Peer is the owner of the other end where that is on this machine and known, else 0.
	Peer OwnerID
	// Datagrams says that these are messages of UDP sockets and no connections. The kernel keeps no such pairs, who reads the records makes them.
	Datagrams bool
}

// ConnectError says why a connection was not established.
type ConnectError uint8

// Why connects fail. TimedOut also stands for a connect that the program gave up after at least a second without an answer.
const (
	ConnectRefused ConnectError = iota
	ConnectTimedOut
	ConnectUnreachable
	ConnectReset
	ConnectCanceled // the program closed the socket within a second, as happy eyeballs does
	ConnectOther
	NumConnectErrors
)

// String is the value of the label "error".
func (e ConnectError) String() string {
	return [...]string{"refused", "timed_out", "unreachable", "reset", "canceled", "other"}[e]
}

// NumRTTBuckets buckets of native-histogram schema 0: bucket i counts round trips in (2^(i-21) s, 2^(i-20) s]; the first and the last are open.
const NumRTTBuckets = 24

// PairDelta is what one pair did since the poll before. All counts are exact.
type PairDelta struct {
	Key           PairKey
	SampleLocal   netip.AddrPort // one recent connection's own address and port, to ask conntrack with
	Opened        uint64         // connections established (client: connected, server: accepted); those older than the agent are not in it
	Closed        uint64
	Active        int64 // open now (a level, not a delta); may be off for connections that were older than the agent
	Failed        [NumConnectErrors]uint64
	BytesSent     uint64
	BytesReceived uint64
	Retransmits   uint64        // segments sent again
	ConnectTime   time.Duration // sum over Opened, clients only
	RTT           [NumRTTBuckets]uint32
	RTTSum        time.Duration
	Gone          bool // the kernel has forgotten the pair: its owner and connections are gone; nothing comes after this
}

// Protocol is what a connection speaks, by the name that the table of agent/protocol and the label "protocol" have for it: "http",
// "postgres", "redis". "" is not known.
type Protocol string

// The protocols that are more than a line of that table.
const (
	ProtocolUnknown Protocol = ""
	ProtocolHTTP1   Protocol = "http" // what the kernel itself reads
	ProtocolTLS     Protocol = "tls"  // only the TLS around it was recognised
)

// Latency histograms have the buckets of native-histogram schema 3 (each 9 % wider than the one before).
// Element i of Buckets counts durations in (2^((i-1+FirstBucket)/8) s, 2^((i+FirstBucket)/8) s]; the first and last are open.
const (
	HistogramSchema = 3
	FirstBucket     = -160 // 2^-20 s, about 1 µs
	NumBuckets      = 209  // up to 2^6 s = 64 s
)

// RequestDelta is what one kind of request of one pair did since the poll before. One whose Count is 0 only says what the pair speaks.
type RequestDelta struct {
	Pair     PairKey
	Protocol Protocol
	Method   string // "GET"; "" where it was not seen, and for protocols whose operations have none
	Route    string // operation, or path normalised: "SELECT users", "/users/{id}"; "~other" over the limit of routes; "~unknown" where it was not seen
	Code     string // "200", "ok", an SQLSTATE, an error's prefix; "" where the connection ended before a response
	Failed   bool   // by the rules of the protocol; HTTP: 5xx or no response
	Cut      bool   // the connection ended before the response was whole
	Count    uint64 // at least the sum of Buckets: operations without a response have no duration
	Sum      time.Duration
	Buckets  [NumBuckets]uint32
	Messages [2]uint64 // within operations that carry many: client to server, server to client. They may come before Count does
}

// HandshakeDelta is how many TLS connections of one kind a pair began since the poll before. Of those that are older than the agent only the
// pair is known, and Count is 0.
type HandshakeDelta struct {
	Pair    PairKey
	Version string // that the server chose: "1.3"; "none" where it chose none
	SNI     string // the name that the client asked for; "" if none
	ALPN    string // protocols that the client offered: "h2,http/1.1"
	Cipher  string // cipher suite that the server chose
	Count   uint64
}

// Listener is a socket that waits for connections.
type Listener struct {
	Owner OwnerID
	NetNS uint32
	Addr  netip.AddrPort // unspecified address: all of the namespace
}

// Lag is how many records of a topic the consumers on the connections of a pair have not read yet.
type Lag struct {
	Pair    PairKey
	Topic   string // folded; "~unknown" where only its number was seen
	Records uint64
}

// Snapshot is one reading of all kernel maps.
type Snapshot struct {
	Time      time.Time
	Owners    []Owner // those not reported before
	Gone      []OwnerID
	Pairs     []PairDelta
	Requests  []RequestDelta
	Lags      []Lag // of all consumers, now
	TLS       []HandshakeDelta
	Listeners []Listener // all that are open now
	Answering []Listener // UDP sockets that were asked something lately
}
