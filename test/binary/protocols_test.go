package binary

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// exchanged is what clients asked of one server, by their own account. It is everything that the server was asked.
type exchanged struct {
	protocol, by, server string
	port                 string
	want                 map[string]int // "operation code" -> count; anyNumber where the client does not say
	shared               string         // where the server's workload may have other clients: what the operations contain that are ours
}

const anyNumber = -1

// differences lists what the scrape says otherwise: at the serving end, and on the edges.
func (e exchanged) differences(s scrape) []string {
	var d []string
	served := s.by("vetch_workload_requests_total", labels{"workload": e.server, "protocol": e.protocol}, "route", "code")
	want, wantCodes, gotCodes := map[string]float64{}, map[string]float64{}, s.by("vetch_edge_requests_total", labels{"server": e.server, "port": e.port, "protocol": e.protocol}, "code")
	maps.DeleteFunc(served, func(k string, _ float64) bool { return !strings.Contains(k, e.shared) })
	for k, n := range e.want {
		if n == anyNumber {
			n = int(served[k])
		}
		if n == 0 {
			continue
		}
		wantCodes[k[strings.LastIndexByte(k, ' ')+1:]] += float64(n)
		if strings.Contains(k, e.shared) {
			want[k] = float64(n)
		}
	}
	if !maps.Equal(want, served) {
		d = append(d, fmt.Sprintf("%s by %s at the serving end: want %v, got %v", e.protocol, e.by, want, served))
	}
	if !maps.Equal(wantCodes, gotCodes) {
		d = append(d, fmt.Sprintf("%s by %s on the edge: want %v, got %v", e.protocol, e.by, wantCodes, gotCodes))
	}
	return d
}

func checkExchanged(t *testing.T, watchers []*vetch, all ...exchanged) {
	t.Helper()
	for _, v := range watchers {
		var s scrape
		agreed := time.Time{}
		poll(t.Context(), func() (err error) {
			if s, err = v.read(); err != nil {
				return err
			}
			for _, e := range all {
				if d := e.differences(s); len(d) > 0 && agreed.IsZero() {
					return fmt.Errorf("%v", d)
				}
			}
			if agreed.IsZero() {
				agreed = time.Now()
			}
			if time.Since(agreed) < 3*pollInterval {
				return fmt.Errorf("not yet")
			}
			return nil
		})
		for _, e := range all {
			for _, d := range e.differences(s) {
				t.Errorf("%s hook: %s", v.hook, d)
			}
		}
		if t.Failed() {
			t.Logf("%s hook: lost in the kernel %v, by the protocols %v", v.hook, s.by("vetch_probe_events_lost_total", nil, "reason"), s.by("vetch_protocol_events_lost_total", nil, "reason"))
		}
	}
}

// plays are what real clients ask of real servers. Each has a server of its own.
var plays = []struct {
	protocol, by string
	start        func(testing.TB) service
	play         func(*testing.T, service) map[string]int
	shared       string
}{
	{"redis", "redis-benchmark, 16 commands at once", redisService, playRedisBenchmark, ""},
	{"redis", "go-redis", redisService, playRedis, ""},
	{"postgres", "pgbench, a connection for each transaction", postgresService, playPgbenchConnect, ""},
	{"postgres", "pgbench, prepared statements", postgresService, playPgbenchPrepared, ""},
	{"mysql", "go-sql-driver, text", mariaService, playMariaDB, ""},
	{"memcached", "gomemcache", memcachedService, playMemcached, ""},
	{"nats", "nats.go", natsService, playNATS, ""},
	{"mqtt", "paho, QoS 1", mqttService, playMQTT, ""},
	{"dns", "dig, UDP", resolverService, playDig, ""},
	{"dns", "dig, UDP over IPv6", resolverService6, playDig, ""},
	{"dns", "dig, TCP", resolverService, playDigTCP, ""},
	{"dns", "Go's resolver", resolverService6, playGoResolver, ""},
	{"amqp", "amqp091-go, with and without confirms", rabbitService, playRabbitMQ, "parcels"},
	{"mongodb", "mongo-driver, FerretDB", mongoService, playMongoDB, ""},
	{"kafka", "franz-go, kfake", kafkaService, playKafka, ""},
	{"zookeeper", "go-zookeeper", zooKeeperService, playZooKeeper, ""},
	{"websocket", "gorilla/websocket", chatService, playWebSocket, ""},
	{"dubbo", "dubbo-go", dubboService, playDubbo, ""},
	{"cassandra", "gocql, version 3", cassandraService, playCassandra("3", "none"), ""},
	{"cassandra", "gocql, version 4, Snappy", cassandraService, playCassandra("4", "snappy"), ""},
	{"cassandra", "gocql, version 5, LZ4", cassandraService, playCassandra("5", "lz4"), ""},
	{"clickhouse", "clickhouse-client 18.16", clickhouseService, playClickHouseClient, ""},
	{"clickhouse", "clickhouse-go, LZ4", clickhouseService, playClickHouseGo, ""},
	{"clickhouse", "ch-go, ZSTD, a responder of revision 54460", clickhouseResponder, playClickHouseNew, ""},
	{"http2", "curl, and h2load with 100 streams at once", nginxHTTP2Service, playNginxHTTP2, ""},
	{"http2", "net/http of Go", goHTTP2Service, playGoHTTP2, "/items"},
	{"grpc", "grpc-go, 100 calls at once", echoService, playGRPC, "/Unary"},
}

