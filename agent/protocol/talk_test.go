package protocol

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// talkChunk is what one read of one direction gave.
type talkChunk struct {
	from Direction
	at   int64 // ns
	data []byte
}

// talk hands bytes to a Conn as the reassembler does, and checks what the Conn promises.
type talk struct {
	t         testing.TB
	protocol  Protocol
	conn      Conn
	waiting   [2][]byte
	skip      [2]int64
	lost      [2]bool // until Resync says yes
	errors    []error
	exchanges []Exchange
}

func newTalk(t testing.TB, p Protocol) *talk { return &talk{t: t, protocol: p, conn: p.New()} }

func (f *talk) emit(e Exchange) {
	if len(e.Operation) > MaxOperation || len(e.Status) > MaxOperation || e.Operation == "" {
		f.t.Errorf("operation %q, status %q: empty or too long", e.Operation, e.Status)
	}
	if e.End < e.Begin || e.RequestBytes < 0 || e.ResponseBytes < 0 {
		f.t.Errorf("%+v: ends before it begins, or has a negative size", e)
	}
	f.exchanges = append(f.exchanges, e)
}

// pass has bytes left out by the kernel.
func (f *talk) pass(d Direction, n, at int64) {
	skipped := min(f.skip[d], n)
	f.skip[d] -= skipped
	c, ok := f.conn.(Passer)
	if n -= skipped; n == 0 || !ok || f.lost[d] {
		return
	}
	skip, ok := c.Pass(d, f.waiting[d], n, at, f.emit)
	if skip < 0 {
		f.t.Fatalf("skip %d", skip)
	}
	f.skip[d], f.lost[d], f.waiting[d] = skip, !ok, nil
}

func (f *talk) feed(d Direction, data []byte, at int64) {
	if drop := min(f.skip[d], int64(len(data))); drop > 0 {
		f.skip[d] -= drop
		data = data[drop:]
	}
	if len(data) == 0 {
		return
	}
	b := append(f.waiting[d], data...)
	for len(b) > 0 {
		if f.lost[d] {
			if !f.conn.Resync(d, b) {
				b = b[1:]
				continue
			}
			f.lost[d] = false
		}
		n, skip, err := f.conn.Feed(d, b, at, f.emit)
		if n < 0 || n > len(b) || skip < 0 || skip > 0 && n < len(b) {
			f.t.Fatalf("consumed %d of %d bytes, skip %d", n, len(b), skip)
		}
		b = b[n:]
		f.skip[d] = skip
		if err != nil {
			if !errors.Is(err, ErrDesync) {
				f.t.Errorf("error is not ErrDesync: %v", err)
			}
			f.errors = append(f.errors, err)
			f.lost[d] = true
			b = b[min(1, len(b)):]
			continue
		}
		break
	}
	if len(b) > MaxBuffer {
		f.t.Fatalf("%d bytes wait", len(b))
	}
	f.waiting[d] = slices.Clone(b)
}

func (f *talk) close(at int64) { f.conn.Close(at, f.emit) }

// talkThrough feeds all chunks and returns what came out.
func talkThrough(t testing.TB, p Protocol, chunks []talkChunk) *talk {
	f := newTalk(t, p)
	last := int64(0)
	for _, c := range chunks {
		f.feed(c.from, c.data, c.at)
		last = c.at
	}
	f.close(last)
	return f
}

// turns makes chunks of texts that are sent in turn, client first, a millisecond apart. An empty one is not sent.
func turns(texts ...string) []talkChunk {
	var chunks []talkChunk
	for i, text := range texts {
		if text != "" {
			chunks = append(chunks, talkChunk{Direction(i % 2), int64(i+1) * 1e6, []byte(text)})
		}
	}
	return chunks
}

// talkPieces cuts all chunks into pieces of n bytes.
func talkPieces(chunks []talkChunk, n int) []talkChunk {
	var out []talkChunk
	for _, c := range chunks {
		for piece := range slices.Chunk(c.data, n) {
			out = append(out, talkChunk{c.from, c.at, piece})
		}
	}
	return out
}

// outcomes are operation and status of all exchanges, "~" for one way and "cut" for what the end of the connection cut.
func (f *talk) outcomes() []string {
	var out []string
	for _, e := range f.exchanges {
		line := e.Operation + ": " + e.Status
		if e.Failed {
			line += "!"
		}
		if e.OneWay {
			line += "~"
		}
		if e.Cut {
			line += "cut"
		}
		out = append(out, line)
	}
	return out
}

// countOutcomes are outcomes with how often each came.
func countOutcomes(exchanges []Exchange) map[string]int {
	f := talk{exchanges: exchanges}
	out := map[string]int{}
	for _, line := range f.outcomes() {
		out[line]++
	}
	return out
}

