package probe

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
)

// lostReasons are the values of the label "reason", in the order of enum lost in bpf/include/types.h.
var lostReasons = []string{
	"connections_full", "owners_full", "pairs_full", "series_full", "listeners_full", "pending_full", "sources_full",
	"read_fault", "message_too_long", "bytes_unseen", "malformed", "request_unseen", "response_unseen", "partials_full",
	"ring_full", "call_too_long", "tls_unbound", "ring_share", "exits_full",
	"translated_full", // connections through the machine whose client goes by the machine's name: too many at once to tell them apart
	"tls_call_unseen", // a call into a TLS library returned whose beginning is not known
}

// MapStat says how full a kernel map is.
type MapStat struct {
	Name        string
	Entries     int // -1: not known
	MaxEntries  int
	MemoryBytes uint64
}

// Stats is what the probe says of itself.
type Stats struct {
	Hooks map[string]bool   // hook -> attached; hooks that this kernel has not or that were not chosen are false
	Lost  map[string]uint64 // reason -> events that were not counted; all reasons are there
	Maps  []MapStat
}

// stats reads the figures that Stats gives out.
type stats struct {
	mu             sync.Mutex
	coll           *ebpf.Collection
	entries        map[string]int    // as of the last reading
	walks          map[string]walked // maps that no reading goes through
	reentered      uint64            // the highest that reentries found
	stopped        bool
	verdictsFull   atomic.Uint64
	statementsFull atomic.Uint64
}

func (s *stats) init(c *ebpf.Collection) {
	s.coll = c
	s.entries = map[string]int{}
	s.walks = map[string]walked{}
}

func (s *stats) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

func (s *stats) setEntries(name string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[name] = n
}

var allHooks = []string{"inet_sock_set_state", "tcp_retransmit_skb", "tcp_destroy_sock", "inet_sk_error_report", "iter_listeners", "iter_connections", "iter_pairs",
	"sock_send_length", "sock_recv_length", "sys_exit", "uprobe_tls", hookThreadExit, hookExits}

// Stats reads the present figures from the kernel. After Close the figures are empty.
func (p *Probe) Stats() Stats {
	out := Stats{Hooks: map[string]bool{}, Lost: map[string]uint64{}}
	for _, h := range allHooks {
		out.Hooks[h] = p.hooks[h]
	}
	p.stats.mu.Lock()
	defer p.stats.mu.Unlock()
	for _, reason := range lostReasons {
		out.Lost[reason] = 0
	}
	out.Lost["hook_reentered"] = 0
	if p.stats.stopped {
		return out
	}
	for i, reason := range lostReasons {
		var perCPU []uint64
		if err := p.objects.Lost.Lookup(uint32(i), &perCPU); err != nil {
			continue
		}
		for _, v := range perCPU {
			out.Lost[reason] += v
		}
	}
	out.Lost["hook_reentered"] = p.stats.reentries()
	out.Lost["verdicts_full"] = p.stats.verdictsFull.Load()
	out.Lost["statements_full"] = p.stats.statementsFull.Load()
	out.Maps = p.stats.maps()
	return out
}

// reentries is how many runs the kernel left out because the program ran on that CPU already, but for those that tcp_state_within made up for. Where it
// looked for them itself and found tcp_state at rest, nothing was missed.
func (s *stats) reentries() uint64 {
	var missed uint64
	for name, program := range s.coll.Programs {
		if info, err := program.Stats(); err == nil && name != "tcp_state_within" {
			missed += info.RecursionMisses
		}
	}
	// Read after those it is compared with, and so never behind them.
	if within, err := s.count(countStatesWithin); err == nil && missed > within {
		s.reentered = max(s.reentered, missed-within)
	}
	return s.reentered
}

// What the map of counts holds, in the order of enum count in bpf/include/types.h.
const (
	countConnsAdded uint32 = iota
	countConnsRemoved
	countStatesWithin
)

// count is the sum of one of the kernel's counts over all CPUs.
func (s *stats) count(which uint32) (uint64, error) {
	var perCPU []uint64
	if err := s.coll.Maps["counts"].Lookup(which, &perCPU); err != nil {
		return 0, err
	}
	var sum uint64
	for _, v := range perCPU {
		sum += v
	}
	return sum, nil
}

// maps lists the maps with their memory as the kernel accounts it.
func (s *stats) maps() []MapStat {
	var out []MapStat
	for name, m := range s.coll.Maps {
		stat := MapStat{Name: name, Entries: -1, MaxEntries: int(m.MaxEntries())}
		if n, ok := s.entries[name]; ok {
			stat.Entries = n
		}
		info, err := m.Info()
		if err == nil {
			if bytes, ok := info.Memlock(); ok {
				stat.MemoryBytes = bytes
			}
		}
		switch {
		case name == "conns":
			stat.Entries = s.connections()
		case stat.Entries < 0 && (m.Type() == ebpf.Hash || m.Type() == ebpf.LRUHash):
			stat.Entries = s.counted(name, m)
		}
		out = append(out, stat)
	}
	return out
}

// connections is how many entries the map of connections has: the kernel counts them, for walking them would take long.
func (s *stats) connections() int {
	removed, err := s.count(countConnsRemoved)
	if err != nil {
		return -1
	}
	added, err := s.count(countConnsAdded)
	if err != nil {
		return -1
	}
	return int(added - removed)
}

// counted walks a map, at most twice a minute.
func (s *stats) counted(name string, m *ebpf.Map) int {
	if last, ok := s.walks[name]; ok && time.Since(last.at) < 30*time.Second {
		return last.entries
	}
	n := countKeys(m)
	s.walks[name] = walked{time.Now(), n}
	return n
}

type walked struct {
	at      time.Time
	entries int
}

// countKeys counts the entries of a hash map.
func countKeys(m *ebpf.Map) int {
	n := 0
	key := make([]byte, m.KeySize())
	next := make([]byte, m.KeySize())
	var from any
	for n < int(m.MaxEntries()) {
		err := m.NextKey(from, next)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return n
		}
		if err != nil {
			return -1
		}
		copy(key, next)
		from = key
		n++
	}
	return n
}
