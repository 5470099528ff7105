package protocol

import (
	"net/netip"
	"time"
)

// Advance gives up what waited too long, and counts what is settled. now is ns of the monotonic clock.
func (s *Datagrams) Advance(now int64) {
	for q := s.line.first; q != nil && q.begin+int64(answerLimit) <= now; q = s.line.first {
		s.giveUp(q, q.begin+int64(answerLimit))
	}
	for q := s.settle.first; q != nil && (q.end+int64(settleAfter) <= now || s.settle.n > maxSettling); q = s.settle.first {
		s.settle.remove(q)
		s.count(q, now)
		s.linger.push(q)
	}
	for q := s.linger.first; q != nil && (q.end+int64(lingerFor) <= now || s.linger.n > maxSettling); q = s.linger.first {
		s.linger.remove(q)
		if s.clients[q.join] == q {
			delete(s.clients, q.join)
		}
		if s.servers[q.join] == q {
			delete(s.servers, q.join)
		}
	}
	for key, e := range s.early {
		if e.at+int64(earlyLimit) <= now {
			delete(s.early, key)
			s.Stats.Unasked.Add(1)
		}
	}
}

// count adds a question to its pair, now that its other end is known if it ever will be.
func (s *Datagrams) count(q *question, now int64) {
	if q.pair.Server {
		if q.quiet && q.status == dnsTimeout {
			return
		}
		if s.clients[q.join] != nil && q.join.port != 0 {
			q.pair.Remote = netip.AddrPort{}
		}
	} else if server := s.servers[q.join]; server != nil {
		q.pair.Peer, q.pair.Actual = server.pair.Owner, server.pair.Local
		if q.pair.Actual.Addr().IsUnspecified() {
			q.pair.Actual = netip.AddrPortFrom(q.pair.Remote.Addr(), q.pair.Actual.Port())
		}
	}
	p := s.pairOf(&q.pair)
	if p == nil {
		s.Stats.Refused.Add(1)
		return
	}
	p.used = now
	sent, received := q.bytes[0], q.bytes[1]
	if q.pair.Server {
		sent, received = received, sent
	}
	p.traffic.Sent += sent
	p.traffic.Received += received
	p.traffic.Sample = q.local
	t := p.tally(s, q)
	t.Count++
	took := q.end - q.begin
	t.Timed++
	t.Sum += time.Duration(took)
	t.Buckets[bucketOf(took)]++
}

// pairOf finds or makes a pair. Over the bound the clients of a server are not told apart.
func (s *Datagrams) pairOf(key *DatagramPair) *datagramPair {
	p := s.pairs[*key]
	if p == nil && len(s.pairs) >= MaxDatagramPairs*3/4 && key.Server {
		key.Remote = netip.AddrPort{}
		p = s.pairs[*key]
	}
	if p == nil && len(s.pairs) < MaxDatagramPairs {
		p = &datagramPair{tallies: map[tallyKey]*Tally{}}
		s.pairs[*key] = p
		s.Stats.Pairs.Store(int64(len(s.pairs)))
	}
	return p
}

func (p *datagramPair) tally(s *Datagrams, q *question) *Tally {
	key := tallyKey{operation: q.operation, status: q.status, failed: q.failed}
	if p.tallies[key] == nil && s.kinds >= maxDatagramKinds {
		key.operation = "~other"
	}
	t := p.tallies[key]
	if t == nil {
		t = &Tally{Protocol: "dns", Operation: key.operation, Status: q.status, Failed: q.failed}
		p.tallies[key] = t
		s.kinds++
	}
	return t
}

// Drain gives out what was counted since the last time, pair by pair: its tallies, which are the caller's then, and its traffic.
// Pairs that were idle for long are gone.
func (s *Datagrams) Drain(now int64, each func(DatagramPair, []*Tally, DatagramTraffic)) {
	s.Advance(now)
	s.kinds = 0
	for key, p := range s.pairs {
		gone := now-p.used > int64(idleDatagram)
		if len(p.tallies) == 0 && !gone {
			continue
		}
		tallies := make([]*Tally, 0, len(p.tallies))
		for _, t := range p.tallies {
			tallies = append(tallies, t)
		}
		p.traffic.Gone = gone
		each(key, tallies, p.traffic)
		clear(p.tallies)
		p.traffic = DatagramTraffic{}
		if gone {
			delete(s.pairs, key)
		}
	}
	s.Stats.Pairs.Store(int64(len(s.pairs)))
}

// Answers gives out the addresses found since the last call.
func (s *Datagrams) Answers() []FoundAnswer {
	found := s.answers
	s.answers = nil
	return found
}

// Servers lists the sockets that were asked lately.
func (s *Datagrams) Servers(now int64, each func(Answering)) {
	for a, at := range s.asked {
		if now-at > int64(2*idleDatagram) {
			delete(s.asked, a)
			continue
		}
		each(a)
	}
}
