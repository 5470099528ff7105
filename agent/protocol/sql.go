package protocol

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSQLText is how much of a statement is looked at for its name. What follows is not needed.
const maxSQLText = 4 << 10

// sqlStatement is the name of a statement and what is known of the end of the text.
type sqlStatement struct {
	Operation string // "SELECT users", "BEGIN", "CREATE TABLE users", "OTHER" for what is no statement, "EMPTY" for nothing
	Sure      bool   // more text would not change it
	end       int    // of the name of its table, behind which nothing matters but a dot; 0 if all of the text does
}

// parseSQL names a statement by its kind and its first table, without the schema. It is no parser: it reads tokens, so that it also works on
// dialects and texts that it has never seen, and on texts that are cut (whole is false). Strings, numbers, comments and everything
// that is not a name at the place of a table never get into the result. Of several statements the first one gives the name.
func parseSQL(text []byte, d sqlDialect, whole bool) sqlStatement {
	if len(text) > maxSQLText {
		text, whole = text[:maxSQLText], false
	}
	p := &sqlParser{scan: sqlScanner{b: text, dialect: d, whole: whole}}
	op := p.statement()
	s := sqlStatement{
		Operation: clip(op, MaxOperation),
		Sure:      whole || p.table != "" || p.bare || len(text) == maxSQLText,
	}
	if p.table != "" {
		s.end = p.end
	}
	return s
}

// looksLikeSQL says whether text begins with a statement that is known, for detection.
func looksLikeSQL(text []byte, d sqlDialect) bool {
	op := parseSQL(text, d, true).Operation
	return op != "OTHER" && op != "EMPTY"
}

// maxCTEs is how many common table expressions are known by name; one more counts as a table.
const maxCTEs = 16

// sqlParser reads one statement.
type sqlParser struct {
	scan  sqlScanner
	table string
	end   int      // of that name
	bare  bool     // the kind has no table, so nothing more is needed
	ctes  []string // names that WITH has given
	inner string   // first table inside WITH
	nest  int
}

// statement reads a statement from its first word on.
func (p *sqlParser) statement() string {
	t := p.scan.next()
	for t.kind == sqlPunct && (t.text[0] == '(' || t.text[0] == ';') {
		t = p.scan.next()
	}
	switch t.kind {
	case sqlEnd:
		return "EMPTY"
	case sqlWord:
		return p.kind(t)
	}
	p.bare = true
	return "OTHER"
}

// kind goes on by the rule of the kind.
func (p *sqlParser) kind(t sqlToken) string {
	kind := t.upper()
	rule, ok := sqlKinds[kind]
	if !ok {
		p.bare = true
		return "OTHER"
	}
	switch rule {
	case sqlBare:
		p.bare = true
	case sqlDirect:
		p.direct()
	case sqlFrom:
		from := sqlFromFinder{selects: 1}
		if kind == "DECLARE" || kind == "PREPARE" {
			from.selects = 0
		}
		p.table = p.find(&from)
		if p.table == "" {
			p.table, p.end = p.inner, 0
		}
	case sqlObject:
		return p.object(kind)
	case sqlInto:
		p.into()
	case sqlInner:
		return p.explained(kind)
	case sqlWith:
		return p.with()
	}
	return join(kind, p.table)
}

// direct takes the first name after noise words. A parenthesis holds a query (COPY) or options (VACUUM).
func (p *sqlParser) direct() {
	for t := p.scan.next(); ; t = p.scan.next() {
		switch {
		case p.noise(t):
		case t.isName() && !(t.kind == sqlWord && sqlNoTable[t.upper()]):
			p.table = p.name(t)
			return
		case t.kind == sqlPunct && t.text[0] == '(':
			t = p.scan.next()
			if t.kind == sqlWord && sqlInners[t.upper()] {
				p.table = p.find(&sqlFromFinder{selects: 1})
				return
			}
			for t.kind != sqlEnd && !(t.kind == sqlPunct && t.text[0] == ')') {
				t = p.scan.next()
			}
		default:
			return
		}
	}
}

// into skips to INTO and takes the name after it.
func (p *sqlParser) into() {
	for t := p.scan.next(); t.kind != sqlEnd; t = p.scan.next() {
		if t.kind == sqlWord && t.upper() == "INTO" {
			p.direct()
			return
		}
	}
}

// object reads what CREATE, ALTER and DROP are about. An index counts for its table.
func (p *sqlParser) object(kind string) string {
	t := p.scan.next()
	for t.kind == sqlWord && sqlModifiers[t.upper()] {
		t = p.scan.next()
	}
	if t.kind != sqlWord || !sqlObjects[t.upper()] {
		return kind
	}
	object := t.upper()
	switch {
	case sqlNamedObjects[object]:
		p.direct()
	case object == "INDEX" && kind == "CREATE":
		for t = p.scan.next(); t.kind != sqlEnd; t = p.scan.next() {
			if t.kind == sqlWord && t.upper() == "ON" {
				p.direct()
				break
			}
		}
	default:
		p.bare = true
	}
	return join(kind+" "+object, p.table)
}

// explained names EXPLAIN by the table of what it explains.
func (p *sqlParser) explained(kind string) string {
	for t := p.scan.next(); t.kind != sqlEnd && t.text[0] != ';'; t = p.scan.next() {
		if t.kind == sqlWord && sqlInners[t.upper()] && p.nest == 0 {
			p.nest++
			p.kind(t)
			p.bare = p.bare || p.table != ""
			return join(kind, p.table)
		}
	}
	return kind
}

