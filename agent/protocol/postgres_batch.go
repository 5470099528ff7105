package protocol

// pgUnit is an Execute with the Parse, Bind and Describe before it, a simple Query, or such steps without an Execute.
type pgUnit struct {
	Exchange
	exec     bool // it counts
	simple   bool // ReadyForQuery is part of its answer
	sync     bool // the last of its batch
	parse    bool // it has a Parse
	parsed   bool // which has been answered
	copying  bool // the server waits for COPY data
	answered bool // a simple Query: at least one statement is complete
	done     bool
}

// pgBatches holds what waits for ReadyForQuery. A batch is what a Sync or a simple Query ends; its units are told when it ends,
// because an error at the commit comes after their answers.
type pgBatches struct {
	units      []pgUnit
	failed     bool // the batch in front has failed
	staleSyncs int  // ReadyForQuery that belong to units that were given up because there were too many
	staleUnits int  // and answers to the ones that no Sync has ended yet
}

// push adds a unit. Too many waiting ones are told at once, without a status, so that none is left out.
func (q *pgBatches) push(u pgUnit, emit func(Exchange), at int64) {
	if len(q.units) >= MaxWaiting {
		for _, u := range q.units {
			if u.exec && !u.done {
				q.staleUnits++
			}
			if u.sync {
				q.staleSyncs++
				q.staleUnits = 0
			}
		}
		q.giveUpUnits(emit, at)
	}
	q.units = append(q.units, u)
}

// open returns the last unit if steps may still be added to it.
func (q *pgBatches) open() *pgUnit {
	if n := len(q.units); n > 0 && !q.units[n-1].exec && !q.units[n-1].sync {
		return &q.units[n-1]
	}
	return nil
}

func (q *pgBatches) parse(c *postgresConn, h *half, op string) {
	if u := q.open(); u != nil && !u.parse {
		u.parse, u.Operation = true, op
		u.RequestBytes += h.bytes
		return
	}
	c.unit(h, pgUnit{Exchange: h.asked(op), parse: true})
}

// step adds a Bind, Describe or Close. A Bind that follows a Parse which has been answered begins anew: the time between is the client's.
func (q *pgBatches) step(c *postgresConn, h *half, op string, bind bool) {
	u := q.open()
	if u == nil {
		c.unit(h, pgUnit{Exchange: h.asked(op)})
		return
	}
	if bind {
		if u.parse && u.parsed {
			u.Exchange = h.asked(op)
			return
		}
		u.Operation = op
	}
	u.RequestBytes += h.bytes
}

func (q *pgBatches) execute(c *postgresConn, h *half, op string) {
	if u := q.open(); u != nil {
		u.exec, u.Operation = true, op
		u.RequestBytes += h.bytes
		return
	}
	c.unit(h, pgUnit{Exchange: h.asked(op), exec: true})
}

func (q *pgBatches) sync(c *postgresConn, h *half) {
	if n := len(q.units); n > 0 && !q.units[n-1].sync {
		q.units[n-1].sync = true
		q.units[n-1].RequestBytes += h.bytes
		return
	}
	c.unit(h, pgUnit{Exchange: h.asked(""), sync: true})
}

// copyData adds bytes that the client copies in. The server ignores a Sync that came before their end.
func (q *pgBatches) copyData(h *half, last bool) {
	u := q.current()
	if u == nil || !u.copying {
		return
	}
	u.RequestBytes += h.bytes
	if last && !u.simple {
		u.sync = false
	}
	u.copying = !last
}

// current returns the unit of the batch in front that the server answers now.
func (q *pgBatches) current() *pgUnit {
	if q.staleSyncs > 0 || q.staleUnits > 0 {
		return nil
	}
	for i := range q.units {
		if u := &q.units[i]; u.exec && !u.done {
			return u
		} else if u.sync {
			return nil
		}
	}
	return nil
}

func (q *pgBatches) more(h *half) {
	if u := q.current(); u != nil {
		u.ResponseBytes += h.bytes
	}
}

func (q *pgBatches) copyIn(h *half) {
	q.more(h)
	if u := q.current(); u != nil {
		u.copying = true
	}
}

