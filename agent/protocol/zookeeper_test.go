package protocol

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// jute writes a packet: int32, int64, bool, strings and raw bytes, with its length before it.
func jute(parts ...any) string {
	var b []byte
	for _, part := range parts {
		switch v := part.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(int32(v)))
		case int64:
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		case bool:
			b = append(b, map[bool]byte{true: 1}[v])
		case string:
			b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
			b = append(b, v...)
		case []byte:
			b = append(b, v...)
		}
	}
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + string(b)
}

var (
	zooPass     = strings.Repeat("\x00", 16)
	zooHello    = jute(0, int64(0), 10000, int64(0), zooPass, false)
	zooWelcome  = jute(0, 10000, int64(0x1234), "0123456789abcdef", false)
	zooFirstOK  = jute(1, int64(7), 0)
	zooNoSuch   = jute(1, int64(7), -101)
	zooPingText = jute(-2, 11)
	zooPongText = jute(-2, int64(9), 0)
)

// zooResults is the body of an answer to a multi that failed.
func zooResults(codes ...int) []byte {
	var b []byte
	for _, code := range codes {
		b = append(b, jute(-1, false, code, code)[4:]...)
	}
	return append(b, jute(-1, true, -1)[4:]...)
}

func TestZooKeeperExchanges(t *testing.T) {
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"connect", []string{zooHello, zooWelcome}, []string{"connect: ok"}},
		{"connect without the flag", []string{jute(0, int64(0), 10000, int64(0), zooPass), jute(0, 10000, int64(1), zooPass)}, []string{"connect: ok"}},
		{"expired", []string{zooHello, jute(0, 0, int64(0), zooPass, false)}, []string{"connect: SESSIONEXPIRED!"}},
		{"connect cut", []string{zooHello}, []string{"connect: !cut"}},
		{"getData", []string{zooHello, zooWelcome, jute(1, 4, "/brokers/ids/0", true), jute(1, int64(7), 0, "hunter2")}, []string{"connect: ok", "getData /brokers/ids: ok"}},
		{"no node", []string{jute(1, 4, "/a", false), zooNoSuch}, []string{"getData /a: NONODE!"}},
		{"exists or not", []string{jute(1, 3, "/config/topics/hunter2", false), zooNoSuch}, []string{"exists /config/topics: NONODE"}},
		{"ids are folded", []string{jute(1, 1, "/locks/550e8400-e29b-41d4-a716-446655440000/x", "hunter2", 1, 31, "world", "anyone", 0), zooFirstOK}, []string{"create /locks/*: ok"}},
		{"the root", []string{jute(1, 8, "/", false), zooFirstOK}, []string{"getChildren /: ok"}},
		{"no path", []string{jute(1, 4, -1, false), zooFirstOK}, []string{"getData: ok"}},
		{"pipelined", []string{jute(1, 5, "/a/b", "hunter2", -1) + jute(2, 9, "/a") + zooPingText + jute(3, 2, "/a/b", -1), zooPongText + zooFirstOK + jute(2, int64(7), -4) + jute(3, int64(7), -111)},
			[]string{"ping: ok", "setData /a/b: ok", "sync /a: CONNECTIONLOSS!", "delete /a/b: NOTEMPTY!"}},
		{"auth", []string{jute(-4, 100, 0, "digest", "user:hunter2") + jute(-4, 100, 0, "hunter2", "x"), jute(-4, int64(0), 0) + jute(-4, int64(0), -115)}, []string{"auth digest: ok", "auth ~other: AUTHFAILED!"}},
		{"watch", []string{jute(-8, 101, int64(1), 1, "/a/b", 0, 0), jute(-8, int64(7), 0) + jute(-1, int64(-1), 0, 3, 3, "/a/b/hunter2")}, []string{"setWatches: ok", "notification /a/b: ok~"}},
		{"multi", []string{jute(1, 14, 1, false, -1, "/a", "x", 0, 0, true, -1), jute(1, int64(7), 0, 1, false, 0, "/a", -1, true, -1)}, []string{"multi: ok"}},
		{"multi that fails", []string{jute(1, 14, 1, false, -1, "/a", "x", 0, 0, true, -1), jute(1, int64(7), 0, zooResults(0, -103, -2))}, []string{"multi: BADVERSION!"}},
		{"closed", []string{jute(1, -11), zooFirstOK}, []string{"closeSession: ok"}},
		{"later versions", []string{jute(1, 200) + jute(2, 107), zooFirstOK + jute(2, int64(7), -999)}, []string{"~other: ok", "whoAmI: ~other!"}},
		{"large", []string{jute(1, 5, "/a", strings.Repeat("x", 500000), -1) + jute(2, 4, "/b", false), zooFirstOK + jute(2, int64(7), 0, strings.Repeat("y", 500000))}, []string{"setData /a: ok", "getData /b: ok"}},
		{"cut", []string{jute(1, 4, "/a", false) + zooPingText}, []string{"getData /a: !cut", "ping: !cut"}},
		{"four letters", []string{"ruok", "imok"}, []string{"ruok: ok"}},
		{"four letters typed", []string{"stat\r\n", "Zookeeper version: 3.8.0\nClients:\n /127.0.0.1:1[0](queued=0)\n"}, []string{"stat: ok"}},
		{"four letters refused", []string{"dump\n", "dump is not executed because it is not in the whitelist.\n"}, []string{"dump: not_allowed!"}},
		{"not serving", []string{"mntr", "This ZooKeeper instance is not currently serving requests\n"}, []string{"mntr: not_serving!"}},
		{"four letters without answer", []string{"isro"}, []string{"isro: !cut"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chunks := turns(tc.texts...)
			for _, n := range []int{1 << 20, 1, 2, 3, 5, 50} {
				f := talkThrough(t, ZooKeeper(), talkPieces(chunks, n))
				require.Empty(t, f.errors)
				assert.Equal(t, tc.want, f.outcomes(), "in pieces of %d", n)
			}
		})
	}
}

