package binary

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// dialogue is connections that are open: it asks n times, and says what that was.
type dialogue func(n int) map[string]int

// play is what a real client asks of a real server. It is run on each wire that both know.
type play struct {
	protocol string
	by       string
	library  string                                   // which the client does TLS with; "": it does none
	server   string                                   // one of servers
	ask      func(*testing.T, service) map[string]int // from the first connection to the last
	open     func(*testing.T, service) dialogue       // the same where connections can be held open; without ask, it is asked for asked times
	older    map[string]string                        // what operations are called on connections that are older than vetch, where it is something else; "": not counted
	times    int                                      // how often a dialogue is asked for; 0: asked
	shared   string                                   // see exchanged
}

// asked is how many times a dialogue is asked for where the play does not say.
const asked = 200

// servers are the real ones. Each serves all plays and wires.
var servers = map[string]struct {
	start   func(testing.TB) service
	library string // which it does TLS with; "": it does none
}{
	"nginx":                    {nginxService, "OpenSSL"},
	"nginx, HTTP/2":            {nginxHTTP2Service, "OpenSSL"},
	"gnutls-serv":              {gnuTLSService, "GnuTLS"},
	"Node.js":                  {nodeService, "OpenSSL in memory"},
	"asyncio":                  {asyncioService, "OpenSSL in memory"},
	"net/http":                 {goHTTP2Service, "Go"},
	"grpc-go":                  {echoService, "Go"},
	"gorilla/websocket":        {chatService, "Go"},
	"Redis":                    {redisService, "OpenSSL"},
	"memcached":                {memcachedService, "OpenSSL"},
	"PostgreSQL":               {postgresService, "OpenSSL"},
	"MariaDB":                  {mariaService, "OpenSSL"},
	"nats-server":              {natsService, "Go"},
	"mosquitto":                {mqttService, "OpenSSL"}, //nolint:misspell // the name of the program
	"RabbitMQ":                 {rabbitService, "Erlang, not seen"},
	"FerretDB":                 {mongoService, "Go"},
	"kfake":                    {kafkaService, "Go"},
	"ZooKeeper":                {zooKeeperService, ""},
	"ZooKeeper on Netty":       {zooKeeperNettyService, "JSSE, where vetch is told to look"},
	"dubbo-go":                 {dubboService, "Go"},
	"go-cassandra-native":      {cassandraService, "Go"},
	"ClickHouse 18.16":         {clickhouseService, "OpenSSL"},
	"a responder of rev 54460": {clickhouseResponder, "Go"},
	"unbound":                  {resolverService, "OpenSSL"},
	"unbound, IPv6":            {resolverService6, ""},
}

