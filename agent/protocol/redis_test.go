package protocol

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func resp(words ...string) string {
	out := fmt.Sprintf("*%d\r\n", len(words))
	for _, w := range words {
		out += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
	}
	return out
}

func TestRedisExchanges(t *testing.T) {
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"get", []string{resp("GET", "secret"), "$5\r\nvalue\r\n"}, []string{"GET: ok"}},
		{"lower case, nil", []string{resp("get", "secret"), "$-1\r\n"}, []string{"GET: ok"}},
		{"null of RESP3", []string{resp("get", "secret"), "_\r\n"}, []string{"GET: ok"}},
		{"error", []string{resp("INCR", "k"), "-WRONGTYPE Operation against a key\r\n"}, []string{"INCR: WRONGTYPE!"}},
		{"error of a script", []string{resp("EVAL", "x", "0"), "-MYSECRET hidden\r\n"}, []string{"EVAL: ~other!"}},
		{"bulk error", []string{resp("GET", "k"), "!21\r\nSYNTAX invalid syntax\r\n"}, []string{"GET: SYNTAX!"}},
		{"container", []string{resp("config", "get", "maxmemory"), "*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n"}, []string{"CONFIG GET: ok"}},
		{"container with a value", []string{resp("CONFIG", "hunter2"), "-ERR unknown subcommand\r\n"}, []string{"CONFIG ~other: ERR!"}},
		{"value as command", []string{resp("hunter2", "x"), "-ERR unknown command\r\n"}, []string{"~other: ERR!"}},
		{"long command", []string{resp(strings.Repeat("x", 3000), "x"), "-ERR unknown command\r\n"}, []string{"~other: ERR!"}},
		{"inline", []string{"SET k \"a b\"\r\nget k\n\r\n", "+OK\r\n$3\r\na b\r\n"}, []string{"SET: ok", "GET: ok"}},
		{"pipeline", []string{resp("SET", "a", "b") + resp("GET", "a") + resp("LPUSH", "a", "x"), "+OK\r\n$1\r\nb\r\n-WRONGTYPE x\r\n"}, []string{"SET: ok", "GET: ok", "LPUSH: WRONGTYPE!"}},
		{"transaction", []string{resp("MULTI") + resp("INCR", "n") + resp("LPOP", "n") + resp("EXEC"), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n-WRONGTYPE x\r\n"},
			[]string{"MULTI: ok", "INCR: ok", "LPOP: ok", "EXEC: WRONGTYPE!"}},
		{"nested", []string{resp("XRANGE", "s", "-", "+") + resp("PING"), "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n+PONG\r\n"}, []string{"XRANGE: ok", "PING: ok"}},
		{"empty aggregates", []string{resp("KEYS", "*") + resp("HGETALL", "h") + resp("BLPOP", "l", "0") + resp("PING"), "*0\r\n%0\r\n*-1\r\n+PONG\r\n"}, []string{"KEYS: ok", "HGETALL: ok", "BLPOP: ok", "PING: ok"}},
		{"types of RESP3", []string{resp("HGETALL", "h") + resp("SMEMBERS", "s") + resp("ZSCORE", "z", "m") + resp("INFO") + resp("EXISTS", "b") + resp("GET", "k"),
			"%1\r\n$1\r\na\r\n*1\r\n:1\r\n~2\r\n+a\r\n+b\r\n,1.5\r\n=7\r\ntxt:abc\r\n#t\r\n|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n"}, []string{"HGETALL: ok", "SMEMBERS: ok", "ZSCORE: ok", "INFO: ok", "EXISTS: ok", "GET: ok"}},
		{"pushes are no answers", []string{resp("GET", "a"), ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n$1\r\nv\r\n"}, []string{"GET: ok"}},
		{"subscribe to two", []string{resp("SUBSCRIBE", "a", "b"), "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$1\r\nm\r\n",
			resp("PING"), "*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$1\r\nm\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n", resp("UNSUBSCRIBE"), "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n", resp("GET", "k"), "$1\r\nv\r\n"},
			[]string{"SUBSCRIBE: ok", "PING: ok", "UNSUBSCRIBE: ok", "GET: ok"}},
		{"a list that looks like a message", []string{resp("LRANGE", "l", "0", "-1"), "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n"}, []string{"LRANGE: ok"}},
		{"no replies", []string{resp("CLIENT", "REPLY", "SKIP") + resp("SET", "a", "b") + resp("GET", "a"), "$1\r\nb\r\n"}, []string{"CLIENT REPLY: ~", "SET: ~", "GET: ok"}},
		{"replies off", []string{resp("CLIENT", "REPLY", "OFF") + resp("SET", "a", "b") + resp("CLIENT", "REPLY", "ON") + resp("GET", "a"), "+OK\r\n$1\r\nb\r\n"},
			[]string{"CLIENT REPLY: ~", "SET: ~", "CLIENT REPLY: ok", "GET: ok"}},
		{"replication", []string{resp("PSYNC", "?", "-1"), "+FULLRESYNC 0123456789 1\r\n$5\r\nREDIS" + resp("SET", "a", "b")}, []string{"PSYNC: ok"}},
		{"cut", []string{resp("BLPOP", "l", "0"), ""}, []string{"BLPOP: !cut"}},
		{"joined before an answer", []string{"", "$1\r\nx\r\n", resp("GET", "k"), "$1\r\ny\r\n"}, []string{"GET: ok"}},
		{"large value", []string{resp("SET", "k", strings.Repeat("v", 200000)) + resp("GET", "k"), "+OK\r\n$200000\r\n" + strings.Repeat("v", 200000) + "\r\n"}, []string{"SET: ok", "GET: ok"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chunks := turns(tc.texts...)
			f := talkThrough(t, Redis(), chunks)
			require.Empty(t, f.errors)
			assert.Equal(t, tc.want, f.outcomes())
			for _, n := range []int{1, 3, 50} {
				again := talkThrough(t, Redis(), talkPieces(chunks, n))
				require.Empty(t, again.errors)
				assert.Equal(t, tc.want, again.outcomes(), "in pieces of %d", n)
			}
		})
	}
}

func TestRedisTimesAndSizes(t *testing.T) {
	request, response := resp("GET", "key"), "$100000\r\n"+strings.Repeat("v", 100000)+"\r\n"
	f := talkThrough(t, Redis(), []talkChunk{
		{FromClient, 10, []byte(request[:9])}, {FromClient, 20, []byte(request[9:])},
		{FromServer, 50, []byte(response[:4])}, {FromServer, 60, []byte(response[4:])},
	})
	require.Equal(t, []Exchange{{Operation: "GET", Status: "ok", Begin: 10, End: 60, RequestBytes: int64(len(request)), ResponseBytes: int64(len(response))}}, f.exchanges)
}

func TestRedisPipelineBeyondTheBound(t *testing.T) {
	const n = 3 * MaxWaiting
	f := talkThrough(t, Redis(), turns(strings.Repeat(resp("GET", "k"), n), strings.Repeat("$1\r\nv\r\n", n), resp("SET", "k", "v"), "+OK\r\n"))
	require.Equal(t, map[string]int{"GET: ok": MaxWaiting, "GET: ~": n - MaxWaiting, "SET: ok": 1}, countOutcomes(f.exchanges))
}

func TestRedisHostile(t *testing.T) {
	for _, text := range []string{
		"*99999999999999999999\r\n", "*1\r\n$99999999999999\r\nGET", "*1\r\n:3\r\n", "*1\r\n$-5\r\n", "*1\r\n$3\r\nGETxx", "*" + strings.Repeat("1", 100),
		"\x00\x01\x02", "*1\r\n$3\nGET\r\n", "*1\r\n\r\n", strings.Repeat("x", MaxBuffer+1),
	} {
		require.NotEmpty(t, talkThrough(t, Redis(), turns(text)).errors, "%.40q", text)
	}
	for _, text := range []string{"*1\r\n" + strings.Repeat("*1\r\n", 100), "$5\r\nhelloxx", "@what\r\n", "%9999999999999999\r\n", "*?\r\n", "GET k\r\n"} {
		require.NotEmpty(t, talkThrough(t, Redis(), turns(resp("GET", "k"), text)).errors, "%.40q", text)
	}
}

func TestRedisDetect(t *testing.T) {
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromClient, resp("GET", "k"), Yes}, {FromClient, "*2\r\n$3\r\nGE", Maybe}, {FromClient, "*2\r\n:3\r\n", No}, {FromClient, "SET a b\r\n", Yes},
		{FromClient, "*1\r\n\r\n", No}, {FromServer, "*1\r\n\n", No}, {FromClient, "PING\r\n", Maybe}, {FromClient, "get k\r\n", Maybe}, {FromClient, "GET / HTTP/1.1\r\n", Maybe}, {FromClient, "POST / HTTP/1.1\r\n", No},
		{FromClient, "\x16\x03\x01\x02\x00\x01", No}, {FromServer, "+PONG\r\n", Yes}, {FromServer, "-NOAUTH Authentication required.\r\n", Yes},
		{FromServer, "-ERR 'Unknown Protocol Operation'\r\n", No}, {FromServer, "$3\r\nabc\r\n", Yes}, {FromServer, "$3\r\nabcd\r\n", No},
		{FromServer, "*1\r\n$1\r\na\r\n", Yes}, {FromServer, "+OK\r\n", Maybe}, {FromServer, "HTTP/1.1 200 OK\r\n", No}, {FromServer, "", Maybe},
	} {
		assert.Equal(t, tc.want, Redis().Detect(tc.d, []byte(tc.text)), "%q", tc.text)
	}
}

