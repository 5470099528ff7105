package binary

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// compiled is a program that is built for a test from sources in testdata, by commands that run in a folder of their own with copies of
// them. It is kept in .cache for as long as neither the sources nor the commands change: {out} in these is where it is to be written.
func compiled(t testing.TB, sources string, commands ...[]string) string {
	t.Helper()
	h := sha256.New()
	require.NoError(t, filepath.WalkDir(sources, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(data), data)
		return err
	}))
	fmt.Fprintf(h, "%q", commands)
	cache, err := filepath.Abs("../../.cache/tests")
	require.NoError(t, err)
	program := filepath.Join(cache, filepath.Base(sources)+"-"+hex.EncodeToString(h.Sum(nil))[:16])
	if _, err := os.Stat(program); err == nil {
		return program
	}
	require.NoError(t, os.MkdirAll(cache, 0o755))
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(sources)))
	for _, c := range commands {
		for i := range c {
			if c[i] == "{out}" {
				c[i] = program + ".new"
			}
		}
		cmd := exec.Command(c[0], c[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CARGO_HOME="+dir+"/cargo", "CARGO_TARGET_DIR="+dir+"/target")
		ran(t, cmd)
	}
	require.NoError(t, os.Rename(program+".new", program))
	return program
}

// rustls are the versions that testdata/rustls can be built with: 0.20 where Debian 12 is, the others where scripts/rust could reach the archive of Debian 13.
func rustls(t testing.TB) (versions []string) {
	t.Helper()
	var missing []string
	for _, version := range []string{"0.20", "0.21", "0.23"} {
		_, crates := rust(t, version)
		found, err := filepath.Glob(filepath.Join(crates, "rustls-"+version+".*"))
		require.NoError(t, err)
		if len(found) > 0 {
			versions = append(versions, version)
		} else {
			missing = append(missing, version+" in "+crates)
		}
	}
	require.NotEmpty(t, versions, "no version of rustls is there, see scripts/deps.sh and scripts/rust: %v", missing)
	if len(missing) > 0 {
		t.Logf("rustls %s is not tested; it is not there", strings.Join(missing, ", nor "))
	}
	return versions
}

func newestRustls(t testing.TB) string {
	versions := rustls(t)
	return versions[len(versions)-1]
}

// rust is the compiler for a version of rustls, and where the crates are: 0.20 is built with what Debian 12 has, which gives results in memory; the others
// with what scripts/rust got, which gives them in registers.
func rust(t testing.TB, version string) (compiler, crates string) {
	t.Helper()
	const registry = "/usr/share/cargo/registry"
	if version == "0.20" {
		return "/usr/bin/rustc", registry
	}
	dir, err := filepath.Abs("../../.cache/rust")
	require.NoError(t, err)
	return dir + "/rustc", dir + "/root" + registry
}

// talk is testdata/rustls: HTTP/1 over rustls.
func talk(t testing.TB, version string) string {
	compiler, crates := rust(t, version)
	return compiled(t, "testdata/rustls",
		[]string{"env", "RUSTC=" + compiler, "/usr/bin/cargo", "build", "--quiet", "--release", "--offline", "--manifest-path", version + "/Cargo.toml",
			"--config", `source.crates-io.replace-with="debian"`, "--config", `source.debian.directory="` + crates + `"`},
		[]string{"cp", "target/release/talk", "{out}"})
}

// certifyDER is certify for what wants its certificate and key without their wrapping: cert.der and key.der.
func certifyDER(t testing.TB, dir string) {
	t.Helper()
	certify(t, dir)
	for _, name := range []string{"cert", "key"} {
		text, err := os.ReadFile(filepath.Join(dir, name+".pem"))
		require.NoError(t, err)
		block, _ := pem.Decode(text)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".der"), block.Bytes, 0o600))
	}
}

// rustlsService serves with "threads" or "tasks".
func rustlsService(version, how string) func(testing.TB) service {
	return func(t testing.TB) service {
		s, path := installed(t, talk(t, version))
		certifyDER(t, s.dir)
		serve(t, s.dir, exec.Command(path, "serve", how, s.address, "cert.der", "key.der"))
		return s
	}
}

// program is the file that a service runs.
func (s service) program() string { return filepath.Join(s.dir, s.workload) }

// talks has the program ask, and says what: on every connection its paths one after the other.
func talks(t *testing.T, program, how string, s service, connections, requests int) map[string]int {
	ran(t, exec.Command(program, "ask", how, s.address, strconv.Itoa(connections), strconv.Itoa(requests)))
	want := map[string]int{}
	for i := range requests {
		want[[]string{"/ok 200", "/no 404", "/long 200"}[i%3]] += connections
	}
	return want
}

func playRustls(how string) func(*testing.T, service) map[string]int {
	return func(t *testing.T, s service) map[string]int {
		want := map[string]int{"/curl 200": 5}
		for _, asked := range []map[string]int{
			talks(t, s.program(), how, s, 8, 60), talks(t, s.program(), how, s, 40, 1), talks(t, s.program(), how, s, 2, 150),
		} {
			for k, n := range asked {
				want[k] += n
			}
		}
		for range want["/curl 200"] {
			ran(t, exec.Command("curl", "-sSfk", "https://"+s.address+"/curl", "-o", "/dev/null"))
		}
		return want
	}
}

