package binary

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// jdks are the homes of the machine's JDKs: that of javac, and others.
func jdks(t testing.TB) (homes []string) {
	t.Helper()
	known := map[string]bool{}
	list, err := filepath.Glob("/usr/lib/jvm/*/bin/javac")
	require.NoError(t, err)
	for _, path := range list {
		path, err = filepath.EvalSymlinks(path)
		require.NoError(t, err)
		if home := filepath.Dir(filepath.Dir(path)); !known[home] {
			known[home] = true
			homes = append(homes, home)
		}
	}
	require.NotEmpty(t, homes, "this test needs openjdk-17-jdk-headless (see CONTRIBUTING.md)")
	return homes
}

// javaRunner is a JDK, and the program of testdata/Java.java compiled for the oldest that the tests know.
type javaRunner struct {
	home, classes string
	options       []string
}

func compileJava(t testing.TB, home string) javaRunner {
	t.Helper()
	r := javaRunner{home, t.TempDir(), []string{"-Xmx96m", "-XX:TieredStopAtLevel=1"}}
	ran(t, exec.Command(home+"/bin/javac", "-nowarn", "--release", "17", "-d", r.classes, "testdata/Java.java"))
	return r
}

// command is a JVM in a folder, under a name of its own: a copy of the launcher looks for the rest beside itself.
func (r javaRunner) command(t testing.TB, name, dir string, args ...string) *exec.Cmd {
	t.Helper()
	home := filepath.Join(t.TempDir(), "jdk")
	require.NoError(t, os.MkdirAll(home+"/bin", 0o755))
	for _, part := range []string{"lib", "conf"} {
		require.NoError(t, os.Symlink(filepath.Join(r.home, part), filepath.Join(home, part)))
	}
	ran(t, exec.Command("cp", r.home+"/bin/java", home+"/bin/"+name))
	cmd := exec.Command(home+"/bin/"+name, slices.Concat(r.options, []string{"-cp", r.classes, "Java"}, args)...)
	cmd.Dir = dir
	return cmd
}

// javaServer is one of the servers of testdata/Java.java.
func (r javaRunner) server(t testing.TB, kind string) service {
	t.Helper()
	s := service{workload: mine(kind), address: freeAddress(t), dir: t.TempDir()}
	certify(t, s.dir)
	serve(t, s.dir, r.command(t, s.workload, s.dir, kind, s.dir, s.host(), s.port()))
	return s.await(t)
}

// javaClient asks when it is told to.
type javaClient struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
	// begun: it has said that it is ready. JVMs take long to begin, and so do that at once.
	begun bool
}

func (r javaRunner) client(t testing.TB, kind string, s service) *javaClient {
	t.Helper()
	dir := t.TempDir()
	certify(t, dir)
	c := &javaClient{cmd: r.command(t, mine(kind), dir, kind, dir, s.host(), s.port())}
	in, err := c.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	c.in, c.out, c.cmd.Stderr = in, bufio.NewReader(out), os.Stderr
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	})
	return c
}

func (c *javaClient) line(t testing.TB) string {
	t.Helper()
	text, err := c.out.ReadString('\n')
	require.NoError(t, err)
	return text
}

// ask has some threads ask for each of the paths a number of times, and adds what is to be counted.
func (c *javaClient) ask(t testing.TB, threads, each, times int, want map[string]int, paths ...string) {
	t.Helper()
	if !c.begun {
		require.Equal(t, "ready\n", c.line(t))
		c.begun = true
	}
	fmt.Fprintln(c.in, threads, each, strings.Join(paths, " "))
	sum := 0
	for _, path := range paths {
		code := 200
		if path == "/no" {
			code = 404
		}
		want[path+" "+strconv.Itoa(code)] += threads * each * times
		sum += threads * each * times * code
	}
	require.Equal(t, fmt.Sprintf("codes %d\n", sum), c.line(t))
}

