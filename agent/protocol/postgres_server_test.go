package protocol

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const pgPassword = "MARKERpassword"

// asUser makes a command run as a user of the system when the test is root, because the servers refuse to be.
func asUser(t testing.TB, cmd *exec.Cmd, name, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatalf("the tests of real servers need the packages postgresql and mariadb-server: %v", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	cmd.Dir = dir
}

// serverDir makes a directory in which a server can write that runs as another user.
func serverDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vetch-server-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// startPostgres starts Debian's PostgreSQL and returns its address.
func startPostgres(t testing.TB) string {
	t.Helper()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		t.Fatal("no PostgreSQL: apt-get install --no-install-recommends postgresql")
	}
	bin, dir, port := bins[len(bins)-1], serverDir(t), freePort(t)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(pgPassword), 0o644); err != nil {
		t.Fatal(err)
	}
	init := exec.Command(bin+"/initdb", "-D", dir+"/data", "-U", "test", "-A", "scram-sha-256", "--pwfile", secret, "-N", "--locale=C", "-E", "UTF8")
	asUser(t, init, "postgres", dir)
	run(t, init)
	server := exec.Command(bin+"/postgres", "-D", dir+"/data", "-p", port, "-k", dir, "-h", "127.0.0.1", "-F", "-c", "max_connections=50",
		"-c", "shared_buffers=16MB", "-c", "logging_collector=off")
	asUser(t, server, "postgres", dir)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Signal(syscall.SIGINT); server.Wait() })
	addr := "127.0.0.1:" + port
	waitListening(t, "tcp", addr)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := pgx.Connect(context.Background(), pgURL(addr))
		if err == nil {
			c.Close(context.Background())
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func pgURL(addr string) string {
	return "postgres://test:" + pgPassword + "@" + addr + "/postgres?sslmode=disable"
}

func pgTool(x *proxy, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, append([]string{"-h", "127.0.0.1", "-p", x.port(), "-U", "test"}, args...)...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+pgPassword, "PGDATABASE=postgres", "PGSSLMODE=prefer", "LC_ALL=C")
	return cmd
}

// expect compares some counts, and looks for markers in all of them.
func expect(t *testing.T, exchanges []Exchange, want map[string]int) {
	t.Helper()
	got := count(exchanges)
	for key, n := range want {
		if got[key] != n {
			t.Errorf("%q: %d, want %d; all: %v", key, got[key], n, got)
		}
	}
	for _, e := range exchanges {
		if strings.Contains(strings.ToUpper(e.Operation+e.Status), "MARKER") {
			t.Errorf("a literal in %+v", e)
		}
		if !e.OneWay && (e.End < e.Begin || e.RequestBytes == 0 && e.Operation != "CONNECT") {
			t.Errorf("times or sizes of %+v", e)
		}
	}
}

// only says that exactly the wanted counts came.
func only(t *testing.T, exchanges []Exchange, want map[string]int) {
	t.Helper()
	expect(t, exchanges, want)
	for key, n := range count(exchanges) {
		if want[key] == 0 {
			t.Errorf("%q came %d times", key, n)
		}
	}
}

func TestPostgresServer(t *testing.T) {
	addr := startPostgres(t)
	init := startProxy(t, PostgreSQL(), addr)
	run(t, pgTool(init, "pgbench", "-i", "-s", "1", "-q"))
	expect(t, init.exchanges(t), map[string]int{"COPY pgbench_accounts ok": 1, "CREATE TABLE pgbench_accounts ok": 1, "VACUUM pgbench_accounts ok": 1,
		"ALTER TABLE pgbench_accounts ok": 1})
	for _, mode := range []string{"simple", "extended", "prepared"} {
		t.Run("pgbench "+mode, func(t *testing.T) {
			x := startProxy(t, PostgreSQL(), addr)
			run(t, pgTool(x, "pgbench", "-n", "-c", "2", "-t", "50", "-M", mode))
			expect(t, x.exchanges(t), map[string]int{"BEGIN ok": 100, "UPDATE pgbench_accounts ok": 100, "SELECT pgbench_accounts ok": 100,
				"UPDATE pgbench_tellers ok": 100, "UPDATE pgbench_branches ok": 100, "INSERT pgbench_history ok": 100, "END ok": 100})
			x = startProxy(t, PostgreSQL(), addr) // for testdata
			run(t, pgTool(x, "pgbench", "-n", "-c", "1", "-t", "3", "-M", mode))
			x.exchanges(t)
			x.record(t, len(x.conns)-1, "postgres", "pgbench-"+mode)
		})
	}
	t.Run("a connection for each transaction", func(t *testing.T) {
		x := startProxy(t, PostgreSQL(), addr)
		run(t, pgTool(x, "pgbench", "-n", "-C", "-S", "-t", "40"))
		expect(t, x.exchanges(t), map[string]int{"SELECT pgbench_accounts ok": 40})
	})
	t.Run("psql", func(t *testing.T) { testPsql(t, addr) })
	t.Run("pgx", func(t *testing.T) { testPgx(t, addr) })
	t.Run("pgx pipelines", func(t *testing.T) { testPgxPipelines(t, addr) })
	t.Run("in the middle", func(t *testing.T) { testPgMiddle(t, addr) })
}