// TestProtocols has real clients ask real servers in every protocol, and finds all of it at the serving end and on the edge.
func TestProtocols(t *testing.T) {
	services := make([]service, len(plays))
	for i := len(plays) - 1; i >= 0; i-- { // the broker takes longest to start
		services[i] = plays[i].start(t)
	}
	var all []exchanged
	for i, p := range plays {
		t.Run(p.protocol+"/"+p.by, func(t *testing.T) {
			s := services[i].await(t)
			all = append(all, exchanged{protocol: p.protocol, by: p.by, server: s.workload, port: s.port(), want: p.play(t, s), shared: p.shared})
		})
	}
	if t.Failed() {
		return
	}
	checkExchanged(t, built.watchers, all...)
	if !t.Failed() {
		compareTable(t, all)
	}
	for _, v := range built.watchers {
		requireNoSecret(t, v)
	}
}

// compareTable writes the results into the guide when UPDATE_DOCS is set, and else holds the guide to them.
func compareTable(t *testing.T, all []exchanged) {
	t.Helper()
	const path, begin, end = "../../docs/guide/protocols.md", "<!-- results of test/binary TestProtocols -->\n", "<!-- end of results -->\n"
	var table strings.Builder
	table.WriteString("| protocol | client | operation | code | sent = at the serving end = on the edge |\n|---|---|---|---|---|\n")
	for _, e := range all {
		for _, k := range slices.Sorted(maps.Keys(e.want)) {
			cut, n := strings.LastIndexByte(k, ' '), strconv.Itoa(e.want[k])
			if e.want[k] == anyNumber {
				continue
			}
			fmt.Fprintf(&table, "| `%s` | %s | `%s` | `%s` | %s |\n", e.protocol, e.by, k[:cut], k[cut+1:], n)
		}
	}
	guide, err := os.ReadFile(path)
	require.NoError(t, err)
	head, rest, found := strings.Cut(string(guide), begin)
	require.True(t, found, "%s has no %q", path, begin)
	old, tail, found := strings.Cut(rest, end)
	require.True(t, found, "%s has no %q", path, end)
	if os.Getenv("UPDATE_DOCS") != "" {
		require.NoError(t, os.WriteFile(path, []byte(head+begin+table.String()+end+tail), 0o644))
		return
	}
	require.Equal(t, table.String(), old, "run UPDATE_DOCS=1 go test ./test/binary -run TestProtocols")
}

func playRedisBenchmark(t *testing.T, s service) map[string]int {
	ran(t, exec.Command("redis-benchmark", "-h", s.host(), "-p", s.port(), "-a", secret, "-n", "20000", "-P", "16", "-c", "8", "-q", "-t", "get"))
	return map[string]int{"GET ok": 20000, "AUTH ok": anyNumber, "CONFIG GET ok": anyNumber}
}

func redisClient(s service) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.address, Password: secret, PoolSize: 1, MaxRetries: -1, DisableIdentity: true})
}

func playRedis(t *testing.T, s service) map[string]int {
	db := redisClient(s)
	defer db.Close()
	const n = 500
	for range n {
		require.NoError(t, db.Set(t.Context(), secret, secret, 0).Err())
		require.NoError(t, db.Incr(t.Context(), "counts"+secret).Err())
		require.Error(t, db.Incr(t.Context(), secret).Err())
	}
	return map[string]int{"SET ok": n, "INCR ok": n, "INCR ERR": n, "HELLO ok": anyNumber, "AUTH ok": anyNumber, "CLIENT ~other ERR": anyNumber} // what the client says at first depends on its version
}

func postgresURL(s service) string {
	return "postgres://test:" + secret + "@" + s.address + "/postgres?sslmode=disable"
}

// pgbench runs a script of one statement, in a table that is there.
func pgbench(t *testing.T, s service, statement string, args ...string) {
	readyPostgres(t, s)
	conn, err := pgx.Connect(t.Context(), postgresURL(s))
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "CREATE TABLE things (id int, name text)")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "SELECT 1/0 AS "+secret)
	require.Error(t, err)
	require.NoError(t, conn.Close(t.Context()))
	pgbenchScript(t, s, statement, args...)
}

func pgbenchScript(t *testing.T, s service, statement string, args ...string) {
	script := filepath.Join(t.TempDir(), "script.sql")
	require.NoError(t, os.WriteFile(script, []byte(statement), 0o644))
	cmd := exec.Command("pgbench", append([]string{"-h", s.host(), "-p", s.port(), "-U", "test", "-n", "-f", script}, args...)...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+secret, "PGDATABASE=postgres", "PGSSLMODE=prefer", "LC_ALL=C")
	ran(t, cmd)
}

