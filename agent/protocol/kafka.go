package protocol

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
)

const (
	kafkaMaxSize     = 1 << 30   // bytes of a message
	kafkaMaxRequest  = 100 << 20 // bytes of a request that detection takes for one: what brokers allow unless told otherwise
	kafkaMaxClient   = 1024      // bytes of the name of a client
	kafkaNewer       = 8         // versions beyond those that are known
	kafkaMaxSessions = 64        // fetch sessions of one connection that are remembered
	kafkaMaxNames    = 8192      // numbers of topics that are remembered, twice

	kafkaUnknownTopic = "~unknown"
	kafkaUnread       = "unread" // status of an answer of a version that is not known
)

// Kafka speaks the protocol of brokers from 0.9 to 4 (https://kafka.apache.org/protocol). An operation is the API and the first topic,
// "Produce orders", "Fetch orders", "Metadata". Newer versions give topics by number; what they are called is learnt from the answers to
// Metadata and CreateTopics on any connection. A fetch waits at the broker until there is something to read, and so long is its duration.
// A produce that wants no acknowledgement has no answer.
func Kafka() Protocol {
	names, room := &kafkaNames{}, &atomic.Int64{}
	return Protocol{Name: "kafka", Detect: detectKafka, New: func() Conn { return &kafkaConn{names: names, places: kafkaPlaces{room: room}} }, Framing: FramedKafka}
}

// kafkaTopicRef is a topic by name or by number.
type kafkaTopicRef struct {
	seen bool
	name string // folded
	raw  string
	id   [16]byte
}

// kafkaAsked is a request that waits for its answer.
type kafkaAsked struct {
	exchange Exchange
	api      *kafkaAPI
	version  int16
	session  int32
	topic    kafkaTopicRef
}

type kafkaConn struct {
	names    *kafkaNames
	halves   [2]half
	messages [2]kafkaMessage
	waiting  table[int32, kafkaAsked] // by correlation id
	sessions map[int32]kafkaTopicRef  // the first topic of each fetch session
	places   kafkaPlaces
}

// kafkaMessage is the request or answer at hand.
type kafkaMessage struct {
	api     *kafkaAPI
	id      int32
	left    int64 // bytes to come
	walk    kafkaWalk
	unread  bool
	topic   kafkaTopicRef
	session int32
	acks    int16 // of Produce

	code  int16 // the first that is no success
	last  int16 // the last
	names *kafkaNames

	current  kafkaTopicRef // the topic at hand
	part     int32         // the partition at hand
	epoch    int32         // of a fetch session; 0 and less begin anew
	follower bool          // a broker asks
	spots    []kafkaSpot   // what it says of partitions
}

func (c *kafkaConn) Feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	read := func(b []byte) (int64, bool, error) { return c.read(d, b) }
	return c.halves[d].feed(b, at, read, func() { c.got(d, emit) })
}

func (c *kafkaConn) Resync(d Direction, b []byte) bool {
	if d == FromClient {
		if detectKafka(d, b) != Yes {
			return false
		}
	} else if len(b) < 8 || kafkaSize(b) < 4 {
		return false
	} else if _, asked := c.waiting.values[int32(binary.BigEndian.Uint32(b[4:]))]; !asked {
		return false
	}
	c.halves[d], c.messages[d] = half{}, kafkaMessage{}
	return true
}

func (c *kafkaConn) Close(at int64, emit func(Exchange)) {
	for _, w := range c.waiting.values {
		emit(cut(w.exchange, at))
	}
	c.waiting = table[int32, kafkaAsked]{}
	c.places.clear()
}

// Pass ends the message at hand, of which nothing more is read.
func (c *kafkaConn) Pass(d Direction, b []byte, n int64, at int64, emit func(Exchange)) (int64, bool) {
	m, h := &c.messages[d], &c.halves[d]
	if n += int64(len(b)); !h.open || h.bytes == 0 || n > m.left {
		return 0, false
	}
	return h.pass(n, m.left-n, at, func() { c.got(d, emit) }), true
}

// read reads the header of a message, or goes on in its body.
func (c *kafkaConn) read(d Direction, b []byte) (int64, bool, error) {
	m := &c.messages[d]
	if c.halves[d].bytes == 0 {
		if d == FromClient {
			return m.request(b)
		}
		return c.answer(m, b)
	}
	n, done, err := m.walk.walk(b, m.left, m.take)
	if err != nil { // the size of the message is sure all the same
		m.unread = true
		return m.left, true, nil
	}
	if done {
		return m.left, true, nil
	}
	m.left -= n
	return n, n > 0 && m.left == 0, nil
}