func startRedis(t *testing.T) string {
	port := loopbackPort(t)
	startProgram(t, "127.0.0.1:"+port, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--requirepass", "mark-password")
	return "127.0.0.1:" + port
}

func TestRedisServer(t *testing.T) {
	target := startRedis(t)
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("resp%d", protocol), func(t *testing.T) {
			x := startTalkProxy(t, target, Redis())
			ctx := context.Background()
			db := redis.NewClient(&redis.Options{Addr: x.addr(), Password: "mark-password", Protocol: protocol, PoolSize: 1, MaxRetries: -1})
			const n = 50
			require.NoError(t, db.FlushAll(ctx).Err())
			for i := range n {
				require.NoError(t, db.Set(ctx, fmt.Sprintf("mark-key%d", i), "mark-value", 0).Err())
				require.NoError(t, db.Get(ctx, fmt.Sprintf("mark-key%d", i)).Err())
				require.ErrorContains(t, db.Incr(ctx, "mark-key0").Err(), "not an integer")
				require.ErrorContains(t, db.LPush(ctx, "mark-key0", "mark").Err(), "WRONGTYPE")
				require.NoError(t, db.HSet(ctx, "mark-hash", "mark-field", i).Err())
				require.NoError(t, db.HGetAll(ctx, "mark-hash").Err())
				require.NoError(t, db.ConfigGet(ctx, "maxmemory").Err())
				require.ErrorContains(t, db.Do(ctx, "mark-command", "mark").Err(), "unknown command")
			}
			_, err := db.TxPipelined(ctx, func(p redis.Pipeliner) error {
				for range n {
					p.SAdd(ctx, "mark-set", "mark-member")
				}
				return nil
			})
			require.NoError(t, err)
			sub := db.Subscribe(ctx, "mark-channel", "mark-other")
			_, err = sub.Receive(ctx)
			require.NoError(t, err)
			for range n {
				require.NoError(t, db.Publish(ctx, "mark-channel", "mark-message").Err())
				_, err = sub.ReceiveMessage(ctx)
				require.NoError(t, err)
			}
			sub.Close()
			db.Close()
			got := countOutcomes(x.finish())
			for operation, want := range map[string]int{"SET: ok": n, "GET: ok": n, "INCR: ERR!": n, "LPUSH: WRONGTYPE!": n, "HSET: ok": n, "HGETALL: ok": n,
				"CONFIG GET: ok": n, "~other: ERR!": n, "SADD: ok": n, "MULTI: ok": 1, "EXEC: ok": 1, "PUBLISH: ok": n, "SUBSCRIBE: ok": 1, "FLUSHALL: ok": 1} {
				assert.Equal(t, want, got[operation], operation)
			}
			for operation := range got {
				assert.NotContains(t, strings.ToLower(operation), "mark")
			}
		})
	}
}

