package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/vetch-dev/vetch/bpf"
)

const (
	recordHead    = 48 // bytes of struct record_t
	recordClose   = 1
	recordUpgrade = 2
	recordHello   = 3
	recordRequest = 4
	recordMark    = 6 // and the three behind it
	recordTorn    = 9
	upgradeSize   = 16                    // bytes of struct upgrade_t
	askedSize     = 32                    // bytes of struct asked_t
	drainEvery    = 20 * time.Millisecond // the kernel wakes the reader only when the ring fills
)

// Record is a piece of what a connection said that the kernel does not count by itself.
type Record struct {
	Socket   uint64 // with Opened: the connection
	Opened   uint64 // ns of the monotonic clock
	Pair     uint64 // see Probe.PairKey; 0 while it is not known
	At       int64  // ns of the monotonic clock
	Seq      uint32 // TCP sequence number of the first byte
	Sent     bool   // by the owner; else received
	Role     Role
	Adopted  bool   // the connection is older than the probe
	Closed   bool   // the connection ended, or of a Hello that nothing more comes of it; Data is empty
	Hello    bool   // it is of the handshake of TLS
	Data     []byte // valid during the call only
	Upgrade  *Upgrade
	Passed   uint32    // bytes in front of Data that were left out, because of the connection's framing nobody reads them
	Datagram *Datagram // not nil: it is a datagram, of which Socket, At, Sent and Data are set
	Asked    *Asked
	Match    uint8  // not 0: who matches the requests of the connection changes: a protocol.MatchEvent. Data is what the direction said since Seq
	Other    uint32 // of a mark, where the other direction is; else which protocol: Words.Number, and 16 bits up what protocol.Piece says
}

// Asked says that Data is the beginning of a connection's first request in HTTP/1, and that it went to another machine. The pair is not known yet.
type Asked struct {
	Owner OwnerID
	To    netip.AddrPort // as the owner's socket sees it
}

// Upgrade says that a connection became a WebSocket with an HTTP/1 response. Sent and Seq of its Record say in which direction that went, and
// where this goes on.
type Upgrade struct {
	Method, Route string // of the request; see RequestDelta
	Seq           uint32 // where the other direction goes on
	Torn          bool   // the other direction is in the middle of something
}

// Verdict is what the reader of records wants of a connection.
type Verdict uint16

// The verdicts: Ship goes on, Ignore ends it, Parse gives the connection to the kernel's own HTTP/1 parser.
const (
	Ship Verdict = iota
	Ignore
	Parse
)

// ShipFramed goes on, and has the kernel leave out what nobody reads of messages in a framing, an enum framing of the kernel; none is 0.
func ShipFramed(framing uint8) Verdict { return shipFramed + Verdict(framing) }

// OfferMatch goes on, and has the kernel match the requests of a connection as soon as it can: of the protocol with a number, in a framing.
func OfferMatch(number, framing uint8) Verdict {
	return offerMatch + Verdict(number)<<4 + Verdict(framing)
}

// ConfirmMatch goes on, and says of a mark that nothing was under way there.
func ConfirmMatch(number, framing uint8) Verdict {
	return confirmMatch + Verdict(number)<<4 + Verdict(framing)
}

// What is above the 4 bits of a framing, and 4 of a protocol's number.
const (
	shipFramed Verdict = (iota + 1) << 8
	offerMatch
	confirmMatch
)

// shipping is what the reader of records works with.
type shipping struct {
	records, verdicts, routes *ebpf.Map
	statements                *ebpf.Map
	told                      map[uint64]bpf.VetchVerdictT // by socket
}

// ReadRecords gives every record to take until ctx ends; idle is called after each run of records, at least every drain interval.
// Options.Records must have been set.
func (p *Probe) ReadRecords(ctx context.Context, take func(*Record) Verdict, idle func()) error {
	ring, err := ringbuf.NewReader(p.shipping.records)
	if err != nil {
		return fmt.Errorf("open the ring of records: %w", err)
	}
	defer ring.Close()
	var raw ringbuf.Record
	for ctx.Err() == nil {
		ring.SetDeadline(time.Now().Add(drainEvery))
		for {
			err := ring.ReadInto(&raw)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return fmt.Errorf("read the ring of records: %w", err)
			}
			if r, ok := decodeRecord(raw.RawSample); ok {
				if r.Upgrade != nil {
					r.Upgrade.Route = p.shipping.route(binary.NativeEndian.Uint64(r.Data))
					r.Data = nil
				}
				p.decide(&r, take(&r))
			}
		}
		idle()
	}
	return nil
}

