package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/vetch-dev/vetch/test/conversation"
)

// askRaw writes requests itself, in batches of s.pipeline, in pieces of s.split bytes, and reads the responses of a batch after it.
func askRaw(s settings, tally *conversation.Tally, g *gate) error {
	var conn *line
	var err error
	start := time.Now()
	for sent := 0; sent < s.requests; {
		if s.rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(float64(sent) / s.rate * float64(time.Second)))))
		}
		if conn == nil {
			if conn, err = dialLine(s, tally); err != nil {
				return err
			}
			defer conn.Close()
		}
		batch := make([]target, min(s.pipeline, s.requests-sent))
		for i := range batch {
			batch[i] = s.targets[(sent+i)%len(s.targets)]
		}
		if err := conn.exchange(s, batch, tally); err != nil {
			return err
		}
		if sent == 0 && s.wait {
			g.pass()
		}
		sent += len(batch)
		if s.closing {
			if err := conn.Close(); err != nil {
				return fmt.Errorf("close: %w", err)
			}
			conn = nil
		}
	}
	return nil
}

// line is a connection with a reader.
type line struct {
	net.Conn
	reader *bufio.Reader
}

func dialLine(s settings, tally *conversation.Tally) (*line, error) {
	if s.tls != "" {
		conn, err := dialTLS(context.Background(), s.tls, s.address, tally)
		if err != nil {
			return nil, err
		}
		return &line{conn, bufio.NewReaderSize(conn, 64<<10)}, nil
	}
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	tally.Opened()
	counted := conversation.Conn{Conn: conn, Tally: tally}
	return &line{Conn: counted, reader: bufio.NewReaderSize(counted, 64<<10)}, nil
}

func (l *line) exchange(s settings, batch []target, tally *conversation.Tally) error {
	var out bytes.Buffer
	for _, t := range batch {
		writeRequest(&out, s, t)
	}
	for rest := out.Bytes(); len(rest) > 0; {
		piece := rest
		if s.split > 0 && len(piece) > s.split {
			piece = piece[:s.split]
		}
		if _, err := l.Write(piece); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		rest = rest[len(piece):]
	}
	for _, t := range batch {
		response, err := http.ReadResponse(l.reader, &http.Request{Method: t.method})
		if err != nil {
			return fmt.Errorf("read response: %w", err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return fmt.Errorf("read body: %w", err)
		}
		response.Body.Close()
		tally.Request(t.method, pathOf(t.path), response.StatusCode, 1)
	}
	return nil
}

// writeRequest appends a request. Chunks are of 10 bytes.
func writeRequest(out *bytes.Buffer, s settings, t target) {
	fmt.Fprintf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n", t.method, t.path, s.address)
	switch {
	case s.chunked:
		out.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for rest := s.body; rest > 0; rest -= 10 {
			n := min(rest, 10)
			fmt.Fprintf(out, "%x\r\n%s\r\n", n, strings.Repeat("c", n))
		}
		out.WriteString("0\r\n\r\n")
	case s.body > 0:
		fmt.Fprintf(out, "Content-Length: %d\r\n\r\n%s", s.body, strings.Repeat("b", s.body))
	default:
		out.WriteString("\r\n")
	}
}
