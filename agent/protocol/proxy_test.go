package protocol

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// chunk is what one read of a socket gave.
type chunk struct {
	d  Direction
	at int64
	b  []byte
}

// feeder feeds a Conn as the stream does: what was not consumed is offered again, what is skipped is not shown.
type feeder struct {
	conn Conn
	held [2][]byte
	skip [2]int64
	err  error
	got  []Exchange
}

func newFeeder(p Protocol) *feeder { return &feeder{conn: p.New()} }

func (f *feeder) emit(e Exchange) { f.got = append(f.got, e) }

// feed hands in bytes of one direction; after an error it looks for a place to go on, as the stream does.
func (f *feeder) feed(d Direction, b []byte, at int64) {
	n := min(f.skip[d], int64(len(b)))
	f.skip[d] -= n
	if b = b[n:]; len(b) == 0 {
		return
	}
	f.held[d] = append(f.held[d], b...)
	for len(f.held[d]) > 0 {
		consumed, skip, err := f.conn.Feed(d, f.held[d], at, f.emit)
		if consumed < 0 || consumed > len(f.held[d]) || skip < 0 || skip > 0 && consumed != len(f.held[d]) {
			panic(fmt.Sprintf("consumed %d of %d, skip %d", consumed, len(f.held[d]), skip))
		}
		f.held[d] = f.held[d][consumed:]
		f.skip[d] = skip
		if err == nil {
			break
		}
		if !errors.Is(err, ErrDesync) {
			panic(err)
		}
		f.err = err
		for len(f.held[d]) > 0 {
			f.held[d] = f.held[d][1:]
			if len(f.held[d]) > 0 && f.conn.Resync(d, f.held[d]) {
				break
			}
		}
	}
	if len(f.held[d]) > MaxBuffer {
		f.held[d] = nil
	}
}

func (f *feeder) close(at int64) { f.conn.Close(at, f.emit) }

// replay feeds recorded chunks, cut into pieces of at most size bytes (0: as they came), and ends the connection.
func replay(p Protocol, chunks []chunk, size int) []Exchange {
	f := newFeeder(p)
	at := int64(0)
	for _, c := range chunks {
		at = c.at
		for b := c.b; len(b) > 0; {
			n := len(b)
			if size > 0 {
				n = min(n, size)
			}
			f.feed(c.d, append([]byte(nil), b[:n]...), at)
			b = b[n:]
		}
	}
	f.close(at)
	return f.got
}

// proxyConn is one connection through a proxy.
type proxyConn struct {
	feeder *feeder
	chunks []chunk
	closed bool
}

// proxy passes TCP connections on to a server, records what is said and feeds it to a Conn for each.
type proxy struct {
	addr  string
	mu    sync.Mutex
	proto Protocol
	conns []*proxyConn
}

// startProxy listens on loopback, in front of the server at target ("host:port", or a path of a unix socket).
func startProxy(t testing.TB, p Protocol, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	x := &proxy{addr: l.Addr().String(), proto: p}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go x.serve(c, target)
		}
	}()
	return x
}

// port is the proxy's own.
func (x *proxy) port() string {
	_, port, _ := net.SplitHostPort(x.addr)
	return port
}

func (x *proxy) serve(client net.Conn, target string) {
	network := "tcp"
	if strings.HasPrefix(target, "/") {
		network = "unix"
	}
	server, err := net.Dial(network, target)
	if err != nil {
		client.Close()
		return
	}
	c := &proxyConn{feeder: newFeeder(x.proto)}
	x.mu.Lock()
	x.conns = append(x.conns, c)
	x.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { x.pass(c, FromClient, client, server) })
	both.Go(func() { x.pass(c, FromServer, server, client) })
	both.Wait()
	client.Close()
	server.Close()
	x.mu.Lock()
	c.feeder.close(time.Now().UnixNano())
	c.closed = true
	x.mu.Unlock()
}

