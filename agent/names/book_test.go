package names

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func to(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// seen adds a sighting of all ports by DNS.
func seen(b *Book, at time.Time, client uint64, addr, name string, ttl time.Duration) {
	b.Add(at, Sighting{Client: client, Addr: netip.MustParseAddr(addr), Name: name, TTL: ttl})
}

func requireName(t *testing.T, b *Book, at time.Time, client uint64, addr, want string) {
	t.Helper()
	got, ok := b.Name(at, client, to(addr))
	require.Equal(t, want, got)
	require.Equal(t, want != "", ok)
}

func TestRegistered(t *testing.T) {
	for name, want := range map[string]string{
		"www.example.co.uk": "example.co.uk", "example.com": "example.com", "a.b.example.com": "example.com", "com": "com", "co.uk": "co.uk",
		"bucket.s3.amazonaws.com": "amazonaws.com", "s3.amazonaws.com": "amazonaws.com", "me.github.io": "github.io", "github.io": "github.io",
		"redis.default.svc.cluster.local": "cluster.local", "localhost": "localhost", "": "", "x.internal": "x.internal", "a.b.c.kobe.jp": "b.c.kobe.jp",
	} {
		got, public := Registered(name)
		require.Equal(t, want, got, name)
		require.Equal(t, !strings.HasSuffix(name, "local") && !strings.HasSuffix(name, "localhost") && !strings.HasSuffix(name, "internal") && name != "", public, name)
	}
}

func TestNameIsTheFirstUntilItIsOver(t *testing.T) {
	b := New()
	requireName(t, b, start, 1, "192.0.2.1:443", "")
	seen(b, start, 1, "192.0.2.1", "One.Example.com.", time.Minute)
	seen(b, start.Add(time.Second), 1, "192.0.2.1", "two.example.com", time.Hour)
	seen(b, start.Add(time.Second), 2, "192.0.2.1", "three.example.com", time.Hour)
	at := start.Add(2 * time.Second)
	requireName(t, b, at, 1, "192.0.2.1:443", "one.example.com")
	requireName(t, b, at, 2, "192.0.2.1:80", "three.example.com")
	requireName(t, b, at, 3, "192.0.2.1:80", "one.example.com")
	requireName(t, b, at, 1, "[::ffff:192.0.2.1]:443", "one.example.com")
	at = start.Add(minValid + time.Second) // kept because it was asked for, but another holds by itself
	requireName(t, b, at, 1, "192.0.2.1:443", "two.example.com")
	requireName(t, b, start.Add(25*time.Hour), 1, "192.0.2.1:443", "")
}

func TestNameIsKeptWhileItIsAskedFor(t *testing.T) {
	b := New()
	seen(b, start, 1, "2001:db8::1", "one.example.com", 0)
	for i := range 100 {
		requireName(t, b, start.Add(time.Duration(i)*time.Minute), 1, "[2001:db8::1]:443", "one.example.com")
		seen(b, start.Add(time.Duration(i)*time.Minute), 9, "192.0.2.9", "other.example.com", 0) // sweeps
	}
	require.Empty(t, b.Mappings(start.Add(99 * time.Minute))[1:], "what is only kept is no answer any more")
	requireName(t, b, start.Add(200*time.Minute), 1, "[2001:db8::1]:443", "")
}

func TestBetterSourcesAndPorts(t *testing.T) {
	b := New()
	addr := netip.MustParseAddr("192.0.2.1")
	seen(b, start, 1, "192.0.2.1", "dns.example.com", 0)
	b.Add(start, Sighting{Client: 1, Addr: addr, Port: 80, Name: "host.example.com", Source: Host})
	b.Add(start, Sighting{Client: 1, Addr: addr, Port: 443, Name: "sni.example.com", Source: SNI})
	b.Add(start, Sighting{Client: 2, Addr: addr, Port: 22, Name: "other.example.com", Source: SNI})
	requireName(t, b, start, 1, "192.0.2.1:80", "host.example.com")
	requireName(t, b, start, 1, "192.0.2.1:443", "sni.example.com")
	requireName(t, b, start, 1, "192.0.2.1:22", "dns.example.com")
	require.Equal(t, []Mapping{{addr, "dns.example.com"}}, b.Mappings(start))
}

func TestWhatIsNoNameOrAddressIsNotTaken(t *testing.T) {
	b := New()
	for _, name := range []string{"", ".", "192.0.2.1", "fe80::1", "a..b", "with space.com", "x\x00y", "pass@host", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 127) + "com", "bücher.de"} {
		seen(b, start, 1, "192.0.2.1", name, 0)
	}
	for _, addr := range []string{"0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.251"} {
		seen(b, start, 1, addr, "example.com", 0)
	}
	b.Add(start, Sighting{Name: "example.com"})
	require.Zero(t, b.Stats().Addresses)
}

func TestNamesOfOneDomainAreBounded(t *testing.T) {
	b := New()
	for i := range 1000 {
		seen(b, start, 1, fmt.Sprintf("192.0.%d.%d", i/250, 1+i%250), fmt.Sprintf("bucket%d.s3.amazonaws.com", i), 0)
		seen(b, start, 1, fmt.Sprintf("198.18.%d.%d", i/250, 1+i%250), fmt.Sprintf("service%d.default.svc.cluster.local", i), 0)
	}
	shown := map[string]int{}
	for _, m := range b.Mappings(start) {
		shown[m.Name]++
	}
	require.Len(t, shown, maxPerDomain+1+maxPerLocal+1)
	require.Equal(t, 1000-maxPerDomain, shown["amazonaws.com"])
	require.Equal(t, 1000-maxPerLocal, shown["cluster.local"])
	seen(b, start.Add(time.Hour), 1, "192.0.2.1", "late.s3.amazonaws.com", 0)
	requireName(t, b, start.Add(time.Hour), 1, "192.0.2.1:1", "late.s3.amazonaws.com")
	require.Len(t, b.domains, 1, "what is over leaves its domain")
}

func TestBookIsBounded(t *testing.T) {
	b := New()
	for i := range 3 * maxAddresses {
		seen(b, start, 1, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), "example.com", 0)
	}
	require.Equal(t, maxAddresses, b.Stats().Addresses)
	require.Equal(t, uint64(2*maxAddresses), b.Stats().Dropped)
	for i := range 100 {
		seen(b, start.Add(time.Duration(i)), 1, "10.0.0.1", fmt.Sprintf("n%d.example.org", i), time.Duration(i)*time.Hour)
	}
	require.Len(t, b.addresses[netip.MustParseAddr("10.0.0.1")], maxSightings)
	seen(b, start.Add(48*time.Hour), 1, "10.0.0.1", "example.net", 0)
	require.Equal(t, 1, b.Stats().Addresses)
}