// nginxTLSHTTP2 speaks HTTP/2 inside of TLS.
func nginxTLSHTTP2(t testing.TB) service {
	s, path := installed(t, "/usr/sbin/nginx")
	certify(t, s.dir)
	config := fmt.Sprintf(`daemon off; user root; pid %[1]s/pid; error_log %[1]s/error.log;
events {}
http { access_log off; client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3; uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
server { listen %[2]s ssl http2; ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem;
location /ok { return 200 fine; } location /no { return 404 no; } } }`, s.dir, s.address)
	require.NoError(t, os.WriteFile(s.dir+"/nginx.conf", []byte(config), 0o644))
	serve(t, s.dir, exec.Command(path, "-c", s.dir+"/nginx.conf"))
	return s
}

// seenJVMs waits until vetch looks into some JVMs: longer than it tries with one itself, which is a minute until that takes signals and 45 s until it has loaded what is to look.
func seenJVMs(t testing.TB, v *vetch, n int) {
	t.Helper()
	require.NoError(t, pollFor(t.Context(), 2*patience, func() error {
		s, err := v.read()
		if err != nil {
			return err
		}
		states := s.by("vetch_tls_java_processes", nil, "state")
		if states["seen"] != float64(n) {
			return fmt.Errorf("%s hook: %d JVMs are to be looked into, and these are there: %v; failed by reason: %v; vetch says:\n%s",
				v.hook, n, states, s.by("vetch_tls_java_failures_total", nil, "reason"), v.log)
		}
		return nil
	}))
}

// holdsLibrary reports whether vetch has loaded something into a process.
func holdsLibrary(t testing.TB, pid int) bool {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	require.NoError(t, err)
	return strings.Contains(string(maps), "libvetch-java")
}

// TestJavaTLS has Java speak HTTP by its own TLS, with engines and with sockets, in HTTP/1 and in HTTP/2, and finds all of it at both ends.
// The servers are older than vetch, and the clients younger. The second vetch, of the other hook, finds the servers with the library of the first in them.
func TestJavaTLS(t *testing.T) {
	for i, home := range jdks(t) {
		hooks := hooks()
		if i > 0 { // one will do: JVMs begin slowly
			hooks = hooks[:1]
		}
		t.Run(filepath.Base(home), func(t *testing.T) {
			r := compileJava(t, home)
			servers := []service{r.server(t, "engine-server"), r.server(t, "socket-server")}
			release, err := os.ReadFile(home + "/release")
			require.NoError(t, err)
			if !strings.Contains(string(release), "JAVA_VERSION=\"17.") {
				servers = append(servers, r.server(t, "virtual-server"))
			}
			idle := r.client(t, "socket-client", servers[1])
			require.False(t, holdsLibrary(t, idle.cmd.Process.Pid), "it was not asked for")
			for _, hook := range hooks {
				t.Run(hook, func(t *testing.T) { playJava(t, r, hook, servers) })
			}
			require.True(t, holdsLibrary(t, idle.cmd.Process.Pid))
			idle.ask(t, 2, 10, 5, map[string]int{}, "/ok", "/no", "/long") // vetch is gone, and all goes on
		})
	}
}

func playJava(t *testing.T, r javaRunner, hook string, servers []service) {
	v := watch(t, settings{hook: hook, env: []string{"VETCH_AGENT_TLS_JAVA=*-" + built.tag}})
	nginx := nginxTLSHTTP2(t).await(t)
	awaitProbed(t, []*vetch{v}, "/libssl.so")
	seen := len(servers) + 1 // and the idle client
	seenJVMs(t, v, seen)
	kinds := []string{"url-client", "http-client", "http2-client", "socket-client"}
	clients := make([][]*javaClient, len(servers))
	for i, s := range servers {
		asks := kinds
		if i == 0 {
			asks = kinds[:3] // its answers are too much for a client that is so simple
		}
		for _, kind := range asks {
			clients[i] = append(clients[i], r.client(t, kind, s))
		}
		seen += len(asks)
	}
	multiplexed := r.client(t, "http2-client", nginx)
	seenJVMs(t, v, seen+1)
	var all []exchanged
	for i, s := range servers {
		want := map[string]int{}
		for k, c := range clients[i] {
			times := 1
			if kinds[k] == "socket-client" {
				times = 5
			}
			c.ask(t, 4, 20, times, want, "/ok", "/no", "/long")
			c.ask(t, 1, 5, times, want, "/again")
		}
		ran(t, exec.Command("curl", "-sSfk", "--http1.1", "https://"+s.address+"/curl?secret="+secret+"[1-50]", "-o", "/dev/null"))
		want["/curl 200"] = 50
		all = append(all, exchanged{protocol: "http", by: r.home, server: s.workload, port: s.port(), want: want})
	}
	want := map[string]int{}
	multiplexed.ask(t, 8, 50, 1, want, "/ok", "/no")
	all = append(all, exchanged{protocol: "http2", by: r.home, server: nginx.workload, port: nginx.port(), want: want})
	checkExchanged(t, []*vetch{v}, all...)
	s := v.mustRead(t)
	require.Zero(t, s.sum("vetch_tls_java_failures_total", nil))
	require.Zero(t, s.sum("vetch_tls_java_off_processes", nil))
}

