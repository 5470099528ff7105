package probe

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cilium/ebpf"

	"github.com/vetch-dev/vetch/bpf"
)

// reader turns the growing figures of the kernel maps into differences between two readings. It is used by one goroutine.
type reader struct {
	maps    *bpf.VetchMaps
	idle    time.Duration
	stats   *stats
	words   map[uint8]*Words // by number: the kernel matches these and HTTP/1
	pairs   map[uint64]*pairState
	series  map[bpf.VetchSeriesKeyT]*seriesState
	owners  map[OwnerID]time.Time // last time it had a pair or a listener
	strays  map[OwnerID]time.Time // in the kernel's map without one, and since when
	strayed time.Time             // when they were looked for
	stray   bpf.VetchOwnerT       // that is looked at
	routes  map[uint64]string
	codes   map[uint16]string // as text
	pairBuf batch[uint64, bpf.VetchPairT]
	serBuf  batch[bpf.VetchSeriesKeyT, bpf.VetchSeriesT]
	lisBuf  batch[bpf.VetchListenerKeyT, bpf.VetchListenerT]
	turn    uint64 // number of the present reading; an entry with an older one is gone from the kernel
}

type pairState struct {
	key      PairKey
	last     bpf.VetchPairT // as reported
	now      bpf.VetchPairT // as just read
	sent     uint64         // bytes in its series, not reported yet
	received uint64
	changed  time.Time
	turn     uint64
}

type seriesState struct {
	sum      uint64
	sent     uint64 // bytes, a part of the pair's
	received uint64
	buckets  [NumBuckets]uint32
	changed  time.Time
	turn     uint64
}

func newReader(maps *bpf.VetchMaps, idle time.Duration, s *stats) *reader {
	return &reader{
		maps: maps, idle: idle, stats: s,
		pairs:  map[uint64]*pairState{},
		words:  map[uint8]*Words{},
		series: map[bpf.VetchSeriesKeyT]*seriesState{},
		owners: map[OwnerID]time.Time{},
		routes: map[uint64]string{},
		codes:  map[uint16]string{0: ""},
	}
}

// read takes one reading. Pairs come first, so that a request's pair is known; requests of a pair that is newer wait for the next reading.
func (r *reader) read(now time.Time) (Snapshot, error) {
	r.turn++
	s := Snapshot{Time: now}
	if err := r.readPairs(&s); err != nil {
		return s, fmt.Errorf("pairs: %w", err)
	}
	if err := r.readSeries(&s); err != nil {
		return s, fmt.Errorf("series: %w", err)
	}
	r.pairDeltas(&s)
	if err := r.readListeners(&s); err != nil {
		return s, fmt.Errorf("listeners: %w", err)
	}
	r.collect(&s)
	return s, nil
}

func (r *reader) readPairs(s *Snapshot) error {
	n, err := r.pairBuf.read(r.maps.Pairs)
	if err != nil {
		return err
	}
	r.stats.setEntries("pairs", n)
	apart := 0
	for i := range n {
		id, cur := r.pairBuf.keys[i], &r.pairBuf.values[i]
		if cur.Key.Role == 0 {
			continue // made, but not filled yet
		}
		st := r.pairs[id]
		if st == nil {
			st = &pairState{key: pairKey(&cur.Key), changed: s.Time}
			r.pairs[id] = st
		}
		st.turn = r.turn
		if st.key.translated() {
			apart++
		}
		r.owner(s, st.key.Owner)
		if st.key.Peer != 0 {
			r.owner(s, st.key.Peer)
		}
		st.now = *cur
	}
	return r.makeRoom(apart)
}

// pairDeltas lists the pairs that changed. It comes after the series, which hold the bytes of their requests.
func (r *reader) pairDeltas(s *Snapshot) {
	for _, st := range r.pairs {
		if st.turn != r.turn || st.now == st.last && st.sent == 0 && st.received == 0 {
			continue
		}
		d := pairDelta(st, &st.now)
		d.BytesSent += st.sent
		d.BytesReceived += st.received
		s.Pairs = append(s.Pairs, d)
		st.last, st.sent, st.received, st.changed = st.now, 0, 0, s.Time
	}
}

