package protocol

import (
	"bytes"
	"strings"
)

const (
	maxFoldTokens = 8  // tokens of a subject or topic that are told apart
	maxFoldToken  = 32 // bytes of a token; longer ones are identifiers, not names
)

// foldName makes a bounded name of a subject, topic or queue: its tokens stand between sep, and one that looks like a number,
// a hex string, a UUID, a random identifier or anything else but a name becomes "*".
func foldName(name []byte, sep byte) string {
	if len(name) == 0 {
		return ""
	}
	var out strings.Builder
	for i := 0; ; i++ {
		token, rest, more := bytes.Cut(name, []byte{sep})
		if i > 0 {
			out.WriteByte(sep)
		}
		if !wildcard(token) && !namelike(token) {
			token = []byte{'*'}
		}
		if i == maxFoldTokens || out.Len()+len(token) > MaxOperation-32 {
			out.WriteString("~")
			return out.String()
		}
		out.Write(token)
		if !more {
			return out.String()
		}
		if string(token) == "_INBOX" { // what follows names one client
			return out.String() + string(sep) + "*"
		}
		name = rest
	}
}

// wildcard says whether a token stands for others: NATS writes * and >, MQTT + and #.
func wildcard(token []byte) bool {
	return len(token) == 0 || len(token) == 1 && strings.IndexByte("*>+#", token[0]) >= 0
}

// namelike says whether a person chose the token for a kind of thing: words of letters with at most two digits behind each.
func namelike(token []byte) bool {
	if len(token) > maxFoldToken {
		return false
	}
	letters, digits, vowels, words := 0, 0, 0, 0
	for i, c := range token {
		switch {
		case c >= '0' && c <= '9':
			if digits++; letters == 0 && words == 0 || digits > 2 {
				return false
			}
		case c == '_' || c == '-' || c == '$' || c == ':':
			if letters > 0 {
				words++
			}
			letters, digits = 0, 0
			if c == '$' && i > 0 {
				return false
			}
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			if digits > 0 { // a letter after a digit: part of an identifier
				return false
			}
			letters++
			if strings.IndexByte("aeiouyAEIOUY", c) >= 0 {
				vowels++
			}
		default:
			return false
		}
	}
	return vowels > 0 || len(token) < 8
}

// cutLine returns the line at the front of b without its end, and how long it is with it; 0 if it has not ended.
func cutLine(b []byte) (line []byte, size int) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, 0
	}
	return bytes.TrimSuffix(b[:i], []byte{'\r'}), i + 1
}

// digits reads a decimal number that fills b. It says no to more than 18 digits, an empty b, or anything else.
func digits(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// wordSet makes a set of words that are written with spaces between them.
func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}
