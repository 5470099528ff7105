package protocol

// The kernel knows a statement by the hash of its text up to the table that names it, without what stands in strings and numbers, white space and
// comments. This is bpf/include/sql.h once more, byte for byte. Texts of one key have one operation.

const (
	maxShape   = 512 // bytes of a text that the kernel looks at
	shapeNames = 3   // names that it looks up behind a word that a table follows
	shapeWord  = 6   // what the hash of a word begins with
	shapeBreak = 1   // stands in the hash of a text where a word begins, and
	shapeEnd   = 0   // where the text ends

	postgresShape = 7 // what the hashes of a protocol's texts begin with
	postgresName  = 8 // and those of the names of prepared statements in PostgreSQL
	mysqlShape    = 9
)

// mix is the step of the kernel's hashes.
func mix(hash uint64, b byte) uint64 {
	hash = (hash ^ uint64(b)) * 0x9E3779B97F4A7C15
	return hash ^ hash>>32
}

func mixWord(hash uint64, b byte) uint64 {
	if b >= 'a' && b <= 'z' {
		b -= 'a' - 'A'
	}
	return mix(hash, b)
}

// HashText is the hash of a text as the kernel programs make it byte by byte (mix in bpf/include/maps.h).
func HashText(seed uint64, text string) uint64 {
	for i := range len(text) {
		seed = mix(seed, text[i])
	}
	return seed
}

// shapeTables are the hashes of the words that a table follows.
var shapeTables = [...]uint64{HashText(shapeWord, "FROM"), HashText(shapeWord, "INTO"), HashText(shapeWord, "UPDATE")}

// shapeState is where in the text the last byte was.
type shapeState uint8

const (
	shapeGap shapeState = iota
	shapeName
	shapeNumber
	shapeParameter // $1
	shapeString
	shapeStringEnd // or a doubled quote
	shapeQuoted    // a name in quotes
	shapeQuotedEnd
	shapeMinus
	shapeSlash
	shapeCommentHead // behind the beginning of a comment
	shapeComment
	shapeCommentSlash
	shapeCommentStar
)

// sqlShape reads a text as the kernel does.
type sqlShape struct {
	state   shapeState
	hash    uint64
	word    uint64 // hash of the word at hand, in capitals
	quote   byte   // that ends what is at hand
	names   int    // that may be looked up
	pending bool   // a name has ended that is looked up if it does not go on, and
	end     int    // where
	mysql   bool
	unfit   bool // the kernel leaves the text to user space
	looks   bool // it looks up the name that ended
}

// shapeOf returns the key of a text, whole or cut, that was named as s.
func shapeOf(text []byte, whole bool, s sqlStatement, dialect sqlDialect, seed uint64) (key uint64, ok bool) {
	k := sqlShape{hash: seed, mysql: dialect == mysqlSQL}
	for i, b := range text[:min(len(text), maxShape)] {
		before := k.hash
		if k.step(b, i); k.unfit {
			return 0, false
		}
		if k.looks && k.end == s.end {
			return before, true
		}
	}
	if !whole || len(text) > maxShape || !k.ends(len(text)) {
		return 0, false
	}
	if k.pending && k.end == s.end {
		return k.hash, true
	}
	return mix(k.hash, shapeEnd), true
}

// ends takes the end of a text.
func (k *sqlShape) ends(at int) bool {
	switch k.state {
	case shapeName, shapeQuotedEnd:
		k.nameEnds(at, k.state == shapeQuotedEnd)
	case shapeGap, shapeNumber, shapeParameter, shapeStringEnd:
	default:
		return false
	}
	return true
}

func (k *sqlShape) nameEnds(at int, quoted bool) {
	k.state = shapeGap
	if k.names > 0 {
		k.pending, k.end = true, at
		k.names--
	}
	for _, table := range shapeTables {
		if !quoted && k.word == table {
			k.names, k.pending = shapeNames, false
		}
	}
}

