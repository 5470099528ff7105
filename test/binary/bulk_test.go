package binary

import (
	"bytes"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestBulk moves large values, tables and records at full speed, all at once, with small commands beside them. All of it is more than the
// ring holds by far: what nobody reads is not shipped.
func TestBulk(t *testing.T) {
	cache, database, broker, maria := redisService(t), postgresService(t), kafkaService(t), mariaService(t)
	cache.await(t)
	database.await(t)
	broker.await(t)
	maria.await(t)
	readyPostgres(t, database)
	conn, err := pgx.Connect(t.Context(), postgresURL(database))
	require.NoError(t, err)
	for _, statement := range []string{"CREATE UNLOGGED TABLE big AS SELECT i, repeat(md5(i::text), 3) AS text FROM generate_series(1, 400000) i", "CREATE UNLOGGED TABLE copied (i int, text text)", "CREATE TABLE things (id int)"} {
		_, err = conn.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	require.NoError(t, conn.Close(t.Context()))

	var group sync.WaitGroup
	beside := func(name string, in io.Reader, args ...string) {
		group.Go(func() {
			cmd := exec.Command(name, args...)
			var problems bytes.Buffer
			cmd.Stdin, cmd.Stderr = in, &problems // what it says goes nowhere
			if err := cmd.Run(); err != nil {
				t.Errorf("%s: %v: %s", cmd, err, problems.String())
			}
		})
	}
	benchmark := func(args ...string) {
		beside("redis-benchmark", nil, append([]string{"-h", cache.host(), "-p", cache.port(), "-a", secret, "-q"}, args...)...)
	}
	benchmark("-n", "10000", "-d", "4096", "-P", "16", "-c", "8", "-t", "set,get")
	benchmark("-n", "20000", "-c", "4", "-t", "incr")
	psql := func(in io.Reader, statement string) {
		beside("psql", in, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, postgresURL(database))
	}
	const copies = 2
	mariadb := func(statement string) []string {
		return []string{"--no-defaults", "-h", maria.host(), "-P", maria.port(), "-u", "test", "-p" + secret, "-D", "shop", "--skip-ssl", "--local-infile=1", "-e", statement}
	}
	ran(t, exec.Command("mariadb", mariadb("CREATE TABLE big ENGINE=MyISAM AS SELECT seq AS i, repeat(md5(seq), 3) AS text FROM seq_1_to_300000")...))
	for range copies {
		beside("mariadb", nil, mariadb("SELECT * FROM big")...)
	}
	row := "1\t" + strings.Repeat(secret, 20) + "\n"
	for range copies {
		psql(nil, "COPY big TO STDOUT")
		psql(nil, "SELECT * FROM big")
		psql(strings.NewReader(strings.Repeat(row, 50<<20/len(row))), "COPY copied FROM STDIN")
	}
	const small, batches = 5000, 40
	runPostgres(t, database, "INSERT INTO things VALUES (1);\n", "pgbench", "-n", "-c", "1", "-t", "5000", "-M", "prepared")
	client := kafkaClient(t, broker, kgo.ProducerBatchMaxBytes(1<<20))
	id := topicID(t, client)
	for i := range batches {
		record := &kgo.Record{Topic: "orders", Value: bytes.Repeat([]byte(secret), 90_000)}
		require.NoError(t, client.ProduceSync(t.Context(), record).FirstErr())
		fetchFrom(t, client, id, int64(i))
	}
	client.Close()
	group.Wait()
	if t.Failed() {
		return
	}
	checkExchanged(t, built.watchers,
		exchanged{protocol: "redis", by: "redis-benchmark", server: cache.workload, port: cache.port(), want: map[string]int{"SET ok": 10000, "GET ok": 10000, "INCR ok": 20000, "AUTH ok": anyNumber, "CONFIG GET ok": anyNumber}},
		exchanged{protocol: "postgres", by: "psql", server: database.workload, port: database.port(), want: map[string]int{"COPY big ok": copies, "SELECT big ok": copies, "COPY copied ok": copies, "INSERT things ok": small,
			"CREATE TABLE big ok": 1, "CREATE TABLE copied ok": 1, "CREATE TABLE things ok": 1}},
		exchanged{protocol: "mysql", by: "mariadb", server: maria.workload, port: maria.port(), want: map[string]int{"SELECT big ok": copies, "CREATE TABLE big ok": 1, "SELECT ok": anyNumber}},
		exchanged{protocol: "kafka", by: "franz-go", server: broker.workload, port: broker.port(), want: kafkaGreetings(map[string]int{"Produce orders ok": batches, "Fetch orders ok": batches})})
	for _, v := range built.watchers {
		requireNoSecret(t, v)
	}
}