// request reads the header of a request: size, key and version of the API, correlation id, name of the client.
func (m *kafkaMessage) request(b []byte) (int64, bool, error) {
	if len(b) < 14 {
		return 0, false, nil
	}
	size, key, version := kafkaSize(b), int16(binary.BigEndian.Uint16(b[4:])), int16(binary.BigEndian.Uint16(b[6:]))
	client := int64(int16(binary.BigEndian.Uint16(b[12:])))
	api := kafkaAPIs[key]
	if api == nil || version < 0 || version > api.max+kafkaNewer || size < 10+max(client, 0) || client < -1 || client > kafkaMaxClient {
		return 0, false, fmt.Errorf("request of %d bytes for API %d, version %d, by a client whose name has %d: %w", size, key, version, client, ErrDesync)
	}
	head := 14 + max(client, 0)
	*m = kafkaMessage{api: api, spots: m.spots[:0], id: int32(binary.BigEndian.Uint32(b[8:])), left: size + 4 - head, unread: version > api.max}
	m.begin(api.asks, version, version >= api.flexible)
	if api.places && version >= 15 {
		m.walk.replica = 1
	}
	return head, m.left == 0, nil
}

// answer reads the header of an answer: size and correlation id.
func (c *kafkaConn) answer(m *kafkaMessage, b []byte) (int64, bool, error) {
	if len(b) < 8 {
		return 0, false, nil
	}
	size := kafkaSize(b)
	if size < 4 {
		return 0, false, fmt.Errorf("answer of %d bytes: %w", size, ErrDesync)
	}
	*m = kafkaMessage{id: int32(binary.BigEndian.Uint32(b[4:])), left: size - 4, names: c.names, spots: m.spots[:0]}
	w, asked := c.waiting.values[m.id]
	if !asked {
		return 4 + size, true, nil
	}
	if m.api, m.unread = w.api, w.version > w.api.max; m.unread {
		return 4 + size, true, nil
	}
	m.begin(w.api.tells, w.version, w.version >= w.api.flexible && w.api.name != "ApiVersions")
	m.walk.flexible = w.version >= w.api.flexible
	return 8, m.left == 0, nil
}

// kafkaSize is the size at the front of b, which does not count itself; -1 if it is none.
func kafkaSize(b []byte) int64 {
	if size := int64(int32(binary.BigEndian.Uint32(b))); size <= kafkaMaxSize {
		return size
	}
	return -1
}

// begin prepares to walk over fields, behind the tagged fields of the header where it has them.
func (m *kafkaMessage) begin(fields []kafkaField, version int16, tags bool) {
	if m.unread || len(fields) == 0 {
		fields = []kafkaField{kStop}
	}
	m.walk.version, m.walk.flexible = version, tags
	m.walk.begin(fields, 1, true)
	if tags {
		m.walk.begin(nil, 1, true)
	}
}

// take keeps what a field says.
func (m *kafkaMessage) take(role kafkaRole, value []byte) (enough bool) {
	switch role {
	case kafkaAcks:
		m.acks = int16(binary.BigEndian.Uint16(value))
	case kafkaSession:
		m.session = int32(binary.BigEndian.Uint32(value))
	case kafkaError:
		m.last = int16(binary.BigEndian.Uint16(value))
		if m.code == 0 {
			m.code = m.last
		}
		return m.code != 0 && !m.api.names && !m.api.places
	case kafkaTopic:
		return m.named(kafkaTopicRef{seen: len(value) > 0, name: foldName(value, '.'), raw: string(value)})
	case kafkaTopicID:
		return m.numbered([16]byte(value))
	default:
		m.spot(role, value)
	}
	return false
}

// named takes the name of a topic.
func (m *kafkaMessage) named(topic kafkaTopicRef) (enough bool) {
	m.current = topic
	if m.names != nil || !topic.seen { // an answer, or the number follows
		return false
	}
	if !m.topic.seen {
		m.topic = topic
	}
	return !m.api.places
}

// numbered takes the number of a topic. Some answers have its name in front of it.
func (m *kafkaMessage) numbered(id [16]byte) (enough bool) {
	if m.names != nil && m.api.names {
		m.names.put(id, m.current.name)
		return false
	}
	m.current = kafkaTopicRef{seen: true, id: id}
	if m.names == nil && !m.topic.seen {
		m.topic = m.current
	}
	return m.names == nil && !m.api.places
}

