package process

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/vetch-dev/vetch/agent/names"
	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/model"
)

const (
	maxOwners     = 65536
	rememberOwner = 10 * time.Minute // after the kernel forgot it
	sweepEvery    = 30 * time.Second
	awaitPod      = 6 * time.Second // how long a new process in a pod may wait for the pod's name
)

// target is a service that a client of this machine was seen to reach by a translated address.
type target struct {
	server model.Workload
	port   uint16
}

// Options say where to look.
type Options struct {
	Log      *slog.Logger // nil: nothing is logged
	Root     string       // the host's file system; "" is "/"
	Hostname string       // the name of the node's own workload
	Names    *names.Book  // by which names addresses outside are known; nil: by none
	Cluster  *Cluster     // what the names feed of a cluster says; nil: there is none
	// Addresses lists the addresses in the network namespace of a process; (0, 0) is the agent's own. nil asks the kernel.
	Addresses func(pid, netns uint32) ([]netip.Addr, error)
}

// Book knows who every owner is and who is behind every address. It belongs to one goroutine; only Stats may be called from others.
type Book struct {
	log      *slog.Logger
	node     model.Workload
	proc     procfs
	runtimes *runtimes
	budget   time.Duration // that asking them may still take in this poll
	outside  *names.Book
	cluster  *Cluster
	space    *addressBook
	listen   listeners
	answer   listeners // UDP sockets that are asked
	tracker  conntrack
	owners   map[probe.OwnerID]*owner
	tenants  map[uint32]map[model.Workload]int // owners by namespace
	natted   map[target]time.Time
	called   map[calledKey]string // programs that go by another name than their executable
	swept    time.Time
	// generation of the cluster's names that owners were named by last
	generation uint64
	renames    uint64        // owners that got another name so far
	overflow   atomic.Uint64 // owners not kept
}

type owner struct {
	Identity
	place   Place // kept only where another name of it may come, from the cluster or from its runtime
	learned time.Time
	renamed uint64 // which of the book's renames gave it another name last
	used    time.Time
	gone    bool
}

// New makes an empty book.
func New(o Options) (*Book, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Root == "" {
		o.Root = "/"
	}
	proc := procfs{root: filepath.Join(o.Root, "proc")}
	own, err := inode("/proc/self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("read own network namespace: %w", err)
	}
	var door nsEntry
	if host, err := proc.netns(1); err == nil && host != own {
		own, door = host, nsEntry{netns: host, pid: 1}
	}
	if o.Addresses == nil {
		o.Addresses = proc.addressesIn
	}
	return &Book{
		log:      o.Log,
		node:     model.Workload{Kind: model.KindNode, Name: o.Hostname},
		proc:     proc,
		runtimes: newRuntimes(o.Root),
		outside:  o.Names,
		cluster:  o.Cluster,
		space:    newAddressBook(own, door, o.Addresses, proc.anyIn),
		listen:   listeners{by: make(map[listenKey]*listener)},
		answer:   listeners{by: make(map[listenKey]*listener)},
		tracker:  conntrack{proc: proc},
		owners:   make(map[probe.OwnerID]*owner),
		tenants:  make(map[uint32]map[model.Workload]int),
		natted:   make(map[target]time.Time),
		called:   make(map[calledKey]string),
	}, nil
}

// OwnAddresses are those of the machine itself, in its own network namespace.
func (b *Book) OwnAddresses() []netip.Addr { return b.space.spaces[b.space.own].addrs }

// Update learns the owners and listeners of a snapshot. It may ask runtimes and the kernel, for at most a few seconds.
func (b *Book) Update(s probe.Snapshot) {
	b.budget = lookupBudget
	b.rename(s.Time)
	for _, o := range s.Owners {
		b.learn(o, s.Time)
	}
	for _, id := range s.Gone {
		if o := b.owners[id]; o != nil {
			o.gone, o.used = true, s.Time
		}
	}
	who := func(id probe.OwnerID) model.Workload {
		if o := b.owners[id]; o != nil {
			o.used = s.Time
			b.space.see(o.NetNS, 0, s.Time)
			return o.Workload
		}
		return model.Workload{}
	}
	b.listen.update(s.Time, s.Listeners, who)
	b.answer.update(s.Time, s.Answering, who)
	b.space.refresh(s.Time, false)
	if s.Time.Sub(b.swept) >= sweepEvery {
		b.swept = s.Time
		b.sweep(s.Time)
	}
}

