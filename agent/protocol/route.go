package protocol

import "strings"

const maxRoute = 104 // bytes of a route before it is cut: ROUTE_TEXT in bpf/include/types.h

// What a character is in a path, as in bpf/include/http.h.
const (
	pathBreak = iota
	pathLetter
	pathDigit
	pathHex
	pathDash
	pathCut
	pathBad
)

const (
	tokenNotHex = 1 << iota
	tokenLetter
)

// routeFolder makes routes of paths, as the kernel programs do for HTTP/1: runs of letters, digits and dashes that look like an
// identifier become {id}, and what follows ?, ; or # is cut.
type routeFolder struct {
	text   [maxRoute]byte
	length int

	start  int // of the run at hand, in text
	run    int // its length
	digits int
	flags  int // kept after a run: what a dash is depends on it
	last   string
}

// foldRoute gives the route of a path; "~other" for what can be none.
func foldRoute(path []byte) string {
	var f routeFolder
	return f.fold(path)
}

// fold is foldRoute without a new string where the route is that of the path before.
func (f *routeFolder) fold(path []byte) string {
	f.length, f.run, f.flags = 0, 0, 0
	for _, c := range path {
		class := pathClass(c)
		if class == pathBad {
			return "~other"
		}
		if class == pathCut {
			break
		}
		f.add(c, class)
	}
	f.endRun()
	if f.length == 0 {
		return "~other"
	}
	if string(f.text[:f.length]) != f.last || f.length == maxRoute {
		f.last = string(f.text[:f.length])
		if f.length == maxRoute {
			return withoutHost(f.last + "…")
		}
	}
	return withoutHost(f.last)
}

// withoutHost leaves the path of a target in absolute form.
func withoutHost(route string) string {
	for _, scheme := range []string{"http://", "https://"} {
		if rest, ok := strings.CutPrefix(route, scheme); ok {
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				return rest[i:]
			}
			return "/"
		}
	}
	return route
}

func (f *routeFolder) add(c byte, class int) {
	if class == pathBreak || class == pathDash && f.flags&tokenNotHex != 0 {
		f.endRun()
		f.put(c)
		return
	}
	if f.run == 0 {
		f.start, f.digits, f.flags = f.length, 0, 0
	}
	f.run++
	switch class {
	case pathDigit:
		f.digits++
	case pathLetter:
		f.flags |= tokenNotHex | tokenLetter
	case pathHex:
		f.flags |= tokenLetter
	}
	f.put(c)
}

func (f *routeFolder) put(c byte) {
	if f.length == maxRoute {
		return
	}
	if c >= 0x80 {
		c = '?'
	}
	f.text[f.length] = c
	f.length++
}

// endRun ends a run. One with digits is an identifier, but for short words with few of them, and longer ones whose letters are not all hex.
func (f *routeFolder) endRun() {
	run := f.run
	f.run = 0
	if run == 0 || f.digits == 0 {
		return
	}
	if f.flags&tokenLetter != 0 && f.digits < 4 && (run < 8 || f.flags&tokenNotHex != 0) {
		return
	}
	f.length = f.start
	for _, c := range []byte("{id}") {
		f.put(c)
	}
}

func pathClass(c byte) int {
	switch {
	case c < ' ' || c == 0x7f:
		return pathBad
	case c == ' ' || c == '#' || c == ';' || c == '?':
		return pathCut
	case c == '-':
		return pathDash
	case c >= '0' && c <= '9':
		return pathDigit
	case c >= 'A' && c <= 'F' || c >= 'a' && c <= 'f':
		return pathHex
	case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
		return pathLetter
	}
	return pathBreak
}
