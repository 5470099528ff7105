package protocol

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

const (
	fdbMaxPacket  = 1 << 30 // bytes; servers warn of 2 MiB
	fdbToken      = 16      // bytes that say which endpoint a packet is for
	fdbLooked     = 1024    // bytes of a packet in which its beginning must lie
	fdbConnectLow = 22      // bytes of a connect packet behind its length, in the oldest version that has a connection's number, and
	fdbConnectTop = 256     // more than any has
)

// FoundationDB knows the transport of FoundationDB 6.2 and later, without TLS (design/flow_transport.md, fdbrpc/FlowTransport and flow/flat_buffers.h
// of its sources). What it can tell for certain from the bytes alone is little: both ends begin with a connect packet, and every answer says what
// kind it is and whether it is an error. Which request an answer is for stands in the request at a place that differs between versions, so
// answers have no duration, and requests without an answer are not seen.
//
// One Exchange is one answer: "GetValue", "Commit"; kinds that are not known are "~other", and those of the client to a server that asked have
// "callback " before them. The status is "ok" or the number of the error. "connect" lasts from one connect packet to the other.
func FoundationDB() Protocol {
	return Protocol{Name: "foundationdb", Detect: detectFoundationDB, New: func() Conn { return &fdbConn{} }}
}

// fdbKinds are the answers by the file identifier of their type.
var fdbKinds = map[uint32]string{
	3: "WatchValue", 1378929: "GetValue", 1783066: "GetKeyValues", 2010442: "Void", 5355080: "OpenDatabase", 10636023: "GetKeyServerLocations", 11226513: "GetKey",
	14254927: "Commit", 15709388: "GetReadVersion",
}

type fdbConn struct {
	halves     [2]half
	begun      [2]bool // its connect packet has come
	versions   [2]uint64
	sum        [2]int // bytes of a packet's checksum, 0 until one has shown it
	connect    Exchange
	connecting bool

	// The packet at hand.
	isConnect bool
	operation string // "" for what is no answer
	status    string
}

func (c *fdbConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	return c.halves[d].feed(b, at, func(b []byte) (int64, bool, error) { return c.read(d, b) }, func() { c.came(d, emit) })
}

// Resync says yes to a packet with an answer of a known kind.
func (c *fdbConn) Resync(d Direction, b []byte) bool {
	p, ok := fdbPacketOf(b, c.sum[d])
	if !ok || fdbKinds[p.id&fdbIDMask] == "" {
		return false
	}
	c.halves[d] = half{}
	c.begun[d] = true
	return true
}

func (c *fdbConn) Close(at int64, emit func(Exchange)) {
	if c.connecting {
		c.connecting = false
		emit(cut(c.connect, at))
	}
}

func (c *fdbConn) read(d Direction, b []byte) (int64, bool, error) {
	if c.isConnect = !c.begun[d]; c.isConnect {
		switch fdbConnectLike(b) {
		case No:
			return 0, false, fmt.Errorf("no connect packet: %w", ErrDesync)
		case Maybe:
			return 0, false, nil
		}
		c.begun[d], c.versions[d] = true, binary.LittleEndian.Uint64(b[4:])
		return 4 + int64(binary.LittleEndian.Uint32(b)), true, nil
	}
	if len(b) < 4 {
		return 0, false, nil
	}
	size := int64(binary.LittleEndian.Uint32(b))
	if size < fdbToken+8 || size > fdbMaxPacket {
		return 0, false, fmt.Errorf("packet of %d bytes: %w", size, ErrDesync)
	}
	if int64(len(b)) < min(size+8, 12+fdbToken+8) { // the shortest packet, or what tells the checksum
		return 0, false, nil
	}
	p, ok := fdbPacketOf(b, c.sum[d])
	if !ok {
		return 0, false, fmt.Errorf("packet without a message: %w", ErrDesync)
	}
	c.sum[d] = p.sum
	if int64(len(b)) < min(4+int64(p.sum)+size, fdbLooked) {
		return 0, false, nil
	}
	c.operation, c.status = p.answer()
	return 4 + int64(p.sum) + size, true, nil
}

// came takes the packet that was just read.
func (c *fdbConn) came(d Direction, emit func(Exchange)) {
	h := &c.halves[d]
	if c.isConnect {
		c.connected(d, emit)
		return
	}
	if c.operation == "" {
		return
	}
	e := h.asked(c.operation)
	if d == FromClient {
		e.Operation = "callback " + e.Operation
	} else {
		e.RequestBytes, e.ResponseBytes = 0, h.bytes
	}
	e.Status, e.Failed = c.status, c.status != "ok" && c.status != "~other"
	emit(oneWay(e))
}

