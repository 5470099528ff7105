package protocol

// Preparer is a Matcher of a protocol whose operations are those of statements. The kernel matches the ones that it was told of, and gives a connection
// back where another comes: docs/decisions/0020-sql-in-the-kernel.md.
type Preparer interface {
	Matcher
	// Learn is called once, before Feed. The Conn calls learn for each statement that the kernel may match, with the key that it finds there.
	Learn(learn func(key uint64, operation string))
	// Prepared lists the prepared statements, by what the kernel knows them by.
	Prepared(each func(id uint64, operation string))
	// Preparations is how often that list changed.
	Preparations() int
	// Resume returns a Conn that goes on where the kernel gives the connection back: only what was prepared is known. PostgreSQL's unnamed
	// statement is the kernel's; "" if it has none.
	Resume(unnamed string) Conn
}

// Statement is what the kernel is to be told of: by a text, or of one connection.
type Statement struct {
	Stream StreamID // zero for a text
	ID     uint64   // of a text its key, else what the prepared statement is known by
	Number uint16   // of the operation
}

// maxTexts is how many texts are remembered to be known to the kernel, which may forget them.
const maxTexts = 8192

// toldStatements are what the kernel is told of.
type toldStatements struct {
	waiting []Statement
	texts   map[uint64]struct{} // that were told
}

// speak has a connection speak a protocol from here on.
func (s *Streams) speak(st *stream, known *Protocol, conn Conn) {
	st.conn, st.protocol, st.framing, st.matched = conn, known.Name, known.Framing, known.Matched
	if p, ok := conn.(Preparer); ok && s.Match {
		p.Learn(func(key uint64, operation string) { s.learn(st, key, operation) })
	}
}

// learn tells the kernel of a text, once; again if it has just given the connection back, for it may have forgotten that text.
func (s *Streams) learn(st *stream, key uint64, operation string) {
	if _, told := s.statements.texts[key]; told && !st.unknown {
		return
	}
	st.unknown = false
	n := s.Operations.Number(operation)
	if n == 0 {
		return
	}
	if len(s.statements.texts) >= maxTexts {
		clear(s.statements.texts)
	}
	s.statements.texts[key] = struct{}{}
	s.statements.waiting = append(s.statements.waiting, Statement{ID: key, Number: n})
}

// prepare tells the kernel of all that a connection has prepared, before it is offered.
func (s *Streams) prepare(id StreamID, st *stream) {
	p, ok := st.conn.(Preparer)
	if !ok || st.prepared == p.Preparations() {
		return
	}
	st.prepared = p.Preparations()
	p.Prepared(func(statement uint64, operation string) {
		if n := s.Operations.Number(operation); n != 0 {
			s.statements.waiting = append(s.statements.waiting, Statement{Stream: id, ID: statement, Number: n})
		}
	})
}

// resume returns the Conn of a connection that the kernel gives back.
func (s *Streams) resume(st *stream, known *Protocol, unnamed uint16) Conn {
	if p, ok := st.conn.(Preparer); ok && st.matched == known.Matched {
		st.unknown, st.prepared = true, -1
		return p.Resume(s.Operations.Name(uint64(unnamed)))
	}
	return known.New()
}

// Statements lists what the kernel is to be told of, before the next Decision is carried out.
func (s *Streams) Statements(each func(Statement)) {
	for _, st := range s.statements.waiting {
		each(st)
	}
	s.statements.waiting = s.statements.waiting[:0]
}
