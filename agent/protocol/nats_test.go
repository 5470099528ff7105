package protocol

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNATSExchanges(t *testing.T) {
	const info, connect = "INFO {\"server_id\":\"x\"}\r\n", "CONNECT {\"verbose\":false,\"pass\":\"hunter2\"}\r\nPING\r\n"
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"connect", []string{"", info, connect, "PONG\r\nPING\r\n", "PONG\r\n"}, []string{"connect: ok"}},
		{"refused", []string{"", info, connect, "-ERR 'Authorization Violation'\r\n"}, []string{"connect: authorization_violation!"}},
		{"publish", []string{"PUB orders.eu.12345 5\r\nPUB x\r\npub a\t0\r\n\r\nHPUB a.b 22 24\r\nNATS/1.0\r\nBar: Baz\r\n\r\nhi\r\n"}, []string{"publish orders.eu.*: ok~", "publish a: ok~", "publish a.b: ok~"}},
		{"subscribe, deliver", []string{"SUB orders.> workers 1\r\nUNSUB 1 5\r\n", "MSG orders.eu 1 2\r\nhi\r\nHMSG orders.eu 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"},
			[]string{"subscribe orders.>: ok~", "unsubscribe: ok~", "deliver orders.eu: ok~", "deliver orders.eu: ok~"}},
		{"request", []string{"PUB time.now _INBOX.abc.1 0\r\n\r\nPUB time.now _INBOX.abc.2 0\r\n\r\n", "MSG _INBOX.abc.2 1 1\r\nx\r\nMSG _INBOX.abc.1 1 1\r\nx\r\nMSG _INBOX.abc.1 1 1\r\nx\r\n"},
			[]string{"request time.now: ok", "request time.now: ok", "deliver _INBOX.*: ok~"}},
		{"nobody listens", []string{"PUB time.now _INBOX.abc.1 0\r\n\r\n", "HMSG _INBOX.abc.1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"}, []string{"request time.now: 503!"}},
		{"reply", []string{"", "MSG time.now 1 _INBOX.q.1 0\r\n\r\n", "PUB _INBOX.q.1 2\r\nhi\r\n"}, []string{"deliver time.now: ok~", "reply time.now: ok"}},
		{"refused acknowledgement", []string{"", "MSG orders 1 $JS.ACK.s.c.1.2.3 0\r\n\r\n", "PUB $JS.ACK.s.c.1.2.3 4\r\n-NAK\r\n"}, []string{"deliver orders: ok~", "reply orders: nak!"}},
		{"verbose", []string{"CONNECT {\"verbose\": true}\r\nPUB a 1\r\nx\r\nSUB b 1\r\n", "+OK\r\n+OK\r\n-ERR 'Permissions Violation for Subscription to \"b\"'\r\n"},
			[]string{"connect: ok", "publish a: ok", "subscribe b: permissions_violation!"}},
		{"error alone", []string{"PUB a 1\r\nx\r\n", "-ERR 'Permissions Violation for Publish to \"hunter2\"'\r\n"}, []string{"publish a: ok~", "-ERR: permissions_violation!~"}},
		{"cut", []string{"PUB a _INBOX.x 1\r\nx\r\n", ""}, []string{"request a: !cut"}},
		{"large", []string{"PUB a 500000\r\n" + strings.Repeat("x", 500000) + "\r\nPUB a 1\r\nx\r\n"}, []string{"publish a: ok~", "publish a: ok~"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chunks := turns(tc.texts...)
			f := talkThrough(t, NATS(), chunks)
			require.Empty(t, f.errors)
			assert.Equal(t, tc.want, f.outcomes())
			for _, n := range []int{1, 5, 50} {
				again := talkThrough(t, NATS(), talkPieces(chunks, n))
				require.Empty(t, again.errors)
				assert.Equal(t, tc.want, again.outcomes(), "in pieces of %d", n)
			}
		})
	}
}

func TestNATSRequestsAreBounded(t *testing.T) {
	var text strings.Builder
	for i := range 3 * MaxWaiting {
		fmt.Fprintf(&text, "PUB a _INBOX.%d 0\r\n\r\n", i)
	}
	f := newTalk(t, NATS())
	for _, c := range talkPieces(turns(text.String()), 1000) {
		f.feed(c.from, c.data, c.at)
	}
	require.Len(t, f.conn.(*natsConn).requests.values, MaxWaiting)
	f.feed(FromServer, []byte(fmt.Sprintf("MSG _INBOX.%d 1 0\r\n\r\n", 3*MaxWaiting-1)), 1e9)
	f.close(2e9)
	require.Equal(t, map[string]int{"request a: ~": 2 * MaxWaiting, "request a: ok": 1, "request a: !cut": MaxWaiting - 1}, countOutcomes(f.exchanges))
}

