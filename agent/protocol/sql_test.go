package protocol

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseSQL(t *testing.T) {
	const pg, my, cql, ch = postgresSQL, mysqlSQL, cqlSQL, clickhouseSQL
	for _, tt := range []struct {
		text string
		d    sqlDialect
		want string
	}{
		{"SELECT * FROM users WHERE name = 'MARKER'", pg, "SELECT users"},
		{"select * from Users", pg, "SELECT users"},
		{"select * from Users", my, "SELECT Users"},
		{"select 1", pg, "SELECT"},
		{"SELECT * FROM public.users u JOIN orders o ON true", pg, "SELECT users"},
		{`SELECT * FROM "Sales"."Order-Lines"`, pg, "SELECT Order-Lines"},
		{"SELECT * FROM `shop`.`users`", my, "SELECT users"},
		{`SELECT * FROM t WHERE a = "MARKER from MARKER"`, my, "SELECT t"},
		{`SELECT "MARKER" FROM t`, my, "SELECT t"},
		{`SELECT * FROM "MARKER"`, my, "SELECT"},
		{"SELECT extract(year FROM MARKER) FROM t", pg, "SELECT t"},
		{"SELECT trim(both 'MARKER' from MARKER)", pg, "SELECT"},
		{"SELECT a IS DISTINCT FROM MARKER FROM t", pg, "SELECT t"},
		{"SELECT * FROM (SELECT * FROM inner_t) x", pg, "SELECT inner_t"},
		{"SELECT (SELECT max(x) FROM a), b FROM c", pg, "SELECT a"},
		{"(SELECT a FROM t) UNION (SELECT b FROM u)", pg, "SELECT t"},
		{"SELECT * FROM ONLY t", pg, "SELECT t"},
		{"SELECT * FROM system.local WHERE key = 'MARKER'", cql, "SELECT local"},
		{"TRUNCATE TABLE system . tables", ch, "TRUNCATE tables"},
		{"SELECT * FROM generate_series(1,1000)", pg, "SELECT generate_series"},
		{"SELECT $$MARKER FROM MARKER$$ FROM t", pg, "SELECT t"},
		{"SELECT $a$MARKER $$ FROM MARKER$a$, $1 FROM t", pg, "SELECT t"},
		{`SELECT E'it\'s FROM MARKER' FROM t`, pg, "SELECT t"},
		{`SELECT 'MARKER\' FROM MARKER' FROM t`, pg, "SELECT"},
		{`SELECT 'MARKER\' FROM MARKER' FROM t`, my, "SELECT"},
		{`SELECT 'MARKER\' FROM MARKER' FROM t`, ch, "SELECT t"},
		{`SELECT 'MARKER''FROM MARKER\\' FROM t`, my, "SELECT t"},
		{"/* MARKER /* nested */ FROM MARKER */ SELECT a -- FROM MARKER\n FROM t", pg, "SELECT t"},
		{"/* a /* b */ SELECT 1 # FROM MARKER\n FROM t", my, "SELECT t"},
		{"SELECT 5--3 FROM t", my, "SELECT t"},
		{"/*!40101 SELECT */ /*M!100100 * FROM t */", my, "SELECT t"},
		{"INSERT INTO orders (a, b) VALUES ('MARKER', 'x')", pg, "INSERT orders"},
		{"INSERT IGNORE orders VALUES (1)", my, "INSERT orders"},
		{"INSERT INTO a.b.orders SELECT * FROM t", pg, "INSERT orders"},
		{"REPLACE INTO t SET a='MARKER'", my, "REPLACE t"},
		{"UPDATE ONLY t SET a = 'MARKER' FROM u", pg, "UPDATE t"},
		{"UPDATE LOW_PRIORITY IGNORE t, u SET a=1", my, "UPDATE t"},
		{"DELETE FROM t WHERE id = 7", pg, "DELETE t"},
		{"DELETE t1, t2 FROM t1 JOIN t2", my, "DELETE t1"},
		{"MERGE INTO t USING s ON a = b", pg, "MERGE t"},
		{"WITH x AS (SELECT * FROM orders WHERE a = 'MARKER') SELECT * FROM x", pg, "SELECT orders"},
		{"WITH RECURSIVE x(n) AS (SELECT 1 UNION SELECT n+1 FROM x) SELECT * FROM x, t", pg, "SELECT"},
		{"WITH x AS (DELETE FROM a RETURNING *), y AS NOT MATERIALIZED (SELECT 1) INSERT INTO b SELECT * FROM x", pg, "INSERT b"},
		{"WITH x AS (SELECT 1) SELECT * FROM x, (SELECT * FROM t) q", pg, "SELECT t"},
		{"WITH 'MARKER' AS a SELECT a FROM t", ch, "SELECT t"},
		{"BEGIN; INSERT INTO t VALUES (1)", pg, "BEGIN"},
		{"START TRANSACTION READ ONLY", my, "START"},
		{"COMMIT", pg, "COMMIT"},
		{"COPY t (a, b) FROM STDIN", pg, "COPY t"},
		{"COPY (SELECT * FROM t) TO STDOUT", pg, "COPY t"},
		{"CALL s.f('MARKER')", pg, "CALL f"},
		{"LOAD DATA LOCAL INFILE '/MARKER' INTO TABLE t FIELDS TERMINATED BY ','", my, "LOAD t"},
		{"CREATE TABLE IF NOT EXISTS t (a int DEFAULT 5)", pg, "CREATE TABLE t"},
		{"CREATE UNIQUE INDEX CONCURRENTLY MARKER ON s.t (a)", pg, "CREATE INDEX t"},
		{"CREATE USER MARKER IDENTIFIED BY 'MARKER'", my, "CREATE USER"},
		{"ALTER TABLE t ADD COLUMN a int", pg, "ALTER TABLE t"},
		{"ALTER USER MARKER PASSWORD 'MARKER'", pg, "ALTER USER"},
		{"DROP TABLE IF EXISTS t", pg, "DROP TABLE t"},
		{"TRUNCATE TABLE t", pg, "TRUNCATE t"},
		{"VACUUM (ANALYZE, VERBOSE) t", pg, "VACUUM t"},
		{"vacuum analyze pgbench_accounts", pg, "VACUUM pgbench_accounts"},
		{"EXPLAIN (ANALYZE, FORMAT json) SELECT * FROM t", pg, "EXPLAIN t"},
		{"EXPLAIN UPDATE t SET a = 1", pg, "EXPLAIN t"},
		{"DECLARE c CURSOR FOR SELECT * FROM t", pg, "DECLARE t"},
		{"SET password = 'MARKER'", pg, "SET"},
		{"NOTIFY chan, 'MARKER'", pg, "NOTIFY"},
		{"SELECT * FROM ks.t WHERE a = 'MARKER' // FROM x", cql, "SELECT t"},
		{"BEGIN BATCH INSERT INTO t (a) VALUES (1) APPLY BATCH", cql, "BEGIN"},
		{"SELECT * FROM events_20240131_7", pg, "SELECT events_*_7"},
		{`SELECT * FROM "a b; MARKER 'x'"`, pg, "SELECT"},
		{"MARKER", pg, "OTHER"},
		{"'MARKER'", pg, "OTHER"},
		{"", pg, "EMPTY"},
		{"-- ping", pg, "EMPTY"},
		{" ; ", my, "EMPTY"},
		{"SELECT * FROM 'MARKER", pg, "SELECT"},
		{"SELECT * FROM 12MARKER", pg, "SELECT"},
		{"SELECT * FROM $1", pg, "SELECT"},
		{"SELECT * FROM tаблица", pg, "SELECT tаблица"},
	} {
		got := parseSQL([]byte(tt.text), tt.d, true)
		if got.Operation != tt.want {
			t.Errorf("%s: %q, want %q", tt.text, got.Operation, tt.want)
		}
		if strings.Contains(strings.ToUpper(got.Operation), "MARKER") {
			t.Errorf("%s: literal in %q", tt.text, got.Operation)
		}
	}
}