func TestRedisBenchmarkIsCountedExactly(t *testing.T) {
	target := startRedis(t)
	x := startTalkProxy(t, target, Redis())
	host, port, _ := net.SplitHostPort(x.addr())
	out, err := exec.Command("redis-benchmark", "-h", host, "-p", port, "-a", "mark-password", "-n", "20000", "-P", "16", "-c", "8", "-q", "-t", "get").CombinedOutput()
	require.NoError(t, err, string(out))
	got := countOutcomes(x.finish())
	require.Equal(t, 20000, got["GET: ok"], "%v", got)
}

func TestRedisInlineServer(t *testing.T) {
	x := startTalkProxy(t, startRedis(t), Redis())
	conn, err := net.Dial("tcp", x.addr())
	require.NoError(t, err)
	fmt.Fprint(conn, "AUTH mark-password\r\nSET mark-key mark-value\r\nGET mark-key\r\nmark-what\r\nQUIT\r\n")
	buf := make([]byte, 4096)
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for err == nil {
		_, err = conn.Read(buf)
	}
	conn.Close()
	require.Equal(t, map[string]int{"AUTH: ok": 1, "SET: ok": 1, "GET: ok": 1, "~other: ERR!": 1, "QUIT: ok": 1}, countOutcomes(x.finish()))
}

func TestRedisRecordings(t *testing.T) { requireSteady(t, Redis(), "mark") }

func FuzzRedis(f *testing.F) { fuzzConn(f, Redis()) }