// talkProxy stands between a client and a server on loopback, records what they say and feeds it to a Conn for each connection.
type talkProxy struct {
	t        testing.TB
	protocol Protocol
	target   string
	listener net.Listener
	mu       sync.Mutex
	feeders  []*talk
	records  [][]talkChunk
	running  sync.WaitGroup
}

// startTalkProxy forwards to target ("host:port", or the path of a unix socket).
func startTalkProxy(t testing.TB, target string, p Protocol) *talkProxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	x := &talkProxy{t: t, protocol: p, target: target, listener: listener}
	go x.accept()
	t.Cleanup(func() { listener.Close() })
	return x
}

func (x *talkProxy) addr() string { return x.listener.Addr().String() }

func (x *talkProxy) port() string {
	_, port, _ := net.SplitHostPort(x.addr())
	return port
}

func (x *talkProxy) accept() {
	for {
		client, err := x.listener.Accept()
		if err != nil {
			return
		}
		network := "tcp"
		if filepath.IsAbs(x.target) {
			network = "unix"
		}
		server, err := net.Dial(network, x.target)
		if err != nil {
			client.Close()
			continue
		}
		x.mu.Lock()
		i := len(x.feeders)
		x.feeders = append(x.feeders, newTalk(x.t, x.protocol))
		x.records = append(x.records, nil)
		x.mu.Unlock()
		x.running.Add(2)
		go x.forward(i, FromClient, client, server)
		go x.forward(i, FromServer, server, client)
	}
}

// forward feeds what it read before the other side can see it, so that no answer overtakes its question.
func (x *talkProxy) forward(i int, d Direction, from, to net.Conn) {
	defer x.running.Done()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			x.mu.Lock()
			at := time.Now().UnixNano()
			x.records[i] = append(x.records[i], talkChunk{d, at, slices.Clone(buf[:n])})
			x.feeders[i].feed(d, buf[:n], at)
			x.mu.Unlock()
			if _, e := to.Write(buf[:n]); e != nil {
				err = e
			}
		}
		if err != nil {
			if c, ok := to.(interface{ CloseWrite() error }); ok && err == io.EOF {
				c.CloseWrite()
			} else {
				to.Close()
			}
			return
		}
	}
}

// passed reports whether bytes of one side have gone through.
func (x *talkProxy) passed(d Direction, part string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, record := range x.records {
		for _, chunk := range record {
			if chunk.from == d && bytes.Contains(chunk.data, []byte(part)) {
				return true
			}
		}
	}
	return false
}

// finish waits until all connections have ended and returns every exchange.
func (x *talkProxy) finish() []Exchange {
	x.listener.Close()
	ended := make(chan struct{})
	go func() { x.running.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		x.t.Error("connections through the proxy do not end")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []Exchange
	for _, f := range x.feeders {
		if len(f.errors) > 0 {
			x.t.Errorf("desynchronised: %v", f.errors[0])
		}
		f.close(time.Now().UnixNano())
		all = append(all, f.exchanges...)
	}
	x.save()
	return all
}

// save writes the recordings to testdata/<protocol>/ when VETCH_RECORD is set: one file a connection and test, see readRecording.
func (x *talkProxy) save() {
	if os.Getenv("VETCH_RECORD") == "" {
		return
	}
	for i, chunks := range x.records[:min(len(x.records), 4)] {
		name := strings.ToLower(strings.ReplaceAll(x.t.Name(), "/", "_")) + "_" + string(rune('a'+i))
		writeRecording(x.t, filepath.Join("testdata", x.protocol.Name, name+".bin"), chunks)
	}
}

// writeRecording keeps at most 16 KiB: each talkChunk is "> size" or "< size" on a line, then its bytes and a line end.
func writeRecording(t testing.TB, path string, chunks []talkChunk) {
	var out []byte
	for _, c := range chunks {
		if len(out)+len(c.data) > 16<<10 {
			break
		}
		out = append(out, "><"[c.from])
		out = append(out, ' ')
		out = append(out, decimal(len(c.data))...)
		out = append(out, '\n')
		out = append(out, c.data...)
		out = append(out, '\n')
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, out, 0o644))
}

func decimal(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return decimal(n/10) + string(rune('0'+n%10))
}

