package binary

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// moduleProgram builds a program that is a module of its own, from its folder under test/, once a run.
func moduleProgram(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(built.dir, "module-"+name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "build", "-C", filepath.Join("..", name), "-ldflags=-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	ran(t, cmd)
	return path
}

// moduleService runs its server.
func moduleService(t testing.TB, name string, args ...string) service {
	s, path := installed(t, moduleProgram(t, name))
	serve(t, s.dir, exec.Command(path, append([]string{"serve", s.address}, args...)...))
	return s
}

// moduleServiceOnBoth runs one that listens in plain text and in TLS.
func moduleServiceOnBoth(t testing.TB, name string) service {
	s, path := installed(t, moduleProgram(t, name))
	s = s.alsoInTLS(t, freeAddress(t))
	serve(t, s.dir, exec.Command(path, "serve", s.address, s.secure.address, s.dir))
	return s
}

// asking runs its client, which makes so many rounds whenever it is told to. The client ends with the test. One that does TLS is known to vetch before it begins.
func asking(t testing.TB, name string, s service, args ...string) (rounds func(n int)) {
	path := moduleProgram(t, name)
	args = append([]string{"ask", s.address, string(plain)}, args...)
	if s.encrypted {
		args[2] = s.dir // where the certificate is
		start(t, how{dir: t.TempDir()}, path, "serve", freeAddress(t))
		awaitProbed(t, built.watchers, path)
	}
	p := start(t, how{dir: t.TempDir()}, path, args...)
	p.line(t, "ready", patience)
	return func(n int) {
		_, err := io.WriteString(p.stdin, fmt.Sprintf("%d\n", n))
		require.NoError(t, err)
		p.line(t, "done", patience)
	}
}

// dubboService is two processes: a provider has one wire.
func dubboService(t testing.TB) service {
	s := moduleService(t, "dubbo")
	secure, path := installed(t, moduleProgram(t, "dubbo"))
	secure = secure.onlyTLS(t)
	serve(t, secure.dir, exec.Command(path, "serve", secure.address, secure.dir))
	s.secure = &secure
	return s
}

func openDubbo(t *testing.T, s service) dialogue {
	rounds := asking(t, "dubbo", s, secret)
	return func(n int) map[string]int {
		rounds(n)
		return map[string]int{"org.vetch.shop.Orders.Place ok": n, "org.vetch.shop.Orders.Refuse exception": n, "org.vetch.shop.Orders.Missing exception": n, "heartbeat ok": anyNumber, "callback heartbeat ok": anyNumber}
	}
}

func cassandraService(t testing.TB) service { return moduleServiceOnBoth(t, "cassandra") }

// openCassandra has gocql ask in a version of the protocol and with a compression. How it prepares and what it asks of the system's tables is its own.
func openCassandra(version, compression string) func(*testing.T, service) dialogue {
	return func(t *testing.T, s service) dialogue {
		rounds := asking(t, "cassandra", s, secret, version, compression)
		return func(n int) map[string]int {
			rounds(n)
			return map[string]int{"SELECT users ok": 3 * n, "INSERT carts unavailable": n, "BATCH users ok": n, "BATCH orders ok": n, "TRUNCATE users ok": n, "PREPARE UPDATE nothing invalid": anyNumber, "SELECT blobs ok": n,
				"PREPARE SELECT users ok": anyNumber, "PREPARE INSERT carts ok": anyNumber, "PREPARE INSERT users ok": anyNumber, "PREPARE DELETE carts ok": anyNumber, "PREPARE SELECT blobs ok": anyNumber,
				"OPTIONS ok": anyNumber, "STARTUP ok": anyNumber, "REGISTER ok": anyNumber, "SELECT local ok": anyNumber, "SELECT peers ok": anyNumber, "SELECT peers_v2 ok": anyNumber,
				"PREPARE SELECT columns ok": anyNumber, "PREPARE SELECT keyspaces ok": anyNumber, "PREPARE SELECT tables ok": anyNumber, "PREPARE SELECT types ok": anyNumber, "PREPARE SELECT views ok": anyNumber,
				"SELECT columns ok": anyNumber, "SELECT keyspaces ok": anyNumber, "SELECT tables ok": anyNumber, "SELECT types ok": anyNumber, "SELECT views ok": anyNumber}
		}
	}
}

// olderCassandra: what prepared statements say is not known.
var olderCassandra = map[string]string{"SELECT users ok": "EXECUTE ok", "INSERT carts unavailable": "EXECUTE unavailable", "SELECT blobs ok": "EXECUTE ok", "BATCH users ok": "BATCH ok"}

// clickhouseService has one user, default.
func clickhouseService(t testing.TB) service {
	s, path := installed(t, "/usr/sbin/clickhouse-server")
	s = s.alsoInTLS(t, freeAddress(t))
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644))
	}
	write("config.xml", "<yandex><logger><level>warning</level><log>"+s.dir+"/server.log</log><errorlog>"+s.dir+"/errors.log</errorlog></logger><tcp_port>"+s.port()+"</tcp_port><tcp_port_secure>"+s.secure.port()+
		"</tcp_port_secure><listen_host>"+s.host()+"</listen_host><openSSL><server><certificateFile>"+s.cert()+"</certificateFile><privateKeyFile>"+s.key()+"</privateKeyFile><verificationMode>none</verificationMode></server></openSSL>"+
		"<path>"+s.dir+"/data/</path><tmp_path>"+s.dir+"/tmp/</tmp_path><users_config>users.xml</users_config><default_profile>default</default_profile>"+
		"<default_database>default</default_database><mark_cache_size>16777216</mark_cache_size></yandex>")
	write("users.xml", "<yandex><profiles><default/></profiles><quotas><default/></quotas><users><default><password>"+secret+"</password><networks><ip>::/0</ip></networks>"+
		"<profile>default</profile><quota>default</quota></default></users></yandex>")
	write("client.xml", "<config><openSSL><client><verificationMode>none</verificationMode><invalidCertificateHandler><name>AcceptCertificateHandler</name></invalidCertificateHandler></client></openSSL></config>")
	serve(t, s.dir, exec.Command(path, "--config-file="+s.dir+"/config.xml"))
	return s
}

