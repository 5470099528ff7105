package protocol

import (
	"strings"
	"testing"
	"unicode/utf8"
)

var statements = []struct {
	text string
	d    sqlDialect
	want string
}{
	{"SELECT * FROM users WHERE name = 'MARKER'", postgresSQL, "SELECT users"},
	{"select * from Users", postgresSQL, "SELECT users"},
	{"select * from Users", mysqlSQL, "SELECT Users"},
	{"select 1", postgresSQL, "SELECT"},
	{"SELECT * FROM public.users u JOIN orders o ON true", postgresSQL, "SELECT users"},
	{`SELECT * FROM "Sales"."Order-Lines"`, postgresSQL, "SELECT Order-Lines"},
	{"SELECT * FROM `shop`.`users`", mysqlSQL, "SELECT users"},
	{`SELECT * FROM t WHERE a = "MARKER from MARKER"`, mysqlSQL, "SELECT t"},
	{`SELECT "MARKER" FROM t`, mysqlSQL, "SELECT t"},
	{`SELECT * FROM "MARKER"`, mysqlSQL, "SELECT"},
	{"SELECT extract(year FROM MARKER) FROM t", postgresSQL, "SELECT t"},
	{"SELECT trim(both 'MARKER' from MARKER)", postgresSQL, "SELECT"},
	{"SELECT a IS DISTINCT FROM MARKER FROM t", postgresSQL, "SELECT t"},
	{"SELECT * FROM (SELECT * FROM inner_t) x", postgresSQL, "SELECT inner_t"},
	{"SELECT (SELECT max(x) FROM a), b FROM c", postgresSQL, "SELECT a"},
	{"(SELECT a FROM t) UNION (SELECT b FROM u)", postgresSQL, "SELECT t"},
	{"SELECT * FROM ONLY t", postgresSQL, "SELECT t"},
	{"SELECT * FROM system.local WHERE key = 'MARKER'", cqlSQL, "SELECT local"},
	{"TRUNCATE TABLE system . tables", clickhouseSQL, "TRUNCATE tables"},
	{"SELECT * FROM generate_series(1,1000)", postgresSQL, "SELECT generate_series"},
	{"SELECT $$MARKER FROM MARKER$$ FROM t", postgresSQL, "SELECT t"},
	{"SELECT $a$MARKER $$ FROM MARKER$a$, $1 FROM t", postgresSQL, "SELECT t"},
	{`SELECT E'it\'s FROM MARKER' FROM t`, postgresSQL, "SELECT t"},
	{`SELECT 'MARKER\' FROM MARKER' FROM t`, postgresSQL, "SELECT"},
	{`SELECT 'MARKER\' FROM MARKER' FROM t`, mysqlSQL, "SELECT"},
	{`SELECT 'MARKER\' FROM MARKER' FROM t`, clickhouseSQL, "SELECT t"},
	{`SELECT 'MARKER''FROM MARKER\\' FROM t`, mysqlSQL, "SELECT t"},
	{"/* MARKER /* nested */ FROM MARKER */ SELECT a -- FROM MARKER\n FROM t", postgresSQL, "SELECT t"},
	{"/* a /* b */ SELECT 1 # FROM MARKER\n FROM t", mysqlSQL, "SELECT t"},
	{"SELECT 5--3 FROM t", mysqlSQL, "SELECT t"},
	{"/*!40101 SELECT */ /*M!100100 * FROM t */", mysqlSQL, "SELECT t"},
	{"INSERT INTO orders (a, b) VALUES ('MARKER', 'x')", postgresSQL, "INSERT orders"},
	{"INSERT IGNORE orders VALUES (1)", mysqlSQL, "INSERT orders"},
	{"INSERT INTO a.b.orders SELECT * FROM t", postgresSQL, "INSERT orders"},
	{"REPLACE INTO t SET a='MARKER'", mysqlSQL, "REPLACE t"},
	{"UPDATE ONLY t SET a = 'MARKER' FROM u", postgresSQL, "UPDATE t"},
	{"UPDATE LOW_PRIORITY IGNORE t, u SET a=1", mysqlSQL, "UPDATE t"},
	{"DELETE FROM t WHERE id = 7", postgresSQL, "DELETE t"},
	{"DELETE t1, t2 FROM t1 JOIN t2", mysqlSQL, "DELETE t1"},
	{"MERGE INTO t USING s ON a = b", postgresSQL, "MERGE t"},
	{"WITH x AS (SELECT * FROM orders WHERE a = 'MARKER') SELECT * FROM x", postgresSQL, "SELECT orders"},
	{"WITH RECURSIVE x(n) AS (SELECT 1 UNION SELECT n+1 FROM x) SELECT * FROM x, t", postgresSQL, "SELECT"},
	{"WITH x AS (DELETE FROM a RETURNING *), y AS NOT MATERIALIZED (SELECT 1) INSERT INTO b SELECT * FROM x", postgresSQL, "INSERT b"},
	{"WITH x AS (SELECT 1) SELECT * FROM x, (SELECT * FROM t) q", postgresSQL, "SELECT t"},
	{"WITH 'MARKER' AS a SELECT a FROM t", clickhouseSQL, "SELECT t"},
	{"BEGIN; INSERT INTO t VALUES (1)", postgresSQL, "BEGIN"},
	{"START TRANSACTION READ ONLY", mysqlSQL, "START"},
	{"COMMIT", postgresSQL, "COMMIT"},
	{"COPY t (a, b) FROM STDIN", postgresSQL, "COPY t"},
	{"COPY (SELECT * FROM t) TO STDOUT", postgresSQL, "COPY t"},
	{"CALL s.f('MARKER')", postgresSQL, "CALL f"},
	{"LOAD DATA LOCAL INFILE '/MARKER' INTO TABLE t FIELDS TERMINATED BY ','", mysqlSQL, "LOAD t"},
	{"CREATE TABLE IF NOT EXISTS t (a int DEFAULT 5)", postgresSQL, "CREATE TABLE t"},
	{"CREATE UNIQUE INDEX CONCURRENTLY MARKER ON s.t (a)", postgresSQL, "CREATE INDEX t"},
	{"CREATE USER MARKER IDENTIFIED BY 'MARKER'", mysqlSQL, "CREATE USER"},
	{"ALTER TABLE t ADD COLUMN a int", postgresSQL, "ALTER TABLE t"},
	{"ALTER USER MARKER PASSWORD 'MARKER'", postgresSQL, "ALTER USER"},
	{"DROP TABLE IF EXISTS t", postgresSQL, "DROP TABLE t"},
	{"TRUNCATE TABLE t", postgresSQL, "TRUNCATE t"},
	{"VACUUM (ANALYZE, VERBOSE) t", postgresSQL, "VACUUM t"},
	{"vacuum analyze pgbench_accounts", postgresSQL, "VACUUM pgbench_accounts"},
	{"EXPLAIN (ANALYZE, FORMAT json) SELECT * FROM t", postgresSQL, "EXPLAIN t"},
	{"EXPLAIN UPDATE t SET a = 1", postgresSQL, "EXPLAIN t"},
	{"DECLARE c CURSOR FOR SELECT * FROM t", postgresSQL, "DECLARE t"},
	{"SET password = 'MARKER'", postgresSQL, "SET"},
	{"NOTIFY chan, 'MARKER'", postgresSQL, "NOTIFY"},
	{"SELECT * FROM ks.t WHERE a = 'MARKER' // FROM x", cqlSQL, "SELECT t"},
	{"BEGIN BATCH INSERT INTO t (a) VALUES (1) APPLY BATCH", cqlSQL, "BEGIN"},
	{"SELECT * FROM events_20240131_7", postgresSQL, "SELECT events_*_7"},
	{`SELECT * FROM "a b; MARKER 'x'"`, postgresSQL, "SELECT"},
	{"MARKER", postgresSQL, "OTHER"},
	{"'MARKER'", postgresSQL, "OTHER"},
	{"", postgresSQL, "EMPTY"},
	{"-- ping", postgresSQL, "EMPTY"},
	{" ; ", mysqlSQL, "EMPTY"},
	{"SELECT * FROM 'MARKER", postgresSQL, "SELECT"},
	{"SELECT * FROM 12MARKER", postgresSQL, "SELECT"},
	{"SELECT * FROM $1", postgresSQL, "SELECT"},
	{"SELECT * FROM tаблица", postgresSQL, "SELECT tаблица"},
}

func TestParseSQL(t *testing.T) {
	for _, tt := range statements {
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
