package protocol

import "bytes"

// sqlDialect tells how a text is cut into tokens.
type sqlDialect uint8

const (
	sqlQuotedNames  sqlDialect = 1 << iota // "x" is a name; else it may be a string and is never told
	sqlEscapes                             // a backslash in a string always escapes
	sqlNoEscapes                           // a backslash in a string never escapes. Without both it depends on settings that are not known
	sqlHashComments                        // # begins a comment, -- needs a space after it, /*! is code
	sqlDollarQuotes                        // $tag$ text $tag$
	sqlNestComments                        // comments nest
	sqlSlashComment                        // slash slash begins a comment
	sqlFoldNames                           // names without quotes are of no case
)

// The dialects. https://www.postgresql.org/docs/current/sql-syntax-lexical.html, https://dev.mysql.com/doc/refman/8.4/en/language-structure.html,
// https://cassandra.apache.org/doc/latest/cassandra/developing/cql/definitions.html, https://clickhouse.com/docs/sql-reference/syntax
const (
	postgresSQL   = sqlQuotedNames | sqlDollarQuotes | sqlNestComments | sqlFoldNames
	mysqlSQL      = sqlHashComments
	cqlSQL        = sqlQuotedNames | sqlNoEscapes | sqlDollarQuotes | sqlSlashComment | sqlFoldNames
	clickhouseSQL = sqlQuotedNames | sqlEscapes | sqlSlashComment
)

type sqlTokenKind uint8

const (
	sqlEnd    sqlTokenKind = iota // end of the text, or a place behind which nothing is certain
	sqlWord                       // a word without quotes
	sqlQuoted                     // a name in quotes
	sqlValue                      // a string or a number
	sqlPunct                      // one other byte
)

type sqlToken struct {
	kind sqlTokenKind
	text []byte // without quotes; one zero byte for sqlEnd and sqlValue
}

func (t sqlToken) isName() bool { return t.kind == sqlWord || t.kind == sqlQuoted && len(t.text) > 0 }

// upper returns the word in capitals if it is one that the parser knows, else "". It allocates nothing.
func (t sqlToken) upper() string {
	var buf [maxSQLWord]byte
	if len(t.text) > len(buf) {
		return ""
	}
	for i, c := range t.text {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		buf[i] = c
	}
	return sqlWords[string(buf[:len(t.text)])]
}

// sqlScanner cuts a text into tokens.
type sqlScanner struct {
	b       []byte
	i       int
	dialect sqlDialect
	whole   bool // the text is not cut at its end
}

// next returns the next token. At the end, and when a string or comment does not end, it returns sqlEnd for ever.
func (s *sqlScanner) next() sqlToken {
	if !s.space() {
		return s.end()
	}
	c := s.b[s.i]
	switch {
	case c == '\'':
		return s.quoted(c, sqlValue)
	case c == '"':
		if s.dialect&sqlQuotedNames != 0 {
			return s.quoted(c, sqlQuoted)
		}
		return s.quoted(c, sqlValue)
	case c == '`':
		return s.quoted(c, sqlQuoted)
	case c == '$' && s.dialect&sqlDollarQuotes != 0:
		return s.dollar()
	case c >= '0' && c <= '9':
		for s.i < len(s.b) && (isWordByte(s.b[s.i]) || s.b[s.i] == '.') {
			s.i++
		}
		return sqlToken{kind: sqlValue, text: []byte{0}}
	case isWordByte(c):
		return s.word()
	}
	if s.i++; s.i == len(s.b) && !s.whole {
		return s.end() // a comment may begin here
	}
	return sqlToken{kind: sqlPunct, text: s.b[s.i-1 : s.i]}
}

func (s *sqlScanner) end() sqlToken {
	s.i = len(s.b)
	return sqlToken{kind: sqlEnd, text: []byte{0}}
}

// space skips white space and comments. It returns false at the end.
func (s *sqlScanner) space() bool {
	for s.i < len(s.b) {
		rest := s.b[s.i:]
		switch c := rest[0]; {
		case c <= ' ' || c == 0x7f:
			s.i++
		case s.lineComment(rest):
			n := bytes.IndexByte(rest, '\n')
			if n < 0 {
				return false
			}
			s.i += n + 1
		case s.dialect&sqlHashComments != 0 && bytes.HasPrefix(rest, []byte("*/")):
			s.i += 2
		case bytes.HasPrefix(rest, []byte("/*")):
			if !s.comment() {
				return false
			}
		default:
			return true
		}
	}
	return false
}