// A cut text gives the same name or a shorter one, and says so when it is not sure.
func TestParseSQLCut(t *testing.T) {
	for _, text := range []string{
		"SELECT a, 'x' FROM s.users WHERE b = 1",
		"INSERT INTO orders VALUES ('y')",
		"WITH x AS (SELECT 1 FROM a) SELECT * FROM x",
		"CREATE TABLE IF NOT EXISTS t (a int)",
	} {
		full := parseSQL([]byte(text), postgresSQL, true).Operation
		for n := range len(text) {
			got := parseSQL([]byte(text[:n]), postgresSQL, false)
			if got.Sure && got.Operation != full {
				t.Errorf("%q: sure of %q, is %q", text[:n], got.Operation, full)
			}
		}
		if long := parseSQL([]byte(text+" "+strings.Repeat("x", maxSQLText)), postgresSQL, true); long.Operation != full || !long.Sure {
			t.Errorf("%q with more: %+v", text, long)
		}
	}
}

func FuzzSQL(f *testing.F) {
	for _, s := range []string{"SELECT 'a' FROM t", "WITH x AS (SELECT 1) SELECT * FROM x", "/* a */ COPY (SELECT 1 FROM t) TO STDOUT", `INSERT INTO "a""b" VALUES (E'\'')`, "$a$ $a$"} {
		f.Add([]byte(s), uint8(postgresSQL))
	}
	f.Fuzz(func(t *testing.T, text []byte, dialect uint8) {
		d := sqlDialect(dialect)
		for _, whole := range []bool{true, false} {
			got := parseSQL(text, d, whole).Operation
			kind, _, _ := strings.Cut(got, " ")
			if _, known := sqlKinds[kind]; !known && got != "OTHER" && got != "EMPTY" || len(got) > MaxOperation || !utf8.ValidString(got) {
				t.Fatalf("operation %q", got)
			}
		}
		// As a literal that is escaped as clients do it, nothing of the text may get into the name.
		literal := strings.NewReplacer("'", "''", `\`, `\\`).Replace(string(text))
		if d&sqlNoEscapes != 0 {
			literal = strings.ReplaceAll(string(text), "'", "''")
		}
		got := parseSQL([]byte("SELECT '"+literal+"' FROM t"), d, true).Operation
		if got != "SELECT t" && got != "SELECT" {
			t.Fatalf("literal %q gives %q", literal, got)
		}
	})
}
