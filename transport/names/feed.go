package names

import (
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

const (
	// DefaultHistory is how many changes a subscriber may be behind and still resume.
	DefaultHistory = 16384
	// DefaultMaxSubscribers bounds how many streams are served at once.
	DefaultMaxSubscribers = 6000
	maxNameSize           = 64 << 10 // bytes of one name
	keepAgent             = time.Minute
)

// FeedOptions of a Feed. The zero value is usable.
type FeedOptions struct {
	Log            *slog.Logger // nil: nothing is logged
	History        int          // 0: DefaultHistory
	MaxSubscribers int          // 0: DefaultMaxSubscribers
}

// Feed holds the present names of a cluster, numbers their changes, and streams them. It keeps nothing for a single subscriber: one that is
// too slow for the history gets a snapshot again. All methods may be called from any goroutine.
type Feed struct {
	UnimplementedNamesServer
	log            *slog.Logger
	epoch          uint64
	maxSubscribers int
	ready          chan struct{} // closed when the first snapshot may be sent
	metrics        *feedMetrics

	mu          sync.Mutex
	made        bool   // ready is closed
	sequence    uint64 // begins with 1, so that 0 is "nothing yet"
	lastID      uint64
	byKey       map[string]*entry
	byID        map[uint64]*entry
	history     []uint64      // ids; the change s is at s modulo the length
	changed     chan struct{} // closed by the next change
	subscribers map[*subscriber]struct{}
	agents      map[string]*presence
}

// entry is one name as the node that it is on sees it, and as all others do.
type entry struct {
	sequence uint64 // of the last change
	full     *Name
	brief    *Name // nil: the others need not know
}

// presence says how many streams come from the agents of a node.
type presence struct {
	streams int
	removal *time.Timer
}

// NewFeed makes an empty feed of a new epoch.
func NewFeed(o FeedOptions) *Feed {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.History <= 0 {
		o.History = DefaultHistory
	}
	if o.MaxSubscribers <= 0 {
		o.MaxSubscribers = DefaultMaxSubscribers
	}
	f := &Feed{
		log: o.Log, epoch: newEpoch(), sequence: 1, maxSubscribers: o.MaxSubscribers, ready: make(chan struct{}),
		byKey: make(map[string]*entry), byID: make(map[uint64]*entry), history: make([]uint64, o.History), changed: make(chan struct{}),
		subscribers: make(map[*subscriber]struct{}), agents: make(map[string]*presence),
	}
	f.metrics = newFeedMetrics(f)
	return f
}

// newEpoch is never 0, which stands for "none".
func newEpoch() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) | 1
}

// Ready lets subscribers have what is there: the first snapshot is whole.
func (f *Feed) Ready() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.made {
		f.made = true
		close(f.ready)
	}
}

// IsReady reports whether Ready was called.
func (f *Feed) IsReady() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made
}

// Set adds a name or replaces the one with the same key, and reports whether anything changed. The feed gives it its id; the caller must not
// touch it any more.
func (f *Feed) Set(key string, n *Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set(key, n)
}

func (f *Feed) set(key string, n *Name) bool {
	old := f.byKey[key]
	if old != nil {
		n.Id = old.full.Id
		if proto.Equal(old.full, n) {
			return false
		}
	} else {
		n.Id = f.lastID + 1
	}
	if proto.Size(n) > maxNameSize {
		f.metrics.dropped.WithLabelValues("size").Inc()
		return false
	}
	if old == nil {
		f.lastID++
	}
	e := &entry{full: n, brief: brief(n)}
	if old != nil && e.brief != nil && old.brief != nil && proto.Equal(e.brief, old.brief) {
		e.brief = old.brief
	}
	f.byKey[key], f.byID[n.Id] = e, e
	e.sequence = f.note(n.Id)
	return true
}

// Delete forgets a name.
func (f *Feed) Delete(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delete(key)
}

func (f *Feed) delete(key string) {
	e := f.byKey[key]
	if e == nil {
		return
	}
	delete(f.byKey, key)
	delete(f.byID, e.full.Id)
	f.note(e.full.Id)
}

// note numbers a change and wakes those who wait for one.
func (f *Feed) note(id uint64) uint64 {
	f.sequence++
	f.history[f.sequence%uint64(len(f.history))] = id
	close(f.changed)
	f.changed = make(chan struct{})
	return f.sequence
}

// brief is what others than the own node are told; nil where that is nothing.
func brief(n *Name) *Name {
	if n.Pod == nil {
		return n
	}
	if len(n.Addresses) == 0 {
		return nil
	}
	return &Name{
		Id: n.Id, Role: n.Role, Workload: n.Workload, Addresses: n.Addresses, Ports: n.Ports, From: n.From, Until: n.Until, Node: n.Node,
	}
}

// of is what a subscriber of a node is told.
func (e *entry) of(node string) *Name {
	if e.full.Pod != nil && (node == "" || e.full.Node != node) {
		return e.brief
	}
	return e.full
}

// batch is what a subscriber gets next.
type batch struct {
	snapshot  bool
	names     []*Name
	forgotten []uint64
	sequence  uint64        // the subscriber has everything up to this one then
	more      chan struct{} // closed when there is more; nil: there is already
}

// maxBatch bounds the changes of one batch; a snapshot is one batch whatever its size, as it must be of one moment.
const maxBatch = 2048

// after collects what has changed after a sequence; a snapshot where the history does not reach back that far.
func (f *Feed) after(sequence uint64, node string) batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	if sequence == 0 || !f.reaches(sequence) {
		b := batch{snapshot: true, sequence: f.sequence, more: f.changed, names: make([]*Name, 0, len(f.byID))}
		for _, e := range f.byID {
			if n := e.of(node); n != nil {
				b.names = append(b.names, n)
			}
		}
		return b
	}
	b := batch{sequence: sequence}
	for b.sequence < f.sequence && len(b.names)+len(b.forgotten) < maxBatch {
		b.sequence++
		id := f.history[b.sequence%uint64(len(f.history))]
		e := f.byID[id]
		if e != nil && e.sequence != b.sequence {
			continue // it changed again, and comes then
		}
		if e == nil || e.of(node) == nil {
			b.forgotten = append(b.forgotten, id)
			continue
		}
		b.names = append(b.names, e.of(node))
	}
	if b.sequence == f.sequence {
		b.more = f.changed
	}
	return b
}

// reaches reports whether all changes after a sequence are still there.
func (f *Feed) reaches(sequence uint64) bool {
	return sequence <= f.sequence && f.sequence-sequence <= uint64(len(f.history))
}

// arrive notes that a node has an agent.
func (f *Feed) arrive(node string) {
	if node == "" {
		return
	}
	p := f.agents[node]
	if p == nil {
		p = &presence{}
		f.agents[node] = p
		f.set(agentKey(node), &Name{Role: Role_ROLE_AGENT, Node: node})
	}
	if p.removal != nil {
		p.removal.Stop()
		p.removal = nil
	}
	p.streams++
}

// leave forgets the agent of a node when it has not come back for a while.
func (f *Feed) leave(node string) {
	p := f.agents[node]
	if p == nil {
		return
	}
	if p.streams--; p.streams > 0 {
		return
	}
	p.removal = time.AfterFunc(keepAgent, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.agents[node] == p && p.streams == 0 {
			delete(f.agents, node)
			f.delete(agentKey(node))
		}
	})
}

func agentKey(node string) string { return "agent/" + node }