var plays = []play{
	{protocol: "http", by: "curl, wget and Python", library: "OpenSSL, GnuTLS", server: "nginx", ask: playNginx},
	{protocol: "http", by: "net/http", library: "Go", server: "nginx", open: openHTTP("/orders/{id} 200", "/missing/{id} 404")},
	{protocol: "http", by: "wget and curl", library: "GnuTLS, OpenSSL", server: "gnutls-serv", ask: playGnuTLS},
	{protocol: "http", by: "Node.js and curl", library: "OpenSSL in memory, OpenSSL", server: "Node.js", ask: playNode},
	{protocol: "http", by: "net/http", library: "Go", server: "Node.js", open: openHTTP("/kept 200", "/no 404", "/long 200")},
	{protocol: "http", by: "asyncio", library: "OpenSSL in memory", server: "asyncio", ask: playAsyncio},
	{protocol: "http", by: "net/http", library: "Go", server: "asyncio", open: openHTTP("/async 200")},
	{protocol: "http2", by: "curl, and h2load with 100 streams at once", library: "OpenSSL", server: "nginx, HTTP/2", ask: playNginxHTTP2},
	{protocol: "http2", by: "net/http, 20 streams at once", library: "Go", server: "net/http", open: openGoHTTP2, shared: "/items"},
	{protocol: "grpc", by: "grpc-go, 100 calls at once", library: "Go", server: "grpc-go", ask: playGRPC, open: openGRPC, older: olderGRPC, shared: "/Unary"},
	{protocol: "websocket", by: "gorilla/websocket", library: "Go", server: "gorilla/websocket", ask: playWebSocket, open: openWebSocket, older: olderWebSocket},
	{protocol: "redis", by: "redis-benchmark, 16 commands at once", library: "OpenSSL", server: "Redis", ask: playRedisBenchmark},
	{protocol: "redis", by: "go-redis", library: "Go", server: "Redis", open: openRedis},
	{protocol: "memcached", by: "gomemcache", library: "Go", server: "memcached", open: openMemcached},
	{protocol: "postgres", by: "pgbench, a connection for each transaction", library: "OpenSSL", server: "PostgreSQL", ask: playPgbenchConnect},
	{protocol: "postgres", by: "pgbench, prepared statements", library: "OpenSSL", server: "PostgreSQL", ask: playPgbenchPrepared},
	{protocol: "postgres", by: "pgx", library: "Go", server: "PostgreSQL", open: openPostgres, older: map[string]string{"INSERT kept ok": "INSERT ok"}},
	{protocol: "mysql", by: "mariadb", library: "OpenSSL", server: "MariaDB", ask: playMariaDB},
	{protocol: "mysql", by: "go-sql-driver, text", library: "Go", server: "MariaDB", open: openMariaDB},
	{protocol: "nats", by: "nats.go", library: "Go", server: "nats-server", open: openNATS},
	{protocol: "mqtt", by: "paho, QoS 1", library: "Go", server: "mosquitto", open: openMQTT}, //nolint:misspell // the name of the program
	{protocol: "amqp", by: "amqp091-go, with and without confirms", library: "Go", server: "RabbitMQ", ask: playRabbitMQ, open: openRabbitMQ, shared: "parcels"},
	{protocol: "mongodb", by: "mongo-driver", library: "Go", server: "FerretDB", ask: playMongoDB, open: openMongoDB},
	{protocol: "kafka", by: "franz-go", library: "Go", server: "kfake", open: openKafka},
	{protocol: "zookeeper", by: "go-zookeeper", server: "ZooKeeper", ask: playZooKeeper, open: openZooKeeper},
	{protocol: "zookeeper", by: "go-zookeeper", library: "Go", server: "ZooKeeper on Netty", ask: playZooKeeper, open: openZooKeeper},
	{protocol: "dubbo", by: "dubbo-go", library: "Go", server: "dubbo-go", open: openDubbo},
	{protocol: "cassandra", by: "gocql, version 3", library: "Go", server: "go-cassandra-native", open: openCassandra("3", "none"), times: 20, older: olderCassandra},
	{protocol: "cassandra", by: "gocql, version 4, Snappy", library: "Go", server: "go-cassandra-native", open: openCassandra("4", "snappy"), times: 20, older: olderCassandra},
	{protocol: "cassandra", by: "gocql, version 4, LZ4", library: "Go", server: "go-cassandra-native", open: openCassandra("4", "lz4"), times: 20, older: olderCassandra},
	{protocol: "cassandra", by: "gocql, version 5", library: "Go", server: "go-cassandra-native", open: openCassandra("5", "none"), times: 20, older: olderCassandra},
	{protocol: "clickhouse", by: "clickhouse-client 18.16", library: "OpenSSL", server: "ClickHouse 18.16", ask: playClickHouseClient},
	{protocol: "clickhouse", by: "clickhouse-go, LZ4", library: "Go", server: "ClickHouse 18.16", open: openClickHouse("clickhouse-go", "lz4")},
	{protocol: "clickhouse", by: "ch-go, ZSTD", library: "Go", server: "a responder of rev 54460", open: openClickHouse("ch-go", "zstd")},
	{protocol: "dns", by: "dig, UDP", server: "unbound", ask: playDig},
	{protocol: "dns", by: "dig, TCP", library: "OpenSSL", server: "unbound", ask: playDigTCP},
	{protocol: "dns", by: "dig, UDP over IPv6", server: "unbound, IPv6", ask: playDig},
	{protocol: "dns", by: "Go's resolver", server: "unbound, IPv6", ask: playGoResolver},
	{protocol: "dns", by: "Go's resolver, one TCP connection", library: "Go", server: "unbound", open: openGoResolver},
}