func (b *Book) learn(o probe.Owner, now time.Time) {
	b.space.see(o.NetNS, o.PID, now)
	if known := b.owners[o.ID]; known != nil {
		known.gone, known.used = false, now
		return
	}
	if len(b.owners) >= maxOwners {
		b.sweep(now.Add(rememberOwner))
		if len(b.owners) >= maxOwners {
			b.overflow.Add(1)
			return
		}
	}
	place := b.proc.placeOf(o)
	known := &owner{Identity: b.identify(o, place), learned: now, used: now}
	if place.Container != "" && (b.cluster != nil || known.Unnamed) {
		known.place = place
	}
	b.owners[o.ID] = known
	b.moveIn(known)
	b.log.Debug("owner seen", "owner", uint64(o.ID), "pid", o.PID, "workload", known.Workload.ID(), "container", known.ContainerID)
}

// sweep forgets owners that the kernel forgot long ago.
func (b *Book) sweep(now time.Time) {
	for key, at := range b.natted {
		if now.Sub(at) >= rememberOwner {
			delete(b.natted, key)
		}
	}
	for id, o := range b.owners {
		if !o.gone || now.Sub(o.used) < rememberOwner {
			continue
		}
		delete(b.owners, id)
		b.moveOut(o)
	}
}

func (b *Book) moveIn(o *owner) {
	if b.tenants[o.NetNS] == nil {
		b.tenants[o.NetNS] = make(map[model.Workload]int)
	}
	b.tenants[o.NetNS][o.Workload]++
}

func (b *Book) moveOut(o *owner) {
	tenants := b.tenants[o.NetNS]
	if tenants[o.Workload]--; tenants[o.Workload] <= 0 {
		delete(tenants, o.Workload)
	}
	if len(tenants) == 0 {
		delete(b.tenants, o.NetNS)
	}
}

// rename gives the owners in containers the names that the feed or their runtimes have learned since. What an owner did under another name stays there.
func (b *Book) rename(now time.Time) {
	changed := false
	if b.cluster != nil {
		changed = b.cluster.ownPods.Load() > b.generation
		b.generation = b.cluster.generation.Load()
	}
	for _, o := range b.owners {
		if o.Provisional && now.Sub(o.learned) >= awaitPod {
			o.Provisional = false
		}
		if o.place.Container == "" || !changed && (!o.Unnamed || b.runtimes.of(o.place, &b.budget) == (Names{})) {
			continue
		}
		identity := Identity{NetNS: o.NetNS, Runtime: o.Runtime, PodUID: o.PodUID, Run: o.Run}
		if named := b.nameContainer(&identity, o.place); !named {
			identity.Sandbox = identity.Sandbox || o.Sandbox
		}
		identity.finish()
		identity.Provisional = identity.Provisional && o.Provisional
		if identity.Workload != o.Workload || identity.ContainerID != o.ContainerID {
			b.moveOut(o)
			b.renames++
			o.Identity, o.renamed = identity, b.renames
			b.moveIn(o)
			continue
		}
		o.Provisional, o.Unnamed, o.Sandbox = identity.Provisional, identity.Unnamed, identity.Sandbox
	}
}

// Identity says who an owner is; ok is false for one that was never reported or is long gone.
func (b *Book) Identity(id probe.OwnerID) (Identity, bool) {
	if o := b.owners[id]; o != nil {
		return o.Identity, true
	}
	return Identity{}, false
}

// Known reports whether an owner is alive or went only lately.
func (b *Book) Known(id probe.OwnerID) bool { return b.owners[id] != nil }

// Reachable expands a listener to the addresses that clients use, at most limit of them.
func (b *Book) Reachable(l probe.Listener, limit int) []netip.AddrPort {
	addr := unmap(l.Addr)
	if !addr.Addr().IsUnspecified() {
		return []netip.AddrPort{addr}
	}
	var out []netip.AddrPort
	for _, a := range b.space.addresses(l.NetNS, true, addr.Addr().Is6()) {
		if len(out) < limit {
			out = append(out, netip.AddrPortFrom(a, addr.Port()))
		}
	}
	if len(out) == 0 {
		return []netip.AddrPort{addr}
	}
	return out
}

// Stats are the book's own figures: sizes now, and events since the start.
type Stats struct {
	ConntrackFound, ConntrackNone, ConntrackErrors, ConntrackLimited uint64
	NamesFailed, AddressesFailed                                     uint64
	SpacesOverflow, ListenersOverflow, OwnersOverflow                uint64
}

// Stats may be called at any time from any goroutine.
func (b *Book) Stats() Stats {
	c := &b.tracker.stats
	return Stats{
		ConntrackFound: c.Found.Load(), ConntrackNone: c.None.Load(), ConntrackErrors: c.Errors.Load(), ConntrackLimited: c.Limited.Load(),
		NamesFailed: b.runtimes.failed.Load(), AddressesFailed: b.space.failed.Load(),
		SpacesOverflow: b.space.overflow.Load(), ListenersOverflow: b.listen.overflow.Load() + b.answer.overflow.Load(), OwnersOverflow: b.overflow.Load(),
	}
}
