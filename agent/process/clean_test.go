package process

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for _, tc := range []struct {
		in    string
		limit int
		want  string
	}{
		{"nginx", 10, "nginx"},
		{"", 10, ""},
		{"ä", 10, "ä"},
		{"a\nb", 10, "a�b"},
		{"a\x7fb", 10, "a�b"},
		{"a\u0085b", 10, "a�b"},
		{"a\xffb", 10, "a�b"},
		{strings.Repeat("a", 11), 10, "aaaaaaa…"},
		{strings.Repeat("ä", 6), 10, "äää…"},
	} {
		if got := Clean(tc.in, tc.limit); got != tc.want {
			t.Errorf("Clean(%q, %d) = %q, want %q", tc.in, tc.limit, got, tc.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\xff\x00", 5)
	f.Add(strings.Repeat("é", 100), 31)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 8 || limit > 1000 {
			return
		}
		got := Clean(s, limit)
		if len(got) > limit || !utf8.ValidString(got) {
			t.Fatalf("Clean(%q, %d) = %q", s, limit, got)
		}
		if again := Clean(got, limit); again != got {
			t.Fatalf("cleaning %q again gives %q", got, again)
		}
	})
}
