package binary

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// secret is in every password, key, value and literal that the tests of protocols send. It must not come out of vetch.
const secret = "zqsecretzq"

// service is a running server of the system.
type service struct {
	workload string // name of its executable, which is a copy of its own where that can be
	address  string
	dir      string
}

func (s service) host() string { host, _, _ := net.SplitHostPort(s.address); return host }
func (s service) port() string { _, port, _ := net.SplitHostPort(s.address); return port }

// freeAddress is one of loopback that nothing listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	port, err := freePort()
	require.NoError(t, err)
	return "127.0.0.1:" + strconv.Itoa(port)
}

// installed copies a program of the system under a name of this run into a folder that every user may read, and returns the service that
// is to be started from it.
func installed(t testing.TB, program string) (service, string) {
	t.Helper()
	source, err := filepath.EvalSymlinks(program)
	require.NoError(t, err, "this test needs the real server (see CONTRIBUTING.md)")
	data, err := os.ReadFile(source)
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "vetch-service-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	name := filepath.Base(program) + "-" + strings.TrimPrefix(filepath.Base(dir), "vetch-service-") // there may be two of a program
	path := filepath.Join(dir, mine(name))

	syscall.ForkLock.RLock() // see named
	defer syscall.ForkLock.RUnlock()
	require.NoError(t, os.WriteFile(path, data, 0o755))
	require.NoError(t, os.Chmod(path, 0o755))
	return service{workload: filepath.Base(path), address: freeAddress(t), dir: dir}, path
}

// serve runs a server and all that it starts until the test ends. It returns at once.
func serve(t testing.TB, dir string, cmd *exec.Cmd) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	defer log.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%s: %s", filepath.Base(cmd.Path), text[max(0, len(text)-1000):])
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		timer := time.AfterFunc(patience, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		cmd.Wait()
		timer.Stop()
	})
}

// await waits until a service listens, without connecting.
func (s service) await(t testing.TB) service {
	t.Helper()
	require.NoError(t, poll(t.Context(), func() error { return listening(s.address) }), s.workload)
	return s
}

