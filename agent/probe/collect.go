package probe

import (
	"errors"
	"time"

	"github.com/cilium/ebpf"

	"github.com/vetch-dev/vetch/bpf"
)

// collect forgets what has been idle, here and in the kernel, so that room is left for what comes.
// Between the last reading and the deletion a count could slip in only after minutes without one.
func (r *reader) collect(s *Snapshot) {
	idle := r.idle
	if r.crowded() {
		idle = min(idle, 30*time.Second)
	}
	for id, st := range r.pairs {
		switch {
		case st.turn != r.turn:
			// A batch may miss an entry that moved; only one that is really gone is reported.
			if st.turn+3 > r.turn {
				continue
			}
		case st.key.translated() && st.last.Active <= 0 && s.Time.Sub(st.changed) >= translatedIdle:
			if r.maps.Pairs.Delete(id) != nil {
				continue
			}
		case st.last.Active > 0 || s.Time.Sub(st.changed) < idle:
			continue
		default:
			if r.maps.Pairs.Delete(id) != nil {
				continue
			}
		}
		r.forgetSeries(id)
		delete(r.pairs, id)
		s.Pairs = append(s.Pairs, PairDelta{Key: st.key, Gone: true})
	}
	r.collectSeries(s.Time, idle)
	r.collectOwners(s)
	r.collectStrays(s.Time)
}

// crowded says whether a map is over three quarters full.
func (r *reader) crowded() bool {
	return len(r.pairs) > int(r.maps.Pairs.MaxEntries())*3/4 || len(r.series) > int(r.maps.Series.MaxEntries())*3/4
}

func (r *reader) forgetSeries(pair uint64) {
	for key := range r.series {
		if key.Pair == pair {
			r.maps.Series.Delete(key) //nolint:errcheck // it is gone either way
			delete(r.series, key)
		}
	}
}

// collectSeries drops idle series of living pairs, and routes that no series uses any more.
func (r *reader) collectSeries(now time.Time, idle time.Duration) {
	if r.turn%16 != 0 {
		return
	}
	used := map[uint64]bool{}
	for key, st := range r.series {
		if now.Sub(st.changed) < 2*idle {
			used[key.Route] = true
			continue
		}
		if r.maps.Series.Delete(key) == nil || st.turn+3 < r.turn {
			delete(r.series, key)
		}
	}
	for id := range r.routes {
		if !used[id] {
			r.forgetRoute(id)
		}
	}
}

// forgetRoute makes room in the dictionary and in its owner's share of it.
func (r *reader) forgetRoute(id uint64) {
	var route bpf.VetchRouteT
	var o bpf.VetchOwnerT
	delete(r.routes, id)
	if r.maps.Routes.Lookup(id, &route) != nil || r.maps.Routes.Delete(id) != nil {
		return
	}
	if r.maps.Owners.Lookup(route.Owner, &o) == nil && o.Routes > 0 {
		o.Routes--
		r.maps.Owners.Put(route.Owner, &o) //nolint:errcheck // only the share is a little smaller
	}
}

func (r *reader) collectOwners(s *Snapshot) {
	for id, used := range r.owners {
		if s.Time.Sub(used) < 2*r.idle {
			continue
		}
		r.maps.Owners.Delete(uint64(id)) //nolint:errcheck // it is gone either way
		delete(r.owners, id)
		s.Gone = append(s.Gone, id)
	}
	r.stats.setEntries("routes", len(r.routes))
}

// strayEvery is how often entries are looked for that no reading meets.
const strayEvery = time.Minute

func (r *reader) collectStrays(now time.Time) {
	if now.Sub(r.strayed) < strayEvery {
		return
	}
	r.strayed = now
	r.collectStrayOwners(now)
	r.collectStrayRequests()
}

// collectStrayOwners drops owners that have neither pairs nor listeners: those of ignored cgroups, and of processes that never got a connection.
func (r *reader) collectStrayOwners(now time.Time) {
	entries, found := 0, map[OwnerID]time.Time{}
	var id uint64
	for it := r.maps.Owners.Iterate(); it.Next(&id, &r.stray); entries++ {
		owner := OwnerID(id)
		if _, used := r.owners[owner]; used {
			continue
		}
		since, known := r.strays[owner]
		switch {
		case !known:
			found[owner] = now
		case now.Sub(since) < 2*r.idle:
			found[owner] = since
		default:
			r.maps.Owners.Delete(id) //nolint:errcheck // it is gone either way
			entries--
		}
	}
	r.strays = found
	r.stats.setEntries("owners", entries)
}

// collectStrayRequests drops requests beyond a connection's own slots that no response will be taken for: of connections that have ended, and those
// before a gap, behind which the responses are counted from the next request on. They would take the room of others for ever.
func (r *reader) collectStrayRequests() {
	entries := 0
	var key bpf.VetchPendingKeyT
	var slot bpf.VetchSlotT
	var stray []bpf.VetchPendingKeyT
	for it := r.maps.Pending.Iterate(); it.Next(&key, &slot); entries++ {
		if r.isStrayRequest(key) {
			stray = append(stray, key)
		}
	}
	for _, key := range stray {
		if r.isStrayRequest(key) { // a new connection may have its address by now
			r.maps.Pending.Delete(key) //nolint:errcheck // it is gone either way
			entries--
		}
	}
	r.stats.setEntries("pending", entries)
}

func (r *reader) isStrayRequest(key bpf.VetchPendingKeyT) bool {
	var c bpf.VetchConnT
	err := r.maps.Conns.Lookup(key.Sk, &c)
	return errors.Is(err, ebpf.ErrKeyNotExist) || err == nil && !isAwaited(key.Seq, &c)
}

// isAwaited reports whether a response may still come for a request. Numbers of requests go round; one that is just being entered has the next.
func isAwaited(seq uint32, c *bpf.VetchConnT) bool {
	return int32(seq-c.Responses) >= 0 && int32(seq-c.Requests) <= 0
}
