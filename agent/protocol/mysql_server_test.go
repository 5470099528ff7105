package protocol

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
)

const mysqlPassword = "MARKERpassword"

// startMariaDB starts Debian's mariadbd and returns its address. The user is test.
func startMariaDB(t testing.TB) string {
	t.Helper()
	install, err := exec.LookPath("mariadb-install-db")
	if err != nil {
		t.Fatal("no MariaDB: apt-get install --no-install-recommends mariadb-server")
	}
	dir, port := serverDir(t), freePort(t)
	setup := exec.Command(install, "--no-defaults", "--datadir="+dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	asUser(t, setup, "mysql", dir)
	run(t, setup)
	start := filepath.Join(dir, "start.sql")
	os.WriteFile(start, []byte("CREATE DATABASE shop;\nDELETE FROM mysql.global_priv WHERE User='';\nFLUSH PRIVILEGES;\nCREATE USER test@'%' IDENTIFIED BY '"+mysqlPassword+"';\nGRANT ALL ON *.* TO test@'%';\n"), 0o644)
	server := exec.Command("/usr/sbin/mariadbd", "--no-defaults", "--datadir="+dir+"/data", "--port="+port, "--bind-address=127.0.0.1", "--socket="+dir+"/socket",
		"--pid-file="+dir+"/pid", "--init-file="+start, "--skip-name-resolve", "--local-infile=1", "--innodb-buffer-pool-size=16M",
		"--innodb-log-file-size=8M", "--max-allowed-packet=64M", "--innodb-flush-log-at-trx-commit=0")
	asUser(t, server, "mysql", dir)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	server.Stderr = log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Signal(syscall.SIGTERM); server.Wait(); log.Close() })
	waitListening(t, "tcp", "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

func mysqlOpen(t testing.TB, x *proxy, options string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("mysql", "test:"+mysqlPassword+"@tcp("+x.addr+")/shop?"+options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func mysqlDone(t testing.TB, conn *sql.Conn) {
	t.Helper()
	conn.Raw(func(c any) error { return c.(io.Closer).Close() })
	conn.Close()
}

func TestMySQLServer(t *testing.T) {
	addr := startMariaDB(t)
	t.Run("text", func(t *testing.T) { testMySQLText(t, addr) })
	t.Run("prepared", func(t *testing.T) { testMySQLPrepared(t, addr) })
	t.Run("command line", func(t *testing.T) { testMySQLCommandLine(t, addr) })
	t.Run("compressed", func(t *testing.T) { testMySQLCompressed(t, addr) })
	t.Run("dump", func(t *testing.T) { testMySQLDump(t, addr) })
}

func testMySQLText(t *testing.T, addr string) {
	x := startProxy(t, MySQL(), addr)
	ctx := context.Background()
	conn := mysqlOpen(t, x, "interpolateParams=true&multiStatements=true")
	must := func(query string, args ...any) {
		t.Helper()
		if _, err := conn.ExecContext(ctx, query, args...); err != nil {
			t.Fatal(err)
		}
	}
	rows := func(query string, args ...any) (n int, err error) {
		r, err := conn.QueryContext(ctx, query, args...)
		if err != nil {
			return 0, err
		}
		defer r.Close()
		for more := true; more; more = r.NextResultSet() {
			for r.Next() {
				n++
			}
		}
		return n, r.Err()
	}
	must("CREATE TABLE users (id int PRIMARY KEY, name longtext)")
	for i := range 30 {
		must("INSERT INTO users VALUES (?, ?)", i, "MARKER")
	}
	for range 20 {
		if n, err := rows("SELECT * FROM `users` WHERE name = ? AND name <> \"MARKER from MARKER\"", "MARKER"); n != 30 || err != nil {
			t.Fatal(n, err)
		}
	}
	if n, err := rows("SELECT * FROM users; SELECT 1; UPDATE users SET name = 'MARKER2'; SELECT 2 FROM users WHERE id < 0; SELECT 3"); n != 32 || err != nil {
		t.Fatal(n, err)
	}
	must("CREATE PROCEDURE two() BEGIN SELECT 1; SELECT * FROM users; END")
	if n, err := rows("CALL two()"); n != 31 || err != nil {
		t.Fatal(n, err)
	}
	must("INSERT INTO users VALUES (1000, ?)", strings.Repeat("MARKER", 3<<20)) // 18 MiB: more than a packet
	if n, err := rows("SELECT name FROM users WHERE id = 1000"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	for _, bad := range []string{"SELECT * FROM nowhere", "SELECT MARKER(", "INSERT INTO users VALUES (1, 'MARKER')"} {
		if _, err := rows(bad); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	if _, err := rows("SELECT 1; SELECT * FROM nowhere; SELECT 2"); err == nil {
		t.Error("no error in the second statement")
	}
	mysql.RegisterReaderHandler("rows", func() io.Reader { return strings.NewReader(strings.Repeat("MARKER\n", 400000)) })
	must("CREATE TABLE lined (line varchar(20))")
	must("LOAD DATA LOCAL INFILE 'Reader::rows' INTO TABLE lined")
	if err := conn.PingContext(ctx); err != nil {
		t.Fatal(err)
	}
	must("DO 1")
	mysqlDone(t, conn)

	small := startProxy(t, MySQL(), addr) // for testdata
	conn = mysqlOpen(t, small, "interpolateParams=true&multiStatements=true")
	must("DELETE FROM users WHERE id > ?", 2)
	if _, err := rows("CALL two(); SELECT 1; SELECT * FROM nowhere"); err == nil {
		t.Error("no error in the third statement")
	}
	mysql.RegisterReaderHandler("few", func() io.Reader { return strings.NewReader("MARKER\nMARKER\n") })
	must("LOAD DATA LOCAL INFILE 'Reader::few' INTO TABLE lined")
	mysqlDone(t, conn)
	only(t, small.exchanges(t), map[string]int{"DELETE users ok": 1, "CALL two 1146": 1, "LOAD lined ok": 1})
	small.record(t, 0, "mysql", "multi-and-infile")

	only(t, x.exchanges(t), map[string]int{"CREATE TABLE users ok": 1, "INSERT users ok": 31, "SELECT users ok": 22, "CREATE PROCEDURE ok": 1, "CALL two ok": 1,
		"SELECT nowhere 1146": 1, "SELECT 1064": 1, "INSERT users 1062": 1, "SELECT 1146": 1, "CREATE TABLE lined ok": 1, "LOAD lined ok": 1, "COM_PING ok": 1, "DO ok": 1,
		"SELECT ok": count(x.exchanges(t))["SELECT ok"]})
	for _, e := range x.exchanges(t) {
		if e.Operation == "LOAD lined" && e.RequestBytes < 7*400000 || e.Operation == "CALL two" && e.ResponseBytes < 500 {
			t.Errorf("size of %+v", e)
		}
	}
}

func testMySQLPrepared(t *testing.T, addr string) {
	x := startProxy(t, MySQL(), addr)
	ctx := context.Background()
	conn := mysqlOpen(t, x, "")
	if _, err := conn.ExecContext(ctx, "CREATE TABLE orders (id int PRIMARY KEY, name varchar(100))"); err != nil {
		t.Fatal(err)
	}
	insert, err := conn.PrepareContext(ctx, "INSERT INTO shop.orders (id, name) VALUES (?, ?)")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := insert.Exec(i, fmt.Sprint("MARKER", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := insert.Exec(1, "MARKER"); err == nil {
		t.Error("no duplicate")
	}
	insert.Close()
	for i := range 10 { // prepared, executed and closed each time
		var n int
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM orders WHERE name = ? AND id > ?", "MARKER", i).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.QueryContext(ctx, "SELECT * FROM nowhere WHERE a = ?", "MARKER"); err == nil {
		t.Error("no error")
	}
	long := strings.Repeat("MARKER", 2<<20) // sent by COM_STMT_SEND_LONG_DATA
	var n int
	if err := conn.QueryRowContext(ctx, "SELECT length(?)", long).Scan(&n); err != nil || n != len(long) {
		t.Fatal(n, err)
	}
	mysqlDone(t, conn)
	got := count(x.exchanges(t))
	only(t, x.exchanges(t), map[string]int{"CREATE TABLE orders ok": 1, "PREPARE INSERT orders ok": 1, "INSERT orders ok": 50, "INSERT orders 1062": 1,
		"COM_STMT_CLOSE one way": 12, "PREPARE SELECT orders ok": 10, "SELECT orders ok": 10, "PREPARE SELECT nowhere 1146": 1, "PREPARE SELECT ok": 1, "SELECT ok": got["SELECT ok"],
		"COM_STMT_SEND_LONG_DATA one way": got["COM_STMT_SEND_LONG_DATA one way"]})

	small := startProxy(t, MySQL(), addr) // for testdata
	conn = mysqlOpen(t, small, "")
	for i := range 3 {
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM orders WHERE name = ? AND id > ?", "MARKER", i).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	mysqlDone(t, conn)
	only(t, small.exchanges(t), map[string]int{"PREPARE SELECT orders ok": 3, "SELECT orders ok": 3, "COM_STMT_CLOSE one way": 3})
	small.record(t, 0, "mysql", "prepared")

	bad, _ := sql.Open("mysql", "test:MARKERwrong@tcp("+x.addr+")/shop")
	var refused *mysql.MySQLError
	if err := bad.Ping(); !errors.As(err, &refused) || refused.Number != 1045 {
		t.Errorf("wrong password: %v", err)
	}
	bad.Close()
	expect(t, x.exchanges(t), map[string]int{"CONNECT 1045": 1})
}

func mysqlTool(x *proxy, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, append([]string{"--no-defaults", "-h", "127.0.0.1", "-P", x.port(), "-u", "test", "--skip-ssl"}, args...)...)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+mysqlPassword)
	return cmd
}

func testMySQLCommandLine(t *testing.T, addr string) {
	x := startProxy(t, MySQL(), addr)
	run(t, mysqlTool(x, "mariadb", "--comments", "--force", "shop", "-e", `
CREATE TABLE things (id int AUTO_INCREMENT PRIMARY KEY, name text);
INSERT INTO things (name) VALUES ('MARKER'), ('it\'s FROM MARKER');
/* MARKER */ SELECT name FROM things -- MARKER
 WHERE name LIKE "%MARKER%";
SELECT * FROM things WHERE id < 0;
WITH x AS (SELECT * FROM things) SELECT * FROM x;
SET @a = 'MARKER';
EXPLAIN SELECT * FROM things;
BEGIN; DELETE FROM things; ROLLBACK;
ALTER TABLE things ADD COLUMN b int;
SHOW TABLES;
`))
	x.record(t, 0, "mysql", "command-line")
	only(t, x.exchanges(t), map[string]int{"CREATE TABLE things ok": 1, "INSERT things ok": 1, "SELECT things ok": 3, "SET ok": 1, "EXPLAIN things ok": 1, "BEGIN ok": 1,
		"DELETE things ok": 1, "ROLLBACK ok": 1, "ALTER TABLE things ok": 1, "SHOW ok": 1, "SELECT ok": count(x.exchanges(t))["SELECT ok"]})
	run(t, mysqlTool(x, "mariadb-admin", "ping"))
	run(t, mysqlTool(x, "mariadb-admin", "status"))
	run(t, mysqlTool(x, "mariadb-admin", "refresh"))
	expect(t, x.exchanges(t), map[string]int{"COM_PING ok": 1, "COM_STATISTICS ok": 1, "COM_REFRESH ok": 1})

	// From the middle: every command is recognised, and its answer is.
	chunks := x.conns[0].chunks
	for i := 5; i < len(chunks)-1; i++ {
		c := chunks[i]
		if c.d == FromClient && len(c.b) > 5 && MySQL().Detect(c.d, c.b) != Yes || c.d == FromServer && MySQL().Detect(c.d, c.b) != Yes {
			t.Errorf("not recognised: %d %q", c.d, c.b)
		}
	}
	for i, c := range chunks {
		if i > len(chunks)/2 && c.d == FromClient {
			if got := replay(MySQL(), chunks[i:], 0); len(got) < 4 || got[0].Status != "ok" {
				t.Errorf("from the middle: %v", count(got))
			}
			break
		}
	}
}

func testMySQLCompressed(t *testing.T, addr string) {
	x := startProxy(t, MySQL(), addr)
	run(t, mysqlTool(x, "mariadb", "--compress", "shop", "-e", "SELECT 1; SELECT 2"))
	if got := x.exchanges(t); len(got) != 0 || x.conns[0].feeder.err == nil || !strings.Contains(x.conns[0].feeder.err.Error(), "compressed") {
		t.Errorf("%v, %v", count(got), x.conns[0].feeder.err)
	}
	x.record(t, 0, "mysql", "compressed")
}

func testMySQLDump(t *testing.T, addr string) {
	x := startProxy(t, MySQL(), addr)
	run(t, mysqlTool(x, "mariadb-dump", "--databases", "shop"))
	got := x.exchanges(t)
	n := count(got)
	if n["SELECT users ok"] != 1 || n["SELECT orders ok"] != 1 || n["COM_INIT_DB ok"] == 0 {
		t.Errorf("dump: %v", n)
	}
	for _, e := range got {
		if e.Status != "ok" {
			t.Errorf("%+v", e)
		}
	}
	expect(t, got, nil)
	if x.conns[0].feeder.err != nil {
		t.Error(x.conns[0].feeder.err)
	}
}