// as makes a command run as a user of the system who owns dir.
func as(t testing.TB, cmd *exec.Cmd, name, dir string) *exec.Cmd {
	t.Helper()
	u, err := user.Lookup(name)
	require.NoError(t, err)
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	require.NoError(t, os.Chown(dir, uid, gid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	cmd.Dir = dir
	return cmd
}

// ran runs a command to its end.
func ran(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", cmd, out)
}

func redisService(t testing.TB) service {
	s, path := installed(t, "/usr/bin/redis-server")
	serve(t, s.dir, exec.Command(path, "--port", s.port(), "--bind", s.host(), "--save", "", "--requirepass", secret))
	return s
}

func memcachedService(t testing.TB) service {
	s, path := installed(t, "/usr/bin/memcached")
	serve(t, s.dir, exec.Command(path, "-l", s.host(), "-p", s.port(), "-U", "0", "-u", "nobody", "-m", "16", "-t", "1"))
	return s
}

func natsService(t testing.TB) service {
	s, path := installed(t, "/usr/sbin/nats-server")
	serve(t, s.dir, exec.Command(path, "-a", s.host(), "-p", s.port(), "--user", "u", "--pass", secret))
	return s
}

func mqttService(t testing.TB) service {
	s, path := installed(t, "/usr/sbin/mosquitto") //nolint:misspell // the name of the program
	passwords, settings := filepath.Join(s.dir, "passwords"), filepath.Join(s.dir, "settings")
	require.NoError(t, os.WriteFile(passwords, nil, 0o644))
	ran(t, exec.Command("mosquitto_passwd", "-b", passwords, "user", secret)) //nolint:misspell // the name of the program
	require.NoError(t, os.Chmod(passwords, 0o644))
	require.NoError(t, os.WriteFile(settings, []byte("listener "+s.port()+" "+s.host()+"\nallow_anonymous false\npassword_file "+passwords+"\n"), 0o644))
	serve(t, s.dir, exec.Command(path, "-c", settings))
	return s
}

// postgresService has the user test and the database postgres. It is ready when readyPostgres says so.
func postgresService(t testing.TB) service { return postgresWith(t) }

// postgresWith gives the server more arguments, and a certificate in its folder.
func postgresWith(t testing.TB, more ...string) service {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	require.NotEmpty(t, bins, "this test needs postgresql (see CONTRIBUTING.md)")
	s, path := installed(t, bins[len(bins)-1]+"/postgres")
	password := filepath.Join(s.dir, "password")
	require.NoError(t, os.WriteFile(password, []byte(secret), 0o644))
	ran(t, as(t, exec.Command(bins[len(bins)-1]+"/initdb", "-D", s.dir+"/data", "-U", "test", "-A", "scram-sha-256", "--pwfile", password, "-N", "--locale=C", "-E", "UTF8"), "postgres", s.dir))
	certify(t, s.dir)
	serve(t, s.dir, as(t, exec.Command(path, append([]string{"-D", s.dir + "/data", "-p", s.port(), "-k", s.dir, "-h", s.host(), "-F", "-c", "max_connections=50",
		"-c", "shared_buffers=16MB", "-c", "logging_collector=off"}, more...)...), "postgres", s.dir))
	return s
}

// readyPostgres waits for what the server writes when it takes connections, so that none is refused.
func readyPostgres(t testing.TB, s service) {
	t.Helper()
	require.NoError(t, poll(t.Context(), func() error {
		text, err := os.ReadFile(s.dir + "/data/postmaster.pid")
		if err == nil && !strings.Contains(string(text), "ready") {
			err = fmt.Errorf("postgres is not ready: %q", text)
		}
		return err
	}))
}

// mariaService has the user test and the database shop.
func mariaService(t testing.TB) service { return mariaWith(t) }

// mariaWith gives the server more arguments, and a certificate in its folder.
func mariaWith(t testing.TB, more ...string) service {
	s, path := installed(t, "/usr/sbin/mariadbd")
	ran(t, as(t, exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+s.dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"), "mysql", s.dir))
	begin := filepath.Join(s.dir, "begin.sql")
	require.NoError(t, os.WriteFile(begin, []byte("CREATE DATABASE shop;\nFLUSH PRIVILEGES;\nCREATE USER test@'%' IDENTIFIED BY '"+secret+"';\nGRANT ALL ON *.* TO test@'%';\nDROP USER IF EXISTS ''@localhost;\n"), 0o644))
	certify(t, s.dir)
	serve(t, s.dir, as(t, exec.Command(path, append([]string{"--no-defaults", "--basedir=/usr", "--datadir=" + s.dir + "/data", "--port=" + s.port(), "--bind-address=" + s.host(), "--socket=" + s.dir + "/socket",
		"--pid-file=" + s.dir + "/pid", "--init-file=" + begin, "--skip-name-resolve", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"}, more...)...), "mysql", s.dir))
	return s
}

// rabbitService runs a broker and the port mapper of its Erlang. Its workload is the machine's Erlang, which others may run too.
func rabbitService(t testing.TB) service {
	dir := t.TempDir()
	s := service{workload: "beam.smp", address: freeAddress(t), dir: dir}
	mapper, dist := service{address: freeAddress(t)}.port(), service{address: freeAddress(t)}.port()
	require.NoError(t, os.Mkdir(dir+"/mapper", 0o755))
	serve(t, dir+"/mapper", exec.Command("epmd", "-port", mapper, "-address", s.host()))
	settings := filepath.Join(dir, "rabbitmq.conf")
	require.NoError(t, os.WriteFile(settings, []byte("loopback_users = none\n"), 0o644))
	cmd := exec.Command("/usr/lib/rabbitmq/bin/rabbitmq-server")
	cmd.Env = append(os.Environ(), "HOME="+dir, "RABBITMQ_HOME="+dir, "RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_CONFIG_FILE="+settings, "RABBITMQ_MNESIA_BASE="+dir, "RABBITMQ_LOG_BASE="+dir, "RABBITMQ_LOGS=-",
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "plugins"), "RABBITMQ_NODENAME=vetch"+s.port()+"@localhost", "RABBITMQ_NODE_PORT="+s.port(), "RABBITMQ_NODE_IP_ADDRESS="+s.host(),
		"RABBITMQ_DIST_PORT="+dist, "ERL_EPMD_PORT="+mapper, "ERL_EPMD_ADDRESS="+s.host(), "RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"))
	serve(t, dir, cmd)
	return s
}