func (s *sqlScanner) lineComment(rest []byte) bool {
	if s.dialect&sqlHashComments != 0 {
		return rest[0] == '#' || bytes.HasPrefix(rest, []byte("--")) && (len(rest) == 2 || rest[2] <= ' ')
	}
	return bytes.HasPrefix(rest, []byte("--")) || s.dialect&sqlSlashComment != 0 && bytes.HasPrefix(rest, []byte("//"))
}

// comment skips a comment, or only the beginning of one that holds code for MySQL or MariaDB.
func (s *sqlScanner) comment() bool {
	rest := s.b[s.i:]
	if s.dialect&sqlHashComments != 0 && (bytes.HasPrefix(rest, []byte("/*!")) || bytes.HasPrefix(rest, []byte("/*M!"))) {
		s.i += bytes.IndexByte(rest, '!') + 1
		for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
			s.i++
		}
		return true
	}
	s.i += 2
	for depth := 1; s.i < len(s.b); {
		switch rest = s.b[s.i:]; {
		case bytes.HasPrefix(rest, []byte("*/")):
			s.i += 2
			if depth--; depth == 0 {
				return true
			}
		case s.dialect&sqlNestComments != 0 && bytes.HasPrefix(rest, []byte("/*")):
			s.i += 2
			depth++
		default:
			s.i++
		}
	}
	return false
}

// quoted reads to the closing quote. A doubled quote stands for itself. Where a backslash stands before a quote and it depends on
// the server's settings whether the string ends there, nothing that follows is certain.
func (s *sqlScanner) quoted(quote byte, kind sqlTokenKind) sqlToken {
	start := s.i + 1
	escapes := kind == sqlValue && (s.dialect&sqlEscapes != 0 || s.isEscapeString())
	for i := start; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			if i+1 >= len(s.b) || kind != sqlValue || s.dialect&sqlNoEscapes != 0 {
				continue
			}
			if s.b[i+1] == quote && !escapes {
				return s.end()
			}
			i++
		case quote:
			if i+1 < len(s.b) && s.b[i+1] == quote {
				i++
				continue
			}
			if i+1 == len(s.b) && !s.whole {
				return s.end()
			}
			s.i = i + 1
			if kind == sqlValue {
				return sqlToken{kind: kind, text: []byte{0}}
			}
			return sqlToken{kind: kind, text: s.b[start:i]}
		}
	}
	return s.end()
}

// isEscapeString says whether the string at the place is one of PostgreSQL's escape strings (E before the quote).
func (s *sqlScanner) isEscapeString() bool {
	if s.i == 0 || s.b[s.i-1]|0x20 != 'e' {
		return false
	}
	return s.i == 1 || !isWordByte(s.b[s.i-2])
}

// dollar reads a string in dollar quotes, or the dollar of a parameter.
func (s *sqlScanner) dollar() sqlToken {
	tag := s.i + 1
	for tag < len(s.b) && isWordByte(s.b[tag]) && s.b[tag] != '$' {
		tag++
	}
	if tag == len(s.b) || s.b[tag] != '$' || s.b[s.i+1] >= '0' && s.b[s.i+1] <= '9' {
		s.i = tag
		if tag == len(s.b) && !s.whole {
			return s.end()
		}
		return sqlToken{kind: sqlValue, text: []byte{0}}
	}
	mark := s.b[s.i : tag+1]
	n := bytes.Index(s.b[tag+1:], mark)
	if n < 0 {
		return s.end()
	}
	s.i = tag + 1 + n + len(mark)
	return sqlToken{kind: sqlValue, text: []byte{0}}
}

// word reads a word; one that touches the end of a cut text may be longer and does not count.
func (s *sqlScanner) word() sqlToken {
	start := s.i
	for s.i < len(s.b) && isWordByte(s.b[s.i]) {
		s.i++
	}
	if s.i == len(s.b) && !s.whole {
		return s.end()
	}
	return sqlToken{kind: sqlWord, text: s.b[start:s.i]}
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}
