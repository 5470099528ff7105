package process

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

const (
	maxSpaces      = 2048             // network namespaces kept
	spacePIDs      = 8                // processes remembered to enter a namespace by
	refreshEvery   = 20 * time.Second // all namespaces
	ownEvery       = 5 * time.Second  // the machine's own
	demandEvery    = time.Second      // all, because an address was not found
	maxListings    = 256              // namespaces listed in one go
	searchEvery    = 10 * time.Second // a walk through /proc for a process in a namespace
	forgetSpace    = 10 * time.Minute // after no process could be found in it
	listingsBudget = time.Second
)

// space is one network namespace.
type space struct {
	netns  uint32
	pids   []uint32 // the latest last
	addrs  []netip.Addr
	listed time.Time // when addrs were read
	used   time.Time // when an owner or a listener in it was last seen
	dead   bool      // nobody to enter it by
}

// addressBook knows which network namespace owns an address. Loopback and link-local addresses belong to each by itself.
type addressBook struct {
	list func(pid, netns uint32) ([]netip.Addr, error)
	find func(netns uint32) uint32
	own  uint32  // the machine's
	door nsEntry // how to enter it

	spaces    map[uint32]*space
	owners    map[netip.Addr][]uint32
	cursor    int // where the next refresh goes on, when not all fit into one
	refreshed time.Time
	ownListed time.Time
	searched  time.Time

	failed   atomic.Uint64 // listings that failed for another reason than that the process was gone
	overflow atomic.Uint64 // namespaces not kept
}

func newAddressBook(own uint32, door nsEntry, list func(pid, netns uint32) ([]netip.Addr, error), find func(uint32) uint32) *addressBook {
	b := &addressBook{list: list, find: find, own: own, door: door, spaces: make(map[uint32]*space), owners: make(map[netip.Addr][]uint32)}
	b.spaces[own] = &space{netns: own}
	return b
}

// see notes that a process lives in a namespace. A new namespace is listed at once.
func (b *addressBook) see(netns, pid uint32, now time.Time) {
	if netns == 0 {
		return
	}
	s := b.spaces[netns]
	if s == nil {
		if len(b.spaces) >= maxSpaces {
			b.overflow.Add(1)
			return
		}
		s = &space{netns: netns}
		b.spaces[netns] = s
	}
	s.used = now
	if pid != 0 && !slices.Contains(s.pids, pid) {
		s.pids = append(s.pids, pid)
		if len(s.pids) > spacePIDs {
			s.pids = slices.Delete(s.pids, 0, 1)
		}
		s.dead = false
	}
	if s.listed.IsZero() && !s.dead {
		b.read(s, now)
	}
}

// read lists one namespace anew and settles who owns the addresses in it.
func (b *addressBook) read(s *space, now time.Time) {
	addrs, err := b.enter(s, now)
	s.listed = now
	b.drop(s)
	if err != nil {
		s.dead = s.netns != b.own
		return
	}
	s.addrs = addrs
	for _, addr := range addrs {
		if !isShared(addr) {
			owners := b.owners[addr]
			at, _ := slices.BinarySearch(owners, s.netns)
			b.owners[addr] = slices.Insert(owners, at, s.netns)
		}
	}
}

func (b *addressBook) enter(s *space, now time.Time) ([]netip.Addr, error) {
	if s.netns == b.own {
		return b.list(b.door.pid, b.door.netns)
	}
	for i := len(s.pids) - 1; i >= 0; i-- {
		addrs, err := b.list(s.pids[i], s.netns)
		if err == nil {
			return addrs, nil
		}
		s.pids = slices.Delete(s.pids, i, i+1)
	}
	if now.Sub(b.searched) >= searchEvery {
		b.searched = now
		if pid := b.find(s.netns); pid != 0 {
			s.pids = append(s.pids, pid)
			addrs, err := b.list(pid, s.netns)
			if err != nil {
				b.failed.Add(1)
			}
			return addrs, err
		}
	}
	return nil, errNobody
}

var errNobody = errors.New("no process in the network namespace")

// drop forgets the addresses of a namespace.
func (b *addressBook) drop(s *space) {
	for _, addr := range s.addrs {
		owners := b.owners[addr]
		if at, ok := slices.BinarySearch(owners, s.netns); ok {
			owners = slices.Delete(owners, at, at+1)
		}
		if len(owners) == 0 {
			delete(b.owners, addr)
		} else {
			b.owners[addr] = owners
		}
	}
	s.addrs = nil
}

// refresh lists again what is due; on demand all that was not listed within a second.
func (b *addressBook) refresh(now time.Time, demand bool) {
	if own := b.spaces[b.own]; now.Sub(b.ownListed) >= ownEvery || (demand && now.Sub(b.ownListed) >= demandEvery) {
		b.ownListed = now
		b.read(own, now)
	}
	limit := refreshEvery
	if demand {
		limit = demandEvery
	}
	if now.Sub(b.refreshed) < limit {
		return
	}
	b.refreshed = now
	keys := make([]uint32, 0, len(b.spaces))
	for netns, s := range b.spaces {
		if netns == b.own {
			continue
		}
		if s.dead && now.Sub(s.used) >= forgetSpace {
			delete(b.spaces, netns)
			continue
		}
		keys = append(keys, netns)
	}
	slices.Sort(keys)
	start := time.Now()
	for range min(len(keys), maxListings) {
		b.cursor = (b.cursor + 1) % len(keys)
		b.read(b.spaces[keys[b.cursor]], now)
		if time.Since(start) > listingsBudget {
			return
		}
	}
}

// candidates gives the namespaces that may own an address that a socket in a namespace talks to, the likeliest first.
func (b *addressBook) candidates(from uint32, addr netip.Addr) []uint32 {
	if addr.IsUnspecified() || isShared(addr) && b.holds(from, addr) {
		return []uint32{from}
	}
	if isShared(addr) {
		return nil
	}
	owners := b.owners[addr]
	if slices.Contains(owners, from) {
		return []uint32{from}
	}
	return owners
}

// holds reports whether an address that each namespace may have belongs to one.
func (b *addressBook) holds(netns uint32, addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	s := b.spaces[netns]
	return s != nil && slices.Contains(s.addrs, addr)
}

// entry gives a process to enter a namespace by.
func (b *addressBook) entry(netns uint32) (nsEntry, bool) {
	if netns == b.own || netns == 0 {
		return b.door, true
	}
	s := b.spaces[netns]
	if s == nil || len(s.pids) == 0 {
		return nsEntry{}, false
	}
	return nsEntry{netns: netns, pid: s.pids[len(s.pids)-1]}, true
}

// addresses gives what a listener on an unspecified address of a namespace can be reached at. Loopback counts only in the machine's own.
func (b *addressBook) addresses(netns uint32, v4, v6 bool) []netip.Addr {
	s := b.spaces[netns]
	if s == nil {
		return nil
	}
	var out []netip.Addr
	for _, addr := range s.addrs {
		if (addr.Is4() && !v4) || (addr.Is6() && !v6) || addr.IsLinkLocalUnicast() || (addr.IsLoopback() && netns != b.own) {
			continue
		}
		out = append(out, addr)
	}
	return out
}

// isShared reports whether many namespaces have the address, each its own.
func isShared(addr netip.Addr) bool { return addr.IsLoopback() || addr.IsLinkLocalUnicast() }
