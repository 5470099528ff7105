package binary

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"
	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func playRedisBenchmark(t *testing.T, s service) map[string]int {
	args := []string{"-h", s.host(), "-p", s.port(), "-a", secret, "-q"}
	if s.encrypted {
		args = append(args, "--tls", "--insecure")
	}
	ran(t, exec.Command("redis-benchmark", append(args, "-n", "20000", "-P", "16", "-c", "8", "-t", "get")...))
	ran(t, exec.Command("redis-benchmark", append(args, "-n", "400", "-P", "1", "-c", "4", "-t", "lpush")...))
	return map[string]int{"GET ok": 20000, "LPUSH ok": 400, "AUTH ok": anyNumber, "CONFIG GET ok": anyNumber}
}

func redisClient(s service) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.address, TLSConfig: s.config(), Password: secret, PoolSize: 1, MaxRetries: -1, DisableIdentity: true})
}

func openRedis(t *testing.T, s service) dialogue {
	db := redisClient(s)
	t.Cleanup(func() { db.Close() })
	return func(n int) map[string]int {
		for range n {
			require.NoError(t, db.Set(t.Context(), secret, secret, 0).Err())
			require.NoError(t, db.Incr(t.Context(), "counts"+secret).Err())
			require.Error(t, db.Incr(t.Context(), secret).Err())
		}
		return map[string]int{"SET ok": n, "INCR ok": n, "INCR ERR": n, "HELLO ok": anyNumber, "AUTH ok": anyNumber, "CLIENT ~other ERR": anyNumber} // what the client says at first depends on its version
	}
}

func openMemcached(t *testing.T, s service) dialogue {
	client := memcache.New(s.address)
	client.Timeout, client.DialContext = patience, s.dial
	t.Cleanup(func() { client.Close() })
	return func(n int) map[string]int {
		for range n {
			require.NoError(t, client.Set(&memcache.Item{Key: secret, Value: []byte(secret)}))
			_, err := client.Get(secret)
			require.NoError(t, err)
			_, err = client.Get("no-" + secret)
			require.ErrorIs(t, err, memcache.ErrCacheMiss)
		}
		return map[string]int{"set stored": n, "gets hit": n, "gets miss": n}
	}
}

func sslMode(s service) string {
	if s.encrypted {
		return "require"
	}
	return "disable"
}

func postgresURL(s service) string {
	return "postgres://test:" + secret + "@" + s.address + "/postgres?sslmode=" + sslMode(s)
}

// runPostgres runs a client of the system with a script.
func runPostgres(t *testing.T, s service, script, program string, args ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.sql")
	require.NoError(t, os.WriteFile(file, []byte(script), 0o644))
	cmd := exec.Command(program, append([]string{"-h", s.host(), "-p", s.port(), "-U", "test", "-f", file}, args...)...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+secret, "PGDATABASE=postgres", "PGSSLMODE="+sslMode(s), "LC_ALL=C")
	ran(t, cmd)
}

func playPgbenchConnect(t *testing.T, s service) map[string]int {
	readyPostgres(t, s)
	runPostgres(t, s, "CREATE TABLE IF NOT EXISTS things (id int, name text);\nSELECT 1/0 AS "+secret+";\n", "psql")
	runPostgres(t, s, "SELECT count(*) FROM things WHERE name = '"+secret+"';\n", "pgbench", "-n", "-C", "-t", "200")
	return map[string]int{"CREATE TABLE things ok": 1, "SELECT 22012": 1, "SELECT things ok": 200}
}

func playPgbenchPrepared(t *testing.T, s service) map[string]int {
	readyPostgres(t, s)
	runPostgres(t, s, "CREATE TABLE IF NOT EXISTS events (id int, name text);\n", "psql")
	runPostgres(t, s, "\\set id random(1, 1000)\nINSERT INTO events VALUES (:id, '"+secret+"');\nSELECT name FROM events WHERE id = :id LIMIT 1;\n", "pgbench", "-n", "-M", "prepared", "-c", "4", "-t", "500")
	return map[string]int{"CREATE TABLE events ok": 1, "INSERT events ok": 2000, "SELECT events ok": 2000}
}

func openPostgres(t *testing.T, s service) dialogue {
	readyPostgres(t, s)
	conn, err := pgx.Connect(t.Context(), postgresURL(s))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), "CREATE TEMPORARY TABLE kept (id int, name text)")
	require.NoError(t, err)
	return func(n int) map[string]int {
		for i := range n {
			_, err := conn.Exec(t.Context(), "INSERT INTO kept VALUES ($1, $2)", i, secret) // prepared when it is said first
			require.NoError(t, err)
			_, err = conn.Exec(t.Context(), "DELETE FROM kept WHERE name = 'no "+secret+"'")
			require.NoError(t, err)
			_, err = conn.Exec(t.Context(), "SELECT 1/0 AS "+secret)
			require.Error(t, err)
		}
		return map[string]int{"CREATE TABLE kept ok": anyNumber, "INSERT kept ok": n, "DELETE kept ok": n, "SELECT 22012": n}
	}
}

// playMariaDB has the server's own client read statements.
func playMariaDB(t *testing.T, s service) map[string]int {
	readyMaria(t, s)
	const n = 200
	text := "CREATE TABLE IF NOT EXISTS things (name TEXT);\n"
	for range n {
		text += fmt.Sprintf("INSERT INTO things VALUES ('%[1]s');\nSELECT name FROM things WHERE name = '%[1]s' LIMIT 1;\n", secret)
	}
	cmd := exec.Command("mariadb", "--no-defaults", "-h", s.host(), "-P", s.port(), "-u", "test", "-p"+secret, "--batch", "shop", "--skip-ssl")
	if s.encrypted {
		cmd.Args[len(cmd.Args)-1] = "--ssl"
	}
	cmd.Stdin = strings.NewReader(text)
	ran(t, cmd)
	return map[string]int{"CREATE TABLE things ok": 1, "INSERT things ok": n, "SELECT things ok": n, "SELECT ok": anyNumber}
}

func openMariaDB(t *testing.T, s service) dialogue {
	readyMaria(t, s)
	with := "false"
	if s.encrypted {
		with = "skip-verify"
	}
	db, err := sql.Open("mysql", "test:"+secret+"@tcp("+s.address+")/shop?interpolateParams=true&tls="+with)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	_, err = db.Exec("CREATE TABLE IF NOT EXISTS users (id bigint PRIMARY KEY, name text)")
	require.NoError(t, err)
	id := rand.N(int64(1 << 60))
	return func(n int) map[string]int {
		for range n {
			id++
			_, err := db.Exec("INSERT INTO users VALUES (?, ?)", id, secret)
			require.NoError(t, err)
			_, err = db.Exec("INSERT INTO users VALUES (?, ?)", id, secret)
			require.Error(t, err)
			var name string
			require.NoError(t, db.QueryRow("SELECT name FROM users WHERE id = ?", id).Scan(&name))
		}
		return map[string]int{"CREATE TABLE users ok": anyNumber, "INSERT users ok": n, "INSERT users 1062": n, "SELECT users ok": n}
	}
}
