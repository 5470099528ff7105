package binary

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

// zooKeeperService runs a server on sockets of Java. It is ready when readyZooKeeper says so.
func zooKeeperService(t testing.TB) service { return startZooKeeper(t, zooKeeperInstalled(t), "") }

// zooKeeperNettyService runs a server on Netty, which it needs for TLS. That is Java's own.
func zooKeeperNettyService(t testing.TB) service {
	s := zooKeeperInstalled(t).alsoInTLS(t, freeAddress(t))
	cert, err := os.ReadFile(s.cert())
	require.NoError(t, err)
	key, err := os.ReadFile(s.key())
	require.NoError(t, err)
	store := filepath.Join(s.dir, "store.pem")
	require.NoError(t, os.WriteFile(store, slices.Concat(key, cert), 0o644))
	return startZooKeeper(t, s, "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\nsecureClientPort="+s.secure.port()+"\nsecureClientPortAddress="+s.secure.host()+
		"\nssl.keyStore.location="+store+"\nssl.trustStore.location="+s.cert()+"\nssl.clientAuth=none\n")
}

// zooKeepers are the servers of this kind in a run, each a JVM.
const zooKeepers = 2

// lookIntoZooKeeper has vetch see through the TLS of those servers, and of no other that runs on the machine.
func lookIntoZooKeeper() string { return "VETCH_AGENT_TLS_JAVA=zookeeper-*-" + built.tag }

// zooKeeperInstalled has a Java of its own name for a server.
func zooKeeperInstalled(t testing.TB) service {
	java, err := filepath.EvalSymlinks("/usr/bin/java")
	require.NoError(t, err, "this test needs zookeeper (see CONTRIBUTING.md)")
	s, path := installed(t, java)
	bin := filepath.Join(s.dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	for _, part := range []string{"lib", "conf"} { // where Java looks for the rest of it
		require.NoError(t, os.Symlink(filepath.Join(filepath.Dir(filepath.Dir(java)), part), filepath.Join(s.dir, part)))
	}
	s.workload = "zookeeper" + strings.TrimPrefix(s.workload, "java")
	require.NoError(t, os.Rename(path, filepath.Join(bin, s.workload)))
	return s
}

func startZooKeeper(t testing.TB, s service, more string) service {
	settings := filepath.Join(s.dir, "zoo.cfg")
	require.NoError(t, os.WriteFile(settings, []byte("tickTime=1000\ndataDir="+s.dir+"\nclientPort="+s.port()+"\nclientPortAddress="+s.host()+
		"\nadmin.enableServer=false\n4lw.commands.whitelist=ruok,srvr\n"+more), 0o644))
	serve(t, s.dir, exec.Command(filepath.Join(s.dir, "bin", s.workload), "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", "/usr/share/java/zookeeper.jar:/usr/share/java/netty-codec.jar", "org.apache.zookeeper.server.ZooKeeperServerMain", settings))
	return s
}

// zooWord asks a server by four letters.
func zooWord(ctx context.Context, s service, word string) (string, error) {
	conn, err := s.dial(ctx, "tcp", s.address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // one that is not ready may not answer
	if _, err := conn.Write([]byte(word)); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func readyZooKeeper(t testing.TB, s service) {
	t.Helper()
	require.NoError(t, poll(t.Context(), func() error {
		answer, err := zooWord(t.Context(), s, "srvr")
		if err == nil && !strings.HasPrefix(answer, "Zookeeper version: ") {
			err = fmt.Errorf("zookeeper is not ready: %q", answer)
		}
		return err
	}))
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// zooSession opens a session.
func zooSession(t *testing.T, s service) *zk.Conn {
	t.Helper()
	readyZooKeeper(t, s)
	conn, events, err := zk.Connect([]string{s.address}, patience, zk.WithLogger(silent{}), zk.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return s.dial(ctx, network, address)
	}))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	opened := make(chan struct{}, 1)
	go func() {
		for e := range events {
			if e.State == zk.StateHasSession {
				select {
				case opened <- struct{}{}:
				default: // it was opened before
				}
			}
		}
	}()
	select {
	case <-opened:
	case <-time.After(patience):
		t.Fatal("there is no session")
	}
	return conn
}

func playZooKeeper(t *testing.T, s service) map[string]int {
	conn := zooSession(t, s)
	const n = 200
	acl := zk.WorldACL(zk.PermAll)
	require.NoError(t, conn.AddAuth("digest", []byte("user:"+secret)))
	for _, path := range []string{"/shop", "/shop/carts"} {
		_, err := conn.Create(path, []byte(secret), 0, acl)
		require.NoError(t, err)
	}
	for i := range n {
		path := fmt.Sprintf("/shop/carts/%s%d", secret, i)
		_, err := conn.Create(path, []byte(secret), 0, acl)
		require.NoError(t, err)
		_, _, watch, err := conn.GetW(path)
		require.NoError(t, err)
		_, err = conn.Set(path, []byte(secret), 0)
		require.NoError(t, err)
		<-watch
		_, err = conn.Set(path, []byte(secret), 0)
		require.ErrorIs(t, err, zk.ErrBadVersion)
		_, _, err = conn.Exists("/no/such/" + secret)
		require.NoError(t, err)
		_, err = conn.Multi(&zk.SetDataRequest{Path: path, Data: []byte(secret), Version: -1}, &zk.CheckVersionRequest{Path: path, Version: 2})
		require.NoError(t, err)
		_, err = conn.Multi(&zk.SetDataRequest{Path: path, Version: -1}, &zk.DeleteRequest{Path: path, Version: 77})
		require.ErrorIs(t, err, zk.ErrBadVersion)
		require.NoError(t, conn.Delete(path, -1))
	}
	for _, path := range []string{"/shop/carts", "/shop"} { // for the next who plays
		require.NoError(t, conn.Delete(path, -1))
	}
	conn.Close()
	for range 20 {
		answer, err := zooWord(t.Context(), s, "ruok")
		require.NoError(t, err)
		require.Equal(t, "imok", answer)
	}
	return map[string]int{"connect ok": 1, "auth digest ok": 1, "create /shop ok": 1, "create /shop/carts ok": n + 1, "getData /shop/carts ok": n, "setData /shop/carts ok": n, "notification /shop/carts ok": n,
		"setData /shop/carts BADVERSION": n, "exists /no/such NONODE": n, "multi ok": n, "multi BADVERSION": n, "delete /shop/carts ok": n + 1, "delete /shop ok": 1, "closeSession ok": 1, "ruok ok": 20,
		"ping ok": anyNumber, "srvr ok": anyNumber, "srvr not_serving": anyNumber, "srvr none": anyNumber}
}

// openZooKeeper reads on one session. The server reads the length of a packet by itself.
func openZooKeeper(t *testing.T, s service) dialogue {
	conn := zooSession(t, s)
	return func(n int) map[string]int {
		for range n {
			_, _, err := conn.Get("/zookeeper/config")
			require.NoError(t, err)
			_, _, err = conn.Get("/no/such/" + secret)
			require.ErrorIs(t, err, zk.ErrNoNode)
		}
		return map[string]int{"getData /zookeeper/config ok": n, "getData /no/such NONODE": n, "connect ok": anyNumber, "ping ok": anyNumber}
	}
}
