package digest

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/agent/names"
	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world makes snapshots of a machine whose only network namespace is this process's own.
type world struct {
	t      testing.TB
	digest *Digest
	names  *names.Book
	netns  uint32
	start  time.Time
	now    time.Time
	next   probe.Snapshot
}

func newWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	addresses := func(_, netns uint32) ([]netip.Addr, error) {
		if netns != 0 {
			return nil, os.ErrNotExist
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.168.1.10")}, nil
	}
	outside := names.New()
	book, err := process.New(process.Options{Root: t.TempDir(), Hostname: "box", Addresses: addresses, Names: outside})
	if err != nil {
		t.Fatal(err)
	}
	options := Options{Book: book, Names: outside, Machine: process.Machine{ID: "m1", Hostname: "box", Kernel: "6.18"}, Version: "test"}
	for _, c := range change {
		c(&options)
	}
	d, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, digest: d, names: outside, netns: ownNetNS(t), start: time.Unix(1_800_000_000, 0), now: time.Unix(1_800_000_000, 0)}
	w.poll() // the clock of the snapshots is not the machine's
	return w
}

func ownNetNS(t testing.TB) uint32 {
	link, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var inode uint32
	if _, err := fmt.Sscanf(link, "net:[%d]", &inode); err != nil {
		t.Fatal(err)
	}
	return inode
}

// owner reports an owner whose executable is exe.
func (w *world) owner(id probe.OwnerID, exe string) {
	w.next.Owners = append(w.next.Owners, probe.Owner{ID: id, PID: 4_000_000, Exe: exe, NetNS: w.netns, PathV1: "/", PathV2: "/"})
}

func (w *world) listener(id probe.OwnerID, addr string) {
	w.next.Listeners = append(w.next.Listeners, probe.Listener{Owner: id, NetNS: w.netns, Addr: netip.MustParseAddrPort(addr)})
}

func (w *world) client(owner, peer probe.OwnerID, remote string) probe.PairKey {
	return probe.PairKey{Owner: owner, Role: probe.RoleClient, NetNS: w.netns, Local: netip.MustParseAddrPort("127.0.0.1:0"), Remote: netip.MustParseAddrPort(remote), Peer: peer}
}

func (w *world) server(owner, peer probe.OwnerID, local, remote string) probe.PairKey {
	return probe.PairKey{Owner: owner, Role: probe.RoleServer, NetNS: w.netns, Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote), Peer: peer}
}

// tcp reports connections and bytes of a pair.
func (w *world) tcp(key probe.PairKey, opened, sent, received uint64, active int64) {
	w.next.Pairs = append(w.next.Pairs, probe.PairDelta{Key: key, Opened: opened, BytesSent: sent, BytesReceived: received, Active: active})
}

func (w *world) failed(key probe.PairKey, why probe.ConnectError, n uint64) {
	delta := probe.PairDelta{Key: key}
	delta.Failed[why] = n
	w.next.Pairs = append(w.next.Pairs, delta)
}

func (w *world) gone(key probe.PairKey) {
	w.next.Pairs = append(w.next.Pairs, probe.PairDelta{Key: key, Gone: true})
}

// http reports requests of a pair, each of 10 ms.
func (w *world) http(key probe.PairKey, route string, code uint16, n uint64) *probe.RequestDelta {
	r := w.request(key, probe.ProtocolHTTP1, route, "", n)
	r.Method, r.Failed = "GET", code == 0 || code >= 500
	if code != 0 {
		r.Code = strconv.Itoa(int(code))
	}
	return r
}

// request reports operations of a pair, each of 10 ms. It is for the caller to say that they failed.
func (w *world) request(key probe.PairKey, protocol probe.Protocol, operation, code string, n uint64) *probe.RequestDelta {
	r := probe.RequestDelta{Pair: key, Protocol: protocol, Route: operation, Code: code, Count: n, Sum: time.Duration(n) * 10 * time.Millisecond}
	r.Buckets[bucketOf10ms] = uint32(n)
	w.next.Requests = append(w.next.Requests, r)
	return &w.next.Requests[len(w.next.Requests)-1]
}

// bucketOf10ms is the element of probe.RequestDelta.Buckets for 10 ms: 2^(-54/8) s = 9.29 ms < 10 ms <= 2^(-53/8) s = 10.13 ms.
const bucketOf10ms = -53 - probe.FirstBucket

// poll hands the snapshot over and lets a second pass.
func (w *world) poll() {
	w.now = w.now.Add(time.Second)
	w.next.Time = w.now
	w.digest.Apply(w.next)
	listeners := w.next.Listeners
	w.next = probe.Snapshot{Listeners: listeners}
}

// pass polls until that time is over.
func (w *world) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.poll()
	}
}

// leap polls once after a long time.
func (w *world) leap(d time.Duration) {
	w.now = w.now.Add(d)
	w.poll()
}

// reading is what Gather gave, by name and labels.
type reading struct {
	values     map[string]float64
	created    map[string]time.Time
	histograms map[string]*histogram.Histogram
}

// read gathers everything, and fails on what is wrong with any series.
func (w *world) read() reading {
	w.t.Helper()
	r := reading{map[string]float64{}, map[string]time.Time{}, map[string]*histogram.Histogram{}}
	var last *model.Family
	closed := map[*model.Family]bool{}
	w.digest.Gather(func(s model.Sample) {
		if s.Family != last {
			if closed[s.Family] {
				w.t.Errorf("family %s is not in one piece", s.Family.Name)
			}
			closed[s.Family], last = true, s.Family
		}
		key := s.Family.Name + s.Labels.String()
		if _, twice := r.created[key]; twice {
			w.t.Errorf("%s is there twice", key)
		}
		r.created[key] = s.Created
		if s.Family.Type == model.Gauge != s.Created.IsZero() {
			w.t.Errorf("%s: created %v", key, s.Created)
		}
		if s.Family.Type == model.Histogram {
			h := s.Histogram.Copy()
			if err := h.Validate(); err != nil {
				w.t.Errorf("%s: %v", key, err)
			}
			r.histograms[key] = h
			return
		}
		r.values[key] = s.Value
	})
	return r
}

// want compares the series of some names with text lines of "name{labels} value".
func (r reading) want(t *testing.T, prefix, text string) {
	t.Helper()
	want := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		key := line[:at]
		want[key] = true
		got, ok := r.values[key]
		if !ok {
			t.Errorf("no %s", key)
		} else if fmt.Sprint(got) != line[at+1:] {
			t.Errorf("%s is %v, want %s", key, got, line[at+1:])
		}
	}
	for key, value := range r.values {
		if strings.HasPrefix(key, prefix) && !want[key] {
			t.Errorf("there is also %s %v", key, value)
		}
	}
}

// sum adds all series of a name whose labels hold each of the parts.
func (r reading) sum(name string, parts ...string) (total float64) {
next:
	for key, value := range r.values {
		if !strings.HasPrefix(key, name+"{") {
			continue
		}
		for _, part := range parts {
			if !strings.Contains(key, part) {
				continue next
			}
		}
		total += value
	}
	return total
}