// with reads common table expressions, and then the statement that they serve.
func (p *sqlParser) with() string {
	from := sqlFromFinder{}
	named := true // a name may come next
	for t := p.scan.next(); t.kind != sqlEnd; t = p.scan.next() {
		if from.depth == 0 && t.kind == sqlWord {
			if word := t.upper(); sqlInners[word] && word != "WITH" && word != "TABLE" {
				return p.kind(t)
			} else if word == "RECURSIVE" {
				continue
			}
		}
		if from.depth == 0 && named && t.isName() && len(p.ctes) < maxCTEs {
			p.ctes = append(p.ctes, string(t.text))
		}
		named = from.depth == 0 && t.kind == sqlPunct && t.text[0] == ','
		if from.step(t) && p.inner == "" {
			p.inner = p.after(&from)
		}
	}
	return "WITH"
}

// find returns the first table after a FROM.
func (p *sqlParser) find(from *sqlFromFinder) string {
	for t := p.scan.next(); t.kind != sqlEnd; t = p.scan.next() {
		if !from.step(t) {
			if from.depth == 0 && t.kind == sqlPunct && t.text[0] == ';' {
				return ""
			}
			continue
		}
		if name := p.after(from); name != "" {
			return name
		}
	}
	return ""
}

// after reads what stands behind FROM: a table, or "" for a query in parentheses or a common table expression.
func (p *sqlParser) after(from *sqlFromFinder) string {
	t := p.scan.next()
	for p.noise(t) {
		t = p.scan.next()
	}
	if !t.isName() || t.kind == sqlWord && sqlNoTable[t.upper()] {
		from.step(t)
		return ""
	}
	for _, cte := range p.ctes {
		if strings.EqualFold(cte, string(t.text)) {
			return ""
		}
	}
	return p.name(t)
}

// noise says whether a word may stand before a table and means none itself. With a dot behind it, it is a schema: system.tables.
func (p *sqlParser) noise(t sqlToken) bool {
	if t.kind != sqlWord || !sqlNoise[t.upper()] {
		return false
	}
	at := p.scan.i
	next := p.scan.next()
	p.scan.i = at
	return next.kind != sqlPunct || next.text[0] != '.'
}

// name reads a name that may have prefixes (schema, database), and returns its last part, safe for a label.
func (p *sqlParser) name(t sqlToken) string {
	for range 4 {
		at := p.scan.i
		if dot := p.scan.next(); dot.kind != sqlPunct || dot.text[0] != '.' {
			if dot.kind == sqlEnd && !p.scan.whole {
				return "" // a dot may follow
			}
			p.scan.i = at
			break
		}
		if t = p.scan.next(); !t.isName() {
			return ""
		}
	}
	p.end = p.scan.i
	return cleanName(t, p.scan.dialect)
}

// sqlFromFinder knows at which depth of parentheses a FROM belongs to a query, and not to a function as in trim(FROM x).
type sqlFromFinder struct {
	depth    int
	selects  uint64 // bit n: a SELECT or DELETE was seen at depth n
	distinct bool   // the word before was DISTINCT, as in IS DISTINCT FROM
}

// step takes a token; true says that a table may follow.
func (f *sqlFromFinder) step(t sqlToken) bool {
	distinct := f.distinct
	f.distinct = false
	switch t.kind {
	case sqlPunct:
		switch t.text[0] {
		case '(':
			f.depth++
			if f.depth < 64 {
				f.selects &^= 1 << f.depth
			}
		case ')':
			f.depth = max(0, f.depth-1)
		}
	case sqlWord:
		switch t.upper() {
		case "SELECT", "DELETE":
			if f.depth < 64 {
				f.selects |= 1 << f.depth
			}
		case "DISTINCT":
			f.distinct = true
		case "FROM":
			return f.depth < 64 && f.selects&(1<<f.depth) != 0 && !distinct
		}
	}
	return false
}

// maxSQLName is the longest name of a table; PostgreSQL allows 63 bytes, MySQL 64 characters.
const maxSQLName = 64

// cleanName returns the name as a label, or "" when it has bytes that no usual name has. Long runs of digits become '*',
// because tables made for a day or a job would make as many operations.
func cleanName(t sqlToken, d sqlDialect) string {
	if len(t.text) > maxSQLName || !utf8.Valid(t.text) {
		return ""
	}
	var out strings.Builder
	digits := 0
	for i, r := range string(t.text) {
		switch {
		case r >= '0' && r <= '9':
			digits++
			if next := i + 1; next == len(t.text) || t.text[next] < '0' || t.text[next] > '9' {
				if digits >= 4 {
					out.WriteByte('*')
				} else {
					out.Write(t.text[next-digits : next])
				}
				digits = 0
			}
		case r == '_', r == '$', r == '-', r == '#', unicode.IsLetter(r), unicode.IsMark(r):
			if t.kind == sqlWord && d&sqlFoldNames != 0 {
				r = unicode.ToLower(r)
			}
			out.WriteRune(r)
		default:
			return ""
		}
	}
	return out.String()
}

func join(kind, table string) string {
	if table == "" {
		return kind
	}
	return kind + " " + table
}

// clip bounds a text without cutting a character in two.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