func playPgbenchConnect(t *testing.T, s service) map[string]int {
	pgbench(t, s, "SELECT count(*) FROM things WHERE name = '"+secret+"';\n", "-C", "-t", "200")
	return map[string]int{"CREATE TABLE things ok": 1, "SELECT 22012": 1, "SELECT things ok": 200}
}

func playPgbenchPrepared(t *testing.T, s service) map[string]int {
	pgbench(t, s, "\\set id random(1, 1000)\nINSERT INTO things VALUES (:id, '"+secret+"');\nSELECT name FROM things WHERE id = :id LIMIT 1;\n", "-M", "prepared", "-c", "4", "-t", "500")
	return map[string]int{"CREATE TABLE things ok": 1, "SELECT 22012": 1, "INSERT things ok": 2000, "SELECT things ok": 2000}
}

func playMariaDB(t *testing.T, s service) map[string]int {
	db, err := sql.Open("mysql", "test:"+secret+"@tcp("+s.address+")/shop?interpolateParams=true")
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.Exec("CREATE TABLE users (id int PRIMARY KEY, name text)")
	require.NoError(t, err)
	const n = 500
	for i := range n {
		_, err := db.Exec("INSERT INTO users VALUES (?, ?)", i, secret)
		require.NoError(t, err)
		_, err = db.Exec("INSERT INTO users VALUES (?, ?)", i, secret)
		require.Error(t, err)
		var name string
		require.NoError(t, db.QueryRow("SELECT name FROM users WHERE id = ?", i).Scan(&name))
	}
	return map[string]int{"CREATE TABLE users ok": 1, "INSERT users ok": n, "INSERT users 1062": n, "SELECT users ok": n}
}

func playMemcached(t *testing.T, s service) map[string]int {
	client := memcache.New(s.address)
	client.Timeout = patience
	defer client.Close()
	const n = 500
	for range n {
		require.NoError(t, client.Set(&memcache.Item{Key: secret, Value: []byte(secret)}))
		_, err := client.Get(secret)
		require.NoError(t, err)
		_, err = client.Get("no-" + secret)
		require.ErrorIs(t, err, memcache.ErrCacheMiss)
	}
	return map[string]int{"set stored": n, "gets hit": n, "gets miss": n}
}

func playNATS(t *testing.T, s service) map[string]int {
	url := "nats://u:" + secret + "@" + s.address
	answering, err := nats.Connect(url)
	require.NoError(t, err)
	defer answering.Close()
	_, err = answering.Subscribe("time.now", func(m *nats.Msg) { m.Respond([]byte(secret)) })
	require.NoError(t, err)
	require.NoError(t, answering.Flush())
	asking, err := nats.Connect(url)
	require.NoError(t, err)
	defer asking.Close()
	const n = 500
	for i := range n {
		require.NoError(t, asking.Publish(fmt.Sprintf("orders.%d", 1000+i), []byte(secret)))
		_, err = asking.Request("time.now", []byte(secret), patience)
		require.NoError(t, err)
	}
	return map[string]int{"connect ok": 2, "subscribe time.now ok": 1, "publish orders.* ok": n, "request time.now ok": n, "deliver time.now ok": n, "reply time.now ok": n,
		"subscribe _INBOX.* ok": 1}
}

func playMQTT(t *testing.T, s service) map[string]int {
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + s.address).SetClientID(secret).SetUsername("user").SetPassword(secret).SetAutoReconnect(false))
	done := func(token mqtt.Token) {
		require.True(t, token.WaitTimeout(patience))
		require.NoError(t, token.Error())
	}
	done(client.Connect())
	const n = 500
	for i := range n {
		done(client.Publish(fmt.Sprintf("plant/%d/temp", 1000+i), 1, false, secret))
	}
	client.Disconnect(250)
	return map[string]int{"connect ok": 1, "publish plant/*/temp ok": n}
}

func playRabbitMQ(t *testing.T, s service) map[string]int {
	conn, err := amqp.Dial("amqp://guest:guest@" + s.address + "/")
	require.NoError(t, err)
	plain, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, plain.ExchangeDeclare("parcels", "fanout", false, true, false, false, nil))
	confirmed, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, confirmed.Confirm(false))
	const n = 500
	message := amqp.Publishing{Body: []byte(secret), Headers: amqp.Table{secret: secret}}
	for range n {
		require.NoError(t, plain.PublishWithContext(context.Background(), "parcels", secret, false, false, message))
		answer, err := confirmed.PublishWithDeferredConfirmWithContext(context.Background(), "parcels", secret, false, false, message)
		require.NoError(t, err)
		require.True(t, answer.Wait())
	}
	require.NoError(t, conn.Close())
	return map[string]int{"connection.start-ok ok": 1, "connection.open ok": 1, "channel.open ok": 2, "confirm.select ok": 1, "exchange.declare parcels ok": 1,
		"publish parcels ok": 2 * n, "connection.close ok": 1}
}
