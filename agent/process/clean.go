package process

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vetch-dev/vetch/model"
)

// MaxName bounds the bytes of a name in a label's value.
const MaxName = 200

// Clean makes a label's value of a name that a program or its owner chose: valid text without control characters, at most limit bytes.
func Clean(s string, limit int) string {
	if len(s) <= limit && isClean(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	const mark = "…"
	end := max(limit-len(mark), 0)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}

func isClean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
		}
	}
	return true
}

// CleanWorkload makes a workload that label values can name. One without a name is called "~unknown".
func CleanWorkload(w model.Workload) model.Workload {
	if w.IsZero() || w.Name == "" {
		w.Name = "~unknown"
	}
	if w.Kind == "" {
		w.Kind = model.KindProcess
	}
	return model.Workload{
		Cluster: Clean(w.Cluster, MaxName), Namespace: Clean(w.Namespace, MaxName),
		Kind: model.Kind(Clean(string(w.Kind), MaxName)), Name: Clean(w.Name, MaxName),
	}
}
