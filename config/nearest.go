package config

import (
	"fmt"
	"slices"
	"strings"
)

// hint proposes the known name that is nearest to a mistyped one: `; did you mean "listen"?`, or nothing.
func hint(name string, known []string) string {
	best, distance := "", len(name)/2+1
	for _, k := range known {
		if d := editDistance(name, k, distance); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// knownKeys are all keys of the file and its sections.
func knownKeys() []string {
	var keys []string
	for _, o := range Options() {
		keys = append(keys, o.Key)
		if s, _, ok := strings.Cut(o.Key, "."); ok && !slices.Contains(keys, s) {
			keys = append(keys, s)
		}
	}
	return keys
}

// knownVariables are all variables that are read.
func knownVariables() []string {
	var names []string
	for _, o := range Options() {
		names = append(names, o.Env())
	}
	return names
}

// editDistance is the Levenshtein distance of two names, or limit where it is surely not below it.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