// Statements in the middle of a connection are recognised, and those that were prepared before keep their kind.
func testPgMiddle(t *testing.T, addr string) {
	x := startProxy(t, PostgreSQL(), addr)
	run(t, pgTool(x, "pgbench", "-n", "-c", "1", "-t", "20", "-M", "prepared"))
	x.exchanges(t)
	chunks := x.conns[len(x.conns)-1].chunks
	n := 0
	for i, c := range chunks {
		if i < len(chunks)/2 || c.d != FromClient {
			continue
		}
		if n++; PostgreSQL().Detect(FromClient, c.b) != Yes && c.b[0] != 'X' {
			t.Errorf("not recognised: %q", c.b)
		}
		if s := chunks[i-1]; s.d == FromServer && PostgreSQL().Detect(FromServer, s.b) != Yes {
			t.Errorf("not recognised: %q", s.b)
		}
		if n == 1 {
			got := count(replay(PostgreSQL(), chunks[i:], 0))
			if got["UPDATE ok"] < 20 || got["SELECT ok"] < 5 || got["EXECUTE ok"] > 0 {
				t.Errorf("from the middle: %v", got)
			}
		}
	}
}

func testPsql(t *testing.T, addr string) {
	x := startProxy(t, PostgreSQL(), addr)
	dir := t.TempDir()
	file := filepath.Join(dir, "rows")
	os.WriteFile(file, []byte(strings.Repeat("7\tMARKER\n", 30000)), 0o644)
	script := filepath.Join(dir, "script.sql")
	os.WriteFile(script, []byte(`
CREATE TABLE things (id int, name text);
\copy things from '`+file+`'
\copy things to '`+file+`.out'
SELECT * FROM things WHERE name = 'MARKER' LIMIT 3;
SELECT 1/0;
SELECT * FROM nowhere;
SELECT 'MARKER' \; UPDATE things SET name = 'MARKER' \; SELECT count(*) FROM things;
INSERT INTO things VALUES (1, 'MARKER') \; SELECT 1/0 ;
LISTEN chan;
NOTIFY chan, 'MARKER';
DO $$ BEGIN RAISE NOTICE 'MARKER'; END $$;
SELECT repeat('MARKER', 100000);
SELECT name FROM public."things" WHERE name <> '`+strings.Repeat("MARKER", 20000)+`' LIMIT 1;
`), 0o644)
	run(t, pgTool(x, "psql", "-X", "-q", "-o", "/dev/null", "-f", script))
	only(t, x.exchanges(t), map[string]int{"CREATE TABLE things ok": 1, "COPY things ok": 2, "SELECT things ok": 2, "SELECT 22012": 1,
		"SELECT nowhere 42P01": 1, "SELECT ok": 2, "INSERT things 22012": 1, "LISTEN ok": 1, "NOTIFY ok": 1, "DO ok": 1})
	bad := pgTool(x, "psql", "-X", "-c", "SELECT 1")
	bad.Env = append(bad.Env, "PGPASSWORD=MARKERwrong")
	if bad.Run() == nil {
		t.Error("a wrong password works")
	}
	expect(t, x.exchanges(t)[11:], map[string]int{})
	if got := count(x.exchanges(t)); got["CONNECT 28P01"] != 1 {
		t.Errorf("refused login: %v", got)
	}
}

