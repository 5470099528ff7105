package tracer

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/agent/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// at is a moment of a test, in seconds.
func at(seconds int) time.Time { return time.Unix(1_700_000_000+int64(seconds), 0) }

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// calling and serving are the two ends of connections from owner 1 to owner 2 on one machine.
func calling(remote, actual string, peer probe.OwnerID) probe.PairKey {
	k := probe.PairKey{Owner: 1, Role: probe.RoleClient, NetNS: 11, Local: addr("10.1.0.1:0"), Remote: addr(remote), Peer: peer}
	if actual != "" {
		k.Actual = addr(actual)
	}
	return k
}

func serving(local string, peer probe.OwnerID) probe.PairKey {
	return probe.PairKey{Owner: 2, Role: probe.RoleServer, NetNS: 22, Local: addr(local), Remote: addr("10.1.0.1:0"), Peer: peer}
}

func delta(k probe.PairKey, sent, received uint64) probe.PairDelta {
	d := probe.PairDelta{Key: k, BytesSent: sent, BytesReceived: received, SampleLocal: k.Local}
	if k.Role == probe.RoleClient {
		d.SampleLocal = netip.AddrPortFrom(k.Local.Addr(), 40000)
	}
	return d
}

func gone(k probe.PairKey) probe.PairDelta { return probe.PairDelta{Key: k, Gone: true} }

func snapshot(pairs ...probe.PairDelta) *probe.Snapshot {
	return &probe.Snapshot{Time: time.Now(), Owners: []probe.Owner{{ID: 1, PID: 101}, {ID: 2, PID: 102}}, Pairs: pairs}
}

// brief is rows as "pid source:sport>dest:dport direction sent/received +sent/received", sorted.
func brief(rows []Connection) string {
	out := make([]string, len(rows))
	for i, c := range rows {
		n := func(v uint64) string { return strconv.FormatUint(v, 10) }
		out[i] = n(uint64(c.PID)) + " " + c.Source + ":" + n(uint64(c.SPort)) + ">" + c.Dest + ":" + n(uint64(c.DPort)) + " " + n(uint64(c.Direction)) +
			" " + n(c.MonotonicSent) + "/" + n(c.MonotonicReceived) + " +" + n(c.LastSent) + "/" + n(c.LastReceived)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
