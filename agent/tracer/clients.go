package tracer

import "time"

const (
	maxClients   = 100
	maxStates    = 300_000 // rows that clients were told, of all clients together
	maxClosed    = 50_000
	clientExpiry = 2 * time.Minute
	// sharedClient is who asks without a name. All who do are one, and take the differences from each other.
	sharedClient = "-1"
)

// figures are those of a row when a client was told.
type figures struct{ sent, received, retransmits uint64 }

// client is who asks, with what it was told.
type client struct {
	asked time.Time
	told  map[*row]figures
	seen  uint64 // closed rows that it was told, by number
}

// closedRow is a row that ended, as it was then.
type closedRow struct {
	row    *row
	last   Connection
	number uint64
}

// clients keeps what each client was told, so that it gets the difference. Whoever has it locks.
type clients struct {
	by        map[string]*client
	closed    []closedRow // the oldest first
	number    uint64      // of the last that closed
	states    int
	noRoom    uint64 // rows told without a difference
	forgotten uint64 // closed rows that some client was not told
}

func newClients() clients { return clients{by: make(map[string]*client)} }

// visit finds a client, or makes one; nil where there are too many. first says that it has not asked before.
func (c *clients) visit(id string, now time.Time) (who *client, first bool) {
	if id == "" {
		id = sharedClient
	}
	c.expire(now)
	who = c.by[id]
	if who == nil {
		if len(c.by) >= maxClients {
			return nil, false
		}
		who, first = &client{told: make(map[*row]figures), seen: c.number}, true
		c.by[id] = who
	}
	who.asked = now
	return who, first
}

// expire forgets who has not asked for long.
func (c *clients) expire(now time.Time) {
	for id, who := range c.by {
		if now.Sub(who.asked) >= clientExpiry {
			c.states -= len(who.told)
			delete(c.by, id)
		}
	}
	c.trim()
}

// end keeps the last figures of a row for the clients that are there.
func (c *clients) end(r *row, last Connection) {
	if len(c.by) == 0 {
		return
	}
	c.number++
	c.closed = append(c.closed, closedRow{r, last, c.number})
	for len(c.closed) > maxClosed {
		c.forgotten++
		c.drop(c.closed[0])
		c.closed = c.closed[1:]
	}
}

// trim forgets the closed rows that everybody was told.
func (c *clients) trim() {
	all := c.number
	for _, who := range c.by {
		all = min(all, who.seen)
	}
	n := 0
	for n < len(c.closed) && c.closed[n].number <= all {
		c.drop(c.closed[n])
		n++
	}
	c.closed = c.closed[n:]
	if len(c.closed) == 0 {
		c.closed = nil // its array
	}
}

// drop takes a closed row from all clients.
func (c *clients) drop(closed closedRow) {
	for _, who := range c.by {
		c.forget(who, closed.row)
	}
}

func (c *clients) forget(who *client, r *row) {
	if _, ok := who.told[r]; ok {
		delete(who.told, r)
		c.states--
	}
}

// differ fills in what a row did since the client was told before, and remembers. What a client was never told counts from its beginning, but in its
// first answer.
func (c *clients) differ(who *client, first bool, r *row, out *Connection) {
	before, known := who.told[r]
	now := figures{r.sent, r.received, r.retransmits}
	if !known && c.states >= maxStates {
		c.noRoom++
		return
	}
	if !known {
		c.states++
	}
	who.told[r] = now
	if !first {
		out.LastSent, out.LastReceived = now.sent-before.sent, now.received-before.received
		out.LastRetransmits = saturated(now.retransmits - before.retransmits)
	}
}

// tellClosed gives the rows that ended since the client asked before.
func (c *clients) tellClosed(who *client, emit func(Connection)) {
	for i := range c.closed {
		closed := &c.closed[i]
		if closed.number <= who.seen {
			continue
		}
		out := closed.last
		before := who.told[closed.row]
		out.LastSent, out.LastReceived = closed.row.sent-before.sent, closed.row.received-before.received
		out.LastRetransmits = saturated(closed.row.retransmits - before.retransmits)
		emit(out)
		c.forget(who, closed.row)
	}
	who.seen = c.number
	c.trim()
}