// step takes the byte at a place.
func (k *sqlShape) step(b byte, at int) {
	k.looks = false
	if k.inside(b, at) {
		return
	}
	k.state = shapeGap
	if b > ' ' && b != 0x7f {
		k.token(b)
	}
}

// inside says whether a byte belongs to what is at hand.
func (k *sqlShape) inside(b byte, at int) bool {
	switch k.state {
	case shapeName:
		if isWordByte(b) {
			k.hash, k.word = mix(k.hash, b), mixWord(k.word, b)
			return true
		}
		k.nameEnds(at, false)
	case shapeNumber:
		return isWordByte(b) || b == '.'
	case shapeParameter:
		if b >= '0' && b <= '9' {
			k.hash = mix(k.hash, b)
			return true
		}
		k.unfit = isWordByte(b) // the quote of a string
		return k.unfit
	case shapeString, shapeStringEnd, shapeQuoted, shapeQuotedEnd:
		return k.quoted(b, at)
	case shapeMinus, shapeSlash:
		return k.sign(b)
	case shapeCommentHead, shapeComment, shapeCommentSlash, shapeCommentStar:
		k.comment(b)
		return true
	}
	return false
}

// quoted takes a byte in quotes, or behind what may be the last one.
func (k *sqlShape) quoted(b byte, at int) bool {
	switch k.state {
	case shapeString:
		k.unfit = b == '\\' // what it means depends on settings
		if b == k.quote {
			k.state = shapeStringEnd
		}
		return true
	case shapeStringEnd:
		if b == k.quote {
			k.state = shapeString
		}
		return b == k.quote
	case shapeQuoted:
		k.hash = mix(k.hash, b)
		if b == k.quote {
			k.state = shapeQuotedEnd
		}
		return true
	}
	if b == k.quote {
		k.hash = mix(k.hash, b)
		k.state = shapeQuoted
		return true
	}
	k.nameEnds(at, true)
	return false
}

// sign takes the byte behind a minus or a slash.
func (k *sqlShape) sign(b byte) bool {
	switch {
	case k.state == shapeMinus && b == '-':
		k.unfit = true
		return true
	case k.state == shapeSlash && b == '*':
		k.state = shapeCommentHead
		return true
	case k.state == shapeMinus:
		k.hash = mix(k.hash, '-')
	default:
		k.hash = mix(k.hash, '/')
	}
	k.pending = false
	return false
}

// comment takes a byte in a comment. Those that nest or hold code are user space's.
func (k *sqlShape) comment(b byte) {
	switch {
	case k.state == shapeCommentHead && k.mysql && (b == '!' || b == 'M'), k.state == shapeCommentSlash && b == '*':
		k.unfit = true
	case k.state == shapeCommentStar && b == '/':
		k.state = shapeGap
	case b == '*':
		k.state = shapeCommentStar
	case b == '/' && !k.mysql:
		k.state = shapeCommentSlash
	default:
		k.state = shapeComment
	}
}

// token takes the first byte of a token.
func (k *sqlShape) token(b byte) {
	switch {
	case b == '/':
		k.state = shapeSlash
		return
	case b == '-':
		k.state = shapeMinus
		return
	case k.mysql && (b == '#' || b == '*' && k.pending): // a comment, or maybe the end of one
		k.unfit = true
		return
	}
	if b == '.' && k.pending {
		k.names++
	} else {
		k.looks = k.pending
	}
	k.pending = false
	switch {
	case b == '\'', b == '"' && k.mysql:
		k.state, k.quote = shapeString, b
		b = '\''
	case b == '"', b == '`':
		k.state, k.quote = shapeQuoted, b
	case b == '$' && !k.mysql:
		k.state = shapeParameter
	case b >= '0' && b <= '9':
		k.state = shapeNumber
		b = '0'
	case isWordByte(b):
		k.state = shapeName
		k.word = mixWord(shapeWord, b)
		k.hash = mix(k.hash, shapeBreak)
	}
	k.hash = mix(k.hash, b)
}