func TestZooKeeperHostile(t *testing.T) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\n", jute(1), jute(1, 0), jute(1, -1), jute(-3, 4, "/a"), jute(-2, 4, "/a"), jute(1, 4, 1000, "/a"), jute(1, 4, -2), "\x7f\xff\xff\xff\x00\x00\x00\x01\x00\x00\x00\x04",
		"\xff\xff\xff\xff\x00\x00\x00\x01\x00\x00\x00\x04", jute(1, 1<<30, "/a"), jute(1, 4), jute(-4, 100, 0),
	} {
		require.NotEmpty(t, talkThrough(t, ZooKeeper(), turns(text+strings.Repeat("\x00", 20))).errors, "%.40q", text)
	}
	for _, text := range []string{jute(1, int64(7), 5), jute(1, int64(7), -5000), jute(-3, int64(7), 0), jute(1, int64(7)), jute(-1, int64(-1), 0, 3, 3, 1000)} {
		require.NotEmpty(t, talkThrough(t, ZooKeeper(), turns("", text+strings.Repeat("\x00", 20))).errors, "%.40q", text)
	}
	require.NotEmpty(t, talkThrough(t, ZooKeeper(), turns(zooHello, zooFirstOK+zooFirstOK)).errors, "no answer to connect")
}

func TestZooKeeperRequestsAreBounded(t *testing.T) {
	f := newTalk(t, ZooKeeper())
	for i := range 3 * MaxWaiting {
		f.feed(FromClient, []byte(jute(1+i, 4, "/a", false)), 1)
		f.feed(FromClient, []byte(zooPingText), 1)
	}
	c := f.conn.(*zooConn)
	require.Len(t, c.waiting.values, MaxWaiting)
	require.Len(t, c.pings.items, MaxWaiting)
	f.feed(FromServer, []byte(jute(3*MaxWaiting, int64(7), 0)+zooPongText), 2)
	f.close(3)
	require.Equal(t, map[string]int{"getData /a: ~": 2 * MaxWaiting, "getData /a: ok": 1, "getData /a: !cut": MaxWaiting - 1, "ping: ~": 2 * MaxWaiting, "ping: ok": 1, "ping: !cut": MaxWaiting - 1}, countOutcomes(f.exchanges))
}