func TestFoldName(t *testing.T) {
	for name, want := range map[string]string{
		"orders": "orders", "orders.eu-west-1.new": "orders.eu-west-1.new", "orders.12345": "orders.*", "v1.s3": "v1.s3", "user.550e8400-e29b-41d4-a716-446655440000.x": "user.*.x",
		"a.deadbeefcafe1234": "a.*", "_INBOX.abcDEF123.4": "_INBOX.*", "mail.john@example.com": "mail.*.com", "x.>": "x.>", "$JS.API.INFO": "$JS.API.INFO", "$JS.ACK.s.c.1.2.3": "$JS.ACK.s.c.*.*.*",
		"a.b.c.d.e.f.g.h.i.j": "a.b.c.d.e.f.g.h.~", strings.Repeat("a", 200): "*", "": "", "a..b": "a..b", "pod-7d9f8b6c5-x2x4z": "*", "\xff\x00": "*",
	} {
		assert.Equal(t, want, foldName([]byte(name), '.'), name)
	}
}

func TestNATSHostile(t *testing.T) {
	for _, text := range []string{"PUB a 99999999999999999999\r\n", "PUB a -1\r\n", "PUB\r\n", "PUB 5\r\n12345\r\n", "PUB a 2\r\nhixx", "NOPE a\r\n", "\x16\x03\x01", "PUB " + strings.Repeat("a", MaxBuffer)} {
		require.NotEmpty(t, talkThrough(t, NATS(), turns(text)).errors, "%.40q", text)
	}
}

func TestNATSDetect(t *testing.T) {
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromServer, "INFO {\"server_id\":\"x\"", Yes}, {FromServer, "INFO ", Maybe}, {FromClient, "INFO {", No}, {FromClient, "CONNECT {\"verbose\":false", Yes},
		{FromClient, "CONNECT example.com:443 HTTP/1.1\r\n", No}, {FromClient, "PUB a 2\r\nhi\r\n", Yes}, {FromClient, "PUB a 2\r\n", Maybe}, {FromClient, "PUBLISH a b\r\n", No},
		{FromClient, "PING\r\n", Maybe}, {FromServer, "PONG\r\n", Yes}, {FromServer, "+OK\r\n", Maybe}, {FromServer, "-ERR unknown command\r\n", No}, {FromServer, "-ERR 'Slow Consumer'\r\n", Yes},
		{FromServer, "MSG a 1 2\r\nhi\r\n", Yes}, {FromServer, "MSG a 1 2\r\nhixx", No}, {FromClient, "SUB a 1\r\n", Yes}, {FromClient, "SUBSCRIBE a\r\n", No}, {FromClient, "GET / HTTP/1.1\r\n", No},
	} {
		assert.Equal(t, tc.want, NATS().Detect(tc.d, []byte(tc.text)), "%q", tc.text)
	}
}

func TestNATSServer(t *testing.T) {
	port := loopbackPort(t)
	startProgram(t, "127.0.0.1:"+port, "nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd", t.TempDir(), "--user", "u", "--pass", "mark-password")
	x := startTalkProxy(t, "127.0.0.1:"+port, NATS())
	url := "nats://u:mark-password@" + x.addr()
	const n = 50
	server, err := nats.Connect(url)
	require.NoError(t, err)
	_, err = server.Subscribe("time.now", func(m *nats.Msg) { m.Respond([]byte("mark-reply")) })
	require.NoError(t, err)
	require.NoError(t, server.Flush())
	client, err := nats.Connect(url)
	require.NoError(t, err)
	sub, err := client.SubscribeSync("orders.*")
	require.NoError(t, err)
	for i := range n {
		require.NoError(t, client.Publish(fmt.Sprintf("orders.%d", 1000+i), []byte("mark-value\r\nPUB mark 1")))
		_, err = sub.NextMsg(5 * time.Second)
		require.NoError(t, err)
		_, err = client.Request("time.now", []byte("mark-question"), 5*time.Second)
		require.NoError(t, err)
		_, err = client.Request("nobody.here", []byte("mark"), 5*time.Second)
		require.ErrorIs(t, err, nats.ErrNoResponders)
	}
	js, err := client.JetStream()
	require.NoError(t, err)
	_, err = js.AddStream(&nats.StreamConfig{Name: "JOBS", Subjects: []string{"jobs.>"}})
	require.NoError(t, err)
	for range n {
		_, err = js.Publish("jobs.new", []byte("mark-job"))
		require.NoError(t, err)
	}
	client.Close()
	server.Close()
	_, err = nats.Connect("nats://u:mark-wrong@" + x.addr())
	require.Error(t, err)
	exchanges := x.finish()
	got := countOutcomes(exchanges)
	for operation, want := range map[string]int{"connect: ok": 2, "connect: authorization_violation!": 1, "subscribe time.now: ok~": 1, "subscribe orders.*: ok~": 1, "publish orders.*: ok~": n,
		"deliver orders.*: ok~": n, "request time.now: ok": n, "deliver time.now: ok~": n, "reply time.now: ok": n, "request nobody.here: 503!": n, "request jobs.new: ok": n,
		"request $JS.API.STREAM.CREATE.JOBS: ok": 1} {
		assert.Equal(t, want, got[operation], operation)
	}
	for _, e := range exchanges {
		assert.NotContains(t, e.Operation+e.Status, "mark")
		if strings.HasPrefix(e.Operation, "request") {
			assert.Greater(t, e.End, e.Begin)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestNATSRecordings(t *testing.T) { requireSteady(t, NATS(), "mark") }

func FuzzNATS(f *testing.F) { fuzzConn(f, NATS()) }
