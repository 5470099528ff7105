// Package tracer speaks the JSON of older network tracers over a unix socket, on both sides: it serves what the probe counts, and reads what another tracer did.
//
// The format is that of the network tracer of Datadog's agent in 2019 (GET /connections), which collectors were built on. docs/formats/tracer.md has the
// fields and what differs.
package tracer

import (
	"net/netip"
	"strconv"
)

// The values of Connection.Type and Connection.Direction.
const (
	typeTCP = 0
	typeUDP = 1

	directionIncoming = 1
	directionOutgoing = 2
	directionLocal    = 3
)

// Connection is one row of the answer to GET /connections: a connection, or of our own server all that a program has with one peer.
type Connection struct {
	PID       uint32 `json:"pid"`    // as the machine numbers it
	Type      uint8  `json:"type"`   // 0 TCP, 1 UDP
	Family    uint8  `json:"family"` // 0 IPv4, 1 IPv6
	NetNS     uint32 `json:"net_ns"` // inode of the process's network namespace
	Source    string `json:"source"` // address on the process's side
	Dest      string `json:"dest"`   // address of the peer
	SPort     uint16 `json:"sport"`
	DPort     uint16 `json:"dport"`
	Direction uint8  `json:"direction"` // 1 incoming, 2 outgoing, 3 both ends are addresses of the machine

	MonotonicSent        uint64 `json:"monotonic_sent_bytes"` // since the connection began
	MonotonicReceived    uint64 `json:"monotonic_recv_bytes"`
	MonotonicRetransmits uint32 `json:"monotonic_retransmits"` // segments
	LastSent             uint64 `json:"last_sent_bytes"`       // since the same client asked before
	LastReceived         uint64 `json:"last_recv_bytes"`
	LastRetransmits      uint32 `json:"last_retransmits"`
	LastUpdate           uint64 `json:"last_update_epoch"` // ns of the monotonic clock, which begins when the machine does
}

// appendJSON writes a row. The addresses are those of netip and need no escapes.
func (c *Connection) appendJSON(b []byte) []byte {
	text := func(name, value string) {
		b = append(b, name...)
		b = append(b, value...)
		b = append(b, '"')
	}
	number := func(name string, value uint64) {
		b = append(b, name...)
		b = strconv.AppendUint(b, value, 10)
	}
	number(`{"pid":`, uint64(c.PID))
	number(`,"type":`, uint64(c.Type))
	number(`,"family":`, uint64(c.Family))
	number(`,"net_ns":`, uint64(c.NetNS))
	text(`,"source":"`, c.Source)
	text(`,"dest":"`, c.Dest)
	number(`,"sport":`, uint64(c.SPort))
	number(`,"dport":`, uint64(c.DPort))
	number(`,"direction":`, uint64(c.Direction))
	number(`,"monotonic_sent_bytes":`, c.MonotonicSent)
	number(`,"monotonic_recv_bytes":`, c.MonotonicReceived)
	number(`,"monotonic_retransmits":`, uint64(c.MonotonicRetransmits))
	number(`,"last_sent_bytes":`, c.LastSent)
	number(`,"last_recv_bytes":`, c.LastReceived)
	number(`,"last_retransmits":`, uint64(c.LastRetransmits))
	number(`,"last_update_epoch":`, c.LastUpdate)
	return append(b, '}')
}

// ends are the two addresses of a row; ok is false where one cannot be read.
func (c *Connection) ends() (local, remote netip.AddrPort, ok bool) {
	source, err := netip.ParseAddr(c.Source)
	if err != nil {
		return local, remote, false
	}
	dest, err := netip.ParseAddr(c.Dest)
	if err != nil {
		return local, remote, false
	}
	plain := func(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
	return netip.AddrPortFrom(plain(source), c.SPort), netip.AddrPortFrom(plain(dest), c.DPort), true
}
