package protocol

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mqttPacketOf makes a control packet of a first byte and parts of its body.
func mqttPacketOf(first byte, parts ...string) string {
	body := strings.Join(parts, "")
	out := []byte{first}
	for n := len(body); ; {
		b := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			b |= 0x80
		}
		if out = append(out, b); n == 0 {
			return string(out) + body
		}
	}
}

func mqttText(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }

func TestMQTTExchanges(t *testing.T) {
	connect4 := mqttPacketOf(0x10, mqttText("MQTT"), "\x04\xc2\x00\x3c", mqttText("client"), mqttText("user"), mqttText("hunter2"))
	connect5 := mqttPacketOf(0x10, mqttText("MQTT"), "\x05\x02\x00\x3c\x00", mqttText("client"))
	connack := mqttPacketOf(0x20, "\x00\x00")
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"connect and ping", []string{connect4, connack, "\xc0\x00", "\xd0\x00", "\xe0\x00"}, []string{"connect: ok"}},
		{"refused", []string{connect4, mqttPacketOf(0x20, "\x00\x05")}, []string{"connect: not_authorized!"}},
		{"refused, version 5", []string{connect5, mqttPacketOf(0x20, "\x00\x87\x00")}, []string{"connect: not_authorized!"}},
		{"QoS 0", []string{mqttPacketOf(0x30, mqttText("plant/line1/4711"), "hello"), ""}, []string{"publish plant/line1/*: ok~"}},
		{"QoS 1", []string{mqttPacketOf(0x32, mqttText("abc"), "\x00\x07", "hello"), "\x40\x02\x00\x07"}, []string{"publish abc: ok"}},
		{"QoS 1, refused", []string{mqttPacketOf(0x32, mqttText("abc"), "\x00\x07", "hello"), "\x40\x04\x00\x07\x97\x00"}, []string{"publish abc: quota_exceeded!"}},
		{"QoS 1, nobody subscribed", []string{mqttPacketOf(0x32, mqttText("abc"), "\x00\x07", "hello"), "\x40\x03\x00\x07\x10"}, []string{"publish abc: ok"}},
		{"QoS 2", []string{mqttPacketOf(0x34, mqttText("abc"), "\x00\x07", "hello"), "\x50\x02\x00\x07", "\x62\x02\x00\x07", "\x70\x02\x00\x07"}, []string{"publish abc: ok"}},
		{"QoS 2, refused", []string{mqttPacketOf(0x34, mqttText("abc"), "\x00\x07", "hello"), "\x50\x03\x00\x07\x87"}, []string{"publish abc: not_authorized!"}},
		{"deliver", []string{"", mqttPacketOf(0x30, mqttText("abc"), "x") + mqttPacketOf(0x32, mqttText("abc"), "\x00\x07", "x") + mqttPacketOf(0x34, mqttText("abd"), "\x00\x08", "x"), "\x40\x02\x00\x07\x50\x02\x00\x08", "\x62\x02\x00\x08", "\x70\x02\x00\x08"},
			[]string{"deliver abc: ok~", "deliver abc: ok", "deliver abd: ok"}},
		{"same identifier both ways", []string{mqttPacketOf(0x32, mqttText("mine"), "\x00\x07", "x"), mqttPacketOf(0x32, mqttText("yours"), "\x00\x07", "x"), "\x40\x02\x00\x07", "\x40\x02\x00\x07"}, []string{"deliver yours: ok", "publish mine: ok"}},
		{"subscribe", []string{mqttPacketOf(0x82, "\x00\x01", mqttText("plant/+/temp"), "\x01", mqttText("b/#"), "\x00") + mqttPacketOf(0xa2, "\x00\x02", mqttText("b/#")), mqttPacketOf(0x90, "\x00\x01\x01\x80") + "\xb0\x02\x00\x02"},
			[]string{"subscribe plant/+/temp: unspecified_error!", "unsubscribe b/#: ok"}},
		{"subscribe, version 5", []string{connect5, mqttPacketOf(0x20, "\x00\x00\x00"), mqttPacketOf(0x82, "\x00\x01\x02\x0b\x05", mqttText("abc"), "\x01"), mqttPacketOf(0x90, "\x00\x01\x00\x01")}, []string{"connect: ok", "subscribe abc: ok"}},
		{"subscribe, version 5, joined late", []string{mqttPacketOf(0x82, "\x00\x01\x02\x0b\x05", mqttText("abc"), "\x01"), mqttPacketOf(0x90, "\x00\x01\x00\x87")}, []string{"subscribe abc: not_authorized!"}},
		{"alias", []string{connect5, mqttPacketOf(0x20, "\x00\x00\x00"), mqttPacketOf(0x30, mqttText("abc"), "\x03\x23\x00\x01", "x") + mqttPacketOf(0x30, mqttText(""), "\x0a\x26\x00\x01a\x00\x01b\x23\x00\x01", "x") + mqttPacketOf(0x30, mqttText(""), "\x03\x23\x00\x09", "x"), ""},
			[]string{"connect: ok", "publish abc: ok~", "publish abc: ok~", "publish ~other: ok~"}},
		{"thrown out", []string{connect5, mqttPacketOf(0x20, "\x00\x00\x00") + "\xe0\x02\x8e\x00"}, []string{"connect: ok", "disconnect: session_taken_over!~"}},
		{"large", []string{mqttPacketOf(0x32, mqttText("abc"), "\x00\x07", strings.Repeat("x", 300000)) + mqttPacketOf(0x30, mqttText("abc"), "x"), "\x40\x02\x00\x07"}, []string{"publish abc: ok~", "publish abc: ok"}},
		{"cut", []string{mqttPacketOf(0x32, mqttText("abc"), "\x00\x07", "x"), ""}, []string{"publish abc: !cut"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chunks := turns(tc.texts...)
			f := talkThrough(t, MQTT(), chunks)
			require.Empty(t, f.errors)
			assert.Equal(t, tc.want, f.outcomes())
			for _, n := range []int{1, 5, 50} {
				again := talkThrough(t, MQTT(), talkPieces(chunks, n))
				require.Empty(t, again.errors)
				assert.Equal(t, tc.want, again.outcomes(), "in pieces of %d", n)
			}
		})
	}
}

