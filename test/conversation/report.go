package conversation

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Request counts the requests that were alike.
type Request struct {
	Method string `json:"method"`
	Path   string `json:"path"` // without the query
	Code   int    `json:"code"`
	Count  int    `json:"count"`
}

// Report is all that a program of test/traffic did. It says so in one line of JSON on standard output.
type Report struct {
	Connections int       `json:"connections"`
	Sent        int64     `json:"sent"`     // bytes written to sockets
	Received    int64     `json:"received"` // bytes read from sockets
	Requests    []Request `json:"requests"`
	Errors      []string  `json:"errors,omitempty"`
}

// Tally collects a Report from many goroutines.
type Tally struct {
	connections    atomic.Int64
	sent, received atomic.Int64
	mu             sync.Mutex
	requests       map[Request]int
	errors         []string
}

// NewTally returns an empty one.
func NewTally() *Tally { return &Tally{requests: map[Request]int{}} }

// Opened counts a connection.
func (t *Tally) Opened() { t.connections.Add(1) }

// Moved counts bytes.
func (t *Tally) Moved(sent, received int64) {
	t.sent.Add(sent)
	t.received.Add(received)
}

// Request counts n requests.
func (t *Tally) Request(method, path string, code, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests[Request{Method: method, Path: path, Code: code}] += n
}

// Failed keeps the first twenty errors.
func (t *Tally) Failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && len(t.errors) < 20 {
		t.errors = append(t.errors, err.Error())
	}
}

// Print writes the report as one line.
func (t *Tally) Print(w io.Writer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Report{Connections: int(t.connections.Load()), Sent: t.sent.Load(), Received: t.received.Load(), Errors: t.errors}
	for request, n := range t.requests {
		request.Count = n
		r.Requests = append(r.Requests, request)
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	_, err = fmt.Fprintf(w, "report %s\n", line)
	return err
}

// Conn counts what goes through a connection.
type Conn struct {
	net.Conn
	Tally *Tally
}

// Read counts what it reads.
func (c Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.Tally.received.Add(int64(n))
	return n, err
}

// Write counts what it writes, before it does: the answer may be read, and the report made, while the writing goroutine has not gone on yet.
func (c Conn) Write(p []byte) (int, error) {
	c.Tally.sent.Add(int64(len(p)))
	n, err := c.Conn.Write(p)
	c.Tally.sent.Add(int64(n - len(p)))
	return n, err
}