// connected takes a connect packet: the first begins, the second ends. Versions that differ but in their last two bytes are compatible.
func (c *fdbConn) connected(d Direction, emit func(Exchange)) {
	h := &c.halves[d]
	if !c.begun[FromClient] || !c.begun[FromServer] {
		c.connect, c.connecting = h.asked("connect"), true
		return
	}
	if !c.connecting {
		return
	}
	c.connecting = false
	status := "ok"
	if (c.versions[0]^c.versions[1])&0x0fffffffffff0000 != 0 {
		status = "incompatible"
	}
	emit(h.answered(c.connect, status, status != "ok"))
}

// fdbPacket is a message without what is around it: a flat buffer.
type fdbPacket struct {
	sum  int
	id   uint32 // of its type: the upper byte says what is around that, 2 for an answer
	root uint32
	b    []byte
}

// The upper byte of an identifier, and the rest of it.
const (
	fdbAnswer = 0x02
	fdbIDMask = 0xffffff
)

// fdbPacketOf reads a packet: length, checksum, token, message. The checksum has 8 bytes (XXH3, since 7.1) or 4 (CRC-32C); sum is 0 if that is not
// known yet. A message begins with the place of its root, which then is in it, and the identifier of its type.
func fdbPacketOf(b []byte, sum int) (fdbPacket, bool) {
	if len(b) < 4 {
		return fdbPacket{}, false
	}
	size := int64(binary.LittleEndian.Uint32(b))
	for _, n := range []int{8, 4} {
		at := 4 + n + fdbToken
		if sum != 0 && n != sum || len(b) < at+8 || size < fdbToken+8 || size > fdbMaxPacket {
			continue
		}
		p := fdbPacket{sum: n, b: b[at:min(int64(len(b)), int64(at)-fdbToken+size)]}
		if len(p.b) < 8 {
			continue
		}
		p.root, p.id = binary.LittleEndian.Uint32(p.b), binary.LittleEndian.Uint32(p.b[4:])
		if p.root >= 8 && int64(p.root)+4 <= size-fdbToken && p.id&fdbIDMask != 0 {
			return p, true
		}
	}
	return fdbPacket{}, false
}

// answer says what kind of answer a message is and how it went; "" for what is none. Answers are a table of two fields: 1 for an error or 2 for a
// value, and where that is.
func (p *fdbPacket) answer() (operation, status string) {
	if p.id>>24 != fdbAnswer && p.id>>28 != fdbAnswer {
		return "", ""
	}
	operation = "~other"
	if kind := fdbKinds[p.id&fdbIDMask]; kind != "" && p.id>>24 == fdbAnswer {
		operation = kind
	}
	tag, ok := p.field(int64(p.root), 0)
	if !ok || tag >= int64(len(p.b)) {
		return operation, "~other"
	}
	switch p.b[tag] {
	case 1:
		return operation, p.code()
	case 2:
		return operation, "ok"
	}
	return operation, "~other"
}

// code is the number of the error in an answer, the only field of the table that its second field leads to.
func (p *fdbPacket) code() string {
	at, ok := p.field(int64(p.root), 1)
	if !ok || at+4 > int64(len(p.b)) {
		return "error"
	}
	at += int64(binary.LittleEndian.Uint32(p.b[at:]))
	if at, ok = p.field(at, 0); !ok || at+2 > int64(len(p.b)) {
		return "error"
	}
	return strconv.Itoa(int(binary.LittleEndian.Uint16(p.b[at:])))
}

// field finds a field of the table at a place of the message: the table begins with how far its vtable lies before it, and that has its own
// size, the table's and where each field is (https://flatbuffers.dev/internals/).
func (p *fdbPacket) field(table int64, n int) (at int64, ok bool) {
	if table < 0 || table+4 > int64(len(p.b)) {
		return 0, false
	}
	v := table - int64(int32(binary.LittleEndian.Uint32(p.b[table:])))
	place := v + 4 + 2*int64(n)
	if v < 0 || place+2 > int64(len(p.b)) || int64(binary.LittleEndian.Uint16(p.b[v:])) < 4+2*int64(n)+2 {
		return 0, false
	}
	offset := int64(binary.LittleEndian.Uint16(p.b[place:]))
	return table + offset, offset >= 4
}

// fdbConnectLike knows a connect packet: its length, and a version of the transport, 0x0FDB00 and five bytes more, whose upper four bits are flags.
func fdbConnectLike(b []byte) Verdict {
	if len(b) >= 4 {
		if n := binary.LittleEndian.Uint32(b); n < fdbConnectLow || n > fdbConnectTop {
			return No
		}
	} else if len(b) > 1 && b[1] != 0 || len(b) > 2 && b[2] != 0 {
		return No
	}
	for i, want := range []byte{0x00, 0xdb, 0x0f} {
		if len(b) <= 9+i {
			return Maybe
		}
		if got := b[9+i]; got != want && (i != 2 || got&0x0f != want) {
			return No
		}
	}
	return Yes
}

func detectFoundationDB(_ Direction, b []byte) Verdict {
	if len(b) == 0 {
		return Maybe
	}
	return fdbConnectLike(b)
}