// playClickHouseClient has the server's own client insert blocks of some MB and read some rows, and states of aggregations, which cannot be walked over.
func playClickHouseClient(t *testing.T, s service) map[string]int {
	connect := []string{"--config-file", s.dir + "/client.xml", "--host", s.host(), "--port", s.port(), "--password", secret}
	if s.encrypted {
		connect = append(connect, "--secure")
	}
	ask := func(query string, fails bool, args ...string) {
		cmd := exec.Command("clickhouse-client", slices.Concat(connect, args, []string{"-q", query})...)
		cmd.Stdin = strings.NewReader(strings.Repeat("7\t"+secret+"\n", 50_000))
		out, err := cmd.CombinedOutput()
		require.Equal(t, fails, err != nil, "%s: %.200s", query, out)
	}
	const n = 5
	ask("CREATE TABLE IF NOT EXISTS hits (id UInt64, name String) ENGINE = Memory", false)
	for i := range n {
		compression := fmt.Sprintf("--compression=%d", i%2)
		ask("INSERT INTO hits FORMAT TabSeparated", false, compression)
		ask("SELECT id, name, [name], toNullable(id) FROM hits WHERE name = '"+secret+"' LIMIT 1000", false, compression)
		ask("SELECT sumState(id) FROM hits", false, compression)
		ask("SELECT "+secret+" FROM hits", true, compression)
	}
	return map[string]int{"CREATE TABLE hits ok": 1, "INSERT hits ok": n, "SELECT hits ok": 2 * n, "SELECT hits 47": n, "PING ok": anyNumber}
}

// openClickHouse has a library in Go ask.
func openClickHouse(library, compression string) func(*testing.T, service) dialogue {
	return func(t *testing.T, s service) dialogue {
		rounds := asking(t, "clickhouse", s, secret, library, compression)
		return func(n int) map[string]int {
			rounds(n)
			if library == "ch-go" {
				return map[string]int{"PING ok": n, "INSERT visits ok": n, "SELECT visits ok": n, "SELECT states 241": n}
			}
			return map[string]int{"CREATE TABLE visits ok": anyNumber, "INSERT visits ok": n, "SELECT visits ok": n, "SELECT visits 47": n}
		}
	}
}

func clickhouseResponder(t testing.TB) service { return moduleServiceOnBoth(t, "clickhouse") }