// decide tells the kernel what is to become of a connection.
func (p *Probe) decide(r *Record, v Verdict) {
	if v == Ship {
		return
	}
	verdict := bpf.VetchVerdictT{OpenedNs: r.Opened, Protocol: protocolOther}
	switch {
	case v == Parse:
		verdict.Protocol = protocolUnknown
	case v >= offerMatch:
		verdict.Protocol, verdict.Framing = uint32(v>>4&15), uint32(v&15)
		verdict.Match, verdict.MatchAt = uint32(v/shipFramed)-1, r.Seq
	case v >= shipFramed:
		verdict.Protocol, verdict.Framing = protocolStream, uint32(v-shipFramed)
	}
	if p.shipping.told[r.Socket] == verdict {
		return // the kernel asks only now and then
	}
	if len(p.shipping.told) >= maxVerdicts {
		clear(p.shipping.told)
	}
	p.shipping.told[r.Socket] = verdict
	if err := p.shipping.verdicts.Update(r.Socket, &verdict, ebpf.UpdateAny); err != nil {
		p.stats.verdictsFull.Add(1)
	}
}

const (
	protocolUnknown = 0
	protocolStream  = 254
	protocolOther   = 255
	maxVerdicts     = 4096
)

// decodeRecord reads struct record_t and the data behind it.
func decodeRecord(b []byte) (Record, bool) {
	if len(b) < recordHead {
		return Record{}, false
	}
	n := binary.NativeEndian.Uint32(b[36:])
	r := Record{
		Socket: binary.NativeEndian.Uint64(b), Opened: binary.NativeEndian.Uint64(b[8:]), Pair: binary.NativeEndian.Uint64(b[16:]),
		At: int64(binary.NativeEndian.Uint64(b[24:])), Seq: binary.NativeEndian.Uint32(b[32:]),
		Closed: b[40] == recordClose, Sent: b[41] == 0, Role: Role(b[42]), Adopted: b[43] != 0, Passed: binary.NativeEndian.Uint32(b[44:]),
	}
	if b[40] == recordDatagram {
		return decodeDatagram(b, r)
	}
	if int(n) > len(b)-recordHead {
		return Record{}, false
	}
	r.Data = b[recordHead : recordHead+n]
	if b[40] >= recordMark && b[40] <= recordTorn {
		r.Match, r.Other, r.Passed = b[40]-recordMark+1, r.Passed, 0
		return r, true
	}
	switch b[40] {
	case recordHello:
		r.Hello, r.Closed = true, n == 0
	case recordUpgrade:
		if len(r.Data) < upgradeSize {
			return Record{}, false
		}
		r.Upgrade = &Upgrade{Method: method(r.Data[12]), Seq: binary.NativeEndian.Uint32(r.Data[8:]), Torn: r.Data[13] != 0}
	case recordRequest:
		if len(r.Data) < askedSize {
			return Record{}, false
		}
		port := binary.NativeEndian.Uint16(r.Data[24:])
		r.Asked = &Asked{Owner: OwnerID(binary.NativeEndian.Uint64(r.Data)), To: addrPort([16]uint8(r.Data[8:24]), port)}
		r.Data = r.Data[askedSize:]
	}
	return r, true
}

// route is the text behind a hash of the dictionary. Unlike the reader's, it is not remembered: few are asked for.
func (s *shipping) route(id uint64) string {
	r := reader{maps: &bpf.VetchMaps{Routes: s.routes}, routes: map[uint64]string{}}
	return r.route(id)
}

// PairKey says which pair an id of a record stands for; false while no reading has met it.
func (p *Probe) PairKey(id uint64) (PairKey, bool) {
	st := p.reader.pairs[id]
	if st == nil {
		return PairKey{}, false
	}
	return st.key, true
}