func testPgx(t *testing.T, addr string) {
	x := startProxy(t, PostgreSQL(), addr)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, pgURL(x.addr))
	if err != nil {
		t.Fatal(err)
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(conn.Exec(ctx, "CREATE TABLE MyThings (id int PRIMARY KEY, other int UNIQUE DEFERRABLE INITIALLY DEFERRED, name text)"))
	for i := range 20 {
		must(conn.Exec(ctx, "INSERT INTO mythings VALUES ($1, $2, $3)", i, i, "MARKER"))
	}
	var n int
	for range 10 {
		must(nil, conn.QueryRow(ctx, "SELECT count(*) FROM mythings WHERE name = $1", "MARKER").Scan(&n))
	}
	if _, err := conn.Exec(ctx, "INSERT INTO mythings VALUES ($1, $2, $3)", 1, 100, "MARKER"); err == nil {
		t.Error("no duplicate")
	}
	if _, err := conn.Exec(ctx, "INSERT INTO mythings VALUES ($1, $2, $3)", 101, 1, "MARKER"); err == nil {
		t.Error("no deferred duplicate")
	}
	if _, err := conn.Exec(ctx, "SELECT * FROM nothing WHERE a = $1", 1); err == nil {
		t.Error("a table that is not there")
	}
	rows := make([][]any, 500)
	for i := range rows {
		rows[i] = []any{1000 + i, 1000 + i, "MARKER"}
	}
	must(conn.CopyFrom(ctx, pgx.Identifier{"mythings"}, []string{"id", "other", "name"}, pgx.CopyFromRows(rows)))
	must(conn.Exec(ctx, "SELECT 1; SELECT 2"))
	must(nil, conn.Ping(ctx))
	slow, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := conn.Exec(slow, "SELECT pg_sleep(10)"); err == nil {
		t.Error("not cancelled")
	}
	conn.Close(ctx)
	x.record(t, 0, "postgres", "pgx")
	got := count(x.exchanges(t))
	want := map[string]int{"CREATE TABLE mythings ok": 1, "INSERT mythings ok": 20, "SELECT mythings ok": 10, "INSERT mythings 23505": 2,
		"SELECT nothing 42P01": 1, "COPY mythings ok": 1, "SELECT ok": 1, "EMPTY ok": 1}
	expect(t, x.exchanges(t), want)
	if got["SELECT 57014"]+got["SELECT cut"] != 1 {
		t.Errorf("cancelled: %v", got)
	}
}

func testPgxPipelines(t *testing.T, addr string) {
	x := startProxy(t, PostgreSQL(), addr)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, pgURL(x.addr))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "CREATE TABLE piped (id int PRIMARY KEY, name text)"); err != nil {
		t.Fatal(err)
	}
	batch := &pgx.Batch{}
	for i := range 500 {
		batch.Queue("INSERT INTO piped VALUES ($1, $2)", i, fmt.Sprint("MARKER", i))
		batch.Queue("SELECT name FROM piped WHERE id = $1", i)
	}
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		t.Fatal(err)
	}
	batch = &pgx.Batch{}
	for i := range 10 {
		batch.Queue("UPDATE piped SET id = $1 WHERE id = $2", 7*i/9, 0) // the first changes nothing, one of the next is a duplicate
		batch.Queue("DELETE FROM piped WHERE id = $1", -i-1)
	}
	if err := conn.SendBatch(ctx, batch).Close(); err == nil {
		t.Error("no duplicate")
	}
	pipe := conn.PgConn().StartPipeline(ctx)
	for i := range 2000 {
		pipe.SendQueryParams("SELECT $1::text", [][]byte{[]byte(fmt.Sprint("MARKER", i))}, nil, nil, nil)
		if i%10 == 9 {
			pipe.Sync()
		}
		if i%500 == 499 {
			pipe.Flush()
		}
	}
	if err := pipe.Close(); err != nil {
		t.Fatal(err)
	}
	conn.Close(ctx)
	got := count(x.exchanges(t))
	if got["SELECT ok"]+got["SELECT "] != 2000 {
		t.Errorf("pipeline: %v", got)
	}
	failed := got["UPDATE piped 23505"]
	if failed != 1 || got["UPDATE piped ok"]+got["UPDATE piped aborted"]+failed != 10 || got["DELETE piped ok"]+got["DELETE piped aborted"] != 10 {
		t.Errorf("failed batch: %v", got)
	}
	expect(t, x.exchanges(t), map[string]int{"INSERT piped ok": 500, "SELECT piped ok": 500})
}
