package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// maxQueries bounds the questions put to conntrack in one poll.
const maxQueries = 1024

// ConntrackStats counts the questions asked since the start, by how they ended.
type ConntrackStats struct {
	Found   atomic.Uint64 // a flow was known; most have no translation
	None    atomic.Uint64 // no namespace knew the flow
	Errors  atomic.Uint64 // the kernel refused or did not answer in time
	Limited atomic.Uint64 // not asked, because enough were asked in this poll
}

// conntrack asks the connection tracker of single namespaces, for single flows: the table itself may hold a million.
type conntrack struct {
	proc    procfs
	sockets map[uint32]*nl.SocketHandle // of this poll, by namespace; nil where none could be opened
	asked   int
	off     bool // the kernel tracks nothing: asking would make it load the module
	stats   ConntrackStats
}

// begin starts a poll's questions, end closes what they opened: a socket left open would keep a dead namespace alive.
func (c *conntrack) begin() {
	c.sockets = make(map[uint32]*nl.SocketHandle)
	c.asked = 0
	_, err := os.Stat(filepath.Join(c.proc.root, "sys/net/netfilter/nf_conntrack_count"))
	c.off = err != nil
}

func (c *conntrack) end() {
	for _, socket := range c.sockets {
		if socket != nil {
			socket.Close()
		}
	}
	c.sockets = nil
}

// nsEntry is a network namespace with a process to enter it by. The zero value is the agent's own.
type nsEntry struct{ netns, pid uint32 }

// destination gives where the packets of a flow really go: the first namespace that knows the flow says.
// ok is false where none does.
func (c *conntrack) destination(protocol int, from, to netip.AddrPort, namespaces ...nsEntry) (actual netip.AddrPort, ok bool) {
	return c.translation(protocol, nl.CTA_TUPLE_ORIG, from, to, namespaces)
}

// source gives where a flow really comes from whose answers go from -> to: the first namespace that knows it says. ok is false where none does.
func (c *conntrack) source(protocol int, from, to netip.AddrPort, namespaces ...nsEntry) (actual netip.AddrPort, ok bool) {
	return c.translation(protocol, nl.CTA_TUPLE_REPLY, from, to, namespaces)
}

// translation gives who is at the other end of a flow, by the tuple of its other direction.
func (c *conntrack) translation(protocol, tuple int, from, to netip.AddrPort, namespaces []nsEntry) (actual netip.AddrPort, ok bool) {
	if c.off {
		return netip.AddrPort{}, false
	}
	if c.asked >= maxQueries {
		c.stats.Limited.Add(1)
		return netip.AddrPort{}, false
	}
	c.asked++
	var failed bool
	for _, ns := range namespaces {
		answer, err := c.ask(protocol, tuple, ns, from, to)
		switch {
		case err == nil && answer != to:
			c.stats.Found.Add(1)
			return answer, true
		case err == nil:
			actual, ok = answer, true // tracked, but not translated here
		case !errors.Is(err, unix.ENOENT):
			failed = true
		}
	}
	switch {
	case ok:
		c.stats.Found.Add(1)
	case failed:
		c.stats.Errors.Add(1)
	default:
		c.stats.None.Add(1)
	}
	return actual, ok
}

func (c *conntrack) ask(protocol, tuple int, ns nsEntry, from, to netip.AddrPort) (netip.AddrPort, error) {
	handle, opened := c.sockets[ns.netns]
	if !opened {
		if socket, err := c.proc.netfilterSocket(ns.pid, ns.netns); err == nil {
			handle = &nl.SocketHandle{Socket: socket}
		}
		c.sockets[ns.netns] = handle
	}
	if handle == nil {
		return netip.AddrPort{}, errOtherNamespace
	}
	request := flowRequest(protocol, tuple, from, to)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: handle}
	answers, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("ask conntrack: %w", err)
	}
	if len(answers) == 0 {
		return netip.AddrPort{}, unix.ENOENT
	}
	other := nl.CTA_TUPLE_REPLY
	if tuple == nl.CTA_TUPLE_REPLY {
		other = nl.CTA_TUPLE_ORIG
	}
	return sourceIn(answers[0], other)
}

// flowRequest asks for the one flow of a protocol (IPPROTO_TCP) with packets from -> to, as the tuple CTA_TUPLE_ORIG or CTA_TUPLE_REPLY. The attributes are those
// of linux/netfilter/nfnetlink_conntrack.h.
func flowRequest(protocol, tuple int, from, to netip.AddrPort) *nl.NetlinkRequest {
	family, source, destination := unix.AF_INET, nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST
	if from.Addr().Is6() {
		family, source, destination = unix.AF_INET6, nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST
	}
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|nl.IPCTNL_MSG_CT_GET, unix.NLM_F_ACK) // the answer says that more follows: the acknowledgement ends it
	request.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(family), Version: nl.NFNETLINK_V0})
	flow := nl.NewRtAttr(unix.NLA_F_NESTED|tuple, nil)
	ip := flow.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil)
	ip.AddRtAttr(source, from.Addr().AsSlice())
	ip.AddRtAttr(destination, to.Addr().AsSlice())
	proto := flow.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil)
	proto.AddRtAttr(nl.CTA_PROTO_NUM, []byte{byte(protocol)})
	proto.AddRtAttr(nl.CTA_PROTO_SRC_PORT, nl.BEUint16Attr(from.Port()))
	proto.AddRtAttr(nl.CTA_PROTO_DST_PORT, nl.BEUint16Attr(to.Port()))
	request.AddData(flow)
	return request
}

// errBadAnswer says that an answer of the kernel could not be read.
var errBadAnswer = errors.New("conntrack answer has no such tuple")

// sourceIn reads the source of one direction, CTA_TUPLE_ORIG or CTA_TUPLE_REPLY, out of a flow: who asks, or who really answers.
func sourceIn(answer []byte, tuple int) (netip.AddrPort, error) {
	if len(answer) < nl.SizeofNfgenmsg {
		return netip.AddrPort{}, errBadAnswer
	}
	flow, ok := attribute(answer[nl.SizeofNfgenmsg:], tuple)
	if !ok {
		return netip.AddrPort{}, errBadAnswer
	}
	ip, okIP := attribute(flow, nl.CTA_TUPLE_IP)
	proto, okProto := attribute(flow, nl.CTA_TUPLE_PROTO)
	if !okIP || !okProto {
		return netip.AddrPort{}, errBadAnswer
	}
	source, ok := attribute(ip, nl.CTA_IP_V4_SRC)
	if !ok {
		source, ok = attribute(ip, nl.CTA_IP_V6_SRC)
	}
	port, okPort := attribute(proto, nl.CTA_PROTO_SRC_PORT)
	addr, okAddr := netip.AddrFromSlice(source)
	if !ok || !okPort || !okAddr || len(port) < 2 {
		return netip.AddrPort{}, errBadAnswer
	}
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(port)), nil
}

// attribute finds one netlink attribute in a list of them.
func attribute(list []byte, want int) (value []byte, ok bool) {
	for len(list) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(list))
		kind := int(binary.NativeEndian.Uint16(list[2:])) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if length < unix.SizeofRtAttr || length > len(list) {
			return nil, false
		}
		if kind == want {
			return list[unix.SizeofRtAttr:length], true
		}
		aligned := (length + unix.RTA_ALIGNTO - 1) &^ (unix.RTA_ALIGNTO - 1)
		if aligned > len(list) {
			return nil, false
		}
		list = list[aligned:]
	}
	return nil, false
}