// TestMQTTOlder: what publishes only is answered by acknowledgements alone, and both ends may read the head of a packet byte by byte.
func TestMQTTOlder(t *testing.T) {
	for _, split := range []int{1, 4} { // calls in which a head is read
		w := &wire{t: t, s: NewStreams([]Protocol{Redis(), MQTT()}), id: StreamID{1, 2}, pair: 7, old: true}
		say := func(d Direction, packet string) {
			for range split - 1 {
				w.say(d, packet[:1])
				packet = packet[1:]
			}
			w.say(d, packet)
		}
		say(FromServer, "\x40\x02\x00\x06") // to something that was said before
		const n = 20
		for i := range n {
			id := string([]byte{0, byte(7 + i)})
			say(FromClient, mqttPacketOf(0x32, mqttText("plant/line1/4711"), id, "hello"))
			say(FromServer, "\x40\x02"+id)
		}
		wantTallies(t, w.tallies(), map[string]uint64{"7 mqtt publish plant/line1/* ok false": n})
	}
}

func TestMQTTHostile(t *testing.T) {
	for _, text := range []string{"\x00\x00", "\x30\xff\xff\xff\xff\x01", "\x36\x05\x00\x01a\x00\x01", "\x30\x02\xff\xff", "\x30\x05\x00\x03a\x00b", "\x10\x01\x00", "\x80\x05", "\x20\x02\x00\x00", "\x16\x03\x01\x02\x00"} {
		require.NotEmpty(t, talkThrough(t, MQTT(), turns(text)).errors, "%q", text)
	}
	f := newTalk(t, MQTT())
	for i := range 3 * MaxWaiting { // a client that is never answered, and one that sets every alias
		f.feed(FromClient, []byte(mqttPacketOf(0x32, mqttText(""), string([]byte{byte(i >> 8), byte(i)}), "\x03\x23", string([]byte{byte(i >> 8), byte(i)}))), int64(i))
	}
	require.LessOrEqual(t, len(f.conn.(*mqttConn).waiting.values), MaxWaiting)
	require.LessOrEqual(t, len(f.conn.(*mqttConn).waiting.order), 2*MaxWaiting)
}

func TestMQTTDetect(t *testing.T) {
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromClient, mqttPacketOf(0x10, mqttText("MQTT"), "\x04\x02\x00\x3c", mqttText("c")), Yes}, {FromClient, "\x10\x0d\x00", Maybe}, {FromClient, "\x10\x0d\x00\x04HTTP\x04\x02", No},
		{FromServer, "\x20\x02\x00\x00", Maybe}, {FromClient, mqttPacketOf(0x30, mqttText("abc"), "x"), Yes}, {FromServer, mqttPacketOf(0x30, mqttText("abc"), "x") + "\xd0\x00", Yes},
		{FromClient, "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03", No}, {FromClient, "GET / HTTP/1.1\r\n", No}, {FromClient, "\x16\x03\x01\x02\x00\x01", No}, {FromClient, "", Maybe}, {FromClient, "\xc0\x00", Maybe},
		{FromClient, mqttPacketOf(0x82, "\x00\x01", mqttText("abc"), "\x01"), Yes},
	} {
		assert.Equal(t, tc.want, MQTT().Detect(tc.d, []byte(tc.text)), "%q", tc.text)
	}
}

