// Command client makes traffic that is counted to the byte: by net/http, by its own writer of requests (pipelined, split), by scripted
// conversations, or only by connects.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vetch-dev/vetch/test/binary/programs/report"
)

// settings is what the flags say.
type settings struct {
	mode        string
	address     string
	targets     []target
	requests    int
	concurrency int
	closing     bool
	pipeline    int
	split       int
	body        int
	chunked     bool
	wait        bool
	script      string
	repeat      int
	timeout     time.Duration
	rate        float64
}

// target is what one request asks for.
type target struct{ method, path string }

func main() {
	var s settings
	var targets string
	flag.StringVar(&s.mode, "mode", "http", "http, raw, script or connect")
	flag.StringVar(&s.address, "addr", "", "host:port of the server")
	flag.StringVar(&targets, "targets", "GET /", "comma-separated METHOD PATH, asked for in turn")
	flag.IntVar(&s.requests, "requests", 1, "requests in all; with script and connect: connections")
	flag.IntVar(&s.concurrency, "concurrency", 1, "connections at a time")
	flag.BoolVar(&s.closing, "close", false, "a new connection for each request (http), or for each batch (raw)")
	flag.IntVar(&s.pipeline, "pipeline", 1, "raw: requests sent before their responses are read")
	flag.IntVar(&s.split, "split", 0, "raw: bytes in one write; 0: all in one")
	flag.IntVar(&s.body, "body", 0, "bytes of body of each request")
	flag.BoolVar(&s.chunked, "chunked", false, "raw: send the body in chunks")
	flag.BoolVar(&s.wait, "wait", false, "raw: after one batch on each connection print ready and wait for a line")
	flag.StringVar(&s.script, "script", "", "name of the conversation to play")
	flag.IntVar(&s.repeat, "repeat", 1, "times that the conversation is played on a connection")
	flag.DurationVar(&s.timeout, "timeout", 10*time.Second, "connect: give up after")
	flag.Float64Var(&s.rate, "rate", 0, "http: requests a second, sent whether or not responses are back; 0: as fast as responses come")
	flag.Parse()
	for _, t := range strings.Split(targets, ",") {
		method, path, _ := strings.Cut(t, " ")
		s.targets = append(s.targets, target{method, path})
	}
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(s settings) error {
	work, ok := map[string]func(settings, *report.Tally, *gate) error{"http": askHTTP, "raw": askRaw, "script": playScript, "connect": connect}[s.mode]
	if !ok {
		return fmt.Errorf("no such mode: %s", s.mode)
	}
	tally := report.NewTally()
	workers := min(s.concurrency, s.requests)
	gate := newGate(s.wait, workers)
	var group sync.WaitGroup
	for i := range workers {
		share := s
		share.requests = s.requests / workers
		if i < s.requests%workers {
			share.requests++
		}
		share.rate = s.rate / float64(workers)
		group.Go(func() { tally.Failed(work(share, tally, gate)) })
	}
	group.Wait()
	return tally.Print(os.Stdout)
}

// gate holds all workers until the one who started the program sends a line.
type gate struct {
	arrived sync.WaitGroup
	opened  chan struct{}
}

func newGate(closed bool, workers int) *gate {
	g := &gate{opened: make(chan struct{})}
	if !closed {
		close(g.opened)
		return g
	}
	g.arrived.Add(workers)
	go func() {
		g.arrived.Wait()
		fmt.Println("ready")
		bufio.NewReader(os.Stdin).ReadString('\n')
		close(g.opened)
	}()
	return g
}

// pass waits at the gate.
func (g *gate) pass() {
	g.arrived.Done()
	<-g.opened
}
