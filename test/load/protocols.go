package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/vetch-dev/vetch/test/echo"
)

// protocolLoad is a server and a client whose operations can be counted.
type protocolLoad struct {
	name     string
	n        int    // operations of one window
	protocol string // label of what is counted
	route    string // of the operation, which nothing else on the machine asks meanwhile
	start    func(context.Context, *tools) (*process, error)
	ask      func(ctx context.Context, address string, n int) (sent int, err error)
}

var protocolLoads = []protocolLoad{
	{"PostgreSQL, pgbench prepared", 60_000, "postgres", "SELECT", startPostgres, askPostgres},
	{"Redis, one command at a time", 200_000, "redis", "GET", startRedis, func(ctx context.Context, address string, n int) (int, error) { return askRedis(ctx, address, n, 1) }},
	{"Redis, pipelined by 16", 1_000_000, "redis", "GET", startRedis, func(ctx context.Context, address string, n int) (int, error) { return askRedis(ctx, address, n, 16) }},
	{"gRPC, 16 streams on a connection", 100_000, "grpc", echo.Unary, startEcho, askEcho},
	{"HTTPS, wrk -> nginx (OpenSSL)", 60_000, "http", "/bench", startNginxTLS, askHTTPS},
}

// otherProtocols measures what vetch costs where it is not HTTP/1 in plain text, and whether it counts everything.
func otherProtocols(ctx context.Context, t *tools, s settings, p *page) error {
	var failed []error
	for _, l := range protocolLoads {
		if err := l.measure(ctx, t, s, p); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", l.name, err))
		}
	}
	return errors.Join(failed...)
}

// spentOn is what one window cost for each operation, in µs of CPU.
type spentOn struct{ machine, agent float64 }

func (l protocolLoad) measure(ctx context.Context, t *tools, s settings, p *page) error {
	server, err := l.start(ctx, t)
	if err != nil {
		return err
	}
	defer server.stop()
	if _, err := l.ask(ctx, server.address, l.n/20); err != nil {
		return err
	}
	var off, on []spentOn
	var sent, counted float64
	for range min(s.pairs, 3) {
		without, _, err := l.window(ctx, server, nil)
		if err != nil {
			return err
		}
		vetch, err := t.startVetch(ctx, "agent", "auto")
		if err != nil {
			return err
		}
		with, n, err := l.window(ctx, server, vetch)
		if err == nil {
			var c float64
			c, err = l.counted(ctx, vetch, float64(n))
			sent, counted = sent+float64(n), counted+c
		}
		if err := errors.Join(err, vetch.stop()); err != nil {
			return err
		}
		off, on = append(off, without), append(on, with)
	}
	added := medianOf(len(on), func(i int) float64 { return on[i].machine - on[i].agent - off[i].machine })
	agent := medianOf(len(on), func(i int) float64 { return on[i].agent })
	base := medianOf(len(off), func(i int) float64 { return off[i].machine })
	const command = "go run ./test/load -only protocols"
	p.plain(l.name+": CPU added to both ends for one request", fmt.Sprintf("%.2f µs, to %.2f µs", added, base), command)
	p.plain(l.name+": agent CPU for 100,000 requests", fmt.Sprintf("%.3f CPU-s", agent/10), command)
	p.above(l.name+": counted of "+fmt.Sprint(int(sent))+" sent", counted/sent*100, 100, "%.3f %%", command)
	fmt.Fprintf(os.Stderr, "   %-34s %6.2f µs a request, %+6.2f µs with vetch, agent %5.2f µs; counted %.0f of %.0f\n", l.name, base, added, agent, counted, sent)
	return nil
}

// window asks once, while the machine's CPU time is watched.
func (l protocolLoad) window(ctx context.Context, server, vetch *process) (used spentOn, sent int, err error) {
	var own, before time.Duration
	machine := machineCPU()
	if vetch != nil {
		if before, err = cpuOf(vetch.pid()); err != nil {
			return used, 0, err
		}
	}
	if sent, err = l.ask(ctx, server.address, l.n); err != nil {
		return used, 0, err
	}
	if vetch != nil {
		if err := wait(ctx, 1500*time.Millisecond); err != nil { // what waits in the ring is its work too
			return used, 0, err
		}
		now, err := cpuOf(vetch.pid())
		if err != nil {
			return used, 0, err
		}
		own = now - before
	}
	each := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / float64(sent) }
	return spentOn{each(machineCPU() - machine), each(own)}, sent, nil
}

// counted reads what vetch says of the operation, and waits a moment for what is still to come.
func (l protocolLoad) counted(ctx context.Context, vetch *process, want float64) (n float64, err error) {
	protocol, route := `protocol="`+l.protocol+`"`, `route="`+l.route+`"`
	_ = until(ctx, 8*time.Second, func() error {
		if n, err = vetch.metric("vetch_workload_requests_total", protocol, route); err == nil && n < want {
			return fmt.Errorf("%v of %v", n, want)
		}
		return err
	})
	return n, err
}

var metricLine = regexp.MustCompile(`^(\w+)\{(.*)\} ([0-9.e+]+)`)

