package protocol

import (
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func amqpFrameOf(kind byte, channel uint16, payload string) string {
	b := binary.BigEndian.AppendUint16([]byte{kind}, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return string(b) + payload + "\xce"
}

// amqpMethodOf makes a method frame on channel 1.
func amqpMethodOf(class, method byte, args ...string) string {
	return amqpFrameOf(amqpMethod, 1, string([]byte{0, class, 0, method})+strings.Join(args, ""))
}

func amqpText(s string) string { return string([]byte{byte(len(s))}) + s }

func amqpTag(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

// amqpMessage makes the header and body frames of a message, the body in pieces of at most 1,000 bytes.
func amqpMessage(body string) string {
	out := amqpFrameOf(amqpHeader, 1, "\x00\x3c\x00\x00"+amqpTag(uint64(len(body)))+"\x00\x00")
	for len(body) > 0 {
		n := min(len(body), 1000)
		out += amqpFrameOf(amqpBody, 1, body[:n])
		body = body[n:]
	}
	return out
}

func TestAMQPExchanges(t *testing.T) {
	publish := amqpMethodOf(60, 40, "\x00\x00", amqpText("orders"), amqpText("mark.key"), "\x00") + amqpMessage("mark-body")
	deliver := func(tag uint64) string {
		return amqpMethodOf(60, 60, amqpText("ctag"), amqpTag(tag), "\x00", amqpText("orders"), amqpText("key")) + amqpMessage("mark")
	}
	consume := amqpMethodOf(60, 20, "\x00\x00", amqpText("jobs"), amqpText("ctag"), "\x00", "\x00\x00\x00\x00")
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"publish", []string{publish + amqpFrameOf(8, 0, "") + publish, amqpFrameOf(8, 0, "")}, []string{"publish orders: ok~", "publish orders: ok~"}},
		{"publish to a queue", []string{amqpMethodOf(60, 40, "\x00\x00", amqpText(""), amqpText("jobs"), "\x00") + amqpMessage("")}, []string{"publish jobs: ok~"}},
		{"publish to a queue that the server named", []string{amqpMethodOf(60, 40, "\x00\x00", amqpText(""), amqpText("amq.gen-Xa2JIkw"), "\x00") + amqpMessage(strings.Repeat("x", 100000))}, []string{"publish amq.gen: ok~"}},
		{"confirms", []string{amqpMethodOf(85, 10, "\x00") + publish + publish + publish + publish, amqpMethodOf(85, 11) + amqpMethodOf(60, 80, amqpTag(2), "\x00") + amqpMethodOf(60, 80, amqpTag(3), "\x01") + amqpMethodOf(60, 120, amqpTag(4), "\x00")},
			[]string{"confirm.select: ok", "publish orders: ok", "publish orders: ok", "publish orders: ok", "publish orders: nacked!"}},
		{"returned", []string{publish, amqpMethodOf(60, 50, "\x01\x38", amqpText("NO_ROUTE"), amqpText("orders"), amqpText("mark.key")) + amqpMessage("mark-body")}, []string{"publish orders: ok~", "return orders: 312!~"}},
		{"consume", []string{consume, amqpMethodOf(60, 21, amqpText("ctag")) + deliver(1) + deliver(2) + deliver(3) + deliver(4), amqpMethodOf(60, 80, amqpTag(2), "\x01") + amqpMethodOf(60, 90, amqpTag(3), "\x01") + amqpMethodOf(60, 120, amqpTag(4), "\x00")},
			[]string{"consume jobs: ok", "deliver jobs: ok~", "deliver jobs: ok~", "deliver jobs: ok~", "deliver jobs: ok~", "ack jobs: ok", "ack jobs: ok", "ack jobs: rejected!", "ack jobs: nacked!"}},
		{"joined late", []string{"", deliver(9), amqpMethodOf(60, 80, amqpTag(9), "\x00"), amqpMethodOf(60, 80, amqpTag(9), "\x00")}, []string{"deliver orders: ok~", "ack orders: ok"}},
		{"get", []string{amqpMethodOf(60, 70, "\x00\x00", amqpText("jobs"), "\x00") + amqpMethodOf(60, 70, "\x00\x00", amqpText("jobs"), "\x00"),
			amqpMethodOf(60, 71, amqpTag(1), "\x00", amqpText(""), amqpText("jobs"), "\x00\x00\x00\x00") + amqpMessage("mark") + amqpMethodOf(60, 72, amqpText("")), amqpMethodOf(60, 80, amqpTag(1), "\x00")},
			[]string{"get jobs: ok", "get jobs: empty", "ack jobs: ok"}},
		{"declare, nothing awaited", []string{amqpMethodOf(50, 10, "\x00\x00", amqpText("jobs"), "\x10", "\x00\x00\x00\x00")}, []string{"queue.declare jobs: ~"}},
		{"channel closed", []string{amqpMethodOf(50, 10, "\x00\x00", amqpText("jobs"), "\x01", "\x00\x00\x00\x00"), amqpMethodOf(20, 40, "\x01\x94", amqpText("NOT_FOUND - no queue 'mark'"), "\x00\x32\x00\x0a"), amqpMethodOf(20, 41)}, []string{"queue.declare jobs: 404!"}},
		{"channel closed by a publish", []string{amqpMethodOf(85, 10, "\x00") + publish, amqpMethodOf(85, 11) + amqpMethodOf(20, 40, "\x01\x94", amqpText("NOT_FOUND"), "\x00\x3c\x00\x28")}, []string{"confirm.select: ok", "channel.close: 404!~", "publish orders: 404!"}},
		{"refused", []string{"AMQP\x00\x00\x09\x01", amqpFrameOf(amqpMethod, 0, "\x00\x0a\x00\x0a\x00\x09"), amqpFrameOf(amqpMethod, 0, "\x00\x0a\x00\x0bPLAIN\x00guest\x00hunter2"), amqpFrameOf(amqpMethod, 0, "\x00\x0a\x00\x32\x01\x93"+amqpText("ACCESS_REFUSED")+"\x00\x00\x00\x00")},
			[]string{"connection.start-ok: 403!"}},
		{"cut", []string{amqpMethodOf(20, 10, "\x00"), ""}, []string{"channel.open: !cut"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chunks := turns(tc.texts...)
			f := talkThrough(t, AMQP(), chunks)
			require.Empty(t, f.errors)
			assert.Equal(t, tc.want, f.outcomes())
			for _, n := range []int{1, 5, 50} {
				again := talkThrough(t, AMQP(), talkPieces(chunks, n))
				require.Empty(t, again.errors)
				assert.Equal(t, tc.want, again.outcomes(), "in pieces of %d", n)
			}
		})
	}
}

func TestAMQPHostile(t *testing.T) {
	for _, text := range []string{"AMQP\x00\x01\x00\x00", "\x09\x00\x00\x00\x00\x00\x00\xce", "\x01\x00\x01\x7f\xff\xff\xff\xff", "\x01\x00\x01\x00\x00\x00\x04\x00\x14\x00\x0axx", "\x08\x00\x01\x00\x00\x00\x00\xce", "\x01\x00\x01\x00\x00\x00\x02xx\xce", "\x16\x03\x01\x00\x00"} {
		require.NotEmpty(t, talkThrough(t, AMQP(), turns(text+strings.Repeat("x", 16))).errors, "%q", text)
	}
	f := newTalk(t, AMQP())
	f.feed(FromClient, []byte(amqpMethodOf(85, 10, "\x00")), 1)
	for i := range 3 * MaxWaiting { // nothing is ever answered, and every consumer and channel has another name
		f.feed(FromClient, []byte(amqpMethodOf(60, 40, "\x00\x00", amqpText("e"), amqpText("k"), "\x00")+amqpMessage("x")), int64(i))
		f.feed(FromClient, []byte(amqpMethodOf(60, 20, "\x00\x00", amqpText("q"), amqpText(decimal(i)), "\x00", "\x00\x00\x00\x00")), int64(i))
		f.feed(FromServer, []byte(amqpMethodOf(60, 60, amqpText("x"), amqpTag(uint64(i)), "\x00", amqpText("e"), amqpText("k"))+amqpMessage("x")), int64(i))
		f.feed(FromClient, []byte(amqpFrameOf(amqpMethod, uint16(i), "\x00\x55\x00\x0a\x00")), int64(i))
	}
	c := f.conn.(*amqpConn)
	require.LessOrEqual(t, len(c.calls), MaxWaiting)
	require.LessOrEqual(t, len(c.published), MaxWaiting)
	require.LessOrEqual(t, len(c.delivered), MaxWaiting)
	require.LessOrEqual(t, len(c.consumers), amqpMaxNames)
	require.LessOrEqual(t, len(c.channels), amqpMaxChannels)
}

func TestAMQPDetect(t *testing.T) {
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromClient, "AMQP\x00\x00\x09\x01", Yes}, {FromClient, "AMQ", Maybe}, {FromClient, "AMQP\x03\x01\x00\x00", No}, {FromServer, amqpMethodOf(10, 10, "\x00\x09"), Yes},
		{FromClient, amqpFrameOf(8, 0, ""), Maybe}, {FromServer, amqpMethodOf(60, 80, amqpTag(1), "\x00"), Yes}, {FromServer, amqpMethodOf(77, 80, amqpTag(1), "\x00"), No},
		{FromClient, "APPEND x", No}, {FromClient, "\x16\x03\x01\x02\x00\x01", No}, {FromServer, "", Maybe},
	} {
		assert.Equal(t, tc.want, AMQP().Detect(tc.d, []byte(tc.text)), "%q", tc.text)
	}
}