// TestRustls has rustls speak with itself and with OpenSSL: on threads of blocking sockets, and under tokio, whose tasks go from thread to
// thread and whose connections are moved in memory after the handshake; in TLS 1.3 and 1.2, on connections that are kept and new ones.
func TestRustls(t *testing.T) {
	var all []exchanged
	whole := t
	for _, version := range rustls(t) {
		for _, how := range []string{"threads", "tasks"} {
			t.Run(version+"/"+how, func(t *testing.T) {
				by := "rustls " + version + " on " + how
				s := startProbed(whole, "", rustlsService(version, how))
				all = append(all, exchanged{protocol: "http", by: by + ", of rustls", server: s.workload, port: s.port(), want: playRustls(how)(t, s)})
				n := startProbed(whole, "/libssl.so", nginxService).on(inTLS)
				ran(t, exec.Command("curl", "-sSfk", "--http1.1", "https://"+n.address+"/ok", "-o", "/dev/null"))
				want := talks(t, s.program(), how, n, 4, 2)
				want["/ok 200"]++
				all = append(all, exchanged{protocol: "http", by: by + ", of nginx", server: n.workload, port: n.port(), want: want})
			})
		}
	}
	if t.Failed() {
		return
	}
	checkExchanged(t, built.watchers, all...)
}

// TestRustlsClientOnly asks a server that nothing is seen of, for it has no symbols: the edge has what the client's end sees.
func TestRustlsClientOnly(t *testing.T) {
	for _, version := range rustls(t) {
		for _, how := range []string{"threads", "tasks"} {
			hidden, path := installed(t, talk(t, version))
			ran(t, exec.Command("strip", path))
			certifyDER(t, hidden.dir)
			serve(t, hidden.dir, exec.Command(path, "serve", how, hidden.address, "cert.der", "key.der"))
			hidden.await(t)
			seen := startProbed(t, "", rustlsService(version, how))
			want := talks(t, seen.program(), how, hidden, 8, 60)
			requireOnEdge(t, hidden, map[string]float64{"404": float64(want["/no 404"]), "200": float64(want["/ok 200"] + want["/long 200"])})
			says := doctorTLS(t, path)
			require.False(t, says.Probed)
			require.Regexp(t, "it has rustls "+regexp.QuoteMeta(version)+`\.\d+ in it, but no symbols of it`, says.Why)
		}
	}
}

// TestRustlsLingering has a server whose connections live on for a while after it has closed them, for their ends get lost on the way: new ones lie where those lay in its memory.
func TestRustlsLingering(t *testing.T) {
	const connections = 20
	near, far := joined(t)
	near.rules(t, "table ip lossy { chain in { type filter hook input priority 0; ip saddr "+farV4+" tcp flags & fin == fin drop; }; }")
	for _, on := range []string{"threads", "tasks"} {
		s, path := installed(t, talk(t, newestRustls(t)))
		s.address = farV4 + ":8443"
		if on == "tasks" {
			s.address = farV4 + ":8444"
		}
		certifyDER(t, s.dir)
		start(t, how{ns: far, dir: s.dir}, path, "serve", on, s.address, "cert.der", "key.der")
		require.NoError(t, poll(t.Context(), func() error { return far.do(func() error { return listening(s.address) }) }))
		awaitProbed(t, built.watchers, "/"+s.workload)
		for range connections {
			p := start(t, how{ns: near, dir: s.dir}, path, "ask", on, s.address, "1", "1")
			require.NoError(t, p.cmd.Wait(), "%s", p.stderr)
		}
		for _, v := range built.watchers {
			require.NoError(t, poll(t.Context(), func() error {
				got := v.mustRead(t).by("vetch_workload_requests_total", labels{"workload": s.workload, "protocol": "http"}, "route", "code")
				if want := map[string]float64{"/ok 200": connections}; !maps.Equal(want, got) {
					return fmt.Errorf("%s hook, %s: want %v, got %v", v.hook, on, want, got)
				}
				return nil
			}))
		}
	}
}

// TestRustlsOlder starts vetch between the first and the second request of connections that are open.
func TestRustlsOlder(t *testing.T) {
	const connections, requests = 6, 61
	for _, hook := range hooks() {
		s := rustlsService(newestRustls(t), "threads")(t).await(t)
		asks := start(t, how{}, s.program(), "ask", "threads", s.address, strconv.Itoa(connections), strconv.Itoa(requests), "wait")
		asks.line(t, "ready", patience)
		v := watch(t, settings{hook: hook})
		fmt.Fprintln(asks.stdin)
		asks.line(t, "done", patience)
		each := requests / 3 * connections
		checkExchanged(t, []*vetch{v}, exchanged{protocol: "http", by: "rustls, open before vetch", server: s.workload, port: s.port(), want: map[string]int{
			"/ok 200": each, "/no 404": each, "/long 200": each,
		}})
	}
}

// doctorTLS is what "vetch doctor" says of a file with TLS in it that a process runs.
func doctorTLS(t testing.TB, path string) (says struct {
	Path      string
	Libraries []string
	Probed    bool
	Why       string
}) {
	t.Helper()
	out, err := exec.Command(built.vetch, "doctor", "-o", "json").Output()
	require.NoError(t, err)
	var report struct {
		TLS []json.RawMessage `json:"tls"`
	}
	require.NoError(t, json.Unmarshal(out, &report))
	for _, one := range report.TLS {
		require.NoError(t, json.Unmarshal(one, &says))
		if says.Path == path {
			return says
		}
	}
	t.Fatalf("vetch doctor does not list %s", path)
	return says
}
