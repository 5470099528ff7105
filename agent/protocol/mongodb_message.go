package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// mongoStage is what comes next in the body of a message.
type mongoStage uint8

const (
	mongoHead     mongoStage = iota // what stands before the documents
	mongoSection                    // of OP_MSG
	mongoDocument                   // its length
	mongoFields
	mongoDone // nothing more is needed
)

// mongoMessage is the message at hand, as far as it was read.
type mongoMessage struct {
	answer bool
	id, to int32 // requestID, responseTo
	op     int32 // opcode of what is read: inside OP_COMPRESSED, the one of the message in it
	first  int32 // opcode of what the flags are of
	flags  uint32
	left   int64 // bytes of the body to come
	stage  mongoStage
	field  int64 // bytes of the document at hand to come

	// of a request
	plain      bool // a query before commands were
	command    string
	explained  string
	collection string
	named      bool // the first field was seen
	wants      bool // the collection is in a field of its own

	// of an answer
	ok, okSeen             bool
	code, writeCode        int64
	codeSeen, writeErrors  bool
	concernCode            int64
	concernFailed, flagged bool
}

// part reads the next part of the body at the front of b: its size, 0 to wait for more bytes. done says that the rest is not needed.
func (m *mongoMessage) part(b []byte) (size int64, done bool, err error) {
	switch m.stage {
	case mongoHead:
		size, err = m.head(b)
	case mongoSection:
		size, err = m.section(b)
	case mongoDocument:
		size, err = m.document(b, 0)
	case mongoFields:
		size, err = m.fields(b)
	}
	return size, m.stage == mongoDone, err
}

// head reads what stands before the documents.
func (m *mongoMessage) head(b []byte) (int64, error) {
	if len(b) < 4 {
		return 0, nil
	}
	m.first = m.op
	if m.op == mongoMsg {
		m.flags, m.stage = binary.LittleEndian.Uint32(b), mongoSection
		if m.flags&^(mongoKnownFlags|mongoOptionalFlags) != 0 {
			return 0, fmt.Errorf("flags %#x: %w", m.flags, ErrDesync)
		}
		return 4, nil
	}
	if m.op == mongoReply {
		return m.replyHead(b)
	}
	if m.op == mongoKillCursors {
		m.command, m.stage = "killCursors", mongoDone
		return 4, nil
	}
	end := bytes.IndexByte(b[4:min(len(b), 4+mongoMaxName)], 0)
	if end < 0 {
		if len(b) >= 4+mongoMaxName {
			return 0, fmt.Errorf("namespace without end: %w", ErrDesync)
		}
		return 0, nil
	}
	_, collection, found := bytes.Cut(b[4:4+end], []byte{'.'})
	if !found {
		return 0, fmt.Errorf("namespace without collection: %w", ErrDesync)
	}
	m.command, m.stage = map[int32]string{mongoQuery: "find", mongoGetMore: "getMore", mongoInsert: "insert", mongoUpdate: "update", mongoDelete: "delete"}[m.op], mongoDone
	if m.op == mongoQuery && string(collection) == "$cmd" {
		m.command, m.stage = "", mongoDocument
		return int64(4 + end + 1 + 8), nil
	}
	m.plain, m.collection = true, foldName(collection, '.')
	return int64(4 + end + 1), nil
}

func (m *mongoMessage) replyHead(b []byte) (int64, error) {
	if len(b) < 20 {
		return 0, nil
	}
	m.flags, m.stage = binary.LittleEndian.Uint32(b), mongoDocument
	m.flagged = m.flags&(mongoCursorNotFound|mongoQueryFailure) != 0
	if m.flags&mongoCursorNotFound != 0 {
		m.code, m.codeSeen = 43, true // CursorNotFound
	}
	if mongoInt(b, 16) == 0 {
		m.stage = mongoDone
	}
	return 20, nil
}

// section reads the head of a section of OP_MSG. Sequences of documents are passed over, they may come before the command.
func (m *mongoMessage) section(b []byte) (int64, error) {
	if m.left <= 4 && m.flags&mongoChecksum != 0 {
		m.stage = mongoDone
		return m.left, nil
	}
	if len(b) < 5 {
		return 0, nil
	}
	if b[0] == 0 {
		return m.document(b[1:], 1)
	}
	size := int64(mongoInt(b, 1))
	if b[0] > 2 || size < 5 {
		return 0, fmt.Errorf("section of kind %d with %d bytes: %w", b[0], size, ErrDesync)
	}
	return 1 + size, nil
}

// document reads the length of a document, before bytes of whose part were read already.
func (m *mongoMessage) document(b []byte, before int64) (int64, error) {
	if len(b) < 4 {
		return 0, nil
	}
	size := int64(mongoInt(b, 0))
	if size < 5 || size+before > m.left {
		return 0, fmt.Errorf("document of %d bytes: %w", size, ErrDesync)
	}
	m.field, m.stage = size-4, mongoFields
	return before + 4, nil
}

