package protocol

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

const (
	kafkaMaxSpots  = 1024               // partitions of one message that are looked at
	kafkaMaxPlaces = 4096               // partitions of one connection that are followed
	kafkaAllPlaces = 32768              // of all connections
	kafkaKeepPlace = int64(time.Minute) // ns that a partition counts after the consumer stopped reading it
)

// kafkaSpot is what a message says of a partition: where it is read from, or where it ends.
type kafkaSpot struct {
	topic     kafkaTopicRef
	partition int32
	offset    int64 // -1: it is no longer read
}

// spot takes a field about consumers and partitions.
func (m *kafkaMessage) spot(role kafkaRole, value []byte) {
	number := int32(binary.BigEndian.Uint32(value))
	switch role {
	case kafkaEpoch:
		m.epoch = number
	case kafkaReplica:
		m.follower = number >= 0
	case kafkaPart:
		m.part = number
	case kafkaForgotten:
		m.part = number
		m.addSpot(-1)
	case kafkaOffset:
		m.addSpot(int64(binary.BigEndian.Uint64(value)))
	case kafkaHigh:
		if m.last == 0 {
			m.addSpot(int64(binary.BigEndian.Uint64(value)))
		}
	}
}

func (m *kafkaMessage) addSpot(offset int64) {
	if len(m.spots) < kafkaMaxSpots {
		m.spots = append(m.spots, kafkaSpot{m.current, m.part, offset})
	}
}

// kafkaPlaces is how far the consumer on a connection has read each partition, and where that ends. Within a fetch session only what
// has changed is said, so a partition stays until the consumer says that it reads it no longer.
type kafkaPlaces struct {
	room  *atomic.Int64 // places of all connections
	parts map[kafkaPartition]*kafkaPlace
	lost  uint64
}

type kafkaPartition struct {
	raw       string
	id        [16]byte
	partition int32
}

type kafkaPlace struct {
	topic kafkaTopicRef
	next  int64 // offset of the record to read next
	end   int64 // offset behind the last record that there is to read, -1 until it is known
	left  int64 // ns: when the consumer stopped reading it, 0 while it goes on
}

func (s *kafkaSpot) key() kafkaPartition { return kafkaPartition{s.topic.raw, s.topic.id, s.partition} }

// asked takes a Fetch request. One that is outside of a session, or begins one, says all that the consumer reads.
func (p *kafkaPlaces) asked(m *kafkaMessage, at int64) {
	if m.follower {
		return
	}
	if m.epoch <= 0 {
		for _, place := range p.parts {
			if place.left == 0 {
				place.left = at
			}
		}
	}
	for i := range m.spots {
		s := &m.spots[i]
		place := p.parts[s.key()]
		if s.offset < 0 {
			if place != nil {
				place.left = at
			}
			continue
		}
		if place == nil {
			if place = p.add(s); place == nil {
				p.lost++
				continue
			}
		}
		place.next, place.left = s.offset, 0
	}
}

// add makes a place, or returns nil where there is no room.
func (p *kafkaPlaces) add(s *kafkaSpot) *kafkaPlace {
	if len(p.parts) >= kafkaMaxPlaces || p.room.Load() >= kafkaAllPlaces {
		return nil
	}
	if p.parts == nil {
		p.parts = map[kafkaPartition]*kafkaPlace{}
	}
	place := &kafkaPlace{topic: s.topic, end: -1}
	p.parts[s.key()] = place
	p.room.Add(1)
	return place
}

// told takes the answer.
func (p *kafkaPlaces) told(m *kafkaMessage) {
	for i := range m.spots {
		if place := p.parts[m.spots[i].key()]; place != nil && m.spots[i].offset >= 0 {
			place.end = m.spots[i].offset
		}
	}
}

func (p *kafkaPlaces) clear() {
	p.room.Add(-int64(len(p.parts)))
	p.parts = nil
}

// Lags gives the records between where the consumer reads next and the end of each topic.
func (c *kafkaConn) Lags(now int64, each func(topic string, records int64)) (lost uint64) {
	for key, place := range c.places.parts {
		if place.left != 0 && now-place.left > kafkaKeepPlace {
			delete(c.places.parts, key)
			c.places.room.Add(-1)
			continue
		}
		if place.end >= 0 {
			each(c.names.of(place.topic), max(place.end-place.next, 0))
		}
	}
	lost, c.places.lost = c.places.lost, 0
	return lost
}
