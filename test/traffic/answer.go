package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/vetch-dev/vetch/test/conversation"
)

// counting hands out connections that count their bytes. It hides net.TCPConn's ReadFrom, unless the copy is wanted (sendfile).
type counting struct {
	net.Listener
	tally *conversation.Tally
}

func (l counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.tally.Opened()
	return conversation.Conn{Conn: conn, Tally: l.tally}, nil
}

func serveHTTP(listener net.Listener, tally *conversation.Tally) {
	server := &http.Server{Handler: handler(tally), MaxHeaderBytes: 4 << 20}
	if err := server.Serve(listener); !errors.Is(err, net.ErrClosed) {
		tally.Failed(err)
	}
}

// codes of the last part of a path; 200 for all others.
var codes = map[string]int{"moved": 301, "missing": 404, "broken": 500, "none": 204}

// handler reads the whole request, then answers by the last part of the path. The query asks for more:
// size=N bytes of body, parts=N chunks, each flushed, wait=FROM-TO milliseconds before the answer.
func handler(tally *conversation.Tally) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			tally.Failed(fmt.Errorf("read body: %w", err))
		}
		code, known := codes[path.Base(r.URL.Path)]
		if !known {
			code = http.StatusOK
		}
		tally.Request(r.Method, r.URL.Path, code, 1)
		query := r.URL.Query()
		var from, to float64
		if n, _ := fmt.Sscanf(query.Get("wait"), "%f-%f", &from, &to); n == 2 {
			time.Sleep(time.Duration((from + rand.Float64()*(to-from)) * float64(time.Millisecond)))
		}
		if code == http.StatusMovedPermanently {
			w.Header().Set("Location", "/elsewhere")
		}
		size, _ := strconv.Atoi(query.Get("size"))
		parts, _ := strconv.Atoi(query.Get("parts"))
		w.WriteHeader(code)
		if code == http.StatusNoContent {
			return
		}
		if parts == 0 {
			fmt.Fprintf(w, "%d\n", code)
		}
		body := make([]byte, size)
		w.Write(body)
		for range parts {
			fmt.Fprint(w, "a part\n")
			w.(http.Flusher).Flush()
		}
	})
}