func TestZooKeeperDetect(t *testing.T) {
	for _, tc := range []struct {
		d    Direction
		text string
		want Verdict
	}{
		{FromClient, zooHello, Yes}, {FromClient, zooHello[:31], Maybe}, {FromClient, zooHello[:4], Maybe}, {FromServer, zooWelcome, Yes}, {FromServer, zooHello, No},
		{FromClient, jute(77, 4, "/brokers/ids", true), Yes}, {FromClient, jute(77, 4, "/brokers/ids", true)[:14], Maybe}, {FromClient, zooPingText, Yes}, {FromServer, zooPongText, Yes},
		{FromServer, jute(-1, int64(-1), 0, 3, 3, "/a"), Yes}, {FromServer, zooFirstOK, No}, {FromClient, jute(77, 4, "brokers", true), No}, {FromClient, jute(77, 101, int64(1)), No},
		{FromClient, "ruok", Yes}, {FromClient, "mntr\n", Yes}, {FromClient, "stat", Maybe}, {FromClient, "stats\r\n", No}, {FromClient, "ru", Maybe}, {FromServer, "imok", Yes}, {FromServer, "Zookeeper version: 3", Yes},
		{FromServer, "stat is not executed because it is not in the whitelist.\n", Yes}, {FromServer, "stat is the best", No}, {FromServer, "st", Maybe}, {FromServer, "stat is not", Maybe}, {FromServer, "sta is not", No}, {FromClient, "", Maybe},
		{FromClient, "\x00\x00\x00\x2c\x00\x03\x00\x00user\x00postgres\x00", No},                                          // PostgreSQL
		{FromClient, "\x00\x00\x00\x2c\x00\x12\x00\x00\x00\x00\x00\x01\x00\x06client" + strings.Repeat("\x00", 30), No},   // Kafka: ApiVersions
		{FromClient, "\x00\x00\x00\x2c\x00\x03\x00\x01\x00\x00\x00\x04\xff\xff\x00\x00" + strings.Repeat("\x00", 30), No}, // Kafka: Metadata without a client's name
		{FromClient, "\x2c\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00", No},                              // MongoDB
		{FromClient, "\x04\x00\x00\x00\x05\x00\x00\x00\x00", No},                                                          // Cassandra
		{FromClient, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", No},
	} {
		assert.Equal(t, tc.want, ZooKeeper().Detect(tc.d, []byte(tc.text)), "%q", tc.text)
	}
}

// zooKeeper starts a server on a free port of loopback.
func zooKeeper(t testing.TB) (address string) {
	port := loopbackPort(t)
	dir := t.TempDir()
	settings := filepath.Join(dir, "zoo.cfg")
	require.NoError(t, os.WriteFile(settings, []byte("tickTime=1000\ndataDir="+dir+"\nclientPort="+port+"\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=ruok,srvr\n"), 0o644))
	const jar = "/usr/share/java/zookeeper.jar"
	require.FileExists(t, jar, "this test needs the real server: apt-get install zookeeper (see CONTRIBUTING.md)")
	cmd := exec.Command("java", "-Xmx128m", "-cp", jar, "org.apache.zookeeper.server.ZooKeeperServerMain", settings)
	cmd.Dir = dir
	address = "127.0.0.1:" + port
	startCommand(t, address, cmd)
	require.Eventually(t, func() bool { return strings.HasPrefix(zooAsked(address, "srvr"), "Zookeeper version: ") }, time.Minute, 50*time.Millisecond, "it does not serve")
	return address
}

// zooAsked asks by a four letter word. A server that is not ready may leave it without an answer.
func zooAsked(address, word string) string {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second)) //nolint:errcheck // the answer shows
	io.WriteString(c, word)                        //nolint:errcheck // the same
	got, _ := io.ReadAll(c)
	return string(got)
}