func (x *proxy) pass(c *proxyConn, d Direction, from, to net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			x.mu.Lock()
			b := append([]byte(nil), buf[:n]...)
			at := time.Now().UnixNano()
			c.chunks = append(c.chunks, chunk{d, at, b})
			c.feeder.feed(d, append([]byte(nil), b...), at)
			x.mu.Unlock()
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			if tcp, ok := to.(interface{ CloseWrite() error }); ok && errors.Is(err, io.EOF) {
				tcp.CloseWrite()
			} else {
				to.Close()
			}
			return
		}
	}
}

// exchanges waits until every connection through the proxy has ended and returns what they emitted.
func (x *proxy) exchanges(t testing.TB) (all []Exchange) {
	t.Helper()
	require.EventuallyWithT(t, func(collect *assert.CollectT) {
		x.mu.Lock()
		defer x.mu.Unlock()
		open := 0
		all = nil
		for _, c := range x.conns {
			if !c.closed {
				open++
			}
			all = append(all, c.feeder.got...)
		}
		assert.Zero(collect, open, "connections that are still open")
	}, time.Minute, time.Millisecond)
	return all
}

// record keeps the bytes of connection n in testdata when VETCH_RECORD is set.
func (x *proxy) record(t testing.TB, n int, folder, name string) {
	t.Helper()
	if os.Getenv("VETCH_RECORD") == "" {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var out strings.Builder
	for _, c := range x.conns[n].chunks {
		fmt.Fprintf(&out, "%c %s\n", "CS"[c.d], hex.EncodeToString(c.b))
	}
	path := filepath.Join("testdata", folder, name+".hex")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// recorded reads a file that record has written: a line for each read, C or S for who sent it and the bytes in hex. Times are made up, 1 ms apart.
func recorded(t testing.TB, path string) []chunk {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var chunks []chunk
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		who, text, _ := strings.Cut(lines.Text(), " ")
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		d := FromClient
		if who == "S" {
			d = FromServer
		}
		chunks = append(chunks, chunk{d, int64(len(chunks)+1) * 1e6, b})
	}
	return chunks
}

// count returns how often each "operation status" came; cut and one-way ones say so.
func count(exchanges []Exchange) map[string]int {
	n := map[string]int{}
	for _, e := range exchanges {
		key := e.Operation + " " + e.Status
		if e.OneWay {
			key += "one way"
		}
		if e.Cut {
			key += "cut"
		}
		n[key]++
	}
	return n
}

// freePort returns a loopback port that is free now.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// waitListening waits until a server accepts connections.
func waitListening(t testing.TB, network, addr string) {
	t.Helper()
	require.EventuallyWithT(t, func(collect *assert.CollectT) {
		c, err := net.Dial(network, addr)
		if assert.NoError(collect, err) {
			c.Close()
		}
	}, time.Minute, 20*time.Millisecond)
}

// fuzzSplit feeds data to a Conn in pieces whose sizes and directions come from data itself, then ends the connection. It fails when an
// exchange breaks the rules of the contract.
func fuzzSplit(t *testing.T, p Protocol, data []byte) {
	f := newFeeder(p)
	at := int64(1)
	for len(data) > 1 {
		head := data[0]
		n := min(1+int(head>>1), len(data)-1)
		f.feed(Direction(head&1), append([]byte(nil), data[1:1+n]...), at)
		data = data[1+n:]
		at += 1000
	}
	f.close(at)
	for _, e := range f.got {
		if len(e.Operation) > MaxOperation || e.Operation == "" || e.End < e.Begin || e.RequestBytes < 0 || e.ResponseBytes < 0 {
			t.Fatalf("exchange %+v", e)
		}
	}
}

// fuzzSeed writes recorded chunks in the form that fuzzSplit reads.
func fuzzSeed(chunks []chunk) []byte {
	var seed []byte
	for _, c := range chunks {
		for b := c.b; len(b) > 0; {
			n := min(len(b), 128)
			seed = append(seed, byte(n-1)<<1|byte(c.d))
			seed = append(seed, b[:n]...)
			b = b[n:]
		}
	}
	return seed
}
