package binary

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// certify writes a certificate for 127.0.0.1 and its key into a folder, as cert.pem and key.pem.
func certify(t testing.TB, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
		var owner syscall.Stat_t // databases want it to be their own
		require.NoError(t, syscall.Stat(dir, &owner))
		require.NoError(t, os.Chown(path, int(owner.Uid), int(owner.Gid)))
	}
}

// nginxTLS answers /ok with 200 and /no with 404.
func nginxTLS(t testing.TB) service {
	s, path := installed(t, "/usr/sbin/nginx")
	certify(t, s.dir)
	config := fmt.Sprintf(`daemon off; user root; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes 2;
events {}
http { access_log off; client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3; uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
server { listen %[2]s ssl; ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem;
location /ok { return 200 fine; } location /no { return 404 no; } location /pages { alias %[1]s/pages; } } }`, s.dir, s.address)
	require.NoError(t, os.WriteFile(s.dir+"/nginx.conf", []byte(config), 0o644))
	require.NoError(t, os.Mkdir(s.dir+"/pages", 0o755))
	require.NoError(t, os.WriteFile(s.dir+"/pages/long.txt", []byte(strings.Repeat("0123456789", 30000)), 0o644))
	serve(t, s.dir, exec.Command(path, "-c", s.dir+"/nginx.conf"))
	return s
}

// playNginxTLS asks with OpenSSL by curl and Python, and with GnuTLS by wget, on connections that are kept and on new ones.
func playNginxTLS(t *testing.T, s service) map[string]int {
	url := "https://" + s.address
	ran(t, exec.Command("curl", "-sSfk", "--http1.1", url+"/ok?secret="+secret+"[1-200]", "-o", "/dev/null"))
	ran(t, exec.Command("curl", "-sSk", "--http1.1", url+"/no?[1-50]", "-o", "/dev/null"))
	ran(t, exec.Command("curl", "-sSfk", "--http1.1", url+"/pages/long.txt?[1-20]", "-o", "/dev/null"))
	for range 20 {
		ran(t, exec.Command("curl", "-sSfk", "--http1.1", url+"/ok", "-o", "/dev/null"))
	}
	for range 20 {
		ran(t, exec.Command("wget", "-q", "--no-check-certificate", "-O", "/dev/null", url+"/ok", url+"/pages/long.txt"))
	}
	ran(t, exec.Command("/usr/bin/python3", "-c", fmt.Sprintf(`
import ssl, http.client, urllib.request
c = ssl._create_unverified_context()
for i in range(20): urllib.request.urlopen("%[1]s/ok", context=c).read()
k = http.client.HTTPSConnection("%[2]s", context=c)
for i in range(100):
    k.request("GET", "/ok"); k.getresponse().read()
`, url, s.address)))
	return map[string]int{"/ok 200": 200 + 20 + 20 + 20 + 100, "/no 404": 50, "/pages/long.txt 200": 20 + 20}
}

func inPath(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	require.NoError(t, err, "this test needs %s (see CONTRIBUTING.md)", program)
	return path
}

// gnuTLSService is GnuTLS's own server, which answers everything with a page.
func gnuTLSService(t testing.TB) service {
	s, path := installed(t, "/usr/bin/gnutls-serv")
	certify(t, s.dir)
	cmd := exec.Command(path, "--http", "--quiet", "--port", s.port(), "--x509certfile", s.dir+"/cert.pem", "--x509keyfile", s.dir+"/key.pem")
	serve(t, s.dir, cmd)
	return s
}

func playGnuTLS(t *testing.T, s service) map[string]int {
	for range 20 {
		ran(t, exec.Command("wget", "-q", "--no-check-certificate", "-O", "/dev/null", "https://"+s.address+"/wget"))
		ran(t, exec.Command("curl", "-sSfk", "https://"+s.address+"/curl", "-o", "/dev/null"))
	}
	return map[string]int{"/wget 200": 20, "/curl 200": 20}
}

// nodeService is Node.js, which has OpenSSL linked into it and carries the cipher text itself.
func nodeService(t testing.TB) service { return nodeOf(t, inPath(t, "node")) }

func nodeOf(t testing.TB, program string) service {
	s, path := installed(t, program)
	certify(t, s.dir)
	serve(t, s.dir, exec.Command(path, "-e", fmt.Sprintf(`
const fs = require("fs")
require("https").createServer({key: fs.readFileSync("key.pem"), cert: fs.readFileSync("cert.pem")}, (q, r) => {
	if (q.url == "/no") { r.statusCode = 404; r.end("no") }
	else if (q.url == "/slow") setTimeout(() => r.end("slow"), 10)
	else if (q.url == "/long") r.end(Buffer.alloc(300000, "x"))
	else r.end("ok")
}).listen(%s, "%s")`, s.port(), s.host())))
	return s
}