func (r *reader) readSeries(s *Snapshot) error {
	n, err := r.serBuf.read(r.maps.Series)
	if err != nil {
		return err
	}
	r.stats.setEntries("series", n)
	for i := range n {
		key, cur := r.serBuf.keys[i], &r.serBuf.values[i]
		pair := r.pairs[key.Pair]
		if pair == nil {
			continue
		}
		st := r.series[key]
		if st == nil {
			st = &seriesState{changed: s.Time}
			r.series[key] = st
		}
		st.turn = r.turn
		d := RequestDelta{
			Pair: pair.key, Protocol: kernelProtocol(key.Protocol), Method: method(key.Method), Code: r.code(uint16(key.Code)),
			Failed: key.Code == 0 || key.Code >= 500, Cut: key.Cut != 0,
		}
		for b := range cur.Buckets {
			d.Buckets[b] = cur.Buckets[b] - st.buckets[b]
			d.Count += uint64(d.Buckets[b])
		}
		if d.Count == 0 {
			continue
		}
		d.Sum = time.Duration(cur.SumNs - st.sum)
		pair.sent += cur.Sent - st.sent
		pair.received += cur.Received - st.received
		if words := r.words[key.Protocol]; words != nil {
			words.name(&d, key.Route, key.Code)
		} else {
			d.Route = r.route(key.Route)
		}
		st.buckets, st.sum, st.sent, st.received, st.changed = cur.Buckets, cur.SumNs, cur.Sent, cur.Received, s.Time
		s.Requests = append(s.Requests, d)
	}
	return nil
}

func (r *reader) readListeners(s *Snapshot) error {
	n, err := r.lisBuf.read(r.maps.Listeners)
	if err != nil {
		return err
	}
	r.stats.setEntries("listeners", n)
	for i := range n {
		k, v := &r.lisBuf.keys[i], &r.lisBuf.values[i]
		if OwnerID(v.Owner) == ownerElsewhere {
			continue
		}
		r.owner(s, OwnerID(v.Owner))
		s.Listeners = append(s.Listeners, Listener{Owner: OwnerID(v.Owner), NetNS: k.Netns, Addr: addrPort(k.Addr.B, k.Port)})
	}
	return nil
}

// owner reports an owner when it is seen for the first time, and notes that it is in use.
func (r *reader) owner(s *Snapshot, id OwnerID) {
	if _, known := r.owners[id]; !known && id != 0 {
		var raw bpf.VetchOwnerT
		if err := r.maps.Owners.Lookup(uint64(id), &raw); err != nil {
			return // no room in the map (counted there), or not written yet: the next reading tries again
		}
		s.Owners = append(s.Owners, owner(id, &raw))
	}
	if id != 0 {
		r.owners[id] = s.Time
	}
}

// route is the text behind a hash of the dictionary.
func (r *reader) route(id uint64) string {
	switch id {
	case 0:
		return "~unknown"
	case 1:
		return "~other"
	}
	if text, ok := r.routes[id]; ok {
		return text
	}
	var raw bpf.VetchRouteT
	if err := r.maps.Routes.Lookup(id, &raw); err != nil {
		return "~other"
	}
	text := routeText(&raw)
	r.routes[id] = text
	return text
}

// code is a status as text, "" for none. A status is at most 999, so few are kept.
func (r *reader) code(status uint16) string {
	text, ok := r.codes[status]
	if !ok {
		text = strconv.Itoa(int(status))
		if len(r.codes) < 1000 {
			r.codes[status] = text
		}
	}
	return text
}

// batch holds the buffers for reading a whole hash map with few system calls.
type batch[K, V any] struct {
	keys   []K
	values []V
}

// read fills the buffers with all entries and returns their number. Entries that move while it reads may be missed until the next reading.
func (b *batch[K, V]) read(m *ebpf.Map) (int, error) {
	const step = 512
	if b.keys == nil {
		b.keys, b.values = make([]K, step), make([]V, step)
	}
	var cursor ebpf.MapBatchCursor
	n := 0
	for {
		if n+step > len(b.keys) {
			b.keys = append(b.keys, make([]K, len(b.keys))...)
			b.values = append(b.values, make([]V, len(b.values))...)
		}
		got, err := m.BatchLookup(&cursor, b.keys[n:n+step], b.values[n:n+step], nil)
		n += got
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return n, nil
		case err != nil:
			return n, err
		}
	}
}
