package probe

import (
	"net/netip"
	"strings"
	"time"

	"github.com/vetch-dev/vetch/bpf"
)

// methods are the request methods in the order of the enum in bpf/include/request.h.
var methods = []string{"", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "~other"}

func method(m uint8) string {
	if int(m) < len(methods) {
		return methods[m]
	}
	return ""
}

// kernelProtocol names a number of enum protocol in bpf/include/types.h. The series of the kernel are of HTTP/1, or of Words.
func kernelProtocol(p uint8) Protocol {
	if p == 1 {
		return ProtocolHTTP1
	}
	return ProtocolUnknown
}

func addrPort(b [16]uint8, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(b).Unmap(), port)
}

func pairKey(k *bpf.VetchPairKeyT) PairKey {
	out := PairKey{
		Owner: OwnerID(k.Owner), Role: Role(k.Role), NetNS: k.Netns, Peer: OwnerID(k.Peer),
		Local: addrPort(k.Local.B, k.LocalPort), Remote: addrPort(k.Remote.B, k.RemotePort),
	}
	if k.ActualPort != 0 {
		out.Actual = addrPort(k.Actual.B, k.ActualPort)
	}
	return out
}

func pairDelta(st *pairState, cur *bpf.VetchPairT) PairDelta {
	last := &st.last
	d := PairDelta{
		Key: st.key, SampleLocal: addrPort(cur.SampleLocal.B, cur.SamplePort),
		Opened: cur.Opened - last.Opened, Closed: cur.Closed - last.Closed, Active: cur.Active,
		BytesSent: cur.Sent - last.Sent, BytesReceived: cur.Received - last.Received,
		Retransmits: cur.Retransmits - last.Retransmits,
		ConnectTime: time.Duration(cur.ConnectNs - last.ConnectNs),
		RTTSum:      time.Duration(cur.RttUs-last.RttUs) * time.Microsecond,
	}
	for i := range d.Failed {
		d.Failed[i] = cur.Failed[i] - last.Failed[i]
	}
	for i := range d.RTT {
		d.RTT[i] = cur.Rtt[i] - last.Rtt[i]
	}
	return d
}

func owner(id OwnerID, raw *bpf.VetchOwnerT) Owner {
	return Owner{
		ID: id, PID: raw.Pid, Comm: cString(raw.Comm[:]), Exe: cString(raw.Exe[:]), NetNS: raw.Netns,
		CgroupV1: raw.CgroupV1, CgroupV2: raw.CgroupV2, PathV1: cgroupPath(&raw.PathV1), PathV2: cgroupPath(&raw.PathV2),
	}
}

// cgroupPath joins the components, which the kernel gives from the leaf upwards. The root's own name is empty.
func cgroupPath(parts *[5][96]int8) string {
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		if name := strings.Trim(cString(parts[i][:]), "/"); name != "" {
			b.WriteByte('/')
			b.WriteString(name)
		}
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// cString is the text up to the first zero.
func cString(b []int8) string {
	var out strings.Builder
	for _, c := range b {
		if c == 0 {
			break
		}
		out.WriteByte(byte(c))
	}
	return out.String()
}

// routeText is a dictionary entry as label value. Of a target in absolute form ("http://host/path") the path stays.
func routeText(raw *bpf.VetchRouteT) string {
	n := min(int(raw.Len), len(raw.Text))
	text := cString(raw.Text[:n])
	if n == len(raw.Text) {
		text += "…"
	}
	for _, scheme := range []string{"http://", "https://"} {
		if rest, ok := strings.CutPrefix(text, scheme); ok {
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				return rest[i:]
			}
			return "/"
		}
	}
	return text
}