func playNode(t *testing.T, s service) map[string]int {
	cmd := exec.Command(s.program(), "-e", fmt.Sprintf(`
const https = require("https")
const get = (path, agent) => new Promise((ok, no) => https.get({host: "%s", port: %s, path, rejectUnauthorized: false, agent}, r => { r.resume(); r.on("end", ok) }).on("error", no))
const times = (n, f) => Promise.all([...Array(n).keys()].map(f))
async function main() {
	const kept = new https.Agent({keepAlive: true, maxSockets: 8})
	await times(400, i => get(["/kept", "/slow", "/no", "/long"][i %% 4], kept))
	kept.destroy()
	await times(100, () => get("/single", new https.Agent({keepAlive: false, maxCachedSessions: 0})))
}
main().catch(e => { console.error(e); process.exit(1) })`, s.host(), s.port()))
	ran(t, cmd)
	for range 5 {
		ran(t, exec.Command("curl", "-sSfk", "https://"+s.address+"/curl", "-o", "/dev/null"))
	}
	return map[string]int{"/kept 200": 100, "/slow 200": 100, "/no 404": 100, "/long 200": 100, "/single 200": 100, "/curl 200": 5}
}

// asyncioService is Python's asyncio, whose TLS works on memory too.
func asyncioService(t testing.TB) service {
	s, path := installed(t, "/usr/bin/python3")
	certify(t, s.dir)
	cmd := exec.Command(path, "-c", fmt.Sprintf(`
import ssl, asyncio
async def answer(r, w):
    try:
        while await r.readuntil(b"\r\n\r\n"):
            w.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); await w.drain()
    except asyncio.IncompleteReadError: pass
    w.close()
async def main():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain("cert.pem", "key.pem")
    s = await asyncio.start_server(answer, "%s", %s, ssl=c)
    await s.serve_forever()
asyncio.run(main())`, s.host(), s.port()))
	cmd.Env = append(os.Environ(), "PYTHONHOME=/usr")
	serve(t, s.dir, cmd)
	return s
}

func playAsyncio(t *testing.T, s service) map[string]int {
	ran(t, exec.Command("/usr/bin/python3", "-c", fmt.Sprintf(`
import ssl, asyncio
c = ssl._create_unverified_context()
async def ask(n):
    r, w = await asyncio.open_connection("%s", %s, ssl=c)
    for i in range(n):
        w.write(b"GET /async HTTP/1.1\r\nHost: x\r\n\r\n"); await w.drain()
        await r.readuntil(b"ok")
    w.close()
async def main(): await asyncio.gather(*[ask(10) for i in range(20)])
asyncio.run(main())`, s.host(), s.port())))
	return map[string]int{"/async 200": 200}
}

func redisTLS(t testing.TB) service {
	s, path := installed(t, "/usr/bin/redis-server")
	certify(t, s.dir)
	serve(t, s.dir, exec.Command(path, "--port", "0", "--tls-port", s.port(), "--bind", s.host(), "--save", "", "--requirepass", secret,
		"--tls-cert-file", s.dir+"/cert.pem", "--tls-key-file", s.dir+"/key.pem", "--tls-auth-clients", "no"))
	return s
}

func playRedisTLS(t *testing.T, s service) map[string]int {
	ran(t, exec.Command("redis-benchmark", "--tls", "--insecure", "-h", s.host(), "-p", s.port(), "-a", secret, "-n", "5120", "-P", "16", "-c", "4", "-q", "-t", "get"))
	ran(t, exec.Command("redis-benchmark", "--tls", "--insecure", "-h", s.host(), "-p", s.port(), "-a", secret, "-n", "400", "-P", "1", "-c", "4", "-q", "-t", "incr"))
	return map[string]int{"GET ok": 5120, "INCR ok": 400, "AUTH ok": anyNumber, "CONFIG GET ok": anyNumber}
}

// postgresTLS is a server that takes connections which begin in plain text and change to TLS.
func postgresTLS(t testing.TB) service {
	return postgresWith(t, "-c", "ssl=on", "-c", "ssl_cert_file=../cert.pem", "-c", "ssl_key_file=../key.pem")
}