type zooQuiet struct{}

func (zooQuiet) Printf(string, ...any) {}

func TestZooKeeperServer(t *testing.T) {
	x := startTalkProxy(t, zooKeeper(t), ZooKeeper())
	conn, events, err := zk.Connect([]string{x.addr()}, 10*time.Second, zk.WithLogger(zooQuiet{}))
	require.NoError(t, err)
	for e := range events {
		if e.State == zk.StateHasSession {
			break
		}
	}
	go func() {
		for range events { //nolint:revive // nobody else takes them
		}
	}()
	const n = 40
	acl := zk.WorldACL(zk.PermAll)
	want := map[string]int{"connect: ok": 1, "closeSession: ok": 1}
	do := func(what string, err error, wantErr error) {
		t.Helper()
		if wantErr == nil {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, wantErr)
		}
		want[what]++
	}
	require.NoError(t, conn.AddAuth("digest", []byte("user:mark-password")))
	want["auth digest: ok"]++
	_, err = conn.Create("/shop", []byte("mark-value"), 0, acl)
	do("create /shop: ok", err, nil)
	_, err = conn.Create("/shop/carts", nil, 0, acl)
	do("create /shop/carts: ok", err, nil)
	for i := range n {
		path := fmt.Sprintf("/shop/carts/mark%d", i)
		_, err = conn.Create(path, []byte("mark-value"), 0, acl)
		do("create /shop/carts: ok", err, nil)
		_, err = conn.Create(path, nil, 0, acl)
		do("create /shop/carts: NODEEXISTS!", err, zk.ErrNodeExists)
		_, _, watch, err := conn.GetW(path)
		do("getData /shop/carts: ok", err, nil)
		_, err = conn.Set(path, []byte("mark-value"), 0)
		do("setData /shop/carts: ok", err, nil)
		<-watch
		want["notification /shop/carts: ok~"]++
		_, err = conn.Set(path, nil, 0)
		do("setData /shop/carts: BADVERSION!", err, zk.ErrBadVersion)
		_, _, err = conn.Get("/no/such")
		do("getData /no/such: NONODE!", err, zk.ErrNoNode)
		_, _, err = conn.Exists("/no/such")
		do("exists /no/such: NONODE", err, nil)
		_, _, err = conn.Children("/shop/carts")
		do("getChildren2 /shop/carts: ok", err, nil)
		_, err = conn.Multi(&zk.SetDataRequest{Path: path, Data: []byte("mark-value"), Version: -1}, &zk.CheckVersionRequest{Path: path, Version: 2})
		do("multi: ok", err, nil)
		_, err = conn.Multi(&zk.SetDataRequest{Path: path, Version: -1}, &zk.DeleteRequest{Path: path, Version: 77})
		do("multi: BADVERSION!", err, zk.ErrBadVersion)
	}
	conn.Close()
	for word, answer := range map[string]string{"ruok": "imok", "srvr": "Zookeeper version: ", "dump": "dump is not executed"} {
		got := zooAsked(x.addr(), word)
		require.True(t, strings.HasPrefix(got, answer), "%s: %s", word, got)
	}
	want["ruok: ok"], want["srvr: ok"], want["dump: not_allowed!"] = 1, 1, 1
	got := countOutcomes(x.finish())
	delete(got, "ping: ok") // as the time goes
	require.Equal(t, want, got)
}

func TestZooKeeperRecordings(t *testing.T) { requireSteady(t, ZooKeeper(), "mark") }

func FuzzZooKeeper(f *testing.F) { fuzzConn(f, ZooKeeper()) }
