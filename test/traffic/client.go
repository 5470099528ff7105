package main

import (
	"bufio"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vetch-dev/vetch/test/conversation"
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
	tls         string
	http2       bool
	shared      *http.Client // nil: each worker has its own
}

// target is what one request asks for.
type target struct{ method, path string }

// client makes the traffic that its flags ask for and prints the report.
func client(args []string) error {
	var s settings
	var targets string
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	flags.StringVar(&s.mode, "mode", "http", "http, raw, uring, script or connect")
	flags.StringVar(&s.address, "addr", "", "host:port of the server")
	flags.StringVar(&targets, "targets", "GET /", "comma-separated METHOD PATH, asked for in turn")
	flags.IntVar(&s.requests, "requests", 1, "requests in all; with script and connect: connections")
	flags.IntVar(&s.concurrency, "concurrency", 1, "connections at a time")
	flags.BoolVar(&s.closing, "close", false, "a new connection for each request (http), or for each batch (raw)")
	flags.IntVar(&s.pipeline, "pipeline", 1, "raw: requests sent before their responses are read")
	flags.IntVar(&s.split, "split", 0, "raw: bytes in one write; 0: all in one")
	flags.IntVar(&s.body, "body", 0, "bytes of body of each request")
	flags.BoolVar(&s.chunked, "chunked", false, "raw: send the body in chunks")
	flags.BoolVar(&s.wait, "wait", false, "raw: after one batch on each connection print ready and wait for a line")
	flags.StringVar(&s.script, "script", "", "name of the conversation to play")
	flags.IntVar(&s.repeat, "repeat", 1, "times that the conversation is played on a connection")
	flags.DurationVar(&s.timeout, "timeout", 10*time.Second, "connect: give up after")
	flags.Float64Var(&s.rate, "rate", 0, "http, raw: requests a second over all connections, each on its own schedule; 0: as fast as responses come")
	flags.StringVar(&s.tls, "tls", "", "http, raw: do TLS: "+tlsCounted+", "+tlsBare+", "+tlsBehind+" or "+tlsHidden)
	flags.BoolVar(&s.http2, "http2", false, "http, with -tls: HTTP/2, all of it on one connection")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, t := range strings.Split(targets, ",") {
		method, path, _ := strings.Cut(t, " ")
		s.targets = append(s.targets, target{method, path})
	}
	return work(s)
}

func work(s settings) error {
	do, ok := map[string]func(settings, *conversation.Tally, *gate) error{"http": askHTTP, "raw": askRaw, "script": playScript, "connect": connect, "uring": askUring}[s.mode]
	if !ok {
		return fmt.Errorf("no such mode: %s", s.mode)
	}
	tally := conversation.NewTally()
	workers := min(s.concurrency, s.requests)
	gate := newGate(s.wait, workers)
	if s.http2 {
		s.shared = newClient(s, tally)
		if err := askOnce(s.shared, s, s.targets[0], nil, tally); err != nil { // so that all find the connection open
			return err
		}
	}
	var group sync.WaitGroup
	for i := range workers {
		share := s
		share.requests = s.requests / workers
		if i < s.requests%workers {
			share.requests++
		}
		share.rate = s.rate / float64(workers)
		group.Go(func() { tally.Failed(do(share, tally, gate)) })
	}
	group.Wait()
	if s.shared != nil {
		s.shared.CloseIdleConnections()
	}
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
