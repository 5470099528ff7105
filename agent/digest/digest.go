// Package digest turns the probe's readings into cumulative series: it joins both ends of every edge and bounds what it keeps.
package digest

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/vetch-dev/vetch/agent/names"
	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

// The defaults of Options.
const (
	DefaultRoutesPerWorkload = 200
	DefaultSeriesExpiry      = 10 * time.Minute
	DefaultMaxSeries         = 100_000
	DefaultMaxExternal       = 1000
	DefaultMaxDestinations   = 500
)

const (
	holdBack    = 5 * time.Second // how long an edge may wait for its protocol
	settleAfter = 3 * time.Second // how long a pair may wait for a better name of its ends
	askAgain    = time.Minute     // how long the ends of a pair whose peer the kernel does not know are believed
	maxPairs    = 262_144
)

// other is the name that what is over a limit goes by.
const other = "~other"

// Options of a digest. Book is needed; zero limits are the defaults.
type Options struct {
	Log     *slog.Logger
	Book    *process.Book
	Machine process.Machine
	Version string
	// Names is the book of what addresses are called, to export it; nil leaves it out.
	Names *names.Book
	// ProbeStats gives the probe's own figures; nil leaves them out.
	ProbeStats func() probe.Stats

	IgnoreRequests    []IgnoreRule  // the first that fits decides
	RoutesPerWorkload int           // routes of one serving workload; what is over it counts under "~other"
	SeriesExpiry      time.Duration // after the last change, when nothing that made the series is there any more
	MaxSeries         int           // all series together
	MaxExternal       int           // addresses outside that have a name of their own
	MaxDestinations   int           // destinations of one container
}

// Digest accumulates snapshots. Apply is for one goroutine; Gather and Status may be called from any.
type Digest struct {
	options  Options
	log      *slog.Logger
	book     *process.Book
	started  time.Time
	families families

	// The goroutine of Apply alone uses these.
	pairs   map[probe.PairKey]*pair
	waiting map[*pair]struct{} // not settled yet
	before  time.Time          // when the last snapshot was taken: what is new began after it
	heard   []probe.Listener   // as of the last snapshot
	heardAt time.Time

	mu         sync.Mutex // guards all that follows; never held while waiting for anything
	now        time.Time  // of the last snapshot
	links      map[linkKey]*link
	undecided  map[*link]struct{}
	edges      []*edge // in order of birth
	servings   map[model.Workload]*serving
	served     []*serving
	containers map[containerKey]*container
	boxes      []*container
	forms      []*containerForm // in use, in order of first use
	externals  map[string]int   // links by address outside
	listens    []listenSeries
	lags       []lagSeries
	reserved   int // series in use
	dropped    map[string]uint64
	ignored    []uint64 // requests by rule
	snapshots  uint64
	swept      time.Time
}

// New makes an empty digest.
func New(o Options) (*Digest, error) {
	if o.Book == nil {
		return nil, errors.New("digest needs a book")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.RoutesPerWorkload, DefaultRoutesPerWorkload)
	setDefault(&o.MaxSeries, DefaultMaxSeries)
	setDefault(&o.MaxExternal, DefaultMaxExternal)
	setDefault(&o.MaxDestinations, DefaultMaxDestinations)
	if o.SeriesExpiry <= 0 {
		o.SeriesExpiry = DefaultSeriesExpiry
	}
	d := &Digest{
		options: o, log: o.Log, book: o.Book, started: time.Now(), families: newFamilies(),
		pairs: make(map[probe.PairKey]*pair), waiting: make(map[*pair]struct{}),
		links: make(map[linkKey]*link), undecided: make(map[*link]struct{}),
		servings: make(map[model.Workload]*serving), containers: make(map[containerKey]*container),
		externals: make(map[string]int), dropped: make(map[string]uint64, len(dropReasons)),
	}
	d.before, d.ignored = d.started, make([]uint64, len(o.IgnoreRequests))
	for _, reason := range dropReasons {
		d.dropped[reason] = 0
	}
	return d, nil
}

func setDefault(v *int, to int) {
	if *v <= 0 {
		*v = to
	}
}

// Apply adds one snapshot. Snapshots come in the order of their times; Apply keeps no part of them.
func (d *Digest) Apply(s probe.Snapshot) {
	d.book.Update(s)
	lost, touched := d.take(s)
	d.resolve(s.Time, touched)
	listens, heard := d.listening(s)

	d.mu.Lock()
	d.now = s.Time
	d.snapshots++
	d.dropped[dropPairs] += lost
	if heard {
		d.listens = listens
		d.markListening(s)
	}
	for _, role := range []probe.Role{probe.RoleClient, probe.RoleServer} { // the client's view of requests goes first
		for _, p := range touched {
			if p.key.Role == role {
				d.give(p, s.Time)
			}
		}
	}
	d.lags = d.lagging(s.Lags)
	d.decide(s.Time)
	d.expire(s.Time)
	d.mu.Unlock()

	d.forget(s.Time)
	d.before = s.Time
}

// Flush shows what is still held back, as when no better knowledge will come. It is for the goroutine of Apply, after the last snapshot.
func (d *Digest) Flush(now time.Time) {
	var left []*pair
	for p := range d.waiting {
		left = append(left, p)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range left {
		p.known, p.settled = true, true
		d.give(p, now)
		delete(d.waiting, p)
	}
	for l := range d.undecided {
		d.publish(l, protocolName(l.speaks))
	}
}

// Status says how much the digest holds.
type Status struct {
	LastSnapshot time.Time
	Snapshots    uint64
	Edges        int
	Workloads    int // that serve requests
	Series       int
	MaxSeries    int
	Dropped      map[string]uint64 // by reason
}

// Status is safe to call at any time.
func (d *Digest) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	dropped := make(map[string]uint64, len(d.dropped))
	for reason, n := range d.dropped {
		dropped[reason] = n
	}
	return Status{
		LastSnapshot: d.now, Snapshots: d.snapshots, Edges: len(d.edges), Workloads: len(d.served),
		Series: d.reserved, MaxSeries: d.options.MaxSeries, Dropped: dropped,
	}
}