// startRabbitMQ runs a broker and the port mapper of its Erlang, both in folders of the test.
func startRabbitMQ(t *testing.T) string {
	port, mapper, dist, dir := loopbackPort(t), loopbackPort(t), loopbackPort(t), t.TempDir()
	startProgram(t, "127.0.0.1:"+mapper, "epmd", "-port", mapper, "-address", "127.0.0.1")
	path, err := exec.LookPath("/usr/lib/rabbitmq/bin/rabbitmq-server")
	require.NoError(t, err, "this test needs the real server: apt-get install rabbitmq-server (see CONTRIBUTING.md)")
	settings := filepath.Join(dir, "rabbitmq.conf")
	require.NoError(t, os.WriteFile(settings, []byte("loopback_users = none\n"), 0o644))
	cmd := exec.Command(path)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "RABBITMQ_HOME="+dir, "RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_CONFIG_FILE="+settings, "RABBITMQ_MNESIA_BASE="+dir, "RABBITMQ_LOG_BASE="+dir, "RABBITMQ_LOGS=-",
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "plugins"), "RABBITMQ_NODENAME=vetch"+port+"@localhost", "RABBITMQ_NODE_PORT="+port, "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_DIST_PORT="+dist, "ERL_EPMD_PORT="+mapper, "ERL_EPMD_ADDRESS=127.0.0.1", "RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"))
	startCommand(t, "127.0.0.1:"+port, cmd)
	return "127.0.0.1:" + port
}