// TestJavaOptions holds vetch to leave JVMs alone that were not chosen, and those that do not want it, which go on.
func TestJavaOptions(t *testing.T) {
	r := compileJava(t, jdks(t)[0])
	servers := map[string]service{}
	for name, option := range map[string]string{"unwilling": "-XX:+DisableAttachMechanism", "deaf": "-Xrs", "other": "-Xmx32m"} {
		s := service{workload: mine("java-" + name), address: freeAddress(t), dir: t.TempDir()}
		certify(t, s.dir)
		cmd := r.command(t, s.workload, s.dir, "socket-server", s.dir, s.host(), s.port())
		cmd.Env = append(os.Environ(), "JAVA_TOOL_OPTIONS="+option)
		serve(t, s.dir, cmd)
		servers[name] = s.await(t)
	}
	v := watch(t, settings{hook: hooks()[0], env: []string{"VETCH_AGENT_TLS_JAVA=" + mine("java-unwilling") + "," + mine("java-de*")}})
	require.NoError(t, poll(t.Context(), func() error {
		s := v.mustRead(t)
		if n := s.sum("vetch_tls_java_processes", labels{"state": "not_chosen"}); n < 1 {
			return fmt.Errorf("%v JVMs are not chosen", n)
		}
		if n := s.sum("vetch_tls_java_failures_total", labels{"reason": "attach_disabled"}); n != 1 {
			return fmt.Errorf("%v JVMs do not want to", n)
		}
		return nil
	}))
	for name, s := range servers {
		ran(t, exec.Command("curl", "-sSfk", "https://"+s.address+"/"+name, "-o", "/dev/null"))
		log, err := os.ReadFile(s.dir + "/log")
		require.NoError(t, err)
		require.NotContains(t, string(log), "Full thread dump", "it was sent a signal")
	}
	out, err := exec.Command(built.vetch, "doctor", "--agent-tls-java", mine("java-*")).Output()
	require.NoError(t, err)
	for name, why := range map[string]string{"unwilling": "DisableAttachMechanism", "deaf": "-Xrs", "other": "has not attached"} {
		require.Regexp(t, "(?m)"+mine("java-"+name)+" Java .* no .*"+why, string(out))
	}
	require.Zero(t, v.mustRead(t).sum("vetch_tls_java_processes", labels{"state": "seen"}))
}

// BenchmarkJavaTLS is a request by java.net.http on a connection that is kept, and its answer by HttpsServer, both in Java: before vetch looks
// into them, while it does, and after it has ended.
func BenchmarkJavaTLS(b *testing.B) {
	r := compileJava(b, jdks(b)[0])
	r.options = []string{"-Xmx256m"}
	server := r.server(b, "engine-server")
	client := r.client(b, "http-client", server)
	ask := func(b *testing.B) { client.ask(b, 1, b.N, 1, map[string]int{}, "/ok") }
	client.ask(b, 1, 20000, 1, map[string]int{}, "/ok") // until it is compiled
	b.Run("before", ask)
	v, err := startVetch(b.Context(), settings{hook: hooks()[0], env: []string{"VETCH_AGENT_TLS_JAVA=*-" + built.tag}})
	require.NoError(b, err)
	seenJVMs(b, v, 2)
	client.ask(b, 1, 5000, 1, map[string]int{}, "/ok")
	b.Run("looked into", ask)
	require.NoError(b, v.stop())
	client.ask(b, 1, 5000, 1, map[string]int{}, "/ok")
	b.Run("after", ask)
}