// readRecordings returns the captured connections of a protocol, by file name.
func readRecordings(t testing.TB, protocol string) map[string][]talkChunk {
	files, err := filepath.Glob(filepath.Join("testdata", protocol, "*.bin"))
	require.NoError(t, err)
	out := map[string][]talkChunk{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		for at := int64(1); len(b) > 2; at++ {
			line, size := cutLine(b)
			n, ok := digits(line[2:])
			require.True(t, ok, file)
			out[filepath.Base(file)] = append(out[filepath.Base(file)], talkChunk{Direction(strings.IndexByte("><", line[0])), at * 1e6, b[size : size+int(n)]})
			b = b[size+int(n)+1:]
		}
	}
	return out
}

// startProgram runs a server of the system in a folder of its own until the test ends, and waits until address takes connections.
// It fails the test if the program is not installed.
func startProgram(t testing.TB, address, program string, args ...string) {
	path, err := exec.LookPath(program)
	require.NoError(t, err, "this test needs the real server: apt-get install it (see CONTRIBUTING.md)")
	cmd := exec.Command(path, args...)
	cmd.Dir = t.TempDir()
	startCommand(t, address, cmd)
}

// startCommand is startProgram for a command with an environment; all that it starts ends with the test.
func startCommand(t testing.TB, address string, cmd *exec.Cmd) {
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		timer := time.AfterFunc(10*time.Second, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		cmd.Wait()
		timer.Stop()
		log.Close()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Log(string(text[max(0, len(text)-1000):]))
		}
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond, "%s does not listen on %s", cmd.Path, address)
}

// loopbackPort is a port of loopback that nothing listens on.
func loopbackPort(t testing.TB) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}

// requireSteady holds what every recording must do: the same exchanges in any split, none of the markers in them, and detection.
func requireSteady(t *testing.T, p Protocol, markers ...string) {
	recordings := readRecordings(t, p.Name)
	require.NotEmpty(t, recordings)
	for name, chunks := range recordings {
		t.Run(name, func(t *testing.T) {
			whole := talkThrough(t, p, chunks)
			require.Empty(t, whole.errors)
			require.NotEmpty(t, whole.exchanges)
			for _, n := range []int{1, 2, 3, 7, 100} {
				f := talkThrough(t, p, talkPieces(chunks, n))
				require.Empty(t, f.errors)
				require.ElementsMatch(t, whole.outcomes(), f.outcomes(), "in pieces of %d", n)
			}
			for _, e := range whole.exchanges {
				for _, marker := range markers {
					require.NotContains(t, strings.ToLower(e.Operation+" "+e.Status), strings.ToLower(marker))
				}
			}
			verdicts := []Verdict{}
			for _, d := range []Direction{FromClient, FromServer} {
				i := slices.IndexFunc(chunks, func(c talkChunk) bool { return c.from == d })
				if i >= 0 {
					verdicts = append(verdicts, p.Detect(d, chunks[i].data))
				}
			}
			require.Contains(t, verdicts, Yes)
		})
	}
}

// fuzzConn is the body of a fuzz target: any bytes, in pieces whose sizes and directions come from plan, some of them lost.
func fuzzConn(f *testing.F, p Protocol) {
	for _, chunks := range readRecordings(f, p.Name) {
		var client, server []byte
		for _, c := range chunks {
			if c.from == FromClient {
				client = append(client, c.data...)
			} else {
				server = append(server, c.data...)
			}
		}
		f.Add(client, server, []byte{5, 200, 17, 64})
		f.Add(client[:min(len(client), 200)], server[:min(len(server), 200)], []byte{255, 254, 11})
		f.Add(server, client, []byte{0})
		f.Add(client, server, []byte{20, 0xfc, 33, 0xfc, 0xfc, 200})
	}
	f.Fuzz(func(t *testing.T, client, server, plan []byte) {
		if len(plan) == 0 {
			plan = []byte{99}
		}
		p.Detect(FromClient, client)
		p.Detect(FromServer, server)
		talk := newTalk(t, p)
		for i := 0; len(client)+len(server) > 0 && i < 1<<16; i++ {
			step := plan[i%len(plan)]
			n, side := int(step>>1)+1, &client
			if step&1 == 1 && len(server) > 0 || len(client) == 0 {
				side = &server
			}
			n = min(n, len(*side))
			d := FromClient
			if side == &server {
				d = FromServer
			}
			switch step {
			case 0xfe: // these bytes are missed
				talk.lost[d], talk.waiting[d], talk.skip[d] = true, nil, 0
			case 0xfc: // and others are left out
				talk.pass(d, int64(n)<<(i%16), int64(i))
			default:
				talk.feed(d, (*side)[:n], int64(i))
			}
			*side = (*side)[n:]
		}
		talk.close(1 << 40)
		if len(talk.exchanges) > 1<<20 {
			t.Fatalf("%d exchanges", len(talk.exchanges))
		}
	})
}