func TestAMQPServer(t *testing.T) {
	x := startTalkProxy(t, startRabbitMQ(t), AMQP())
	ctx := context.Background()
	var conn *amqp.Connection
	var err error
	require.Eventually(t, func() bool { // the port is open before the broker is ready
		conn, err = amqp.Dial("amqp://guest:guest@" + x.addr() + "/")
		return err == nil
	}, time.Minute, 500*time.Millisecond)
	plain, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, plain.ExchangeDeclare("orders", "topic", false, true, false, false, nil))
	_, err = plain.QueueDeclare("jobs", false, true, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, plain.QueueBind("jobs", "mark.#", "orders", false, nil))
	confirmed, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, confirmed.Confirm(false))
	const n = 50
	message := amqp.Publishing{Body: []byte("mark-body"), Headers: amqp.Table{"mark-header": "mark"}}
	for range n {
		require.NoError(t, plain.PublishWithContext(ctx, "orders", "mark.key", false, false, message))
		d, err := confirmed.PublishWithDeferredConfirmWithContext(ctx, "orders", "mark.key", false, false, message)
		require.NoError(t, err)
		require.True(t, d.Wait())
		var got amqp.Delivery
		require.Eventually(t, func() bool { // the plain one may still be on its way
			got, _, err = plain.Get("jobs", false)
			return err == nil && got.Acknowledger != nil
		}, time.Minute, time.Millisecond)
		require.NoError(t, got.Ack(false))
	}
	consumer, err := conn.Channel()
	require.NoError(t, err)
	deliveries, err := consumer.Consume("jobs", "mark-consumer", false, false, false, false, nil)
	require.NoError(t, err)
	for i := range n {
		d := <-deliveries
		if i%2 == 0 {
			require.NoError(t, d.Ack(false))
		} else {
			require.NoError(t, d.Reject(false))
		}
	}
	require.NoError(t, consumer.Cancel("mark-consumer", false))
	_, err = plain.QueueDeclarePassive("missing", false, false, false, false, nil)
	require.ErrorContains(t, err, "404")
	require.NoError(t, conn.Close())
	_, err = amqp.Dial("amqp://guest:mark-wrong@" + x.addr() + "/")
	require.Error(t, err)
	got := countOutcomes(x.finish())
	for operation, want := range map[string]int{"connection.start-ok: ok": 1, "connection.start-ok: !cut": 1, // a client that does not announce authentication_failure_close is only cut off
		"connection.open: ok": 1, "channel.open: ok": 3, "exchange.declare orders: ok": 1, "queue.declare jobs: ok": 1, "queue.bind jobs: ok": 1,
		"confirm.select: ok": 1, "publish orders: ok~": n, "publish orders: ok": n, "get jobs: ok": n, "ack jobs: ok": n + n/2, "ack jobs: rejected!": n / 2, "consume jobs: ok": 1, "deliver jobs: ok~": n,
		"basic.cancel: ok": 1, "queue.declare missing: 404!": 1, "connection.close: ok": 1} {
		assert.Equal(t, want, got[operation], operation)
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestAMQPRecordings(t *testing.T) { requireSteady(t, AMQP(), "mark") }

func FuzzAMQP(f *testing.F) { fuzzConn(f, AMQP()) }