func playPostgresTLS(t *testing.T, s service) map[string]int {
	readyPostgres(t, s)
	script := filepath.Join(t.TempDir(), "script")
	run := func(text string, program string, args ...string) {
		require.NoError(t, os.WriteFile(script, []byte(text), 0o644))
		cmd := exec.Command(program, append([]string{"-h", s.host(), "-p", s.port(), "-U", "test", "-f", script}, args...)...)
		cmd.Env = append(os.Environ(), "PGSSLMODE=require", "PGPASSWORD="+secret, "PGDATABASE=postgres")
		ran(t, cmd)
	}
	run("CREATE TABLE things (a text);\nSELECT 1/0;\n", "psql")
	run("SELECT count(*) FROM things WHERE a = '"+secret+"';\n", "pgbench", "-n", "-C", "-c", "2", "-t", "40")
	run("INSERT INTO things VALUES ('"+secret+"');\n", "pgbench", "-n", "-M", "prepared", "-c", "2", "-t", "300")
	return map[string]int{"CREATE TABLE things ok": 1, "SELECT 22012": 1, "SELECT things ok": 80, "INSERT things ok": 600}
}

func mariaTLS(t testing.TB) service {
	return mariaWith(t, "--ssl-cert=../cert.pem", "--ssl-key=../key.pem")
}

func playMariaTLS(t *testing.T, s service) map[string]int {
	require.NoError(t, poll(t.Context(), func() error { _, err := os.Stat(s.dir + "/pid"); return err }))
	text := "CREATE TABLE users (id INT PRIMARY KEY, name TEXT);\n"
	for i := range 200 {
		text += fmt.Sprintf("INSERT INTO users VALUES (%d, '%s');\nSELECT name FROM users WHERE name = '%s';\n", i, secret, secret)
	}
	cmd := exec.Command("mariadb", "--no-defaults", "-h", s.host(), "-P", s.port(), "-u", "test", "-p"+secret, "--ssl", "--batch", "shop")
	cmd.Stdin = strings.NewReader(text)
	ran(t, cmd)
	return map[string]int{"CREATE TABLE users ok": 1, "INSERT users ok": 200, "SELECT users ok": 200, "SELECT ok": anyNumber}
}

// tlsPlays are what programs with TLS libraries in C ask of each other.
var tlsPlays = []struct {
	protocol, by, library string
	start                 func(testing.TB) service
	play                  func(*testing.T, service) map[string]int
}{
	{"http", "curl, wget and Python, of nginx", "openssl", nginxTLS, playNginxTLS},
	{"http", "wget and curl, of GnuTLS", "gnutls", gnuTLSService, playGnuTLS},
	{"http", "Node.js and curl, of Node.js", "openssl", nodeService, playNode},
	{"http", "asyncio, of asyncio", "openssl", asyncioService, playAsyncio},
	{"redis", "redis-benchmark", "openssl", redisTLS, playRedisTLS},
	{"postgres", "psql and pgbench", "openssl", postgresTLS, playPostgresTLS},
	{"mysql", "mariadb", "openssl", mariaTLS, playMariaTLS},
}

// TestTLS has real clients ask real servers inside of TLS, and finds all of it at the serving end and on the edge.
func TestTLS(t *testing.T) {
	var all []exchanged
	whole := t
	for _, p := range tlsPlays {
		t.Run(p.protocol+"/"+p.by, func(t *testing.T) {
			s := startProbed(whole, p.library, p.start)
			all = append(all, exchanged{protocol: p.protocol, by: p.by, server: s.workload, port: s.port(), want: p.play(t, s)})
		})
	}
	if t.Failed() {
		return
	}
	checkExchanged(t, built.watchers, all...)
	for _, v := range built.watchers {
		requireNoSecret(t, v)
	}
}

// startProbed starts a server and waits until vetch knows of one process more that uses the library. A library is probed once, for all
// processes: that is so from then on for the clients too.
func startProbed(t testing.TB, library string, start func(testing.TB) service) service {
	t.Helper()
	users := func(v *vetch) float64 {
		s, err := v.read()
		require.NoError(t, err)
		return s.sum("vetch_tls_processes", labels{"library": library})
	}
	before := map[*vetch]float64{}
	for _, v := range built.watchers {
		before[v] = users(v)
	}
	s := start(t).await(t)
	for _, v := range built.watchers {
		require.NoError(t, poll(t.Context(), func() error {
			if n := users(v); n == before[v] || n == 0 { // it is less where others have ended meanwhile
				return fmt.Errorf("%v processes use %s, as before", n, library)
			}
			return nil
		}))
	}
	return s
}