// metric asks a vetch for the sum of a metric over all that has these labels.
func (p *process) metric(name string, labels ...string) (sum float64, err error) {
	response, err := http.Get("http://" + p.address + "/metrics")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		found := metricLine.FindStringSubmatch(lines.Text())
		if found == nil || found[1] != name || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(found[2], l) }) {
			continue
		}
		v, err := strconv.ParseFloat(found[3], 64)
		if err != nil {
			return 0, fmt.Errorf("parse %q: %w", lines.Text(), err)
		}
		sum += v
	}
	return sum, lines.Err()
}

// answers waits until something takes connections.
func (p *process) answers(ctx context.Context) (*process, error) {
	err := until(ctx, 20*time.Second, func() error {
		conn, err := net.DialTimeout("tcp", p.address, time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func startRedis(ctx context.Context, t *tools) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(address)
	p, err := startProcess("redis-server", nil, "--port", port, "--bind", host, "--save", "", "--dir", t.dir)
	if err != nil {
		return nil, err
	}
	p.address = address
	return p.answers(ctx)
}

func askRedis(ctx context.Context, address string, n, pipeline int) (int, error) {
	host, port, _ := net.SplitHostPort(address)
	out, err := exec.CommandContext(ctx, "redis-benchmark", "-h", host, "-p", port, "-t", "get", "-n", fmt.Sprint(n), "-P", fmt.Sprint(pipeline), "-c", "16", "-q").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("redis-benchmark: %w: %s", err, out)
	}
	return n, nil
}

// startPostgres runs a server of its own as the user postgres, who owns its folder.
func startPostgres(ctx context.Context, t *tools) (*process, error) {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		return nil, errors.New("no postgresql: apt-get install postgresql")
	}
	owner, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	dir, err := os.MkdirTemp("", "vetch-bench-postgres-")
	if err != nil {
		return nil, err
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, err
	}
	t.leftovers = append(t.leftovers, dir)
	as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, Setpgid: true}
	initdb := exec.CommandContext(ctx, bins[len(bins)-1]+"/initdb", "-D", dir+"/data", "-U", "bench", "-A", "trust", "-N", "--locale=C", "-E", "UTF8")
	initdb.SysProcAttr, initdb.Dir = as, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(address)
	p := &process{cmd: exec.Command(bins[len(bins)-1]+"/postgres", "-D", dir+"/data", "-p", port, "-k", dir, "-h", host, "-F"), out: &strings.Builder{}, address: address, signal: syscall.SIGINT}
	p.cmd.SysProcAttr, p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = as, dir, p.out, p.out
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return p.answers(ctx)
}

func askPostgres(ctx context.Context, address string, n int) (int, error) {
	host, port, _ := net.SplitHostPort(address)
	const clients = 4
	cmd := exec.CommandContext(ctx, "pgbench", "-h", host, "-p", port, "-U", "bench", "-n", "-M", "prepared", "-c", fmt.Sprint(clients), "-t", fmt.Sprint(n/clients), "-f", "/dev/stdin", "postgres")
	cmd.Stdin = strings.NewReader("SELECT 1;\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return n / clients * clients, nil
}

// echoAddress is the variable that makes this program the gRPC server.
const echoAddress = "VETCH_BENCH_ECHO"

func serveEcho(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return echo.NewServer(grpc.MaxConcurrentStreams(1000)).Serve(listener)
}

func startEcho(ctx context.Context, _ *tools) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := startProcess(self, []string{echoAddress + "=" + address})
	if err != nil {
		return nil, err
	}
	p.address, p.signal = address, syscall.SIGKILL
	return p.answers(ctx)
}

func askEcho(ctx context.Context, address string, n int) (int, error) {
	client, err := echo.Dial(address, nil)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	const streams = 16
	var group sync.WaitGroup
	errs := make([]error, streams)
	for i := range streams {
		group.Go(func() {
			in, out := []byte("hello"), []byte(nil)
			for range n / streams {
				if errs[i] = client.Invoke(ctx, echo.Unary, &in, &out); errs[i] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return n / streams * streams, errors.Join(errs...)
}

// startNginxTLS is startNginx with a certificate of its own.
func startNginxTLS(ctx context.Context, t *tools) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(t.dir, "nginx-tls-")
	if err != nil {
		return nil, err
	}
	if err := writeCertificate(dir); err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(`daemon off; user root; worker_processes 1; pid %[1]s/pid; error_log stderr warn;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 1000000000; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d;
scgi_temp_path %[1]s/e; server { listen %[2]s ssl; ssl_certificate %[1]s/cert; ssl_certificate_key %[1]s/key; location / { return 200 "%[3]s"; } } }`, dir, address, strings.Repeat("x", 612))
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	p, err := startProcess("nginx", nil, "-p", dir, "-c", path)
	if err != nil {
		return nil, err
	}
	p.address = address
	return p.answers(ctx)
}

func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cert"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644),
		os.WriteFile(filepath.Join(dir, "key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// askHTTPS runs wrk for as long as n requests take at some 20,000 a second. wrk leaves one request a connection in flight, which counts or not.
func askHTTPS(ctx context.Context, address string, n int) (int, error) {
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c16", fmt.Sprintf("-d%ds", max(1, n/20_000)), "https://"+address+"/bench").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	requests, _, err := readWrk(string(out))
	return requests, err
}
