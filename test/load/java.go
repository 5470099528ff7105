package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// javaLoad is Java's own TLS, which vetch sees only where it is asked to.
var javaLoad = protocolLoad{"HTTPS, wrk -> Java's HttpsServer (JSSE)", 160_000, "http", "/bench", startJava, askHTTPS}

// javaWarm has askHTTPS ask for 20 s, in which the JVM compiles what it runs often.
const javaWarm = 400_000

// javaRound is one JVM: before vetch has attached to it, while it looks into it, and with what it has left behind.
type javaRound struct {
	before, with, after javaCost
	took, used          time.Duration // until the library was in and running, and the JVM's CPU for it
	counted             float64       // of with.sent
}

// javaCost is what a request costs, in µs of CPU.
type javaCost struct {
	jvm, agent float64
	first      float64 // the JVM's seconds of CPU that the requests before the measurement took more than those in it: after vetch has attached, all code of the JVM is compiled anew
	sent       float64 // those before too
}

// javaTLS measures what it costs a JVM to be attached to and looked into.
func javaTLS(ctx context.Context, t *tools, s settings, p *page) error {
	var all []javaRound
	var sent, counted float64
	for range min(s.pairs, 3) {
		r, err := measureJava(ctx, t)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "   %.1f, %.1f, %.1f µs of the JVM for a request before, with and after vetch (agent %.2f); attached in %v, %v of CPU and %.2f s after it; counted %.0f of %.0f\n",
			r.before.jvm, r.with.jvm, r.after.jvm, r.with.agent, r.took, r.used, r.with.first, r.counted, r.with.sent)
		all = append(all, r)
		sent, counted = sent+r.with.sent, counted+r.counted
	}
	median := func(of func(javaRound) float64) float64 {
		return medianOf(len(all), func(i int) float64 { return of(all[i]) })
	}
	const command = "go run ./test/load -only java"
	p.plain(javaLoad.name+": attaching", fmt.Sprintf("%.0f ms, %.0f ms of the JVM's CPU, and %.1f CPU-s with the first requests", 1000*median(func(r javaRound) float64 { return r.took.Seconds() }),
		1000*median(func(r javaRound) float64 { return r.used.Seconds() }), median(func(r javaRound) float64 { return r.with.first })), command)
	p.plain(javaLoad.name+": the JVM's CPU added for one request", fmt.Sprintf("%.2f µs, to %.2f µs; %.2f µs when vetch has ended", median(func(r javaRound) float64 { return r.with.jvm - r.before.jvm }),
		median(func(r javaRound) float64 { return r.before.jvm }), median(func(r javaRound) float64 { return r.after.jvm - r.before.jvm })), command)
	p.plain(javaLoad.name+": agent CPU for 100,000 requests", fmt.Sprintf("%.3f CPU-s", median(func(r javaRound) float64 { return r.with.agent })/10), command)
	p.above(javaLoad.name+": counted of "+fmt.Sprint(int(sent))+" sent", counted/sent*100, 100, "%.3f %%", command)
	return nil
}

func measureJava(ctx context.Context, t *tools) (r javaRound, err error) {
	jvm, err := startJava(ctx, t)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, jvm.stop()) }()
	if _, err := askHTTPS(ctx, jvm.address, javaWarm); err != nil {
		return r, err
	}
	if r.before, err = askJava(ctx, jvm, nil); err != nil {
		return r, err
	}
	vetch, err := attachJava(ctx, t, jvm, &r)
	if err != nil {
		return r, err
	}
	if r.with, err = askJava(ctx, jvm, vetch); err == nil {
		r.counted, err = javaLoad.counted(ctx, vetch, r.with.sent)
	}
	if err := errors.Join(err, vetch.stop()); err != nil {
		return r, err
	}
	if r.took, err = attachTook(vetch.out.String()); err != nil {
		return r, err
	}
	r.after, err = askJava(ctx, jvm, nil)
	return r, err
}

// askJava measures a request, after some in which the JVM compiles. vetch may be nil.
func askJava(ctx context.Context, jvm, vetch *process) (c javaCost, err error) {
	var at [3][2]time.Duration
	var n [2]int
	for i := range at {
		if at[i], err = cpuOfBoth(jvm, vetch); err != nil {
			return c, err
		}
		if i == len(n) {
			break
		}
		if n[i], err = askHTTPS(ctx, jvm.address, []int{javaWarm / 4, javaLoad.n}[i]); err != nil {
			return c, err
		}
	}
	if n[1] == 0 {
		return c, errors.New("the JVM answers nothing")
	}
	each := func(i int) float64 {
		return float64(at[2][i]-at[1][i]) / float64(time.Microsecond) / float64(n[1])
	}
	c = javaCost{jvm: each(0), agent: each(1), sent: float64(n[0] + n[1])}
	c.first = (at[1][0] - at[0][0]).Seconds() - float64(n[0])*c.jvm/1e6
	return c, nil
}

func cpuOfBoth(jvm, vetch *process) (cpu [2]time.Duration, err error) {
	if cpu[0], err = cpuOf(jvm.pid()); err == nil && vetch != nil {
		cpu[1], err = cpuOf(vetch.pid())
	}
	return cpu, err
}

// attachJava starts vetch, waits until it looks into the JVM, which does nothing meanwhile, and notes what CPU that took there.
func attachJava(ctx context.Context, t *tools, jvm *process, r *javaRound) (*process, error) {
	before, err := cpuOf(jvm.pid())
	if err != nil {
		return nil, err
	}
	vetch, err := t.startVetch(ctx, "agent", "auto", "VETCH_AGENT_TLS_JAVA=Java")
	if err != nil {
		return nil, err
	}
	err = until(ctx, time.Minute, func() error {
		n, err := vetch.metric("vetch_tls_java_processes", `state="seen"`)
		if err == nil && n != 1 {
			err = fmt.Errorf("vetch looks into %v JVMs", n)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, vetch.stop())
	}
	now, err := cpuOf(jvm.pid())
	r.used = now - before
	if err != nil {
		err = errors.Join(err, vetch.stop())
	}
	return vetch, err
}

var attachLine = regexp.MustCompile(`msg="looking into the TLS of a JVM".* took=(\S+)`)

// attachTook is what vetch says of it.
func attachTook(log string) (time.Duration, error) {
	found := attachLine.FindStringSubmatch(log)
	if found == nil {
		return 0, fmt.Errorf("vetch does not tell how long it took to attach: %s", log)
	}
	return time.ParseDuration(found[1])
}

// startJava runs the HttpsServer of the tests.
func startJava(ctx context.Context, t *tools) (*process, error) {
	dir, err := os.MkdirTemp(t.dir, "java-")
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "javac", "-nowarn", "-d", dir, "test/binary/testdata/Java.java").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("javac: %w: %s: apt-get install openjdk-17-jdk-headless", err, out)
	}
	if err := writeCertificate(dir); err != nil {
		return nil, err
	}
	for _, name := range []string{"cert", "key"} {
		if err := os.Symlink(name, filepath.Join(dir, name+".pem")); err != nil {
			return nil, err
		}
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(address)
	const noDelay = "-Dsun.net.httpserver.nodelay=true" // head and body are two writes: without, each waits 40 ms for the other end
	p, err := startProcess("java", nil, "-Xmx256m", noDelay, "-cp", dir, "Java", "engine-server", dir, host, port)
	if err != nil {
		return nil, err
	}
	p.address, p.signal = address, syscall.SIGKILL
	return p.answers(ctx)
}
