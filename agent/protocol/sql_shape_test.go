package protocol

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// asks are the keys that the kernel looks up for a text, in their order. It takes the first that it knows.
func asks(text string, d sqlDialect) (keys []uint64) {
	k := sqlShape{hash: 1, mysql: d == mysqlSQL}
	for i := range len(text) {
		before := k.hash
		if k.step(text[i], i); k.unfit || i >= maxShape {
			return keys
		}
		if k.looks {
			keys = append(keys, before)
		}
	}
	if !k.ends(len(text)) {
		return keys
	}
	if k.pending {
		keys = append(keys, k.hash)
	}
	return append(keys, mix(k.hash, shapeEnd))
}

func keyOf(text string, d sqlDialect) (key uint64, operation string, ok bool) {
	s := parseSQL([]byte(text), d, true)
	key, ok = shapeOf([]byte(text), true, s, d, 1)
	return key, s.Operation, ok
}

// Two texts that differ in what the name does not depend on have one key.
func TestShapesAlike(t *testing.T) {
	for _, c := range []struct {
		d    sqlDialect
		a, b string
	}{
		{postgresSQL, "SELECT * FROM users WHERE id = 1", "SELECT\n\t*\nFROM  users\nLIMIT 5"},
		{postgresSQL, "SELECT 1, 'a', 2.5e3 FROM t", "SELECT 22, 'it''s (FROM x)', 7 FROM t;"},
		{postgresSQL, "INSERT INTO s.orders VALUES (1)", "INSERT INTO s.orders (a, b) SELECT 1"},
		{postgresSQL, "/* a */ UPDATE ONLY t SET a = 1", "UPDATE /* b * / c */ ONLY t SET b = 2"},
		{postgresSQL, "SET x = 'a'", "SET x = 'bcd'"},
		{postgresSQL, "WITH x AS (SELECT 1 FROM t WHERE a = 5) SELECT * FROM x", "WITH x AS (SELECT 2 FROM t WHERE a = 66) SELECT * FROM x"},
		{mysqlSQL, `SELECT "a", 'b' FROM t`, `SELECT 'c', "d ""e"" 'f'" FROM t WHERE x`},
		{mysqlSQL, "SELECT * FROM `a b`.`c` WHERE 1", "SELECT * FROM `a b`.`c`"},
	} {
		a, _, ok := keyOf(c.a, c.d)
		require.True(t, ok, c.a)
		b, _, ok := keyOf(c.b, c.d)
		require.True(t, ok, c.b)
		require.Equal(t, a, b, "%s | %s", c.a, c.b)
	}
}

// What the kernel cannot read for sure has no key.
func TestShapesUnfit(t *testing.T) {
	for _, c := range []struct {
		d    sqlDialect
		text string
	}{
		{postgresSQL, `SELECT 'a\' FROM t`},
		{postgresSQL, "SELECT $a$ FROM x $a$ FROM t"},
		{postgresSQL, "/* a /* b */ */ SELECT 1 FROM t"},
		{postgresSQL, "-- a\nSELECT 1 FROM t"},
		{postgresSQL, "SELECT 'a"},
		{postgresSQL, "SELECT " + strings.Repeat("a, ", 200) + "b FROM t"},
		{mysqlSQL, "/*!40101 SELECT */ 1 FROM t"},
		{mysqlSQL, "SELECT 1 # FROM a\nFROM t"},
		{mysqlSQL, "DELETE FROM t */ .x"},
	} {
		_, _, ok := keyOf(c.text, c.d)
		require.False(t, ok, c.text)
	}
}

// What the kernel finds for a text is how user space names it.
func TestShapesNameAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	tails := []string{"", ";", " . x", ".x", " WHERE a = 1", " /* . */ . y", "-1", "`", "\"", "x", "\n"}
	for _, d := range []sqlDialect{postgresSQL, mysqlSQL} {
		known, from, keyed := map[uint64]string{}, map[uint64]string{}, 0
		var texts []string
		for _, s := range statements {
			for range 40 {
				text := s.text[:rng.IntN(len(s.text)+1)] + tails[rng.IntN(len(tails))]
				texts = append(texts, s.text, text, s.text+tails[rng.IntN(len(tails))])
			}
		}
		for _, text := range texts {
			key, operation, ok := keyOf(text, d)
			if !ok {
				continue
			}
			keyed++
			if before, there := known[key]; there && before != operation {
				t.Errorf("%q is %q, as %q is %q", text, operation, from[key], before)
			}
			known[key], from[key] = operation, text
		}
		for _, text := range texts {
			_, operation, _ := keyOf(text, d)
			for _, key := range asks(text, d) {
				if found, there := known[key]; there {
					if found != operation {
						t.Errorf("%q is found as %q of %q, and is %q", text, found, from[key], operation)
					}
					break
				}
			}
		}
		if keyed < len(texts)/2 {
			t.Errorf("%d of %d texts have a key", keyed, len(texts))
		}
	}
}

// FuzzShape looks for a text that the kernel would take for another one.
func FuzzShape(f *testing.F) {
	for _, s := range statements {
		f.Add(s.text, s.text+" . x", s.d == mysqlSQL)
	}
	f.Fuzz(func(t *testing.T, a, b string, mysql bool) {
		d := postgresSQL
		if mysql {
			d = mysqlSQL
		}
		if len(a) > maxSQLText || len(b) > maxSQLText || !mysql && strings.ContainsRune(a+b, 0) {
			return
		}
		key, operation, ok := keyOf(a, d)
		if !ok {
			return
		}
		for _, asked := range asks(b, d) {
			if asked == key {
				if got := parseSQL([]byte(b), d, true).Operation; got != operation {
					t.Errorf("%q is %q and %q is %q", a, operation, b, got)
				}
			}
		}
	})
}