// wires are those that both ends of a play know.
func (p play) wires(s service) []wire {
	switch {
	case s.encrypted:
		return []wire{inTLS}
	case s.secure == nil || p.library == "":
		return []wire{plain}
	}
	return []wire{plain, inTLS}
}

func (p play) often() int { return cmp.Or(p.times, asked) }

// before runs a play to its end.
func (p play) before(t *testing.T, s service) map[string]int {
	if p.ask != nil {
		return p.ask(t, s)
	}
	return p.open(t, s)(p.often())
}

// exchanged is what a play had of a service.
func (p play) exchanged(s service, want map[string]int) exchanged {
	return exchanged{protocol: p.protocol, by: p.by, server: s.workload, port: s.port(), want: want, shared: p.shared, calls: true, unseen: s.encrypted && strings.HasSuffix(servers[p.server].library, "not seen")}
}

// result is one line of the table.
type result struct {
	play
	wire wire
	want map[string]int
}

// TestProtocols is the matrix: real clients ask real servers in every protocol and on every wire, of a vetch that was there before them and of one that came in the middle of their
// connections, and all of it is found at both ends and on the edge. The guide has the table.
func TestProtocols(t *testing.T) {
	services := startAll(t)
	var early, late []result
	var all []exchanged
	planned := 0
	for _, p := range plays {
		for _, w := range p.wires(services[p.server]) {
			planned++
			t.Run(p.protocol+"/"+p.by+"/"+string(w), func(t *testing.T) {
				s := services[p.server].on(w)
				want := p.before(t, s)
				early = append(early, result{p, w, want})
				all = append(all, p.exchanged(s, want))
			})
		}
	}
	if !t.Failed() {
		checkExchanged(t, built.watchers, all...)
	}
	for _, v := range built.watchers {
		requireNoSecret(t, v)
	}
	t.Run("joined in the middle", func(t *testing.T) { late = joinedInTheMiddle(t, services) })
	if !t.Failed() {
		compareTable(t, len(early) == planned && late != nil, early, late)
	}
}

// startAll starts all servers, and returns when they listen and vetch looks into their TLS.
func startAll(t *testing.T) map[string]service {
	services := map[string]service{}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(servers))) {
		services[name] = servers[name].start(t)
	}
	for name, s := range services {
		s.await(t)
		if part := programOf(servers[name].library, s); part != "" {
			awaitProbed(t, built.watchers, part)
		}
	}
	for _, v := range built.watchers {
		seenJVMs(t, v, zooKeepers)
	}
	return services
}

// programOf is a part of the path of what does the TLS of a server.
func programOf(library string, s service) string {
	switch library {
	case "OpenSSL":
		return "/libssl.so"
	case "GnuTLS":
		return "/libgnutls.so"
	case "Go":
		return "/" + s.secure.workload
	}
	return ""
}

const (
	askedBefore = 20  // times that everything is asked for before vetch comes
	warmth      = 10  // times that everything is asked for until it must be recognised
	askedLate   = 100 // times that it is asked for then
	maxMissed   = 4   // times of those before that may not be counted
)