// parsed marks the first Parse of the batch that had no answer.
func (q *pgBatches) parsed() {
	if q.staleSyncs > 0 || q.staleUnits > 0 {
		return
	}
	for i := range q.units {
		if u := &q.units[i]; u.parse && !u.parsed {
			u.parsed = true
			return
		} else if u.sync {
			return
		}
	}
}

// complete takes the end of one statement; kind is what the server calls it, for statements whose text was not seen.
func (q *pgBatches) complete(h *half, kind string) {
	if q.staleSyncs == 0 && q.staleUnits > 0 {
		q.staleUnits--
		return
	}
	u := q.current()
	if u == nil {
		return
	}
	if u.Operation == "" {
		u.Operation = kind
	}
	u.ResponseBytes += h.bytes
	u.End, u.Status = h.end, "ok"
	u.answered = true
	u.done = !u.simple
}

// fail takes an error: of the unit that is at work, of a step before it, or of the commit after all of them.
func (q *pgBatches) fail(h *half, state string) {
	if q.staleSyncs > 0 {
		return
	}
	q.failed, q.staleUnits = true, 0
	failing := q.failing()
	if failing == nil {
		return
	}
	failing.done, failing.Failed, failing.Status = true, true, state
	failing.End = h.end
	failing.ResponseBytes += h.bytes
}

// failing returns the unit that an error is about.
func (q *pgBatches) failing() *pgUnit {
	var last, step *pgUnit // a statement that is complete, and steps that may be
	for i := 0; i < len(q.units); i++ {
		u := &q.units[i]
		switch {
		case u.exec && !u.done, !u.exec && u.parse && !u.parsed:
			return u
		case u.exec:
			last = u
		case u.Operation != "":
			step = u
		}
		if u.sync {
			i = len(q.units)
		}
	}
	if last == nil {
		return step
	}
	return last
}

// ready takes ReadyForQuery: the batch in front ends.
func (q *pgBatches) ready(h *half, emit func(Exchange)) {
	if q.staleSyncs > 0 {
		q.staleSyncs--
		return
	}
	last := 0
	for last < len(q.units) && !q.units[last].sync {
		last++
	}
	if last == len(q.units) {
		return
	}
	for _, u := range q.units[:last+1] {
		if u.simple {
			u.End = h.end
			u.ResponseBytes += h.bytes
		}
		if u.exec && u.Status == "" && q.failed {
			u.Failed, u.Status = true, "aborted"
		}
		u.tell(emit, h.end)
	}
	q.units = q.units[last+1:]
	if len(q.units) == 0 {
		q.units = nil
	}
	q.failed, q.staleUnits = false, 0
}

// tell emits a unit that counts: a statement, or a step that failed.
func (u *pgUnit) tell(emit func(Exchange), at int64) {
	if !u.exec && !u.Failed {
		return
	}
	e := u.Exchange
	if e.Operation == "" {
		e.Operation = "EXECUTE"
	}
	if e.End == 0 {
		e.End = at
	}
	emit(e)
}

func (q *pgBatches) giveUpUnits(emit func(Exchange), at int64) {
	for _, u := range q.units {
		u.tell(emit, at)
	}
	q.units, q.failed = nil, false
}

// giveUp tells what waits, because it is not sure any more which answer belongs to what; of all batches the last one may be kept.
func (q *pgBatches) giveUp(emit func(Exchange), at int64, keepLast bool) {
	kept := len(q.units)
	if keepLast {
		for kept = max(kept-1, 0); kept > 0 && !q.units[kept-1].sync; {
			kept--
		}
	}
	last := q.units[kept:]
	if q.units = q.units[:kept]; kept > 0 {
		q.failed = false
	}
	failed := q.failed
	q.giveUpUnits(emit, at)
	q.units, q.failed = last, failed
	q.staleSyncs, q.staleUnits = 0, 0
}

// cut tells all that waits when the connection ends.
func (q *pgBatches) cut(emit func(Exchange), at int64) {
	for i := range q.units {
		if u := &q.units[i]; u.exec && !u.done {
			u.Exchange = cut(u.Exchange, at)
		}
	}
	q.giveUp(emit, at, false)
}
