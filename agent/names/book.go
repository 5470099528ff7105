// Package names remembers by which names programs ask for addresses outside, so that an edge to an address can show the name.
package names

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Source is what told that an address goes by a name. A later one is believed before an earlier.
type Source uint8

// The sources.
const (
	DNS  Source = iota // the address stood in an answer to a question for the name
	Host               // an HTTP request that was sent to the address named it
	SNI                // a TLS connection to the address asked for it
)

// The bounds of a Book, and how long a name holds.
const (
	maxAddresses = 4096
	maxSightings = 8                // names of one address
	maxMapped    = 2                // of them in Mappings
	maxPerDomain = 20               // names of one public registered domain that go by themselves; those beyond go by the domain
	maxPerLocal  = 200              // the same for domains that are not public: "cluster.local"
	minValid     = 10 * time.Minute // programs keep connections and addresses for longer than their TTL says
	maxValid     = 24 * time.Hour
	maxNameBytes = 253 // RFC 1035, without the last dot
	sweepEvery   = 30 * time.Second
)

// Sighting is one observation of a name.
type Sighting struct {
	Client uint64     // who used it: a probe.OwnerID
	Addr   netip.Addr // the address before NAT, as the client's socket sees it
	Port   uint16     // 0: of all ports
	Name   string     // as on the wire, with or without the last dot; what is no host name is not taken
	Source Source
	TTL    time.Duration // how long it holds, between 10 minutes and a day; 0 for the least
}

// Mapping is a name that DNS gave an address.
type Mapping struct {
	Addr netip.Addr
	Name string
}

// Book is safe for use by several goroutines.
//
// An address may have many names, and what is shown must not change to and fro. Name takes, of the sightings of the client itself before those
// of others: the best source, then the one that was there first. A sighting holds until its time is over without another, and as long
// after that as Name is asked for it and nothing newer is there.
type Book struct {
	mu        sync.Mutex
	addresses map[netip.Addr][]sighting // in the order of first sight
	domains   map[string]map[string]int // sightings by registered domain and shown name
	swept     time.Time
	dropped   uint64
}

type sighting struct {
	client uint64
	port   uint16
	source Source
	name   string    // as seen
	shown  string    // what it goes by: name, or its registered domain
	until  time.Time // holds so long by itself
	kept   time.Time // and so long because it was asked for
}

// New makes an empty book.
func New() *Book {
	return &Book{addresses: make(map[netip.Addr][]sighting), domains: make(map[string]map[string]int)}
}

// Add takes a sighting in.
func (b *Book) Add(now time.Time, s Sighting) {
	name, ok := hostName(s.Name)
	addr := s.Addr.Unmap().WithZone("")
	if !ok || !addr.IsValid() || addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() {
		return
	}
	until := now.Add(min(max(s.TTL, minValid), maxValid))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(now, false)
	list := b.addresses[addr]
	for i := range list {
		if e := &list[i]; e.client == s.Client && e.port == s.Port && e.source == s.Source && e.name == name {
			if e.until.Before(until) {
				e.until = until
			}
			return
		}
	}
	if list == nil && len(b.addresses) >= maxAddresses {
		b.sweep(now, true)
		if len(b.addresses) >= maxAddresses {
			b.dropped++
			return
		}
	}
	if len(list) >= maxSightings {
		list = b.makeRoom(list)
	}
	b.addresses[addr] = append(list, sighting{client: s.Client, port: s.Port, source: s.Source, name: name, shown: b.enter(name), until: until})
}

// makeRoom lets the sighting go that is over first.
func (b *Book) makeRoom(list []sighting) []sighting {
	oldest := 0
	for i := range list {
		if list[i].end().Before(list[oldest].end()) {
			oldest = i
		}
	}
	b.leave(list[oldest])
	b.dropped++
	return slices.Delete(list, oldest, oldest+1)
}

// Name is what an address goes by for a client (a probe.OwnerID); ok is false where nobody named it. What is asked for is kept.
func (b *Book) Name(now time.Time, client uint64, to netip.AddrPort) (name string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var best *sighting
	list := b.addresses[to.Addr().Unmap().WithZone("")]
	for i := range list {
		e := &list[i]
		if e.port != 0 && e.port != to.Port() || !e.end().After(now) {
			continue
		}
		if best == nil || e.before(best, client, now) {
			best = e
		}
	}
	if best == nil {
		return "", false
	}
	best.kept = now.Add(minValid)
	return best.shown, true
}

// before says whether a sighting is to be believed before one that was there earlier.
func (e *sighting) before(other *sighting, client uint64, now time.Time) bool {
	if own, theirs := e.client == client, other.client == client; own != theirs {
		return own
	}
	if holds, held := e.until.After(now), other.until.After(now); holds != held {
		return holds
	}
	return e.source > other.source
}

func (e *sighting) end() time.Time {
	if e.kept.After(e.until) {
		return e.kept
	}
	return e.until
}

// Mappings lists what DNS said and still holds: of each address the two names that were there first.
func (b *Book) Mappings(now time.Time) []Mapping {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Mapping
	for addr, list := range b.addresses {
		begin := len(out)
		for i := range list {
			m := Mapping{addr, list[i].shown}
			if list[i].source == DNS && list[i].until.After(now) && !slices.Contains(out[begin:], m) && len(out)-begin < maxMapped {
				out = append(out, m)
			}
		}
	}
	return out
}

// Stats are the book's own figures.
type Stats struct {
	Addresses, MaxAddresses int
	Dropped                 uint64 // sightings that found no room, or made others go before their time
}

// Stats says how full the book is.
func (b *Book) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{Addresses: len(b.addresses), MaxAddresses: maxAddresses, Dropped: b.dropped}
}

// enter finds what a name goes by and holds its place among the names of its domain.
func (b *Book) enter(name string) string {
	domain, public := Registered(name)
	limit := maxPerLocal
	if public {
		limit = maxPerDomain
	}
	names := b.domains[domain]
	if names == nil {
		names = make(map[string]int)
		b.domains[domain] = names
	}
	if names[name] == 0 && len(names) >= limit {
		name = domain
	}
	names[name]++
	return name
}

func (b *Book) leave(e sighting) {
	domain, _ := Registered(e.name)
	names := b.domains[domain]
	if names[e.shown]--; names[e.shown] <= 0 {
		delete(names, e.shown)
	}
	if len(names) == 0 {
		delete(b.domains, domain)
	}
}

// sweep forgets what is over.
func (b *Book) sweep(now time.Time, must bool) {
	if !must && now.Sub(b.swept) < sweepEvery || now.Equal(b.swept) {
		return
	}
	b.swept = now
	for addr, list := range b.addresses {
		list = slices.DeleteFunc(list, func(e sighting) bool {
			if e.end().After(now) {
				return false
			}
			b.leave(e)
			return true
		})
		if len(list) == 0 {
			delete(b.addresses, addr)
		} else {
			b.addresses[addr] = list
		}
	}
}

// hostName brings a name into one form: lower case, without the last dot. It says no to what is no name of a host, such as an address.
func hostName(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > maxNameBytes {
		return "", false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return "", false
			}
		}
	}
	return strings.ToLower(name), true
}
