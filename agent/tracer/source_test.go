package tracer

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/agent/probe"
)

// machine is a /proc of the tests' own. A namespace is a file, whose inode is its number.
type machine struct {
	t    testing.TB
	root string
}

func newMachine(t testing.TB) *machine {
	return &machine{t, t.TempDir()}
}

// space makes a network namespace in which sockets listen at some addresses, in the form of /proc/net/tcp.
func (m *machine) space(name string, listening ...string) uint32 {
	m.t.Helper()
	path := filepath.Join(m.root, "spaces", name)
	require.NoError(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(m.t, os.WriteFile(path, nil, 0o644))
	m.listen(name, listening...)
	info, err := os.Stat(path)
	require.NoError(m.t, err)
	return uint32(info.Sys().(*syscall.Stat_t).Ino)
}

func (m *machine) listen(space string, listening ...string) {
	m.t.Helper()
	head := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	tcp, tcp6 := head, head
	for i, at := range listening {
		if len(at) > 20 {
			tcp6 += fmt.Sprintf("%4d: %s 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000\n", i, at)
		} else {
			tcp += fmt.Sprintf("%4d: %s 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n", i, at)
		}
	}
	tcp += "   9: 0100007F:1F91 0100007F:C350 01 00000000:00000000 00:00000000 00000000\n"
	for name, text := range map[string]string{"tcp": tcp, "tcp6": tcp6} {
		require.NoError(m.t, os.WriteFile(filepath.Join(m.root, "spaces", space+"."+name), []byte(text), 0o644))
	}
}

func (m *machine) process(pid int, exe, space, begun string) {
	m.t.Helper()
	dir := filepath.Join(m.root, strconv.Itoa(pid))
	require.NoError(m.t, os.RemoveAll(dir))
	require.NoError(m.t, os.MkdirAll(filepath.Join(dir, "ns"), 0o755))
	require.NoError(m.t, os.MkdirAll(filepath.Join(dir, "net"), 0o755))
	stat := fmt.Sprintf("%d (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 1 0 %s 1000 10\n", pid, begun)
	for name, text := range map[string]string{"stat": stat, "comm": exe + "\n", "cgroup": "4:memory:/app\n1:name=systemd:/app\n0::/\n"} {
		require.NoError(m.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	for link, to := range map[string]string{
		"exe": "/usr/bin/" + exe, "ns/net": filepath.Join(m.root, "spaces", space), "net/tcp": filepath.Join(m.root, "spaces", space+".tcp"),
		"net/tcp6": filepath.Join(m.root, "spaces", space+".tcp6"),
	} {
		require.NoError(m.t, os.Symlink(to, filepath.Join(dir, link)))
	}
}

func (m *machine) end(pid int) {
	require.NoError(m.t, os.RemoveAll(filepath.Join(m.root, strconv.Itoa(pid))))
}

func conn1(pid int, netns uint32, source, dest string, direction uint8, sent, received uint64) Connection {
	local, remote := addr(source), addr(dest)
	return Connection{
		PID: uint32(pid), NetNS: netns, Source: local.Addr().String(), SPort: local.Port(), Dest: remote.Addr().String(), DPort: remote.Port(), Direction: direction,
		MonotonicSent: sent, MonotonicReceived: received,
	}
}

// reading sums up what a book made of answers: pairs by the names of their owners.
type reading struct {
	names map[probe.OwnerID]string
	text  []string
}

func (r *reading) take(s probe.Snapshot) string {
	if r.names == nil {
		r.names = map[probe.OwnerID]string{0: "-"}
	}
	for _, o := range s.Owners {
		r.names[o.ID] = o.Exe
	}
	r.text = nil
	for _, p := range s.Pairs {
		role := "calls"
		if p.Key.Role == probe.RoleServer {
			role = "serves"
		}
		line := fmt.Sprintf("%s %s %s at %s from %s: %d/%d opened %d closed %d active %d", r.names[p.Key.Owner], role, r.names[p.Key.Peer], p.Key.Remote, p.Key.Local,
			p.BytesSent, p.BytesReceived, p.Opened, p.Closed, p.Active)
		if p.Key.Actual.IsValid() {
			line += " really " + p.Key.Actual.String()
		}
		if p.Gone {
			line += " gone"
		}
		r.text = append(r.text, line)
	}
	slices.Sort(r.text)
	return strings.Join(r.text, "\n")
}

func TestWhatWasBeforeDoesNotCount(t *testing.T) {
	m := newMachine(t)
	ns := m.space("host")
	m.process(7, "curl", "host", "5")
	b, r := newBook(procfs{m.root}), &reading{}
	rows := []Connection{conn1(7, ns, "10.0.0.1:4000", "192.0.2.1:80", 2, 100, 200)}
	b.read(rows, true, true, at(0))
	require.Equal(t, "curl calls - at 192.0.2.1:80 from 10.0.0.1:0: 0/0 opened 0 closed 0 active 1", r.take(b.take(at(0))))
	rows[0].MonotonicSent += 5
	b.read(rows, true, true, at(5))
	require.Equal(t, "curl calls - at 192.0.2.1:80 from 10.0.0.1:0: 5/0 opened 0 closed 0 active 1", r.take(b.take(at(5))))
	rows = append(rows, conn1(7, ns, "10.0.0.1:4001", "192.0.2.1:80", 2, 7, 8))
	b.read(rows, true, true, at(10))
	require.Equal(t, "curl calls - at 192.0.2.1:80 from 10.0.0.1:0: 7/8 opened 1 closed 0 active 2", r.take(b.take(at(10))))
	b.read(rows[1:], true, true, at(15))
	require.Equal(t, "curl calls - at 192.0.2.1:80 from 10.0.0.1:0: 0/0 opened 0 closed 1 active 1", r.take(b.take(at(15))))
	b.read(nil, true, false, at(20))
	require.Empty(t, r.take(b.take(at(20))), "an answer that broke off says nothing of what is not in it")
	for range keepAbsent {
		b.read(nil, true, true, at(25))
	}
	require.Equal(t, "curl calls - at 192.0.2.1:80 from 10.0.0.1:0: 0/0 opened 0 closed 1 active 0 gone", r.take(b.take(at(25))))
	require.Empty(t, b.conns)
	require.Empty(t, b.pairs)
}

func TestATracerThatBeginsAgainCountsFromZero(t *testing.T) {
	m := newMachine(t)
	ns := m.space("host")
	m.process(7, "curl", "host", "5")
	b, r := newBook(procfs{m.root}), &reading{}
	b.read(nil, true, true, at(0))
	for _, step := range []struct {
		total uint64
		want  string
	}{{100, "100/0 opened 1 closed 0 active 1"}, {150, "50/0 opened 0 closed 0 active 1"}, {20, "20/0 opened 0 closed 0 active 1"}, {25, "5/0 opened 0 closed 0 active 1"}} {
		b.read([]Connection{conn1(7, ns, "10.0.0.1:4000", "192.0.2.1:80", 2, step.total, 0)}, true, true, at(1))
		require.Equal(t, "curl calls - at 192.0.2.1:80 from 10.0.0.1:0: "+step.want, r.take(b.take(at(1))))
	}
	b.read(nil, true, true, at(2))
	r.take(b.take(at(2)))
	b.read([]Connection{conn1(7, ns, "10.0.0.1:4000", "192.0.2.1:80", 2, 30, 0)}, true, true, at(3))
	require.Contains(t, r.take(b.take(at(3))), ": 5/0 ", "one that was missing for a while does not count twice")
}

func TestBothEndsAreOneEdge(t *testing.T) {
	m := newMachine(t)
	shop, db := m.space("shop"), m.space("db", "00000000:1538")
	m.process(7, "shop", "shop", "5")
	m.process(8, "postgres", "db", "5")
	b, r := newBook(procfs{m.root}), &reading{}
	b.read(nil, true, true, at(0))
	// through a service's address; the tracer calls the pod's server outgoing
	calls := conn1(7, shop, "10.1.0.1:4000", "10.96.0.9:5432", 2, 10, 20)
	serves := conn1(8, db, "10.1.0.2:5432", "10.1.0.1:4000", 2, 20, 10)
	b.read([]Connection{serves, calls}, true, true, at(5))
	s := b.take(at(5))
	require.Equal(t, "postgres serves shop at 10.1.0.1:0 from 10.1.0.2:5432: 20/10 opened 1 closed 0 active 1\n"+
		"shop calls postgres at 10.96.0.9:5432 from 10.1.0.1:0: 10/20 opened 1 closed 0 active 1 really 10.1.0.2:5432", r.take(s))
	require.Equal(t, []probe.Listener{{Owner: s.Listeners[0].Owner, NetNS: db, Addr: netip.MustParseAddrPort("0.0.0.0:5432")}}, s.Listeners)
	require.Equal(t, "postgres", r.names[s.Listeners[0].Owner])
}

func TestTheOtherEndMayComeLater(t *testing.T) {
	m := newMachine(t)
	ns := m.space("host", "0100007F:0050")
	m.process(7, "curl", "host", "5")
	m.process(8, "nginx", "host", "5")
	b, r := newBook(procfs{m.root}), &reading{}
	b.read(nil, true, true, at(0))
	calls := conn1(7, ns, "127.0.0.1:4000", "127.0.0.1:80", 3, 10, 20)
	serves := conn1(8, ns, "127.0.0.1:80", "127.0.0.1:4000", 3, 20, 10)
	b.read([]Connection{serves}, true, true, at(5))
	require.Empty(t, r.take(b.take(at(5))))
	b.read([]Connection{serves, calls}, true, true, at(10))
	require.Equal(t, "curl calls nginx at 127.0.0.1:80 from 127.0.0.1:0: 10/20 opened 1 closed 0 active 1 really 127.0.0.1:80\n"+
		"nginx serves curl at 127.0.0.1:0 from 127.0.0.1:80: 20/10 opened 1 closed 0 active 1", r.take(b.take(at(10))))

	alone := conn1(7, ns, "127.0.0.1:4001", "127.0.0.1:80", 3, 1, 2)
	b.read([]Connection{serves, calls, alone}, true, true, at(15))
	require.Empty(t, r.take(b.take(at(15))))
	b.read([]Connection{serves, calls}, true, true, at(20)) // it ended meanwhile
	require.Equal(t, "curl calls - at 127.0.0.1:80 from 127.0.0.1:0: 1/2 opened 1 closed 1 active 0", r.take(b.take(at(20))))
}

func TestWaitingEndsWithTheLastAnswer(t *testing.T) {
	m := newMachine(t)
	ns := m.space("host")
	m.process(7, "curl", "host", "5")
	b, r := newBook(procfs{m.root}), &reading{}
	b.read(nil, true, true, at(0))
	b.read([]Connection{conn1(7, ns, "127.0.0.1:4001", "127.0.0.1:80", 2, 1, 2)}, true, true, at(5))
	require.Empty(t, r.take(b.take(at(5))))
	b.settle()
	require.Contains(t, r.take(b.take(at(5))), ": 1/2 opened 1")
}

func TestRoles(t *testing.T) {
	m := newMachine(t)
	ns := m.space("host", "0100007F:1F90", "00000000000000000000000000000000:1F92", "B80D0120000000000000000001000000:01BB")
	m.process(7, "a", "host", "5")
	for name, tc := range map[string]struct {
		source, dest string
		direction    uint8
		want         probe.Role
	}{
		"listening, called outgoing":      {"127.0.0.1:8080", "192.0.2.1:4000", 2, probe.RoleServer},
		"listening for all addresses":     {"10.0.0.1:8082", "192.0.2.1:4000", 2, probe.RoleServer},
		"listening, IPv6":                 {"[2001:db8::1]:443", "[2001:db8::2]:4000", 2, probe.RoleServer},
		"listening at another address":    {"10.0.0.1:8080", "192.0.2.1:4000", 2, probe.RoleClient},
		"incoming":                        {"10.0.0.1:90", "192.0.2.1:4000", 1, probe.RoleServer},
		"outgoing":                        {"10.0.0.1:4000", "192.0.2.1:90", 2, probe.RoleClient},
		"local, the other end listens":    {"127.0.0.1:400", "127.0.0.1:8080", 3, probe.RoleClient},
		"local, nobody listens any more":  {"127.0.0.1:70", "127.0.0.1:4000", 3, probe.RoleServer},
		"local, from the port that rises": {"127.0.0.1:4000", "127.0.0.1:70", 3, probe.RoleClient},
		"mapped into IPv6":                {"[::ffff:127.0.0.1]:8080", "[::ffff:127.0.0.1]:4000", 2, probe.RoleServer},
		"no such direction":               {"10.0.0.1:4000", "192.0.2.1:90", 9, probe.RoleClient},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(procfs{m.root})
			rows := []Connection{conn1(7, ns, tc.source, tc.dest, tc.direction, 1, 1)}
			b.read(rows, true, true, at(0))
			b.read(rows, true, true, at(5))
			s := b.take(at(5))
			require.Len(t, s.Pairs, 1)
			require.Equal(t, tc.want, s.Pairs[0].Key.Role)
		})
	}
}

func TestProcessesComeAndGo(t *testing.T) {
	m := newMachine(t)
	ns := m.space("host")
	m.process(7, "curl", "host", "5")
	b, r := newBook(procfs{m.root}), &reading{}
	b.read(nil, true, true, at(0))
	first := conn1(7, ns, "10.0.0.1:4000", "192.0.2.1:80", 2, 1, 0)
	b.read([]Connection{first, conn1(99, ns, "10.0.0.1:5000", "192.0.2.1:80", 2, 1, 0)}, true, true, at(5))
	require.Contains(t, r.take(b.take(at(5))), "curl calls")
	b.read([]Connection{conn1(99, ns, "10.0.0.1:5000", "192.0.2.1:80", 2, 1, 0)}, true, true, at(5))
	require.EqualValues(t, 1, b.lost[lostNobody], "once for a row")

	m.end(7)
	second := conn1(7, ns, "10.0.0.1:4001", "192.0.2.1:80", 2, 1, 0)
	b.read([]Connection{first, second}, true, true, at(10))
	require.Contains(t, r.take(b.take(at(10))), "curl calls", "it is known from before")
	m.process(7, "wget", "host", "900")
	third := conn1(7, ns, "10.0.0.1:4002", "192.0.2.1:80", 2, 1, 0)
	b.read([]Connection{first, second, third}, true, true, at(15))
	require.Contains(t, r.take(b.take(at(15))), "wget calls", "the pid is another's now")
	for i := range keepAbsent {
		b.read(nil, true, true, at(20+i))
	}
	b.take(at(40))
	b.read(nil, true, true, at(1000))
	require.Len(t, b.take(at(1000)).Gone, 2)
	require.Empty(t, b.owners.by)
	require.Empty(t, b.owners.processes)
	require.Empty(t, b.spaces)
}

func TestRowsThatAreNotCounted(t *testing.T) {
	m := newMachine(t)
	ns := m.space("host")
	m.process(7, "curl", "host", "5")
	b := newBook(procfs{m.root})
	udp := conn1(7, ns, "10.0.0.1:53", "192.0.2.1:53", 2, 1, 1)
	udp.Type = typeUDP
	b.read([]Connection{{}, {PID: 7, Source: "x", Dest: "10.0.0.1"}, {PID: 7, Source: "10.0.0.1", Dest: "10.0.0.1", Type: 3}, udp}, true, true, at(0))
	require.Empty(t, b.take(at(0)).Pairs)
	require.EqualValues(t, 3, b.lost[lostMalformed])
	require.EqualValues(t, 1, b.lost[lostUDP])
}

func FuzzListeners(f *testing.F) {
	f.Add("  sl\n 0: 0100007F:0050 00000000:0000 0A x\n")
	f.Add(" 0: 00000000000000000000000001000000:0050 0:0 0A")
	f.Fuzz(func(t *testing.T, text string) {
		out := map[netip.AddrPort]bool{}
		_ = listeners(strings.NewReader(text), out) // it may end with an error; it must end
		for at := range out {
			require.True(t, at.IsValid())
		}
	})
}