func startMosquitto(t *testing.T) string {
	port, dir := loopbackPort(t), t.TempDir()
	passwords, settings := filepath.Join(dir, "passwords"), filepath.Join(dir, "settings")
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755)) // the broker gives up root
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.WriteFile(passwords, nil, 0o644))
	out, err := exec.Command("mosquitto_passwd", "-b", passwords, "user", "mark-password").CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, os.Chmod(passwords, 0o644))
	require.NoError(t, os.WriteFile(settings, []byte("listener "+port+" 127.0.0.1\nallow_anonymous false\npassword_file "+passwords+"\n"), 0o644))
	startProgram(t, "127.0.0.1:"+port, "mosquitto", "-c", settings)
	return "127.0.0.1:" + port
}

func TestMQTTServer(t *testing.T) {
	x := startTalkProxy(t, startMosquitto(t), MQTT())
	options := mqtt.NewClientOptions().AddBroker("tcp://" + x.addr()).SetClientID("mark-client").SetUsername("user").SetPassword("mark-password").SetProtocolVersion(4).SetAutoReconnect(false)
	client := mqtt.NewClient(options)
	wait := func(token mqtt.Token) {
		t.Helper()
		require.True(t, token.WaitTimeout(5*time.Second))
		require.NoError(t, token.Error())
	}
	wait(client.Connect())
	const n = 50
	got := make(chan struct{}, 3*n)
	wait(client.Subscribe("plant/+/temp", 2, func(mqtt.Client, mqtt.Message) { got <- struct{}{} }))
	for i := range n {
		for qos := range 3 {
			wait(client.Publish(fmt.Sprintf("plant/%d/temp", 1000+i), byte(qos), false, "mark-value"))
		}
	}
	for range 3 * n {
		select {
		case <-got:
		case <-time.After(5 * time.Second):
			t.Fatal("a message did not come")
		}
	}
	wait(client.Unsubscribe("plant/+/temp"))
	client.Disconnect(250)
	refused := mqtt.NewClient(options.SetPassword("mark-wrong"))
	require.True(t, refused.Connect().WaitTimeout(5*time.Second))
	require.Equal(t, map[string]int{"connect: ok": 1, "connect: not_authorized!": 1, "subscribe plant/+/temp: ok": 1, "unsubscribe plant/+/temp: ok": 1,
		"publish plant/*/temp: ok~": n, "publish plant/*/temp: ok": 2 * n, "deliver plant/*/temp: ok~": n, "deliver plant/*/temp: ok": 2 * n}, countOutcomes(x.finish()))
}

func TestMQTTServerVersion5(t *testing.T) {
	x := startTalkProxy(t, startMosquitto(t), MQTT())
	const n = 5
	for range n {
		out, err := exec.Command("mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", x.port(), "-u", "user", "-P", "mark-password", "-q", "1", "-t", "orders/new", "-m", "mark-value",
			"-D", "publish", "user-property", "mark-a", "mark-b", "-D", "connect", "session-expiry-interval", "10").CombinedOutput()
		require.NoError(t, err, string(out))
	}
	sub := exec.Command("mosquitto_sub", "-V", "5", "-h", "127.0.0.1", "-p", x.port(), "-u", "user", "-P", "mark-password", "-q", "2", "-t", "orders/#", "-C", "1", "-W", "10")
	require.NoError(t, sub.Start())
	require.Eventually(t, func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.feeders) == n+1 && len(x.feeders[n].exchanges) == 2 // connect, subscribe
	}, time.Minute, 10*time.Millisecond)
	out, err := exec.Command("mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", x.port(), "-u", "user", "-P", "mark-password", "-q", "2", "-t", "orders/new", "-m", "mark-value").CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, sub.Wait())
	err = exec.Command("mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", x.port(), "-u", "user", "-P", "mark-wrong", "-t", "orders/new", "-m", "x").Run()
	require.Error(t, err)
	got := countOutcomes(x.finish())
	assert.Equal(t, n+1, got["publish orders/new: ok"], "%v", got)
	assert.Equal(t, n+2, got["connect: ok"])
	assert.Equal(t, 1, got["connect: not_authorized!"])
	assert.Equal(t, 1, got["subscribe orders/#: ok"])
	assert.Equal(t, 1, got["deliver orders/new: ok"])
}

func TestMQTTRecordings(t *testing.T) { requireSteady(t, MQTT(), "mark") }

func FuzzMQTT(f *testing.F) { fuzzConn(f, MQTT()) }
