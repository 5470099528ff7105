package protocol

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startClickHouse runs a server with one user, whose password is "mark".
func startClickHouse(t *testing.T) (address string) {
	address = "127.0.0.1:" + loopbackPort(t)
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	write("config.xml", "<yandex><logger><level>warning</level><log>"+dir+"/log</log><errorlog>"+dir+"/errors</errorlog></logger><tcp_port>"+strings.TrimPrefix(address, "127.0.0.1:")+
		"</tcp_port><listen_host>127.0.0.1</listen_host><path>"+dir+"/data/</path><tmp_path>"+dir+"/tmp/</tmp_path><users_config>users.xml</users_config><default_profile>default</default_profile>"+
		"<default_database>default</default_database><mark_cache_size>16777216</mark_cache_size></yandex>")
	write("users.xml", "<yandex><profiles><default/></profiles><quotas><default/></quotas><users><default><password>mark</password><networks><ip>::/0</ip></networks>"+
		"<profile>default</profile><quota>default</quota></default></users></yandex>")
	startProgram(t, address, "clickhouse-server", "--config-file="+dir+"/config.xml")
	return address
}

// What clickhouse-client asks, one query a connection. Everything is of a type that can be walked over but the state of an aggregation.
func TestClickHouseServerByItsClient(t *testing.T) {
	address := startClickHouse(t)
	x := startTalkProxy(t, address, ClickHouse())
	ask := func(query string, args ...string) {
		cmd := exec.Command("clickhouse-client", append([]string{"--host", "127.0.0.1", "--port", x.port(), "--password", "mark", "-q", query}, args...)...)
		cmd.Stdin = strings.NewReader(strings.Repeat("7\tmark\n", 200_000))
		if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "Exception") {
			t.Fatalf("%s: %s", query, out)
		}
	}
	ask("CREATE TABLE hits (id UInt64, name String) ENGINE = Memory")
	ask("INSERT INTO hits FORMAT TabSeparated")
	ask("INSERT INTO hits FORMAT TabSeparated", "--compression=0")
	ask("INSERT INTO hits FORMAT TabSeparated", "--max_insert_block_size=1000", "--max_block_size=1000")
	for _, compression := range []string{"--compression=0", "--compression=1"} {
		ask("SELECT * FROM hits", compression)
		ask("SELECT count(), 'mark' FROM hits WHERE name = 'mark' GROUP BY id WITH TOTALS", compression, "--extremes=1")
		ask("SELECT * FROM nothing WHERE a = 'mark'", compression)
		ask("SELECT throwIf(number = 100000) FROM numbers(200000)", compression)
		ask("SELECT sumState(id) FROM hits", compression)
		ask("SELECT [name, 'mark'], (id, name), toNullable(id), toFixedString('mark', 4), toDecimal32(1, 2), toDate('2020-01-01'), CAST('a', 'Enum8(\\'a\\' = 1, \\'b,)\\' = 2)'), [[id], []], toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0'), NULL, now() FROM hits", compression)
		ask("DROP TABLE IF EXISTS nothing", compression)
	}
	exec.Command("clickhouse-client", "--host", "127.0.0.1", "--port", x.port(), "--password", "wrong mark", "-q", "SELECT 1").Run()
	exchanges := x.finish()
	got := countOutcomes(exchanges)
	assert.Equal(t, map[string]int{"CREATE TABLE hits: ok": 1, "INSERT hits: ok": 3, "SELECT hits: ok": 8, "SELECT nothing: 60!": 2, "SELECT numbers: 395!": 2, "DROP TABLE nothing: ok": 2, "PING: ok": 18, "CONNECT: 193!": 1}, got)
	for _, e := range exchanges {
		assert.NotContains(t, e.Operation+e.Status, "mark")
	}
}

// clickhouse-go asks Debian's server on one connection; ch-go asks the server of test/clickhouse, which speaks a newer revision.
func TestClickHouseServer(t *testing.T) {
	program := buildModule(t, "clickhouse")
	for _, how := range [][]string{{"clickhouse-go", "none"}, {"clickhouse-go", "lz4"}, {"ch-go", "none"}, {"ch-go", "lz4"}, {"ch-go", "zstd"}} {
		t.Run(strings.Join(how, " "), func(t *testing.T) {
			const n = 20
			want := map[string]int{"CREATE TABLE visits: ok": 1, "INSERT visits: ok": n, "SELECT visits: ok": n, "SELECT visits: 47!": n}
			var address string
			if how[0] == "clickhouse-go" {
				address = startClickHouse(t)
			} else {
				address = "127.0.0.1:" + loopbackPort(t)
				startProgram(t, address, program, "serve", address)
				want = map[string]int{"INSERT visits: ok": n, "SELECT visits: ok": n, "SELECT states: 241!": n, "PING: ok": n}
			}
			x := startTalkProxy(t, address, ClickHouse())
			a := startAsker(t, exec.Command(program, append([]string{"ask", x.addr(), "plain", "mark"}, how...)...))
			a.ask("20")
			a.end()
			exchanges := x.finish()
			assert.Equal(t, want, countOutcomes(exchanges))
			for _, e := range exchanges {
				assert.NotContains(t, e.Operation+e.Status, "mark")
			}
		})
	}
}