// fields reads one field of the document at hand.
func (m *mongoMessage) fields(b []byte) (int64, error) {
	e, err := bsonElement(b)
	if err != nil {
		return 0, err
	}
	if len(b) > 0 && b[0] == 0 {
		m.stage = mongoDone
		return 1, nil
	}
	if e.head == 0 {
		return 0, nil
	}
	size := int64(e.head) + e.size
	if size > m.field-1 {
		return 0, fmt.Errorf("field of %d bytes: %w", e.size, ErrDesync)
	}
	value := b[e.head:min(int64(len(b)), size)]
	if want := m.window(e); int64(len(value)) < want {
		return 0, nil
	}
	if m.answer {
		m.answerField(e, value)
	} else if m.requestField(e, value) { // goes on inside of it
		m.field = e.size - 4
		return int64(e.head) + 4, nil
	}
	m.field -= size
	return size, nil
}

// window is how many bytes of a field's value are needed.
func (m *mongoMessage) window(e bsonField) int64 {
	switch {
	case m.answer && (string(e.name) == "writeErrors" || string(e.name) == "writeConcernError" || string(e.name) == "cursor"):
		return min(e.size, mongoMaxWindow)
	case m.answer && e.size > 16:
		return 0
	}
	return min(e.size, 4+256) // of a name of a collection
}

// requestField takes a field of a command. It says yes when the field is a document with the command in it.
func (m *mongoMessage) requestField(e bsonField, value []byte) bool {
	if m.named {
		if m.wants && string(e.name) == "collection" && e.kind == bsonString {
			m.collection, m.stage = foldName(bsonText(value), '.'), mongoDone
		}
		return false
	}
	if e.kind == bsonDocument && (string(e.name) == "$query" || string(e.name) == "query") {
		return true
	}
	command, has := mongoCommand(e.name)
	if command == "explain" && e.kind == bsonDocument && m.explained == "" {
		m.explained = command + " "
		return true
	}
	m.command, m.named = command, true
	m.wants = command == "getMore"
	if has && e.kind == bsonString {
		m.collection = foldName(bsonText(value), '.')
	}
	if !m.wants {
		m.stage = mongoDone
	}
	return false
}

// answerField takes a field of an answer.
func (m *mongoMessage) answerField(e bsonField, value []byte) {
	switch string(e.name) {
	case "ok":
		if n, is := bsonNumber(e.kind, value); is {
			m.okSeen, m.ok = true, n != 0
		}
	case "code":
		if n, is := bsonNumber(e.kind, value); is {
			m.code, m.codeSeen = n, true
		}
	case "writeErrors":
		if e.kind == bsonArray && e.size > 5 {
			m.writeErrors = true
			m.writeCode, _ = bsonFind(value, "", "code")
		}
	case "writeConcernError":
		if e.kind == bsonDocument {
			m.concernFailed = true
			m.concernCode, _ = bsonFind(value, "code")
		}
	case "cursor": // of bulkWrite, which lists failures as results
		if n, is := bsonFind(value, "firstBatch", "", "code"); is && n != 0 {
			if ok, has := bsonFind(value, "firstBatch", "", "ok"); has && ok == 0 {
				m.code, m.codeSeen = n, true
			}
		}
	case "nErrors":
		if n, is := bsonNumber(e.kind, value); is && n > 0 {
			m.writeErrors, m.writeCode = true, m.code
		}
	}
	if m.okSeen && !m.ok && m.codeSeen {
		m.stage = mongoDone
	}
}

// operation is the command and its collection.
func (m *mongoMessage) operation() string {
	if m.command == "" {
		return m.explained + "~other"
	}
	return strings.TrimSuffix(m.explained+m.command+" "+m.collection, " ")
}

// oneWay says that the client wants no answer.
func (m *mongoMessage) oneWay() bool {
	switch m.first {
	case mongoInsert, mongoUpdate, mongoDelete, mongoKillCursors:
		return true
	case mongoMsg:
		return m.flags&mongoMoreToCome != 0
	}
	return false
}

// status is "ok" or the number of the error: of the command, or of the first document that could not be written.
func (m *mongoMessage) status(plain bool) (string, bool) {
	switch {
	case plain && !m.flagged:
		return "ok", false
	case m.okSeen && !m.ok || m.flagged:
		return mongoCode(m.code, m.codeSeen), true
	case m.writeErrors:
		return mongoCode(m.writeCode, m.writeCode != 0), true
	case m.concernFailed:
		return mongoCode(m.concernCode, m.concernCode != 0), true
	}
	return "ok", false
}

func mongoCode(code int64, known bool) string {
	if !known {
		return "error"
	}
	return strconv.FormatInt(code, 10)
}
