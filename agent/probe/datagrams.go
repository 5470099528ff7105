package probe

import (
	"encoding/binary"
	"net/netip"
)

const (
	datagramHead   = recordHead + 48 // bytes of struct datagram_t
	recordDatagram = 5
)

// Datagram is what a Record says of a message that a UDP socket sent or received.
type Datagram struct {
	Owner  OwnerID
	NetNS  uint32
	Local  netip.AddrPort // the socket's own; the address is unspecified where it is bound to all
	Remote netip.AddrPort // where it went, or the socket is connected to; the zero value where that is not known
}

// decodeDatagram reads struct datagram_t and the data behind it.
func decodeDatagram(b []byte, r Record) (Record, bool) {
	n := binary.NativeEndian.Uint32(b[36:])
	if len(b) < datagramHead || int(n) > len(b)-datagramHead {
		return Record{}, false
	}
	rest := b[recordHead:]
	addr := func(at, port int) netip.AddrPort {
		return addrPort([16]uint8(rest[at:at+16]), binary.NativeEndian.Uint16(rest[port:]))
	}
	d := &Datagram{Owner: OwnerID(binary.NativeEndian.Uint64(rest)), NetNS: binary.NativeEndian.Uint32(rest[40:]), Local: addr(8, 44)}
	if remote := addr(24, 46); remote.Port() != 0 {
		d.Remote = remote
	}
	r.Datagram = d
	r.Data = b[datagramHead : datagramHead+n]
	return r, true
}

// AddOwner puts the record of an owner into a snapshot, where it was in none before and the kernel has it. It is for the function that
// takes the snapshots.
func (p *Probe) AddOwner(s *Snapshot, id OwnerID) { p.reader.owner(s, id) }