// joinedInTheMiddle opens connections of all protocols, starts vetch, and asks on. The first calls of such a connection are spent on finding that it is not HTTP; what comes after them
// is counted exactly.
func joinedInTheMiddle(t *testing.T, services map[string]service) []result {
	type joined struct {
		result
		service
		dialogue
	}
	var all []joined
	for _, p := range plays {
		if p.open == nil {
			continue
		}
		for _, w := range p.wires(services[p.server]) {
			s := services[p.server].on(w)
			j := joined{result{play: p, wire: w}, s, p.open(t, s)}
			j.dialogue(askedBefore)
			all = append(all, j)
		}
	}
	var watchers []*vetch
	for _, hook := range hooks() {
		v := watch(t, settings{hook: hook, env: []string{lookIntoZooKeeper()}})
		seenJVMs(t, v, zooKeepers)
		watchers = append(watchers, v)
	}
	ask := func(most int) (done []exchanged) {
		for i := range all {
			j := &all[i]
			j.want = map[string]int{}
			for operation, n := range j.dialogue(min(most, j.often())) {
				if name, renamed := j.older[operation]; renamed {
					operation = name
				}
				if n != anyNumber || j.want[operation] == 0 {
					j.want[operation] += n
				}
			}
			e := j.exchanged(j.service, j.want)
			e.shared, e.older = "", true
			done = append(done, e)
		}
		return done
	}
	warm := ask(warmth)
	before := map[*vetch]scrape{}
	for _, v := range watchers {
		before[v] = settledAfter(t, v, warm)
	}
	if t.Failed() {
		return nil
	}
	checkSince(t, watchers, before, ask(askedLate)...)
	for _, v := range watchers {
		requireNoSecret(t, v)
	}
	var results []result
	for _, j := range all {
		results = append(results, j.result)
	}
	return results
}

// stillness tells that what vetch shows is the same for two seconds and for five of its readings of the kernel.
type stillness struct {
	polls    int
	readings float64 // when it was not the same any more
}

func (s *stillness) lasts(now scrape, same bool) bool {
	readings := now.sum("vetch_digest_snapshots_total", nil)
	if !same {
		*s = stillness{readings: readings}
	}
	s.polls++
	return s.polls > 20 && readings >= s.readings+5
}

// settledAfter waits until most of what was asked on connections that are older than vetch is counted, and no more comes.
func settledAfter(t *testing.T, v *vetch, warm []exchanged) (last scrape) {
	t.Helper()
	var still stillness
	require.NoError(t, poll(t.Context(), func() error {
		now := v.mustRead(t)
		same := last != nil
		for _, e := range warm {
			match, edge := labels{"workload": e.server, "protocol": e.protocol}, labels{"server": e.server, "port": e.port, "protocol": e.protocol}
			same = same && now.sum("vetch_workload_requests_total", match) == last.sum("vetch_workload_requests_total", match) &&
				now.sum("vetch_edge_requests_total", edge) == last.sum("vetch_edge_requests_total", edge)
		}
		last = now
		lasts := still.lasts(now, same)
		var missed []error
		for _, e := range warm {
			missed = append(missed, e.missed(now))
		}
		if err := errors.Join(missed...); err != nil {
			return err
		}
		if !lasts {
			return fmt.Errorf("it goes on")
		}
		return nil
	}), "%s hook", v.hook)
	return last
}

// missed says what of a first round was not counted, or counted too often.
func (e exchanged) missed(s scrape) error {
	sent, least := 0, 0
	for _, n := range e.want {
		sent += max(n, 0)
		least += max(n*(warmth-maxMissed)/warmth, 0)
	}
	edge := s.sum("vetch_edge_requests_total", labels{"server": e.server, "port": e.port, "protocol": e.protocol})
	served := s.sum("vetch_workload_requests_total", labels{"workload": e.server, "protocol": e.protocol})
	if int(edge) < least || !e.unseen && int(served) < least {
		return fmt.Errorf("%s by %s on port %s: of %d, %v at the serving end and %v on the edge", e.protocol, e.by, e.port, sent, served, edge)
	}
	return nil
}
