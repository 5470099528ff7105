package binary

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func nginxService(t testing.TB) service { return nginxWith(t, "") }

// nginxWith has an option for its listeners. Of its paths, missing and no answer 404, broken 500, file a file, and all others 200.
func nginxWith(t testing.TB, option string) service {
	s, path := installed(t, "/usr/sbin/nginx")
	s = s.alsoInTLS(t, freeAddress(t))
	conf := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log stderr warn; user root; worker_processes 2;
events { worker_connections 256; }
http {
  access_log off; sendfile on;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server {
    listen %[2]s %[4]s; listen %[3]s ssl %[4]s; ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem;
    keepalive_requests 100000; keepalive_timeout 600s;
    location / { return 200 "%[5]s\n"; }
    location /missing { return 404; }
    location /no { return 404; }
    location /broken { return 500; }
    location /file { root %[1]s; }
  }
}`, s.dir, s.address, s.secure.address, option, secret)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "file"), make([]byte, 50_000), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "conf"), []byte(conf), 0o644))
	serve(t, s.dir, exec.Command(path, "-p", s.dir, "-c", s.dir+"/conf"))
	return s
}

// playNginx asks with OpenSSL by curl and Python, and with GnuTLS by wget, on connections that are kept and on new ones.
func playNginx(t *testing.T, s service) map[string]int {
	url := s.url("http")
	curl := func(path string) {
		ran(t, exec.Command("curl", "-sSk", "--http1.1", "-H", "Authorization: "+secret, url+path, "-o", "/dev/null"))
	}
	curl("/ok?secret=" + secret + "[1-200]")
	curl("/missing?[1-50]")
	curl("/file?[1-20]")
	for range 20 {
		curl("/ok")
		ran(t, exec.Command("wget", "-q", "--no-check-certificate", "-O", "/dev/null", url+"/ok", url+"/file"))
	}
	ran(t, exec.Command("/usr/bin/python3", "-c", fmt.Sprintf(`
import ssl, http.client, urllib.request
c = ssl._create_unverified_context()
for i in range(20): urllib.request.urlopen("%[1]s/ok", context=c).read()
k = http.client.HTTPSConnection("%[2]s", context=c) if "%[1]s".startswith("https") else http.client.HTTPConnection("%[2]s")
for i in range(100):
    k.request("GET", "/ok"); k.getresponse().read()
`, url, s.address)))
	return map[string]int{"/ok 200": 200 + 20 + 20 + 20 + 100, "/missing 404": 50, "/file 200": 20 + 20}
}

// openHTTP has one connection that is kept, and asks for each of some operations, of which {id} is another every time.
func openHTTP(operations ...string) func(*testing.T, service) dialogue {
	return func(t *testing.T, s service) dialogue {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.config()}}
		t.Cleanup(client.CloseIdleConnections)
		return func(n int) map[string]int {
			want := map[string]int{}
			for i := range n {
				for _, operation := range operations {
					path, code, _ := strings.Cut(operation, " ")
					response, err := client.Get(s.url("http") + strings.Replace(path, "{id}", fmt.Sprintf("%d?token=%s", 1000+i, secret), 1))
					require.NoError(t, err)
					_, err = io.Copy(io.Discard, response.Body)
					require.NoError(t, err)
					response.Body.Close()
					require.Equal(t, code, strconv.Itoa(response.StatusCode))
					want[operation]++
				}
			}
			return want
		}
	}
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
	s = s.onlyTLS(t)
	serve(t, s.dir, exec.Command(path, "--http", "--quiet", "--port", s.port(), "--x509certfile", s.cert(), "--x509keyfile", s.key()))
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
	s = s.onlyTLS(t)
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
	s = s.onlyTLS(t)
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
