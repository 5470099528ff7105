package binary

import (
	"context"
	"crypto/tls"
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

// wire is how the bytes of a connection go.
type wire string

const (
	plain wire = "plain"
	inTLS wire = "TLS"
)

// service is a running server of the system.
type service struct {
	workload  string // name of its executable, which is a copy of its own where that can be
	address   string
	dir       string
	encrypted bool     // it speaks TLS there
	secure    *service // where it speaks TLS; nil: nowhere
}

func (s service) host() string { host, _, _ := net.SplitHostPort(s.address); return host }
func (s service) port() string { _, port, _ := net.SplitHostPort(s.address); return port }

// url is the service's, with the scheme for TLS where it speaks that.
func (s service) url(scheme string) string {
	if s.encrypted {
		scheme += "s"
	}
	return scheme + "://" + s.address
}

// config is what a client in Go needs for TLS; nil where the service speaks plain text.
func (s service) config() *tls.Config {
	if !s.encrypted {
		return nil
	}
	return &tls.Config{InsecureSkipVerify: true}
}

// dial connects, in TLS where the service speaks that.
func (s service) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if s.encrypted {
		return (&tls.Dialer{Config: s.config()}).DialContext(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// on is the service as it is asked on a wire.
func (s service) on(w wire) service {
	if w == inTLS {
		return *s.secure
	}
	return s
}

// alsoInTLS gives a service a certificate in its folder, and the address of its own or another for TLS.
func (s service) alsoInTLS(t testing.TB, address string) service {
	t.Helper()
	certify(t, s.dir)
	secure := s
	secure.address, secure.encrypted = address, true
	s.secure = &secure
	return s
}

// onlyTLS is the same where there is no plain text.
func (s service) onlyTLS(t testing.TB) service {
	t.Helper()
	s = *s.alsoInTLS(t, s.address).secure
	self := s
	s.secure = &self
	return s
}

func (s service) cert() string { return filepath.Join(s.dir, "cert.pem") }
func (s service) key() string  { return filepath.Join(s.dir, "key.pem") }

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
	if s.secure != nil {
		require.NoError(t, poll(t.Context(), func() error { return listening(s.secure.address) }), s.workload)
	}
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
	s = s.alsoInTLS(t, freeAddress(t))
	serve(t, s.dir, exec.Command(path, "--port", s.port(), "--bind", s.host(), "--save", "", "--requirepass", secret,
		"--tls-port", s.secure.port(), "--tls-cert-file", s.cert(), "--tls-key-file", s.key(), "--tls-auth-clients", "no"))
	return s
}

func memcachedService(t testing.TB) service {
	s, path := installed(t, "/usr/bin/memcached")
	s = s.alsoInTLS(t, freeAddress(t))
	serve(t, s.dir, exec.Command(path, "-l", "notls:"+s.address, "-l", s.secure.address, "-U", "0", "-u", "nobody", "-m", "16", "-t", "1",
		"-Z", "-o", "ssl_chain_cert="+s.cert()+",ssl_key="+s.key()))
	return s
}

// natsService begins in plain text and goes on in TLS when the client wants to.
func natsService(t testing.TB) service {
	s, path := installed(t, "/usr/sbin/nats-server")
	s = s.alsoInTLS(t, s.address)
	settings := filepath.Join(s.dir, "settings")
	require.NoError(t, os.WriteFile(settings, fmt.Appendf(nil, "listen: %q\nauthorization { user: u, password: %q }\nallow_non_tls: true\ntls { cert_file: %q, key_file: %q }\n", s.address, secret, s.cert(), s.key()), 0o644))
	serve(t, s.dir, exec.Command(path, "-c", settings))
	return s
}

func mqttService(t testing.TB) service {
	s, path := installed(t, "/usr/sbin/mosquitto") //nolint:misspell // the name of the program
	s = s.alsoInTLS(t, freeAddress(t))
	passwords, settings := filepath.Join(s.dir, "passwords"), filepath.Join(s.dir, "settings")
	require.NoError(t, os.WriteFile(passwords, nil, 0o644))
	ran(t, exec.Command("mosquitto_passwd", "-b", passwords, "user", secret)) //nolint:misspell // the name of the program
	require.NoError(t, os.Chmod(passwords, 0o644))
	require.NoError(t, os.WriteFile(settings, fmt.Appendf(nil, "listener %s %s\nlistener %s %s\ncertfile %s\nkeyfile %s\nallow_anonymous false\npassword_file %s\n",
		s.port(), s.host(), s.secure.port(), s.secure.host(), s.cert(), s.key(), passwords), 0o644))
	serve(t, s.dir, exec.Command(path, "-c", settings))
	return s
}

// postgresService has the user test and the database postgres; a role trusted would need no password. Its connections begin in plain text and go on in TLS when the client wants to. It is ready
// when readyPostgres says so.
func postgresService(t testing.TB) service {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	require.NotEmpty(t, bins, "this test needs postgresql (see CONTRIBUTING.md)")
	s, path := installed(t, bins[len(bins)-1]+"/postgres")
	password := filepath.Join(s.dir, "password")
	require.NoError(t, os.WriteFile(password, []byte(secret), 0o644))
	ran(t, as(t, exec.Command(bins[len(bins)-1]+"/initdb", "-D", s.dir+"/data", "-U", "test", "-A", "scram-sha-256", "--pwfile", password, "-N", "--locale=C", "-E", "UTF8"), "postgres", s.dir))
	rules, err := os.ReadFile(s.dir + "/data/pg_hba.conf")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.dir+"/data/pg_hba.conf", append([]byte("host all trusted 127.0.0.1/32 trust\n"), rules...), 0o600))
	s = s.alsoInTLS(t, s.address)
	serve(t, s.dir, as(t, exec.Command(path, "-D", s.dir+"/data", "-p", s.port(), "-k", s.dir, "-h", s.host(), "-F", "-c", "max_connections=50", "-c", "shared_buffers=16MB",
		"-c", "logging_collector=off", "-c", "ssl=on", "-c", "ssl_cert_file="+s.cert(), "-c", "ssl_key_file="+s.key()), "postgres", s.dir))
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

// mariaService has the user test and the database shop. TLS begins as PostgreSQL's does. It is ready when readyMaria says so.
func mariaService(t testing.TB) service {
	s, path := installed(t, "/usr/sbin/mariadbd")
	ran(t, as(t, exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+s.dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"), "mysql", s.dir))
	begin := filepath.Join(s.dir, "begin.sql")
	require.NoError(t, os.WriteFile(begin, []byte("CREATE DATABASE shop;\nFLUSH PRIVILEGES;\nCREATE USER test@'%' IDENTIFIED BY '"+secret+"';\nGRANT ALL ON *.* TO test@'%';\nDROP USER IF EXISTS ''@localhost;\n"), 0o644))
	s = s.alsoInTLS(t, s.address)
	serve(t, s.dir, as(t, exec.Command(path, "--no-defaults", "--basedir=/usr", "--datadir="+s.dir+"/data", "--port="+s.port(), "--bind-address="+s.host(), "--socket="+s.dir+"/socket",
		"--pid-file="+s.dir+"/pid", "--init-file="+begin, "--skip-name-resolve", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0",
		"--ssl-cert="+s.cert(), "--ssl-key="+s.key()), "mysql", s.dir))
	return s
}

func readyMaria(t testing.TB, s service) {
	t.Helper()
	require.NoError(t, poll(t.Context(), func() error { _, err := os.Stat(s.dir + "/pid"); return err }))
}

// rabbitService runs a broker and the port mapper of its Erlang. Its workload is the machine's Erlang, which others may run too.
func rabbitService(t testing.TB) service {
	dir := t.TempDir()
	s := service{workload: "beam.smp", address: freeAddress(t), dir: dir}.alsoInTLS(t, freeAddress(t))
	mapper, dist := service{address: freeAddress(t)}.port(), service{address: freeAddress(t)}.port()
	require.NoError(t, os.Mkdir(dir+"/mapper", 0o755))
	serve(t, dir+"/mapper", exec.Command("epmd", "-port", mapper, "-address", s.host()))
	settings := filepath.Join(dir, "rabbitmq.conf")
	require.NoError(t, os.WriteFile(settings, fmt.Appendf(nil, "loopback_users = none\nlisteners.ssl.default = %s\nssl_options.certfile = %s\nssl_options.keyfile = %s\nssl_options.verify = verify_none\n",
		s.secure.address, s.cert(), s.key()), 0o644))
	cmd := exec.Command("/usr/lib/rabbitmq/bin/rabbitmq-server")
	cmd.Env = append(os.Environ(), "HOME="+dir, "RABBITMQ_HOME="+dir, "RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_CONFIG_FILE="+settings, "RABBITMQ_MNESIA_BASE="+dir, "RABBITMQ_LOG_BASE="+dir, "RABBITMQ_LOGS=-",
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "plugins"), "RABBITMQ_NODENAME=vetch"+s.port()+"@localhost", "RABBITMQ_NODE_PORT="+s.port(), "RABBITMQ_NODE_IP_ADDRESS="+s.host(),
		"RABBITMQ_DIST_PORT="+dist, "ERL_EPMD_PORT="+mapper, "ERL_EPMD_ADDRESS="+s.host(), "RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"))
	serve(t, dir, cmd)
	return s
}