// got handles the message that has just been read from d.
func (c *kafkaConn) got(d Direction, emit func(Exchange)) {
	m, h := &c.messages[d], &c.halves[d]
	if d == FromServer {
		c.answered(m, h, emit)
		return
	}
	if m.session != 0 && !m.topic.seen {
		m.topic = c.sessions[m.session]
	}
	e := h.asked(c.operation(m))
	if m.api.name == "Produce" && !m.unread && m.acks == 0 {
		e.Status = "ok"
		emit(oneWay(e))
		return
	}
	if m.api.places && !m.unread {
		c.places.asked(m, h.end)
	}
	w := kafkaAsked{exchange: e, api: m.api, version: m.walk.version, session: m.session, topic: m.topic}
	if again, there := c.waiting.take(m.id); there {
		emit(oneWay(again.exchange))
	}
	if forgotten, full := c.waiting.put(m.id, w); full {
		emit(oneWay(forgotten.exchange))
	}
}

func (c *kafkaConn) operation(m *kafkaMessage) string {
	if !m.api.topics {
		return m.api.name
	}
	switch {
	case !m.topic.seen && !m.unread && m.session == 0: // none in particular
		return m.api.name
	case !m.topic.seen:
		return m.api.name + " " + kafkaUnknownTopic
	}
	return m.api.name + " " + c.names.of(m.topic)
}

// answered completes the request that m answers.
func (c *kafkaConn) answered(m *kafkaMessage, h *half, emit func(Exchange)) {
	w, ok := c.waiting.take(m.id)
	if !ok {
		return
	}
	if _, known := c.sessions[m.session]; m.session != 0 && w.topic.seen && (w.session == 0 || !known) {
		if c.sessions == nil || len(c.sessions) >= kafkaMaxSessions {
			c.sessions = map[int32]kafkaTopicRef{}
		}
		c.sessions[m.session] = w.topic
	}
	if m.api.places && !m.unread {
		c.places.told(m)
	}
	status, failed := kafkaStatus(m.code)
	if m.unread {
		status, failed = kafkaUnread, false
	}
	emit(h.answered(w.exchange, status, failed))
}

// kafkaNames remembers what the numbers of topics stand for. Numbers are unique among clusters, so all connections share them.
type kafkaNames struct {
	mu       sync.Mutex
	now, old map[[16]byte]string // what is not asked for or told again goes with old
}

func (n *kafkaNames) put(id [16]byte, name string) {
	if id == [16]byte{} || name == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.now == nil || len(n.now) >= kafkaMaxNames {
		n.now, n.old = map[[16]byte]string{}, n.now
	}
	n.now[id] = name
}

// of is the folded name of a topic.
func (n *kafkaNames) of(topic kafkaTopicRef) string {
	if topic.name != "" {
		return topic.name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if name, known := n.now[topic.id]; known {
		return name
	}
	if name, known := n.old[topic.id]; known {
		return name
	}
	return kafkaUnknownTopic
}

// detectKafka says yes to a request: its header fits, the client has a name or all of it is there, and so much as is there fits the API.
// An answer alone does not tell what it is.
func detectKafka(d Direction, b []byte) Verdict {
	if len(b) >= 4 && (kafkaSize(b) < 4 || d == FromClient && (kafkaSize(b) < 10 || kafkaSize(b) > kafkaMaxRequest)) {
		return No
	}
	if d == FromServer || len(b) < 14 {
		return kafkaBegins(d, b)
	}
	var m kafkaMessage
	head, _, err := m.request(b)
	if err != nil || m.id < 0 {
		return No
	}
	name := b[14:min(head, int64(len(b)))]
	for _, c := range name {
		if c < ' ' || c > '~' {
			return No
		}
	}
	if int64(len(b)) < head {
		return Maybe
	}
	whole := int64(len(b)) >= head+m.left
	if !m.unread && m.api.whole {
		body := b[head:min(int64(len(b)), head+m.left)]
		n, done, err := m.walk.walk(body, m.left, func(role kafkaRole, value []byte) bool { m.take(role, value); return false })
		if err != nil || m.acks < -1 || m.acks > 1 || whole && (!done || n != m.left) || whole && m.api.name == "Produce" && !m.topic.seen {
			return No
		}
		return fitsIf(whole || len(name) > 0, true)
	}
	return fitsIf(len(name) > 0, true)
}

// kafkaBegins judges less than a header.
func kafkaBegins(d Direction, b []byte) Verdict {
	if d == FromClient && len(b) >= 8 {
		api := kafkaAPIs[int16(binary.BigEndian.Uint16(b[4:]))]
		if version := int16(binary.BigEndian.Uint16(b[6:])); api == nil || version < 0 || version > api.max+kafkaNewer {
			return No
		}
	}
	if d == FromServer && len(b) >= 8 && b[4]&0x80 != 0 {
		return No
	}
	return Maybe
}
